//! What is looked at: one agent from its start to its end, through the operations that users use.
//!
//! Each step says what it observed. What arrived is decided by the endpoint's log, states by the agent's journal, and
//! what is left by the processes and folders of the machine.

use std::path::Path;
use std::time::{Duration, Instant};

use fleet_core::agent::{Agent, Reason, State, Until};
use fleet_core::{Error, Kind, Result};
use fleet_host::lock::Lock;
use fleet_host::process;
use fleet_host::supervise::journal;
use serde_json::{Value, json};

use super::endpoint::{Endpoint, Request};
use super::{Check, Checks, Known, TOUCHED, WHOLE, commit};
use crate::app::App;
use crate::caller::Caller;
use crate::op::dispatch;
use crate::ops::{logs, wait};

/// The agent's branch.
const AGENT: &str = "live";
/// How long each thing is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is kept of the whole time for the end of the agent.
const RESERVE: Duration = Duration::from_secs(45);
/// How often the endpoint's log is looked at when the agent itself tells nothing.
const STEP: Duration = Duration::from_millis(200);
/// How many lines of the screen a failed step shows.
const LINES: usize = 40;

/// The prompts. Each is asked once, so that its arrivals can be counted.
const FIRST: &str = "say hello from the endpoint";
/// With something said before it hangs: what is stopped before its first word some programs put back into the draft.
const HANGS: &str = "read a.txt\nhang\nsay that nobody hears this";
const NEXT: &str = "say there is no trace of the turn that was stopped\nsay and both lines are here";

/// One agent under observation.
struct Trial<'a> {
    app: &'a App,
    caller: Caller,
    known: &'static Known,
    endpoint: Endpoint,
    /// When waiting is over, whatever for.
    end: Instant,
}

/// Gives what it observed.
type Step = fn(&Trial<'_>) -> Result<String>;

const STEPS: [(&str, Step); 4] = [
    ("start", start),
    ("prompt", prompt),
    ("permission", permission),
    ("interrupt", interrupt),
];

/// Leads an agent of `known` from its start to its end. After a step that fails only the end is looked at.
pub(super) fn look(app: &App, caller: &Caller, known: &'static Known, program: &Path) -> Result<Checks> {
    let end = Instant::now() + WHOLE.saturating_sub(RESERVE);
    commit(&caller.cwd)?;
    let root = caller.cwd.parent().unwrap_or(Path::new("/"));
    let endpoint = Endpoint::start(program, root)?;
    let mut caller = caller.clone();
    caller.env.extend(endpoint.variables.iter().cloned());
    let trial = Trial {
        app,
        caller,
        known,
        endpoint,
        end,
    };
    let mut checks = Checks { checks: Vec::new() };
    for (name, step) in STEPS {
        if name == "permission" && !known.asks {
            checks.checks.push(Check {
                what: format!("live {name}"),
                level: "info".to_owned(),
                found: format!("`{}` runs commands without asking", known.name),
                hint: None,
                detail: None,
            });
            continue;
        }
        let check = trial.check(name, step);
        let failed = check.level == "error";
        checks.checks.push(check);
        if failed {
            break;
        }
    }
    checks.checks.push(trial.check("end", kill));
    Ok(checks)
}

/// It comes to its prompt, and nothing is asked on the way.
fn start(trial: &Trial<'_>) -> Result<String> {
    trial.dispatch("create", json!({"branch": AGENT, "agent": trial.known.name}))?;
    let agent = trial.agent()?;
    trial.wait(&agent, Until::State(State::Ready))?;
    match trial
        .states(&agent, 0)?
        .iter()
        .find(|state| state.starts_with("waiting"))
    {
        Some(asked) => Err(Error::failed(format!("it was `{asked}` before it was `ready`"))),
        None => Ok("`ready` without a question".to_owned()),
    }
}

/// A prompt arrives once, and its turn is seen from the beginning to the end.
fn prompt(trial: &Trial<'_>) -> Result<String> {
    let agent = trial.agent()?;
    let before = journal::read(&trial.app.home.agent_dir(&agent.id))?.len();
    trial.send(FIRST, "idle")?;
    let states = trial.states(&agent, before)?;
    if !states.iter().any(|state| state == "working") || states.last().is_none_or(|state| state != "idle") {
        return Err(Error::failed(format!(
            "the states of its turn were {}",
            states.join(", ")
        )));
    }
    trial.require_arrived(&agent, FIRST)?;
    Ok("delivered, by the endpoint's log once; `working`, then `idle`".to_owned())
}

/// A command that needs a permission waits for it, and does not run when the turn is stopped there.
fn permission(trial: &Trial<'_>) -> Result<String> {
    let agent = trial.agent()?;
    trial.send(&format!("make the file {TOUCHED}"), "receipt")?;
    trial.wait(&agent, Until::State(State::Waiting(Reason::Permission)))?;
    trial.stop_turn(&agent)?;
    match agent.worktree.join(TOUCHED).exists() {
        true => Err(Error::failed("the command ran without a permission")),
        false => Ok("`waiting(permission)`; interrupted there it is `idle`, and the command has not run".to_owned()),
    }
}

/// A turn that runs is stopped, and the next prompt is not glued to what is left of it.
fn interrupt(trial: &Trial<'_>) -> Result<String> {
    let agent = trial.agent()?;
    trial.send(HANGS, "receipt")?;
    let is_hanging =
        |request: &Request| request.turn == 1 && request.prompts.last().is_some_and(|prompt| prompt.trim() == HANGS);
    let find = || trial.endpoint.requests().into_iter().rfind(is_hanging);
    let hanging = trial.wait_for(&agent, "the request of a turn", find)?;
    let state = trial.app.see(&agent).state;
    if state != State::Working {
        return Err(Error::failed(format!("it is `{state}` while its turn runs")));
    }
    trial.stop_turn(&agent)?;
    let outcome = trial.wait_for(&agent, "the end of the stopped request", || {
        trial.endpoint.outcome(&hanging)
    })?;
    if outcome != "client_gone" {
        return Err(Error::failed(format!("the stopped request ended as `{outcome}`")));
    }
    trial.send(NEXT, "idle")?;
    for prompt in [NEXT, FIRST] {
        trial.require_arrived(&agent, prompt)?;
    }
    Ok("its request was given up and it is `idle`; the next prompt arrived whole, once".to_owned())
}

/// Nothing of it is left.
fn kill(trial: &Trial<'_>) -> Result<String> {
    let agent = trial.agent()?;
    trial.dispatch("kill", json!({"targets": [AGENT], "delete_branch": true}))?;
    let processes = process::marked(&agent.id).len();
    let session = trial.app.tmux(&trial.caller)?.has_session(&agent.session);
    let left = [
        (processes > 0, "processes"),
        (Lock::is_held(&trial.app.home.agent_lock(&agent.id)), "its supervisor"),
        (session.is_ok_and(|there| there), "its session"),
        (agent.worktree.exists(), "its worktree"),
    ];
    let left: Vec<&str> = left.iter().filter(|(there, _)| *there).map(|(_, what)| *what).collect();
    match left.is_empty() {
        true => Ok("killed; no process, session or worktree is left".to_owned()),
        false => Err(Error::failed(format!("killed, and left are {}", left.join(", ")))),
    }
}

impl Trial<'_> {
    fn check(&self, name: &str, step: Step) -> Check {
        let begun = Instant::now();
        let result = step(self);
        let took = format!("({:.1} s)", begun.elapsed().as_secs_f64());
        let what = format!("live {name}");
        match result {
            Ok(found) => Check {
                what,
                level: "ok".to_owned(),
                found: format!("{found} {took}"),
                hint: None,
                detail: None,
            },
            // Hints are about an agent that is gone when they are read.
            Err(error) => Check {
                what,
                level: "error".to_owned(),
                found: format!("{} {took}", error.message),
                hint: None,
                detail: error.detail.or_else(|| self.screen()),
            },
        }
    }

    fn screen(&self) -> Option<String> {
        let lines = logs::text(self.app, &self.agent().ok()?, LINES).ok()?;
        Some(lines.join("\n")).filter(|text| !text.trim().is_empty())
    }

    fn agent(&self) -> Result<Agent> {
        self.app.select_any(&self.caller, AGENT)
    }

    fn dispatch(&self, name: &str, args: Value) -> Result<Value> {
        Ok(dispatch(self.app, &self.caller, name, args, None)?.json)
    }

    /// When whatever is waited for now is given up.
    fn deadline(&self) -> Instant {
        self.end.min(Instant::now() + PATIENCE)
    }

    fn wait(&self, agent: &Agent, until: Until) -> Result<()> {
        wait::until(self.app, agent, until, Some(self.deadline())).map(drop)
    }

    /// The states since `entries` facts were known, without repetitions.
    fn states(&self, agent: &Agent, entries: usize) -> Result<Vec<String>> {
        let journal = journal::read(&self.app.home.agent_dir(&agent.id))?;
        let mut states: Vec<String> = journal.into_iter().skip(entries).map(|entry| entry.state).collect();
        states.dedup();
        Ok(states)
    }

    /// Sends a prompt and waits for `what`. Error: fleet does not call it delivered.
    fn send(&self, text: &str, what: &str) -> Result<()> {
        let limit = self.deadline().saturating_duration_since(Instant::now()).as_secs_f64();
        let args = json!({"targets": [AGENT], "message": text, "wait": what, "timeout": limit});
        let answer = self.dispatch("prompt", args)?;
        let sent = &answer["sent"][0];
        match sent["outcome"].as_str().unwrap_or_default() {
            "delivered" => Ok(()),
            other => {
                let why = sent["why"].as_str().unwrap_or_default();
                Err(Error::failed(format!("the prompt is `{other}`: {why}")))
            }
        }
    }

    /// Waits until `prompt` has come to the endpoint: a program that seems idle may still be about to send it.
    fn require_arrived(&self, agent: &Agent, prompt: &str) -> Result<()> {
        let first = prompt.lines().next().unwrap_or_default();
        let what = format!("the prompt `{first}`");
        let arrived = || Some(self.endpoint.arrivals(prompt)).filter(|times| *times > 0);
        match self.wait_for(agent, &what, arrived)? {
            1 => Ok(()),
            times => Err(Error::failed(format!("{what} is {times} times in the endpoint's log"))),
        }
    }

    fn stop_turn(&self, agent: &Agent) -> Result<()> {
        self.dispatch("prompt", json!({"targets": [AGENT], "interrupt": true}))?;
        self.wait(agent, Until::State(State::Idle))
    }

    /// Waits until the endpoint's log has what `find` looks for.
    fn wait_for<T>(&self, agent: &Agent, what: &str, find: impl Fn() -> Option<T>) -> Result<T> {
        let deadline = self.deadline();
        let mut client = self.app.client(agent)?;
        client.watch()?;
        loop {
            if let Some(found) = find() {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                let words = format!("{what} has not come to the endpoint");
                return Err(Error::new(Kind::Timeout, words));
            }
            match client.event(Some(Instant::now() + STEP)) {
                Ok(Some(_)) => {}
                Ok(None) => return Err(Error::failed(format!("the agent is {}", self.app.see(agent).state))),
                Err(error) if error.kind == Kind::Timeout => {}
                Err(error) => return Err(error),
            }
        }
    }
}
