//! Small questions about a repository, and the removal of one ref.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_core::Result;

use super::{at, bare_call, branch_checked_out_at, describe, succeed};
use crate::exec::Cmd;

/// The version of git, such as `2.39.5`.
pub fn version() -> Result<String> {
    let text = Cmd::new("git.version", "git", Path::new("/")).arg("--version").run()?;
    Ok(text.trim().trim_start_matches("git version ").to_owned())
}

/// Where the hooks of the checkout `folder` are; none where git cannot tell.
pub fn hooks(folder: &Path) -> Option<PathBuf> {
    let call = bare_call("git.hooks", folder).args(["rev-parse", "--git-path", "hooks"]);
    let text = succeed("tell where the hooks are", call).ok()?.text();
    Some(folder.join(text.trim_end_matches('\n')))
}

/// Name and address of whoever commits in the repository `common`; none where git does not know.
pub fn author(common: &Path) -> Option<(String, String)> {
    let output = at("git.author", common)
        .args(["var", "GIT_AUTHOR_IDENT"])
        .output()
        .ok()?;
    let text = output.text();
    let (name, rest) = text.trim().split_once(" <")?;
    let (mail, _) = rest.split_once('>')?;
    (output.status.success() && !name.is_empty()).then(|| (name.to_owned(), mail.to_owned()))
}

/// Whether tracked files of the checkout around `folder` differ from its commit; none when git does not say so within
/// `limit`. Its index is not written.
pub fn is_changed(folder: &Path, limit: Duration) -> Option<bool> {
    let output = bare_call("git.changed", folder)
        .args(["--no-optional-locks", "diff", "--quiet", "--no-ext-diff", "HEAD", "--"])
        .timeout(limit)
        .output();
    match output.ok()?.status.code() {
        Some(0) => Some(false),
        Some(1) => Some(true),
        _ => None,
    }
}

/// The files in which `commit` differs from `head` (from nothing without one), with counts.
pub fn changed_files(common: &Path, head: Option<&str>, commit: &str) -> Result<String> {
    let question = at("git.changed-files", common);
    match head {
        Some(head) => question.args(["diff", "--stat", head, commit, "--"]).run(),
        None => question
            .args(["show", "--stat", "--format=", "--root", commit, "--"])
            .run(),
    }
}

/// Whether some checkout is on `branch`.
pub fn is_checked_out(common: &Path, branch: &str) -> Result<bool> {
    Ok(branch_checked_out_at(&describe(common.to_owned(), None), branch)?.is_some())
}
