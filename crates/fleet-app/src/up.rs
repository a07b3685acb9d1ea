//! Whether a program that was started came up, or failed before anybody could use it.

use std::thread;
use std::time::{Duration, Instant};

use fleet_core::Error;
use fleet_core::agent::{Agent, Standing, State, Until};
use fleet_core::outcome::Outcome;
use fleet_host::process;
use fleet_host::supervise::journal;

use crate::app::App;
use crate::caller::Caller;
use crate::{ops, sessions};

/// A program that neither rests nor works nor ends within this time counts as up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the sessions of `agents`, which have just been launched, and meanwhile waits until each of them is up, as
/// [`come_up`] does.
pub(crate) fn open_and_come_up(app: &App, caller: &Caller, agents: &[&Agent]) -> Vec<Option<Error>> {
    thread::scope(|scope| {
        scope.spawn(|| sessions::open_if_possible(app, caller, agents));
        come_up(app, agents)
    })
}

/// Waits until each program of `agents`, which have just been launched, waits for something, has worked for a while,
/// or has ended. For each the error that it failed with, if it failed before it came up.
pub(crate) fn come_up(app: &App, agents: &[&Agent]) -> Vec<Option<Error>> {
    let pids: Vec<u32> = agents.iter().filter_map(|agent| agent.pid).collect();
    let gone = process::settle(&pids, PATIENCE);
    let failure = |agent: &&Agent| {
        let ended = agent.pid.is_some_and(|pid| gone.contains(&pid));
        if ended { failure_of(app, agent) } else { None }
    };
    agents.iter().map(failure).collect()
}

/// The error that the ended program of `agent` amounts to, with its last output; none when it ended well or had come
/// up before.
fn failure_of(app: &App, agent: &Agent) -> Option<Error> {
    // The kernel tells of the end a moment before the supervisor has written it down.
    let deadline = Some(Instant::now() + PATIENCE);
    let Ok(State::Exited(code)) = ops::wait::until(app, agent, Until::Exited, deadline) else {
        return None;
    };
    let standing = Standing::fold(&journal::read(&app.home.agent_dir(&agent.id)).unwrap_or_default());
    // A run whose stream tells how it ended was one, however short.
    let told = standing
        .outcome
        .as_ref()
        .is_some_and(|(outcome, _)| !matches!(outcome, Outcome::Crashed { .. }));
    if code == 0 || standing.at_prompt.is_some() || told {
        return None;
    }
    let text = ops::logs::text(app, agent, 20).unwrap_or_default().join("\n");
    Some(Error::failed(format!("`{}` ended at once with exit code {code}", agent.harness)).detail(text))
}
