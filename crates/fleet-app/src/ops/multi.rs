//! `multi`: a different prompt to each of several agents.

use fleet_core::{Error, Result};
use serde_json::Value;

use super::started::{Started, beside_changes, starts_agents, without_values};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::start::{self, Wanted};

starts_agents! {
    /// Start several agents, each on a branch and prompt of its own
    ///
    /// All names are checked before anything is made. When some agents fail to start the others stay, the failed
    /// are named, and the exit code is 1.
    pub struct Multi {
        harness: "The harness; several, separated by commas, are dealt round",
        /// What to start: BRANCH:PROMPT, split at the first colon
        #[arg(value_name = "BRANCH:PROMPT")]
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub tasks: Vec<String>,
        /// More of them, one a line; empty lines and lines that begin with # do not count; - reads standard input
        #[arg(long, value_name = "FILE")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub file: Option<String>,
    }
}

impl Operation for Multi {
    const NAME: &'static str = "multi";
    const EFFECT: Effect = Effect::Write;
    type Output = Started;

    fn read_local(&mut self, read: &dyn Fn(&str) -> Result<String>) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let text = read(&if file == "-" { file } else { format!("@{file}") })?;
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        self.tasks.extend(lines.map(str::to_owned));
        Ok(())
    }

    fn redacted(&self) -> Value {
        without_values(self)
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Started> {
        let mut tasks = self.tasks.clone();
        if let Some(file) = &self.file {
            let path = crate::app::absolute(&caller.cwd, std::path::Path::new(file));
            let text = std::fs::read_to_string(&path).map_err(|error| {
                Error::usage(format!("cannot read {}: {error}", path.display())).hint("name a readable file")
            })?;
            tasks.extend(
                text.lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty() && !line.starts_with('#'))
                    .map(str::to_owned),
            );
        }
        if tasks.is_empty() {
            return Err(Error::usage("nothing to start")
                .hint("give tasks, such as `fleet multi fix-auth:\"Fix the login\" add-tests:\"Test it\"`"));
        }
        let wanted = tasks.iter().map(|task| parse(task)).collect::<Result<Vec<Wanted>>>()?;
        let (options, limit) = self.options()?;
        let until = options.until;
        let batch = format!("multi-{}", app.new_hex());
        let outcomes = beside_changes(caller, &options, || {
            start::start(app, caller, &options, &wanted, &batch, true)
        })?;
        Started::of(app, batch, outcomes, until, limit)
    }
}

/// `BRANCH:PROMPT`, split at the first colon.
fn parse(task: &str) -> Result<Wanted> {
    match task.split_once(':') {
        Some((branch, prompt)) if !prompt.trim().is_empty() => Ok(Wanted {
            branch: branch.trim().to_owned(),
            prompt: Some(prompt.to_owned()),
        }),
        _ => Err(Error::usage(format!("`{task}` has no prompt"))
            .hint(format!("write `{}:\"what to do\"`", task.trim_end_matches(':')))),
    }
}
