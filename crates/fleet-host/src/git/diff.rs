//! What a worktree changed since its base, untracked files included, with nothing written to the repository.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fleet_core::{Error, Result};

use super::{Scratch, common_of, on, succeed, worktree};
use crate::files;

/// How a [`Diff`] is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffForm {
    /// The whole patch.
    Patch,
    /// One line a file, with counts.
    Stat,
    /// Only the paths, one a line.
    Names,
}

/// The question for [`super::diff`].
#[derive(Clone, Debug)]
pub struct Diff<'a> {
    /// The worktree, or the main checkout.
    pub worktree: &'a Path,
    /// The commit it started from.
    pub base: &'a str,
    /// Files that fleet copied in, and SHA-256 of the copies: those still unchanged are left out.
    pub copied: &'a [(String, String)],
    /// How it is written.
    pub form: DiffForm,
    /// Whether to use colours.
    pub color: bool,
}

pub(super) fn run(diff: &Diff<'_>) -> Result<String> {
    let admin = worktree::admin_dir(diff.worktree)
        .or_else(|| super::follow_dot_git(&diff.worktree.join(".git")))
        .ok_or_else(|| Error::not_found(format!("{} is no worktree of git", diff.worktree.display())))?;
    let scratch = Scratch::new(&admin)?;
    let objects = scratch.path("objects");
    files::create_private_dir("git.scratch-objects", &objects)?;
    let index = scratch
        .copy_index(&admin, "index")?
        .unwrap_or_else(|| scratch.path("index"));
    let repository = quote(&common_of(&admin).join("objects"));
    let call = |site| {
        on(site, &admin, diff.worktree)
            .env("GIT_INDEX_FILE", &index)
            .env("GIT_OBJECT_DIRECTORY", &objects)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &repository)
    };
    let unchanged = unchanged(diff.worktree, diff.copied);
    let add = call("git.diff-add")
        .args(QUIET_ADD)
        .stdin(pathspecs(unchanged.map(|(path, _)| path.as_bytes())));
    // A file that cannot be read is left out; the diff of the others is still of use.
    add.output()?;
    let form = match diff.form {
        DiffForm::Patch => "--patch",
        DiffForm::Stat => "--stat",
        DiffForm::Names => "--name-only",
    };
    let color = if diff.color { "--color=always" } else { "--no-color" };
    let args = ["diff", "--cached", "--no-ext-diff", form, color, diff.base, "--"];
    Ok(succeed("compare with the base", call("git.diff").args(args))?.text())
}

/// Those of `copied` that are still as they were copied: path and digest.
pub(crate) fn unchanged<'a>(
    worktree: &'a Path,
    copied: &'a [(String, String)],
) -> impl Iterator<Item = &'a (String, String)> {
    copied
        .iter()
        .filter(|(path, digest)| files::file_digest(&worktree.join(path)).as_deref() == Some(digest.as_str()))
}

/// `git add` of everything but what the path patterns on standard input exclude; one bad file stops nothing.
pub(crate) const QUIET_ADD: [&str; 14] = [
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.safecrlf=false",
    "-c",
    "advice.addEmbeddedRepo=false",
    "-c",
    "core.untrackedCache=false",
    "add",
    "--all",
    "--sparse",
    "--ignore-errors",
    "--pathspec-from-file=-",
    "--pathspec-file-nul",
];

/// Path patterns for [`QUIET_ADD`]: everything but `excluded`.
pub(crate) fn pathspecs<'a>(excluded: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut patterns = b":/\0".to_vec();
    for path in excluded {
        patterns.extend_from_slice(b":(top,exclude,literal)");
        patterns.extend_from_slice(path);
        patterns.push(0);
    }
    patterns
}

/// A path in a list that git separates by colons: in quotes, as a C string.
pub(crate) fn quote(path: &Path) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt;
    let mut quoted = vec![b'"'];
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    std::ffi::OsString::from_vec(quoted)
}
