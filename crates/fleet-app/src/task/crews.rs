//! Sub-agents of programs: their records come from the journals of their agents, when those are folded.

use fleet_core::Result;
use fleet_core::agent::Agent;
use fleet_core::fact::{Entry, Fact};
use fleet_core::id::AgentId;
use fleet_core::spend::Spend;
use fleet_core::task::TaskId;
use fleet_host::git::Repo;
use fleet_store::Store;

use super::{is_taken, publish};
use crate::app::App;

/// Folds `entries` of the journal of `agent` into the store, and writes the files of the tasks of its sub-agents.
///
/// # Errors
/// Those of [`Store::fold`]. That the files cannot be written is none: they are copies.
pub(crate) fn fold(app: &App, site: &'static str, agent: &Agent, entries: &[Entry]) -> Result<()> {
    let store = app.store()?;
    let repo = Repo::of(&agent.repo);
    let before = store.folded(&agent.id)?;
    store.fold(site, &agent.id, entries, &|id| is_taken(&repo, id))?;
    let mut changed: Vec<TaskId> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.seq > before) {
        let id = match &entry.fact {
            Fact::SentOut { id, .. } | Fact::CameBack { id, .. } => Some(id),
            Fact::Used(used) => used.crew.as_ref(),
            _ => None,
        };
        let task = id.map(|id| store.task_of_crew(&agent.id, id)).transpose()?.flatten();
        changed.extend(task.filter(|task| !changed.contains(task)));
    }
    for task in changed {
        let _ = publish(app, &repo, task);
    }
    Ok(())
}

/// What `entry` of an agent's journal adds to the account: what a sub-agent used belongs to its task.
pub(super) fn spend(store: &Store, agent: &AgentId, entry: &Entry) -> Option<Spend> {
    let spend = entry.spend()?;
    let crew = match &entry.fact {
        Fact::Used(used) => used.crew.as_deref(),
        _ => None,
    };
    let task = crew.and_then(|crew| store.task_of_crew(agent, crew).ok().flatten());
    Some(Spend {
        task: task.map(|task| task.to_string()).or(spend.task),
        ..spend
    })
}
