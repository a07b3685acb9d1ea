//! Pi. Flags as its `--help` documents them; screens as version 0.73 draws them.
//!
//! - It asks for no permission. Its title never changes.
//! - The draft stands between the last two rules of the screen, above two lines of status.

use fleet_core::agent::Reason;

use super::sign::{Draft, Place, Rule, Sign, Signs};
use super::trust::Trust;
use super::{CTRL_C, ESCAPE, Harness, PromptBy, words};

pub(super) fn harness() -> Harness {
    Harness {
        name: "pi".to_owned(),
        command: words(&["pi"]),
        prompt: PromptBy::Paste,
        model: words(&["--model", "{model}"]),
        conversation: Vec::new(),
        resume: words(&["--continue"]),
        dashes: false,
        signs: signs(),
        interrupt: ESCAPE.to_owned(),
        clear: CTRL_C.to_owned(),
        env: Vec::new(),
        install: Some("npm install -g @mariozechner/pi-coding-agent".to_owned()),
        trust: Trust::Unasked,
        tested: "0.73.1",
        limits: &["it asks for no permission, whatever the model wants to do"],
    }
}

fn signs() -> Signs {
    Signs {
        rules: vec![
            Rule::new(
                "working",
                Sign::Works,
                Place::Bottom(12),
                r"[\x{2800}-\x{28FF}] [^\n]*(\.\.\.|…)",
            ),
            Rule::new(
                "not logged in",
                Sign::Asks(Reason::Login),
                Place::Bottom(8),
                &last_error("401"),
            ),
            Rule::new(
                "limit",
                Sign::Asks(Reason::Limit),
                Place::Bottom(8),
                &last_error("429|quota|[Rr]ate limit"),
            ),
            Rule::new("status line", Sign::Prompt, Place::Bottom(3), r"\d%/\d+(\.\d+)?[kM]"),
        ],
        draft: Some(Draft {
            region: Some(r"(?s).*─{20,}\n(.*?)─{20,}\n".to_owned()),
            empty: r"^\s*$".to_owned(),
            folded: Some(r"\[paste #\d+[^\]]*\]\s*$".to_owned()),
        }),
        ..Signs::default()
    }
}

/// The last paragraph above the draft is an error with one of `words` in it.
fn last_error(words: &str) -> String {
    format!(r"Error: [^\n]*({words})[^\n]*(\n[^\n]+)*\n*\n─{{20,}}\n[^─]*─{{20,}}")
}
