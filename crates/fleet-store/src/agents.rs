//! The records of agents: reading them, and the narrow ways in which they change.

use std::path::PathBuf;

use fleet_core::agent::{Agent, Phase};
use fleet_core::id::AgentId;
use fleet_core::task::TaskId;
use fleet_core::{Error, Result, Time};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};

use crate::failure::Attempt;
use crate::open::Store;
use crate::reserve::Holder;
use crate::{money, tasks, values};

impl Store {
    /// The agent with this id, live or ended.
    pub fn agent(&self, id: &AgentId) -> Result<Option<Agent>> {
        self.read(|connection| one(connection, id))
    }

    /// Every agent that has not ended, oldest first.
    pub fn agents_live(&self) -> Result<Vec<Agent>> {
        self.read(live)
    }

    /// Every agent that was ever recorded, newest first.
    pub fn agents_all(&self) -> Result<Vec<Agent>> {
        self.read(|connection| select(connection, "ORDER BY created_at DESC, rowid DESC", &[]))
    }

    /// Records the commit from which the agent's worktree started.
    ///
    /// # Errors
    /// `NotFound` when there is no such agent.
    pub fn set_base(&self, site: &'static str, id: &AgentId, base: &str) -> Result<()> {
        self.set(site, id, "base", base)
    }

    /// Records the harness's conversation: a fresh start has a new one.
    ///
    /// # Errors
    /// `NotFound` when there is no such agent.
    pub fn set_conversation(&self, site: &'static str, id: &AgentId, conversation: &str) -> Result<()> {
        self.set(site, id, "conversation", conversation)
    }

    /// Records that the agent's program runs as process `pid`, in its launch number `generation`.
    ///
    /// Answers whether it changed anything: not when the agent is ending, nor when a later launch was recorded. The
    /// agent's journal says the same, so this waits for no disk: right behind a checkout it would wait for all files.
    pub fn set_started(&self, site: &'static str, id: &AgentId, pid: u32, generation: u32) -> Result<bool> {
        let sql = "UPDATE agents SET phase = 'started', pid = ?2, generation = ?3
                   WHERE id = ?1 AND phase IN ('reserved', 'started') AND generation <= ?3";
        self.write_unsynced(site, |transaction| {
            Ok(transaction.execute(sql, params![id.as_str(), pid, generation])? == 1)
        })
    }

    /// Moves the agent to phase `to` if it is in one of `from`, and answers whether it was: of two that try at once,
    /// one gets `true`. `at` becomes the time of its end when `to` is [`Phase::Ended`].
    ///
    /// # Errors
    /// `Conflict` when an ended agent is to live again and another has its names.
    pub fn set_phase(&self, site: &'static str, id: &AgentId, from: &[Phase], to: Phase, at: Time) -> Result<bool> {
        let ended_at = (to == Phase::Ended).then_some(at.0);
        self.write(site, |transaction| {
            let sql = "SELECT phase FROM agents WHERE id = ?1";
            let now: Option<String> = transaction.query_row(sql, [id.as_str()], |row| row.get(0)).optional()?;
            let Some(now) = now else { return Ok(false) };
            if !from.contains(&values::from_word(now)?) {
                return Ok(false);
            }
            let sql = "UPDATE agents SET phase = ?2, ended_at = ?3 WHERE id = ?1";
            transaction.execute(sql, params![id.as_str(), values::word(&to)?, ended_at])?;
            Ok(true)
        })
    }

    /// Removes a reservation that never became anything, and answers whether there was one.
    pub fn forget(&self, site: &'static str, id: &AgentId) -> Result<bool> {
        self.write(site, |transaction| {
            let task = one(transaction, id)?.and_then(|agent| agent.task);
            let sql = "DELETE FROM agents WHERE id = ?1 AND phase = 'reserved'";
            let was_there = transaction.execute(sql, [id.as_str()])? == 1;
            tasks::release(transaction, task)?;
            Ok(was_there)
        })
    }

    /// Removes the record of an agent whose start failed and left nothing, and answers whether there was one.
    pub fn erase(&self, site: &'static str, id: &AgentId) -> Result<bool> {
        self.write(site, |transaction| {
            let task = one(transaction, id)?.and_then(|agent| agent.task);
            transaction.execute("DELETE FROM events WHERE agent = ?1", [id.as_str()])?;
            money::forget(transaction, id)?;
            let was_there = transaction.execute("DELETE FROM agents WHERE id = ?1", [id.as_str()])? == 1;
            tasks::release(transaction, task)?;
            Ok(was_there)
        })
    }

    /// Records an agent as it is, for rebuilding a lost database; one that is recorded already stays as it is.
    /// `ports` is the width of its port block. Answers whether it was new.
    ///
    /// # Errors
    /// `Conflict` when a live agent has one of its names.
    pub fn adopt(&self, site: &'static str, agent: &Agent, ports: u16) -> Result<bool> {
        self.write(site, |transaction| {
            let sql = "SELECT count(*) FROM agents WHERE id = ?1";
            let known: i64 = transaction.query_row(sql, [agent.id.as_str()], |row| row.get(0))?;
            if known == 0 {
                insert(
                    transaction,
                    &Holder {
                        agent: agent.clone(),
                        ports,
                    },
                )?;
            }
            Ok(known == 0)
        })
    }

    fn set(&self, site: &'static str, id: &AgentId, column: &'static str, value: &str) -> Result<()> {
        let sql = format!("UPDATE agents SET {column} = ?2 WHERE id = ?1");
        self.write(site, |transaction| {
            match transaction.execute(&sql, [id.as_str(), value])? {
                0 => Err(unknown(id).into()),
                _ => Ok(()),
            }
        })
    }
}

/// The error for an id that no record has.
pub(crate) fn unknown(id: &AgentId) -> Error {
    Error::not_found(format!("no agent has the id `{id}`")).hint("run `fleet list --all` to see every agent")
}

/// The agent with this id.
pub(crate) fn one(connection: &Connection, id: &AgentId) -> Attempt<Option<Agent>> {
    Ok(select(connection, "WHERE id = ?1", &[&id.as_str()])?.pop())
}

/// Every agent that has not ended, oldest first.
pub(crate) fn live(connection: &Connection) -> Attempt<Vec<Agent>> {
    select(connection, "WHERE phase <> 'ended' ORDER BY created_at, rowid", &[])
}

/// Every live agent with the width of its port block.
pub(crate) fn holders(connection: &Connection) -> Attempt<Vec<Holder>> {
    let mut statement = connection.prepare_cached("SELECT * FROM agents WHERE phase <> 'ended'")?;
    let rows = statement.query_and_then([], |row| -> Attempt<Holder> {
        Ok(Holder {
            agent: read(row)?,
            ports: row.get("ports")?,
        })
    })?;
    rows.collect()
}

/// Adds the record of one agent.
pub(crate) fn insert(connection: &Connection, holder: &Holder) -> Attempt<()> {
    let agent = &holder.agent;
    let sql = "INSERT INTO agents (id, repo, repo_name, branch, workspace, worktree, shared, session, batch_id, task, harness,
            model, base, made_branch, headless, pid, port_base, ports, env_names, conversation, phase, generation, created_at,
            ended_at)
        VALUES (:id, :repo, :repo_name, :branch, :workspace, :worktree, :shared, :session, :batch_id, :task, :harness, :model,
            :base, :made_branch, :headless, :pid, :port_base, :ports, :env_names, :conversation, :phase, :generation,
            :created_at, :ended_at)";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":id": agent.id.as_str(),
        ":repo": values::path(&agent.repo)?,
        ":repo_name": agent.repo_name,
        ":branch": agent.branch,
        ":workspace": values::word(&agent.workspace)?,
        ":worktree": values::path(&agent.worktree)?,
        ":shared": agent.shared,
        ":session": agent.session,
        ":batch_id": agent.batch_id,
        ":task": agent.task.map(|task| task.to_string()),
        ":harness": agent.harness,
        ":model": agent.model,
        ":base": agent.base,
        ":made_branch": agent.made_branch,
        ":headless": agent.headless,
        ":pid": agent.pid,
        ":port_base": agent.port_base,
        ":ports": holder.ports,
        ":env_names": values::json(&agent.env_names)?,
        ":conversation": agent.conversation,
        ":phase": values::word(&agent.phase)?,
        ":generation": agent.generation,
        ":created_at": agent.created_at.0,
        ":ended_at": agent.ended_at.map(|time| time.0),
    })?;
    Ok(())
}

fn select(connection: &Connection, rest: &str, values: &[&dyn ToSql]) -> Attempt<Vec<Agent>> {
    let mut statement = connection.prepare_cached(&format!("SELECT * FROM agents {rest}"))?;
    statement.query_and_then(values, read)?.collect()
}

fn read(row: &Row<'_>) -> Attempt<Agent> {
    let text = |column: &str| row.get::<_, String>(column);
    Ok(Agent {
        id: values::from_id(&text("id")?)?,
        repo: PathBuf::from(text("repo")?),
        repo_name: text("repo_name")?,
        branch: text("branch")?,
        workspace: values::from_word(text("workspace")?)?,
        worktree: PathBuf::from(text("worktree")?),
        shared: row.get("shared")?,
        session: text("session")?,
        batch_id: text("batch_id")?,
        task: row.get::<_, Option<String>>("task")?.and_then(|id| TaskId::parse(&id)),
        harness: text("harness")?,
        model: row.get("model")?,
        base: row.get("base")?,
        made_branch: row.get("made_branch")?,
        headless: row.get("headless")?,
        pid: row.get("pid")?,
        port_base: row.get("port_base")?,
        env_names: values::from_json(&text("env_names")?)?,
        conversation: row.get("conversation")?,
        phase: values::from_word(text("phase")?)?,
        generation: row.get("generation")?,
        created_at: Time(row.get("created_at")?),
        ended_at: row.get::<_, Option<i64>>("ended_at")?.map(Time),
    })
}
