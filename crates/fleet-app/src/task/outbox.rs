//! Requests to other projects: files in `.fleet/federation/outbox/`, one for each follow-up and project.

use std::path::PathBuf;

use fleet_core::task::{FollowUp, Task, file};
use fleet_core::{Error, Result};
use fleet_host::files;
use fleet_host::lock::Lock;

use super::{note, own_folder, repo_of};
use crate::app::App;

/// Asks the project `to` for a follow-up of `from`, and gives the file.
///
/// # Errors
/// `Conflict` when it was asked before, `Refused` when the repository has no checkout to write in.
pub fn ask(app: &App, from: &Task, follow_up: &FollowUp, to: &str) -> Result<PathBuf> {
    let repo = repo_of(from);
    let Some(root) = &repo.main_root else {
        return Err(
            Error::refused(format!("{} has no checkout to write a request into", repo.name))
                .hint("promote it to a task: leave `--to` out"),
        );
    };
    let _turn = Lock::take(&app.home.root().join("tasks.lock"))?;
    let folder = own_folder(root, file::OUTBOX)?;
    let path = folder.join(file::request_name(from.id, follow_up, to));
    if path.symlink_metadata().is_ok() {
        return Err(
            Error::conflict(format!("{to} was asked for it before: {}", path.display()))
                .hint("remove the file to ask again"),
        );
    }
    let text = file::request(&repo.name, from, follow_up, to, app.now());
    files::write_atomic("task.outbox", &path, text.as_bytes(), 0o644)?;
    note(app, &repo, Some(from.id), "asked", format!("{to}: {}", follow_up.title))?;
    Ok(path)
}
