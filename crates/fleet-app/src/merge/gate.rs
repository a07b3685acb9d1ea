//! The gate of a landing: the user's own shell line, run on each result before a branch is moved to it.
//!
//! It runs in a worktree of fleet's own, one for each target, which a crash may leave: the next landing takes it up, and
//! `list --repair` removes it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_core::Result;
use fleet_host::exec::{self, Checked, Cmd};
use fleet_host::home::Home;
use fleet_host::lock::Lock;
use fleet_host::{files, git};

use super::target::Target;
use crate::caller::Caller;

/// What the user wants to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateLine {
    /// A line for `sh -c`; nothing is put into it.
    pub line: String,
    /// How long it may run each time.
    pub limit: Option<Duration>,
}

/// An open gate.
pub(super) struct Gate<'a> {
    caller: &'a Caller,
    wanted: &'a GateLine,
    common: PathBuf,
    folder: PathBuf,
    mark: String,
}

impl<'a> Gate<'a> {
    pub(super) fn open(home: &Home, caller: &'a Caller, target: &Target, wanted: &'a GateLine) -> Gate<'a> {
        let key = key(target);
        Gate {
            caller,
            wanted,
            common: target.repo.common_dir.clone(),
            folder: home.merges().join(&key),
            mark: format!("merge-{key}"),
        }
    }

    /// Runs the line on the files of `commit`.
    pub(super) fn run(&self, commit: &str) -> Result<Checked> {
        // What a landing that was killed has left running would work in the same folder.
        exec::end_marked(&self.mark);
        if let Some(parent) = self.folder.parent() {
            files::create_private_dir("merge.folder", parent)?;
        }
        git::add_detached_worktree(&self.common, &self.folder, commit)?;
        git::checkout_detached(&self.folder, commit)?;
        run_line(
            "merge.gate",
            self.caller,
            &self.wanted.line,
            &self.folder,
            self.wanted.limit,
            &self.folder.with_extension("log"),
            &self.mark,
        )
    }

    /// Removes the worktree.
    pub(super) fn close(&self) -> Result<()> {
        clear(&self.common, &self.folder)
    }
}

/// Runs a shell line of the user's in `folder`, with the caller's environment but for what would lead git elsewhere.
pub(crate) fn run_line(
    site: &'static str,
    caller: &Caller,
    line: &str,
    folder: &Path,
    limit: Option<Duration>,
    log: &Path,
    mark: &str,
) -> Result<Checked> {
    let mut cmd = Cmd::new(site, "/bin/sh", folder).env_clear();
    for (name, value) in caller.env.iter().filter(|(name, _)| !leads_git_elsewhere(name)) {
        cmd = cmd.env(name, value);
    }
    let cmd = match limit {
        Some(limit) => cmd.timeout(limit),
        None => cmd,
    };
    cmd.args(["-c", line]).check(log, mark)
}

/// Takes the turn of everything that is merged into `target`. None: another landing is under way.
pub(super) fn take_turn(home: &Home, target: &Target) -> Result<Option<Lock>> {
    Lock::try_take(&home.locks().join(format!("merge-{}", key(target))))
}

/// Removes the worktrees that killed landings have left; a line for each.
pub(crate) fn sweep(home: &Home) -> Result<Vec<String>> {
    let mut done = Vec::new();
    for entry in std::fs::read_dir(home.merges()).into_iter().flatten().flatten() {
        let folder = entry.path();
        let key = entry.file_name().to_string_lossy().into_owned();
        let lock = home.locks().join(format!("merge-{}", key.trim_end_matches(".log")));
        let Some(_turn) = Lock::try_take(&lock)? else { continue };
        exec::end_marked(&format!("merge-{key}"));
        if folder.is_dir() {
            match git::admin_dir(&folder).and_then(|admin| Some(admin.parent()?.parent()?.to_owned())) {
                Some(common) => clear(&common, &folder)?,
                None => files::remove_tree("merge.sweep", &folder)?,
            }
            done.push("the worktree of a landing that was cut off removed".to_owned());
        } else {
            files::remove_file("merge.sweep-log", &folder)?;
        }
    }
    Ok(done)
}

fn clear(common: &Path, folder: &Path) -> Result<()> {
    git::remove_worktree_admin(common, folder)?;
    files::remove_tree("merge.folder-clear", folder)
}

/// A name for a target: of its repository and branch.
fn key(target: &Target) -> String {
    let text = format!("{}\n{}", target.repo.common_dir.display(), target.branch);
    files::digest(text.as_bytes())[..12].to_owned()
}

fn leads_git_elsewhere(name: &str) -> bool {
    const OTHERS: [&str; 5] = [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_COMMON_DIR",
        "GIT_PREFIX",
    ];
    OTHERS.contains(&name) || name.starts_with("GIT_OBJECT_") || name.starts_with("GIT_ALTERNATE_")
}
