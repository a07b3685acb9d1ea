//! Starting a recorder, detached from everything: it has the store take in what an agent's journal tells of money and of
//! sub-agents, looks for the commits that were made, and notifies the user of ceilings that are near their end. A
//! supervisor starts it when a turn is over, when much was used, when a sub-agent was sent out or has answered, and as
//! one of its last acts. What it misses, whoever folds the journal next makes good.

use std::process::Stdio;

use fleet_core::id::AgentId;
use fleet_core::{Error, Result, fault};
use serde::{Deserialize, Serialize};

use crate::exec::raw_command;

/// The first argument by which the executable knows that it is to record. The second is the agent's id.
pub const ARGUMENT: &str = "__record";

/// How a recorder is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recorder {
    /// The agent whose journal is taken in; none where the user is to be notified alone.
    pub agent: Option<AgentId>,
    /// Its environment.
    pub env: Vec<(String, String)>,
}

impl Recorder {
    /// Starts one. Several at once are no harm.
    ///
    /// # Errors
    /// `Unavailable`: it cannot be started.
    pub fn start(&self) -> Result<()> {
        // The running executable, even when its file was replaced by an update meanwhile.
        let mut command = raw_command("/proc/self/exe");
        command
            .arg(ARGUMENT)
            .args(self.agent.as_ref().map(AgentId::as_str))
            .current_dir("/")
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            // A supervisor that starts it becomes its parent, and is not to end it with its agent.
            .env("FLEET_ROLE", "recorder")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        crate::sys::with_new_session(&mut command);
        // Its first process is over at once: it forks away, so that it is nobody's child.
        let status = fault::guard("record.spawn", || command.status());
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(Error::unavailable("the recorder ended at once")),
            Err(error) => Err(Error::unavailable(format!("cannot start the recorder: {error}"))),
        }
    }
}

/// Enters a recorder: leaves the process that started it. True in the recorder itself.
pub fn enter() -> bool {
    crate::sys::close_from(3);
    matches!(crate::sys::fork_is_parent(), Ok(false))
}
