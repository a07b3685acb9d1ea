//! What a supervisor is to start. It is handed over as JSON on standard input, through a pipe that no file
//! backs, because it carries the values of the child's environment.

use std::path::PathBuf;

use fleet_core::Error;
use fleet_core::budget::{Limits, Used};
use fleet_core::id::AgentId;
use serde::{Deserialize, Serialize};

use crate::harness::session::sessions_folder;
use crate::harness::sign::Signs;
use crate::harness::stream::Cli;
use crate::supervise::driver::Driver;
use crate::supervise::meter::Metered;
use crate::supervise::recorder::Recorder;

/// The version of this format. Both ends are the same executable, so there is no other.
pub const VERSION: u32 = 1;

/// One launch of one agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Format version.
    pub v: u32,
    /// The agent.
    pub agent: AgentId,
    /// Its branch or label, for notifiers and the process title.
    pub branch: String,
    /// Name of the harness.
    pub harness: String,
    /// 1 at the start, one more at each resume.
    pub generation: u32,
    /// The folder of the agent's journal, output and lock.
    pub agent_dir: PathBuf,
    /// Where to listen.
    pub socket: PathBuf,
    /// Where the child runs.
    pub cwd: PathBuf,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The child's whole environment.
    pub env: Vec<(String, String)>,
    /// What of it the child has, and the commands before it have not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub program_env: Vec<(String, String)>,
    /// On pipes instead of a terminal, with [`Spec::stdin`] as its input.
    pub headless: bool,
    /// The prompt that a headless child is given on standard input.
    pub stdin: Option<String>,
    /// Whose stream of events a headless child prints, if fleet reads one.
    pub stream: Option<Cli>,
    /// Whether the child goes on with the agent's conversation.
    pub goes_on: bool,
    /// Files to copy into `cwd` before anything runs, relative to [`Spec::copy_from`].
    pub copy: Vec<String>,
    /// Where they are copied from.
    pub copy_from: PathBuf,
    /// The user's own shell lines to run in `cwd` before the child.
    pub setup: Vec<String>,
    /// Whether to go on when one of them fails.
    pub keep_going: bool,
    /// How the program's terminal is read.
    pub signs: Signs,
    /// The key that interrupts a turn; empty where nobody knows it.
    pub interrupt: String,
    /// The key that clears a draft; empty where there is none.
    pub clear: String,
    /// The prompt that is part of `argv` or `stdin`: its request id.
    pub prompt_in_argv: Option<String>,
    /// The first prompt, to be pasted when the program is ready: request id and text.
    pub prompt_to_paste: Option<(String, String)>,
    /// Rows of the terminal until a view says otherwise.
    pub rows: u16,
    /// Columns of the terminal until a view says otherwise.
    pub cols: u16,
    /// Notifiers: an argv each.
    pub on_waiting: Option<Vec<String>>,
    /// Run when a turn ended.
    pub on_idle: Option<Vec<String>>,
    /// Run when the child ended.
    pub on_exit: Option<Vec<String>>,
    /// Run when a limit is near or reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_budget: Option<Vec<String>>,
    /// What the agent may use.
    #[serde(default)]
    pub limits: Limits,
    /// What of that it has used before this launch.
    #[serde(default)]
    pub used: Used,
    /// The user's own table of prices, as it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<String>,
    /// The model that was asked for: some programs do not say which one they use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The task that it works for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// How the store is told what came of an agent that works for a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorder: Option<Recorder>,
    /// The proxy through which the program reaches its service, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metered: Option<Metered>,
    /// Why it does not, where it should and its agent is to work all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmetered: Option<String>,
    /// How long the polite steps of an end may take together.
    pub grace_ms: u64,
    /// Bytes of output to keep.
    pub output_limit: u64,
    /// A file that gets what a headless child prints, as it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_output_to: Option<PathBuf>,
    /// The driver to wake when the child has ended, for a worker of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
}

impl Spec {
    /// Where the program keeps its conversations; none where nobody knows.
    pub fn sessions_folder(&self) -> Option<PathBuf> {
        let var = |name: &str| {
            let program = self.program_env.iter().rev();
            let mut all = program.chain(self.env.iter().rev());
            all.find(|(each, _)| each == name).map(|(_, value)| value.clone())
        };
        sessions_folder(&self.harness, &self.argv, &self.cwd, &var)
    }
}

/// What the supervisor says on its standard output while it starts, one JSON object a line; then it closes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// A setup command begins.
    Setup(String),
    /// The child runs under this process id.
    Started(u32),
    /// It could not be started; the detail holds the output that explains it.
    Failed(Error),
}
