//! `prompt`: a text to agents, with a receipt.

use std::time::Duration;

use clap::Args;
use fleet_core::agent::{Agent, Standing, State, Until};
use fleet_core::fact::Fact;
use fleet_core::id::AgentId;
use fleet_core::name::word;
use fleet_core::{Error, Kind, Result};
use fleet_host::supervise::journal;
use fleet_host::supervise::prompt::check_text;
use fleet_host::supervise::wire::{Outcome, Prompted};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::started::seconds;
use super::wait;
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::record::Naming;

/// How long a delivery may take when the agent takes it at once.
const PROMPTLY: Duration = Duration::from_secs(20);

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// Until the prompt has left the queue and a receipt was seen
    Receipt,
    /// Until the agent has finished the turn as well
    Idle,
}

/// Send a text to running agents, exactly once, and say what became of it
///
/// `delivered`: a receipt was seen. `queued`: the agent is busy; it is delivered when the turn ends. `refused`:
/// it was not taken. `unverified`: it was written once and no receipt was seen; the exit code is 9.
/// With `--interrupt` the running turn is stopped first.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// Branches, repo/branch, ids or patterns, and on the command line the text last; @FILE reads it from a file,
    /// - from standard input
    #[arg(value_name = "TARGET... MESSAGE", required_unless_present = "message")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// The text, when it is not the last argument
    #[arg(short, long, allow_hyphen_values = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Interrupt the running turn first; a single TARGET without a text is only interrupted
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupt: bool,
    /// All agents of this batch
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// Wait for the receipt, or until the agent is idle again
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "receipt")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitFor>,
    /// Give up waiting after this many seconds
    #[arg(long, value_name = "SECONDS")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
}

/// What became of a prompt at one agent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// The agent's branch.
    pub branch: String,
    /// Its repository's folder name.
    pub repo_name: String,
    /// The agent's id.
    pub id: AgentId,
    /// The prompt's own id, as the agent's journal has it.
    pub prompt: String,
    /// `delivered`, `queued`, `refused` or `unverified`; `interrupted` when there was no text.
    pub outcome: String,
    /// More about it.
    pub why: String,
}

/// What became of the prompt.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Prompts {
    /// At each agent.
    pub sent: Vec<Sent>,
}

impl Operation for Prompt {
    const NAME: &'static str = "prompt";
    const EFFECT: Effect = Effect::Write;
    type Output = Prompts;

    fn read_local(&mut self, read: &dyn Fn(&str) -> Result<String>) -> Result<()> {
        let only_target = self.interrupt && self.batch.is_none() && self.targets.len() == 1;
        if self.message.is_none() && !only_target {
            self.message = Some(self.targets.pop().unwrap_or_default());
        }
        self.message = self.message.take().map(|message| read(&message)).transpose()?;
        Ok(())
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Prompts> {
        let text = match (&self.message, self.interrupt) {
            (None, true) => None,
            (message, _) => Some(check_text(message.as_deref().unwrap_or_default())?),
        };
        if self.targets.is_empty() && self.batch.is_none() {
            return Err(
                Error::usage("the prompt has no target").hint("name an agent: `fleet prompt fix-42 \"run the tests\"`")
            );
        }
        let limit = seconds(self.timeout)?;
        let agents = app.select(caller, &self.targets, self.batch.as_deref())?;
        let send = |agent: &Agent| {
            if self.interrupt && agent.headless && text.is_some() {
                let name = word(&agent.branch);
                return Err(Error::refused(format!(
                    "`{}` runs without a terminal: interrupted, its run is over",
                    agent.branch
                ))
                .hint(format!(
                    "first `fleet prompt {name} --interrupt`, then `fleet resume {name} --prompt TEXT`"
                )));
            }
            if self.interrupt {
                let state = interrupt(app, agent)?;
                if text.is_none() {
                    return Ok(interrupted(agent, &state));
                }
            }
            send(app, agent, text.as_deref().unwrap_or_default(), self.wait, limit)
        };
        let results: Vec<(Agent, Result<Sent>)> = std::thread::scope(|scope| {
            let running: Vec<_> = agents.iter().map(|agent| scope.spawn(|| send(agent))).collect();
            let joined = running
                .into_iter()
                .map(|each| each.join().unwrap_or_else(|_| Err(Error::internal("a thread failed"))));
            agents.iter().cloned().zip(joined).collect()
        });
        if let [(_, Err(error))] = results.as_slice() {
            return Err(error.clone());
        }
        let sent = results
            .into_iter()
            .map(|(agent, result)| result.unwrap_or_else(|error| failed(&agent, &error)))
            .collect();
        Ok(Prompts { sent })
    }
}

/// Sends `text` to one agent. An agent that does not run is an error that says how to revive it.
pub(crate) fn send(
    app: &App,
    agent: &Agent,
    text: &str,
    wait: Option<WaitFor>,
    limit: Option<Duration>,
) -> Result<Sent> {
    let id = app.new_id();
    let deadline = limit.map(|limit| std::time::Instant::now() + limit);
    let seen = app.see(agent);
    if !seen.state.is_live() {
        return Err(
            Error::refused(format!("`{}` is {}, so nothing was sent", agent.branch, seen.state)).hint(
                match seen.outcome {
                    Some(_) => format!(
                        "go on with its conversation: `fleet resume {} --prompt TEXT`",
                        word(&agent.branch)
                    ),
                    None => format!("revive it: `fleet resume {}`", word(&agent.branch)),
                },
            ),
        );
    }
    if wait == Some(WaitFor::Idle) && !Standing::fold(&journal::read(&app.home.agent_dir(&agent.id))?).ready_rule {
        return Err(Error::usage(format!(
            "`{}` has no `ready` rule, so nobody can tell when `{}` is idle; nothing was sent",
            agent.harness, agent.branch
        ))
        .hint("wait for the receipt alone: `--wait=receipt`"));
    }
    let mut client = app.client(agent)?;
    let past_queue = wait.is_some();
    let timeout = if past_queue {
        limit
    } else {
        Some(limit.unwrap_or(PROMPTLY))
    };
    let prompted = match client.prompt(&id, text, past_queue, timeout) {
        Ok(prompted) => prompted,
        Err(error) if error.kind == Kind::Unavailable => from_journal(app, agent, &id)?,
        Err(error) if error.kind == Kind::Timeout => return Err(late(app, agent, &id, error)),
        Err(error) => return Err(error),
    };
    if wait == Some(WaitFor::Idle) && prompted.outcome == Outcome::Delivered {
        wait::until(app, agent, Until::State(State::Idle), deadline)?;
    }
    Ok(sent(agent, id, prompted))
}

/// Interrupts the turn of one agent; gives the state it is in then.
fn interrupt(app: &App, agent: &Agent) -> Result<String> {
    let seen = app.see(agent);
    if !seen.state.is_live() {
        return Err(Error::refused(format!(
            "`{}` is {}: there is nothing to interrupt",
            agent.branch, seen.state
        ))
        .hint(format!("revive it: `fleet resume {}`", word(&agent.branch))));
    }
    match app.client(agent).and_then(|mut client| client.interrupt()) {
        // The run of an agent without a terminal is over then, and its supervisor with it.
        Err(error) if error.kind == Kind::Unavailable => match app.see(agent).state {
            state @ State::Exited(_) => Ok(state.to_string()),
            _ => Err(error),
        },
        other => other,
    }
}

fn interrupted(agent: &Agent, state: &str) -> Sent {
    Sent {
        branch: agent.branch.clone(),
        repo_name: agent.repo_name.clone(),
        id: agent.id.clone(),
        prompt: String::new(),
        outcome: "interrupted".to_owned(),
        why: format!("the agent is {state}"),
    }
}

/// What to say of a prompt that has no outcome in time.
fn late(app: &App, agent: &Agent, id: &str, error: Error) -> Error {
    match from_journal(app, agent, id) {
        Ok(prompted) if prompted.outcome == Outcome::Queued => Error::new(
            Kind::Timeout,
            format!(
                "`{}` is still {}; the prompt stays queued and is delivered when the turn ends",
                agent.branch,
                app.see(agent).state
            ),
        )
        .hint(format!("see why: `fleet explain {}`", word(&agent.branch))),
        _ => error.hint(format!(
            "look before you send it again: `fleet logs {}`",
            word(&agent.branch)
        )),
    }
}

/// What the journal says of a prompt whose supervisor ended before it could answer.
fn from_journal(app: &App, agent: &Agent, id: &str) -> Result<Prompted> {
    let entries = journal::read(&app.home.agent_dir(&agent.id))?;
    let waits = Standing::fold(&entries).waits(id);
    let last = entries.iter().rev().find_map(|entry| match &entry.fact {
        // Taken back by the end of its supervisor, before Enter was pressed.
        Fact::PromptTyped { id: each } if each == id && waits => Some(Outcome::Queued),
        Fact::PromptDelivered { id: each, .. } if each == id => Some(Outcome::Delivered),
        Fact::PromptTyped { id: each } | Fact::PromptUnverified { id: each, .. } if each == id => {
            Some(Outcome::Unverified)
        }
        Fact::PromptRefused { id: each, .. } if each == id => Some(Outcome::Refused),
        Fact::PromptQueued { id: each, .. } if each == id => Some(Outcome::Queued),
        _ => None,
    });
    match last {
        Some(outcome) => Ok(Prompted {
            outcome,
            why: "the agent's supervisor ended meanwhile".to_owned(),
        }),
        None => Err(Error::unavailable(format!(
            "the supervisor of `{}` ended before it took the prompt",
            agent.branch
        ))
        .hint(format!(
            "revive it and send again: `fleet resume {}`",
            word(&agent.branch)
        ))),
    }
}

fn sent(agent: &Agent, prompt: String, prompted: Prompted) -> Sent {
    let outcome = match prompted.outcome {
        Outcome::Delivered => "delivered",
        Outcome::Queued => "queued",
        Outcome::Refused => "refused",
        Outcome::Unverified => "unverified",
    };
    Sent {
        branch: agent.branch.clone(),
        repo_name: agent.repo_name.clone(),
        id: agent.id.clone(),
        prompt,
        outcome: outcome.to_owned(),
        why: prompted.why,
    }
}

fn failed(agent: &Agent, error: &Error) -> Sent {
    let outcome = if error.kind == Kind::Timeout {
        "unverified"
    } else {
        "refused"
    };
    let why = error.message.clone();
    Sent {
        branch: agent.branch.clone(),
        repo_name: agent.repo_name.clone(),
        id: agent.id.clone(),
        prompt: String::new(),
        outcome: outcome.to_owned(),
        why,
    }
}

impl Show for Prompts {
    fn show(&self, page: &mut Page) {
        let naming = Naming::of(self.sent.iter().map(|sent| sent.repo_name.as_str()));
        for sent in &self.sent {
            let name = naming.name(&sent.repo_name, &sent.branch);
            let label = match sent.outcome.as_str() {
                "delivered" | "interrupted" => Label::Good,
                "queued" => Label::Plain,
                "unverified" => Label::Warn,
                _ => Label::Bad,
            };
            let mut lines = sent.why.lines();
            page.spans(vec![
                span(label, &sent.outcome),
                plain(match sent.outcome.as_str() {
                    "refused" => " by ",
                    "interrupted" => " ",
                    _ => " to ",
                }),
                span(Label::Name, &name),
                plain(format!(": {}", lines.next().unwrap_or_default())),
            ]);
            if let Some(hint) = lines.next() {
                page.hint(hint);
            }
            if sent.outcome == "unverified" {
                page.hint(format!("look before you send it again: `fleet logs {}`", word(&name)));
            }
        }
    }

    fn failed(&self) -> Option<Kind> {
        let has = |outcome: &str| self.sent.iter().any(|sent| sent.outcome == outcome);
        match (has("unverified"), has("refused")) {
            (true, _) => Some(Kind::Unverified),
            (false, true) => Some(Kind::Refused),
            (false, false) => None,
        }
    }
}
