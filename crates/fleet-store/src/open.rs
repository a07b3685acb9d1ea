//! Opening the database, and the two ways through it: reading, and writing when it is one's turn.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_core::{Result, fault};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::damage::{self, beside};
use crate::failure::{self, Attempt};
use crate::migrate;
use crate::turn::Turn;

/// How long a writer waits for its turn. A write takes milliseconds, so this many seconds mean a stuck process.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long SQLite itself waits. Writers queue at the file lock, so this is met only by foreign programs.
const BUSY: Duration = Duration::from_secs(5);

/// From this size on the log is moved into the database: about twenty writes. It bounds what an opening scans.
const LONG_LOG: u64 = 400 * 1024;

/// How a connection is set up; none of it touches the disk.
///
/// SQLite's own checkpoints are off. At the close of the last connection they would make every command pay for two more
/// syncs, and the automatic ones never empty a log that each process only appends to once (see [`shorten_log`]).
const SETTINGS: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA cache_size = -512;
    PRAGMA wal_autocheckpoint = 0;
";

/// The open database. Threads may share it; other processes have their own.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Mutex<Connection>,
    read_only: bool,
    patience: Duration,
}

impl Store {
    /// Opens the database at `path`, makes it (0600) where it is missing, and brings an older one up to date.
    ///
    /// On a read-only file system an existing database opens for reading.
    ///
    /// # Errors
    /// `Config` when a newer fleet or another program wrote it; `Unavailable` when it cannot be opened, is locked for
    /// too long, or is damaged (then a copy is kept, and nothing starts anew).
    pub fn open(path: &Path) -> Result<Store> {
        Self::open_with(path, migrate::STEPS, PATIENCE)
    }

    /// Replaces a damaged database by an empty one, and tells where the damaged one is kept; a sound one stays as it
    /// is. The caller rebuilds the records from the journals.
    pub fn start_over(site: &'static str, path: &Path) -> Result<(Store, Option<PathBuf>)> {
        let turn = Turn::take(&beside(path, ".lock"), PATIENCE)?;
        let mut kept = None;
        if is_cut_off(path) || !is_sound(path)? {
            kept = Some(damage::keep(path).map_err(|error| failure::io("copy", path, &error))?);
            damage::remove(site, path).map_err(|error| failure::io("remove", path, &error))?;
        }
        drop(turn);
        Ok((Self::open(path)?, kept))
    }

    /// Looks through the whole database, which takes time in proportion to its size.
    ///
    /// # Errors
    /// `Unavailable` when it is damaged; a copy is kept.
    pub fn check(&self) -> Result<()> {
        let connection = self.connection();
        match damage::findings(&connection).is_empty() {
            true => Ok(()),
            false => Err(damage::report(&self.path, Some(&connection))),
        }
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the database could be opened for reading only.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Runs `act` in one transaction, alone among all writers, and commits it. On an error nothing is changed.
    pub(crate) fn write<T>(&self, site: &'static str, act: impl FnOnce(&Transaction<'_>) -> Attempt<T>) -> Result<T> {
        fault::guard(site, || {
            let _turn = self.turn()?;
            let mut connection = self.connection();
            let out = transact(&mut connection, act).map_err(|failure| failure.explain(&self.path, &connection))?;
            shorten_log(&connection, &self.path);
            Ok(out)
        })
    }

    /// The same without waiting for the disk: what a power failure takes of it follows from something else that is
    /// kept, or is worth nothing then. The death of the process takes nothing, and the next [`Store::write`] syncs it
    /// with its own, since the log is one file.
    pub(crate) fn write_unsynced<T>(
        &self,
        site: &'static str,
        act: impl FnOnce(&Transaction<'_>) -> Attempt<T>,
    ) -> Result<T> {
        fault::guard(site, || {
            let _turn = self.turn()?;
            let mut connection = self.connection();
            let out = connection
                .pragma_update(None, "synchronous", "NORMAL")
                .map_err(Into::into)
                .and_then(|()| transact(&mut connection, act));
            // Not while a transaction is open, and there is none: it was committed or rolled back.
            let _ = connection.pragma_update(None, "synchronous", "FULL");
            let out = out.map_err(|failure| failure.explain(&self.path, &connection))?;
            shorten_log(&connection, &self.path);
            Ok(out)
        })
    }

    /// Runs `act`, which only reads.
    pub(crate) fn read<T>(&self, act: impl FnOnce(&Connection) -> Attempt<T>) -> Result<T> {
        let connection = self.connection();
        act(&connection).map_err(|failure| failure.explain(&self.path, &connection))
    }

    /// Waits until nobody else writes, and keeps it so while the answer is held. It is always taken before the
    /// connection, so that threads do not wait for each other in a ring, and readers not for a writer that waits.
    pub(crate) fn turn(&self) -> Result<Turn> {
        if self.read_only {
            return Err(failure::read_only(&self.path));
        }
        Turn::take(&beside(&self.path, ".lock"), self.patience)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic rolled its transaction back, so what it left behind is sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_with(path: &Path, steps: &[&str], patience: Duration) -> Result<Store> {
        if is_empty(path) {
            create(path, steps, patience)?;
        }
        let (mut connection, read_only, version) = connect(path)?;
        if version > steps.len() {
            return Err(migrate::too_new(path, version, steps.len()));
        }
        if version < steps.len() {
            if read_only {
                return Err(failure::read_only(path).context("the database has to be brought up to date"));
            }
            let _turn = Turn::take(&beside(path, ".lock"), patience)?;
            migrate::run(&mut connection, path, steps).map_err(|failure| failure.explain(path, &connection))?;
        }
        Ok(Store {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            read_only,
            patience,
        })
    }
}

fn transact<T>(connection: &mut Connection, act: impl FnOnce(&Transaction<'_>) -> Attempt<T>) -> Attempt<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let out = act(&transaction)?;
    transaction.commit()?;
    Ok(out)
}

/// Moves a long log into the database and empties it, unless a reader is in the way: then the next writer will.
///
/// What was committed stands whether or not this succeeds, so nothing is reported.
fn shorten_log(connection: &Connection, path: &Path) {
    if fs::metadata(beside(path, "-wal")).is_ok_and(|meta| meta.len() > LONG_LOG) {
        let _ = connection.busy_timeout(Duration::ZERO);
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let _ = connection.busy_timeout(BUSY);
    }
}

/// Makes the database. It is done in a writer's turn, so that nobody meets it half made.
fn create(path: &Path, steps: &[&str], patience: Duration) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| failure::io("create", folder, &error))?;
    }
    let _turn = Turn::take(&beside(path, ".lock"), patience)?;
    if is_cut_off(path) {
        return Err(damage::report(path, None));
    }
    // SQLite gives its log and shared memory the mode of the database.
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.map_err(|error| failure::io("create", path, &error))?;
    let (mut connection, ..) = connect(path)?;
    migrate::run(&mut connection, path, steps).map_err(|failure| failure.explain(path, &connection))
}

/// A connection that has read the schema's version, whether it is read-only, and the version.
fn connect(path: &Path) -> Result<(Connection, bool, usize)> {
    match connect_as(path, OpenFlags::SQLITE_OPEN_READ_WRITE) {
        Ok((connection, version)) => {
            let read_only = connection.is_readonly(rusqlite::MAIN_DB).unwrap_or(false);
            Ok((connection, read_only, version))
        }
        Err(error) if failure::is_damage(&error) => {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok();
            Err(damage::report(path, connection.as_ref()))
        }
        Err(error) if wants_to_write(&error) && log_is_empty(path) => match connect_immutable(path) {
            Ok((connection, version)) => Ok((connection, true, version)),
            Err(_) => Err(failure::sql(path, &error)),
        },
        Err(error) => Err(failure::sql(path, &error)),
    }
}

fn connect_as(path: &Path, access: OpenFlags) -> rusqlite::Result<(Connection, usize)> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let version = migrate::version(&connection)?;
    connection.execute_batch(SETTINGS)?;
    Ok((connection, version))
}

/// Opens the database as a file that nobody changes: for a folder in which SQLite cannot make its shared memory.
/// It does not see the log, so the log must be empty.
fn connect_immutable(path: &Path) -> rusqlite::Result<(Connection, usize)> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    connect_as(
        Path::new(&uri),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
    )
}

fn wants_to_write(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
    )
}

fn log_is_empty(path: &Path) -> bool {
    is_empty(&beside(path, "-wal"))
}

/// Whether the file is missing or has no bytes.
fn is_empty(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(meta) => meta.len() == 0,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Whether a log lies there without its database. SQLite would delete it and begin anew.
fn is_cut_off(path: &Path) -> bool {
    is_empty(path) && !log_is_empty(path)
}

/// Whether the database can be read through to its end; an error when that cannot be told.
fn is_sound(path: &Path) -> Result<bool> {
    if is_empty(path) {
        return Ok(true);
    }
    match connect_as(path, OpenFlags::SQLITE_OPEN_READ_WRITE) {
        Ok((connection, _)) => Ok(damage::findings(&connection).is_empty()),
        Err(error) if failure::is_damage(&error) => Ok(false),
        Err(error) => Err(failure::sql(path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use fleet_core::Kind;
    use tempfile::TempDir;

    use super::*;

    const OLD: &[&str] = &["CREATE TABLE notes (text TEXT NOT NULL) STRICT;"];
    const NEW: &[&str] = &[OLD[0], "ALTER TABLE notes ADD COLUMN at INTEGER NOT NULL DEFAULT 7;"];

    fn place() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("home").join("fleet.db");
        (dir, path)
    }

    fn open_steps(path: &Path, steps: &[&str]) -> Result<Store> {
        Store::open_with(path, steps, PATIENCE)
    }

    fn pragma(store: &Store, name: &str) -> String {
        let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        store
            .read(|connection| Ok(connection.query_row(&sql, [], |row| row.get(0))?))
            .expect("pragma")
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn corrupt_copies(path: &Path) -> Vec<PathBuf> {
        let folder = path.parent().expect("folder");
        let copies = names(folder).into_iter().filter(|name| name.contains(".corrupt-"));
        copies
            .filter(|name| name.ends_with('Z'))
            .map(|name| folder.join(name))
            .collect()
    }

    #[test]
    fn a_new_database_is_private_and_durable() {
        let (_dir, path) = place();
        let store = Store::open(&path).expect("open");
        store
            .publish_state("test", &path.with_file_name("state.json"))
            .expect("a first write");
        let inside = store.write_unsynced("test", |tx| {
            Ok(tx.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0))?)
        });
        assert_eq!(inside.expect("a write"), 1, "what need not be on the disk at once");
        let settings = ["journal_mode", "synchronous", "foreign_keys"].map(|name| pragma(&store, name));
        assert_eq!(settings, ["wal", "2", "1"]);
        for name in names(path.parent().expect("folder")) {
            let file = path.with_file_name(&name);
            let mode = fs::metadata(&file).expect("meta").permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        }
    }

    #[test]
    fn an_older_database_is_brought_up_to_date_and_a_copy_is_kept() {
        let (_dir, path) = place();
        let old = open_steps(&path, OLD).expect("old");
        old.write("test", |tx| Ok(tx.execute("INSERT INTO notes VALUES ('kept')", [])?))
            .expect("write");
        // Its log is not in the database yet: the copy has to have it all the same.
        drop(old);

        let new = open_steps(&path, NEW).expect("new");
        let row = |connection: &Connection| -> Attempt<(String, i64)> {
            Ok(connection.query_row("SELECT text, at FROM notes", [], |row| Ok((row.get(0)?, row.get(1)?)))?)
        };
        assert_eq!(new.read(row).expect("row"), ("kept".to_owned(), 7));

        let backup = path.with_file_name("fleet.db.v1.bak");
        assert_eq!(
            fs::metadata(&backup).expect("backup").permissions().mode() & 0o777,
            0o600
        );
        let copy = open_steps(&backup, OLD).expect("the copy is a database of the old schema");
        let text = |connection: &Connection| -> Attempt<String> {
            Ok(connection.query_row("SELECT text FROM notes", [], |row| row.get(0))?)
        };
        assert_eq!(copy.read(text).expect("row"), "kept");
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let (_dir, path) = place();
        drop(open_steps(&path, OLD).expect("old"));
        let broken = [OLD[0], "CREATE TABLE half (x INTEGER) STRICT; SELECT nonsense;"];
        open_steps(&path, &broken).expect_err("a broken migration");
        let store = open_steps(&path, OLD).expect("still the old schema");
        let tables = |connection: &Connection| -> Attempt<i64> {
            Ok(
                connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'half'", [], |row| {
                    row.get(0)
                })?,
            )
        };
        assert_eq!(store.read(tables).expect("count"), 0);
    }

    #[test]
    fn a_newer_database_is_refused_and_left_alone() {
        let (_dir, path) = place();
        drop(open_steps(&path, NEW).expect("new"));
        let before = fs::read(&path).expect("bytes");
        let error = open_steps(&path, OLD).expect_err("newer");
        assert_eq!(error.kind, Kind::Config);
        assert!(
            error
                .message
                .ends_with("was written by a newer fleet (schema 2, this is 1)"),
            "{error}"
        );
        assert!(error.hint.is_some());
        assert_eq!(fs::read(&path).expect("bytes"), before);
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        let (dir, _) = place();
        let path = dir.path().join("other.db");
        Connection::open(&path)
            .expect("open")
            .execute_batch("CREATE TABLE t (x)")
            .expect("table");
        assert_eq!(Store::open(&path).expect_err("a stranger").kind, Kind::Config);
    }

    #[test]
    fn a_file_that_is_no_database_is_kept_and_told() {
        let (_dir, path) = place();
        drop(Store::open(&path).expect("open"));
        let rubbish = vec![b'x'; 8192];
        fs::write(&path, &rubbish).expect("spoil");
        for _ in 0..2 {
            let error = Store::open(&path).expect_err("damaged");
            assert_eq!(error.kind, Kind::Unavailable);
            assert!(error.message.contains("damaged; a copy is kept as"), "{error}");
            assert!(error.hint.expect("hint").contains("fleet list --repair"));
        }
        let copies = corrupt_copies(&path);
        assert_eq!(copies.len(), 1, "one damage is kept once: {copies:?}");
        assert_eq!(fs::read(&copies[0]).expect("copy"), rubbish);
        assert_eq!(fs::read(&path).expect("original"), rubbish);
    }

    #[test]
    fn damage_inside_is_met_by_a_read_and_repaired_by_starting_over() {
        let (_dir, path) = place();
        drop(Store::open(&path).expect("open"));
        for part in ["-wal", "-shm"] {
            let _ = fs::remove_file(beside(&path, part));
        }
        const PAGE: usize = 4096;
        let sql = "SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'agents'";
        let pages: Vec<usize> = {
            let connection = Connection::open(&path).expect("a database");
            let mut statement = connection.prepare(sql).expect("a question");
            let rows = statement.query_map([], |row| row.get::<_, i64>(0)).expect("rows");
            rows.map(|page| usize::try_from(page.expect("a page")).expect("a number"))
                .collect()
        };
        let mut bytes = fs::read(&path).expect("bytes");
        for page in pages.into_iter().filter(|page| *page > 0) {
            bytes[(page - 1) * PAGE..page * PAGE].fill(0xAA);
        }
        fs::write(&path, &bytes).expect("spoil");

        let store = Store::open(&path).expect("the pages of the schema are sound");
        let error = store.agents_live().expect_err("damaged");
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.message.contains("damaged"), "{error}");
        assert!(error.detail.is_some());
        store.check().expect_err("damaged");
        drop(store);

        let (store, kept) = Store::start_over("test", &path).expect("start over");
        assert_eq!(fs::read(kept.expect("kept")).expect("copy"), bytes);
        assert_eq!(store.agents_live().expect("empty"), []);
        store.check().expect("sound");
        drop(store);
        assert_eq!(Store::start_over("test", &path).expect("sound").1, None);
    }

    #[test]
    fn a_log_without_its_database_is_kept_and_told() {
        let (_dir, path) = place();
        let store = open_steps(&path, OLD).expect("open");
        store
            .write("test", |tx| Ok(tx.execute("INSERT INTO notes VALUES ('kept')", [])?))
            .expect("write");
        drop(store);
        let log = fs::read(beside(&path, "-wal")).expect("log");
        fs::remove_file(&path).expect("remove");
        let error = open_steps(&path, OLD).expect_err("cut off");
        assert!(error.message.contains("is damaged; a copy is kept"), "{error}");
        let (_store, kept) = Store::start_over("test", &path).expect("start over");
        assert_eq!(fs::read(beside(&kept.expect("kept"), "-wal")).expect("copy"), log);
    }

    #[test]
    fn a_writer_does_not_wait_for_ever() {
        let (_dir, path) = place();
        let store = Store::open(&path).expect("open");
        let stuck = store.turn().expect("turn");
        let hasty = Store::open_with(&path, migrate::STEPS, Duration::from_millis(20)).expect("open");
        let error = hasty
            .publish_state("test", &path.with_file_name("state.json"))
            .expect_err("locked");
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.message.starts_with("the database is locked"), "{error}");
        assert_eq!(hasty.agents_live().expect("reading goes on"), []);
        drop(stuck);
    }

    #[test]
    fn a_full_disk_is_told_as_such() {
        let (_dir, path) = place();
        let store = Store::open(&path).expect("open");
        let fill = |tx: &Transaction<'_>| -> Attempt<()> {
            let pages: i64 = tx.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
            Ok(tx.execute_batch("CREATE TABLE more (x); CREATE TABLE still_more (x);")?)
        };
        let error = store.write("test", fill).expect_err("full");
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.message.starts_with("the disk is full"), "{error}");
    }

    #[test]
    fn a_database_that_nobody_may_change_is_readable() {
        let (_dir, path) = place();
        drop(Store::open(&path).expect("open"));
        let (connection, version) = connect_immutable(&path).expect("immutable");
        assert_eq!(version, migrate::STEPS.len());
        let connection = Mutex::new(connection);
        let store = Store {
            path: path.clone(),
            connection,
            read_only: true,
            patience: PATIENCE,
        };
        assert_eq!(store.agents_live().expect("read"), []);
        let error = store
            .publish_state("test", &path.with_file_name("state.json"))
            .expect_err("read-only");
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.hint.is_some());
    }

    #[test]
    fn the_log_stays_short_when_each_process_writes_once() {
        let (_dir, path) = place();
        drop(open_steps(&path, OLD).expect("open"));
        let text = "x".repeat(20_000);
        for _ in 0..60 {
            let store = open_steps(&path, OLD).expect("open");
            store
                .write("test", |tx| Ok(tx.execute("INSERT INTO notes VALUES (?1)", [&text])?))
                .expect("write");
        }
        let log = fs::metadata(beside(&path, "-wal")).expect("log").len();
        assert!(log <= LONG_LOG, "{log} bytes");
    }

    #[test]
    fn a_reader_in_the_way_of_the_log_delays_no_writer() {
        let (_dir, path) = place();
        let (reader, writer) = (
            open_steps(&path, OLD).expect("open"),
            open_steps(&path, OLD).expect("open"),
        );
        let text = "x".repeat(2 * LONG_LOG as usize);
        let insert =
            |tx: &Transaction<'_>| -> Attempt<usize> { Ok(tx.execute("INSERT INTO notes VALUES (?1)", [&text])?) };
        let count = "SELECT count(*) FROM notes";
        let seen = reader.read(|connection| {
            let snapshot = connection.unchecked_transaction()?;
            let before: i64 = snapshot.query_row(count, [], |row| row.get(0))?;
            let start = std::time::Instant::now();
            writer.write("test", insert)?;
            assert!(start.elapsed() < BUSY);
            let after: i64 = snapshot.query_row(count, [], |row| row.get(0))?;
            Ok((before, after))
        });
        assert_eq!(seen.expect("read"), (0, 0), "a reader keeps what it began with");
        writer.write("test", insert).expect("write");
        assert_eq!(fs::metadata(beside(&path, "-wal")).expect("log").len(), 0);
    }

    #[test]
    fn reading_goes_on_while_another_writes() {
        let (_dir, path) = place();
        let (reader, writer) = (Store::open(&path).expect("open"), Store::open(&path).expect("open"));
        let during = writer.write("test", |tx| {
            tx.execute("UPDATE agents SET pid = 1", [])?;
            Ok(reader.agents_live()?)
        });
        assert_eq!(during.expect("write"), []);
    }

    #[test]
    fn what_failed_halfway_is_undone() {
        let (_dir, path) = place();
        let store = open_steps(&path, OLD).expect("open");
        let refuse = |tx: &Transaction<'_>| -> Attempt<()> {
            tx.execute("INSERT INTO notes VALUES ('half')", [])?;
            Err(fleet_core::Error::refused("no").into())
        };
        assert_eq!(store.write("test", refuse).expect_err("refused").kind, Kind::Refused);
        let count = |connection: &Connection| -> Attempt<i64> {
            Ok(connection.query_row("SELECT count(*) FROM notes", [], |row| row.get(0))?)
        };
        assert_eq!(store.read(count).expect("count"), 0);
    }
}
