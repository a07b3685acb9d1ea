//! Who asks, from where, and what they may.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use fleet_core::{Error, Result};

/// The variable of an agent's environment that holds what variables were before fleet set them for this one program, as
/// JSON.
pub(crate) const BEFORE: &str = "FLEET_BEFORE_METER";

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
    /// A caller in `cwd` with `env` that hears nothing of progress. Where an agent calls whose program reaches its service
    /// through the meter, the environment is as it was before that: what it starts has an address of its own.
    pub fn new(cwd: PathBuf, mut env: BTreeMap<String, String>) -> Self {
        let before = env.remove(BEFORE).unwrap_or_default();
        let before: BTreeMap<String, Option<String>> = serde_json::from_str(&before).unwrap_or_default();
        for (name, value) in before {
            match value {
                Some(value) => drop(env.insert(name, value)),
                None => drop(env.remove(&name)),
            }
        }
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

/// The text of [`BEFORE`]: what the variables that `replaced` names are in `env`.
pub(crate) fn before(env: &[(String, String)], replaced: &[(String, String)]) -> String {
    let value = |name: &str| env.iter().rfind(|(each, _)| each == name).map(|(_, value)| value);
    let before: BTreeMap<&str, Option<&String>> =
        replaced.iter().map(|(name, _)| (name.as_str(), value(name))).collect();
    serde_json::to_string(&before).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_starts_has_the_address_that_the_agent_was_given_by_its_user() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let users = [pair("A_URL", "https://a"), pair("OTHER", "1")];
        let replaced = [
            pair("A_URL", "http://127.0.0.1:9/x"),
            pair("B_URL", "http://127.0.0.1:9/y"),
        ];
        let mut env = BTreeMap::from([pair(BEFORE, &before(&users, &replaced)), pair("OTHER", "1")]);
        env.extend(replaced);
        let caller = Caller::new(PathBuf::from("/"), env);
        assert_eq!(caller.env, BTreeMap::from(users));
    }
}
