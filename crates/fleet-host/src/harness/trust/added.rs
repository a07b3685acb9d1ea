//! Keys that fleet adds to a user's own file, where a program keeps an answer nowhere else, and removes again.
//!
//! `trust/added.json` in the home remembers which keys are fleet's and for which agents. A key that was there before
//! is the user's: it is never recorded, and so never removed. An answer that the user gave with No stays No.
//!
//! In which order, and why: when keys are added the record is written first, when they are removed the file is. A
//! crash between the two leaves a record of a key that is not there, which removes nothing.
//!
//! Claude Code itself writes its file at any time: under a lock of its own, which is taken here as well, and, when it
//! does not get that, without. So the file is read again before it is replaced and after, until it says what it should.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleet_core::id::AgentId;
use fleet_core::{Error, Result, fault};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json_text::{self, Unfit};
use crate::files;
use crate::home::Home;
use crate::lock::Lock;
use crate::supervise::client;

/// An answer that is wanted in a user's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    key: Key,
    /// For [`Key::Approved`]: what the file is to hold.
    item: String,
}

/// A key that fleet has added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// The user's file.
    pub file: PathBuf,
    /// What it says.
    pub key: Key,
    /// How many steps of the way to it were there before; when all were, it was there with a No by default.
    kept: usize,
    /// Whether the file was not there before.
    made: bool,
    /// The agents that need it.
    pub agents: BTreeSet<AgentId>,
}

/// What a key says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// This folder is trusted.
    Trusted(String),
    /// The key of the program's interface with this digest may be used.
    Approved(String),
    /// The questions of the very first start need no answer.
    Onboarded,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    v: u32,
    added: Vec<Added>,
}

const VERSION: u32 = 1;

/// What a file says that is not there, and one in which nothing is left.
const EMPTY: &str = "{}";

/// How often the file may change under us before we leave it.
const ROUNDS: usize = 8;

impl Answer {
    /// `folder` is trusted.
    pub(super) fn trusts(folder: &str) -> Answer {
        Answer {
            key: Key::Trusted(folder.to_owned()),
            item: String::new(),
        }
    }

    /// Nothing is to be asked at the very first start.
    pub(super) fn is_onboarded() -> Answer {
        Answer {
            key: Key::Onboarded,
            item: String::new(),
        }
    }

    /// The interface's key `secret` may be used. The program keeps its last 20 characters, we a digest of these.
    pub(super) fn uses_key(secret: &str) -> Answer {
        let skipped = secret.chars().count().saturating_sub(20);
        let item: String = secret.chars().skip(skipped).collect();
        Answer {
            key: Key::Approved(files::digest(item.as_bytes())),
            item,
        }
    }
}

impl Key {
    /// What it says, in words.
    pub fn words(&self) -> String {
        match self {
            Key::Trusted(folder) => format!("trust for {folder}"),
            Key::Approved(_) => "approval of the API key".to_owned(),
            Key::Onboarded => "no questions at the first start".to_owned(),
        }
    }

    fn path(&self) -> Vec<&str> {
        match self {
            Key::Trusted(folder) => vec!["projects", folder, "hasTrustDialogAccepted"],
            Key::Approved(_) => vec!["customApiKeyResponses", "approved"],
            Key::Onboarded => vec!["hasCompletedOnboarding"],
        }
    }
}

/// What a removal did.
#[derive(Debug, Default)]
pub struct Removed {
    /// Keys that no agent needs any more; they are in no file now.
    pub keys: Vec<Added>,
    /// Why others are still there.
    pub failed: Vec<Error>,
}

/// Adds what is missing in `file` of the answers that agents want. One that is not there is made only when the answers
/// are all that a first start asks; otherwise its program asks for a login first.
///
/// Errors: the file is not what it should be, is another user's, or changes all the time. It is as it was then.
pub fn add(home: &Home, file: &Path, wanted: &[(AgentId, Vec<Answer>)]) -> Result<()> {
    let mut answers = wanted.iter().flat_map(|(_, answers)| answers);
    // A link that leads nowhere is the user's, and no place for a file.
    let wants_file = |answer: &Answer| answer.key == Key::Onboarded && !file.is_symlink();
    if !answers.any(|answer| file.exists() || wants_file(answer)) {
        return Ok(());
    }
    files::create_private_dir("trust.folder", &home.trust())?;
    let _turn = take_turn(home)?;
    let before = read_record(home)?;
    let first = !before.added.iter().any(|each| each.file == file);
    let mut record = before.clone();
    let mut written = before.clone();
    let user = UserFile::open(file)?;
    let mut replaced = false;
    let added = user.change(|text| {
        let mut new = text.to_owned();
        for (agent, answers) in wanted {
            for answer in answers {
                new = with(&new, &mut record, file, agent, answer).map_err(|why| user.unfit(&why))?;
            }
        }
        if record != written {
            if first && !replaced && file.exists() {
                files::write_atomic("trust.backup", &home.trust_backup(file), text.as_bytes(), 0o600)?;
            }
            write_record(home, &record)?;
            written.clone_from(&record);
        }
        replaced |= new != text;
        Ok(new)
    });
    if added.is_err() && !replaced && written != before {
        write_record(home, &before)?;
    }
    added
}

/// Removes the keys that only agents need of which `gone` is true, and tries again those that an earlier removal left.
///
/// Errors: the record cannot be read or written.
pub fn remove(home: &Home, gone: impl Fn(&AgentId) -> bool) -> Result<Removed> {
    let mut removed = Removed::default();
    let due = |each: &Added| each.agents.is_empty() || each.agents.iter().any(&gone);
    if !read_record(home)?.added.iter().any(due) {
        return Ok(removed);
    }
    let _turn = take_turn(home)?;
    let mut record = read_record(home)?;
    for each in &mut record.added {
        each.agents.retain(|agent| !gone(agent));
    }
    let (due, mut kept): (Vec<Added>, Vec<Added>) = record.added.into_iter().partition(|each| each.agents.is_empty());
    for file in due.iter().map(|each| &each.file).collect::<BTreeSet<_>>() {
        let here: Vec<Added> = due.iter().filter(|each| each.file == *file).cloned().collect();
        match take_out(file, &here) {
            Ok(()) => {
                pass_on(&here, &mut kept);
                removed.keys.extend(here);
            }
            Err(error) => {
                removed.failed.push(error);
                kept.extend(here);
            }
        }
        if !kept.iter().any(|each| each.file == *file) {
            files::remove_file("trust.backup-gone", &home.trust_backup(file))?;
        }
    }
    write_record(home, &Record { added: kept, ..record })?;
    Ok(removed)
}

/// The keys of fleet's that are in users' files now.
pub fn list(home: &Home) -> Result<Vec<Added>> {
    Ok(read_record(home)?.added)
}

fn take_turn(home: &Home) -> Result<Lock> {
    Lock::take(&home.locks().join("trust"))
}

/// `text` with `answer` for `agent`, and `record` with what was added.
fn with(text: &str, record: &mut Record, file: &Path, agent: &AgentId, answer: &Answer) -> Result<String, Unfit> {
    let value = json_text::parse(text)?;
    let known = record
        .added
        .iter_mut()
        .find(|each| each.file == file && each.key == answer.key);
    let path = answer.key.path();
    let set = match &answer.key {
        Key::Trusted(_) | Key::Onboarded => match at(&value, &path) {
            Some(Value::Bool(true)) => None,
            None | Some(Value::Bool(false)) => Some(json_text::set(text, &path, &true.into())?),
            Some(other) => return Err(format!("has `{other}` for {}", answer.key.words())),
        },
        // Two ways to pay are the user's to choose between, and so is what they have said.
        Key::Approved(_) if known.is_none() && (is_logged_in(&value) || is_rejected(&value, &answer.item)) => {
            return Ok(text.to_owned());
        }
        Key::Approved(_) if holds(at(&value, &path), &answer.item) => None,
        Key::Approved(_) => Some(json_text::push(text, &path, &answer.item.as_str().into())?),
    };
    match (known, set) {
        (Some(known), set) => {
            known.agents.insert(agent.clone());
            let Some((text, kept)) = set else {
                return Ok(text.to_owned());
            };
            known.kept = kept;
            Ok(text)
        }
        (None, Some((text, kept))) => {
            record.added.push(Added {
                file: file.to_owned(),
                key: answer.key.clone(),
                kept,
                made: !file.exists(),
                agents: BTreeSet::from([agent.clone()]),
            });
            Ok(text)
        }
        // The user's own.
        (None, None) => Ok(text.to_owned()),
    }
}

/// `text` without what was added.
fn without(text: &str, added: &Added) -> Result<String, Unfit> {
    let value = json_text::parse(text)?;
    let path = added.key.path();
    match &added.key {
        Key::Approved(digest) => {
            let is_it = |item: &Value| {
                item.as_str()
                    .is_some_and(|item| files::digest(item.as_bytes()) == *digest)
            };
            json_text::pull(text, &path, is_it, added.kept)
        }
        // Somebody has taken it away, or says No now.
        _ if at(&value, &path) != Some(&Value::Bool(true)) => Ok(text.to_owned()),
        _ if added.kept == path.len() => Ok(json_text::set(text, &path, &false.into())?.0),
        _ => json_text::unset(text, &path, added.kept),
    }
}

/// Removes the keys `added` from `file`, and the file itself when fleet has made it and nothing else is in it.
fn take_out(file: &Path, added: &[Added]) -> Result<()> {
    if !file.exists() {
        return Ok(());
    }
    let mut inmost_first: Vec<&Added> = added.iter().collect();
    // What was made for one key may hold others.
    inmost_first.sort_by_key(|each| Reverse(each.kept));
    let user = UserFile::open(file)?;
    user.change(|text| {
        let all = inmost_first.iter();
        all.clone()
            .try_fold(text.to_owned(), |text, each| without(&text, each))
            .map_err(|why| user.unfit(&why))
    })?;
    let made = added.iter().any(|each| each.made);
    match made && user.read()? == EMPTY {
        true => files::remove_file("trust.user-file-gone", &user.real),
        false => Ok(()),
    }
}

/// Lets the keys that stay know what was made for those that went: the last one to go takes it along.
fn pass_on(gone: &[Added], kept: &mut [Added]) {
    for gone in gone {
        let way = gone.key.path();
        for each in kept.iter_mut().filter(|each| each.file == gone.file) {
            each.made |= gone.made;
            let path = each.key.path();
            let shared = path.iter().zip(&way).take_while(|(one, other)| one == other).count();
            if gone.kept < each.kept && each.kept <= shared {
                each.kept = gone.kept;
            }
        }
    }
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |place, key| place.get(*key))
}

fn holds(list: Option<&Value>, item: &str) -> bool {
    let list = list.and_then(Value::as_array);
    list.is_some_and(|list| list.iter().any(|each| each == item))
}

fn is_rejected(value: &Value, item: &str) -> bool {
    holds(at(value, &["customApiKeyResponses", "rejected"]), item)
}

fn is_logged_in(value: &Value) -> bool {
    let has = |key: &str| value.get(key).is_some_and(|value| !value.is_null());
    has("oauthAccount") || has("primaryApiKey")
}

fn read_record(home: &Home) -> Result<Record> {
    let path = home.trust_record();
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Record {
                v: VERSION,
                added: Vec::new(),
            });
        }
        Err(error) => return Err(files::io_error("read", &path, &error)),
    };
    let read: std::result::Result<Record, _> = serde_json::from_slice(&bytes);
    match read {
        Ok(record) if record.v == VERSION => Ok(record),
        Ok(record) => Err(Error::unavailable(format!(
            "{} has version {}; this fleet knows {VERSION}",
            path.display(),
            record.v
        ))
        .hint("run the newer fleet that wrote it")),
        Err(error) => Err(Error::unavailable(format!("cannot read {}: {error}", path.display()))),
    }
}

fn write_record(home: &Home, record: &Record) -> Result<()> {
    let path = home.trust_record();
    if record.added.is_empty() {
        return files::remove_file("trust.record-gone", &path);
    }
    let text = serde_json::to_vec_pretty(record).map_err(|error| Error::internal(error.to_string()))?;
    files::write_atomic("trust.record", &path, &text, 0o600)
}

/// A file of the user's that is about to be changed, while its program waits.
struct UserFile {
    shown: PathBuf,
    real: PathBuf,
    _theirs: TheirLock,
}

impl UserFile {
    fn open(file: &Path) -> Result<UserFile> {
        let io_error = |error| files::io_error("read", file, &error);
        let me = nix::unistd::geteuid().as_raw();
        let (real, owner) = match file.exists() {
            true => {
                let real = file.canonicalize().map_err(io_error)?;
                let owner = fs::metadata(&real).map_err(io_error)?.uid();
                (real, owner)
            }
            false => (file.to_owned(), me),
        };
        if owner != me {
            let message = format!("{} belongs to user {owner}, and this is user {me}", file.display());
            return Err(
                Error::unavailable(message).hint("answer the program's question yourself, or run fleet as that user")
            );
        }
        Ok(UserFile {
            shown: file.to_owned(),
            real,
            _theirs: TheirLock::take(file)?,
        })
    }

    /// Replaces the text by what `change` makes of it, until it makes nothing else of what is there.
    fn change(&self, mut change: impl FnMut(&str) -> Result<String>) -> Result<()> {
        for _ in 0..ROUNDS {
            let text = self.read()?;
            let new = change(&text)?;
            if new == text {
                return Ok(());
            }
            if self.read()? == text {
                self.write(&new)?;
            }
        }
        Err(Error::unavailable(format!(
            "{} is changed by somebody else all the time",
            self.shown.display()
        )))
    }

    fn read(&self) -> Result<String> {
        let bytes = match fs::read(&self.real) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(EMPTY.to_owned()),
            read => read.map_err(|error| files::io_error("read", &self.shown, &error))?,
        };
        String::from_utf8(bytes).map_err(|_| self.unfit("is not UTF-8"))
    }

    fn write(&self, text: &str) -> Result<()> {
        const SITE: &str = "trust.user-file";
        match self.real.exists() {
            true => files::write_in_place_of(SITE, &self.real, text.as_bytes()),
            false => files::write_atomic(SITE, &self.real, text.as_bytes(), 0o600),
        }
    }

    fn unfit(&self, why: &str) -> Error {
        Error::unavailable(format!("{} {why}; it was left as it is", self.shown.display()))
    }
}

/// The lock of the program that owns a file: a folder beside it, which a crash leaves until it is too old.
struct TheirLock {
    folder: PathBuf,
    /// Lets another fleet know, for as long as this process lives, that the folder is held.
    _held: Option<Flock<File>>,
}

impl TheirLock {
    fn take(file: &Path) -> Result<TheirLock> {
        /// It is held for a few milliseconds at a time.
        const PATIENCE: Duration = Duration::from_secs(3);
        const AGAIN: Duration = Duration::from_millis(5);
        let mut path = file.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match fault::guard("trust.their-lock", || DirBuilder::new().mode(OURS).create(&path)) {
                Ok(()) => {
                    return Ok(TheirLock {
                        _held: hold(&path),
                        folder: path,
                    });
                }
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(files::io_error("lock", file, &error));
                }
                Err(_) if is_stale(&path) => let_go(&path),
                Err(_) if Instant::now() > deadline => {
                    return Err(
                        Error::unavailable(format!("{} is locked by its program", file.display()))
                            .hint(format!("when none runs, remove the lock: `rmdir {}`", path.display())),
                    );
                }
                // Nothing tells when a folder goes.
                Err(_) => client::wait_any(&[], Instant::now() + AGAIN)?,
            }
        }
    }
}

impl Drop for TheirLock {
    fn drop(&mut self) {
        let_go(&self.folder);
    }
}

fn let_go(lock: &Path) {
    let _ = fault::guard("trust.their-unlock", || fs::remove_dir(lock));
}

/// Takes the lock of flock(2) on a folder, unless somebody else has it.
fn hold(folder: &Path) -> Option<Flock<File>> {
    Flock::lock(File::open(folder).ok()?, FlockArg::LockExclusiveNonblock).ok()
}

/// The mode of a lock that fleet made. Its program cannot tell it from its own; we can, by the sticky bit.
const OURS: u32 = 0o1700;

/// Whether a lock is older than the program itself would wait for, or was left by a fleet that was killed.
fn is_stale(lock: &Path) -> bool {
    /// Another fleet, with another home, may have made it a moment ago and not hold it yet.
    const JUST_MADE: Duration = Duration::from_secs(1);
    const TOO_OLD: Duration = Duration::from_secs(10);
    let Ok(meta) = fs::metadata(lock) else { return false };
    let Some(age) = meta.modified().ok().and_then(|made| made.elapsed().ok()) else {
        return false;
    };
    match meta.mode() & 0o7777 == OURS {
        true => age > JUST_MADE && hold(lock).is_some(),
        false => age > TOO_OLD,
    }
}

#[cfg(test)]
mod tests;
