//! Claude Code. Flags as its `--help` documents them; screens as version 2.1 draws them.
//!
//! - While it works its title begins with a braille spinner; at a permission question the title is that of rest, so
//!   the dialogs are read from the screen and come first.
//! - A prompt that is interrupted before the first word of the answer returns to the draft. The draft is therefore
//!   looked at before anything is pasted.

mod reports;

use fleet_core::agent::Reason;

pub(super) use self::reports::{heard, note, projects, reporting, transcript_of, written};
use super::sign::{Draft, Place, Rule, Sign, Signs};
use super::trust::Trust;
use super::{CTRL_C, ESCAPE, Harness, PromptBy, words};

pub(super) fn harness() -> Harness {
    Harness {
        name: "claude".to_owned(),
        command: words(&["claude"]),
        prompt: PromptBy::Argv,
        model: words(&["--model", "{model}"]),
        conversation: words(&["--session-id", "{id}"]),
        resume: words(&["--resume", "{id}"]),
        resume_last: words(&["--continue"]),
        conversations: Vec::new(),
        dashes: true,
        signs: signs(),
        interrupt: ESCAPE.to_owned(),
        clear: CTRL_C.to_owned(),
        env: Vec::new(),
        install: Some("npm install -g @anthropic-ai/claude-code".to_owned()),
        trust: Trust::Claude,
        tested: "2.1.197",
        limits: &[],
    }
}

fn signs() -> Signs {
    let asks = Sign::Asks;
    Signs {
        rules: vec![
            Rule::new(
                "question",
                asks(Reason::Question),
                Place::Bottom(10),
                r"Enter to select · [^\n]*Esc to cancel",
            ),
            Rule::new(
                "login dialog",
                asks(Reason::Login),
                Place::Bottom(16),
                r"Select login method|Paste code here if prompted",
            ),
            Rule::new(
                "dialog",
                asks(Reason::Permission),
                Place::Bottom(16),
                r"❯ \d+\. [^\n]*(\n[^\n]*)*Esc to cancel",
            ),
            Rule::new(
                "spinner in the title",
                Sign::Works,
                Place::Title,
                r"^[\x{2800}-\x{28FF}]",
            ),
            Rule::new("esc to interrupt", Sign::Works, Place::Bottom(8), r"esc to interrupt"),
            Rule::new(
                "not logged in",
                asks(Reason::Login),
                Place::Bottom(9),
                r"[⎿●] [^⎿●─]*(Please run /login|Not logged in|Invalid API key)[^⎿●─]*─{10,}",
            ),
            Rule::new(
                "out of credit",
                asks(Reason::Limit),
                Place::Bottom(9),
                r"[⎿●] [^⎿●─]*(Credit balance (is )?too low|limit reached|[Rr]ate limit|hit your [^\n]*limit|429)[^⎿●─]*─{10,}",
            ),
            Rule::new("prompt", Sign::Prompt, Place::BeforeCursor, r"^❯"),
        ],
        draft: Some(Draft {
            region: None,
            edge: None,
            empty: r"^❯[ \x{A0}]*$".to_owned(),
            folded: Some(r"\[Pasted text #\d+[^\]]*\][ \x{A0}]*$".to_owned()),
        }),
        ..Signs::default()
    }
}
