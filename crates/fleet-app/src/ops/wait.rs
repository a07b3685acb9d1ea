//! `wait`: until an agent is in a state.

use std::time::{Duration, Instant};

use clap::Args;
use fleet_core::agent::{Agent, Standing, State, Until};
use fleet_core::name::word;
use fleet_core::{Error, Kind, Result};
use fleet_host::supervise::client::{Client, Event};
use fleet_host::supervise::journal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::started::seconds;
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::record::{AgentRecord, Naming, state_span};

/// Wait until agents are in a state
///
/// `waiting` and `exited` mean any reason and any code. An agent that ends without reaching the state is a
/// failure; so is running out of time, with an exit code of its own. The end of a run without a terminal is reached
/// however it ended, and is a failure all the same unless it ended in success.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Branches, repo/branch, ids or patterns
    #[arg(required_unless_present = "batch")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// All agents of this batch
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// The state: starting, ready, working, waiting, idle, exited, lost
    #[arg(long, value_name = "STATE")]
    pub until: String,
    /// Give up after this many seconds
    #[arg(long, value_name = "SECONDS")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
}

/// The agents that reached the state.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Waited {
    /// As they stand now.
    pub agents: Vec<AgentRecord>,
    /// Whether the end was waited for.
    #[serde(skip)]
    #[schemars(skip)]
    ended: bool,
}

impl Operation for Wait {
    const NAME: &'static str = "wait";
    const EFFECT: Effect = Effect::Read;
    type Output = Waited;

    fn run(self, app: &App, caller: &Caller) -> Result<Waited> {
        let wanted: Until = self.until.parse()?;
        let deadline = seconds(self.timeout)?.map(|limit| Instant::now() + limit);
        let agents = app.select(caller, &self.targets, self.batch.as_deref())?;
        for agent in &agents {
            until(app, agent, wanted, deadline)?;
        }
        Ok(Waited {
            agents: agents.iter().map(|agent| AgentRecord::of(app, agent)).collect(),
            ended: matches!(wanted, Until::Exited | Until::State(State::Exited(_))),
        })
    }
}

/// Waits until `agent` is in `until`. Errors: it ends otherwise; the deadline passes.
pub fn until(app: &App, agent: &Agent, until: Until, deadline: Option<Instant>) -> Result<State> {
    let check = |state: State| match state {
        state if until.holds(state) => Some(Ok(state)),
        State::Exited(_) | State::Lost => Some(Err(Error::failed(format!("`{}` is {state}", agent.branch))
            .hint(format!("see its output: `fleet logs {}`", word(&agent.branch))))),
        _ => None,
    };
    let asked = app.client(agent).and_then(|mut client| {
        let (_, now) = client.watch()?;
        Ok((client, now))
    });
    let (mut client, now) = match asked {
        Ok(asked) => asked,
        // It has ended, maybe in the midst of the question: what it came to is in its journal.
        Err(error) => {
            let state = app.see(agent).state;
            return check(state).unwrap_or(Err(error));
        }
    };
    if matches!(until, Until::State(State::Ready | State::Idle))
        && !Standing::fold(&journal::read(&app.home.agent_dir(&agent.id))?).ready_rule
    {
        return Err(Error::usage(format!(
            "`{}` has no `ready` rule, so nobody can tell when `{}` is ready or idle",
            agent.harness, agent.branch
        ))
        .hint(format!(
            "add `ready` to `[harness.{}]`: `fleet config edit`",
            agent.harness
        )));
    }
    if let Ok(state) = now.parse()
        && let Some(done) = check(state)
    {
        return done;
    }
    loop {
        match client.event(deadline) {
            Ok(Some(Event::Entry(entry))) => {
                if let Ok(state) = entry.state.parse()
                    && let Some(done) = check(state)
                {
                    if matches!(state, State::Exited(_)) {
                        see_off(&mut client);
                    }
                    return done;
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                let state = app.see(agent).state;
                return check(state).unwrap_or_else(|| Err(Error::failed(format!("`{}` is {state}", agent.branch))));
            }
            Err(error) if error.kind == Kind::Timeout => {
                let state = app.see(agent).state;
                return Err(
                    Error::new(Kind::Timeout, format!("`{}` is still {state}", agent.branch))
                        .hint(format!("see why: `fleet explain {}`", word(&agent.branch))),
                );
            }
            Err(error) => {
                let state = app.see(agent).state;
                return check(state).unwrap_or(Err(error));
            }
        }
    }
}

/// Waits for a supervisor whose program has ended to let go of its agent, so that what comes next finds free what it had.
fn see_off(client: &mut Client) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let deadline = Some(Instant::now() + PATIENCE);
    // It closes the connection when it has; a notifier may keep it for longer.
    while let Ok(Some(_)) = client.event(deadline) {}
}

impl Show for Waited {
    fn show(&self, page: &mut Page) {
        let naming = Naming::of(self.agents.iter().map(|agent| agent.repo_name.as_str()));
        for agent in &self.agents {
            page.spans(vec![
                span(Label::Name, naming.name(&agent.repo_name, &agent.branch)),
                plain(" is "),
                state_span(&agent.state),
                agent.outcome_span(),
                plain(agent.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default()),
            ]);
        }
    }

    fn failed(&self) -> Option<Kind> {
        let failed = self.ended && self.agents.iter().any(AgentRecord::has_failed);
        failed.then_some(Kind::Failed)
    }
}
