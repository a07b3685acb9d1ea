//! What a program has used, from the files that it writes itself: read on from where the last look ended, at the end of
//! each turn and of the program.
//!
//! A reply may be written several times, each time with as much as was known, so what it used is counted by the
//! difference. What was written before the agent began, or was counted by an earlier supervisor, is left out by its time.
//! A file is read in pieces, so that a long one keeps nobody waiting.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleet_core::Time;
use fleet_core::fact::{Entry, Fact, Used};
use fleet_core::spend;
use fleet_core::task::TaskId;
use fleet_core::usage::{Tokens, Usage};
use nix::fcntl::OFlag;

use super::reports::is_plain;
use super::spending::add;
use super::{Running, Supervisor};
use crate::harness::heard::{Note, Written};
use crate::harness::stream::Cli;
use crate::supervise::journal;
use crate::supervise::prompt::mark;
use crate::{harness, process, sys};

/// Programs write the last lines of a turn a moment after they tell of its end.
const LATER: Duration = Duration::from_millis(500);
/// This much is read at a time.
const PIECE: u64 = 4 * 1024 * 1024;
/// A line longer than this tells nothing of what was used: it holds an image or a file.
const LONGEST_LINE: u64 = 1024 * 1024;
/// So many replies are remembered for what of them was counted. A reply's lines are close together.
const REPLIES: usize = 32;
/// So many files are followed: one of each sub-agent. The longest known go first.
const FILES: usize = 64;

/// The files that are followed.
#[derive(Debug, Default)]
pub(super) struct Transcripts {
    files: VecDeque<Transcript>,
    /// When they are to be read.
    pub(super) due: Option<Instant>,
    /// Whether they are to be read once more then.
    again: bool,
    /// What is older is not counted. Known at the first look.
    since: Option<Time>,
}

#[derive(Debug)]
pub(super) struct Transcript {
    harness: String,
    path: PathBuf,
    /// Bytes that were read, to the end of a line.
    offset: u64,
    model: Option<String>,
    /// The sub-agent whose it is, and the task that its prompt names.
    sub_agent: Option<(String, Option<TaskId>)>,
    /// What was counted of the replies read last.
    replies: VecDeque<(String, Tokens)>,
}

/// What a line tells, once it is known to be new.
pub(super) enum Told {
    /// What a reply used, when it was written, and the sub-agent whose it is, with the task that its prompt names.
    Used(Usage, Option<Time>, Option<(String, Option<TaskId>)>),
    /// A sub-agent was sent out: what it is called, its task, its first words.
    SentOut(String, Option<TaskId>, String),
    Conversation(String),
    TurnBegan(String, &'static str),
}

impl Transcripts {
    /// Follows `path`, which a program of `harness` writes.
    pub(super) fn add(&mut self, harness: &str, path: PathBuf) {
        if !path.is_absolute() || self.files.iter().any(|file| file.path == path) {
            return;
        }
        if self.files.len() == FILES {
            // The first is the conversation's own.
            self.files.remove(1);
        }
        self.files.push_back(Transcript::follow(harness, path));
    }

    /// Whether one of them is that of the sub-agent `id`.
    pub(super) fn has_sub_agent(&self, id: &str) -> bool {
        let is = |file: &Transcript| file.sub_agent.as_ref().is_some_and(|(own, _)| own == id);
        self.files.iter().any(is)
    }

    /// They have something new, now and in a moment.
    pub(super) fn turn_ended(&mut self, now: Instant) {
        if !self.files.is_empty() {
            self.due = Some(now);
            self.again = true;
        }
    }
}

impl Supervisor {
    /// Reads a piece of what is new, when it is time.
    pub(super) fn read_transcripts(&mut self, now: Instant) {
        if self.transcripts.due.is_none_or(|due| now < due) {
            return;
        }
        let more = self.count_what_is_new();
        self.transcripts.due = if more {
            Some(now)
        } else if std::mem::take(&mut self.transcripts.again) {
            Some(now + LATER)
        } else {
            None
        };
    }

    /// Reads all that is left: the program has ended.
    pub(super) fn read_all_transcripts(&mut self) {
        while self.count_what_is_new() {}
        self.record_cost();
        self.transcripts = Transcripts::default();
    }

    /// Records what a piece of each file adds. True if there is more.
    fn count_what_is_new(&mut self) -> bool {
        if self.transcripts.files.is_empty() {
            return false;
        }
        let since = *self.transcripts.since.get_or_insert_with(|| {
            let entries = journal::read(&self.spec.agent_dir).unwrap_or_default();
            counted_until(&entries)
        });
        let prices = self.prices().clone();
        let task = self.spec.task.clone();
        let mut sums: Vec<Used> = Vec::new();
        let (mut conversation, mut turns, mut sent) = (None, Vec::new(), Vec::new());
        let mut more = false;
        for file in &mut self.transcripts.files {
            let path = file.path.clone();
            more |= file.read_piece(since, &mut |told| match told {
                Told::Used(usage, at, sub_agent) => {
                    // Each reply by itself: a long one has prices of its own.
                    let (cost, certainty) = spend::priced(&prices, &usage, super::now());
                    let (crew, named) = sub_agent.map_or((None, None), |(id, task)| (Some(id), task));
                    let used = Used {
                        cost,
                        certainty: Some(certainty),
                        task: named.map(|named| named.to_string()).or_else(|| task.clone()),
                        crew,
                        upto: at.map(|at| at.0),
                        ..Used::unpriced(usage)
                    };
                    add(&mut sums, used);
                }
                Told::SentOut(id, task, about) => sent.push((path.clone(), id, task, about)),
                Told::Conversation(id) => conversation = Some(id),
                Told::TurnBegan(text, by) => turns.push((mark(&text), by)),
            });
        }
        if more {
            sys::trim_heap();
        }
        if let Some(id) = conversation {
            self.told_conversation(id);
        }
        for (mark, by) in turns {
            self.written_turn(mark, by);
        }
        for (path, id, named, about) in sent {
            if self.spec.task.is_some() || named.is_some() {
                let note = read_note(&self.spec.harness, &path);
                let reads = Cli::named(&self.spec.harness).zip(note.crew.as_deref());
                self.sub_agent_sent(Fact::SentOut {
                    id,
                    reads: reads.is_some_and(|(cli, crew)| cli.only_reads(crew)),
                    crew: note.crew.filter(|crew| is_plain(crew)),
                    about: note.about.unwrap_or(about),
                    task: named.map(|named| named.to_string()),
                    part_of: self.spec.task.clone(),
                    within: None,
                });
            }
        }
        for mut used in sums {
            used.usage.model = used.usage.model.filter(|model| is_plain(model));
            self.record_priced(used);
        }
        more
    }

    /// Follows what the program has open, where that is how its transcripts are found.
    pub(super) fn find_transcripts(&mut self) {
        let name = self.spec.harness.clone();
        let Running::Child { pid } = self.running else { return };
        if !harness::keeps_transcripts_open(&name) {
            return;
        }
        // The program may be a small one that waits for the real one.
        let table = process::Table::read();
        let pids = std::iter::once(pid).chain(table.children(pid).map(|child| child.pid));
        for path in pids.flat_map(open_files) {
            if harness::is_transcript(&name, &path) {
                self.transcripts.add(&name, path);
            }
        }
    }

    /// Whether a transcript tells that the prompt under way was taken, and then it has ended.
    pub(super) fn prompt_is_written(&mut self) -> bool {
        self.find_transcripts();
        while self.delivery.is_some() && self.count_what_is_new() {}
        self.delivery.is_none()
    }
}

/// What the program has noted of a sub-agent beside its transcript.
fn read_note(harness: &str, transcript: &Path) -> Note {
    const LONGEST: u64 = 64 * 1024;
    let mut text = String::new();
    let read = open(&transcript.with_extension("meta.json")).map(|file| file.take(LONGEST).read_to_string(&mut text));
    match read {
        Some(Ok(_)) => harness::note(harness, &text),
        _ => Note::default(),
    }
}

/// The files that a process has open; none of one that has gone.
fn open_files(pid: u32) -> Vec<PathBuf> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    links.filter_map(|link| std::fs::read_link(link.path()).ok()).collect()
}

/// Until when an earlier life of the agent has counted. One that ended well has counted all.
fn counted_until(entries: &[Entry]) -> Time {
    let launched = entries
        .iter()
        .rposition(|entry| matches!(entry.fact, Fact::Launched { .. }));
    let (earlier, own) = entries.split_at(launched.unwrap_or(0));
    let began = own.first().map_or(Time(0), |entry| entry.at);
    let last = |wanted: fn(&Fact) -> bool| earlier.iter().rposition(|entry| wanted(&entry.fact));
    let ended = last(|fact| matches!(fact, Fact::Exited { .. }));
    let started = last(|fact| matches!(fact, Fact::Launched { .. }));
    let used = last(|fact| matches!(fact, Fact::Used(used) if used.request.is_none()));
    // A journal's times are whole seconds, rounded down; those of replies are exact.
    let behind = earlier.iter().filter_map(|entry| match &entry.fact {
        Fact::Used(used) => used.upto.map(|upto| Time(upto + 1)),
        _ => None,
    });
    let behind = behind.max();
    match (started, used) {
        (Some(started), _) if ended > Some(started) => behind.map_or(began, |behind| behind.max(began)),
        (Some(_), Some(used)) => behind.unwrap_or(Time(earlier[used].at.0 + 999)),
        (Some(_), None) => earlier[0].at,
        (None, _) => began,
    }
}

impl Transcript {
    /// The file `path`, which a program of `harness` writes, from its beginning.
    pub(super) fn follow(harness: &str, path: PathBuf) -> Transcript {
        Transcript {
            harness: harness.to_owned(),
            path,
            offset: 0,
            model: None,
            sub_agent: None,
            replies: VecDeque::new(),
        }
    }

    /// Reads on and tells what each reply adds. True if there is more than a piece.
    pub(super) fn read_piece(&mut self, since: Time, tell: &mut impl FnMut(Told)) -> bool {
        let Some(mut file) = open(&self.path) else { return false };
        let length = file.metadata().map_or(0, |meta| meta.len());
        if length <= self.offset || file.seek(SeekFrom::Start(self.offset)).is_err() {
            return false;
        }
        let mut reader = BufReader::new(file);
        let (begin, mut line) = (self.offset, Vec::new());
        while self.offset < begin + PIECE {
            line.clear();
            match (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
            let mut length = line.len() as u64;
            if line.last() != Some(&b'\n') {
                if length < LONGEST_LINE {
                    // It is still being written.
                    return false;
                }
                line.clear();
                match reader.skip_until(b'\n') {
                    Ok(rest) => length += rest as u64,
                    Err(_) => return false,
                }
            }
            self.offset += length;
            self.take_line(&line, since, tell);
        }
        true
    }

    fn take_line(&mut self, line: &[u8], since: Time, tell: &mut impl FnMut(Told)) {
        match harness::written(&self.harness, line) {
            None => {}
            Some(Written::Model(model)) => self.model = Some(model),
            // The prompt is what comes first.
            Some(Written::SubAgent { .. }) if self.sub_agent.is_some() => {}
            Some(Written::SubAgent { id, at, about, task }) => {
                let name = || self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let id = id.unwrap_or_else(name);
                self.sub_agent = Some((id.clone(), task));
                if at.is_none_or(|at| at >= since) {
                    tell(Told::SentOut(id, task, about));
                }
            }
            Some(Written::Conversation { id }) => tell(Told::Conversation(id)),
            Some(Written::TurnBegan { at, .. }) if at.is_none_or(|at| at < since) => {}
            Some(Written::TurnBegan { text, by, .. }) => tell(Told::TurnBegan(text, by)),
            Some(Written::Reply { at, .. }) if at.is_some_and(|at| at < since) => {}
            Some(Written::Reply { id, mut usage, at }) => {
                usage.model = usage.model.or_else(|| self.model.clone());
                if let Some(id) = id {
                    usage.tokens = self.not_counted(id, usage.tokens);
                }
                if usage.tokens != Tokens::default() {
                    tell(Told::Used(usage, at, self.sub_agent.clone()));
                }
            }
        }
    }

    /// What of `tokens` was not counted for the reply `id` yet.
    fn not_counted(&mut self, id: String, tokens: Tokens) -> Tokens {
        if let Some((_, counted)) = self.replies.iter_mut().find(|(each, _)| *each == id) {
            let more = tokens - *counted;
            *counted += more;
            return more;
        }
        if self.replies.len() == REPLIES {
            self.replies.pop_front();
        }
        self.replies.push_back((id, tokens));
        tokens
    }
}

/// A file that can be read to its end: the path is the program's word, and may name anything.
fn open(path: &Path) -> Option<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .ok()?;
    file.metadata().is_ok_and(|meta| meta.is_file()).then_some(file)
}
