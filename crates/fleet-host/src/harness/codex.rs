//! Codex. Flags as its `--help` documents them. It chooses its conversation's id itself; `resume --last` means
//! the newest one of the folder it runs in, and every agent has a folder of its own.

use super::{Harness, PromptBy, words};

pub(super) fn harness(flags: &[String]) -> Harness {
    let mut command = words(&["codex"]);
    command.extend(flags.iter().cloned());
    Harness {
        name: "codex".to_owned(),
        command,
        prompt: PromptBy::Argv,
        model: words(&["--model", "{model}"]),
        conversation: Vec::new(),
        resume: words(&["resume", "--last"]),
        dashes: true,
        ready: None,
        install: Some("npm install -g @openai/codex".to_owned()),
    }
}
