//! The branch that is merged into, and the one step that moves it on.
//!
//! A branch that is checked out moves together with its checkout, and only forward: that checkout must be clean before
//! anything begins. A branch that is checked out nowhere moves by compare-and-swap.

use std::path::PathBuf;

use fleet_core::name::{plural, word};
use fleet_core::{Error, Kind, Result};
use fleet_host::git::{self, Repo, State};

use super::Planned;

/// The branch that is merged into.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its repository.
    pub repo: Repo,
    /// Its name.
    pub branch: String,
    /// The commit that it is at.
    pub tip: String,
    /// The checkout that is on it.
    pub checkout: Option<PathBuf>,
}

impl Target {
    /// The branch `into` of `repo`; without a name what the main checkout is on.
    ///
    /// # Errors
    /// `Usage` when the main checkout is on no branch; `NotFound` when there is no such branch.
    pub fn of(repo: Repo, into: Option<&str>) -> Result<Target> {
        let branch = match into {
            Some(branch) => branch.to_owned(),
            None => git::own_branch(&repo).ok_or_else(|| {
                Error::usage(format!("the checkout of {} is on no branch", repo.name))
                    .hint("say which branch to merge into: `--into main`")
            })?,
        };
        let tip = git::branch_tip(&repo.common_dir, &branch)?.ok_or_else(|| no_branch(&repo, &branch))?;
        let checkout = git::branch_checked_out_at(&repo, &branch)?;
        Ok(Target {
            repo,
            branch,
            tip,
            checkout,
        })
    }

    /// Refuses to begin when the checkout could not be moved on to what `planned` brings.
    pub fn require_ready(&self, planned: &[Planned]) -> Result<()> {
        if let Some(what) = git::under_way(&self.repo.common_dir, &self.branch)? {
            return Err(
                Error::refused(format!("{what} of `{}` is under way", self.branch)).hint(match &self.checkout {
                    Some(folder) => format!(
                        "finish it or give it up: `git -C {} status`",
                        word(&folder.to_string_lossy())
                    ),
                    None => "finish it or give it up first".to_owned(),
                }),
            );
        }
        let Some(folder) = &self.checkout else { return Ok(()) };
        let shown = word(&folder.to_string_lossy());
        let status = git::status(folder)?;
        let changed: Vec<String> = status
            .paths
            .iter()
            .filter(|(_, state)| match state {
                State::Tracked { staged, submodule, .. } => *staged || !submodule,
                State::Unmerged(_) => true,
                State::Untracked | State::Ignored => false,
            })
            .map(|(path, _)| path.display().to_string())
            .collect();
        if !changed.is_empty() {
            return Err(Error::refused(format!(
                "`{}` is checked out in {} with {} not committed: {}",
                self.branch,
                folder.display(),
                plural(changed.len(), "change"),
                some_of(&changed)
            ))
            .hint(format!("commit or stash them: `git -C {shown} stash`")));
        }
        let untracked = status.paths.iter().filter(|(_, state)| *state == State::Untracked);
        let in_the_way: Vec<String> = untracked
            .map(|(path, _)| path.display().to_string())
            .filter(|path| {
                let mut files = planned.iter().flat_map(|each| &each.files);
                files.any(|file| fleet_core::merge::in_the_way(path.trim_end_matches('/'), file))
            })
            .collect();
        match in_the_way.is_empty() {
            true => Ok(()),
            false => Err(Error::refused(format!(
                "files in {} that git does not know are in the way: {}",
                folder.display(),
                some_of(&in_the_way)
            ))
            .hint(format!("move them away or commit them: `git -C {shown} status`"))),
        }
    }

    /// Moves the branch, and the checkout that is on it, from where it is to `commit`, which comes after it.
    ///
    /// # Errors
    /// `Conflict` when somebody else moved it; nothing is changed then.
    pub fn advance(&mut self, commit: &str) -> Result<()> {
        let common = &self.repo.common_dir;
        // Somebody may have checked it out, or left it, since.
        let checkout = git::branch_checked_out_at(&self.repo, &self.branch)?;
        match &checkout {
            Some(folder) => {
                if checkout != self.checkout {
                    return Err(Error::new(
                        Kind::Conflict,
                        format!("`{}` was checked out in {} meanwhile", self.branch, folder.display()),
                    )
                    .hint("try again: what landed is skipped"));
                }
                git::forward_checkout(common, folder, &self.branch, &self.tip, commit)?;
            }
            None => git::move_branch(common, &self.branch, &self.tip, commit)?,
        }
        commit.clone_into(&mut self.tip);
        Ok(())
    }
}

/// The first few of `names`, and how many more there are.
pub(crate) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn no_branch(repo: &Repo, branch: &str) -> Error {
    let known = git::branches(&repo.common_dir).unwrap_or_default();
    let error = Error::not_found(format!("there is no branch `{branch}` in {}", repo.name));
    match fleet_core::nearest::nearest(branch, known.iter().map(String::as_str), 1).first() {
        Some(near) => error.hint(format!("did you mean `--into {}`?", word(near))),
        None => error.hint("see which there are: `git branch`"),
    }
}
