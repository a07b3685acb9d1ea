//! Pi. Flags as its `--help` documents them; screens as version 0.73 draws them.
//!
//! - It asks for no permission. Its title never changes.
//! - The draft stands between the last two rules of the screen, above two lines of status.
//! - It tells of itself by an extension of ours, an argument that switches off none of the user's. Its heartbeat is a
//!   file ([`super::heartbeat`]): the supervisor sleeps on while Pi says that it turns its loop, and with which model.
//! - The extension asks before each tool whether anything is against it: the answer to its report may be
//!   `{"block": "why"}`, which the model then reads.

use fleet_core::agent::Reason;
use fleet_core::usage::{Basis, Tokens, Usage};
use serde_json::Value;

use super::heard::{Heard, Written};
use super::heartbeat;
use super::reporting::{Reporting, Surroundings};
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
        resume: words(&["--session", "{id}"]),
        resume_last: words(&["--continue"]),
        conversations: Vec::new(),
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
            edge: None,
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

const EXTENSION: &str = include_str!("pi/extension.ts");

pub(super) fn reporting(surroundings: &Surroundings<'_>) -> Reporting {
    let path = surroundings.folder.join("fleet.ts");
    Reporting {
        args: vec!["--extension".to_owned(), path.display().to_string()],
        env: heartbeat::path(surroundings.folder)
            .map(|path| (heartbeat::VARIABLE.to_owned(), path.display().to_string()))
            .into_iter()
            .collect(),
        files: vec![(path, EXTENSION.to_owned())],
        ..Reporting::default()
    }
}

pub(super) fn heard(event: &Value) -> Vec<Heard> {
    let said = |name: &str| event[name].as_str().map(str::to_owned);
    let heard = match event["type"].as_str() {
        Some("session_start") => said("id").map(|id| Heard::Conversation { id }),
        Some("turn") => Some(Heard::TurnBegan {
            text: said("text"),
            by: "extension turn",
        }),
        Some("message_end") => used(event).map(Heard::Used),
        Some("agent_end") => Some(Heard::TurnEnded),
        _ => None,
    };
    heard.into_iter().collect()
}

/// A line of the file of a conversation.
pub(super) fn written(line: &[u8]) -> Option<Written> {
    let line = std::str::from_utf8(line).ok()?;
    let line = Some(line).filter(|line| line.contains("\"usage\""))?;
    let line: Value = serde_json::from_str(line).ok()?;
    let message = &line["message"];
    if line["type"] != "message" || message["role"] != "assistant" {
        return None;
    }
    Some(Written::Reply {
        id: line["id"].as_str().map(str::to_owned),
        at: line["timestamp"].as_str().and_then(|at| at.parse().ok()),
        usage: used(message)?,
    })
}

/// What one reply used. The numbers are disjoint; a reply that was interrupted has none.
fn used(event: &Value) -> Option<Usage> {
    let usage = &event["usage"];
    let count = |name: &str| usage[name].as_u64().unwrap_or(0);
    let tokens = Tokens {
        input: count("input"),
        cached: count("cacheRead"),
        cache_write: count("cacheWrite"),
        output: count("output"),
        reasoning: count("reasoning"),
    };
    (tokens != Tokens::default()).then(|| Usage {
        model: event["model"].as_str().map(str::to_owned),
        tokens,
        cost_usd: usage["cost"]["total"].as_f64(),
        source: "message.usage".to_owned(),
        basis: Basis::Reported,
    })
}
