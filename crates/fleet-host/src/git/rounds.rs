//! A checkout that is changed round by round: each change becomes a commit, and one that is not kept is taken back
//! after a ref was made that holds it.

use std::path::Path;

use fleet_core::{Error, Result};

use super::{IDENTITY, bare_call, succeed};

/// A checkout, and the files in it that are no part of any change, relative to it.
#[derive(Clone, Copy, Debug)]
pub struct Checkout<'a> {
    /// A folder in the checkout.
    pub folder: &'a Path,
    /// Files and folders to leave alone, relative to [`Checkout::folder`].
    pub except: &'a [String],
}

impl Checkout<'_> {
    /// The commit that is checked out.
    ///
    /// # Errors
    /// There is no repository, or it has no commit.
    pub fn head(&self) -> Result<String> {
        let call = bare_call("round.head", self.folder).args(["rev-parse", "--verify", "HEAD^{commit}"]);
        Ok(succeed("find the commit that is checked out", call)?
            .text()
            .trim()
            .to_owned())
    }

    /// The files that differ from the commit, new ones included, as git lists them.
    pub fn changes(&self) -> Result<Vec<String>> {
        let call = bare_call("round.status", self.folder)
            .args(["status", "--porcelain", "--untracked-files=normal", "--"])
            .args(self.paths());
        let text = succeed("compare the files", call)?.text();
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Commits everything that differs, if anything does.
    pub fn commit(&self, message: &str) -> Result<()> {
        let add = bare_call("round.add", self.folder)
            .args(["add", "--all", "--"])
            .args(self.paths());
        succeed("add the files", add)?;
        let (name, mail) = IDENTITY;
        let staged = bare_call("round.staged", self.folder)
            .args(["diff", "--cached", "--quiet"])
            .output()?;
        if staged.status.success() {
            return Ok(());
        }
        let commit = bare_call("round.commit", self.folder)
            .args(["commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", message])
            .env("GIT_AUTHOR_NAME", name)
            .env("GIT_AUTHOR_EMAIL", mail)
            .env("GIT_COMMITTER_NAME", name)
            .env("GIT_COMMITTER_EMAIL", mail);
        succeed("commit", commit).map(|_| ())
    }

    /// Lets the ref `name` hold `commit`.
    pub fn hold(&self, name: &str, commit: &str) -> Result<()> {
        let call = bare_call("round.hold", self.folder).args(["update-ref", name, commit]);
        succeed("keep the commit", call).map(|_| ())
    }

    /// The commit that the ref `name` holds.
    pub fn held(&self, name: &str) -> Result<Option<String>> {
        let output = bare_call("round.held", self.folder)
            .args(["rev-parse", "--verify", "--quiet", name])
            .output()?;
        Ok(output.status.success().then(|| output.text().trim().to_owned()))
    }

    /// Refuses a checkout of another repository than the one that has `commit`: where a repository was deleted, git
    /// finds the one around it.
    pub fn require_has(&self, commit: &str) -> Result<()> {
        let call = bare_call("round.head", self.folder).args(["cat-file", "-e", &format!("{commit}^{{commit}}")]);
        let has = call.output()?.status.success();
        has.then_some(()).ok_or_else(|| {
            Error::conflict(format!(
                "the commit {commit} that this began from is gone from the repository of {}",
                self.folder.display()
            ))
        })
    }

    /// The branch that is checked out, as a ref; none for a commit alone.
    pub fn branch(&self) -> Result<Option<String>> {
        self.symbolic("HEAD")
    }

    /// Lets the ref `name` stand for the branch that is checked out, unless it stands for one already.
    pub fn remember_branch(&self, name: &str) -> Result<()> {
        match (self.symbolic(name)?, self.branch()?) {
            (None, Some(branch)) => self.point(name, &branch),
            _ => Ok(()),
        }
    }

    /// Checks the branch out that the ref `name` stands for, without a change to any file or branch.
    pub fn back_on_branch(&self, name: &str) -> Result<()> {
        match (self.symbolic(name)?, self.branch()?) {
            (Some(wanted), now) if now.as_ref() != Some(&wanted) => self.point("HEAD", &wanted),
            _ => Ok(()),
        }
    }

    /// Whether `commit` is `base` or has it in its history.
    pub fn is_after(&self, commit: &str, base: &str) -> Result<bool> {
        let call = bare_call("round.head", self.folder).args(["merge-base", "--is-ancestor", base, commit]);
        Ok(call.output()?.status.success())
    }

    /// The files and the message of `commit` as one commit upon `base`.
    pub fn graft(&self, commit: &str, base: &str) -> Result<String> {
        let (name, mail) = IDENTITY;
        let tree = format!("{commit}^{{tree}}");
        let call = bare_call("round.commit", self.folder)
            .args(["commit-tree", &tree, "-p", base, "-m", &self.subject(commit)?])
            .env("GIT_AUTHOR_NAME", name)
            .env("GIT_AUTHOR_EMAIL", mail)
            .env("GIT_COMMITTER_NAME", name)
            .env("GIT_COMMITTER_EMAIL", mail);
        Ok(succeed("commit", call)?.text().trim().to_owned())
    }

    fn symbolic(&self, name: &str) -> Result<Option<String>> {
        let call = bare_call("round.head", self.folder).args(["symbolic-ref", "--quiet", name]);
        let output = call.output()?;
        Ok(output.status.success().then(|| output.text().trim().to_owned()))
    }

    fn point(&self, name: &str, branch: &str) -> Result<()> {
        let call = bare_call("round.hold", self.folder).args(["symbolic-ref", name, branch]);
        succeed("check the branch out", call).map(|_| ())
    }

    /// Puts branch and files back to `commit`. Everything that differs has to be in a commit that some ref holds.
    pub fn back_to(&self, commit: &str) -> Result<()> {
        let call = bare_call("round.back", self.folder).args(["reset", "--quiet", "--hard", commit]);
        succeed("take the change back", call).map(|_| ())
    }

    /// The first line of the message of `commit`.
    pub fn subject(&self, commit: &str) -> Result<String> {
        let call = bare_call("round.subject", self.folder).args(["show", "--no-patch", "--format=%s", commit, "--"]);
        Ok(succeed("read the commit", call)?.text().trim().to_owned())
    }

    fn paths(&self) -> Vec<String> {
        let except = self.except.iter().map(|path| format!(":(exclude,literal){path}"));
        std::iter::once(":/".to_owned()).chain(except).collect()
    }
}
