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
use crate::world::World;
use crate::{Failure, Result, failed};

/// Whether agent programs may write files of their workspace without a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edits {
    Free,
    Asked,
}

/// A running `fleet-model`; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Endpoint {
    // None once it is to stay.
    child: Option<Child>,
    log: PathBuf,
    // What agent programs need in their environment beside HOME.
    variables: Vec<(OsString, OsString)>,
}

impl Endpoint {
    /// Starts it from the folder of our `programs`, and makes every agent program of this world use it: those in the
    /// folder `clis` come first on PATH, and HOME gets their settings. In which folders to trust is fleet's to answer.
    pub(crate) fn start(world: &mut World, programs: &Path, clis: &Path, script: &Value, edits: Edits) -> Result<Self> {
        let folder = world.root().to_owned();
        let (home, temporary) = (folder.join("home"), folder.join("tmp"));
        fs::create_dir(&temporary).map_err(io("make", &temporary))?;
        let mut endpoint = Self::launch(programs, &folder, &home, script, edits)?;
        let mut variables = std::mem::take(&mut endpoint.variables);
        // Codex wants its HOME outside of the folder for temporary files.
        variables.push(("TMPDIR".into(), temporary.into()));
        world.add(variables, clis)?;
        Ok(endpoint)
    }

    fn launch(programs: &Path, folder: &Path, home: &Path, script: &Value, edits: Edits) -> Result<Self> {
        let path = folder.join("script.json");
        fs::write(&path, script.to_string()).map_err(io("write", &path))?;
        let run = Run::new(programs.join("fleet-model"), folder)
            .args(["--script", "script.json", "--log", "model.jsonl"])
            .args((edits == Edits::Free).then_some("--edits"))
            .args(["--home".as_ref(), home.as_os_str()]);
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

    /// When replies to this prompt of a person's were sent whole, in milliseconds since 1970, the first of each
    /// conversation; in order.
    pub(crate) fn replied(&self, prompt: &str) -> Vec<u64> {
        let lines = self.log();
        let is_it = |line: &&Value| {
            let last = line["prompts"].as_array().and_then(|all| all.last()?.as_str());
            line["event"] == "request" && line["side"].is_null() && last.is_some_and(|last| last.trim() == prompt)
        };
        let end = |request: &Value| {
            let mut ends = lines.iter().filter(|line| line["event"] == "end");
            let end = ends.find(|line| line["n"] == request["n"] && line["outcome"] == "sent")?;
            Some(request["at_ms"].as_u64()? + end["took_ms"].as_u64()?)
        };
        let mut ends: Vec<u64> = lines.iter().filter(is_it).filter_map(end).collect();
        ends.sort_unstable();
        ends
    }

    /// How often a reply with this text was sent whole.
    fn said(&self, text: &str) -> usize {
        let lines = self.log();
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

    /// What it has logged so far; docs/model-endpoint.md says what is in it.
    pub(crate) fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
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
