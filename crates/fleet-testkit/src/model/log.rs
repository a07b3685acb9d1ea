//! The log of an endpoint: what it was asked, what it answered, and how that ended.
//!
//! A request is in the log, in memory and in the file, before the first byte of its answer is sent.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::script::{Fault, Usage};
use super::wire::Format;

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Its number, from 1.
    pub n: u64,
    /// When it had come in whole, in milliseconds since 1970.
    pub at_ms: u64,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query without its `?`, with keys replaced.
    pub query: String,
    /// The headers that say something, in lower case. Of a key only that there was one.
    pub headers: BTreeMap<String, String>,
    /// The body; a text where it is no JSON, and null where it is empty.
    pub body: Value,
    /// The format of a request for a reply; none for any other request.
    pub format: Option<Format>,
    /// The model that was asked for.
    pub model: String,
    /// Whether the answer was to be streamed.
    pub stream: bool,
    /// What kind of side request it is, if it is one.
    pub side: Option<String>,
    /// What people typed, as the request has it, in order.
    pub prompts: Vec<String>,
    /// The replies since the last prompt: the index of the turn that was asked for.
    pub turn: usize,
    /// The names of the tools on offer.
    pub tools: Vec<String>,
    /// What it was answered with.
    pub answer: Answer,
    /// How it ended; none while it is being answered.
    pub end: Option<End>,
}

/// What a request is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whose words they are: `rule 0`, `turns`, `prompt`, `after`, `side title`, `endpoint`.
    pub from: String,
    /// The HTTP status; 0 for a connection that is closed without an answer.
    pub status: u16,
    /// What it says.
    pub text: String,
    /// The tools that it calls, with their arguments.
    pub calls: Vec<(String, Value)>,
    /// The tokens that it reports.
    pub usage: Option<Usage>,
    /// What goes wrong.
    pub fault: Option<Fault>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// What became of it.
    pub outcome: Outcome,
    /// Milliseconds from the whole request to the first byte; none if there was none.
    pub first_byte_ms: Option<u64>,
    /// Milliseconds from the whole request to the end.
    pub took_ms: u64,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it was sent.
    Sent,
    /// It was broken off, as the script wanted.
    Cut,
    /// The client went away before its end.
    ClientGone,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    /// A request has come.
    Request(Box<Request>),
    /// The answer to the request of this number has ended.
    End {
        n: u64,
        #[serde(flatten)]
        end: End,
    },
}

/// The log of a running endpoint.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Mutex<Entries>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Entries {
    requests: Vec<Request>,
    file: Option<File>,
}

impl Request {
    /// The last thing that a person typed; empty when there is none.
    pub fn prompt(&self) -> &str {
        self.prompts.last().map_or("", String::as_str)
    }

    /// Whether it belongs to the conversation: it asks for a reply, and not on the side.
    pub fn is_conversation(&self) -> bool {
        self.format.is_some() && self.side.is_none()
    }
}

/// The requests in a log file so far, with their ends; none if there is no file yet.
///
/// # Panics
/// When the file cannot be read, or is no such log.
pub fn read_model_log(path: &Path) -> Vec<Request> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => panic!("cannot read {}: {error}", path.display()),
    };
    // A line without its end is still being written.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut requests: Vec<Request> = Vec::new();
    for line in complete.lines() {
        match serde_json::from_str(line).expect("each line is an event of a model endpoint") {
            Line::Request(request) => requests.push(*request),
            // Numbers begin anew with each endpoint that appends to the file.
            Line::End { n, end } => {
                if let Some(request) = requests.iter_mut().rfind(|request| request.n == n) {
                    request.end = Some(end);
                }
            }
        }
    }
    requests
}

impl Log {
    /// A log that is also appended to a file that only its owner may read.
    pub(crate) fn to_file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        // It may have been there already, with other permissions.
        file.set_permissions(Permissions::from_mode(0o600))?;
        let entries = Entries {
            requests: Vec::new(),
            file: Some(file),
        };
        Ok(Self {
            entries: Mutex::new(entries),
            changed: Condvar::new(),
        })
    }

    /// Notes a request under the next number, and gives the number.
    pub(crate) fn begin(&self, request: impl FnOnce(u64) -> Request) -> u64 {
        let mut entries = self.lock();
        let n = entries.requests.len() as u64 + 1;
        let request = request(n);
        entries.write(&Line::Request(Box::new(request.clone())));
        entries.requests.push(request);
        self.changed.notify_all();
        n
    }

    /// Notes the end of an answer.
    pub(crate) fn end(&self, n: u64, end: End) {
        let mut entries = self.lock();
        entries.write(&Line::End { n, end });
        if let Some(request) = entries.requests.iter_mut().find(|request| request.n == n) {
            request.end = Some(end);
        }
        self.changed.notify_all();
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// The first request that is wanted, as soon as there is one; none at the deadline.
    pub(crate) fn wait_for(&self, deadline: Duration, wanted: impl Fn(&Request) -> bool) -> Option<Request> {
        let start = Instant::now();
        let mut entries = self.lock();
        loop {
            if let Some(found) = entries.requests.iter().find(|request| wanted(request)) {
                return Some(found.clone());
            }
            let left = deadline.checked_sub(start.elapsed())?;
            entries = self
                .changed
                .wait_timeout(entries, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // What is in the log stays true when somebody panics.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn write(&mut self, line: &Line) {
        let Some(file) = &mut self.file else { return };
        let mut bytes = serde_json::to_vec(line).expect("a log line is plain data");
        bytes.push(b'\n');
        file.write_all(&bytes).expect("the log can be written");
    }
}
