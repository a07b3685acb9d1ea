//! Merges that touch no checkout, index or ref, and the one step that moves a branch to what came of them.
//!
//! A merge is `git merge-tree`, a commit of it `git commit-tree`. For a trial the objects go into a folder that is
//! removed again, so that looking changes nothing at all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use fleet_core::{Error, Result};

use super::{IDENTITY, Scratch, at, bare_call, diff, failure, on, refs, succeed, worktree};
use crate::exec::{Cmd, Output};
use crate::files;

/// Where merges of one repository are made.
#[derive(Debug)]
pub struct Merges {
    common: PathBuf,
    scratch: Option<Scratch>,
    identity: Vec<(&'static str, &'static str)>,
}

/// What came of merging two commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The tree of the result; with conflict marks in it where there are conflicts.
    pub tree: String,
    /// The files that git could not merge. None: it is clean.
    pub conflicts: Vec<FileConflict>,
}

/// One file that git could not merge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileConflict {
    /// Its path from the repository's top.
    pub file: String,
    /// git's word for what is wrong: `contents`, `binary`, `modify/delete`, `file/directory`, `rename/rename`, …
    pub kind: String,
}

/// How one file differs between two commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its path from the repository's top.
    pub path: String,
    /// Lines added; none for a binary file.
    pub added: Option<u64>,
    /// Lines removed; none for a binary file.
    pub removed: Option<u64>,
}

impl Merges {
    /// Merges that stay in the repository `common`. Commits are made in the user's name where git knows one, else in
    /// fleet's.
    pub fn kept(common: &Path) -> Result<Merges> {
        let known = |name: &str| -> Result<bool> {
            let output = at("merge.identity", common).args(["config", "--get", name]).output()?;
            Ok(output.status.success() && !output.text().trim().is_empty())
        };
        let identity = match known("user.email")? && known("user.name")? {
            true => Vec::new(),
            false => own_identity(),
        };
        Ok(Merges {
            common: common.to_owned(),
            scratch: None,
            identity,
        })
    }

    /// Merges that are forgotten when this is dropped.
    pub fn trial(common: &Path) -> Result<Merges> {
        clear_old_scratch(common)?;
        let scratch = Scratch::new(common)?;
        files::create_private_dir("merge.scratch-objects", &scratch.path("objects"))?;
        Ok(Merges {
            common: common.to_owned(),
            scratch: Some(scratch),
            identity: own_identity(),
        })
    }

    /// Merges the commit `theirs` into the commit `ours`.
    ///
    /// # Errors
    /// `Unavailable` when this git is older than 2.38; `Failed` when the commits have no history in common.
    pub fn merge(&self, ours: &str, theirs: &str) -> Result<Merge> {
        let args = [
            "merge-tree",
            "--write-tree",
            "-z",
            "--name-only",
            "--messages",
            ours,
            theirs,
        ];
        // Without a checkout git would not know the attributes, such as `merge=union`. Older gits ignore it.
        let output = self
            .call(at("merge.tree", &self.common))
            .env("GIT_ATTR_SOURCE", ours)
            .args(args)
            .output()?;
        match output.status.code() {
            Some(0 | 1) => read_merge(&output, ours, theirs),
            _ => Err(merge_failure(&output)),
        }
    }

    /// Makes a commit of `tree`.
    pub fn commit(&self, tree: &str, parents: &[&str], message: &str) -> Result<String> {
        let cmd = self
            .call(at("merge.commit", &self.common))
            .args(["commit-tree", "--no-gpg-sign", tree]);
        let cmd = parents.iter().fold(cmd, |cmd, parent| cmd.args(["-p", parent]));
        let cmd = self
            .identity
            .iter()
            .fold(cmd, |cmd, (name, value)| cmd.env(name, value));
        Ok(succeed("make the commit", cmd.stdin(message))?.text().trim().to_owned())
    }

    /// The tree of `commit`.
    pub fn tree(&self, commit: &str) -> Result<String> {
        let tree = format!("{commit}^{{tree}}");
        let cmd = self
            .call(at("merge.tree-of", &self.common))
            .args(["rev-parse", "--verify", "--quiet", &tree]);
        Ok(succeed("read the commit", cmd)?.text().trim().to_owned())
    }

    /// The newest commit that both have; none when their histories never met.
    pub fn base(&self, a: &str, b: &str) -> Result<Option<String>> {
        let output = self
            .call(at("merge.base", &self.common))
            .args(["merge-base", a, b])
            .output()?;
        match output.status.code() {
            Some(0) => Ok(refs::full_id(output.text().trim())),
            Some(1) => Ok(None),
            _ => Err(failure("compare the commits", &output)),
        }
    }

    /// How many commits `tip` has that `from` has not, and the other way round.
    pub fn ahead_behind(&self, from: &str, tip: &str) -> Result<(usize, usize)> {
        let range = format!("{from}...{tip}");
        let cmd = self.call(at("merge.ahead-behind", &self.common)).args([
            "rev-list",
            "--left-right",
            "--count",
            &range,
            "--",
        ]);
        let text = succeed("count commits", cmd)?.text();
        let mut counts = text.split_whitespace().map(|count| count.parse::<usize>());
        match (counts.next(), counts.next()) {
            (Some(Ok(behind)), Some(Ok(ahead))) => Ok((ahead, behind)),
            _ => Err(Error::internal("git counted no numbers")),
        }
    }

    /// The files in which `tip` differs from `base`, renamed ones under both names.
    pub fn changes(&self, base: &str, tip: &str) -> Result<Vec<Change>> {
        let args = [
            "diff-tree",
            "-r",
            "-z",
            "--numstat",
            "--no-renames",
            "--no-ext-diff",
            base,
            tip,
            "--",
        ];
        let output = succeed(
            "compare the commits",
            self.call(at("merge.changes", &self.common)).args(args),
        )?;
        Ok(read_numstat(&output.stdout))
    }

    /// The paths that are in `tip` and not in `base`.
    pub fn new_paths(&self, base: &str, tip: &str) -> Result<Vec<String>> {
        let args = [
            "diff-tree",
            "-r",
            "-z",
            "--name-only",
            "--diff-filter=A",
            "--no-renames",
            base,
            tip,
            "--",
        ];
        let cmd = self.call(at("merge.new-paths", &self.common)).args(args);
        let text = succeed("compare the commits", cmd)?.text();
        Ok(text
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect())
    }

    /// The subjects of the commits of `tip` that `from` has not, the oldest first; merges are left out.
    pub fn subjects(&self, from: &str, tip: &str) -> Result<Vec<String>> {
        let range = format!("{from}..{tip}");
        let args = [
            "log",
            "--reverse",
            "--no-merges",
            "--no-show-signature",
            "--format=%s",
            &range,
            "--",
        ];
        let output = succeed(
            "read the commits",
            self.call(at("merge.subjects", &self.common)).args(args),
        )?;
        Ok(output.text().lines().map(str::to_owned).collect())
    }

    /// The message of one commit.
    pub fn message(&self, commit: &str) -> Result<String> {
        let args = ["log", "-1", "--no-show-signature", "--format=%B", commit, "--"];
        let output = succeed(
            "read the commit",
            self.call(at("merge.message", &self.common)).args(args),
        )?;
        Ok(output.text().trim().to_owned())
    }

    /// The values of the trailer `key` in the newest thousand commits of `tip`.
    pub fn trailers(&self, tip: &str, key: &str) -> Result<Vec<String>> {
        let format = format!("--format=%(trailers:key={key},valueonly,unfold)");
        let args = [
            "log",
            "--first-parent",
            "--no-show-signature",
            "--max-count=1000",
            &format,
            tip,
            "--",
        ];
        let output = succeed(
            "read the commits",
            self.call(at("merge.trailers", &self.common)).args(args),
        )?;
        let text = output.text();
        let values = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(values.map(str::to_owned).collect())
    }

    /// A commit of everything in `worktree` as it is on disk, on top of what is checked out there. Files of `copied`
    /// that are still as they were copied are no part of it. Only for trials: nothing of the worktree, its index or
    /// its repository changes.
    pub fn snapshot(&self, worktree: &Path, copied: &[(String, String)]) -> Result<String> {
        let admin = worktree::admin_dir(worktree)
            .or_else(|| super::follow_dot_git(&worktree.join(".git")))
            .ok_or_else(|| Error::not_found(format!("{} is no worktree of git", worktree.display())))?;
        let head =
            self.call(on("merge.head", &admin, worktree))
                .args(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]);
        let head = succeed("read what is checked out", head)?.text().trim().to_owned();
        let scratch = Scratch::new(&admin)?;
        let index = scratch
            .copy_index(&admin, "index")?
            .unwrap_or_else(|| scratch.path("index"));
        let call = |site| self.call(on(site, &admin, worktree)).env("GIT_INDEX_FILE", &index);
        let unchanged = diff::unchanged(worktree, copied);
        let add = call("merge.snapshot-add")
            .args(diff::QUIET_ADD)
            .stdin(diff::pathspecs(unchanged.map(|(path, _)| path.as_bytes())));
        // A file that cannot be read is left out; a forecast of the others is still of use.
        add.output()?;
        let written = call("merge.snapshot-tree").arg("write-tree").output()?;
        if !written.status.success() {
            return Err(failure("write the tree", &written));
        }
        let tree = written.text().trim().to_owned();
        match tree == self.tree(&head)? {
            true => Ok(head),
            false => self.commit(&tree, &[&head], "fleet: work in progress\n"),
        }
    }

    /// A call whose objects go where they should.
    fn call(&self, cmd: Cmd) -> Cmd {
        match &self.scratch {
            None => cmd,
            Some(scratch) => cmd.env("GIT_OBJECT_DIRECTORY", scratch.path("objects")).env(
                "GIT_ALTERNATE_OBJECT_DIRECTORIES",
                diff::quote(&self.common.join("objects")),
            ),
        }
    }
}

/// Moves a branch that is checked out nowhere from `old` to `new`.
///
/// # Errors
/// `Conflict` when it is not at `old` any more.
pub fn move_branch(common: &Path, branch: &str, old: &str, new: &str) -> Result<()> {
    let name = format!("refs/heads/{branch}");
    let args = ["update-ref", "-m", "fleet merge", &name, new, old];
    let output = in_fleets_name(at("merge.move-branch", common)).args(args).output()?;
    match output.status.success() {
        true => Ok(()),
        false if refs::branch_tip(common, branch)?.as_deref() != Some(old) => Err(moved_meanwhile(branch)),
        false => Err(failure("move the branch", &output)),
    }
}

/// Moves the checkout at `worktree`, which is on `branch` at `old`, forward to `new`: files, index and branch.
///
/// # Errors
/// `Conflict` when the branch is not at `old` any more; `Refused` when files of the user would be written over.
pub fn forward_checkout(common: &Path, worktree: &Path, branch: &str, old: &str, new: &str) -> Result<()> {
    if refs::branch_tip(common, branch)?.as_deref() != Some(old) {
        return Err(moved_meanwhile(branch));
    }
    let args = [
        "merge",
        "--ff-only",
        "--no-squash",
        "--no-autostash",
        "--no-overwrite-ignore",
        "--no-stat",
        "--quiet",
        new,
    ];
    let output = in_fleets_name(bare_call("merge.forward", worktree))
        .env("GIT_REFLOG_ACTION", "fleet merge")
        .args(args)
        .output()?;
    // What counts is where the branch is now, not what a hook of the user's said.
    if refs::branch_tip(common, branch)?.as_deref() == Some(new) {
        return Ok(());
    }
    let words = output.error_text();
    let error = match words.contains("would be overwritten") || words.contains("would lose") {
        true => Error::refused(format!("files in {} would be written over", worktree.display())).hint(format!(
            "move them away or commit them: `git -C {} status`",
            worktree.display()
        )),
        false => failure("move the checkout forward", &output),
    };
    Err(error.detail(words))
}

/// What a git that was cut off, or a person, has under way with `branch`: `a rebase`, `a merge`. Its checkout must then
/// be left alone.
pub fn under_way(common: &Path, branch: &str) -> Result<Option<&'static str>> {
    let name = format!("refs/heads/{branch}");
    let linked = worktree::worktrees(common)?;
    let git_dirs = std::iter::once(common.to_owned()).chain(linked.into_iter().map(|each| each.admin));
    for git_dir in git_dirs {
        let rebased = ["rebase-merge/head-name", "rebase-apply/head-name"]
            .iter()
            .any(|file| std::fs::read_to_string(git_dir.join(file)).is_ok_and(|text| text.trim() == name));
        if rebased {
            return Ok(Some("a rebase"));
        }
        if refs::head_branch(common, &git_dir).as_deref() != Some(branch) {
            continue;
        }
        for (file, what) in [
            ("MERGE_HEAD", "a merge"),
            ("CHERRY_PICK_HEAD", "a cherry-pick"),
            ("REVERT_HEAD", "a revert"),
        ] {
            if git_dir.join(file).exists() {
                return Ok(Some(what));
            }
        }
    }
    Ok(None)
}

fn moved_meanwhile(branch: &str) -> Error {
    Error::conflict(format!("`{branch}` was moved by somebody else meanwhile"))
        .hint("try again: what landed is skipped")
}

fn own_identity() -> Vec<(&'static str, &'static str)> {
    vec![
        ("GIT_AUTHOR_NAME", IDENTITY.0),
        ("GIT_AUTHOR_EMAIL", IDENTITY.1),
        ("GIT_COMMITTER_NAME", IDENTITY.0),
        ("GIT_COMMITTER_EMAIL", IDENTITY.1),
    ]
}

/// Nothing but the ref logs shows it, and they are then never without a name.
fn in_fleets_name(cmd: Cmd) -> Cmd {
    cmd.env("GIT_COMMITTER_NAME", IDENTITY.0)
        .env("GIT_COMMITTER_EMAIL", IDENTITY.1)
}

fn merge_failure(output: &Output) -> Error {
    let words = output.error_text();
    if words.contains("usage: git merge-tree") || words.contains("unknown option") {
        return Error::unavailable("this git is too old to try merges without a checkout")
            .hint("install git 2.38 or newer: `git --version` says which one this is");
    }
    match words.contains("unrelated histories") {
        true => Error::failed("the histories have nothing in common").detail(words),
        false => failure("merge the commits", output),
    }
}

/// Reads `<tree> NUL (<name> NUL)* NUL (<count> NUL <path>… <kind> NUL <message> NUL)*`.
fn read_merge(output: &Output, ours: &str, theirs: &str) -> Result<Merge> {
    let text = output.text();
    let mut fields = text.split('\0');
    let tree = fields
        .next()
        .and_then(refs::full_id)
        .ok_or_else(|| Error::internal("git merged into no tree"))?;
    if output.status.success() {
        return Ok(Merge {
            tree,
            conflicts: Vec::new(),
        });
    }
    // What git has put aside is called `<path>~<commit>`.
    let own_name = |path: &str| {
        let cut = [ours, theirs]
            .iter()
            .find_map(|commit| path.split_once(&format!("~{commit}")).map(|(path, _)| path));
        cut.unwrap_or(path).to_owned()
    };
    let names: Vec<&str> = fields.by_ref().take_while(|name| !name.is_empty()).collect();
    let mut kinds: HashMap<String, String> = HashMap::new();
    while let Some(count) = fields.next().and_then(|count| count.parse::<usize>().ok()) {
        let paths: Vec<&str> = fields.by_ref().take(count).collect();
        let (Some(kind), Some(_message)) = (fields.next(), fields.next()) else {
            break;
        };
        let kind = kind.strip_prefix("CONFLICT (").and_then(|kind| kind.strip_suffix(')'));
        for path in paths {
            if let Some(kind) = kind {
                // Of a binary file git says both; the first word says more.
                kinds.entry(own_name(path)).or_insert_with(|| kind.to_owned());
            }
        }
    }
    for name in names {
        kinds.entry(own_name(name)).or_insert_with(|| "contents".to_owned());
    }
    let mut conflicts: Vec<FileConflict> = kinds
        .into_iter()
        .map(|(file, kind)| FileConflict { file, kind })
        .collect();
    conflicts.sort();
    Ok(Merge { tree, conflicts })
}

/// Reads `<added> TAB <removed> TAB <path> NUL`; a binary file has dashes for counts.
fn read_numstat(bytes: &[u8]) -> Vec<Change> {
    let text = String::from_utf8_lossy(bytes);
    let read = |record: &str| {
        let mut fields = record.splitn(3, '\t');
        let (added, removed, path) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Change {
            path: path.to_owned(),
            added: added.trim().parse().ok(),
            removed: removed.parse().ok(),
        })
    };
    text.split('\0').filter_map(read).collect()
}

/// Removes the scratch folders of processes that are gone.
fn clear_old_scratch(common: &Path) -> Result<()> {
    for entry in std::fs::read_dir(common).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix("fleet-scratch-")
            .and_then(|rest| rest.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid: u32| crate::process::start_time(pid).is_none()) {
            files::remove_tree("merge.scratch-clear", &entry.path())?;
        }
    }
    Ok(())
}
