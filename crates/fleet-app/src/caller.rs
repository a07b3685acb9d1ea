//! Who asks, from where, and what they may.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use fleet_core::{Error, Result};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A person at this machine, or a program of theirs.
    User,
    /// An agent that fleet runs: its environment carries `FLEET_AGENT`.
    Agent,
}

/// What an operation does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Read,
    /// It changes things, and loses nothing.
    Write,
    /// It deletes what cannot be had back.
    Destroy,
}

/// One caller of operations.
#[derive(Clone)]
pub struct Caller {
    /// Who it is.
    pub who: Who,
    /// The directory it stands in, absolute.
    pub cwd: PathBuf,
    /// Its environment. Values of it go to children it starts and nowhere else.
    pub env: BTreeMap<String, String>,
    /// Hears what a long operation is doing.
    pub progress: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Caller {
    /// A caller in `cwd` with `env` that hears nothing of progress.
    pub fn new(cwd: PathBuf, env: BTreeMap<String, String>) -> Self {
        let who = if env.contains_key("FLEET_AGENT") {
            Who::Agent
        } else {
            Who::User
        };
        Self {
            who,
            cwd,
            env,
            progress: Arc::new(|_| {}),
        }
    }

    /// A variable of its environment.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// Refuses what this caller may not do. An agent may start, steer and end agents, which loses nothing; only a
    /// person deletes. Between processes of one user this guards against accidents, not against malice.
    pub fn may(&self, effect: Effect, name: &str) -> Result<()> {
        match (self.who, effect) {
            (Who::Agent, Effect::Destroy) => Err(Error::refused(format!(
                "an agent may not run `{name}`: it deletes for good"
            ))
            .hint("leave it to the person: ask them to run it in their own terminal")),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Caller {
    /// Without the environment: it holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller")
            .field("who", &self.who)
            .field("cwd", &self.cwd)
            .finish_non_exhaustive()
    }
}
