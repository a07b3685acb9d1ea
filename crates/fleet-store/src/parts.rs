//! Ceilings of tasks: what all agents of a task and of its parts may spend together.
//!
//! What is committed of a task's ceiling is what was spent for it and its parts, what is reserved for their agents, and
//! what is promised to parts: the share of one that is open belongs to it, whether it is used or not. An agent that works
//! for a task belongs to it with all that it uses; what one of its sub-agents uses for another task counts for that.

use std::collections::HashMap;

use fleet_core::budget::Cap;
use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::task::TaskId;
use fleet_core::{Error, Kind, Result, Time};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::failure::Attempt;
use crate::money::{Room, usd};
use crate::open::Store;
use crate::{tasks, values};

/// The task called `?1` and all of its parts.
const PARTS: &str = "WITH RECURSIVE part (id, depth) AS (
    SELECT id, 0 FROM tasks WHERE id = ?1
    UNION SELECT tasks.id, depth + 1 FROM tasks JOIN part ON tasks.parent = part.id)";

impl Store {
    /// The tasks with a ceiling among `id` and those that it is a part of, the nearest first, and how each stands.
    pub fn task_rooms(&self, id: TaskId) -> Result<Vec<(TaskId, Room)>> {
        self.read(|connection| rooms_above(connection, &id.to_string()))
    }

    /// The living agents that work for `id` or a part of it, by the task that each works for.
    pub fn task_agents(&self, id: TaskId) -> Result<Vec<(AgentId, TaskId)>> {
        self.read(|connection| {
            let sql = format!(
                "{PARTS} SELECT agents.id, agents.task FROM agents JOIN part ON agents.task = part.id
                 WHERE phase <> 'ended' ORDER BY agents.created_at, agents.id"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement.query_and_then([id.to_string()], |row| -> Attempt<_> {
                let agent = values::from_id(&row.get::<_, String>(0)?)?;
                Ok((agent, task_id(&row.get::<_, String>(1)?)?))
            })?;
            rows.collect()
        })
    }

    /// Whether what `agent` may spend is an even share of what its task has left.
    pub fn shares(&self, agent: &AgentId) -> Result<bool> {
        self.read(|connection| {
            let sql = "SELECT 1 FROM shares WHERE agent = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(statement.exists([agent.as_str()])?)
        })
    }

    /// Says whether what `agent` may spend is an even share of what its task has left.
    pub fn set_shares(&self, site: &'static str, agent: &AgentId, shares: bool) -> Result<()> {
        self.write(site, |transaction| match shares {
            true => share(transaction, agent),
            false => {
                transaction.execute("DELETE FROM shares WHERE agent = ?1", [agent.as_str()])?;
                Ok(())
            }
        })
    }
}

/// Notes that what `agent` may spend is an even share of what its task has left.
pub(crate) fn share(transaction: &Transaction<'_>, agent: &AgentId) -> Attempt<()> {
    let sql = "INSERT OR IGNORE INTO shares (agent) VALUES (?1)";
    transaction.prepare_cached(sql)?.execute([agent.as_str()])?;
    Ok(())
}

/// How the ceiling of the task `id` stands; none where it has none.
pub(crate) fn room(connection: &Connection, id: &str) -> Attempt<Option<Room>> {
    let sql = "SELECT ceiling, hard FROM tasks WHERE id = ?1 AND ceiling IS NOT NULL";
    let cap = connection.prepare_cached(sql)?.query_row([id], |row| {
        Ok(Cap {
            ceiling: usd(row.get(0)?),
            hard: row.get(1)?,
        })
    });
    let Some(cap) = cap.optional()? else { return Ok(None) };
    let Taken {
        spent,
        unknown,
        charged,
        committed,
    } = taken(connection, id)?;
    Ok(Some(Room {
        cap,
        spent,
        held: committed.less(spent),
        charged,
        unknown,
    }))
}

/// Sets the ceiling of a task; see [`Store::set_cap`].
///
/// Error: more is reserved or promised than that, or it does not fit into the ceiling of what it is a part of.
pub(crate) fn set(transaction: &Transaction<'_>, id: &str, to: Option<Cap>, at: Time) -> Attempt<()> {
    let sql = "UPDATE tasks SET ceiling = ?2, hard = ?3 WHERE id = ?1 RETURNING repo, parent";
    let ceiling = to.map(|cap| values::int(cap.ceiling.micros()));
    let hard = to.is_some_and(|cap| cap.hard);
    let (repo, parent): (String, Option<String>) = transaction
        .prepare_cached(sql)?
        .query_row(params![id, ceiling, hard], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let about = to.map_or_else(|| "none".to_owned(), |cap| cap.ceiling.to_string());
    tasks::note(transaction, &repo, Some(task_id(id)?), at, "ceiling", &about)?;
    if let Some(room) = room(transaction, id)?
        && !room.held.is_zero()
        && room.spent + room.held > room.cap.ceiling
    {
        let (spent, held) = (room.spent, room.held);
        let message = format!("of {id} {spent} are spent, and {held} are reserved or promised to its parts");
        let hint =
            format!("lower what its agents and parts may spend first: `fleet task show {id}`, `fleet budget show`");
        return Err(Error::new(Kind::OverBudget, message).hint(hint).into());
    }
    match parent {
        Some(parent) => refuse_above(transaction, &parent),
        None => Ok(()),
    }
}

/// Refuses when a ceiling of a task of one of `agents` is passed.
pub(crate) fn refuse_beyond<'a>(
    transaction: &Transaction<'_>,
    agents: impl IntoIterator<Item = &'a AgentId>,
) -> Attempt<()> {
    let mut seen: Vec<String> = Vec::new();
    for agent in agents {
        let sql = "SELECT task FROM agents WHERE id = ?1";
        let task: Option<Option<String>> = transaction
            .prepare_cached(sql)?
            .query_row([agent.as_str()], |row| row.get(0))
            .optional()?;
        if let Some(task) = task.flatten().filter(|task| !seen.contains(task)) {
            refuse_above(transaction, &task)?;
            seen.push(task);
        }
    }
    Ok(())
}

/// Refuses when the ceiling of `id`, or of a task that it is a part of, is passed.
fn refuse_above(transaction: &Transaction<'_>, id: &str) -> Attempt<()> {
    for (id, room) in rooms_above(transaction, id)? {
        let Room { cap, spent, held, .. } = room;
        if spent + held > cap.ceiling {
            let message = format!(
                "the ceiling of {id} is {}: with this {} would be spent, reserved or promised to its parts",
                cap.ceiling,
                spent + held
            );
            let hint = format!(
                "see what has it: `fleet budget show`; to allow more: `fleet budget raise {id} +{}`",
                (spent + held).less(cap.ceiling).dollars()
            );
            return Err(Error::new(Kind::OverBudget, message).hint(hint).into());
        }
    }
    Ok(())
}

pub(crate) fn rooms_above(connection: &Connection, id: &str) -> Attempt<Vec<(TaskId, Room)>> {
    let sql = "WITH RECURSIVE above (id, depth) AS (
                 SELECT ?1, 0 UNION SELECT tasks.parent, depth + 1 FROM tasks JOIN above ON tasks.id = above.id
                 WHERE tasks.parent IS NOT NULL)
               SELECT above.id FROM above JOIN tasks ON tasks.id = above.id WHERE ceiling IS NOT NULL ORDER BY depth";
    let mut statement = connection.prepare_cached(sql)?;
    let ids: rusqlite::Result<Vec<String>> = statement.query_map([id], |row| row.get(0))?.collect();
    let mut rooms = Vec::new();
    for id in ids? {
        if let Some(room) = room(connection, &id)? {
            rooms.push((task_id(&id)?, room));
        }
    }
    Ok(rooms)
}

/// What is taken of a task and its parts.
struct Taken {
    spent: Usd,
    unknown: u64,
    /// What stays charged for launches that are over.
    charged: Usd,
    /// Spent, reserved, or promised.
    committed: Usd,
}

fn taken(connection: &Connection, id: &str) -> Attempt<Taken> {
    let parents = parents(connection, id)?;
    let mut spent: HashMap<String, Usd> = HashMap::new();
    let mut unknown = 0;
    let sql = format!(
        "{PARTS} SELECT tasks.id, agents.task, coalesce(sum(cost), 0), count(*) - count(cost)
         FROM spend LEFT JOIN agents ON agents.id = spend.agent
           LEFT JOIN tasks ON tasks.id = spend.task AND tasks.repo = spend.repo
         WHERE beside = 0 AND (spend.task IN (SELECT id FROM part) OR spend.agent IN
           (SELECT id FROM agents WHERE task IN (SELECT id FROM part)))
         GROUP BY tasks.id, agents.task"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        let (named, of_agent): (Option<String>, Option<String>) = (row.get(0)?, row.get(1)?);
        let Some(owner) = owner(&parents, named, of_agent).filter(|owner| is_below(&parents, owner, id)) else {
            continue;
        };
        let sum = spent.entry(owner).or_default();
        *sum = *sum + usd(row.get(2)?);
        unknown += values::uint(row.get(3)?);
    }
    // What a launch has given to a run under its contract, that run reserves itself.
    let mut held: HashMap<String, Usd> = HashMap::new();
    let mut charged = Usd::default();
    let sql = format!(
        "{PARTS} SELECT agents.task, sum(CASE WHEN holds.ended_at IS NULL
             THEN max(0, amount + before - (SELECT coalesce(sum(cost), 0) FROM spend
                                            WHERE spend.agent = holds.agent AND beside = 0)
                                         - (SELECT coalesce(sum(usd), 0) FROM grants JOIN runs ON runs.id = grants.id
                                            WHERE kind = 'run' AND runs.task IS NOT NULL
                                              AND contract = 'launch:' || holds.agent || ':' || generation))
             ELSE extra END), sum(extra)
         FROM agents JOIN holds ON holds.agent = agents.id WHERE agents.task IN (SELECT id FROM part)
         GROUP BY agents.task"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        held.insert(row.get(0)?, usd(row.get(1)?));
        charged = charged + usd(row.get(2)?);
    }
    // The deepest first, so that the parts of a task are summed up before it.
    let sql = format!(
        "{PARTS} SELECT tasks.id, tasks.parent, tasks.ceiling, tasks.ended_at IS NOT NULL FROM tasks
         JOIN part ON part.id = tasks.id ORDER BY depth DESC"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([id])?;
    let mut below: HashMap<String, Usd> = HashMap::new();
    let mut committed = Usd::default();
    while let Some(row) = rows.next()? {
        let (own, parent): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        let (ceiling, is_over): (Option<i64>, bool) = (row.get(2)?, row.get(3)?);
        let of = |sums: &HashMap<String, Usd>| sums.get(&own).copied().unwrap_or_default();
        let sum = of(&spent) + of(&held) + of(&below);
        if own == id {
            committed = sum;
        } else if let Some(parent) = parent {
            let promised = ceiling.filter(|_| !is_over).map(usd).unwrap_or_default();
            let above = below.entry(parent).or_default();
            *above = *above + sum.max(promised);
        }
    }
    Ok(Taken {
        spent: spent.into_values().sum(),
        unknown,
        charged,
        committed,
    })
}

/// The task that an entry belongs to: the one that it names, where that is a part of what its agent works for; else the one
/// of its agent. What a prompt names takes nothing from the ceiling of the task that the agent was started for.
fn owner(parents: &Parents, named: Option<String>, of_agent: Option<String>) -> Option<String> {
    match (named, of_agent) {
        (Some(named), Some(own)) if !is_below(parents, &named, &own) => Some(own),
        (Some(named), _) => Some(named),
        (None, own) => own,
    }
}

/// The parent of each task, as far as it has one.
type Parents = HashMap<String, Option<String>>;

/// The parents of `id`, of its parts, and of what it is a part of.
fn parents(connection: &Connection, id: &str) -> Attempt<Parents> {
    let sql = format!(
        "{PARTS}, above (id) AS (SELECT ?1 UNION SELECT tasks.parent FROM tasks JOIN above ON tasks.id = above.id)
         SELECT id, parent FROM tasks WHERE id IN (SELECT id FROM part) OR id IN (SELECT id FROM above)"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows: rusqlite::Result<Parents> = statement
        .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect();
    Ok(rows?)
}

/// Whether `id` is `whole` or a part of it.
fn is_below(parents: &Parents, id: &str, whole: &str) -> bool {
    let mut next = Some(id);
    while let Some(at) = next {
        if at == whole {
            return true;
        }
        next = parents.get(at).and_then(Option::as_deref);
    }
    false
}

fn task_id(text: &str) -> Attempt<TaskId> {
    let id = TaskId::parse(text);
    Ok(id.ok_or_else(|| Error::internal(format!("`{text}` in the database is no id of a task")))?)
}
