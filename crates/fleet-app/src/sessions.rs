//! The tmux sessions of agents: views that are made when they are wanted.

use std::path::{Path, PathBuf};

use fleet_core::agent::Agent;
use fleet_core::name::word;
use fleet_core::{Error, Result};
use fleet_host::tmux::{NewSession, Opened};

use crate::app::App;
use crate::caller::Caller;

/// Size of a terminal that nobody looks at yet.
pub const ROWS: u16 = 50;
/// Columns of a terminal that nobody looks at yet.
pub const COLS: u16 = 160;

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
        open(app, caller, &[&agent])?;
    }
    Ok(Attach {
        argv: tmux.attach_command(&agent.session),
        line: tmux.attach_line(&agent.session),
    })
}

/// Opens the tmux session of each interactive agent of `agents` that has none.
pub fn open(app: &App, caller: &Caller, agents: &[&Agent]) -> Result<()> {
    let view = app.executable.canonicalize().unwrap_or_else(|_| app.executable.clone());
    let mut sessions = Vec::new();
    for agent in agents.iter().filter(|agent| !agent.headless) {
        sessions.push(NewSession {
            name: agent.session.clone(),
            cwd: PathBuf::from("/"),
            argv: view_command(app, &view, agent)?,
            rows: ROWS,
            cols: COLS,
        });
    }
    if sessions.is_empty() {
        return Ok(());
    }
    let tmux = app.tmux(caller)?;
    tmux.ensure_conf()?;
    let opened = tmux.new_sessions("create.sessions", &sessions)?;
    let failed = opened.into_iter().find_map(|each| match each {
        Opened::Failed(error) => Some(error),
        _ => None,
    });
    failed.map_or(Ok(()), Err)
}

/// The same; a failure is a warning only: the agents run, and tmux is a view that `attach` opens when it can.
pub(crate) fn open_if_possible(app: &App, caller: &Caller, agents: &[&Agent]) {
    if let Err(error) = open(app, caller, agents) {
        (caller.progress)(&none_opened(&error));
    }
}

/// The warning that agents run without their tmux sessions.
pub fn none_opened(error: &Error) -> String {
    let hint = error
        .hint
        .as_deref()
        .map(|hint| format!("; {hint}"))
        .unwrap_or_default();
    format!("warning: no tmux sessions: {}{hint}", error.message)
}

/// The command line of a view on `agent`.
fn view_command(app: &App, executable: &Path, agent: &Agent) -> Result<Vec<String>> {
    let socket = app.runtime()?.socket(&agent.id);
    Ok(vec![
        executable.display().to_string(),
        "__view".into(),
        socket.display().to_string(),
        agent.branch.clone(),
    ])
}
