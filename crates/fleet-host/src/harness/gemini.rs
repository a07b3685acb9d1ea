//! Gemini CLI. Flags as its `--help` documents them; titles and screens as version 0.61 draws them.
//!
//! - Its title says how it stands. The cursor of the terminal is not where it draws the draft, which stands in the
//!   last box of the screen; what was sent stands in boxes of the same form above.

use fleet_core::agent::Reason;

use super::sign::{Draft, Place, Rule, Sign, Signs};
use super::trust::Trust;
use super::{CTRL_C, ESCAPE, Harness, PromptBy, words};

pub(super) fn harness() -> Harness {
    Harness {
        name: "gemini".to_owned(),
        command: words(&["gemini"]),
        prompt: PromptBy::Paste,
        model: words(&["--model", "{model}"]),
        conversation: Vec::new(),
        resume: words(&["--resume", "latest"]),
        dashes: false,
        signs: signs(),
        interrupt: ESCAPE.to_owned(),
        clear: CTRL_C.to_owned(),
        env: Vec::new(),
        install: Some("npm install -g @google/gemini-cli".to_owned()),
        trust: Trust::Gemini,
        tested: "0.61.0",
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
                Place::Bottom(20),
                r"How would you like to authenticate",
            ),
            Rule::new(
                "limit dialog",
                asks(Reason::Limit),
                Place::Bottom(20),
                r"Usage limit reached|quota limit",
            ),
            Rule::new(
                "dialog",
                asks(Reason::Permission),
                Place::Bottom(14),
                r"● \d+\. [^\n]*(\n[^\n]*)*\(esc\)|Do you trust",
            ),
            Rule::new("title: action required", asks(Reason::Permission), Place::Title, r"^✋"),
            Rule::new("initializing", Sign::Works, Place::Bottom(12), "Prompts will be queued"),
            Rule::new("title: working", Sign::Works, Place::Title, r"^(✦|⏲)"),
            Rule::new(
                "not logged in",
                asks(Reason::Login),
                Place::Bottom(16),
                &last_error(r"401|API key not\s+valid"),
            ),
            Rule::new(
                "limit",
                asks(Reason::Limit),
                Place::Bottom(16),
                &last_error("429|quota"),
            ),
            Rule::new("title: ready", Sign::Prompt, Place::Title, r"^◇"),
        ],
        draft: Some(Draft {
            region: Some(r"(?s).*▄{20,}\n(.*?)\n▀{20,}".to_owned()),
            empty: r"^\s*[>*!]\s+Type your message".to_owned(),
            folded: Some(r"\[Pasted Text: \d+ (lines|chars)[^\]]*\]\s*$".to_owned()),
        }),
        ..Signs::default()
    }
}

/// The last thing above the draft's box is an error with one of `words` in it.
fn last_error(words: &str) -> String {
    format!(r"✕ [^✕✦▄▀]*({words})[^✕✦▄▀]*▄+\n[^▄▀]*▀+[^▄▀]*$")
}
