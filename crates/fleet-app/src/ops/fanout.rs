//! `fanout`: the same prompt to many agents.

use fleet_core::{Error, Result, name};
use serde_json::Value;

use super::started::{Started, beside_changes, local_text, starts_agents, without_values};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::start::{self, Wanted};

/// The most agents of one fan-out.
const MOST: u16 = 100;

starts_agents! {
    /// Start COUNT agents on the same prompt, on branches PREFIX-A1 to PREFIX-A<COUNT>
    ///
    /// All names are checked before anything is made. When some agents fail to start the others stay, the failed
    /// are named, and the exit code is 1.
    pub struct Fanout {
        harness: "The harness; several, separated by commas, are dealt round",
        /// How many agents: 1 to 100
        pub count: u16,
        /// What the branches start with, and the name of the batch [default: fanout-<8 hex digits>]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub prefix: Option<String>,
        /// The prompt; @FILE reads a file, - reads standard input
        #[arg(short, long, allow_hyphen_values = true)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub prompt: Option<String>,
    }
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
        let (options, limit) = self.options()?;
        let until = options.until;
        let prefix = match self.prefix {
            Some(prefix) => prefix,
            None => format!("fanout-{}", app.new_hex()),
        };
        let wanted: Vec<Wanted> = name::fanout(&prefix, self.count)
            .into_iter()
            .map(|branch| Wanted {
                branch,
                prompt: self.prompt.clone(),
            })
            .collect();
        let outcomes = beside_changes(caller, &options, || {
            start::start(app, caller, &options, &wanted, &prefix, true)
        })?;
        Started::of(app, prefix, outcomes, until, limit)
    }
}
