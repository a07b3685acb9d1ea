//! The scripted endpoint of a trial, and what its log tells.

use std::fs;
use std::path::{Path, PathBuf};

use fleet_core::Result;
use fleet_host::exec::{Beside, Cmd};
use serde_json::Value;

/// A running `fleet-model`; it ends when this is dropped.
pub(super) struct Endpoint {
    /// What harnesses want in their environment beside HOME.
    pub(super) variables: Vec<(String, String)>,
    log: PathBuf,
    _program: Beside,
}

/// A request of a conversation, as the log has it.
pub(super) struct Request {
    number: Value,
    /// Everything that was typed, in order; the last is the one to answer.
    pub(super) prompts: Vec<String>,
    /// How many replies there were since then.
    pub(super) turn: u64,
}

impl Endpoint {
    /// Starts `program` with the script in `root`, and lets it write the settings of the harnesses into the HOME there.
    pub(super) fn start(program: &Path, root: &Path) -> Result<Self> {
        let cmd = Cmd::new("doctor.live-endpoint", program, root).args([
            "--script",
            "script.json",
            "--log",
            "log.jsonl",
            "--home",
            "home",
        ]);
        let told = |error: fleet_core::Error| error.context(program.to_string_lossy());
        let mut program_running = cmd.beside().map_err(told)?;
        let mut variables = Vec::new();
        // The URL, the variables, an empty line.
        program_running.line().map_err(told)?;
        while let Some((name, value)) = program_running.line().map_err(told)?.split_once('=') {
            variables.push((name.to_owned(), value.to_owned()));
        }
        Ok(Self {
            variables,
            log: root.join("log.jsonl"),
            _program: program_running,
        })
    }

    /// The requests of conversations so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        let of_conversation =
            |line: &Value| line["event"] == "request" && !line["format"].is_null() && line["side"].is_null();
        let request = |line: Value| Request {
            number: line["n"].clone(),
            prompts: texts(&line["prompts"]),
            turn: line["turn"].as_u64().unwrap_or_default(),
        };
        self.lines().into_iter().filter(of_conversation).map(request).collect()
    }

    /// How the answer to `request` ended; none while it is being answered.
    pub(super) fn outcome(&self, request: &Request) -> Option<String> {
        let ends = |line: &Value| line["event"] == "end" && line["n"] == request.number;
        let end = self.lines().into_iter().find(ends)?;
        end["outcome"].as_str().map(str::to_owned)
    }

    /// How often `prompt` was typed, by the request that has it most often. Blanks at its ends do not count: some
    /// programs drop them, and one adds some.
    pub(super) fn arrivals(&self, prompt: &str) -> usize {
        let times = |request: &Request| request.prompts.iter().filter(|typed| typed.trim() == prompt).count();
        self.requests().iter().map(times).max().unwrap_or(0)
    }

    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        // The last line may be half written.
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
