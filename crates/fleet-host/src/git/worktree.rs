//! Worktrees: made under one lock per repository, filled outside of it, listed without a fork.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fleet_core::{Error, Result};

use super::{IDENTITY, Repo, at, bare_call, common_of, failure, real, refs, stored_path};
use crate::exec::Output;
use crate::files;
use crate::lock::Lock;

/// Whether a worktree gets a branch of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchMode {
    /// The branch is made at the base.
    New,
    /// The branch exists already; the base does not matter.
    Existing,
}

/// A linked worktree as the repository knows it; its folder may be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worktree {
    /// Its folder.
    pub path: PathBuf,
    /// Its admin directory, `<common>/worktrees/<name>`.
    pub admin: PathBuf,
    /// The branch that it is on; none on a plain commit.
    pub branch: Option<String>,
}

/// Makes the worktree `path` on `branch`, still without files: [`checkout`] brings them.
///
/// All calls for one repository take turns, because git's own are not safe beside each other. A call that was
/// cut off can be repeated: a worktree that is there already, on this branch, is taken as it is.
///
/// # Errors
/// `Conflict` when the branch or the folder exists meanwhile, or the branch is checked out elsewhere.
pub fn add_worktree(repo: &Repo, branch: &str, path: &Path, base: &str, mode: BranchMode) -> Result<()> {
    let _turn = take_turn(&repo.common_dir)?;
    if let Some(admin) = find_admin(&repo.common_dir, path)? {
        let complete = admin.join("commondir").exists() && !admin.join("locked").exists();
        let ours = refs::head_branch(&repo.common_dir, &admin).as_deref() == Some(branch);
        if complete && ours && path.join(".git").exists() {
            return Ok(());
        }
        if path.exists() {
            return Err(Error::conflict(format!("{} is a worktree already", path.display()))
                .hint(format!("see what it is: `git worktree list` in {}", repo.name)));
        }
        move_out_and_remove(&repo.common_dir, &admin)?;
    }
    let mut output = call_add(repo, branch, path, base, mode)?;
    // A git that outlived a killed fleet holds no lock of ours; reading its half-made worktree fails once.
    if !output.status.success() && output.error_text().contains("failed to read") {
        output = call_add(repo, branch, path, base, mode)?;
    }
    if output.status.success() {
        return Ok(());
    }
    let words = output.error_text();
    let taken = ["already exists", "already checked out", "already used by worktree"];
    if taken.iter().any(|each| words.contains(each)) {
        return Err(
            Error::conflict(format!("`{branch}` cannot be created: it was taken meanwhile"))
                .hint("choose another name, or look at it: `git worktree list`")
                .detail(words),
        );
    }
    Err(failure("add the worktree", &output))
}

/// Makes the worktree `path` on no branch, still without files: [`checkout_detached`] brings them. One that is there
/// already is taken as it is.
pub fn add_detached_worktree(common: &Path, path: &Path, commit: &str) -> Result<()> {
    let _turn = take_turn(common)?;
    if let Some(admin) = find_admin(common, path)? {
        let complete = admin.join("commondir").exists() && !admin.join("locked").exists();
        if complete && path.join(".git").exists() {
            return Ok(());
        }
        move_out_and_remove(common, &admin)?;
    }
    files::remove_tree("git.detached-clear", path)?;
    let args = ["worktree", "add", "--quiet", "--no-checkout", "--detach"];
    let cmd = at("git.detached-add", common)
        .env("GIT_COMMITTER_NAME", IDENTITY.0)
        .env("GIT_COMMITTER_EMAIL", IDENTITY.1);
    super::succeed("add the worktree", cmd.args(args).arg(path).arg(commit))?;
    Ok(())
}

/// Brings exactly the files of `commit` into a worktree of fleet's own, without the user's hooks. Ignored files stay, so
/// that what was built before need not be built again.
pub fn checkout_detached(path: &Path, commit: &str) -> Result<()> {
    let call = |site| bare_call(site, path).args(["-c", "core.hooksPath=/dev/null"]);
    let args = [
        "checkout",
        "--force",
        "--quiet",
        "--detach",
        "--no-recurse-submodules",
        commit,
        "--",
    ];
    super::succeed("check the files out", call("git.detached-checkout").args(args))?;
    let args = ["clean", "--force", "--force", "-d", "--quiet"];
    super::succeed("clear the worktree", call("git.detached-clean").args(args))?;
    Ok(())
}

/// Fills a worktree that [`add_worktree`] made: files and index, as `git checkout` does, its hook included.
pub fn checkout(path: &Path) -> Result<()> {
    let args = ["checkout", "--force", "--quiet", "--no-recurse-submodules"];
    let output = bare_call("git.checkout", path).args(args).output()?;
    // git ends with the code of the post-checkout hook, which comes last; the files are there then.
    if output.status.success() || admin_dir(path).is_some_and(|admin| admin.join("index").exists()) {
        return Ok(());
    }
    Err(failure("check the files out", &output))
}

/// The admin directory that the `.git` file of a linked worktree names.
pub fn admin_dir(worktree: &Path) -> Option<PathBuf> {
    let text = fs::read(worktree.join(".git")).ok()?;
    let admin = stored_path(text.strip_prefix(b"gitdir: ")?, worktree);
    admin.join("commondir").exists().then_some(admin)
}

/// The admin directory that the repository `common` has for `worktree`, whether or not its folder is there.
pub fn find_admin(common: &Path, worktree: &Path) -> Result<Option<PathBuf>> {
    let wanted = real(worktree);
    let common = real(common);
    let own = admin_dir(worktree).filter(|admin| common_of(admin) == common && points_to(admin, &wanted));
    if own.is_some() {
        return Ok(own);
    }
    Ok(admins(&common)?.into_iter().find(|admin| points_to(admin, &wanted)))
}

/// The linked worktrees of the repository `common`, by name of their admin directory.
pub fn worktrees(common: &Path) -> Result<Vec<Worktree>> {
    let mut list = Vec::new();
    for admin in admins(common)? {
        let Some(path) = folder_of(&admin) else { continue };
        list.push(Worktree {
            path,
            branch: refs::head_branch(common, &admin),
            admin,
        });
    }
    Ok(list)
}

/// Lets git forget the worktree `path`; its folder is not touched. Nothing to forget is no error.
pub fn remove_worktree_admin(common: &Path, path: &Path) -> Result<()> {
    let _turn = take_turn(common)?;
    match find_admin(common, path)? {
        Some(admin) => move_out_and_remove(common, &admin),
        None => Ok(()),
    }
}

/// Waits until no other fleet adds or removes worktrees of this repository.
pub(crate) fn take_turn(common: &Path) -> Result<Lock> {
    Lock::take(&common.join("fleet.lock"))
}

/// Moves or removes the admin directory of a worktree whose folder is in the trash. Call it in turn.
pub(crate) fn retire_admin(common: &Path, admin: &Path, keep_at: Option<&Path>) -> Result<()> {
    match keep_at {
        None => return move_out_and_remove(common, admin),
        Some(to) => files::rename("git.admin-keep", admin, to)?,
    }
    remove_empty_admins(common);
    Ok(())
}

/// Removes what a git that was killed has begun of `worktree`: an admin directory that points nowhere yet. Nobody could
/// find it by its path, and git leaves it alone because it still says `locked`.
pub fn forget_half_made(common: &Path, worktree: &Path) -> Result<()> {
    let Some(wanted) = worktree.file_name().and_then(|name| name.to_str()) else {
        return Ok(());
    };
    let half_made = || -> Result<Vec<PathBuf>> {
        let points_nowhere = |admin: &PathBuf| {
            fs::read(admin.join("gitdir")).is_ok_and(|text| text.is_empty()) || !admin.join("gitdir").exists()
        };
        // git adds a number when the name is taken.
        let named = |admin: &PathBuf| {
            let rest = admin
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.strip_prefix(wanted));
            rest.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
        };
        Ok(admins(common)?
            .into_iter()
            .filter(named)
            .filter(points_nowhere)
            .collect())
    };
    if half_made()?.is_empty() {
        return Ok(());
    }
    // A git that has outlived its caller needs a few milliseconds from here to the end.
    let _ = nix::poll::poll(&mut [], 200u8);
    let _turn = take_turn(common)?;
    for admin in half_made()? {
        move_out_and_remove(common, &admin)?;
    }
    Ok(())
}

/// First moved, then removed: a half-removed admin directory would make every other git call on the repository's
/// worktrees fail.
fn move_out_and_remove(common: &Path, admin: &Path) -> Result<()> {
    let name = admin.file_name().unwrap_or_default();
    let out = common.join("fleet-trash").join(name);
    files::remove_tree("git.admin-trash", &out)?;
    files::rename("git.admin-move", admin, &out)?;
    files::remove_tree("git.admin-remove", &out)?;
    let _ = fs::remove_dir(common.join("fleet-trash"));
    remove_empty_admins(common);
    Ok(())
}

/// Removes the folder of admin directories when it is empty, as git does. Call it in turn.
fn remove_empty_admins(common: &Path) {
    let _ = fs::remove_dir(common.join("worktrees"));
}

fn call_add(repo: &Repo, branch: &str, path: &Path, base: &str, mode: BranchMode) -> Result<Output> {
    let cmd = at("git.worktree-add", &repo.common_dir)
        // Nothing but the ref logs shows it, and they are then never without a name.
        .env("GIT_COMMITTER_NAME", IDENTITY.0)
        .env("GIT_COMMITTER_EMAIL", IDENTITY.1)
        .args(["worktree", "add", "--quiet", "--no-checkout"]);
    let cmd = match mode {
        BranchMode::New => cmd.args(["-b", branch]).arg(path).arg(base),
        BranchMode::Existing => cmd.arg(path).arg(branch),
    };
    cmd.output()
}

fn admins(common: &Path) -> Result<Vec<PathBuf>> {
    let folder = common.join("worktrees");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(files::io_error("read", &folder, &error)),
    };
    let mut admins: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    admins.sort();
    Ok(admins)
}

fn folder_of(admin: &Path) -> Option<PathBuf> {
    let text = fs::read(admin.join("gitdir")).ok()?;
    let dot_git = admin.join(std::ffi::OsStr::from_bytes(text.trim_ascii_end()));
    // Only the folder is resolved: `.git` itself may have become a link.
    dot_git.parent().map(real)
}

fn points_to(admin: &Path, worktree: &Path) -> bool {
    folder_of(admin).is_some_and(|folder| folder == worktree)
}
