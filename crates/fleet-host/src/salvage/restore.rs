//! Bringing saved work back, always into a new worktree.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fleet_core::{Error, Kind, Result, fault};
use nix::sys::stat::Mode;

use super::save::line_of;
use super::{CREDENTIALS, GITDIR, Saved, WORKTREE};
use crate::files;
use crate::git::{self, BranchMode, Repo};

/// What is brought back, and whereto.
#[derive(Clone, Copy, Debug)]
pub struct Restore<'a> {
    /// Id of the salvage.
    pub id: &'a str,
    /// Real path of the common git directory.
    pub repo: &'a Path,
    /// What was saved.
    pub saved: &'a Saved,
    /// The salvage's folder in the trash, where it has one.
    pub trash: Option<&'a Path>,
    /// The folder of the new worktree; it must not exist.
    pub to: &'a Path,
    /// The new branch, such as `salvage/<branch>`.
    pub branch: &'a str,
}

/// Makes the new worktree: its branch at the commit that was checked out, the index and every file as they were.
/// What was saved stays saved. Gives what could not be brought back, in words.
///
/// # Errors
/// `Conflict` when the folder or the branch exists. After an error nothing of the new worktree is left.
pub fn restore(restore: &Restore<'_>) -> Result<Vec<String>> {
    if fs::symlink_metadata(restore.to).is_ok() {
        return Err(Error::conflict(format!("{} exists already", restore.to.display()))
            .hint("choose another folder, or remove this one"));
    }
    let repo = Repo::of(restore.repo);
    git::check_new_branch(&repo, restore.branch, false)?;
    let saved = restore.saved;
    let start = saved
        .head
        .as_ref()
        .or(saved.commit.as_ref())
        .or(saved.base.as_ref())
        .cloned();
    let start = match start {
        Some(start) => start,
        None => git::resolve_base(&repo, None)?,
    };
    git::add_worktree(&repo, restore.branch, restore.to, &start, BranchMode::New)?;
    fill(restore, &start).inspect_err(|_| {
        let _ = files::remove_tree("restore.undo", restore.to);
        let _ = git::remove_worktree_admin(restore.repo, restore.to);
        let _ = git::delete_branch("restore.undo-branch", restore.repo, restore.branch);
    })
}

fn fill(restore: &Restore<'_>, start: &str) -> Result<Vec<String>> {
    let admin = git::admin_dir(restore.to).ok_or_else(|| {
        Error::new(
            Kind::Internal,
            format!("git made no worktree at {}", restore.to.display()),
        )
    })?;
    let mut warnings = Vec::new();
    let kept = restore
        .trash
        .map(|trash| trash.join(WORKTREE))
        .filter(|kept| restore.saved.needs_trash && kept.exists());
    match kept {
        Some(kept) => {
            fault::guard("restore.copy", || copy_tree(&kept, restore.to, true, &mut warnings))?;
            bring_git_state(restore, &admin, start)?;
        }
        None => {
            let tree = restore.saved.commit.as_deref().unwrap_or(start);
            read_tree(&admin, restore.to, &["--reset", "-u", tree])?;
            read_tree(
                &admin,
                restore.to,
                &["-m", restore.saved.index.as_deref().unwrap_or(start)],
            )?;
            write_exact_bytes(&admin, restore.to, start, tree)?;
        }
    }
    bring_credentials(restore, &mut warnings)?;
    Ok(warnings)
}

fn bring_credentials(restore: &Restore<'_>, warnings: &mut Vec<String>) -> Result<()> {
    for path in &restore.saved.trashed_credentials {
        let kept = restore.trash.map(|trash| trash.join(CREDENTIALS).join(path));
        let Some(kept) = kept.filter(|kept| fs::symlink_metadata(kept).is_ok()) else {
            warnings.push(format!(
                "the edited credential file `{}` is no longer in the trash",
                path.display()
            ));
            continue;
        };
        let to = restore.to.join(path);
        files::remove_file("restore.credential-clear", &to)?;
        if kept.is_symlink() {
            let target = fs::read_link(&kept).map_err(|error| files::io_error("read", &kept, &error))?;
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(|error| files::io_error("create", folder, &error))?;
            }
            fault::guard("restore.credential-link", || std::os::unix::fs::symlink(target, &to))
                .map_err(|error| files::io_error("write", &to, &error))?;
        } else {
            files::copy_file("restore.credential", &kept, &to)?;
        }
    }
    Ok(())
}

fn read_tree(admin: &Path, worktree: &Path, args: &[&str]) -> Result<()> {
    let cmd = git::on("restore.read-tree", admin, worktree)
        .args(["read-tree", "--no-sparse-checkout"])
        .args(args);
    git::succeed("bring the files back", cmd)?;
    Ok(())
}

/// Undoes what check-out filters did to the files that were saved by their bytes.
fn write_exact_bytes(admin: &Path, worktree: &Path, start: &str, tree: &str) -> Result<()> {
    let args = ["diff-tree", "-r", "-z", "--no-renames", "--diff-filter=d", start, tree];
    let output = git::succeed(
        "list the saved files",
        git::on("restore.list", admin, worktree).args(args),
    )?;
    // `:<old mode> <mode> <old object> <object> <status>`, then the path.
    let mut fields = output.stdout.split(|byte| *byte == 0);
    let mut expected = Vec::new();
    while let (Some(entry), Some(path)) = (fields.next(), fields.next()) {
        let mut parts = std::str::from_utf8(entry).unwrap_or_default().split(' ').skip(1);
        if let (Some(mode), Some(id)) = (parts.next(), parts.nth(1))
            && mode.starts_with("100")
        {
            expected.push((PathBuf::from(std::ffi::OsStr::from_bytes(path)), id.to_owned()));
        }
    }
    if expected.is_empty() {
        return Ok(());
    }
    let lines: Vec<u8> = expected.iter().flat_map(|(path, _)| line_of(path)).collect();
    let cmd = git::on("restore.prove", admin, worktree).args(["hash-object", "--no-filters", "--stdin-paths"]);
    let hashes = git::succeed("compare the restored files", cmd.stdin(lines))?.text();
    for ((path, id), hash) in expected.iter().zip(hashes.lines()) {
        if id == hash {
            continue;
        }
        let cmd = git::on("restore.blob", admin, worktree).args(["cat-file", "blob", id]);
        let bytes = git::succeed("read a saved file", cmd)?.stdout;
        let full = worktree.join(path);
        // Written in place, so that the mode stays.
        fault::guard("restore.bytes", || fs::write(&full, bytes))
            .map_err(|error| files::io_error("write", &full, &error))?;
    }
    Ok(())
}

/// The index and the state of a merge, from git's directory in the trash.
fn bring_git_state(restore: &Restore<'_>, admin: &Path, start: &str) -> Result<()> {
    let beside = restore.repo.join("fleet-trash").join(restore.id);
    let old = restore
        .trash
        .map(|trash| trash.join(GITDIR))
        .filter(|old| old.is_dir())
        .unwrap_or(beside);
    let copy = |name: &str| {
        let (from, to) = (old.join(name), admin.join(name));
        match from.is_file() {
            true => files::copy_file("restore.git-state", &from, &to).map(|_| true),
            false => Ok(false),
        }
    };
    if !copy("index")? {
        read_tree(admin, restore.to, &[restore.saved.index.as_deref().unwrap_or(start)])?;
    }
    for name in [
        "MERGE_HEAD",
        "MERGE_MSG",
        "MERGE_MODE",
        "CHERRY_PICK_HEAD",
        "REVERT_HEAD",
    ] {
        copy(name)?;
    }
    for entry in fs::read_dir(&old).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.as_bytes().starts_with(b"sharedindex.") {
            files::copy_file("restore.git-state", &entry.path(), &admin.join(name))?;
        }
    }
    let modules = old.join("modules");
    if modules.is_dir() {
        let mut ignored = Vec::new();
        fault::guard("restore.modules", || {
            copy_tree(&modules, &admin.join("modules"), false, &mut ignored)
        })?;
        reconnect_modules(restore.to, restore.to, admin)?;
    }
    Ok(())
}

/// Points the `.git` files of submodules to the copies of their repositories, and those back.
fn reconnect_modules(folder: &Path, root: &Path, admin: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && entry.file_name() != ".git" {
            reconnect_modules(&path, root, admin)?;
        } else if kind.is_file() && entry.file_name() == ".git" && folder != root {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let module = text
                .trim_end()
                .split_once("/modules/")
                .map(|(_, name)| admin.join("modules").join(name));
            let Some(module) = module.filter(|module| module.is_dir()) else {
                continue;
            };
            let line = format!("gitdir: {}\n", module.display());
            files::write_atomic("restore.module", &path, line.as_bytes(), 0o644)?;
            let cmd = git::bare_call("restore.module-config", root)
                .args(["config", "--file"])
                .arg(module.join("config"));
            git::succeed("connect a submodule", cmd.arg("core.worktree").arg(folder))?;
        }
    }
    Ok(())
}

/// Copies files, links, folders and FIFOs with their modes; `top` leaves git's own file out.
fn copy_tree(from: &Path, to: &Path, top: bool, warnings: &mut Vec<String>) -> Result<()> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| files::io_error("copy", &path, &error)
    };
    fs::create_dir_all(to).map_err(fail(to))?;
    for entry in fs::read_dir(from).map_err(fail(from))? {
        let entry = entry.map_err(fail(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(fail(&source))?;
        if top && entry.file_name() == ".git" && kind.is_file() {
            continue;
        }
        if top && entry.file_name() == ".git" {
            warnings.push(format!(
                "the repository that replaced `.git` stays in {}",
                source.display()
            ));
        } else if kind.is_dir() {
            copy_tree(&source, &target, false, warnings)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&source).map_err(fail(&source))?;
            let _ = fs::remove_file(&target);
            std::os::unix::fs::symlink(link, &target).map_err(fail(&target))?;
        } else if kind.is_file() {
            fs::copy(&source, &target).map_err(fail(&source))?;
        } else if kind.is_fifo() {
            let mode = fs::metadata(&source).map_or(0o600, |meta| meta.permissions().mode() & 0o777);
            nix::unistd::mkfifo(&target, Mode::from_bits_truncate(mode))
                .map_err(|error| fail(&target)(error.into()))?;
        } else {
            warnings.push(format!(
                "`{}` is a socket or device and was not copied",
                source.display()
            ));
        }
    }
    let mode = fs::metadata(from).map_err(fail(from))?.permissions();
    if !top {
        fs::set_permissions(to, mode).map_err(fail(to))?;
    }
    Ok(())
}
