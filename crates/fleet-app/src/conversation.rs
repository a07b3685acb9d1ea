//! Which conversation a revived agent goes on with.

use std::time::Duration;

use fleet_core::agent::{Agent, Standing};
use fleet_core::name::word;
use fleet_core::{Error, Result};
use fleet_host::exec::Cmd;
use fleet_host::harness::{self, Harness};

use crate::caller::Caller;
use crate::child;

/// How long a program may take to list its conversations: some need seconds to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a revived agent goes on with.
#[derive(Debug)]
pub(crate) enum GoesOn {
    /// With nothing: it begins a new conversation.
    Anew,
    /// With its conversation, by this id where one is known.
    With(Option<String>),
}

/// What `agent`, which stands like this, goes on with. Error: its program does not tell which conversations it has, and
/// the newest one might be another agent's.
pub(crate) fn find(
    caller: &Caller,
    agent: &Agent,
    standing: &Standing,
    harness: &Harness,
    env: &[(String, String)],
) -> Result<GoesOn> {
    if harness.stream().is_some() {
        // A run without a terminal that told of no conversation has left none to go on with.
        let told = standing.conversation.clone();
        return Ok(told.map_or(GoesOn::Anew, |id| GoesOn::With(Some(id))));
    }
    if !standing.talked && harness.resumes_by_id() {
        return Ok(GoesOn::Anew);
    }
    // What the program has told of itself is newer than what it was given.
    let id = standing.conversation.as_ref().or(agent.conversation.as_ref()).cloned();
    if id.is_some() || harness.conversations.is_empty() {
        return Ok(GoesOn::With(id));
    }
    let found = ask(caller, agent, harness, env).map_err(|error| {
        error
            .context(format!("the conversation of `{}` could not be found", agent.branch))
            .hint(format!(
                "start a new one: `fleet restart {} --fresh`",
                word(&agent.branch)
            ))
    })?;
    Ok(found.map_or(GoesOn::Anew, |id| GoesOn::With(Some(id))))
}

/// The newest conversation of the agent's workspace, as its program lists them; none when it has none there.
fn ask(caller: &Caller, agent: &Agent, harness: &Harness, env: &[(String, String)]) -> Result<Option<String>> {
    let program = harness.command.iter().take(1).cloned();
    let argv = child::program_path(
        &program.chain(harness.conversations.clone()).collect::<Vec<_>>(),
        caller,
    )?;
    let mut command = Cmd::new("resume.conversations", &argv[0], &agent.worktree)
        .args(&argv[1..])
        .env_clear()
        .timeout(PATIENCE);
    for (name, value) in env {
        command = command.env(name, value);
    }
    let listed = command.run()?;
    // It names folders without symlinks.
    let folder = agent.worktree.canonicalize().unwrap_or_else(|_| agent.worktree.clone());
    harness::newest_conversation(&harness.name, &listed, &folder)
        .map_err(|why| Error::failed(format!("`{}` lists what is no JSON: {why}", harness.name)))
}
