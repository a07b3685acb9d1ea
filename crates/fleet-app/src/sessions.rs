//! The tmux sessions of agents: views that are made when they are wanted.

use fleet_core::agent::Agent;
use fleet_core::name::word;
use fleet_core::{Error, Result};

use crate::app::App;
use crate::caller::Caller;
use crate::start;

/// How to attach to a session.
#[derive(Clone, Debug)]
pub struct Attach {
    /// As arguments.
    pub argv: Vec<String>,
    /// As a line for a shell.
    pub line: String,
}

/// The agent that `target` names, if there is a terminal to attach to.
pub fn attachable(app: &App, caller: &Caller, target: &str) -> Result<Agent> {
    let agents = app.select(caller, &[target.to_owned()], None)?;
    let [agent] = agents.as_slice() else {
        let names: Vec<&str> = agents.iter().map(|agent| agent.branch.as_str()).collect();
        return Err(Error::usage(format!(
            "`attach` takes one agent, and {} match: {}",
            names.len(),
            names.join(", ")
        ))
        .hint("name one of them"));
    };
    let seen = app.see(agent);
    if !seen.alive {
        return Err(Error::refused(format!(
            "`{}` is {}, so there is nothing to attach to",
            agent.branch, seen.state
        ))
        .hint(format!(
            "revive it: `fleet resume {0}`; or read its output: `fleet logs {0}`",
            word(&agent.branch)
        )));
    }
    Ok(agent.clone())
}

/// The command that attaches to `agent`; its session is made if there is none.
pub fn attach(app: &App, caller: &Caller, agent: &Agent) -> Result<Attach> {
    let agent = Agent {
        headless: false,
        ..agent.clone()
    };
    let tmux = app.tmux(caller)?;
    if !tmux.has_session(&agent.session)? {
        start::sessions_for(app, caller, &[&agent])?;
    }
    Ok(Attach {
        argv: tmux.attach_command(&agent.session),
        line: tmux.attach_line(&agent.session),
    })
}
