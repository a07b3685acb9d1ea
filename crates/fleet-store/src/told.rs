//! What was told of ceilings: that one is near its end, or at it, or that a run has paused or ended because of one.
//!
//! Of several processes that see the same at once one tells it, because the database takes a line once. It is told again
//! when the ceiling was changed, and in the next day or week.

use fleet_core::budget::{Level, Notice, Scope};
use fleet_core::money::Usd;
use fleet_core::run::record::Event;
use fleet_core::task::TaskId;
use fleet_core::{Error, Result, Time};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::failure::Attempt;
use crate::money::usd;
use crate::open::Store;
use crate::{money, parts, runs, tasks, values};

/// What was told of a ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its number, in the order in which it was told.
    pub number: i64,
    /// Whose ceiling it is.
    pub scope: Scope,
    /// What was told.
    pub notice: Notice,
    /// What was spent by then, with what is charged for launches whose account is not whole.
    pub spent: Usd,
    /// The ceiling; nothing where a run has none, and has paused because all agents together have one.
    pub ceiling: Usd,
    /// The same in words: `8.10 of 10.00 USD`.
    pub about: String,
    /// When.
    pub at: Time,
}

impl Store {
    /// What nobody was notified of yet, in order.
    pub fn told_new(&self) -> Result<Vec<Told>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM told WHERE notified = 0 ORDER BY number")?;
            statement.query_and_then([], told)?.collect()
        })
    }

    /// Whether it is the caller who notifies of line `number`: that is so for one caller alone.
    pub fn told_take(&self, site: &'static str, number: i64) -> Result<bool> {
        self.write_unsynced(site, |transaction| {
            let sql = "UPDATE told SET notified = 1 WHERE number = ?1 AND notified = 0";
            Ok(transaction.execute(sql, [number])? > 0)
        })
    }

    /// What was told last of how much is spent of the `ceiling` that `scope` has now.
    pub fn told(&self, scope: &Scope, ceiling: Usd, now: Time) -> Result<Option<Told>> {
        self.read(|connection| {
            let sql = "SELECT * FROM told WHERE scope = ?1 AND since = ?2 AND ceiling = ?3
                       AND level IN ('near', 'reached') ORDER BY number DESC LIMIT 1";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query_and_then(
                params![scope.to_string(), since(scope, now), values::int(ceiling.micros())],
                told,
            )?;
            rows.next().transpose()
        })
    }
}

/// Notes which ceilings of all agents and of `tasks`, and of what these are parts of, are near their end, or at it, after
/// something was charged at that time.
pub(crate) fn look(transaction: &Transaction<'_>, tasks: &[TaskId], at: Time) -> Attempt<()> {
    for scope in [Scope::Day, Scope::Week] {
        let Some(cap) = money::cap(transaction, &scope)? else {
            continue;
        };
        let spent = charged(transaction, &scope, at)?;
        note(transaction, &scope, (spent, cap.ceiling), at)?;
    }
    let mut seen: Vec<TaskId> = Vec::new();
    for task in tasks {
        for (id, room) in parts::rooms_above(transaction, &task.to_string())? {
            if !seen.contains(&id) {
                seen.push(id);
                let spent = room.spent + room.charged;
                note(transaction, &Scope::Task(id.to_string()), (spent, room.cap.ceiling), at)?;
            }
        }
    }
    Ok(())
}

/// What was told of `ceiling` when it was the one of `scope` before is told again; a ceiling that was lowered may be near its
/// end by that alone.
pub(crate) fn changed(transaction: &Transaction<'_>, scope: &Scope, ceiling: Usd, at: Time) -> Attempt<()> {
    let sql = "DELETE FROM told WHERE scope = ?1 AND ceiling = ?2 AND level IN ('near', 'reached') AND notified = 1";
    transaction
        .prepare_cached(sql)?
        .execute(params![scope.to_string(), values::int(ceiling.micros())])?;
    match scope {
        Scope::Day | Scope::Week => look(transaction, &[], at),
        Scope::Task(id) => look(transaction, TaskId::parse(id).as_slice(), at),
        // A run's driver looks itself, and an agent's supervisor.
        Scope::Run(_) | Scope::Worker(..) | Scope::Iteration(..) | Scope::Agent(_) => Ok(()),
    }
}

/// Notes that so much of a ceiling is spent, if that is near its end, or at it, and was not told before.
pub(crate) fn note(
    transaction: &Transaction<'_>,
    scope: &Scope,
    (spent, ceiling): (Usd, Usd),
    at: Time,
) -> Attempt<()> {
    let notice = match Level::of(spent.micros(), ceiling.micros()) {
        Level::Within => return Ok(()),
        Level::Near => Notice::Near,
        Level::Reached => Notice::Reached,
    };
    let digits = spent.to_string();
    let about = format!("{} of {ceiling}", digits.trim_end_matches(" USD"));
    if !put(
        transaction,
        scope,
        since(scope, at),
        notice,
        (spent, ceiling, &about),
        at,
    )? {
        return Ok(());
    }
    let word = values::word(&notice)?;
    let about = |of: &str| format!("{spent} of {ceiling}{of} are spent");
    match scope {
        Scope::Task(id) => {
            let sql = "SELECT repo FROM tasks WHERE id = ?1";
            let repo: Option<String> = transaction.query_row(sql, [id], |row| row.get(0)).optional()?;
            match repo {
                Some(repo) => tasks::note(transaction, &repo, TaskId::parse(id), at, &word, &about("")),
                None => Ok(()),
            }
        }
        Scope::Run(run) => note_run(transaction, run, at, word, about("")),
        Scope::Iteration(run, round) => note_run(transaction, run, at, word, about(&format!(" of round {round}"))),
        Scope::Day | Scope::Week | Scope::Worker(..) | Scope::Agent(_) => Ok(()),
    }
}

/// Notes that a run has paused or ended because a ceiling does not reach, which is said in words.
pub(crate) fn note_end(
    transaction: &Transaction<'_>,
    run: &str,
    notice: Notice,
    (spent, ceiling, about): (Usd, Usd, &str),
    at: Time,
) -> Attempt<()> {
    let scope = Scope::Run(run.to_owned());
    put(transaction, &scope, at.0, notice, (spent, ceiling, about), at).map(drop)
}

/// Puts a line where it is none yet; false: it is there. What is used up is no longer near its end.
fn put(
    transaction: &Transaction<'_>,
    scope: &Scope,
    since: i64,
    notice: Notice,
    (spent, ceiling, about): (Usd, Usd, &str),
    at: Time,
) -> Attempt<bool> {
    let sql = "INSERT INTO told (scope, since, ceiling, level, spent, about, at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
               WHERE NOT EXISTS (SELECT 1 FROM told WHERE scope = ?1 AND since = ?2 AND ceiling = ?3
                                 AND (level = ?4 OR ?4 = 'near' AND level = 'reached'))";
    let (scope, word) = (scope.to_string(), values::word(&notice)?);
    let (spent, ceiling) = (values::int(spent.micros()), values::int(ceiling.micros()));
    let row = params![scope, since, ceiling, word, spent, about, at.0];
    Ok(transaction.prepare_cached(sql)?.execute(row)? > 0)
}

fn note_run(transaction: &Transaction<'_>, run: &str, at: Time, event: String, about: String) -> Attempt<()> {
    let event = Event {
        at,
        event,
        worker: None,
        about,
    };
    runs::note(transaction, run, &event)
}

/// What all agents have spent in the day or the week of that time, with what is charged for what nobody knows.
fn charged(connection: &Connection, scope: &Scope, at: Time) -> Attempt<Usd> {
    let from = since(scope, at);
    let until = scope.until(at).map_or(i64::MAX, |until| until.0);
    let sql = "SELECT (SELECT coalesce(sum(cost), 0) FROM spend WHERE beside = 0 AND at >= ?1 AND at < ?2)
                 + (SELECT coalesce(sum(extra), 0) FROM holds WHERE ended_at >= ?1 AND ended_at < ?2 AND extra > 0)";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(usd(statement.query_row([from, until], |row| row.get(0))?))
}

fn since(scope: &Scope, at: Time) -> i64 {
    scope.since(at).map_or(0, |since| since.0)
}

fn told(row: &Row<'_>) -> Attempt<Told> {
    let scope: String = row.get("scope")?;
    let unreadable = || Error::internal(format!("`{scope}` in the database is nothing that has a ceiling"));
    Ok(Told {
        number: row.get("number")?,
        scope: scope.parse().map_err(|()| unreadable())?,
        notice: values::from_word(row.get("level")?)?,
        spent: usd(row.get("spent")?),
        ceiling: usd(row.get("ceiling")?),
        about: row.get("about")?,
        at: Time(row.get("at")?),
    })
}
