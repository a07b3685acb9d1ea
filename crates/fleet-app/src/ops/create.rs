//! `create`: one agent on one branch.

use clap::Args;
use fleet_core::{Result, name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::started::{Started, local_text, seconds, without_values};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::start::{self, Options, Wanted};

/// Start an agent on a new branch, in a worktree of its own
///
/// The answer comes when the agent's program runs, or has failed; then nothing is left behind.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// The branch to make; a label with --here
    pub branch: String,
    /// The first prompt; @FILE reads a file, - reads standard input
    #[arg(short, long, allow_hyphen_values = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The harness: claude, codex, or one of your own from the config
    #[arg(short, long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The model, passed to the harness
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Where the new branch starts: a commit, branch or tag [default: HEAD]
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Copy credential files, but skip the setup commands
    #[arg(long)]
    #[serde(default)]
    pub quick: bool,
    /// Go on when a setup command fails
    #[arg(long)]
    #[serde(default)]
    pub keep_going: bool,
    /// A variable for the agent: NAME takes it from the caller, NAME=VALUE sets it
    #[arg(long, value_name = "NAME[=VALUE]")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Answer only when the agent is in this state: ready, working, waiting, idle, exited
    #[arg(long, value_name = "STATE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// Give up waiting after this many seconds
    #[arg(long, value_name = "SECONDS")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// Use a branch that exists
    #[arg(long)]
    #[serde(default)]
    pub existing: bool,
    /// Work in the current directory: nothing is checked out, and nothing removed at the end
    #[arg(long, conflicts_with_all = ["base", "existing"])]
    #[serde(default)]
    pub here: bool,
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
        let until = self.wait.as_deref().map(str::parse).transpose()?;
        let limit = seconds(self.timeout)?;
        let options = Options {
            agent: self.agent,
            model: self.model,
            base: self.base,
            existing: self.existing,
            here: self.here,
            quick: self.quick,
            keep_going: self.keep_going,
            env: self.env,
            until,
        };
        let batch = name::manual_batch(app.now());
        let wanted = [Wanted {
            branch: self.branch,
            prompt: self.prompt,
        }];
        let outcomes = start::start(app, caller, &options, &wanted, &batch, false)?;
        Started::of(app, batch, outcomes, until, limit)
    }
}
