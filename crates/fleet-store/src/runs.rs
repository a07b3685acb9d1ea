//! Runs of plans: their records, steps, rounds and events.
//!
//! A driver changes its run in turns: one transaction takes in what ended, reserves what is to be started, and notes
//! what happened. A turn of a driver that was replaced meanwhile is refused.

use std::path::{Path, PathBuf};

use fleet_core::agent::Agent;
use fleet_core::budget::{Notice, Scope};
use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::run::record::{Event, RoundRecord, Run, StepEnd, StepName, StepRecord};
use fleet_core::run::{Control, Finish, Pause, Why};
use fleet_core::spend::Spend;
use fleet_core::task::TaskId;
use fleet_core::{Error, Result, Time};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction, params};

use crate::failure::Attempt;
use crate::money::{self, Hold, Rest};
use crate::open::Store;
use crate::reserve::{self, Reservation};
use crate::{parts, told, values};

/// One change of a run.
#[derive(Clone, Debug)]
pub enum Change {
    /// A step is about to be started.
    Step(StepRecord),
    /// A step is told to end.
    Ending(StepName, Why),
    /// A step has ended.
    Ended(StepName, StepEnd),
    /// A step never was: nothing of it was started.
    Void(StepName),
    /// The failure of these steps counts no more.
    Forgive(StepName),
    /// A worker is started over in a round. A step that runs stays what it is.
    Forget {
        /// The worker's id.
        worker: String,
        /// The round.
        round: u32,
    },
    /// A round is begun, or known better.
    Round(RoundRecord),
    /// What people want; and why it paused by itself.
    Control(Control, Option<Pause>),
    /// The plan's file as it is launched now, and where the fleet root is.
    Plan(String, PathBuf),
    /// It is over.
    Finish(Finish, Time),
    /// It goes on after all.
    Reopen,
    /// What an agent has used.
    Spent(AgentId, Vec<Spend>),
    /// An agent runs as this process, in this launch.
    AgentStarted(AgentId, u32, u32),
    /// The record of an agent whose part is done: its names are free.
    AgentEnded(AgentId, Time),
    /// So much of a ceiling of the run is spent: it is told of once when that is near the end of it, or at it.
    Ceiling {
        /// The run, or one of its rounds.
        scope: Scope,
        /// What is spent.
        spent: Usd,
        /// Of how much.
        ceiling: Usd,
        /// When that was seen.
        at: Time,
    },
    /// It has paused or ended because a ceiling does not reach.
    Short {
        /// Which of the two.
        notice: Notice,
        /// What it has spent.
        spent: Usd,
        /// Its own ceiling; nothing where it has none.
        ceiling: Usd,
        /// What does not reach, in words.
        about: String,
        /// When.
        at: Time,
    },
    /// Something happened that people may want to know.
    Event(Event),
}

/// What one turn changes.
#[derive(Debug, Default)]
pub struct Turn<'a> {
    /// In order.
    pub changes: &'a [Change],
    /// The names of agents that are to be started.
    pub reservations: &'a [Reservation],
}

impl Store {
    /// Records a new run.
    ///
    /// # Errors
    /// `Conflict` when a run of that name goes on in the same repository.
    pub fn run_add(&self, site: &'static str, run: &Run) -> Result<()> {
        self.write(site, |transaction| {
            let sql = "SELECT root FROM runs WHERE finish IS NULL AND name = ?1 AND repo IS ?2";
            let repo = optional_path(run.repo.as_deref())?;
            let other: Option<String> = transaction
                .query_row(sql, params![run.name, repo], |row| row.get(0))
                .optional()?;
            if let Some(other) = other {
                let message = format!("a run called `{}` goes on already, from {other}", run.name);
                return Err(Error::conflict(message)
                    .hint(format!(
                        "give this plan another `fleet_name`, or stop that run: `fleet stop {}`",
                        fleet_core::name::word(&other)
                    ))
                    .into());
            }
            let sql = "INSERT INTO runs (id, root, name, type, repo, base, text, control, created_at, task)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
            transaction.execute(
                sql,
                params![
                    run.id,
                    values::path(&run.root)?,
                    run.name,
                    run.plan_type,
                    repo,
                    run.base,
                    run.text,
                    values::word(&run.control)?,
                    run.created_at.0,
                    run.task.map(|task| task.to_string())
                ],
            )?;
            Ok(())
        })
    }

    /// The run with this id.
    pub fn run(&self, id: &str) -> Result<Option<Run>> {
        Ok(self.read(|connection| runs(connection, "WHERE id = ?1", &[&id]))?.pop())
    }

    /// Every run, newest first.
    pub fn runs(&self) -> Result<Vec<Run>> {
        self.read(|connection| runs(connection, "ORDER BY created_at DESC, rowid DESC", &[]))
    }

    /// Every try at every step of the run, by worker, round, part and attempt.
    pub fn steps(&self, run: &str) -> Result<Vec<StepRecord>> {
        self.read(|connection| {
            let sql = "SELECT * FROM steps WHERE run = ?1 ORDER BY worker, round, part, attempt";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_and_then([run], step)?.collect()
        })
    }

    /// The run and the name of the step that this agent makes, the newest where it made several.
    pub fn step_of(&self, agent: &AgentId) -> Result<Option<(String, StepRecord)>> {
        self.read(|connection| {
            let sql = "SELECT * FROM steps WHERE agent = ?1 ORDER BY began_at DESC, attempt DESC LIMIT 1";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query_and_then([agent.as_str()], |row| -> Attempt<_> {
                Ok((row.get::<_, String>("run")?, step(row)?))
            })?;
            rows.next().transpose()
        })
    }

    /// The run's rounds, in order.
    pub fn rounds(&self, run: &str) -> Result<Vec<RoundRecord>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM rounds WHERE run = ?1 ORDER BY round")?;
            statement.query_and_then([run], round)?.collect()
        })
    }

    /// What happened in the run after event number `after`, with its numbers.
    pub fn run_events(&self, run: &str, after: u64) -> Result<Vec<(u64, Event)>> {
        self.read(|connection| {
            let sql = "SELECT seq, event FROM run_events WHERE run = ?1 AND seq > ?2 ORDER BY seq";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_and_then(params![run, values::int(after)], |row| -> Attempt<_> {
                let text: String = row.get(1)?;
                Ok((values::uint(row.get(0)?), values::from_json(&text)?))
            })?;
            rows.collect()
        })
    }

    /// A new driver of the run: its number.
    pub fn run_driver(&self, site: &'static str, run: &str) -> Result<u32> {
        self.write(site, |transaction| {
            let sql = "UPDATE runs SET generation = generation + 1 WHERE id = ?1 RETURNING generation";
            Ok(transaction.query_row(sql, [run], |row| row.get(0))?)
        })
    }

    /// Makes one turn of the run; the agents that were reserved, in order. `driver` is the number of the driver whose
    /// turn it is; none for what people ask for.
    ///
    /// # Errors
    /// `Conflict` when another driver has taken over, or a name is taken: then nothing was changed.
    pub fn run_turn(
        &self,
        site: &'static str,
        run: &str,
        driver: Option<u32>,
        turn: &Turn<'_>,
        exists: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<Agent>> {
        let act = |transaction: &Transaction<'_>| {
            if let Some(driver) = driver {
                let sql = "SELECT generation FROM runs WHERE id = ?1";
                let now: Option<u32> = transaction.query_row(sql, [run], |row| row.get(0)).optional()?;
                if now != Some(driver) {
                    return Err(Error::conflict("another driver has taken the run over").into());
                }
            }
            for change in turn.changes {
                apply(transaction, run, change)?;
            }
            let agents = match turn.reservations {
                [] => Vec::new(),
                wanted => reserve::take(transaction, wanted, exists)?,
            };
            // What was reserved for steps counts for the task of an agent that was no agent yet.
            let costs = |change: &Change| match change {
                Change::Step(step) if !step.hold.is_zero() => Some(step.agent.clone()),
                _ => None,
            };
            let paid: Vec<AgentId> = turn.changes.iter().filter_map(costs).collect();
            parts::refuse_beyond(transaction, &paid)?;
            Ok(agents)
        };
        // What only tells of ends follows from the journals again after a power failure.
        let follows = |change: &Change| {
            matches!(
                change,
                Change::Ended(..)
                    | Change::Spent(..)
                    | Change::AgentStarted(..)
                    | Change::AgentEnded(..)
                    | Change::Ceiling { .. }
                    | Change::Event(_)
            )
        };
        match turn.reservations.is_empty() && turn.changes.iter().all(follows) {
            true => self.write_unsynced(site, act),
            false => self.write(site, act),
        }
    }
}

fn apply(transaction: &Transaction<'_>, run: &str, change: &Change) -> Attempt<()> {
    const NAMED: &str = "run = ?1 AND worker = ?2 AND round = ?3 AND part = ?4 AND attempt = ?5";
    let named = |set: &str, name: &StepName, more: &[&dyn ToSql]| -> Attempt<()> {
        let part = values::word(&name.part)?;
        let mut values: Vec<&dyn ToSql> = vec![&run, &name.worker, &name.round, &part, &name.attempt];
        values.extend(more);
        let sql = format!("{set} WHERE {NAMED}");
        transaction.prepare_cached(&sql)?.execute(values.as_slice())?;
        Ok(())
    };
    match change {
        Change::Step(record) => {
            insert_step(transaction, run, record)?;
            let hold = Hold {
                agent: record.agent.clone(),
                generation: record.generation,
                amount: record.hold,
                made_at: record.began_at,
            };
            money::take(transaction, &[hold])
        }
        Change::Ending(name, why) => named("UPDATE steps SET ending = ?6", name, &[&values::word(why)?]),
        Change::Ended(name, end) => {
            end_hold(transaction, run, name, end)?;
            named(
                "UPDATE steps SET how = ?6, text = ?7, cost = ?8, metric = ?9, resumable = ?10, ended = ?11, ended_at = ?12, until = ?13,
                 estimated = ?14",
                name,
                &[
                    &values::word(&end.how)?,
                    &end.text,
                    &end.cost.map(|cost| values::int(cost.micros())),
                    &end.metric,
                    &end.resumable,
                    &values::int(end.ended),
                    &end.ended_at.0,
                    &end.until.map(|until| until.0),
                    &values::int(end.estimated.micros()),
                ],
            )
        }
        Change::Void(name) => {
            let sql = "DELETE FROM holds WHERE (agent, generation) IN (SELECT agent, generation FROM steps
                       WHERE run = ?1 AND worker = ?2 AND round = ?3 AND part = ?4 AND attempt = ?5)";
            let part = values::word(&name.part)?;
            let mut statement = transaction.prepare_cached(sql)?;
            statement.execute(params![run, name.worker, name.round, part, name.attempt])?;
            named("DELETE FROM steps", name, &[])
        }
        Change::Forgive(name) => named("UPDATE steps SET forgiven = 1", name, &[]),
        Change::Forget { worker, round } => {
            let sql = "UPDATE steps SET forgotten = 1
                       WHERE run = ?1 AND worker = ?2 AND round = ?3 AND how IS NOT NULL";
            transaction.execute(sql, params![run, worker, round])?;
            Ok(())
        }
        Change::Round(record) => put_round(transaction, run, record),
        Change::Control(control, pause) => {
            let pause = pause.as_ref().map(values::json).transpose()?;
            let sql = "UPDATE runs SET control = ?2, pause = ?3 WHERE id = ?1";
            transaction.execute(sql, params![run, values::word(control)?, pause])?;
            Ok(())
        }
        Change::Plan(text, root) => {
            let sql = "UPDATE runs SET text = ?2, root = ?3 WHERE id = ?1";
            transaction.execute(sql, params![run, text, values::path(root)?])?;
            Ok(())
        }
        Change::Finish(finish, at) => {
            let sql = "UPDATE runs SET finish = ?2, ended_at = ?3, control = 'going', pause = NULL WHERE id = ?1";
            transaction.execute(sql, params![run, values::word(finish)?, at.0])?;
            Ok(())
        }
        Change::Reopen => {
            let sql = "UPDATE runs SET finish = NULL, ended_at = NULL, control = 'going', pause = NULL WHERE id = ?1";
            transaction.execute(sql, [run])?;
            Ok(())
        }
        Change::Spent(agent, entries) => money::add(transaction, agent, entries, false).map(drop),
        Change::AgentStarted(id, pid, generation) => {
            let sql = "UPDATE agents SET phase = 'started', pid = ?2, generation = ?3
                       WHERE id = ?1 AND phase IN ('reserved', 'started') AND generation <= ?3";
            transaction
                .prepare_cached(sql)?
                .execute(params![id.as_str(), pid, generation])?;
            Ok(())
        }
        Change::AgentEnded(id, at) => {
            let sql = "UPDATE agents SET phase = 'ended', ended_at = ?2 WHERE id = ?1 AND phase <> 'ended'";
            transaction.prepare_cached(sql)?.execute(params![id.as_str(), at.0])?;
            Ok(())
        }
        Change::Ceiling {
            scope,
            spent,
            ceiling,
            at,
        } => told::note(transaction, scope, (*spent, *ceiling), *at),
        Change::Short {
            notice,
            spent,
            ceiling,
            about,
            at,
        } => told::note_end(transaction, run, *notice, (*spent, *ceiling, about), *at),
        Change::Event(event) => note(transaction, run, event),
    }
}

/// Notes that something happened in a run.
pub(crate) fn note(transaction: &Transaction<'_>, run: &str, event: &Event) -> Attempt<()> {
    let sql = "INSERT INTO run_events (run, seq, at, event)
               SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3 FROM run_events WHERE run = ?1";
    let mut insert = transaction.prepare_cached(sql)?;
    insert.execute(params![run, event.at.0, values::json(event)?])?;
    Ok(())
}

/// Gives back what the step has not spent.
fn end_hold(transaction: &Transaction<'_>, run: &str, name: &StepName, end: &StepEnd) -> Attempt<()> {
    let sql = "SELECT agent, generation FROM steps
               WHERE run = ?1 AND worker = ?2 AND round = ?3 AND part = ?4 AND attempt = ?5";
    let part = values::word(&name.part)?;
    let holder: Option<(String, u32)> = transaction
        .prepare_cached(sql)?
        .query_row(params![run, name.worker, name.round, part, name.attempt], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((agent, generation)) = holder else {
        return Ok(());
    };
    let agent = values::from_id(&agent)?;
    let rest = match (end.cost, end.estimated) {
        (None, _) => Rest::All,
        (Some(_), estimated) if estimated.is_zero() => Rest::Nothing,
        (Some(_), sure) => Rest::About {
            sure,
            at_most: Usd::default(),
        },
    };
    money::end(transaction, &agent, generation, rest, end.ended_at)
}

fn insert_step(transaction: &Transaction<'_>, run: &str, record: &StepRecord) -> Attempt<()> {
    let sql = "INSERT INTO steps (run, worker, round, part, attempt, agent, generation, hold, boot, began, began_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let name = &record.name;
    transaction.prepare_cached(sql)?.execute(params![
        run,
        name.worker,
        name.round,
        values::word(&name.part)?,
        name.attempt,
        record.agent.as_str(),
        record.generation,
        values::int(record.hold.micros()),
        record.boot,
        values::int(record.began),
        record.began_at.0,
    ])?;
    Ok(())
}

fn put_round(transaction: &Transaction<'_>, run: &str, record: &RoundRecord) -> Attempt<()> {
    let sql = "INSERT INTO rounds (run, round, base, verdict, asked, answered, kept, commit_id)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
               ON CONFLICT (run, round) DO UPDATE SET base = ?3, verdict = ?4, asked = ?5, answered = ?6, kept = ?7,
               commit_id = ?8";
    let word = |said: Option<fleet_core::run::verdict::Said>| said.as_ref().map(values::word).transpose();
    transaction.execute(
        sql,
        params![
            run,
            record.round,
            record.base,
            word(record.verdict)?,
            word(record.asked)?,
            record.answered,
            record.kept,
            record.commit
        ],
    )?;
    Ok(())
}

fn optional_path(path: Option<&Path>) -> Result<Option<&str>> {
    path.map(values::path).transpose()
}

fn runs(connection: &Connection, rest: &str, given: &[&dyn ToSql]) -> Attempt<Vec<Run>> {
    let mut statement = connection.prepare_cached(&format!("SELECT * FROM runs {rest}"))?;
    let rows = statement.query_and_then(given, |row| -> Attempt<Run> {
        let pause: Option<String> = row.get("pause")?;
        let finish: Option<String> = row.get("finish")?;
        Ok(Run {
            id: row.get("id")?,
            root: PathBuf::from(row.get::<_, String>("root")?),
            name: row.get("name")?,
            plan_type: row.get("type")?,
            repo: row.get::<_, Option<String>>("repo")?.map(PathBuf::from),
            base: row.get("base")?,
            task: row.get::<_, Option<String>>("task")?.and_then(|id| TaskId::parse(&id)),
            text: row.get("text")?,
            control: values::from_word(row.get("control")?)?,
            pause: pause.as_deref().map(values::from_json).transpose()?,
            finish: finish.map(values::from_word).transpose()?,
            generation: row.get("generation")?,
            created_at: Time(row.get("created_at")?),
            ended_at: row.get::<_, Option<i64>>("ended_at")?.map(Time),
        })
    })?;
    rows.collect()
}

fn step(row: &Row<'_>) -> Attempt<StepRecord> {
    let how: Option<String> = row.get("how")?;
    let ending: Option<String> = row.get("ending")?;
    let ended = match how {
        None => None,
        Some(how) => Some(StepEnd {
            how: values::from_word(how)?,
            text: row.get::<_, Option<String>>("text")?.unwrap_or_default(),
            cost: row
                .get::<_, Option<i64>>("cost")?
                .map(|cost| Usd::from_micros(values::uint(cost))),
            estimated: Usd::from_micros(values::uint(row.get("estimated")?)),
            metric: row.get("metric")?,
            resumable: row.get("resumable")?,
            ended: values::uint(row.get("ended")?),
            ended_at: Time(row.get("ended_at")?),
            until: row.get::<_, Option<i64>>("until")?.map(Time),
        }),
    };
    Ok(StepRecord {
        name: StepName {
            worker: row.get("worker")?,
            round: row.get("round")?,
            part: values::from_word(row.get("part")?)?,
            attempt: row.get("attempt")?,
        },
        agent: values::from_id(&row.get::<_, String>("agent")?)?,
        generation: row.get("generation")?,
        hold: Usd::from_micros(values::uint(row.get("hold")?)),
        boot: row.get("boot")?,
        began: values::uint(row.get("began")?),
        began_at: Time(row.get("began_at")?),
        ending: ending.map(values::from_word).transpose()?,
        ended,
        forgiven: row.get("forgiven")?,
        forgotten: row.get("forgotten")?,
    })
}

fn round(row: &Row<'_>) -> Attempt<RoundRecord> {
    let word = |column: &str| -> Attempt<_> {
        let word: Option<String> = row.get(column)?;
        Ok(word.map(values::from_word).transpose()?)
    };
    Ok(RoundRecord {
        round: row.get("round")?,
        base: row.get("base")?,
        verdict: word("verdict")?,
        asked: word("asked")?,
        answered: row.get("answered")?,
        kept: row.get("kept")?,
        commit: row.get("commit_id")?,
    })
}
