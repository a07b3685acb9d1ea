//! A damaged database: it is kept as it is, named, and never replaced in silence.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use fleet_core::{Error, Time, fault};
use rusqlite::Connection;

/// The database and the files that belong to it. The shared memory is rebuilt from the log, but it is evidence too.
const PARTS: [&str; 3] = ["-wal", "-shm", ""];

/// The error that tells of a damaged database, after a copy of it was put aside.
pub(crate) fn report(path: &Path, connection: Option<&Connection>) -> Error {
    let found = connection.map(findings).unwrap_or_default().join("\n");
    let name = path.display();
    let told = match keep(path) {
        Ok(copy) => Error::unavailable(format!(
            "the database {name} is damaged; a copy is kept as {}",
            copy.display()
        )),
        Err(error) => Error::unavailable(format!(
            "the database {name} is damaged, and no copy could be made: {error}"
        )),
    };
    told.hint("run `fleet list --repair`: it keeps the damaged file and rebuilds the records from the journals")
        .detail(found)
}

/// What SQLite finds wrong in the database, at most a few lines; nothing when it is sound.
pub(crate) fn findings(connection: &Connection) -> Vec<String> {
    let check = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare("PRAGMA quick_check(5)")?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    match check() {
        Ok(lines) if lines == ["ok"] => Vec::new(),
        Ok(lines) => lines,
        Err(error) => vec![error.to_string()],
    }
}

/// Copies the database and its log to `<database>.corrupt-<stamp>` and tells where.
///
/// The stamp is the time of the last change, so that one damage is kept once however often it is met.
pub(crate) fn keep(path: &Path) -> io::Result<PathBuf> {
    let copy = beside(path, &format!(".corrupt-{}", stamp(path)));
    if copy.exists() {
        return Ok(copy);
    }
    // The database itself comes last: where its copy is, the copy is complete.
    fault::guard("store.keep-damaged", || {
        PARTS.iter().try_for_each(|part| copy_part(path, &copy, part))
    })?;
    Ok(copy)
}

/// Removes the database and its log. The database goes last: until then the damage is still met and told.
pub(crate) fn remove(site: &'static str, path: &Path) -> io::Result<()> {
    let remove_part = |part: &&str| match fs::remove_file(beside(path, part)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    fault::guard(site, || PARTS.iter().try_for_each(remove_part))
}

/// `path` with `ending` after its name.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn copy_part(path: &Path, copy: &Path, part: &str) -> io::Result<()> {
    let mut source = match fs::File::open(beside(path, part)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let target = beside(copy, part);
    let draft = beside(&target, &format!(".{}.new", std::process::id()));
    let mut write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        io::copy(&mut source, &mut file)?;
        file.sync_all()?;
        fs::rename(&draft, &target)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&draft);
    })
}

/// When the database or its log last changed, `20261121T015913Z`.
fn stamp(path: &Path) -> String {
    let changed = |part: &str| fs::metadata(beside(path, part)).and_then(|meta| meta.modified()).ok();
    let last = changed("").max(changed("-wal"));
    let since = last
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    let time = Time(i64::try_from(since.as_millis()).unwrap_or(0));
    time.to_string().replace(['-', ':'], "")
}
