//! `diff`: what an agent has changed.

use clap::Args;
use fleet_core::agent::{Standing, Workspace};
use fleet_core::{Error, Result};
use fleet_host::git::{self, DiffForm};
use fleet_host::supervise::journal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Page, Show};

/// Show what an agent has changed since its start, untracked files included
///
/// Compares the commit that its worktree started from with the files as they are now. The agent's own index
/// and repository are not touched.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Diff {
    /// A branch, repo/branch or id
    pub target: String,
    /// Only the names and counts
    #[arg(long)]
    #[serde(default)]
    pub stat: bool,
}

/// A difference.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The agent's branch.
    pub branch: String,
    /// The commit it started from.
    pub base: String,
    /// As git prints it.
    pub diff: String,
}

impl Operation for Diff {
    const NAME: &'static str = "diff";
    const EFFECT: Effect = Effect::Read;
    type Output = Difference;

    fn run(self, app: &App, caller: &Caller) -> Result<Difference> {
        let agent = super::one(app.select(caller, &[self.target], None)?)?;
        let (Workspace::Worktree, Some(base)) = (agent.workspace, agent.base.clone()) else {
            return Err(Error::refused(format!(
                "`{}` works in a directory of yours, so there is no start to compare with",
                agent.branch
            ))
            .hint(format!("look there: `git -C {} status`", agent.worktree.display())));
        };
        let entries = journal::read(&app.home.agent_dir(&agent.id))?;
        let copied = Standing::fold(&entries).copied;
        let form = if self.stat { DiffForm::Stat } else { DiffForm::Patch };
        let diff = git::diff(&git::Diff {
            worktree: &agent.worktree,
            base: &base,
            copied: &copied,
            form,
            color: false,
        })?;
        Ok(Difference {
            branch: agent.branch,
            base,
            diff,
        })
    }
}

impl Show for Difference {
    fn show(&self, page: &mut Page) {
        page.raw(self.diff.clone());
    }
}
