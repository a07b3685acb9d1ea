//! Work is saved before its workspace goes, and can be brought back.
//!
//! What git can hold becomes a commit under `refs/fleet/salvage/<id>`: its tree is every tracked, staged or
//! untracked byte of the worktree; its parents are the commit that was checked out, a commit of the index where
//! that differs, and every commit that only this worktree remembered. What git cannot hold stays in the folder
//! itself, which is moved into the trash together with git's directory about it. Copied credentials enter no git
//! object: unchanged ones are dropped, edited ones are kept in the trash.
//!
//! [`inspect`] looks, [`save`] makes the commit and checks that it has every byte, [`remove_workspace`] moves and
//! removes; after a crash, repeating them ends in the same state.

mod index;
mod inspect;
mod remove;
mod restore;
mod save;
mod walk;

use std::path::{Path, PathBuf};

use fleet_core::Time;
use serde::{Deserialize, Serialize};

use crate::git::Stage;

pub use inspect::inspect;
pub use remove::{finish_removal, is_moved, prune, remove_workspace};
pub use restore::{Restore, restore};
pub use save::save;

/// The workspace that is to go.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Id of the salvage; a part of a ref name.
    pub id: &'a str,
    /// Id of the agent, for the commit's message.
    pub agent: &'a str,
    /// Real path of the common git directory.
    pub repo: &'a Path,
    /// The worktree.
    pub worktree: &'a Path,
    /// The agent's branch.
    pub branch: &'a str,
    /// The commit that the worktree started from.
    pub base: Option<&'a str>,
    /// Files that fleet copied in, relative, and SHA-256 of the copies.
    pub copied: &'a [(String, String)],
    /// Whether ignored files are work too.
    pub salvage_ignored: bool,
    /// Whether the branch will be deleted; what only it holds is then saved too.
    pub delete_branch: bool,
    /// The folder of this salvage in a trash, on the file system of the worktree. It need not exist.
    pub trash: &'a Path,
    /// The time of the saving, for the commits.
    pub now: Time,
}

/// What a workspace holds that would be lost with it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// Nothing: it can simply go.
    pub clean: bool,
    /// What was found, in words; one thing each.
    pub reasons: Vec<String>,
    /// What the user should know although it does not keep the workspace.
    pub warnings: Vec<String>,
    /// Tracked files that differ from the index.
    pub changed: usize,
    /// Paths whose index entry differs from the commit.
    pub staged: usize,
    /// Untracked files, without unchanged credentials.
    pub untracked: usize,
    /// Paths in conflict.
    pub unmerged: usize,
    /// Ignored files and folders; counted only when they are to be saved.
    pub ignored: usize,
    /// Repositories inside the worktree.
    pub nested: Vec<String>,
    /// FIFOs, sockets, devices, and folders that cannot be read.
    pub special: Vec<String>,
    /// Copied credential files that were edited.
    pub edited_credentials: Vec<String>,
    /// Newest commits of the histories that no other ref reaches.
    pub lost_commits: Vec<String>,
    /// Whether a plain commit is checked out and no branch.
    pub detached: bool,
    /// Whether git cannot hold all of it, so that the worktree itself must be kept.
    pub needs_trash: bool,
    #[serde(skip)]
    pub(crate) detail: Detail,
}

/// What [`save`] needs of an inspection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Detail {
    /// git's directory about the worktree; none when git has forgotten it.
    pub(crate) admin: Option<PathBuf>,
    /// The commit that is checked out.
    pub(crate) head: Option<String>,
    /// Whether git could read the worktree.
    pub(crate) readable: bool,
    /// Paths whose bytes must be in the saved tree.
    pub(crate) dirty: Vec<PathBuf>,
    /// Paths that must not be added: credentials and nested repositories.
    pub(crate) excluded: Vec<PathBuf>,
    /// Paths that git was told not to look at.
    pub(crate) hidden: index::Hidden,
    /// Paths in conflict, with their stages.
    pub(crate) stages: Vec<(PathBuf, Vec<Stage>)>,
}

/// What was saved; everything that bringing it back needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// The ref that holds it; none when git holds nothing of it.
    pub reference: Option<String>,
    /// The commit that the ref points to.
    pub commit: Option<String>,
    /// The commit that was checked out.
    pub head: Option<String>,
    /// The commit that the worktree started from.
    pub base: Option<String>,
    /// The commit of the index, where that differed from what was checked out.
    pub index: Option<String>,
    /// All parents of the commit.
    pub parents: Vec<String>,
    /// Whether the worktree itself must be kept.
    pub needs_trash: bool,
    /// Copies of edited credential files, relative to the trash folder's `credentials`.
    pub trashed_credentials: Vec<PathBuf>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Saved {
    /// Whether there was nothing to save.
    pub fn is_empty(&self) -> bool {
        self.reference.is_none() && !self.needs_trash && self.trashed_credentials.is_empty()
    }
}

/// What became of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Where the worktree is kept; none when it was removed.
    pub kept: Option<PathBuf>,
}

/// The ref of a salvage.
pub fn reference(id: &str) -> String {
    format!("refs/fleet/salvage/{id}")
}

/// Within a trash folder: the worktree.
pub(crate) const WORKTREE: &str = "worktree";
/// Within a trash folder: git's directory about the worktree.
pub(crate) const GITDIR: &str = "gitdir";
/// Within a trash folder: edited credential files.
pub(crate) const CREDENTIALS: &str = "credentials";
/// Within a trash folder: the [`Saved`] that it belongs to. It is there exactly when something is to be kept.
pub(crate) const NOTE: &str = "salvage.json";

#[cfg(test)]
mod tests;
