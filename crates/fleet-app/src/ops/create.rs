//! `create`: one agent on one branch.

use fleet_core::{Result, name};
use serde_json::Value;

use super::started::{Started, beside_changes, local_text, starts_agents, without_values};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::start::{self, Wanted};

starts_agents! {
    /// Start an agent on a new branch, in a worktree of its own
    ///
    /// The answer comes when the agent's program runs, or has failed; then nothing is left behind.
    pub struct Create {
        harness: "The harness: claude, codex, or one of your own from the config",
        /// The branch to make; a label with --here
        pub branch: String,
        /// The first prompt; @FILE reads a file, - reads standard input
        #[arg(short, long, allow_hyphen_values = true)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub prompt: Option<String>,
        /// Use a branch that exists
        #[arg(long)]
        #[serde(default)]
        pub existing: bool,
        /// Work in the current directory: nothing is checked out, and nothing removed at the end
        #[arg(long, conflicts_with_all = ["base", "existing"])]
        #[serde(default)]
        pub here: bool,
    }
}

impl Operation for Create {
    const NAME: &'static str = "create";
    const EFFECT: Effect = Effect::Write;
    type Output = Started;

    fn read_local(&mut self, read: &dyn Fn(&str) -> Result<String>) -> Result<()> {
        local_text(&mut self.prompt, read)
    }

    fn redacted(&self) -> Value {
        without_values(self)
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Started> {
        let (mut options, limit) = self.options()?;
        options.existing = self.existing;
        options.here = self.here;
        let until = options.until;
        let batch = name::manual_batch(app.now());
        let wanted = [Wanted {
            branch: self.branch,
            prompt: self.prompt,
        }];
        let outcomes = beside_changes(caller, &options, || {
            start::start(app, caller, &options, &wanted, &batch, false)
        })?;
        Started::of(app, batch, outcomes, until, limit)
    }
}
