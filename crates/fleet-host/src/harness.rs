//! The agent programs fleet knows, each described as data.
//!
//! A harness says how its program is launched, resumed and given a prompt. It never acts. One file each under
//! `harness/`, listed in [`builtin`]; a user's own come from `[harness.NAME]` of the config and need no code.

mod claude;
mod codex;
mod gemini;
pub mod heard;
pub mod heartbeat;
mod opencode;
mod pi;
pub mod redirect;
pub mod reporting;
pub mod session;
pub mod sign;
pub mod stream;
pub mod trust;
pub mod version;
pub mod worker;

use std::path::{Path, PathBuf};

use fleet_core::{Error, Result};
use serde_json::Value;

use self::heard::{Heard, Note, Written};
use self::reporting::{Reporting, Surroundings};
use self::sign::Signs;
use self::stream::Cli;
use self::trust::Trust;

/// How the program is given its first prompt. Later ones are pasted into its terminal, unless it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptBy {
    /// As its last argument.
    Argv,
    /// On standard input, to its end: the program runs without a terminal and takes no second prompt.
    Stdin,
    /// On standard input as well, and what it prints is a stream of events that fleet reads. Some take later ones there,
    /// too: [`Cli::commands`].
    Stream(Cli),
    /// Pasted into its terminal.
    Paste,
}

/// One agent program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Harness {
    /// Its name in `--agent` and in the config.
    pub name: String,
    /// Program and fixed arguments.
    pub command: Vec<String>,
    /// How it is given its first prompt.
    pub prompt: PromptBy,
    /// Arguments that name a model; `{model}` stands for it. Empty: it cannot be told.
    pub model: Vec<String>,
    /// Arguments that choose the id of a new conversation; `{id}` stands for it. Empty: it chooses itself.
    pub conversation: Vec<String>,
    /// Arguments that go on with a conversation; `{id}` stands for its id. Empty: it starts anew.
    pub resume: Vec<String>,
    /// The same where `resume` needs an id that nobody knows: arguments that go on with the newest conversation of the
    /// folder it runs in.
    pub resume_last: Vec<String>,
    /// Arguments that list its conversations, for [`newest_conversation`]: where the newest one may be another agent's.
    pub conversations: Vec<String>,
    /// Whether `--` goes before a prompt argument, so that a leading dash is text.
    pub dashes: bool,
    /// How its terminal is read.
    pub signs: Signs,
    /// The key that interrupts a turn; empty where nobody knows it.
    pub interrupt: String,
    /// The key that clears a draft and does nothing else while there is one; empty where there is none.
    pub clear: String,
    /// Variables that its program needs beside the caller's.
    pub env: Vec<(String, String)>,
    /// The command that installs it.
    pub install: Option<String>,
    /// How what it asks of a new folder is answered.
    pub trust: Trust,
    /// The version that it was tested with; empty for one that nobody tested.
    pub tested: &'static str,
    /// What does not work with it, or not as with others; a line each.
    pub limits: &'static [&'static str],
}

/// Control and C.
const CTRL_C: &str = "\x03";
/// The key Escape.
const ESCAPE: &str = "\x1b";

/// What differs from one launch to the next.
#[derive(Clone, Debug, Default)]
pub struct Launch<'a> {
    /// The model asked for.
    pub model: Option<&'a str>,
    /// The first prompt.
    pub prompt: Option<&'a str>,
    /// The conversation's id, where fleet chose one.
    pub conversation: Option<&'a str>,
    /// Whether it goes on with an earlier conversation.
    pub resume: bool,
}

/// How a launch looks: what to run, and which way the prompt goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The prompt, for [`PromptBy::Stdin`] and [`PromptBy::Stream`].
    pub stdin: Option<String>,
    /// Whether the prompt is part of `argv` or `stdin`; otherwise it is pasted.
    pub holds_prompt: bool,
}

/// The longest single argument that the kernel takes (MAX_ARG_STRLEN of execve(2)), less its end.
const MAX_ARGUMENT: usize = 128 * 1024 - 1;

impl Harness {
    /// Whether it runs without a terminal.
    pub fn is_headless(&self) -> bool {
        matches!(self.prompt, PromptBy::Stdin | PromptBy::Stream(_))
    }

    /// Whose stream of events it prints, if it does.
    pub fn stream(&self) -> Option<Cli> {
        match self.prompt {
            PromptBy::Stream(cli) => Some(cli),
            _ => None,
        }
    }

    /// The same program without a terminal. Error: fleet does not know how `self`, which is one of [`builtin`], runs
    /// without one.
    pub fn without_terminal(self) -> Result<Harness> {
        let cli = Cli::named(&self.name)
            .ok_or_else(|| Error::internal(format!("the stream of `{}` is not known", self.name)))?;
        let conversation = if cli.takes_conversation() {
            words(&["{id}"])
        } else {
            Vec::new()
        };
        Ok(Harness {
            prompt: PromptBy::Stream(cli),
            conversation,
            signs: Signs::default(),
            ..self
        })
    }

    /// Whether it is told which conversation to go on with. Such a program ends at once when there is none.
    pub fn resumes_by_id(&self) -> bool {
        self.resume.iter().any(|arg| arg.contains("{id}"))
    }

    /// The command line of a launch. Errors: a model for a harness that cannot be told one, a prompt that is too
    /// long for an argument, no prompt for a program that only reads one.
    pub fn command_line(&self, launch: &Launch<'_>) -> Result<CommandLine> {
        if let PromptBy::Stream(cli) = self.prompt {
            let (program, flags) = self.command.split_at(self.command.len().min(1));
            return cli.headless(program, flags, launch);
        }
        let mut argv = self.command.clone();
        if launch.resume {
            match launch.conversation {
                None if self.resumes_by_id() => argv.extend(self.resume_last.iter().cloned()),
                id => argv.extend(fill(&self.resume, "{id}", id.unwrap_or_default())),
            }
        } else if let Some(id) = launch.conversation {
            argv.extend(fill(&self.conversation, "{id}", id));
        }
        if let Some(model) = launch.model {
            if self.model.is_empty() {
                return Err(
                    Error::usage(format!("the harness `{}` has no way to be told a model", self.name)).hint(format!(
                        "add `model = [\"--model\", \"{{model}}\"]` to `[harness.{}]`: `fleet config edit`",
                        self.name
                    )),
                );
            }
            argv.extend(fill(&self.model, "{model}", model));
        }
        let mut line = CommandLine {
            argv,
            stdin: None,
            holds_prompt: false,
        };
        match (self.prompt, launch.prompt) {
            (PromptBy::Argv, Some(prompt)) => {
                if prompt.len() > MAX_ARGUMENT {
                    return Err(Error::usage(format!(
                        "the prompt has {} bytes; `{}` takes it as an argument, and the most is {MAX_ARGUMENT}",
                        prompt.len(),
                        self.name
                    ))
                    .hint("put the text into a file in the repository and name the file in the prompt"));
                }
                if self.dashes {
                    line.argv.push("--".to_owned());
                }
                line.argv.push(prompt.to_owned());
                line.holds_prompt = true;
            }
            (PromptBy::Stdin, Some(prompt)) => {
                line.stdin = Some(prompt.to_owned());
                line.holds_prompt = true;
            }
            (PromptBy::Stdin, None) if !launch.resume => {
                return Err(Error::usage(format!(
                    "the harness `{}` reads its prompt once, at the start",
                    self.name
                ))
                .hint("give it one with `--prompt TEXT`"));
            }
            _ => {}
        }
        Ok(line)
    }
}

/// The harness that ships with fleet under this name, with the user's own arguments behind its command.
pub fn builtin(name: &str, flags: &[String]) -> Option<Harness> {
    let mut harness = match name {
        "claude" => claude::harness(),
        "codex" => codex::harness(),
        "gemini" => gemini::harness(),
        "opencode" => opencode::harness(),
        "pi" => pi::harness(),
        _ => return None,
    };
    harness.command.extend(flags.iter().cloned());
    Some(harness)
}

/// What `event`, as the program of this harness gives it, tells. Nothing, where nothing is known of such an event.
pub fn heard(name: &str, event: &Value) -> Vec<Heard> {
    match name {
        "claude" => claude::heard(event),
        "gemini" => gemini::heard(event),
        "opencode" => opencode::heard(event),
        "pi" => pi::heard(event),
        _ => Vec::new(),
    }
}

/// Whether the program of this harness keeps its transcripts open, so that they are found among its open files.
pub fn keeps_transcripts_open(name: &str) -> bool {
    name == "codex"
}

/// Whether a file that this harness's program has open is a transcript.
pub fn is_transcript(name: &str, path: &Path) -> bool {
    name == "codex" && codex::follows(path)
}

/// What a line of a transcript of this harness's program tells; none of most lines.
pub fn written(name: &str, line: &[u8]) -> Option<Written> {
    match name {
        "claude" => claude::written(line),
        "codex" => codex::written(line),
        "gemini" => gemini::written(line),
        "pi" => pi::written(line),
        _ => None,
    }
}

/// What the program of this harness has noted of a sub-agent, in the file `text` beside its transcript, which has the
/// extension `meta.json`.
pub fn note(name: &str, text: &str) -> Note {
    match name {
        "claude" => claude::note(text),
        _ => Note::default(),
    }
}

/// Where the program of this harness has a folder for each project, with the transcripts of its sub-agents somewhere below;
/// none of one that writes none. `var` gives the variables of its environment.
pub fn projects(name: &str, var: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    match name {
        "claude" => claude::projects(var),
        _ => None,
    }
}

/// The transcript of a sub-agent below the folder of its project. `sub_agent` is what the program calls it.
pub fn transcript_of(name: &str, conversation: &str, sub_agent: &str) -> Option<PathBuf> {
    match name {
        "claude" => claude::transcript_of(conversation, sub_agent),
        _ => None,
    }
}

/// How the program of this harness is led to tell of itself. Empty where it cannot be.
pub fn reporting(name: &str, surroundings: &Surroundings<'_>) -> Reporting {
    match name {
        "claude" => claude::reporting(surroundings),
        "gemini" => gemini::reporting(surroundings),
        "opencode" => opencode::reporting(surroundings),
        "pi" => pi::reporting(surroundings),
        _ => Reporting::default(),
    }
}

/// The same without a terminal, where its stream leaves something out that it tells otherwise.
pub fn reporting_beside_stream(name: &str, surroundings: &Surroundings<'_>) -> Reporting {
    match name {
        "opencode" => opencode::reporting(surroundings),
        _ => Reporting::default(),
    }
}

/// Whether the program of this harness tells of each reply by itself, and not of several in sum.
pub fn tells_each_reply(name: &str) -> bool {
    matches!(name, "opencode" | "pi")
}

/// Whether the stream of this harness's program leaves out what it tells otherwise.
pub fn leaves_out(name: &str) -> bool {
    name == "opencode"
}

/// The id of the newest conversation in `folder`, of those that the program of this harness has `listed`; none when
/// there is none. Error: what it listed cannot be read.
pub fn newest_conversation(name: &str, listed: &str, folder: &Path) -> serde_json::Result<Option<String>> {
    match name {
        "opencode" => opencode::newest_conversation(listed, folder),
        _ => Ok(None),
    }
}

/// The names that [`builtin`] knows.
pub const BUILTIN: [&str; 5] = ["claude", "codex", "gemini", "opencode", "pi"];

/// The arguments of a command line, and from `--` on what is a prompt.
fn own_arguments(argv: &[String]) -> (&[String], &[String]) {
    argv.split_at(argv.iter().position(|arg| arg == "--").unwrap_or(argv.len()))
}

fn fill(args: &[String], mark: &str, value: &str) -> Vec<String> {
    args.iter().map(|arg| arg.replace(mark, value)).collect()
}

/// Shorthand for tables of arguments.
fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(harness: &Harness, launch: &Launch<'_>) -> Vec<String> {
        harness.command_line(launch).expect("a command line").argv
    }

    #[test]
    fn claude_is_launched_and_resumed_by_its_documented_flags() {
        let claude = builtin("claude", &words(&["--dangerously-skip-permissions"])).expect("built in");
        let launch = Launch {
            model: Some("opus"),
            prompt: Some("-x"),
            conversation: Some("u-1"),
            resume: false,
        };
        assert_eq!(
            argv(&claude, &launch),
            [
                "claude",
                "--dangerously-skip-permissions",
                "--session-id",
                "u-1",
                "--model",
                "opus",
                "--",
                "-x"
            ]
        );
        let resume = Launch {
            conversation: Some("u-1"),
            resume: true,
            ..Launch::default()
        };
        assert_eq!(
            argv(&claude, &resume),
            ["claude", "--dangerously-skip-permissions", "--resume", "u-1"]
        );
    }

    #[test]
    fn a_conversation_is_resumed_by_its_id_and_else_as_the_newest_of_the_folder() {
        let table: [(&str, &[&str], &[&str]); 5] = [
            ("claude", &["--resume", "u-1"], &["--continue"]),
            ("codex", &["resume", "u-1"], &["resume", "--last"]),
            ("gemini", &["--resume", "u-1"], &["--resume", "latest"]),
            ("opencode", &["--session", "u-1"], &[]),
            ("pi", &["--session", "u-1"], &["--continue"]),
        ];
        for (name, by_id, last) in table {
            let harness = builtin(name, &[]).expect("built in");
            for (conversation, wanted) in [(Some("u-1"), by_id), (None, last)] {
                let launch = Launch {
                    conversation,
                    resume: true,
                    ..Launch::default()
                };
                assert_eq!(
                    argv(&harness, &launch)[harness.command.len()..],
                    words(wanted),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn codex_starts_without_its_daemon() {
        let codex = builtin("codex", &[]).expect("built in");
        assert_eq!(
            argv(
                &codex,
                &Launch {
                    prompt: Some("hi"),
                    ..Launch::default()
                }
            ),
            [
                "codex",
                "--no-daemon",
                "-c",
                "check_for_update_on_startup=false",
                "--",
                "hi"
            ]
        );
    }

    #[test]
    fn a_prompt_longer_than_an_argument_is_refused() {
        let claude = builtin("claude", &[]).expect("built in");
        let long = "x".repeat(MAX_ARGUMENT + 1);
        assert!(
            claude
                .command_line(&Launch {
                    prompt: Some(&long),
                    ..Launch::default()
                })
                .is_err()
        );
    }
}
