//! `state.json`: the live agents for scripts, in the schema of the first ai-fleet. It is never read back.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fleet_core::agent::Agent;
use fleet_core::{Error, Result, Time, fault};
use serde::Serialize;

use crate::damage::beside;
use crate::open::Store;
use crate::{agents, failure};

/// One line of the file; the names are what scripts know.
#[derive(Serialize)]
struct Line<'a> {
    branch: &'a str,
    worktree: &'a Path,
    session: &'a str,
    pid: Option<u32>,
    batch_id: &'a str,
    agent: &'a str,
    created_at: Time,
}

impl Store {
    /// Replaces the file at `path` (0600) by a list of the live agents, in one step.
    ///
    /// It is read and written in one writer's turn: whoever publishes last has seen everything, so the file never goes
    /// back. It is not synced, since the next writing operation publishes it anew.
    pub fn publish_state(&self, site: &'static str, path: &Path) -> Result<()> {
        fault::guard(site, || {
            let _turn = self.turn()?;
            let agents = self.read(agents::live)?;
            let lines: Vec<Line<'_>> = agents.iter().map(line).collect();
            let mut bytes = serde_json::to_vec_pretty(&lines)
                .map_err(|error| Error::internal(format!("cannot write the agents as JSON: {error}")))?;
            bytes.push(b'\n');
            replace(path, &bytes).map_err(|error| failure::io("write", path, &error))
        })
    }
}

fn line(agent: &Agent) -> Line<'_> {
    Line {
        branch: &agent.branch,
        worktree: &agent.worktree,
        session: &agent.session,
        pid: agent.pid,
        batch_id: &agent.batch_id,
        agent: &agent.harness,
        created_at: agent.created_at,
    }
}

/// The draft's name is fixed: in a writer's turn nobody else uses it, and a killed writer leaves one at most.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = beside(path, ".new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(bytes)?;
    fs::rename(&draft, path)
}
