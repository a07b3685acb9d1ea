//! What goes to another repository: one branch, never by force.

use std::path::Path;
use std::time::Duration;

use fleet_core::{Error, Kind, Result};

use super::{bare_call, failure};

/// How long a push may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The address that the remote `name` is fetched from, as git understands it after its own settings.
///
/// # Errors
/// `NotFound` when there is no such remote.
pub fn remote_address(folder: &Path, name: &str) -> Result<String> {
    let output = bare_call("push.remote", folder)
        .args(["remote", "get-url", "--", name])
        .output()?;
    match output.status.success() {
        true => Ok(output.text().trim().to_owned()),
        false => Err(Error::not_found(format!("there is no remote `{name}`"))
            .hint("see which there are: `git remote --verbose`")
            .detail(output.error_text())),
    }
}

/// Pushes the local branch to one of the same name, never by force. `folder` is a checkout of the repository, or its
/// git directory. Whether anything was new.
///
/// # Errors
/// `Conflict` when the remote's branch has commits that the local one has not.
pub fn push(folder: &Path, remote: &str, branch: &str) -> Result<bool> {
    let name = format!("refs/heads/{branch}");
    let refspec = format!("{name}:{name}");
    let output = bare_call("push.branch", folder)
        .args([
            "push",
            "--porcelain",
            "--no-force",
            "--no-follow-tags",
            "--",
            remote,
            &refspec,
        ])
        .timeout(PATIENCE)
        .output()?;
    let text = output.text();
    let line = text.lines().find(|line| line.contains(&refspec)).unwrap_or_default();
    if output.status.success() {
        return Ok(!line.starts_with('='));
    }
    let error = match line.starts_with('!') && (line.contains("fetch first") || line.contains("non-fast-forward")) {
        true => Error::new(
            Kind::Conflict,
            format!("`{branch}` on `{remote}` has commits that are not here, and nothing is forced"),
        )
        .hint(format!(
            "bring them in first: `git -C {} pull {remote} {branch}`",
            folder.display()
        )),
        false => failure("push the branch", &output),
    };
    Err(error.detail(output.error_text()))
}
