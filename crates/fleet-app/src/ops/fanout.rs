//! `fanout`: the same prompt to many agents.

use clap::Args;
use fleet_core::{Error, Result, name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::started::{Started, local_text, seconds, without_values};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::start::{self, Options, Wanted};

/// The most agents of one fan-out.
const MOST: u16 = 100;

/// Start COUNT agents on the same prompt, on branches PREFIX-A1 to PREFIX-A<COUNT>
///
/// All names are checked before anything is made. When some agents fail to start the others stay, the failed
/// are named, and the exit code is 1.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fanout {
    /// How many agents: 1 to 100
    pub count: u16,
    /// What the branches start with, and the name of the batch [default: fanout-<8 hex digits>]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The prompt; @FILE reads a file, - reads standard input
    #[arg(short, long, allow_hyphen_values = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The harness; several, separated by commas, are dealt round
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
}

impl Operation for Fanout {
    const NAME: &'static str = "fanout";
    const EFFECT: Effect = Effect::Write;
    type Output = Started;

    fn read_local(&mut self, read: &dyn Fn(&str) -> Result<String>) -> Result<()> {
        local_text(&mut self.prompt, read)
    }

    fn redacted(&self) -> Value {
        without_values(self)
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Started> {
        if self.count == 0 || self.count > MOST {
            return Err(Error::usage(format!("{} is no number of agents", self.count))
                .hint(format!("give a number from 1 to {MOST}")));
        }
        let until = self.wait.as_deref().map(str::parse).transpose()?;
        let limit = seconds(self.timeout)?;
        let prefix = match self.prefix {
            Some(prefix) => prefix,
            None => format!("fanout-{}", app.new_hex()),
        };
        let options = Options {
            agent: self.agent,
            model: self.model,
            base: self.base,
            quick: self.quick,
            keep_going: self.keep_going,
            env: self.env,
            until,
            ..Options::default()
        };
        let wanted: Vec<Wanted> = name::fanout(&prefix, self.count)
            .into_iter()
            .map(|branch| Wanted {
                branch,
                prompt: self.prompt.clone(),
            })
            .collect();
        let outcomes = start::start(app, caller, &options, &wanted, &prefix, true)?;
        Started::of(app, prefix, outcomes, until, limit)
    }
}
