//! The journal of one agent: a file of one JSON object a line, see [`fleet_core::fact`].

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use fleet_core::agent::Standing;
use fleet_core::fact::{Entry, Fact, Source, VERSION};
use fleet_core::{Error, Kind, Result, Time, fault};

/// Name of the journal in the agent's folder.
pub const FILE: &str = "journal";

/// The supervisor's writing end, with the standing that follows from all that was written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    length: u64,
    standing: Standing,
}

impl Journal {
    /// Opens the journal in `folder` to go on where it ends. A line that a crash cut short is completed by a
    /// line break, so that it is skipped and nothing is appended to it.
    pub fn open(folder: &Path) -> Result<Journal> {
        let path = folder.join(FILE);
        let entries = read(folder)?;
        let mut open = OpenOptions::new();
        let mut file = open
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| crate::files::io_error("open", &path, &error))?;
        let ends_open = std::fs::read(&path).is_ok_and(|bytes| bytes.last().is_some_and(|last| *last != b'\n'));
        if ends_open {
            file.write_all(b"\n")
                .map_err(|error| crate::files::io_error("write", &path, &error))?;
        }
        let length = file
            .metadata()
            .map_err(|error| crate::files::io_error("read", &path, &error))?
            .len();
        Ok(Journal {
            file,
            length,
            standing: Standing::fold(&entries),
        })
    }

    /// What follows from all facts so far.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Ends a prompt whose supervisor was killed before it saw what became of it, as unverified, and says whether there
    /// was one. For whoever holds the agent's lock after that supervisor.
    pub fn end_unseen(&mut self, at: Time) -> std::io::Result<bool> {
        let Some(id) = self.standing.unseen().map(str::to_owned) else {
            return Ok(false);
        };
        let why = "its supervisor was killed before a receipt was seen".to_owned();
        self.append(Source::Supervisor, Fact::PromptUnverified { id, why }, at, false)
            .map(|_| true)
    }

    /// Appends one fact in one write and gives the line's entry.
    ///
    /// With `durable` it is on disk when this returns: used for what the caller is promised to outlive a power
    /// failure (a queued prompt). Everything outlives a crash of the process either way.
    ///
    /// Error: nothing of the line is in the file. What was only observed holds all the same; that a prompt is queued
    /// or typed does not, because a successor could not know.
    pub fn append(&mut self, src: Source, fact: Fact, at: Time, durable: bool) -> std::io::Result<Entry> {
        let seq = self.standing.seq + 1;
        let promise = matches!(fact, Fact::PromptQueued { .. } | Fact::PromptTyped { .. });
        let before = promise.then(|| self.standing.clone());
        self.standing.apply(seq, &fact);
        let state = self.standing.state(true).0.to_string();
        let entry = Entry {
            v: VERSION,
            seq,
            at,
            src,
            fact,
            state,
        };
        let mut line = serde_json::to_vec(&entry).map_err(std::io::Error::other)?;
        line.push(b'\n');
        let written = fault::guard("supervisor.journal", || {
            self.file.write_all(&line)?;
            if durable { self.file.sync_data() } else { Ok(()) }
        });
        if let Err(error) = written {
            // A full disk cuts a line anywhere, and the next one would be lost with it.
            let _ = self.file.set_len(self.length);
            if let Some(before) = before {
                self.standing = before;
            }
            return Err(error);
        }
        self.length += line.len() as u64;
        Ok(entry)
    }
}

/// All entries of the journal in `folder`, in order; none if there is no journal.
///
/// Lines that are no entries (cut short by a crash) are skipped. A newer format is refused.
pub fn read(folder: &Path) -> Result<Vec<Entry>> {
    let path = folder.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(crate::files::io_error("read", &path, &error)),
    };
    parse(&bytes).map_err(|error| error.context(path.display().to_string()))
}

/// What a listing needs of the journal in `folder`: its last entry, and what the program told of itself and nothing
/// else, that is its conversation, what it used, and how it ended. One read, and of a long journal few lines are parsed.
pub fn glance(folder: &Path) -> (Option<Entry>, Standing) {
    const TELLS: [&str; 4] = [
        r#""fact":"launched""#,
        r#""fact":"conversation""#,
        r#""fact":"used""#,
        r#""fact":"ended""#,
    ];
    let bytes = std::fs::read(folder.join(FILE)).unwrap_or_default();
    let lines = || bytes.split(|byte| *byte == b'\n');
    let last = lines().rev().find_map(|line| serde_json::from_slice(line).ok());
    let mut standing = Standing::default();
    let tells = |line: &str| TELLS.iter().any(|fact| line.contains(fact));
    for line in lines().flat_map(std::str::from_utf8).filter(|line| tells(line)) {
        if let Ok(Entry { seq, fact, .. }) = serde_json::from_str(line) {
            standing.apply(seq, &fact);
        }
    }
    (last, standing)
}

/// The process id of the supervisor that was launched last.
pub fn supervisor(folder: &Path) -> Option<u32> {
    read(folder).ok()?.iter().rev().find_map(|entry| match &entry.fact {
        Fact::Launched { supervisor, .. } => Some(*supervisor),
        _ => None,
    })
}

fn parse(bytes: &[u8]) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Entry>(line) {
            Ok(entry) if entry.v > VERSION => return Err(newer(entry.v)),
            Ok(entry) => entries.push(entry),
            Err(_) => match serde_json::from_slice::<serde_json::Value>(line)
                .ok()
                .and_then(|line| line["v"].as_u64())
            {
                Some(version) if version > u64::from(VERSION) => return Err(newer(version as u32)),
                _ => {}
            },
        }
    }
    Ok(entries)
}

fn newer(version: u32) -> Error {
    Error::new(
        Kind::Config,
        format!("the journal has format {version}; this fleet reads up to {VERSION}"),
    )
    .hint("update fleet, or read the agent with the fleet that started it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(journal: &mut Journal, fact: Fact) -> u64 {
        journal
            .append(Source::Process, fact, Time(0), false)
            .expect("appended")
            .seq
    }

    #[test]
    fn a_journal_goes_on_after_a_cut_line() {
        let dir = tempfile::tempdir().expect("dir");
        let mut journal = Journal::open(dir.path()).expect("opened");
        append(&mut journal, Fact::Started { pid: 1, start: 2 });
        drop(journal);
        let path = dir.path().join(FILE);
        let mut bytes = std::fs::read(&path).expect("read");
        bytes.extend_from_slice(b"{\"v\":1,\"seq\":2,\"at\":\"20");
        std::fs::write(&path, bytes).expect("written");

        let mut journal = Journal::open(dir.path()).expect("opened");
        assert_eq!(append(&mut journal, Fact::Exited { code: 0 }), 2);
        let entries = read(dir.path()).expect("read");
        assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(glance(dir.path()).0.expect("last").state, "exited(0)");
    }

    #[test]
    fn the_last_entry_is_found_behind_a_long_one() {
        let dir = tempfile::tempdir().expect("dir");
        let mut journal = Journal::open(dir.path()).expect("opened");
        append(
            &mut journal,
            Fact::PromptQueued {
                id: "p".into(),
                text: "x".repeat(300_000),
            },
        );
        assert_eq!(glance(dir.path()).0.expect("last").seq, 1);
    }

    #[test]
    fn a_newer_journal_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::write(dir.path().join(FILE), "{\"v\":2,\"shape\":\"other\"}\n").expect("written");
        assert_eq!(read(dir.path()).expect_err("refused").kind, Kind::Config);
    }
}
