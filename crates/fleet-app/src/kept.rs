//! What an agent's folder tells of it when the database is lost: its record, and the note of its saved work.
//!
//! None of it is read in everyday work, so a failure to write it is no reason to fail.

use std::path::Path;

use fleet_core::Result;
use fleet_core::agent::{Agent, Phase, Standing};
use fleet_core::id::AgentId;
use fleet_host::files;
use fleet_host::supervise::journal;
use fleet_store::{Salvage, Store};
use serde::de::DeserializeOwned;

use crate::app::App;

/// The record of an agent that has not ended.
const LIVE: &str = "record.json";
/// The same file once the agent has ended: a rename costs no sync.
const ENDED: &str = "ended.json";
/// The record of its saved work.
const SALVAGE: &str = "salvage.json";

/// Keeps the record of `agent`.
pub(crate) fn keep(app: &App, agent: &Agent) {
    if let Ok(bytes) = serde_json::to_vec(agent) {
        let path = app.home.agent_dir(&agent.id).join(LIVE);
        let _ = files::write_cache("kept.record", &path, &bytes, 0o600);
    }
}

/// Notes that the agent has ended.
pub(crate) fn keep_end(app: &App, id: &AgentId) {
    let folder = app.home.agent_dir(id);
    if folder.join(LIVE).exists() {
        let _ = files::rename("kept.end", &folder.join(LIVE), &folder.join(ENDED));
    }
}

/// Keeps the record of saved work.
pub(crate) fn keep_salvage(app: &App, salvage: &Salvage) {
    if let Ok(bytes) = serde_json::to_vec(salvage) {
        let path = app.home.agent_dir(&salvage.agent).join(SALVAGE);
        let _ = files::write_atomic("kept.salvage", &path, &bytes, 0o600);
    }
}

/// Drops the note of work that was pruned.
pub(crate) fn drop_salvage(app: &App, id: &AgentId) -> Result<()> {
    files::remove_file("kept.drop-salvage", &app.home.agent_dir(id).join(SALVAGE))
}

/// Drops the record of an agent that never really was.
pub(crate) fn drop_record(app: &App, id: &AgentId) -> Result<()> {
    files::remove_file("kept.drop-record", &app.home.agent_dir(id).join(ENDED))
}

/// Records every agent and all saved work that the folders tell of and the store does not know. Gives how many
/// agents that were.
pub(crate) fn take_up(app: &App, store: &Store) -> Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(app.home.agents()).into_iter().flatten().flatten() {
        let folder = entry.path();
        let Some(agent) = record(&folder) else { continue };
        if store.agent(&agent.id)?.is_some() {
            continue;
        }
        // The salvage comes first: the trash of an ended agent without one is taken for leftovers.
        if let Some(salvage) = read::<Salvage>(&folder.join(SALVAGE)) {
            store.salvage_add("kept.take-up-salvage", &salvage)?;
        }
        count += usize::from(store.adopt("kept.take-up", &agent, 1)?);
    }
    Ok(count)
}

fn record(folder: &Path) -> Option<Agent> {
    let live: Option<Agent> = read(&folder.join(LIVE));
    let ended = live.is_none();
    let mut agent = live.or_else(|| read(&folder.join(ENDED)))?;
    // The record was written before the program ran; the journal knows the rest.
    let entries = journal::read(folder).unwrap_or_default();
    let standing = Standing::fold(&entries);
    if let Some((pid, _)) = standing.child {
        agent.phase = Phase::Started;
        agent.pid = Some(pid);
        agent.generation = standing.generation;
    }
    if ended {
        agent.phase = Phase::Ended;
        agent.ended_at = Some(entries.last().map_or(agent.created_at, |entry| entry.at));
    }
    Some(agent)
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
