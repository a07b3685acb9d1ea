//! What SQLite and the file system say, in words a user can act on.

use std::io::{self, ErrorKind};
use std::path::Path;

use fleet_core::{Error, Kind};
use rusqlite::{Connection, ErrorCode, ffi};

use crate::damage;

/// Inside a transaction: an error of SQLite, or a refusal that is already in our words.
pub(crate) enum Failure {
    /// What SQLite said.
    Sql(rusqlite::Error),
    /// What we say.
    Said(Error),
}

/// The result inside a transaction.
pub(crate) type Attempt<T> = Result<T, Failure>;

impl Failure {
    /// The error to show; `connection` is the one that failed, on the database at `path`.
    pub(crate) fn explain(self, path: &Path, connection: &Connection) -> Error {
        match self {
            Failure::Said(error) => error,
            Failure::Sql(error) if is_damage(&error) => damage::report(path, Some(connection)),
            Failure::Sql(error) => sql(path, &error),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Said(error)
    }
}

/// Whether the database itself is broken.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// The one table from SQLite's errors to ours; damage is told by [`damage::report`].
pub(crate) fn sql(path: &Path, error: &rusqlite::Error) -> Error {
    let name = path.display();
    let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
    let told = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => disk_full(path),
        // SQLite reports a shared-memory file that cannot grow as an I/O error; it is the disk that is full.
        Some(ErrorCode::SystemIoFailure) if extended == ffi::SQLITE_IOERR_SHMSIZE => disk_full(path),
        Some(ErrorCode::ReadOnly) => read_only(path),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::unavailable(format!("the database {name} is locked by another program"))
                .hint("end the program that has it open, such as a `sqlite3` shell, then run this again")
        }
        Some(ErrorCode::FileLockingProtocolFailed) => {
            Error::unavailable(format!("the file system of {name} does not lock files properly"))
                .hint("keep FLEET_HOME on a local file system, such as `FLEET_HOME=/var/tmp/fleet`")
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            Error::unavailable(format!("cannot open the database {name}"))
                .hint("make it and its folder readable and writable for you, or set FLEET_HOME to a folder of yours")
        }
        Some(ErrorCode::SystemIoFailure) => Error::unavailable(format!("cannot read or write the database {name}"))
            .hint("check the disk and the file system of FLEET_HOME, then run this again"),
        Some(ErrorCode::ConstraintViolation) => {
            Error::conflict("a name, directory or port of this record is held by another agent")
                .hint("run `fleet list` to see who holds it")
        }
        _ => Error::internal(format!("the database {name} refused a statement")),
    };
    told.detail(error.to_string())
}

/// The error of a file operation, such as `cannot open /x: permission denied`.
pub(crate) fn io(act: &str, path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => disk_full(path),
        ErrorKind::ReadOnlyFilesystem => read_only(path),
        kind => {
            let told = Error::new(Kind::Unavailable, format!("cannot {act} {}: {kind}", path.display()));
            match kind {
                ErrorKind::PermissionDenied => {
                    told.hint("make it writable for you, or set FLEET_HOME to a folder of yours")
                }
                _ => told.hint("check that FLEET_HOME is a folder on a local disk, then run this again"),
            }
        }
    }
}

/// Nothing can be written there.
pub(crate) fn read_only(path: &Path) -> Error {
    Error::unavailable(format!(
        "{} is on a read-only file system or not writable for you",
        path.display()
    ))
    .hint("make it writable, or set FLEET_HOME to a folder that is")
}

fn disk_full(path: &Path) -> Error {
    Error::unavailable(format!("the disk is full: cannot write {}", path.display()))
        .hint("free some space (`fleet clean` shows what fleet holds), then run this again")
}
