//! What was asked for, written before the world is touched: a request is carried out once, and one that was cut off
//! is found again.

use fleet_core::{Error, Result, Time};
use rusqlite::{Connection, Row, Transaction, params};
use serde_json::Value;

use crate::failure::Attempt;
use crate::open::Store;
use crate::values;

/// How an operation ended: its answer, or its error.
pub type Outcome = Result<Value, Error>;

/// The process that carries an operation out. The start time and the boot make the process id unambiguous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its process id.
    pub pid: u32,
    /// Its start time in clock ticks since boot.
    pub start: u64,
    /// The boot it belongs to.
    pub boot: String,
}

/// A request that was begun and has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// Id of the request.
    pub request: String,
    /// Name of the operation.
    pub verb: String,
    /// Its arguments and the names chosen for it; no secrets.
    pub args: Value,
    /// When it was begun.
    pub created_at: Time,
    /// Who carries it out.
    pub owner: Owner,
}

/// What is known of a request that is to begin.
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// It is new, and recorded now.
    New,
    /// It was begun before: its owner is still at it, or was cut off (then see [`Store::take_over`]).
    Open(Intent),
    /// It has ended, and this is how.
    Done(Outcome),
}

/// For how long it is known that a request was carried out and how it ended, in milliseconds.
const KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;
/// Old requests are removed with each so many-th new one, so that hardly any request pays for it.
const PRUNE_EVERY: i64 = 64;

impl Store {
    /// Records a request before it is carried out, or tells what became of it.
    ///
    /// The first record that the operation makes of its effect puts this one on the disk as well.
    ///
    /// # Errors
    /// `Conflict` when the same id was used for another operation or with other arguments.
    pub fn begin(
        &self,
        site: &'static str,
        request: &str,
        verb: &str,
        args: &Value,
        now: Time,
        owner: &Owner,
    ) -> Result<Begun> {
        self.write_unsynced(site, |transaction| {
            if let Some((known, outcome)) = find(transaction, request)? {
                if known.verb != verb {
                    let message = format!("request `{request}` was a `{}`, not a `{verb}`", known.verb);
                    return Err(Error::conflict(message).hint("use a new request id").into());
                }
                if known.args != *args {
                    let message = format!("request `{request}` was a `{verb}` with other arguments");
                    return Err(Error::conflict(message).hint("use a new request id").into());
                }
                return Ok(outcome.map_or(Begun::Open(known), Begun::Done));
            }
            let sql = "INSERT INTO intents (request, verb, args, state, created_at, owner_pid, owner_start, owner_boot)
                       VALUES (?1, ?2, ?3, 'open', ?4, ?5, ?6, ?7)";
            let start = values::int(owner.start);
            let args = values::json(args)?;
            transaction.execute(sql, params![request, verb, args, now.0, owner.pid, start, owner.boot])?;
            if transaction.last_insert_rowid() % PRUNE_EVERY == 0 {
                forget_before(transaction, Time(now.0 - KEPT_MS))?;
            }
            Ok(Begun::New)
        })
    }

    /// Makes `to` the owner of an open request if `from` still is, and answers whether it was: of two that want to
    /// resume it, one gets `true`.
    pub fn take_over(&self, site: &'static str, request: &str, from: &Owner, to: &Owner) -> Result<bool> {
        let sql = "UPDATE intents SET owner_pid = ?2, owner_start = ?3, owner_boot = ?4
                   WHERE request = ?1 AND state = 'open' AND owner_pid = ?5 AND owner_start = ?6 AND owner_boot = ?7";
        let (start, start_before) = (values::int(to.start), values::int(from.start));
        self.write(site, |transaction| {
            let values = params![request, to.pid, start, to.boot, from.pid, start_before, from.boot];
            Ok(transaction.execute(sql, values)? == 1)
        })
    }

    /// Records how a request ended, and answers whether it was still open; the first end stands. It is put on the disk
    /// at once when `may_come_again`: somebody else knows the request's id, and may ask after a power failure.
    pub fn finish(&self, site: &'static str, request: &str, outcome: &Outcome, may_come_again: bool) -> Result<bool> {
        let (state, result) = match outcome {
            Ok(answer) => ("done", values::json(answer)?),
            Err(error) => ("failed", values::json(error)?),
        };
        let sql = "UPDATE intents SET state = ?2, result = ?3 WHERE request = ?1 AND state = 'open'";
        let end = |transaction: &Transaction<'_>| Ok(transaction.execute(sql, params![request, state, result])? == 1);
        match may_come_again {
            true => self.write(site, end),
            false => self.write_unsynced(site, end),
        }
    }

    /// Every request that has not ended, oldest first.
    pub fn open_intents(&self) -> Result<Vec<Intent>> {
        self.read(|connection| {
            let sql = "SELECT * FROM intents WHERE state = 'open' ORDER BY created_at, rowid";
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_and_then([], read)?.collect()
        })
    }
}

/// Forgets the requests that ended and were begun before `time`. One that is still open stays: it may be at work, and
/// what was cut off is found again by it.
fn forget_before(connection: &Connection, time: Time) -> Attempt<()> {
    let mut statement = connection.prepare_cached("DELETE FROM intents WHERE created_at < ?1 AND state <> 'open'")?;
    statement.execute([time.0])?;
    Ok(())
}

fn find(connection: &Connection, request: &str) -> Attempt<Option<(Intent, Option<Outcome>)>> {
    let mut statement = connection.prepare_cached("SELECT * FROM intents WHERE request = ?1")?;
    let mut rows = statement.query([request])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let state: String = row.get("state")?;
    let result: Option<String> = row.get("result")?;
    let outcome = match (state.as_str(), result) {
        ("done", Some(answer)) => Some(Ok(values::from_json(&answer)?)),
        ("failed", Some(error)) => Some(Err(values::from_json(&error)?)),
        _ => None,
    };
    Ok(Some((read(row)?, outcome)))
}

fn read(row: &Row<'_>) -> Attempt<Intent> {
    let args: String = row.get("args")?;
    Ok(Intent {
        request: row.get("request")?,
        verb: row.get("verb")?,
        args: values::from_json(&args)?,
        created_at: Time(row.get("created_at")?),
        owner: Owner {
            pid: row.get("owner_pid")?,
            start: values::uint(row.get("owner_start")?),
            boot: row.get("owner_boot")?,
        },
    })
}
