//! `restart`: stops agents, then resumes them.

use clap::Args;
use fleet_core::agent::Phase;
use fleet_core::{Error, Result};
use fleet_host::supervise::prompt::check_text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::kill;
use super::resume::{self, How, Resumed, With, revive_all};
use super::started::{local_text, without_values};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::end;
use crate::op::Operation;

/// Stop agents and start them again: same worktree, same conversation
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Branches, repo/branch, ids or patterns
    #[arg(required_unless_present = "batch")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// All agents of this batch
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Start a new conversation
    #[arg(long)]
    #[serde(default)]
    pub fresh: bool,
    /// A variable for the agent: NAME takes it from the caller, NAME=VALUE sets it
    #[arg(long, value_name = "NAME[=VALUE]")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What to say to them first; an agent without a terminal needs it. @FILE reads a file, - reads standard input
    #[arg(short, long, allow_hyphen_values = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

impl Operation for Restart {
    const NAME: &'static str = "restart";
    const EFFECT: Effect = Effect::Write;
    type Output = Resumed;

    fn read_local(&mut self, read: &dyn Fn(&str) -> Result<String>) -> Result<()> {
        local_text(&mut self.prompt, read)
    }

    fn redacted(&self) -> Value {
        without_values(self)
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Resumed> {
        let agents = app.select(caller, &self.targets, self.batch.as_deref())?;
        kill::refuse_own(caller, &agents)?;
        let config = app.config(caller, None)?;
        let how = if self.fresh { How::Fresh } else { How::Restart };
        let with = With {
            env: &self.env,
            prompt: self.prompt.as_deref().map(check_text).transpose()?,
        };
        for agent in &agents {
            resume::check(app, caller, agent, &with, how)?;
        }
        let grace = std::time::Duration::from_millis(config.kill_grace_ms);
        for agent in agents.iter().filter(|agent| agent.phase == Phase::Started) {
            let _turn = end::take_turn(app, &agent.id)?;
            end::stop_supervisor(app, agent, false, grace)
                .map_err(|error| error.context(format!("could not stop `{}`", agent.branch)))?;
        }
        if agents.is_empty() {
            return Err(Error::not_found("no agent matches"));
        }
        revive_all(app, caller, agents, &with, how)
    }
}
