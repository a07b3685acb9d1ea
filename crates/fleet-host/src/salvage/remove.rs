//! Removing: the worktree is moved into the trash in one step, and only then, if nothing must be kept, deleted.

use std::fs;
use std::path::{Path, PathBuf};

use fleet_core::Result;

use super::{GITDIR, Job, NOTE, Removed, Saved, WORKTREE, reference};
use crate::files;
use crate::git::{self, refs, worktree};

/// Takes the workspace of `job` away after [`super::save`] made it safe.
pub fn remove_workspace(job: &Job<'_>, saved: &Saved) -> Result<Removed> {
    if job.worktree.exists() {
        files::create_private_dir("remove.trash", job.trash)?;
        files::rename("remove.move", job.worktree, &free_name(job.trash, WORKTREE))?;
    }
    settle(job, saved.needs_trash)
}

/// Carries a removal on that was cut off after the worktree had been moved, as the note in the trash tells.
pub fn finish_removal(job: &Job<'_>) -> Result<Removed> {
    let note = fs::read(job.trash.join(NOTE)).ok();
    let saved: Option<Saved> = note.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    settle(job, saved.is_some_and(|saved| saved.needs_trash))
}

/// Whether a removal of `job` has got so far that its worktree is in the trash: then [`finish_removal`] goes on.
/// When the folder is missing without this, somebody else removed it, and the rest is to be looked at and saved.
pub fn is_moved(job: &Job<'_>) -> bool {
    !job.worktree.exists() && job.trash.join(WORKTREE).exists()
}

/// Deletes for good what was saved under `id`: its ref, and its folder in the trash. What is gone is no error.
pub fn prune(repo: &Path, id: &str, trash: Option<&Path>) -> Result<()> {
    if repo.is_dir() {
        let name = reference(id);
        if let Some(commit) = refs::ref_commit(repo, &name)? {
            let cmd = git::at("prune.ref", repo).args(["update-ref", "-d", &name, &commit]);
            git::succeed("delete the salvage ref", cmd)?;
        }
        files::remove_tree("prune.gitdir", &repo.join("fleet-trash").join(id))?;
        let _ = fs::remove_dir(repo.join("fleet-trash"));
    }
    match trash {
        Some(trash) => files::remove_tree("prune.trash", trash),
        None => Ok(()),
    }
}

fn settle(job: &Job<'_>, keep: bool) -> Result<Removed> {
    if job.repo.is_dir() {
        let _turn = worktree::take_turn(job.repo)?;
        if let Some(admin) = git::find_admin(job.repo, job.worktree)? {
            let at = keep.then(|| match files::same_file_system(job.trash, &admin) {
                true => free_name(job.trash, GITDIR),
                false => free_name(&job.repo.join("fleet-trash"), job.id),
            });
            worktree::retire_admin(job.repo, &admin, at.as_deref())?;
        }
    }
    let moved = job.trash.join(WORKTREE);
    if keep {
        return Ok(Removed {
            kept: moved.exists().then_some(moved),
        });
    }
    files::remove_tree("remove.worktree", &moved)?;
    // Only an empty one goes: edited credentials may be in it.
    let _ = fs::remove_dir(job.trash);
    Ok(Removed::default())
}

/// `<folder>/<name>`, or with a number when that is taken by an earlier salvage of the same id.
fn free_name(folder: &Path, name: &str) -> PathBuf {
    let plain = folder.join(name);
    if fs::symlink_metadata(&plain).is_err() {
        return plain;
    }
    (2..)
        .map(|number| folder.join(format!("{name}.{number}")))
        .find(|path| !path.exists())
        .unwrap_or(plain)
}
