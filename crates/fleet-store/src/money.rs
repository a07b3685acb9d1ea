//! The account of what was spent, ceilings, and what is reserved.
//!
//! What is *committed* of a ceiling is what was spent and, for each launch that has not ended, what is left of its hold.
//! A hold is made in the transaction that takes the agent's names, so two that reserve at once cannot both have the last
//! dollar. Amounts are millionths of a dollar.

use fleet_core::agent::Agent;
use fleet_core::budget::{Cap, Scope};
use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::spend::{Spend, Total};
use fleet_core::task::TaskId;
use fleet_core::usage::Tokens;
use fleet_core::{Error, Kind, Result, Time};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::failure::Attempt;
use crate::open::Store;
use crate::{parts, told, values};

/// One entry of the account, with all that it can be summed by.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// The agent.
    pub agent: AgentId,
    /// Real path of its repository's common git directory.
    pub repo: String,
    /// Its branch or label.
    pub branch: String,
    /// Its batch.
    pub batch: String,
    /// Its harness.
    pub harness: String,
    /// The run that it worked for.
    pub run: Option<String>,
    /// The worker of that run.
    pub worker: Option<String>,
    /// The round of that run.
    pub round: Option<u32>,
    /// Whether it is there for comparison alone, and in no sum.
    pub beside: bool,
    /// What was used.
    pub entry: Spend,
}

/// Which entries of the account are meant; what is none is not asked for. Entries beside the account are left out.
#[derive(Clone, Debug, Default)]
pub struct Of {
    /// From this moment on.
    pub since: Option<Time>,
    /// Of this agent.
    pub agent: Option<AgentId>,
    /// Of this run.
    pub run: Option<String>,
    /// Of this task.
    pub task: Option<String>,
    /// With those that are there for comparison alone.
    pub beside: bool,
}

/// What is reserved for one launch of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The agent.
    pub agent: AgentId,
    /// Which launch of it.
    pub generation: u32,
    /// How much.
    pub amount: Usd,
    /// When.
    pub made_at: Time,
}

/// What stays charged of a hold beyond the account when its launch is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing: the account has all.
    Nothing,
    /// All of it: nobody knows what was spent.
    All,
    /// What a killed supervisor did not count.
    About {
        /// What was spent for sure.
        sure: Usd,
        /// What may have been spent beyond that: it is charged as far as the hold reaches.
        at_most: Usd,
    },
}

/// A ceiling and what is committed of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The ceiling.
    pub cap: Cap,
    /// What was spent.
    pub spent: Usd,
    /// What is reserved beyond that.
    pub held: Usd,
    /// What of that is charged for launches that are over, because their account is not whole.
    pub charged: Usd,
    /// How many entries have no known cost.
    pub unknown: u64,
}

impl Room {
    /// What may still be reserved.
    pub fn left(&self) -> Usd {
        self.cap.ceiling.less(self.spent + self.held)
    }
}

impl Store {
    /// Adds `entries` to the account of `agent`, and answers how many were new: an entry counts once, however often it is
    /// added. `beside` says that another meter is the agent's own.
    ///
    /// # Errors
    /// `NotFound` when there is no such agent.
    pub fn spend_add(&self, site: &'static str, agent: &AgentId, entries: &[Spend], beside: bool) -> Result<u64> {
        if entries.is_empty() {
            return Ok(0);
        }
        self.write_unsynced(site, |transaction| add(transaction, agent, entries, beside))
    }

    /// The entries of the account that are meant, oldest first.
    pub fn account(&self, of: &Of) -> Result<Vec<Account>> {
        self.read(|connection| {
            let sql = "SELECT * FROM spend WHERE at >= ?1 AND (?2 IS NULL OR agent = ?2) AND (?3 IS NULL OR run = ?3)
                       AND (?4 IS NULL OR task = ?4) AND (beside = 0 OR ?5) ORDER BY at, agent, seq";
            let mut statement = connection.prepare_cached(sql)?;
            let since = of.since.map_or(i64::MIN, |since| since.0);
            let agent = of.agent.as_ref().map(AgentId::as_str);
            statement
                .query_and_then(params![since, agent, of.run, of.task, of.beside], account)?
                .collect()
        })
    }

    /// The sum of the entries that are meant.
    pub fn spent(&self, of: &Of) -> Result<Total> {
        let mut total = Total::default();
        for each in self.account(of)? {
            total.add(&each.entry);
        }
        Ok(total)
    }

    /// The ceiling of `scope`, if it has one.
    pub fn cap(&self, scope: &Scope) -> Result<Option<Cap>> {
        self.read(|connection| cap(connection, scope))
    }

    /// Every ceiling that was set.
    pub fn caps(&self) -> Result<Vec<(String, Cap)>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT scope, ceiling, hard FROM caps ORDER BY scope")?;
            let rows = statement.query_and_then([], |row| -> Attempt<(String, Cap)> {
                let cap = Cap {
                    ceiling: usd(row.get(1)?),
                    hard: row.get(2)?,
                };
                Ok((row.get(0)?, cap))
            })?;
            rows.collect()
        })
    }

    /// Sets the ceiling of `scope`, or takes it away. What is reserved already stays so.
    pub fn set_cap(&self, site: &'static str, scope: &Scope, to: Option<Cap>, at: Time) -> Result<()> {
        self.write(site, |transaction| set(transaction, scope, to, at))
    }

    /// Sets the ceiling of an agent, and reserves for its launch `generation` what it may spend beyond what it has.
    ///
    /// # Errors
    /// `OverBudget` when more is needed than a ceiling of all agents has room for.
    pub fn set_agent_cap(
        &self,
        site: &'static str,
        agent: &AgentId,
        generation: u32,
        cap: Cap,
        at: Time,
    ) -> Result<()> {
        self.write(site, |transaction| {
            set(transaction, &Scope::Agent(agent.to_string()), Some(cap), at)?;
            let sql = "SELECT amount, before FROM holds WHERE agent = ?1 AND generation = ?2";
            let held: Option<(i64, i64)> = transaction
                .prepare_cached(sql)?
                .query_row(params![agent.as_str(), generation], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let Some((held, before)) = held.map(|(held, before)| (usd(held), usd(before))) else {
                let amount = cap.ceiling.less(spent_by(transaction, agent)?);
                let hold = Hold {
                    agent: agent.clone(),
                    generation,
                    amount,
                    made_at: at,
                };
                return take(transaction, &[hold]);
            };
            // What it spent before the hold was made is no part of it.
            let amount = cap.ceiling.less(before);
            let sql = "UPDATE holds SET amount = ?3 WHERE agent = ?1 AND generation = ?2 AND ended_at IS NULL";
            let mut resize = transaction.prepare_cached(sql)?;
            resize.execute(params![agent.as_str(), generation, values::int(amount.micros())])?;
            match amount > held {
                true => refuse_beyond(transaction, at, amount.less(held), [agent]),
                false => Ok(()),
            }
        })
    }

    /// How the ceiling of a day, a week or a task stands; none where there is none.
    pub fn room(&self, scope: &Scope, now: Time) -> Result<Option<Room>> {
        self.read(|connection| room(connection, scope, now))
    }

    /// The launches that hold something and have not ended.
    pub fn holds(&self) -> Result<Vec<Hold>> {
        self.read(|connection| {
            let sql = "SELECT agent, generation, amount, made_at FROM holds WHERE ended_at IS NULL ORDER BY made_at";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_and_then([], |row| -> Attempt<Hold> {
                Ok(Hold {
                    agent: values::from_id(&row.get::<_, String>(0)?)?,
                    generation: row.get(1)?,
                    amount: usd(row.get(2)?),
                    made_at: Time(row.get(3)?),
                })
            })?;
            rows.collect()
        })
    }

    /// What stays charged to `agent` beyond its account, because some of what it used has no known cost.
    pub fn charged(&self, agent: &AgentId) -> Result<Usd> {
        self.read(|connection| {
            let sql = "SELECT coalesce(sum(extra), 0) FROM holds WHERE agent = ?1";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(usd(statement.query_row([agent.as_str()], |row| row.get(0))?))
        })
    }

    /// What stays charged to all agents beyond their accounts since then.
    pub fn charged_since(&self, since: Option<Time>) -> Result<Usd> {
        let since = since.map_or(i64::MIN, |since| since.0);
        self.read(|connection| {
            let sql = "SELECT coalesce(sum(extra), 0) FROM holds WHERE ended_at >= ?1 AND extra > 0";
            let mut statement = connection.prepare_cached(sql)?;
            Ok(usd(statement.query_row([since], |row| row.get(0))?))
        })
    }

    /// Reserves `hold`, if every ceiling has room for it. The same launch reserves once.
    ///
    /// # Errors
    /// `OverBudget` when a ceiling would be passed.
    pub fn hold(&self, site: &'static str, hold: &Hold) -> Result<()> {
        self.write(site, |transaction| take(transaction, std::slice::from_ref(hold)))
    }

    /// Gives back what a launch holds and has not spent, but for the `rest`. Where the cost of something in the account is not
    /// known, all of it stays charged.
    pub fn end_hold(&self, site: &'static str, agent: &AgentId, generation: u32, rest: Rest, at: Time) -> Result<()> {
        self.write_unsynced(site, |transaction| end(transaction, agent, generation, rest, at))
    }
}

/// Reserves `holds`, all or none.
pub(crate) fn take(transaction: &Transaction<'_>, holds: &[Hold]) -> Attempt<()> {
    let Some(now) = holds.iter().map(|hold| hold.made_at).max() else {
        return Ok(());
    };
    // One that was given back because its launch was cut off before it began is made anew.
    let sql = "INSERT INTO holds (agent, generation, amount, before, made_at) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (agent, generation) DO UPDATE SET amount = ?3, before = ?4, made_at = ?5, ended_at = NULL, extra = 0
               WHERE ended_at IS NOT NULL";
    let mut insert = transaction.prepare_cached(sql)?;
    for hold in holds {
        let before = spent_by(transaction, &hold.agent)?;
        let (amount, before) = (values::int(hold.amount.micros()), values::int(before.micros()));
        insert.execute(params![
            hold.agent.as_str(),
            hold.generation,
            amount,
            before,
            hold.made_at.0
        ])?;
    }
    let wanted: Usd = holds.iter().map(|hold| hold.amount).sum();
    // What costs nothing may be done whatever was spent.
    if wanted.is_zero() {
        return Ok(());
    }
    refuse_beyond(transaction, now, wanted, holds.iter().map(|hold| &hold.agent))
}

/// What the account of `agent` comes to, as far as it is known.
fn spent_by(connection: &Connection, agent: &AgentId) -> Attempt<Usd> {
    let sql = "SELECT coalesce(sum(cost), 0) FROM spend WHERE agent = ?1 AND beside = 0";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(usd(statement.query_row([agent.as_str()], |row| row.get(0))?))
}

/// Refuses when, with `wanted` reserved just now for `agents`, a ceiling of all agents or of a task of theirs is passed.
fn refuse_beyond<'a>(
    transaction: &Transaction<'_>,
    now: Time,
    wanted: Usd,
    agents: impl IntoIterator<Item = &'a AgentId>,
) -> Attempt<()> {
    parts::refuse_beyond(transaction, agents)?;
    for scope in [Scope::Day, Scope::Week] {
        let Some(room) = room(transaction, &scope, now)? else {
            continue;
        };
        if room.spent + room.held > room.cap.ceiling {
            let left = room.cap.ceiling.less((room.spent + room.held).less(wanted));
            let ceiling = room.cap.ceiling;
            let message =
                format!("the ceiling of this {scope} is {ceiling}: {left} of it are free, and {wanted} are needed");
            let until = scope
                .until(now)
                .map(|until| format!("; a new {scope} begins at {until}"));
            let hint = format!(
                "see what has it: `fleet budget show`; to allow more: `fleet budget raise {scope} USD`{}",
                until.unwrap_or_default()
            );
            return Err(Error::new(Kind::OverBudget, message).hint(hint).into());
        }
    }
    Ok(())
}

/// Sets a ceiling; see [`Store::set_cap`].
pub(crate) fn set(transaction: &Transaction<'_>, scope: &Scope, to: Option<Cap>, at: Time) -> Attempt<()> {
    let before = cap(transaction, scope)?.map(|cap| cap.ceiling);
    let now = to.map(|cap| cap.ceiling);
    match scope {
        Scope::Task(id) => parts::set(transaction, id, to, at)?,
        scope => set_row(transaction, &scope.to_string(), to, at)?,
    }
    match now {
        Some(ceiling) if before != now => told::changed(transaction, scope, ceiling, at),
        _ => Ok(()),
    }
}

fn set_row(transaction: &Transaction<'_>, scope: &str, to: Option<Cap>, at: Time) -> Attempt<()> {
    match to {
        None => transaction.execute("DELETE FROM caps WHERE scope = ?1", [scope])?,
        Some(cap) => {
            let sql = "INSERT INTO caps (scope, ceiling, hard, set_at) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (scope) DO UPDATE SET ceiling = ?2, hard = ?3, set_at = ?4";
            let ceiling = values::int(cap.ceiling.micros());
            transaction.execute(sql, params![scope, ceiling, cap.hard, at.0])?
        }
    };
    Ok(())
}

/// Forgets the ceiling and the holds of an agent that never really was. What it spent stays in the account.
pub(crate) fn forget(transaction: &Transaction<'_>, agent: &AgentId) -> Attempt<()> {
    set(transaction, &Scope::Agent(agent.to_string()), None, Time(0))?;
    transaction.execute("DELETE FROM holds WHERE agent = ?1", [agent.as_str()])?;
    transaction.execute("DELETE FROM shares WHERE agent = ?1", [agent.as_str()])?;
    Ok(())
}

/// Gives back what a launch holds; see [`Store::end_hold`].
pub(crate) fn end(
    transaction: &Transaction<'_>,
    agent: &AgentId,
    generation: u32,
    rest: Rest,
    at: Time,
) -> Attempt<()> {
    let (all, sure, at_most) = match rest {
        Rest::Nothing => (false, Usd::default(), Usd::default()),
        Rest::All => (true, Usd::default(), Usd::default()),
        Rest::About { sure, at_most } => (false, sure, at_most),
    };
    // The journal knows whole seconds, so what is not known of the second before counts, too.
    let sql = "WITH unspent (usd) AS (SELECT max(0, amount + before - (SELECT coalesce(sum(cost), 0) FROM spend
                                                                      WHERE agent = ?1 AND beside = 0))
                                     FROM holds WHERE agent = ?1 AND generation = ?2)
               UPDATE holds SET ended_at = max(?3, made_at), extra = CASE
                 WHEN ?4 OR EXISTS (SELECT 1 FROM spend WHERE agent = ?1 AND beside = 0 AND cost IS NULL
                                    AND at >= made_at - 1000)
                 THEN max(?5, (SELECT usd FROM unspent))
                 ELSE ?5 + min(?6, max(0, (SELECT usd FROM unspent) - ?5)) END
               WHERE agent = ?1 AND generation = ?2 AND ended_at IS NULL";
    let mut statement = transaction.prepare_cached(sql)?;
    let (sure, at_most) = (values::int(sure.micros()), values::int(at_most.micros()));
    let ended = statement.execute(params![agent.as_str(), generation, at.0, all, sure, at_most])?;
    if ended > 0 {
        let task = crate::agents::one(transaction, agent)?.and_then(|agent| agent.task);
        told::look(transaction, task.as_slice(), at)?;
    }
    Ok(())
}

/// Adds entries; see [`Store::spend_add`].
pub(crate) fn add(transaction: &Transaction<'_>, agent: &AgentId, entries: &[Spend], beside: bool) -> Attempt<u64> {
    let Some(record) = crate::agents::one(transaction, agent)? else {
        return Err(crate::agents::unknown(agent).into());
    };
    let sql = "SELECT run, worker, round FROM steps WHERE agent = ?1 ORDER BY generation DESC LIMIT 1";
    let place = transaction
        .prepare_cached(sql)?
        .query_row([agent.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let mut new = 0;
    for entry in entries {
        new += insert(transaction, &record, place.as_ref(), entry, beside)?;
    }
    if let Some(at) = entries
        .iter()
        .map(|entry| entry.at)
        .max()
        .filter(|_| new > 0 && !beside)
    {
        let named = entries.iter().filter_map(|entry| TaskId::parse(entry.task.as_deref()?));
        let tasks: Vec<TaskId> = record.task.into_iter().chain(named).collect();
        told::look(transaction, &tasks, at)?;
    }
    Ok(new)
}

fn insert(
    transaction: &Transaction<'_>,
    agent: &Agent,
    place: Option<&(String, String, u32)>,
    entry: &Spend,
    beside: bool,
) -> Attempt<u64> {
    let sql = "INSERT OR IGNORE INTO spend (agent, meter, seq, at, repo, branch, batch, harness, run, worker, round, task,
                 model, input, cached, cache_write, output, reasoning, cost, certainty, reported, beside)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)";
    let micros = |amount: Option<Usd>| amount.map(|amount| values::int(amount.micros()));
    let count = transaction.prepare_cached(sql)?.execute(params![
        agent.id.as_str(),
        values::word(&entry.meter)?,
        values::int(entry.seq),
        entry.at.0,
        values::path(&agent.repo)?,
        agent.branch,
        agent.batch_id,
        agent.harness,
        place.map(|(run, _, _)| run),
        place.map(|(_, worker, _)| worker),
        place.map(|(_, _, round)| round),
        entry.task,
        entry.model,
        values::int(entry.tokens.input),
        values::int(entry.tokens.cached),
        values::int(entry.tokens.cache_write),
        values::int(entry.tokens.output),
        values::int(entry.tokens.reasoning),
        micros(entry.cost),
        values::word(&entry.certainty)?,
        micros(entry.reported),
        beside,
    ])?;
    Ok(count as u64)
}

pub(crate) fn cap(connection: &Connection, scope: &Scope) -> Attempt<Option<Cap>> {
    // A task's ceiling is a part of its record.
    let (sql, key) = match scope {
        Scope::Task(id) => (
            "SELECT ceiling, hard FROM tasks WHERE id = ?1 AND ceiling IS NOT NULL",
            id.clone(),
        ),
        _ => ("SELECT ceiling, hard FROM caps WHERE scope = ?1", scope.to_string()),
    };
    let found = connection.prepare_cached(sql)?.query_row([key], |row| {
        Ok(Cap {
            ceiling: usd(row.get(0)?),
            hard: row.get(1)?,
        })
    });
    Ok(found.optional()?)
}

fn room(connection: &Connection, scope: &Scope, now: Time) -> Attempt<Option<Room>> {
    if let Scope::Task(id) = scope {
        return parts::room(connection, id);
    }
    let (Some(cap), Some(since)) = (cap(connection, scope)?, scope.since(now)) else {
        return Ok(None);
    };
    let sql = "SELECT coalesce(sum(cost), 0), count(*) - count(cost) FROM spend WHERE beside = 0 AND at >= ?1";
    let (spent, unknown): (i64, i64) = connection
        .prepare_cached(sql)?
        .query_row([since.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let sql = "SELECT coalesce(sum(extra), 0) FROM holds WHERE ended_at >= ?1 AND extra > 0";
    let charged: i64 = connection.prepare_cached(sql)?.query_row([since.0], |row| row.get(0))?;
    let sql = "SELECT coalesce(sum(max(0, amount + before - (SELECT coalesce(sum(cost), 0) FROM spend
                 WHERE spend.agent = holds.agent AND beside = 0))), 0) FROM holds WHERE ended_at IS NULL";
    let held: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(Some(Room {
        cap,
        spent: usd(spent),
        held: usd(held) + usd(charged),
        charged: usd(charged),
        unknown: values::uint(unknown),
    }))
}

pub(crate) fn usd(micros: i64) -> Usd {
    Usd::from_micros(values::uint(micros))
}

fn account(row: &Row<'_>) -> Attempt<Account> {
    let count = |column: &str| -> Attempt<u64> { Ok(values::uint(row.get(column)?)) };
    let amount = |column: &str| -> Attempt<Option<Usd>> { Ok(row.get::<_, Option<i64>>(column)?.map(usd)) };
    Ok(Account {
        agent: values::from_id(&row.get::<_, String>("agent")?)?,
        repo: row.get("repo")?,
        branch: row.get("branch")?,
        batch: row.get("batch")?,
        harness: row.get("harness")?,
        run: row.get("run")?,
        worker: row.get("worker")?,
        round: row.get("round")?,
        beside: row.get("beside")?,
        entry: Spend {
            meter: values::from_word(row.get("meter")?)?,
            seq: count("seq")?,
            at: Time(row.get("at")?),
            model: row.get("model")?,
            tokens: Tokens {
                input: count("input")?,
                cached: count("cached")?,
                cache_write: count("cache_write")?,
                output: count("output")?,
                reasoning: count("reasoning")?,
            },
            cost: amount("cost")?,
            certainty: values::from_word(row.get("certainty")?)?,
            reported: amount("reported")?,
            task: row.get("task")?,
        },
    })
}
