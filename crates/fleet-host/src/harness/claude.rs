//! Claude Code. Flags as its `--help` documents them.

use super::{Harness, PromptBy, words};

pub(super) fn harness(flags: &[String]) -> Harness {
    let mut command = words(&["claude"]);
    command.extend(flags.iter().cloned());
    Harness {
        name: "claude".to_owned(),
        command,
        prompt: PromptBy::Argv,
        model: words(&["--model", "{model}"]),
        conversation: words(&["--session-id", "{id}"]),
        resume: words(&["--resume", "{id}"]),
        dashes: true,
        ready: None,
        install: Some("npm install -g @anthropic-ai/claude-code".to_owned()),
    }
}
