//! What an agent program that runs without a terminal prints, as events.
//!
//! Each of the five prints JSON, a line per event, each its own way; one file under `stream/` reads one of them.
//! Everything here is pure: bytes in, [`Event`]s out, and nothing is decided about processes. How a run ended
//! follows from what the stream said *and* from how the process ended: [`outcome`].
//!
//! The stream is not trusted. Lines may be cut anywhere, be no JSON, or be too long to keep; texts may hold
//! anything, and are made fit for a terminal by [`view`] alone.

mod claude;
mod codex;
mod end;
mod errors;
mod gemini;
mod lines;
mod opencode;
mod pi;
mod told;
mod view;

use fleet_core::Result;
use fleet_core::task::TaskId;
pub use fleet_core::usage::{Basis, Tokens, Usage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use end::{Exit, Outcome, Seen, outcome};
pub use errors::Errors;
pub use lines::LONGEST_LINE;
pub use told::{Told, Turns, told};
pub use view::{plain, view, view_error, view_prompt};

use self::lines::{Line, Lines};
use crate::harness::{CommandLine, Launch};

/// The agent programs whose streams are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cli {
    /// Claude Code: `claude -p --output-format stream-json --verbose`.
    Claude,
    /// Codex: `codex exec --json`.
    Codex,
    /// Pi: `pi --mode rpc`.
    Pi,
    /// OpenCode: `opencode run --format json`.
    OpenCode,
    /// Gemini CLI: `gemini -o stream-json`.
    Gemini,
}

impl Cli {
    /// Whether a call of `tool` sends out a sub-agent.
    pub fn dispatches(self, tool: &str) -> bool {
        match self {
            Cli::Claude => matches!(tool, "Task" | "Agent"),
            Cli::Codex => tool == "spawn_agent",
            Cli::OpenCode => tool == "task",
            Cli::Gemini => matches!(tool, "invoke_agent" | "delegate_to_agent"),
            Cli::Pi => tool == "subagent",
        }
    }

    /// Whether what its sub-agents use is in nothing that it tells. (Of OpenCode that is read elsewhere.)
    pub fn leaves_out_sub_agents(self) -> bool {
        matches!(self, Cli::Codex | Cli::Pi)
    }

    /// Whether a sub-agent of this kind is one of the program's own that change nothing.
    pub fn only_reads(self, crew: &str) -> bool {
        match self {
            Cli::Claude => matches!(crew, "Explore" | "Plan"),
            Cli::OpenCode => crew == "explore",
            Cli::Gemini => crew == "codebase_investigator",
            Cli::Codex | Cli::Pi => false,
        }
    }
}

/// One thing that happened, as the stream tells it. Texts are as the program printed them; see [`view`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The conversation's id: with it the conversation can be resumed.
    Conversation {
        /// The program's own id.
        id: String,
    },
    /// Whole lines that the model said.
    Text {
        /// The lines, without a break at the end.
        text: String,
    },
    /// The model calls a tool.
    Call {
        /// Id of the call.
        id: String,
        /// The tool's name.
        tool: String,
        /// The argument that says most, shortened.
        about: String,
    },
    /// A tool's result.
    Result {
        /// Id of the call.
        id: String,
        /// Whether the tool says that it worked.
        ok: bool,
        /// The beginning of what it gave.
        about: String,
    },
    /// The call sends out a sub-agent; it comes behind [`Event::Call`].
    SentOut {
        /// Id of the call.
        call: String,
        /// Id of the call that sent out the sub-agent which makes this call; none where the agent itself does.
        within: Option<String>,
        /// What kind of sub-agent it is.
        crew: Option<String>,
        /// What it is to do, in a line.
        about: String,
        /// The task that its prompt names.
        task: Option<TaskId>,
    },
    /// How the program calls a sub-agent in the names of its files.
    Called {
        /// Id of the call that sent it out.
        call: String,
        /// Its name.
        name: String,
    },
    /// A sub-agent has answered, or has ended without an answer.
    CameBack {
        /// Id of the call that sent it out.
        call: String,
        /// Whether it succeeded.
        ok: bool,
    },
    /// What was used.
    Usage(Usage),
    /// A request to the model failed and is sent again.
    Retry {
        /// The number of the try that comes, where it is told.
        attempt: Option<u64>,
        /// How many there will be at most, where it is told.
        most: Option<u64>,
        /// What went wrong.
        why: String,
    },
    /// A tool was not allowed to run.
    Denied {
        /// The tool's name.
        tool: String,
        /// What it was to do, or why it may not.
        about: String,
    },
    /// The service's limit for this account draws near, or is reached.
    Limit {
        /// Which, and how it stands.
        about: String,
        /// When it is lifted, in seconds since 1970.
        resets_at: Option<i64>,
        /// Whether it is reached: the service answers nothing until then.
        refused: bool,
    },
    /// Something went wrong; it may not be the end.
    Error {
        /// What kind of trouble it is.
        outcome: Outcome,
        /// What the program says.
        text: String,
    },
    /// Something that the program wants known.
    Notice {
        /// What it says.
        text: String,
    },
    /// The program has answered a prompt that was written by [`Commands::prompt`].
    Answered {
        /// The prompt's number.
        number: u64,
        /// Why it does not take it; none when its turn begins.
        refused: Option<String>,
    },
    /// Nothing is left to do, until another prompt is written or the program's input ends.
    Rest,
    /// The stream says that the run is over. One comes last, if the program says so at all.
    End {
        /// How it ended by what the stream says.
        outcome: Outcome,
        /// What the program says about it, where it failed.
        text: String,
    },
    /// A line that was longer than [`LONGEST_LINE`] and was read in part or not at all.
    Skipped {
        /// Its length.
        bytes: u64,
    },
    /// A line that is no event: not JSON, or cut off where the stream ended.
    Malformed {
        /// Its beginning.
        about: String,
    },
}

/// How a program is talked to while it runs: lines for its standard input. It exits when that ends.
pub struct Commands {
    /// Gives it a prompt, when it rests; [`Event::Answered`] has the number again.
    pub prompt: fn(u64, &str) -> String,
    /// Ends the turn that runs; [`Event::Rest`] follows.
    pub abort: fn() -> String,
}

/// Reads one process's stream. It holds one line at most, and of that no more than [`LONGEST_LINE`].
pub struct Reader {
    lines: Lines,
    decoder: Box<dyn Decode + Send>,
}

/// One program's way of saying things.
trait Decode {
    /// One line. `events` takes what it says.
    fn line(&mut self, line: &Value, events: &mut Vec<Event>);
    /// The stream is over.
    fn end(&mut self, events: &mut Vec<Event>);
    /// Whether lines that begin so are not worth parsing.
    fn skips(&self, _line: &[u8]) -> bool {
        false
    }
    /// What it wants to be answered, as lines for its standard input.
    fn take_replies(&mut self) -> String {
        String::new()
    }
}

impl Cli {
    /// All of them.
    pub const ALL: [Cli; 5] = [Cli::Claude, Cli::Codex, Cli::Pi, Cli::OpenCode, Cli::Gemini];

    /// The harness's name.
    pub fn name(self) -> &'static str {
        match self {
            Cli::Claude => "claude",
            Cli::Codex => "codex",
            Cli::Pi => "pi",
            Cli::OpenCode => "opencode",
            Cli::Gemini => "gemini",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Cli> {
        Cli::ALL.into_iter().find(|cli| cli.name() == name)
    }

    /// Whether a new conversation can be given its id. The others choose it themselves, and tell it.
    pub fn takes_conversation(self) -> bool {
        matches!(self, Cli::Claude | Cli::Gemini)
    }

    /// How it is talked to while it runs. None of one that reads one prompt, to the end of its input.
    pub fn commands(self) -> Option<Commands> {
        match self {
            Cli::Pi => Some(pi::COMMANDS),
            Cli::Claude | Cli::Codex | Cli::OpenCode | Cli::Gemini => None,
        }
    }

    /// The command line of a run without a terminal. `program` is what starts it, `flags` are the user's own.
    ///
    /// The prompt goes over standard input: there it has no limit of length, a leading dash is text, and no program
    /// adds quotes. Errors: a run without a prompt.
    pub fn headless(self, program: &[String], flags: &[String], launch: &Launch<'_>) -> Result<CommandLine> {
        let mut argv = match self {
            Cli::Claude => claude::headless(launch),
            Cli::Codex => codex::headless(launch),
            Cli::Pi => pi::headless(launch),
            Cli::OpenCode => opencode::headless(launch),
            Cli::Gemini => gemini::headless(launch),
        };
        let Some(prompt) = launch.prompt.filter(|prompt| !prompt.trim().is_empty()) else {
            return Err(
                fleet_core::Error::usage(format!("`{}` without a terminal needs a prompt", self.name()))
                    .hint("give it one with `--prompt TEXT`"),
            );
        };
        let is_title = |flag: &String| flag == "--title" || flag.starts_with("--title=");
        if flags.iter().any(is_title) {
            argv.retain(|arg| arg != opencode::TITLE);
        }
        // OpenCode's flags belong to its subcommand; the others take theirs before it.
        let at = usize::from(self == Cli::OpenCode);
        argv.splice(at..at, flags.iter().cloned());
        argv.splice(..0, program.iter().cloned());
        Ok(CommandLine {
            argv,
            stdin: Some(prompt.to_owned()),
            holds_prompt: true,
        })
    }
}

impl Reader {
    /// For a process that begins a conversation.
    pub fn new(cli: Cli) -> Reader {
        Reader::going_on(cli, Some(Tokens::default()))
    }

    /// For a process that goes on with a conversation. `earlier` is what the conversation had used before, if it
    /// is known: some programs count from its beginning.
    pub fn going_on(cli: Cli, earlier: Option<Tokens>) -> Reader {
        Reader {
            lines: Lines::default(),
            decoder: match cli {
                Cli::Claude => Box::new(claude::Decoder::default()),
                Cli::Codex => Box::new(codex::Decoder::new(earlier)),
                Cli::Pi => Box::new(pi::Decoder::default()),
                Cli::OpenCode => Box::new(opencode::Decoder::default()),
                Cli::Gemini => Box::new(gemini::Decoder::default()),
            },
        }
    }

    /// The next bytes of the stream, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        let Reader { lines, decoder } = self;
        lines.feed(bytes, |line| read(line, decoder.as_mut(), &mut events));
        events
    }

    /// What the program wants to be answered because of what it was fed, as lines for its standard input; empty where
    /// it wants nothing. Whoever only looks at a stream may leave it.
    pub fn take_replies(&mut self) -> String {
        self.decoder.take_replies()
    }

    /// The stream is over: what is left of it.
    pub fn finish(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(line) = self.lines.rest() {
            read(line, self.decoder.as_mut(), &mut events);
        }
        self.decoder.end(&mut events);
        events
    }
}

fn read(line: Line<'_>, decoder: &mut dyn Decode, events: &mut Vec<Event>) {
    match line {
        Line::Whole(bytes) if bytes.trim_ascii().is_empty() || decoder.skips(bytes) => {}
        Line::Whole(bytes) => match serde_json::from_slice::<Value>(bytes) {
            Ok(value) if value.is_object() => decoder.line(&value, events),
            _ => events.push(Event::Malformed {
                about: short(&String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHORT)])),
            }),
        },
        Line::Long { head, bytes } => {
            if decoder.skips(head) {
                return;
            }
            events.push(Event::Skipped { bytes });
            if let Some(value) = lines::fields_of_head(head) {
                decoder.line(&value, events);
            }
        }
    }
}

/// How many characters of an argument or a result are kept.
const SHORT: usize = 200;

/// The beginning of a text, on one line.
fn short(text: &str) -> String {
    let mut kept = String::new();
    for (count, word) in text.split_whitespace().enumerate() {
        if count > 0 {
            kept.push(' ');
        }
        kept.extend(word.chars().take(SHORT));
        if kept.chars().nth(SHORT).is_some() {
            return kept.chars().take(SHORT - 1).chain(['…']).collect();
        }
    }
    kept
}

/// The text at a path of keys, or nothing.
fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a path of keys, or 0.
fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

/// The argument of a call that says most about it.
fn about_call(arguments: &Value) -> String {
    const TELLING: [&str; 12] = [
        "command",
        "cmd",
        "file_path",
        "filePath",
        "path",
        "absolute_path",
        "pattern",
        "query",
        "url",
        "prompt",
        "description",
        "name",
    ];
    let telling = TELLING
        .iter()
        .find_map(|key| arguments.get(key).and_then(Value::as_str));
    match (telling.or(arguments.as_str()), arguments) {
        (Some(text), _) => short(text),
        (None, Value::Null) => String::new(),
        (None, Value::Object(map)) if map.is_empty() => String::new(),
        (None, other) => short(&other.to_string()),
    }
}

/// The event for a call that sends out a sub-agent of the kind `crew`, which is told `prompt`. `about` says in a few words
/// what for; where it is empty, the prompt's beginning does.
fn sent_out(call: &str, within: &str, crew: &str, about: &str, prompt: &str) -> Event {
    let given = |text: &str| Some(short(text)).filter(|text| !text.is_empty());
    let line = prompt.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Event::SentOut {
        call: call.to_owned(),
        within: Some(within.to_owned()).filter(|id| !id.is_empty()),
        crew: given(&plain(crew)),
        about: given(&plain(about)).unwrap_or_else(|| short(&plain(line))),
        task: TaskId::named_in(prompt),
    }
}

/// The text of a tool's result: a text, or a list of parts that have texts.
fn about_result(content: &Value) -> String {
    match content {
        Value::String(text) => short(text),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().map(|part| text(part, "/text")).collect();
            short(&texts.join(" "))
        }
        _ => String::new(),
    }
}

/// Puts lines of the model's text onto the events, if there are any.
fn say(said: &str, events: &mut Vec<Event>) {
    let said = said.trim_matches('\n').trim_end();
    if !said.is_empty() {
        events.push(Event::Text { text: said.to_owned() });
    }
}

/// Puts an account onto the events, if it says anything.
fn account(mut usage: Usage, events: &mut Vec<Event>) {
    let model = usage.model.map(|model| short(&plain(&model)));
    usage.model = model.filter(|model| !model.is_empty());
    if usage.tokens != Tokens::default() || usage.cost_usd.is_some_and(|cost| cost > 0.0) {
        events.push(Event::Usage(usage));
    }
}
