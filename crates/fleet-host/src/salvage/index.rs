//! The index of a worktree: the files git was told not to look at, and copies that may be changed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fleet_core::Result;

use crate::git::{self, Scratch};

/// Paths that exist and that git was told not to look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hidden {
    /// Marked with `--assume-unchanged`.
    pub(crate) assumed: Vec<PathBuf>,
    /// Marked with `--skip-worktree`, and there nevertheless.
    pub(crate) skipped: Vec<PathBuf>,
}

impl Hidden {
    pub(crate) fn is_empty(&self) -> bool {
        self.assumed.is_empty() && self.skipped.is_empty()
    }
}

/// Finds them. Most indexes have no such mark, which is seen without a fork.
pub(crate) fn hidden(admin: &Path, worktree: &Path) -> Result<Hidden> {
    let mut hidden = Hidden::default();
    let Ok(bytes) = fs::read(admin.join("index")) else {
        return Ok(hidden);
    };
    if has_marks(&bytes, id_length(admin)) == Some(false) {
        return Ok(hidden);
    }
    let list = git::on("salvage.list-marks", admin, worktree)
        .args(["ls-files", "-v", "-z"])
        .output()?;
    for record in list.stdout.split(|byte| *byte == 0).filter(|record| record.len() > 2) {
        let path = PathBuf::from(OsStr::from_bytes(&record[2..]));
        let exists = fs::symlink_metadata(worktree.join(&path)).is_ok();
        if exists && record[0].eq_ignore_ascii_case(&b'S') {
            hidden.skipped.push(path.clone());
        }
        // Without its file such an entry is a hidden deletion.
        if record[0].is_ascii_lowercase() {
            hidden.assumed.push(path);
        }
    }
    Ok(hidden)
}

/// A copy of the index in which nothing is hidden; made from `head` when a cut-off checkout left no index.
pub(crate) fn open_copy(
    admin: &Path,
    worktree: &Path,
    head: Option<&str>,
    hidden: &Hidden,
    scratch: &Scratch,
) -> Result<PathBuf> {
    let path = scratch.path("index");
    let call = |site| git::on(site, admin, worktree).env("GIT_INDEX_FILE", &path);
    if scratch.copy_index(admin, "index")?.is_none()
        && let Some(head) = head
    {
        git::succeed("read the commit", call("salvage.read-tree").args(["read-tree", head]))?;
    }
    for (flag, paths) in [
        ("--no-skip-worktree", &hidden.skipped),
        ("--no-assume-unchanged", &hidden.assumed),
    ] {
        if !paths.is_empty() {
            let cmd = call("salvage.unhide")
                .args(["update-index", flag, "-z", "--stdin"])
                .stdin(nul_list(paths));
            git::succeed("look at hidden files", cmd)?;
        }
    }
    Ok(path)
}

/// Paths, each ended by a null byte.
pub(crate) fn nul_list(paths: &[PathBuf]) -> Vec<u8> {
    let mut list = Vec::new();
    for path in paths {
        list.extend_from_slice(path.as_os_str().as_bytes());
        list.push(0);
    }
    list
}

/// Bytes of an object id of this repository.
fn id_length(admin: &Path) -> usize {
    let config = fs::read_to_string(git::common_of(admin).join("config"))
        .unwrap_or_default()
        .to_ascii_lowercase();
    let sha256 = config.lines().any(|line| {
        line.trim()
            .strip_prefix("objectformat")
            .is_some_and(|rest| rest.contains("sha256"))
    });
    if sha256 { 32 } else { 20 }
}

/// Whether an entry has the flag assume-valid or skip-worktree, by gitformat-index(5); none when the index is of
/// a kind that only git reads.
fn has_marks(bytes: &[u8], id_length: usize) -> Option<bool> {
    const ASSUME_VALID: u16 = 0x8000;
    const EXTENDED: u16 = 0x4000;
    const SKIP_WORKTREE: u16 = 0x4000;
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    if bytes.get(..4)? != b"DIRC" || !matches!(word(4)?, 2 | 3) {
        return None;
    }
    let mut at = 12;
    for _ in 0..word(8)? {
        let flags_at = at + 40 + id_length;
        let flags = half(flags_at)?;
        let extended = flags & EXTENDED != 0;
        if flags & ASSUME_VALID != 0 || (extended && half(flags_at + 2)? & SKIP_WORKTREE != 0) {
            return Some(true);
        }
        let name_at = flags_at + if extended { 4 } else { 2 };
        let name = bytes.get(name_at..)?.iter().position(|byte| *byte == 0)?;
        // Entries are padded with one to eight null bytes to a multiple of eight.
        at += (name_at + name - at + 8) & !7;
    }
    // In a split index the other entries are in another file.
    let rest = bytes.get(at..)?;
    if rest.get(..4) == Some(b"link") {
        None
    } else {
        Some(false)
    }
}
