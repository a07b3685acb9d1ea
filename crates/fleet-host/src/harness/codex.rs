//! Codex. Flags as its `--help` documents them; screens as version 0.169 draws them.
//!
//! - It chooses its conversation's id itself. While nobody knows it `resume --last` means the newest one of the folder
//!   it runs in, and every agent has a folder of its own.
//! - Its terminal program otherwise starts a daemon that outlives it: hence `--no-daemon`.
//! - A message of trouble begins with `■` and stays above the prompt until something else is said.
//! - Its prompt shows a suggestion, which stands behind the cursor: only what is before the cursor was typed.

mod reports;

use fleet_core::agent::Reason;

pub(super) use self::reports::{follows, written};
use super::sign::{Draft, Place, Rule, Sign, Signs};
use super::trust::Trust;
use super::{CTRL_C, ESCAPE, Harness, PromptBy, words};

pub(super) fn harness() -> Harness {
    Harness {
        name: "codex".to_owned(),
        command: words(&["codex", "--no-daemon", "-c", "check_for_update_on_startup=false"]),
        prompt: PromptBy::Argv,
        model: words(&["--model", "{model}"]),
        conversation: Vec::new(),
        resume: words(&["resume", "{id}"]),
        resume_last: words(&["resume", "--last"]),
        conversations: Vec::new(),
        dashes: true,
        signs: signs(),
        interrupt: ESCAPE.to_owned(),
        clear: CTRL_C.to_owned(),
        env: Vec::new(),
        install: Some("npm install -g @openai/codex".to_owned()),
        trust: Trust::Codex,
        tested: "0.169.0",
        limits: &["it reports tokens, and no cost"],
    }
}

fn signs() -> Signs {
    let asks = Sign::Asks;
    Signs {
        rules: vec![
            Rule::new(
                "login dialog",
                asks(Reason::Login),
                Place::Bottom(16),
                r"Sign in with ChatGPT",
            ),
            Rule::new(
                "dialog",
                asks(Reason::Permission),
                Place::Bottom(12),
                r"› \d+\. [^\n]*(\n[^\n]*)*(enter (continue|confirm) · esc|[Pp]ress enter to (confirm|continue))",
            ),
            Rule::new(
                "esc to interrupt",
                Sign::Works,
                Place::Bottom(12),
                r"esc to interrupt\)",
            ),
            Rule::new(
                "usage limit",
                asks(Reason::Limit),
                Place::Bottom(8),
                r"■ [^■•]*(usage limit|Quota exceeded|out of credits|429)[^■•]*$",
            ),
            Rule::new(
                "not logged in",
                asks(Reason::Login),
                Place::Bottom(8),
                r"■ [^■•]*(401|not logged in|log in again)[^■•]*$",
            ),
            Rule::new("prompt", Sign::Prompt, Place::BeforeCursor, r"^›"),
        ],
        draft: Some(Draft {
            region: None,
            edge: None,
            empty: r"^› *$".to_owned(),
            folded: Some(r"\[Pasted Content \d+ chars\][^\n]* *$".to_owned()),
        }),
        ..Signs::default()
    }
}
