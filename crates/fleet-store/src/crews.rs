//! Sub-agents of programs: each that an agent's journal tells of works for a task, and what it used belongs to that.
//!
//! A sub-agent whose prompt names a task of the repository works for that one, which is somebody's record and ends with a
//! report. Every other one gets a record of its own, a part of the task of whoever has sent it out; it ends when the
//! sub-agent has answered, or with its program.

use fleet_core::agent::Agent;
use fleet_core::id::AgentId;
use fleet_core::task::{Standing, TaskId};
use fleet_core::{Result, Time};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::failure::Attempt;
use crate::open::Store;
use crate::tasks::{self, NewTask};
use crate::values;

/// A sub-agent that was sent out.
pub(crate) struct Sent<'a> {
    pub(crate) id: &'a str,
    pub(crate) crew: Option<&'a str>,
    pub(crate) reads: bool,
    pub(crate) about: &'a str,
    pub(crate) named: Option<TaskId>,
    pub(crate) part_of: Option<TaskId>,
    pub(crate) within: Option<&'a str>,
}

impl Store {
    /// The task of a sub-agent, as the journal of its agent calls it; none before that journal was folded.
    pub fn task_of_crew(&self, agent: &AgentId, id: &str) -> Result<Option<TaskId>> {
        self.read(|connection| task_of(connection, agent, id))
    }
}

/// Notes that a sub-agent of `agent` was sent out. One for which there is no task is not noted.
pub(crate) fn begin(
    transaction: &Transaction<'_>,
    agent: &Agent,
    sent: &Sent<'_>,
    at: Time,
    is_taken: &dyn Fn(TaskId) -> bool,
) -> Attempt<()> {
    if task_of(transaction, &agent.id, sent.id)?.is_some() {
        return Ok(());
    }
    let repo = values::path(&agent.repo)?;
    let within = sent
        .within
        .map(|id| task_of(transaction, &agent.id, id))
        .transpose()?
        .flatten();
    let named = match sent.named {
        Some(id) => tasks::one(transaction, id)?.filter(|task| task.repo == repo),
        None => None,
    };
    let part_of = match sent.part_of {
        Some(id) => tasks::one(transaction, id)?
            .filter(|task| task.repo == repo)
            .map(|task| task.id),
        None => agent.task,
    };
    let (task, made) = match (named, within.or(part_of)) {
        (Some(named), _) => (named, false),
        (None, None) => return Ok(()),
        (None, Some(parent)) => {
            let kind = if sent.reads { "officer" } else { "crew" };
            let title = match (sent.about, sent.crew) {
                ("", Some(crew)) => format!("Sub-agent {crew}"),
                ("", None) => "Sub-agent".to_owned(),
                (about, _) => about.to_owned(),
            };
            let new = NewTask {
                title: fleet_core::task::title(&title).unwrap_or_else(|| "Sub-agent".to_owned()),
                kind: kind.to_owned(),
                crew: sent.crew.and_then(fleet_core::task::title),
                parent: Some(parent),
                repo: repo.to_owned(),
                dispatched_by: agent.id.to_string(),
                harness: Some(agent.harness.clone()),
                run: tasks::one(transaction, parent)?.and_then(|task| task.run),
                ..NewTask::default()
            };
            (tasks::insert(transaction, &new, at, is_taken)?, true)
        }
    };
    let sql = "INSERT INTO crews (agent, id, task, made, sent_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    transaction.execute(
        sql,
        params![agent.id.as_str(), sent.id, task.id.to_string(), made, at.0],
    )?;
    tasks::start(transaction, &task, &agent.harness, at).map(drop)
}

/// Notes that a sub-agent has answered. A task that its prompt has named ends with its report alone.
pub(crate) fn back(transaction: &Transaction<'_>, agent: &AgentId, id: &str, ok: bool, at: Time) -> Attempt<()> {
    let sql = "SELECT task FROM crews WHERE agent = ?1 AND id = ?2 AND made = 1";
    let found = transaction
        .prepare_cached(sql)?
        .query_row([agent.as_str(), id], |row| row.get::<_, String>(0))
        .optional()?;
    let standing = if ok { Standing::Completed } else { Standing::Failed };
    match found.and_then(|id| TaskId::parse(&id)) {
        Some(task) => tasks::end(transaction, task, standing, at).map(drop),
        None => Ok(()),
    }
}

/// Ends the records of sub-agents that have not answered when their program ended.
pub(crate) fn close(transaction: &Transaction<'_>, agent: &AgentId, at: Time) -> Attempt<()> {
    let open: Vec<Option<TaskId>> = {
        let sql = "SELECT task FROM crews JOIN tasks ON tasks.id = crews.task
                   WHERE crews.agent = ?1 AND made = 1 AND ended_at IS NULL";
        let mut statement = transaction.prepare_cached(sql)?;
        let rows = statement.query_and_then([agent.as_str()], |row| -> Attempt<Option<TaskId>> {
            Ok(TaskId::parse(&row.get::<_, String>(0)?))
        })?;
        rows.collect::<Attempt<_>>()?
    };
    for task in open.into_iter().flatten() {
        tasks::end(transaction, task, Standing::Cancelled, at)?;
    }
    Ok(())
}

/// The task that a sub-agent of `agent` works for.
pub(crate) fn task_of(connection: &Connection, agent: &AgentId, id: &str) -> Attempt<Option<TaskId>> {
    let sql = "SELECT task FROM crews WHERE agent = ?1 AND id = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([agent.as_str(), id], |row| row.get::<_, String>(0));
    Ok(found.optional()?.and_then(|id| TaskId::parse(&id)))
}
