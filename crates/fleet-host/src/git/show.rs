//! Small questions about a repository, and the removal of one ref.

use std::path::Path;

use fleet_core::Result;

use super::{at, branch_checked_out_at, describe};
use crate::exec::Cmd;

/// The version of git, such as `2.39.5`.
pub fn version() -> Result<String> {
    let text = Cmd::new("git.version", "git", Path::new("/")).arg("--version").run()?;
    Ok(text.trim().trim_start_matches("git version ").to_owned())
}

/// The files in which `commit` differs from `head` (from nothing without one), with counts.
pub fn changed_files(common: &Path, head: Option<&str>, commit: &str) -> Result<String> {
    /// The tree without files, which git knows by itself.
    const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    at("git.changed-files", common)
        .args(["diff", "--stat", head.unwrap_or(EMPTY_TREE), commit, "--"])
        .run()
}

/// Deletes a ref. One that is gone already is no error.
pub fn delete_ref(site: &'static str, common: &Path, name: &str) -> Result<()> {
    at(site, common).args(["update-ref", "-d", name]).run().map(|_| ())
}

/// Whether some checkout is on `branch`.
pub fn is_checked_out(common: &Path, branch: &str) -> Result<bool> {
    Ok(branch_checked_out_at(&describe(common.to_owned(), None), branch)?.is_some())
}
