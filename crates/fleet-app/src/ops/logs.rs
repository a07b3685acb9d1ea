//! `logs`: what an agent wrote, as text.

use clap::Args;
use fleet_core::agent::Agent;
use fleet_core::{Error, Result};
use fleet_host::files::io_error;
use fleet_host::supervise::output;
use fleet_term::LogText;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Page, Show};

/// Show the last lines that an agent wrote
///
/// For a full-screen program the last screen that is not blank. Works after the agent has ended, too.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// A branch, repo/branch or id
    pub target: String,
    /// How many lines
    #[arg(short = 'n', long, default_value_t = default_lines(), value_name = "N")]
    #[serde(default = "default_lines")]
    pub lines: usize,
}

fn default_lines() -> usize {
    50
}

/// Lines of text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Text {
    /// The agent's branch.
    pub branch: String,
    /// Without line ends, right-trimmed.
    pub lines: Vec<String>,
}

impl Operation for Logs {
    const NAME: &'static str = "logs";
    const EFFECT: Effect = Effect::Read;
    type Output = Text;

    fn run(self, app: &App, caller: &Caller) -> Result<Text> {
        let agent = app.select_any(caller, &self.target)?;
        Ok(Text {
            lines: text(app, &agent, self.lines)?,
            branch: agent.branch,
        })
    }
}

/// The last `count` lines of what `agent` wrote.
pub fn text(app: &App, agent: &Agent, count: usize) -> Result<Vec<String>> {
    let folder = app.home.agent_dir(&agent.id);
    // The last segments hold thousands of lines; older ones are read only if they do not.
    let mut back = 2;
    loop {
        let (stretches, more) = output::read(&folder, back).map_err(|error| missing(agent, &folder, &error))?;
        let Some(first) = stretches.first() else {
            let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
            return if folder.exists() {
                Ok(Vec::new())
            } else {
                Err(missing(agent, &folder, &gone))
            };
        };
        let mut log = LogText::new(first.rows, first.cols, count);
        for stretch in &stretches {
            log.resize(stretch.rows, stretch.cols);
            log.feed(&stretch.bytes);
        }
        let lines = log.lines(count);
        if lines.len() >= count || !more {
            return Ok(lines);
        }
        back *= 4;
    }
}

fn missing(agent: &Agent, folder: &std::path::Path, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::not_found(format!("nothing is kept of the output of `{}`", agent.branch))
                .hint("its output was removed by `fleet clean`")
        }
        _ => io_error("read", &folder.join("output"), error),
    }
}

impl Show for Text {
    fn show(&self, page: &mut Page) {
        page.raw(self.lines.join("\n"));
    }
}
