//! `pr`: proposes an agent's branch on a forge.

use clap::Args;
use fleet_core::agent::{Agent, Workspace};
use fleet_core::name::plural;
use fleet_core::{Error, Kind, Result};
use fleet_host::git::{self, Merges};
use fleet_net::forge::{NewPull, Pull};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::checked;
use crate::op::{Operation, ReadText};
use crate::page::{Label, Page, Show, plain, span};
use crate::pulls::{self, Pulls};

/// Push an agent's branch, open a pull request for it, and comment results
///
/// The branch is pushed and never forced. A pull request that is open already is found and commented, and a comment that
/// is there already is not made again. On GitHub `gh` does it where it is installed; else the forge is asked directly,
/// with the token in `GH_TOKEN`, `GITEA_TOKEN` or `GITLAB_TOKEN`. What the last `fleet rank` said of this very commit is
/// commented too.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pr {
    /// A branch, repo/branch or id; of an ended agent too, while its branch is there
    pub target: String,
    /// The remote to push to [default: origin]
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The branch it is for [default: the remote's default branch]
    #[arg(long, value_name = "BRANCH")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Its title [default: from the commits]
    #[arg(long, value_name = "TEXT")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its text; @FILE and - are read [default: from the commits]
    #[arg(long, value_name = "TEXT")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// A comment to add; @FILE and - are read
    #[arg(long, value_name = "TEXT")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Do not comment what `fleet rank` said
    #[arg(long)]
    #[serde(default)]
    pub no_results: bool,
    /// Open it as a draft
    #[arg(long)]
    #[serde(default)]
    pub draft: bool,
    /// Which forge a server is that fleet does not know: github, gitea, gitlab
    #[arg(long, value_name = "KIND")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forge: Option<String>,
}

/// What was proposed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Proposed {
    /// The branch.
    pub branch: String,
    /// The branch that it is for.
    pub base: String,
    /// The page of the pull request.
    pub url: String,
    /// Its number.
    pub number: u64,
    /// Whether it was opened now, and not found.
    pub opened: bool,
    /// Whether the remote had not all of the branch before.
    pub pushed: bool,
    /// How many comments were added.
    pub comments: usize,
    /// Who did it: `gh`, `github`, `gitea` or `gitlab`.
    pub by: String,
    /// Why not all was commented.
    pub error: Option<Error>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Operation for Pr {
    const NAME: &'static str = "pr";
    const EFFECT: Effect = Effect::Write;
    type Output = Proposed;

    fn read_local(&mut self, read: &ReadText<'_>) -> Result<()> {
        for text in [&mut self.body, &mut self.comment].into_iter().flatten() {
            *text = read(text)?;
        }
        Ok(())
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Proposed> {
        let agent = super::one(app.select_also_ended(caller, std::slice::from_ref(&self.target), None)?)?;
        if agent.workspace == Workspace::Here {
            return Err(Error::refused(format!(
                "`{}` works in a directory of yours, on no branch of its own",
                agent.branch
            ))
            .hint("push what you want to propose: `git push`"));
        }
        let common = &agent.repo;
        let tip = git::branch_tip(common, &agent.branch)?.ok_or_else(|| {
            Error::not_found(format!("the branch `{}` is gone", agent.branch)).hint("see which there are: `git branch`")
        })?;
        let remote = self.remote.as_deref().unwrap_or("origin");
        let folder = match agent.worktree.is_dir() {
            true => &agent.worktree,
            false => common,
        };
        let address = git::remote_address(folder, remote)?;
        let pulls = pulls::of(caller, &address, self.forge.as_deref())?;
        let base = self.base(&agent)?;
        let (title, body) = self.words(&agent, &base, &tip)?;

        let pushed = git::push(folder, remote, &agent.branch)?;
        let new = NewPull {
            branch: &agent.branch,
            base: &base,
            title: &title,
            body: &body,
            draft: self.draft,
        };
        let (pull, opened) = find_or_open(pulls.as_ref(), &new)?;
        let texts = self.comments(app, &agent, &tip);
        let (comments, error) = comment(pulls.as_ref(), pull.number, &texts);
        Ok(Proposed {
            warnings: uncommitted(app, &agent).into_iter().collect(),
            branch: agent.branch,
            base,
            url: pull.url,
            number: pull.number,
            opened,
            pushed,
            comments,
            by: pulls.name().to_owned(),
            error,
        })
    }
}

impl Pr {
    fn base(&self, agent: &Agent) -> Result<String> {
        if let Some(base) = &self.base {
            return Ok(base.clone());
        }
        git::default_branch(&agent.repo)?
            .ok_or_else(|| Error::usage("nobody knows which branch it is for").hint("say it: `--base main`"))
    }

    /// Title and text. Errors: there is nothing to propose.
    fn words(&self, agent: &Agent, base: &str, tip: &str) -> Result<(String, String)> {
        let merges = Merges::trial(&agent.repo)?;
        let from = git::branch_tip(&agent.repo, base)?.or_else(|| agent.base.clone());
        let from = from
            .ok_or_else(|| Error::usage(format!("there is no branch `{base}` here")).hint("fetch it: `git fetch`"))?;
        if merges.ahead_behind(&from, tip)?.0 == 0 {
            return Err(
                Error::refused(format!("`{}` has no commit that `{base}` has not", agent.branch))
                    .hint("have its work committed first"),
            );
        }
        let subjects = merges.subjects(&from, tip)?;
        let (title, body) = match subjects.as_slice() {
            [_] => {
                let message = merges.message(tip)?;
                let (subject, rest) = message.split_once('\n').unwrap_or((&message, ""));
                (subject.trim().to_owned(), rest.trim().to_owned())
            }
            subjects => {
                let list: Vec<String> = subjects.iter().map(|subject| format!("- {subject}")).collect();
                (agent.branch.clone(), list.join("\n"))
            }
        };
        Ok((self.title.clone().unwrap_or(title), self.body.clone().unwrap_or(body)))
    }

    fn comments(&self, app: &App, agent: &Agent, tip: &str) -> Vec<String> {
        let verdict = checked::last(app, &agent.id).filter(|verdict| !self.no_results && verdict.commit == tip);
        let asked = self.comment.clone().filter(|text| !text.trim().is_empty());
        asked.into_iter().chain(verdict.map(|verdict| verdict.text())).collect()
    }
}

/// The one that is open, or a new one; and whether it is new.
fn find_or_open(pulls: &dyn Pulls, new: &NewPull<'_>) -> Result<(Pull, bool)> {
    if let Some(pull) = pulls.find(new.branch)? {
        return Ok((pull, false));
    }
    match pulls.open(new) {
        // Somebody was faster.
        Err(error) if error.kind == Kind::Conflict => match pulls.find(new.branch)? {
            Some(pull) => Ok((pull, false)),
            None => Err(error),
        },
        other => other.map(|pull| (pull, true)),
    }
}

/// Adds those of `texts` that are not there yet: how many, and why not all.
fn comment(pulls: &dyn Pulls, number: u64, texts: &[String]) -> (usize, Option<Error>) {
    if texts.is_empty() {
        return (0, None);
    }
    // Forges change blanks and the ends of lines.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut added = 0;
    let mut add = || -> Result<()> {
        let there: Vec<String> = pulls.comments(number)?.iter().map(|text| words(text)).collect();
        for text in texts.iter().filter(|text| !there.contains(&words(text))) {
            pulls.comment(number, text)?;
            added += 1;
        }
        Ok(())
    };
    let error = add().err().map(|error| error.context("not all was commented"));
    (added, error)
}

fn uncommitted(app: &App, agent: &Agent) -> Option<String> {
    let status = git::status(&agent.worktree).ok()?;
    let foreign = checked::foreign(app, &agent.id);
    let is_foreign = |path: &std::path::Path| foreign.iter().any(|(each, _)| std::path::Path::new(each) == path);
    let count = status.paths.iter().filter(|(path, _)| !is_foreign(path)).count();
    (count > 0).then(|| {
        format!(
            "{} of `{}` in no commit, and not proposed",
            plural(count, "file"),
            agent.branch
        )
    })
}

impl Show for Proposed {
    fn show(&self, page: &mut Page) {
        let done = if self.opened { "opened " } else { "is open: " };
        page.spans(vec![
            span(Label::Name, self.branch.clone()),
            plain(format!(": {done}")),
            span(Label::Good, self.url.clone()),
            plain(match self.comments {
                0 => String::new(),
                count => format!(", {} added", plural(count, "comment")),
            }),
        ]);
        if let Some(error) = &self.error {
            page.warning(error.message.clone());
            if let Some(hint) = &error.hint {
                page.hint(hint.clone());
            }
        }
        for warning in &self.warnings {
            page.warning(warning.clone());
        }
    }

    fn failed(&self) -> Option<Kind> {
        self.error.as_ref().map(|error| error.kind)
    }
}
