//! The scripted model endpoint beside a demo, with a HOME that leads agent programs to it.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::{Run, io};
use crate::{Failure, Result, failed};

/// A running `fleet-model`; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Endpoint {
    // None once it is to stay.
    child: Option<Child>,
    log: PathBuf,
    /// What agent programs need in their environment beside HOME.
    pub(crate) variables: Vec<(OsString, OsString)>,
}

impl Endpoint {
    /// Starts it from the folder of our programs. Its script and log are put into `folder`; `home` gets the settings
    /// of the agent programs. In which folders to trust is fleet's to answer.
    pub(crate) fn start(programs: &Path, folder: &Path, home: &Path, script: &Value) -> Result<Self> {
        let path = folder.join("script.json");
        fs::write(&path, script.to_string()).map_err(io("write", &path))?;
        let run = Run::new(programs.join("fleet-model"), folder)
            .args(["--script", "script.json", "--log", "model.jsonl", "--edits", "--home"])
            .args([home]);
        let shown = run.shown().to_owned();
        let mut child = run
            .into_command()
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::Failed(format!("cannot start `{shown}`: {error}")))?;
        let said = child.stdout.take().expect("stdout was asked for as a pipe");
        let mut endpoint = Self {
            child: Some(child),
            log: folder.join("model.jsonl"),
            variables: Vec::new(),
        };
        // The URL, the variables, an empty line.
        for line in BufReader::new(said).lines().skip(1) {
            match line.as_deref().unwrap_or_default().split_once('=') {
                Some((name, value)) => endpoint.variables.push((name.into(), value.into())),
                None => break,
            }
        }
        if endpoint.variables.is_empty() {
            return failed(format!("`{shown}` did not come up"));
        }
        Ok(endpoint)
    }

    /// Waits until it has said `text` so many times to its end.
    pub(crate) fn wait_said(&self, text: &str, times: usize, patience: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            let said = self.said(text);
            if said >= times {
                return Ok(());
            }
            if start.elapsed() > patience {
                return failed(format!(
                    "{said} of {times} agents have got as far as `{text}` after {} s",
                    patience.as_secs()
                ));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// How often a reply with this text was sent whole.
    fn said(&self, text: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let sent = |n: &Value| {
            lines
                .iter()
                .any(|line| line["event"] == "end" && line["n"] == *n && line["outcome"] == "sent")
        };
        let replies = lines
            .iter()
            .filter(|line| line["event"] == "request" && line["answer"]["text"] == text);
        replies.filter(|line| sent(&line["n"])).count()
    }

    /// Lets it run on when this program ends, and gives its process id.
    pub(crate) fn keep(&mut self) -> Option<u32> {
        self.child.take().map(|child| child.id())
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
