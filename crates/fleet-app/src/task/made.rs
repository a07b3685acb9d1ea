//! Which commits are for which task, by observation: what was committed in the worktree of an agent while it worked for a task.
//!
//! It is looked at when a turn ends, when the program ends, before the worktree goes, and with each report. What was rebased
//! or squashed since is known again by what it changes.

use std::path::Path;

use fleet_core::agent::Agent;
use fleet_core::id::AgentId;
use fleet_core::task::{TRAILER, TaskId};
use fleet_core::{Error, Result};
use fleet_host::git::{self, Repo};
use fleet_host::lock::Lock;
use fleet_host::supervise::journal;

use super::{agents_of, fold, publish};
use crate::app::App;
use crate::caller::Caller;
use crate::{budgets, runs};

/// Records what an agent's journal and its worktree tell of its task and of money, and notifies the user of ceilings that
/// are near their end: for the process that its supervisor starts. With no agent it notifies alone.
///
/// # Errors
/// `NotFound` when there is no such agent.
pub fn record(app: &App, caller: &Caller, id: Option<&str>) -> Result<()> {
    let recorded = id.map_or(Ok(()), |id| record_agent(app, id));
    recorded.and(budgets::notify::now(app, caller))
}

fn record_agent(app: &App, id: &str) -> Result<()> {
    let unknown = || Error::not_found(format!("there is no agent {id}"));
    let id = AgentId::parse(id).ok_or_else(unknown)?;
    let agent = app.store()?.agent(&id)?.ok_or_else(unknown)?;
    let entries = journal::read(&app.home.agent_dir(&id))?;
    fold(app, "record.fold", &agent, &entries)?;
    // The ceilings of a run are known to its driver.
    if let Some((run, step)) = app.store()?.step_of(&id)?
        && step.ended.is_none()
    {
        runs::knock(app, &run)?;
    }
    observe(app, &agent)?;
    // One that is over leaves to others what it had reserved.
    if let Some(task) = agent.task.filter(|_| !Lock::is_held(&app.home.agent_lock(&id))) {
        budgets::settle(app)?;
        budgets::change::knock_mates(app, task, None)?;
    }
    Ok(())
}

/// Records the commits that `agent` has made for its task.
///
/// # Errors
/// Its worktree is none any more, or the store cannot be written.
pub(crate) fn observe(app: &App, agent: &Agent) -> Result<()> {
    let Some(task) = agent.task.filter(|_| agent.worktree.is_dir()) else {
        return Ok(());
    };
    let store = app.store()?;
    let made = git::made_in(&agent.worktree, agent.base.as_deref(), agent.created_at)?;
    if made.is_empty() || made == store.made_by(task, &agent.id)? {
        return Ok(());
    }
    let mut patches: Vec<String> = git::patch_ids(&agent.repo, &made)?.into_values().collect();
    if let (Some(base), Some(tip)) = (&agent.base, made.last()) {
        patches.extend(git::patch_id_between(&agent.repo, base, tip)?);
    }
    if store.task_made("task.made", task, &agent.id, (&made, &patches), app.now())? {
        let _ = publish(app, &Repo::of(&agent.repo), task);
    }
    Ok(())
}

/// The same for all agents of a task.
pub(crate) fn observe_task(app: &App, task: TaskId) -> Result<()> {
    agents_of(app, task)?.iter().try_for_each(|agent| observe(app, agent))
}

/// The tasks of the commits that `branch` has and `base` has not, each once and in their order: by their trailers, or else as
/// they were seen or reported.
pub(crate) fn of_commits(app: &App, common: &Path, base: &str, branch: &str) -> Result<Vec<TaskId>> {
    let commits = git::commits(common, base, branch)?;
    let trailers = git::trailers(common, &commits, TRAILER)?;
    let mut tasks: Vec<TaskId> = Vec::new();
    for commit in &commits {
        let said = trailers.get(commit).into_iter().flatten();
        let mut found: Vec<TaskId> = said.filter_map(|id| TaskId::parse(id)).collect();
        if found.is_empty() {
            found.extend(app.store()?.tasks_of_commit(commit)?.last());
        }
        for id in found {
            if !tasks.contains(&id) {
                tasks.push(id);
            }
        }
    }
    Ok(tasks)
}
