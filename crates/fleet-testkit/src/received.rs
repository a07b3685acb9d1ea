//! The receive log: what the scripted agent was really given.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One prompt that a scripted agent has taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The how-manieth prompt of its process, from 1.
    pub n: u64,
    /// The whole text.
    pub text: String,
    /// When it was taken, in milliseconds since 1970.
    pub at_ms: u64,
    /// The process that took it.
    pub pid: u32,
}

/// Appends one line with a single write, so that lines of several agents in one file never mix.
pub fn append_received(path: &Path, received: &Received) -> io::Result<()> {
    let mut line = serde_json::to_vec(received)?;
    line.push(b'\n');
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?
        .write_all(&line)
}

/// The prompts in the log so far; none if there is no log yet.
pub fn read_received(path: &Path) -> Vec<Received> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => panic!("cannot read {}: {error}", path.display()),
    };
    let text = io::read_to_string(file).expect("a receive log is text");
    // A line without its end is still being written by somebody.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is one received prompt"))
        .collect()
}
