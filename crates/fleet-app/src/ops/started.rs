//! The answer of every verb that starts agents.

use std::time::Duration;

use fleet_core::agent::{Agent, Until};
use fleet_core::id::AgentId;
use fleet_core::name::{plural, word};
use fleet_core::{Error, Kind, Result};
use fleet_host::git;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::caller::Caller;
use crate::ops::wait;
use crate::page::{Label, Page, Show, plain, span};
use crate::record::{AgentRecord, state_span};
use crate::start::{Options, Outcome};

/// The arguments of a verb that starts agents: its own, then those that all of them share. (A struct within the
/// struct would make unknown keys of a JSON request go unnoticed.)
macro_rules! starts_agents {
    ($(#[$meta:meta])* pub struct $name:ident { harness: $harness:literal, $($own:tt)* }) => {
        $(#[$meta])*
        #[derive(clap::Args, Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($own)*
            #[doc = $harness]
            #[arg(short, long)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub agent: Option<String>,
            /// The model, passed to the harness
            #[arg(long)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub model: Option<String>,
            /// The task that it works for: what it uses is counted there, and FLEET_TASK tells it
            #[arg(long, value_name = "TASK")]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub task: Option<String>,
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
            /// Run without a terminal: the prompt, what comes of it, and the end. Built-in harnesses only; needs a prompt
            #[arg(long)]
            #[serde(default)]
            pub headless: bool,
            /// The most that they may spend together, in US dollars: it is shared out evenly
            #[arg(long, value_name = "USD")]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub budget: Option<f64>,
            /// End an agent at once when its budget is used up; without this it is interrupted, and waits for you
            #[arg(long)]
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub hard: bool,
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

        impl $name {
            /// What the shared arguments ask for, and how long to wait for it.
            fn options(&self) -> fleet_core::Result<($crate::start::Options, Option<std::time::Duration>)> {
                let options = $crate::start::Options {
                    agent: self.agent.clone(),
                    model: self.model.clone(),
                    task: self.task.as_deref().map($crate::task::parse).transpose()?,
                    base: self.base.clone(),
                    quick: self.quick,
                    keep_going: self.keep_going,
                    headless: self.headless,
                    budget: $crate::budgets::asked(self.budget, self.hard)?,
                    env: self.env.clone(),
                    until: self.wait.as_deref().map(str::parse).transpose()?,
                    existing: false,
                    here: false,
                };
                Ok((options, $crate::ops::started::seconds(self.timeout)?))
            }
        }
    };
}
pub(crate) use starts_agents;

/// An agent that was not started.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NotStarted {
    /// Its branch.
    pub branch: String,
    /// Its repository's folder name, for an agent that was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_name: Option<String>,
    /// Why.
    pub error: Error,
}

/// An agent that runs and was not seen in the state that was waited for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NotReached {
    /// Its branch.
    pub branch: String,
    /// Its id.
    pub id: AgentId,
    /// Why the wait ended: most often the time was up.
    pub error: Error,
}

/// What was started and what was not.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// The batch.
    pub batch_id: String,
    /// The agents that run.
    pub agents: Vec<AgentRecord>,
    /// Those that do not.
    pub failed: Vec<NotStarted>,
    /// With --wait: those of `agents` that did not reach the state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_reached: Vec<NotReached>,
    /// Whether the caller has waited for the end.
    #[serde(skip)]
    #[schemars(skip)]
    ended: bool,
}

impl Started {
    /// The answer for `outcomes`. When nothing at all was started, the first error is the answer.
    pub fn of(
        app: &App,
        batch_id: String,
        outcomes: Vec<Outcome>,
        until: Option<Until>,
        limit: Option<Duration>,
    ) -> Result<Started> {
        let mut started = Started {
            batch_id,
            agents: Vec::new(),
            failed: Vec::new(),
            not_reached: Vec::new(),
            ended: until == Some(Until::Exited),
        };
        let mut agents: Vec<Agent> = Vec::new();
        for outcome in outcomes {
            match outcome.result {
                Ok(agent) => agents.push(agent),
                Err(error) => started.failed.push(NotStarted {
                    branch: outcome.branch,
                    repo_name: None,
                    error,
                }),
            }
        }
        if agents.is_empty() && started.failed.len() == 1 {
            return Err(started.failed.remove(0).error);
        }
        if let Some(until) = until {
            let deadline = limit.map(|limit| std::time::Instant::now() + limit);
            // They run all the same: an error alone would not tell the caller what there is now.
            let wait = |agent: &Agent| wait::until(app, agent, until, deadline).err();
            started.not_reached = agents
                .iter()
                .filter_map(|agent| Some((agent, wait(agent)?)))
                .map(|(agent, error)| NotReached {
                    branch: agent.branch.clone(),
                    id: agent.id.clone(),
                    error,
                })
                .collect();
        }
        started.agents = agents.iter().map(|agent| AgentRecord::of(app, agent)).collect();
        Ok(started)
    }
}

/// Starts agents by `start`, and warns when the caller's checkout has changes that the agents do not get because they
/// are in no commit. git is asked meanwhile, so that no start waits for the answer.
pub(crate) fn beside_changes<T>(caller: &Caller, options: &Options, start: impl FnOnce() -> Result<T>) -> Result<T> {
    /// A checkout that takes longer to compare is not worth the wait after the start.
    const PATIENCE: Duration = Duration::from_secs(2);
    // Another base, a branch that exists and the directory itself promise nothing of what is in this checkout.
    if options.here || options.existing || options.base.is_some() {
        return start();
    }
    std::thread::scope(|scope| {
        let changed = scope.spawn(|| git::is_changed(&caller.cwd, PATIENCE));
        let started = start()?;
        if let Ok(Some(true)) = changed.join() {
            (caller.progress)("warning: changes that are not committed here are not in the new worktree");
        }
        Ok(started)
    })
}

impl Show for Started {
    fn show(&self, page: &mut Page) {
        for agent in &self.agents {
            page.spans(vec![
                plain("started "),
                span(Label::Name, &agent.branch),
                plain(format!(" ({}, ", agent.agent)),
                state_span(&agent.state),
                agent.outcome_span(),
                plain(format!(") in {}", agent.worktree.display())),
            ]);
        }
        for failed in &self.failed {
            page.spans(vec![
                span(Label::Bad, "not started "),
                span(Label::Name, &failed.branch),
                plain(format!(": {}", failed.error.message)),
            ]);
            if let Some(detail) = &failed.error.detail {
                page.raw(detail.clone());
            }
        }
        for late in &self.not_reached {
            page.spans(vec![
                span(Label::Bad, "not reached "),
                span(Label::Name, &late.branch),
                plain(format!(": {}", late.error.message)),
            ]);
            if let Some(hint) = &late.error.hint {
                page.hint(hint.clone());
            }
        }
        if !self.not_reached.is_empty() {
            return;
        }
        match (self.agents.as_slice(), self.failed.len()) {
            ([one], 0) if one.state.starts_with("exited") || one.headless => {
                page.hint(format!("read its output: `fleet logs {}`", word(&one.branch)));
            }
            ([one], 0) => page.hint(format!("watch it: `fleet attach {}`", word(&one.branch))),
            (_, 0) => page.hint("see them all: `fleet list --grouped`".to_owned()),
            (started, failed) => {
                page.warning(format!("{} started, {failed} not", plural(started.len(), "agent")));
            }
        }
    }

    fn failed(&self) -> Option<Kind> {
        let failed = self.ended && self.agents.iter().any(AgentRecord::has_failed);
        match (self.failed.is_empty() && !failed, self.not_reached.first()) {
            (false, _) => Some(Kind::Failed),
            (true, late) => late.map(|late| late.error.kind),
        }
    }
}

/// `@FILE` and `-` as the texts they mean; anything else as it is.
pub fn local_text(text: &mut Option<String>, read: &dyn Fn(&str) -> Result<String>) -> Result<()> {
    if let Some(given) = text {
        *given = read(given)?;
    }
    Ok(())
}

/// The arguments with the values of `env` left out, for the record of the request.
pub fn without_values(args: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(args).unwrap_or(Value::Null);
    if let Some(given) = value.get_mut("env").and_then(Value::as_array_mut) {
        for each in given {
            let name = each
                .as_str()
                .and_then(|each| each.split('=').next())
                .unwrap_or_default()
                .to_owned();
            *each = Value::String(name);
        }
    }
    value
}

/// Seconds as the user gives them, as a length of time. Error: not positive.
pub fn seconds(limit: Option<f64>) -> Result<Option<Duration>> {
    match limit {
        Some(seconds) if !(seconds > 0.0 && seconds < 1e9) => {
            Err(Error::usage(format!("`--timeout {seconds}` is no length of time"))
                .hint("give seconds, such as `--timeout 30`"))
        }
        other => Ok(other.map(Duration::from_secs_f64)),
    }
}
