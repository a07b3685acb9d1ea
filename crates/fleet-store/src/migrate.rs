//! From any older schema to ours: forward only, each step in one transaction, with a copy of the old file beside.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fleet_core::{Error, Kind, fault};
use rusqlite::{Connection, TransactionBehavior};

use crate::damage::beside;
use crate::failure::{self, Attempt};

/// Every migration, in order; the schema's version is how many of them were applied. A released one never changes.
pub(crate) const STEPS: &[&str] = &[
    include_str!("../migrations/0001_init.sql"),
    include_str!("../migrations/0002_runs.sql"),
    include_str!("../migrations/0003_money.sql"),
    include_str!("../migrations/0004_tasks.sql"),
    include_str!("../migrations/0005_ceilings.sql"),
    include_str!("../migrations/0006_crews.sql"),
    include_str!("../migrations/0007_told.sql"),
];

/// `flet` in ASCII: tells our database from somebody else's.
const APPLICATION: i64 = 0x666c_6574;

/// The version of the schema that the database has; 0 when it is new.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// Applies what is missing of `steps`. Only the holder of the writer's turn may call this.
pub(crate) fn run(connection: &mut Connection, path: &Path, steps: &[&str]) -> Attempt<()> {
    let old = version(connection)?;
    if old >= steps.len() {
        return Ok(());
    }
    if old == 0 {
        refuse_a_stranger(connection, path)?;
        // WAL is a property of the file, so it is set once.
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    } else {
        fault::guard("store.backup", || back_up(connection, path, old))?;
    }
    for (done, sql) in steps.iter().enumerate().skip(old) {
        fault::guard("store.migrate", || step(connection, done + 1, sql))?;
    }
    // From here on the schema is in the database itself, not only in its log.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

/// The refusal of a database that a newer fleet has written.
pub(crate) fn too_new(path: &Path, version: usize, ours: usize) -> Error {
    let message = format!(
        "the database {} was written by a newer fleet (schema {version}, this is {ours})",
        path.display()
    );
    Error::new(Kind::Config, message).hint("update fleet, or set FLEET_HOME to another folder")
}

fn step(connection: &mut Connection, version: usize, sql: &str) -> Attempt<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(sql)?;
    transaction.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {version};"
    ))?;
    transaction.commit()?;
    Ok(())
}

fn refuse_a_stranger(connection: &Connection, path: &Path) -> Attempt<()> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(());
    }
    let error = Error::new(
        Kind::Config,
        format!("{} is a database of another program", path.display()),
    );
    Err(error.hint("move it away, or set FLEET_HOME to another folder").into())
}

/// Copies the database to `<database>.v<old>.bak`, log included.
fn back_up(connection: &Connection, path: &Path, old: usize) -> Attempt<()> {
    let backup = beside(path, &format!(".v{old}.bak"));
    let draft = beside(&backup, ".new");
    let cannot = |error: &std::io::Error| failure::io("write", &backup, error);
    // SQLite would make the file readable for others; one that exists keeps its mode.
    let made = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft);
    made.map_err(|error| cannot(&error))?;
    connection.backup(rusqlite::MAIN_DB, &draft, None)?;
    fs::rename(&draft, &backup).map_err(|error| cannot(&error))?;
    Ok(())
}
