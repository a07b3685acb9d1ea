//! The git door: every call of `git`, and what fleet reads from a git directory itself.
//!
//! A fork of git costs two to three milliseconds, so refs, HEADs and the list of worktrees are read from their
//! files where the repository keeps them in files; repositories with the reftable format are asked through git.

pub(crate) mod blame;
pub(crate) mod diff;
pub(crate) mod made;
pub(crate) mod merge;
pub(crate) mod push;
pub(crate) mod refs;
pub mod rounds;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod worktree;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use fleet_core::{Error, Kind, Result};

use crate::exec::{Cmd, Output, status_words};
use crate::files;

pub use blame::{Blamed, blame, known_commits, trailers};
pub use diff::{Diff, DiffForm};
pub use made::{made_in, patch_id_between, patch_ids};
pub use merge::{Change, FileConflict, Merge, Merges, forward_checkout, move_branch, under_way};
pub use push::{push, remote_address};
pub use refs::{
    branch_checked_out_at, branch_exists, branch_tip, branches, check_new_branch, default_branch, delete_branch,
    own_branch,
};
pub use show::{author, changed_files, hooks, is_changed, is_checked_out, version};
pub use status::{Stage, State, Status, status};
pub use worktree::{
    BranchMode, Worktree, add_detached_worktree, add_worktree, admin_dir, checkout, checkout_detached, find_admin,
    forget_half_made, remove_worktree_admin, worktrees,
};

/// A repository, as one checkout of it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repo {
    /// Real path of the common git directory: the key of the repository.
    pub common_dir: PathBuf,
    /// Real path of the git directory of the checkout that was asked about; its HEAD is the default base.
    pub git_dir: PathBuf,
    /// Folder of the main checkout; none for a bare repository that stands alone.
    pub main_root: Option<PathBuf>,
    /// Whether there is no main checkout.
    pub bare: bool,
    /// A name for people: the folder of the main checkout.
    pub name: String,
}

impl Repo {
    /// The repository with this common git directory, as seen from its main checkout.
    pub fn of(common: &Path) -> Repo {
        describe(common.to_owned(), None)
    }

    /// What stands for the repository of an agent that works outside of any: its folder.
    pub fn none(folder: &Path) -> Repo {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Repo {
            name: folder_name(&folder),
            git_dir: folder.clone(),
            main_root: Some(folder.clone()),
            bare: true,
            common_dir: folder,
        }
    }
}

/// Who makes the commits and ref logs that fleet itself makes; so none depends on `user.email`.
pub(crate) const IDENTITY: (&str, &str) = ("fleet", "fleet@localhost");

/// The repository that `cwd` is in. Reads `.git` files and folders upwards; no fork.
///
/// # Errors
/// `Usage` when there is none.
pub fn discover(cwd: &Path) -> Result<Repo> {
    let outside = || {
        Error::usage(format!("{} is not inside a git repository", cwd.display()))
            .hint("go into one with `cd`, or set `repo_root`: `fleet config edit`")
    };
    let start = cwd.canonicalize().map_err(|_| outside())?;
    for folder in start.ancestors() {
        let dot_git = folder.join(".git");
        if let Some(git_dir) = follow_dot_git(&dot_git) {
            return Ok(describe(git_dir, Some(folder)));
        }
        if is_git_dir(folder) {
            return Ok(describe(folder.to_owned(), None));
        }
    }
    Err(outside())
}

/// The full commit id that work starts from: `base`, or what is checked out where `repo` was found.
///
/// # Errors
/// `Usage` when there is no commit yet, or `base` names none; the hint then has the nearest branches.
pub fn resolve_base(repo: &Repo, base: Option<&str>) -> Result<String> {
    let head = base.is_none_or(|base| base == "HEAD");
    if head && let Some(tip) = refs::head_commit(&repo.common_dir, &repo.git_dir) {
        return Ok(tip);
    }
    let base = base.unwrap_or("HEAD");
    let unknown = || {
        let known = branches(&repo.common_dir).unwrap_or_default();
        let near = fleet_core::nearest::nearest(base, known.iter().map(String::as_str), 3);
        let error = Error::usage(format!("`{base}` names no commit in {}", repo.name));
        match near.as_slice() {
            [] => error.hint("see what there is: `git branch --all`"),
            near => error.hint(format!("did you mean {}?", quoted_list(near))),
        }
    };
    if base.starts_with('-') {
        return Err(unknown());
    }
    let commit = format!("{base}^{{commit}}");
    let output = at("git.resolve", &repo.git_dir)
        .args(["rev-parse", "--verify", "--quiet", &commit])
        .output()?;
    if output.status.success() {
        return Ok(output.text().trim().to_owned());
    }
    let words = output.error_text();
    if head && words.trim().is_empty() {
        return Err(Error::usage(format!("the repository {} has no commit yet", repo.name))
            .hint("make one: `git commit --allow-empty -m \"first commit\"`"));
    }
    Err(unknown().detail(words))
}

/// Whether everything on `branch` is also on `into`.
pub fn is_merged(common: &Path, branch: &str, into: &str) -> Result<bool> {
    let (branch, into) = (format!("refs/heads/{branch}"), format!("refs/heads/{into}"));
    let output = at("git.is-merged", common)
        .args(["merge-base", "--is-ancestor", &branch, &into])
        .output()?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(failure("compare the branches", &output)),
    }
}

/// How many commits `tip` has that `base` has not.
pub fn commits_ahead(common: &Path, base: &str, tip: &str) -> Result<usize> {
    let range = format!("{base}..{tip}");
    let output = succeed(
        "count commits",
        at("git.count", common).args(["rev-list", "--count", &range, "--"]),
    )?;
    output
        .text()
        .trim()
        .parse()
        .map_err(|_| Error::internal("git counted no number"))
}

/// The commits that `branch` has and `base` has not, oldest first.
pub fn commits(common: &Path, base: &str, branch: &str) -> Result<Vec<String>> {
    let range = format!("{base}..refs/heads/{branch}");
    let output = succeed(
        "list commits",
        at("git.commits", common).args(["rev-list", "--reverse", &range, "--"]),
    )?;
    Ok(output.text().lines().map(str::to_owned).collect())
}

/// Real diff of a worktree against the commit it started from; see [`Diff`].
pub fn diff(diff: &Diff<'_>) -> Result<String> {
    diff::run(diff)
}

/// How long a living git may hold the lock of one ref; it needs a few milliseconds.
const REF_LOCK_HELD: Duration = Duration::from_secs(1);

/// Writes or deletes the ref `name`, of which only fleet has to do, past the lock file that a killed git has left.
///
/// A lock that somebody holds goes away by itself; one that outlives [`REF_LOCK_HELD`] has no holder.
pub(crate) fn past_a_stale_lock<T>(common: &Path, name: &str, attempt: impl Fn() -> Result<T>) -> Result<T> {
    let lock = common.join(format!("{name}.lock"));
    let first = attempt();
    if first.is_ok() || !lock.exists() {
        return first;
    }
    let deadline = Instant::now() + REF_LOCK_HELD;
    while lock.exists() && Instant::now() < deadline {
        // git announces nothing that could be waited for.
        let _ = nix::poll::poll(&mut [], 10u8);
    }
    files::remove_file("git.stale-lock", &lock)?;
    attempt()
}

/// A git call on a repository without regard to a checkout.
pub(crate) fn at(site: &'static str, git_dir: &Path) -> Cmd {
    bare_call(site, git_dir).arg(assign("--git-dir=", git_dir))
}

/// A git call on one checkout. The git directory is named and not looked for: when an agent has removed the
/// `.git` file of its worktree, git must not take a repository above it instead.
pub(crate) fn on(site: &'static str, admin: &Path, worktree: &Path) -> Cmd {
    bare_call(site, worktree)
        .arg(assign("--git-dir=", admin))
        .arg(assign("--work-tree=", worktree))
}

/// A git call that finds its repository by the directory it runs in.
pub(crate) fn bare_call(site: &'static str, cwd: &Path) -> Cmd {
    /// What git itself calls local to a repository, and what changes the meaning of paths.
    const CLEARED: [&str; 16] = [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_PREFIX",
        "GIT_NAMESPACE",
        "GIT_CEILING_DIRECTORIES",
        "GIT_SHALLOW_FILE",
        "GIT_GRAFT_FILE",
        "GIT_LITERAL_PATHSPECS",
        "GIT_GLOB_PATHSPECS",
        "GIT_NOGLOB_PATHSPECS",
        "GIT_ICASE_PATHSPECS",
    ];
    let cmd = CLEARED
        .iter()
        .fold(Cmd::new(site, "git", cwd), |cmd, name| cmd.env_remove(name));
    cmd.env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
}

/// Runs `cmd`; an exit code other than 0 is an error that says what could not be done.
pub(crate) fn succeed(act: &str, cmd: Cmd) -> Result<Output> {
    let output = cmd.output()?;
    match output.status.success() {
        true => Ok(output),
        false => Err(failure(act, &output)),
    }
}

/// The error for a git call that failed.
pub(crate) fn failure(act: &str, output: &Output) -> Error {
    let words = output.error_text();
    let error = Error::failed(format!(
        "git cannot {act}: it ended with {}",
        status_words(output.status)
    ));
    let error = match () {
        () if words.contains("dubious ownership") => {
            let command = words.lines().map(str::trim).find(|line| line.starts_with("git config"));
            error.hint(format!(
                "allow the repository: `{}`",
                command.unwrap_or("git config --global safe.directory")
            ))
        }
        () if words.contains("No space left on device") => Error {
            kind: Kind::Unavailable,
            ..error
        }
        .hint("free some space: `fleet clean` shows what fleet itself holds"),
        () if words.contains(".lock': File exists") => Error {
            kind: Kind::Conflict,
            ..error
        }
        .hint("another git works there, or was killed: remove the lock file that git names, then try again"),
        () => error,
    };
    error.detail(words)
}

/// A private folder for index copies and objects that nobody keeps; removed when dropped.
///
/// It lies in the worktree's own admin directory, so what a crash leaves goes with the worktree.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(admin: &Path) -> Result<Scratch> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "fleet-scratch-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = admin.join(name);
        files::remove_tree("git.scratch-clear", &folder)?;
        files::create_private_dir("git.scratch", &folder)?;
        Ok(Scratch(folder))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A copy of the index of `admin`; none when it has none.
    ///
    /// The copy keeps the time of the original: git compares it with the files' times to know which entries it
    /// must read again, and a younger copy would hide late changes.
    pub(crate) fn copy_index(&self, admin: &Path, name: &str) -> Result<Option<PathBuf>> {
        let (from, to) = (admin.join("index"), self.path(name));
        let copy = || -> std::io::Result<()> {
            fs::copy(&from, &to)?;
            let modified = fs::metadata(&from)?.modified().unwrap_or(UNIX_EPOCH);
            fs::File::options().write(true).open(&to)?.set_modified(modified)
        };
        match fleet_core::fault::guard("git.copy-index", copy) {
            Ok(()) => Ok(Some(to)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(files::io_error("copy", &from, &error)),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `prefix` and a path as one argument; paths need not be UTF-8.
pub(crate) fn assign(prefix: &str, path: &Path) -> OsString {
    let mut arg = OsString::from(prefix);
    arg.push(path);
    arg
}

/// `path` without links as far as it exists.
pub(crate) fn real(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() {
                real
            } else {
                real.join(rest)
            };
        }
    }
    path.to_owned()
}

/// A path as git stores it in its own one-line files: relative ones start at `folder`.
pub(crate) fn stored_path(text: &[u8], folder: &Path) -> PathBuf {
    let text = text.trim_ascii_end();
    real(&folder.join(std::ffi::OsStr::from_bytes(text)))
}

/// Where a `.git` leads: itself when it is a git directory, else what the file in its place names.
pub(crate) fn follow_dot_git(dot_git: &Path) -> Option<PathBuf> {
    if is_git_dir(dot_git) {
        return dot_git.canonicalize().ok();
    }
    let text = fs::read(dot_git).ok()?;
    let target = stored_path(text.strip_prefix(b"gitdir: ")?, dot_git.parent()?);
    target.join("HEAD").exists().then_some(target)
}

/// The common git directory of a git directory.
pub(crate) fn common_of(git_dir: &Path) -> PathBuf {
    match fs::read(git_dir.join("commondir")) {
        Ok(text) => stored_path(&text, git_dir),
        Err(_) => git_dir.to_owned(),
    }
}

fn is_git_dir(folder: &Path) -> bool {
    let has_refs = folder.join("refs").is_dir() && folder.join("objects").is_dir();
    (has_refs || folder.join("commondir").is_file()) && folder.join("HEAD").is_file()
}

fn describe(git_dir: PathBuf, checkout: Option<&Path>) -> Repo {
    let common_dir = common_of(&git_dir);
    let bare = config_says_bare(&common_dir);
    let main_checkout = checkout.filter(|_| common_dir == git_dir);
    let beside = common_dir.parent().filter(|parent| {
        let named = common_dir.file_name().is_some_and(|name| name == ".git");
        (named && !bare) || follow_dot_git(&parent.join(".git")).as_ref() == Some(&common_dir)
    });
    let main_root = main_checkout
        .or(beside)
        .map(Path::to_owned)
        .or_else(|| configured_root(&common_dir, bare));
    let name = match &main_root {
        Some(root) => folder_name(root),
        None => folder_name(&common_dir).trim_end_matches(".git").to_owned(),
    };
    Repo {
        common_dir,
        git_dir,
        main_root,
        bare,
        name,
    }
}

/// `core.bare` of the repository's own config file.
fn config_says_bare(common: &Path) -> bool {
    let text = fs::read_to_string(common.join("config"))
        .unwrap_or_default()
        .to_ascii_lowercase();
    let mut in_core = false;
    let mut bare = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_core = line.starts_with("[core]");
        } else if in_core && let Some(value) = line.strip_prefix("bare") {
            let value = value.trim_start().trim_start_matches('=').trim();
            bare = matches!(value, "" | "true" | "yes" | "on" | "1");
        }
    }
    bare
}

/// `core.worktree`, where the main checkout of a submodule or of a separate git directory is written down.
fn configured_root(common: &Path, bare: bool) -> Option<PathBuf> {
    if bare {
        return None;
    }
    let output = at("git.root", common)
        .args(["config", "--get", "core.worktree"])
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| stored_path(&output.stdout, common))
        .filter(|root| root.is_dir())
}

fn folder_name(folder: &Path) -> String {
    folder
        .file_name()
        .unwrap_or(folder.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn quoted_list(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Seconds since 1970 as git wants them in dates.
pub(crate) fn git_date(now: fleet_core::Time) -> String {
    format!("@{} +0000", now.0.div_euclid(1000))
}

#[cfg(test)]
pub(crate) mod tests;
