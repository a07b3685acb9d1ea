//! What git does not list: repositories inside the worktree and files without bytes.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use fleet_core::Result;

use crate::git;

/// Things that no commit can hold, relative to the worktree.
#[derive(Debug, Default)]
pub(crate) struct Oddities {
    /// Folders with a `.git` of their own.
    pub(crate) nested: Vec<PathBuf>,
    /// FIFOs, sockets, devices and unreadable folders.
    pub(crate) special: Vec<PathBuf>,
}

/// Finds them below `worktree`; nothing below a nested repository is looked at.
pub(crate) fn oddities(worktree: &Path) -> Oddities {
    let mut found = Oddities::default();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(worktree.join(&folder)) else {
            found.special.push(folder);
            continue;
        };
        let before = folders.len();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Ok(kind) = entry.file_type() else { continue };
            if name == ".git" {
                if folder.as_os_str().is_empty() {
                    // The worktree's own is a file.
                    if kind.is_dir() {
                        found.nested.push(PathBuf::from("."));
                    }
                    continue;
                }
                found.nested.push(folder.clone());
                folders.truncate(before);
                break;
            }
            if kind.is_dir() {
                folders.push(folder.join(name));
            } else if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
                found.special.push(folder.join(name));
            }
        }
    }
    // A special file may have been seen before the `.git` beside it.
    let Oddities { nested, special } = &mut found;
    special.retain(|path| !nested.iter().any(|each| path.starts_with(each)));
    nested.sort();
    special.sort();
    found
}

/// Those of `paths` that no rule of the repository ignores. All of them when git cannot tell.
pub(crate) fn not_ignored(admin: &Path, worktree: &Path, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    if paths.is_empty() {
        return Ok(paths);
    }
    let mut input = Vec::new();
    for path in &paths {
        input.extend_from_slice(path.as_os_str().as_bytes());
        input.push(0);
    }
    let cmd = git::on("salvage.check-ignore", admin, worktree)
        .args(["check-ignore", "-z", "--stdin"])
        .stdin(input);
    let output = cmd.output()?;
    if !output.status.success() {
        return Ok(paths);
    }
    let ignored: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
    Ok(paths
        .into_iter()
        .filter(|path| !ignored.contains(&path.as_os_str().as_bytes()))
        .collect())
}
