//! Gemini CLI. Flags as its `--help` documents them; titles and screens as version 0.61 draws them.
//!
//! - Its title says how it stands. The cursor of the terminal is not where it draws the draft, which stands in the
//!   last box of the screen, below the last rule; what was sent stands in boxes of the same form above.
//! - While it loads a conversation to go on with, its title says `Ready`. It draws no box then, and keeps what is typed.
//! - It tells of itself by hooks, in the settings that come before everybody's (`system-defaults.json`): lists of hooks
//!   add up. That file it believes only where root alone can write, and warns on its screen of any other. So there are
//!   hooks only where fleet runs as root; any other place for them would be the user's own settings.

use std::path::{Path, PathBuf};

use fleet_core::agent::Reason;
use fleet_core::usage::{Basis, Tokens, Usage};
use serde_json::{Map, Value, json};

use super::heard::{Heard, Written};
use super::reporting::{Reporting, Surroundings};
use super::sign::{Draft, Place, Rule, Sign, Signs};
use super::trust::Trust;
use super::{CTRL_C, ESCAPE, Harness, PromptBy, words};

pub(super) fn harness() -> Harness {
    Harness {
        name: "gemini".to_owned(),
        command: words(&["gemini"]),
        prompt: PromptBy::Paste,
        model: words(&["--model", "{model}"]),
        conversation: words(&["--session-id", "{id}"]),
        resume: words(&["--resume", "{id}"]),
        resume_last: words(&["--resume", "latest"]),
        conversations: Vec::new(),
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
                "question",
                asks(Reason::Question),
                Place::Bottom(24),
                r"│ Answer Questions [^╭]*(Enter to (select|submit)|Esc to cancel)[^\n]*\n╰",
            ),
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
            Rule::new(
                "loading",
                Sign::Loads,
                Place::Bottom(12),
                "Prompts will be queued|Resuming session",
            ),
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
            region: Some(r"▄{20,}\n([^▄▀]*)\n▀{20,}[^▄▀─]*$".to_owned()),
            edge: None,
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

/// The settings' file in the agent's folder.
const FILE: &str = "fleet-gemini.json";
/// Names the file of the settings that come before everybody's.
const DEFAULTS: &str = "GEMINI_CLI_SYSTEM_DEFAULTS_PATH";
/// It is set in what its tools run: a Gemini CLI in there is not the agent.
const NESTED: &str = "GEMINI_CLI";
const HOOKS: [&str; 4] = ["SessionStart", "BeforeAgent", "AfterAgent", "Notification"];

pub(super) fn reporting(surroundings: &Surroundings<'_>) -> Reporting {
    let not = |why: String| Reporting {
        notes: vec![format!("gemini: nothing but its screen tells of it, because {why}")],
        ..Reporting::default()
    };
    let path = surroundings.folder.join(FILE);
    if !(surroundings.only_root_writes)(&path) {
        return not(format!(
            "it believes hooks in {} only where root alone can write",
            path.display()
        ));
    }
    let system = system_defaults(surroundings);
    if (surroundings.exists)(&system) {
        return not(format!("{} is there", system.display()));
    }
    let hook = json!([{ "hooks": [{
        "type": "command",
        "name": "fleet",
        "command": format!("test -n \"${NESTED}\" || {}", surroundings.shell_line("gemini")),
        "timeout": 3000,
    }] }]);
    let hooks: Map<String, Value> = HOOKS.iter().map(|name| ((*name).to_owned(), hook.clone())).collect();
    let mut env = vec![(DEFAULTS.to_owned(), path.display().to_string())];
    // An agent that is started by a tool of another one is not nested in it.
    if (surroundings.var)(NESTED).is_some() {
        env.push((NESTED.to_owned(), String::new()));
    }
    Reporting {
        env,
        files: vec![(path, json!({ "hooks": hooks }).to_string())],
        ..Reporting::default()
    }
}

/// Where it would look without us.
fn system_defaults(surroundings: &Surroundings<'_>) -> PathBuf {
    let var = |name| (surroundings.var)(name).map(PathBuf::from);
    if let Some(path) = var(DEFAULTS).filter(|path| !path.ends_with(FILE)) {
        return path;
    }
    let settings = var("GEMINI_CLI_SYSTEM_SETTINGS_PATH");
    let settings = settings.unwrap_or_else(|| "/etc/gemini-cli/settings.json".into());
    settings.parent().unwrap_or(Path::new("/")).join("system-defaults.json")
}

pub(super) fn heard(event: &Value) -> Vec<Heard> {
    let said = |name: &str| event[name].as_str().map(str::to_owned);
    let Some(hook) = said("hook_event_name") else {
        return Vec::new();
    };
    let conversation = said("session_id").map(|id| Heard::Conversation { id });
    let transcript = said("transcript_path").map(PathBuf::from);
    let transcript = transcript
        .filter(|path| path.is_absolute())
        .map(|path| Heard::Transcript { path });
    let heard = match hook.as_str() {
        "BeforeAgent" => Some(Heard::TurnBegan {
            text: said("prompt"),
            by: "hook BeforeAgent",
        }),
        "AfterAgent" => Some(Heard::TurnEnded),
        "Notification" if event["notification_type"] == "ToolPermission" => Some(Heard::Asked {
            reason: Reason::Permission,
            by: "hook Notification",
        }),
        _ => None,
    };
    conversation.into_iter().chain(transcript).chain(heard).collect()
}

/// A reply in the file of its conversation. It is written once more with the results of its tools.
pub(super) fn written(line: &[u8]) -> Option<Written> {
    // Results of tools may be large, and most lines are others.
    let head = &line[..line.len().min(200)];
    if !head.windows(15).any(|window| window == br#""type":"gemini""#) {
        return None;
    }
    let line: Value = serde_json::from_slice(line).ok()?;
    if line["type"] != "gemini" {
        return None;
    }
    let count = |name: &str| line["tokens"][name].as_u64().unwrap_or(0);
    let (cached, reasoning) = (count("cached"), count("thoughts"));
    Some(Written::Reply {
        id: line["id"].as_str().map(str::to_owned),
        at: line["timestamp"].as_str().and_then(|time| time.parse().ok()),
        usage: Usage {
            model: line["model"].as_str().map(str::to_owned),
            tokens: Tokens {
                input: count("input").saturating_sub(cached).saturating_add(count("tool")),
                cached,
                cache_write: 0,
                output: count("output").saturating_add(reasoning),
                reasoning,
            },
            cost_usd: None,
            source: "transcript".to_owned(),
            basis: Basis::Reported,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::sign::{Look, SignReader};

    #[test]
    fn what_was_sent_is_no_draft_while_a_conversation_is_loaded() {
        let reader = SignReader::new(&signs()).expect("patterns");
        let (top, bottom, rule) = ("▄".repeat(75), "▀".repeat(75), "─".repeat(75));
        let look = |rows: &[&str]| Look {
            rows: rows.iter().map(|row| (*row).to_owned()).collect(),
            title: Some("◇  Ready (a)".to_owned()),
            ..Look::default()
        };
        let sent = [&top, " > say before", &bottom, "✦ before"];
        let status = [
            " workspace (/directory)      sandbox       /model",
            " /w/a     no sandbox    Auto",
        ];
        let loads = ["", "⠋ Resuming session...", "", &rule, " Shift+Tab to accept edits"];
        let loads = look(&[&sent[..], &loads, &status].concat());
        assert_eq!(reader.draft(&loads), None);
        assert_eq!(reader.read(&loads), Some((Sign::Loads, "loading")));

        let typed = [&rule, " Shift+Tab to accept edits", &top, " > say again", &bottom];
        let typed = look(&[&sent[..], &typed, &status].concat());
        assert_eq!(reader.draft(&typed).as_deref(), Some(" > say again"));
        assert_eq!(reader.read(&typed), Some((Sign::Prompt, "title: ready")));
    }
}
