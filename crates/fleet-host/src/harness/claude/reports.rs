//! What Claude Code tells of itself: hooks and a status line, given by `--settings`, and its transcripts.
//!
//! - Hooks of all settings run, ours beside the user's. Of several `--settings` the last one counts, so the user's own are
//!   taken into ours. Of status lines one counts, and those of flags before those of files: ours is given only where the
//!   user has none.
//! - `UserPromptSubmit` runs before the turn begins and is waited for. Its `prompt` has tabs expanded, and what was folded
//!   in the draft in full. Commands of the program's own (`/clear`) run none.
//! - Escape runs no `Stop` hook, and a reply that failed runs `StopFailure` instead.
//! - `PermissionRequest` runs as the dialog opens, `Notification` once it was open for some seconds. A hook of the user's
//!   may answer in the dialog's place, and nobody is asked then: where there is one, ours is left out.
//! - `PreToolUse` and `PostToolUse` would be a process for every tool call, and `SessionEnd` one that the program's end waits
//!   for. They tell nothing that is needed here.
//! - The transcript has a line for each block of a reply, with the usage of all of it; a sub-agent has a file of its own.
//!   Side requests (titles) are in neither, but the cost in the status line has them.

use std::path::{Path, PathBuf};

use fleet_core::Time;
use fleet_core::agent::Reason;
use fleet_core::task::TaskId;
use fleet_core::usage::{Basis, Tokens, Usage};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::harness::heard::{Heard, Note, Written};
use crate::harness::reporting::{Reporting, Surroundings};

/// The hooks, and for which of their events.
const HOOKS: [(&str, &str); 8] = [
    ("UserPromptSubmit", ""),
    ("Stop", ""),
    ("StopFailure", ""),
    ("SubagentStart", ""),
    ("SubagentStop", ""),
    ("PermissionRequest", ""),
    ("Notification", "permission_prompt|elicitation_dialog"),
    ("SessionStart", ""),
];
/// Seconds after which Claude Code gives up on one of ours. It ends by itself before that.
const TIMEOUT: u32 = 5;
/// So many characters of a sub-agent's prompt say what it is for.
const ABOUT: usize = 200;

pub(in crate::harness) fn heard(event: &Value) -> Vec<Heard> {
    let text = |name: &str| event[name].as_str().map(str::to_owned);
    let mut heard = Vec::new();
    // Those of a sub-agent have the conversation of their parent.
    if let Some(id) = text("session_id") {
        heard.push(Heard::Conversation { id });
    }
    for name in ["transcript_path", "agent_transcript_path"] {
        heard.extend(text(name).map(|path| Heard::Transcript { path: path.into() }));
    }
    let asked = |reason, by| Heard::Asked { reason, by };
    match event["hook_event_name"].as_str() {
        Some("UserPromptSubmit") => heard.push(Heard::TurnBegan {
            text: text("prompt"),
            by: "hook UserPromptSubmit",
        }),
        Some("Stop") => heard.push(Heard::TurnEnded),
        Some("StopFailure") => {
            heard.push(Heard::TurnEnded);
            let trouble = match event["error"].as_str() {
                Some("rate_limit" | "billing_error") => Some(Reason::Limit),
                Some("authentication_failed") => Some(Reason::Login),
                _ => None,
            };
            heard.extend(trouble.map(|reason| asked(reason, "hook StopFailure")));
        }
        Some("SubagentStart") => {
            let own = own_transcript(event);
            heard.extend(own.map(|path| Heard::Transcript { path }));
            heard.push(Heard::TranscriptGrew);
        }
        Some("SubagentStop") => {
            heard.push(Heard::TranscriptGrew);
            heard.extend(text("agent_id").map(|id| Heard::CameBack { id }));
        }
        Some("SessionEnd") => heard.push(Heard::TranscriptGrew),
        Some("PermissionRequest") => {
            let reason = match event["tool_name"].as_str() {
                Some("AskUserQuestion") => Reason::Question,
                _ => Reason::Permission,
            };
            heard.push(asked(reason, "hook PermissionRequest"));
        }
        Some("Notification") => match event["notification_type"].as_str() {
            Some("permission_prompt") => heard.push(asked(Reason::Permission, "hook Notification")),
            Some("elicitation_dialog") => heard.push(asked(Reason::Question, "hook Notification")),
            _ => {}
        },
        Some(_) => {}
        // The status line.
        None => {
            let usd = event["cost"]["total_cost_usd"].as_f64();
            heard.extend(usd.map(|usd| Heard::CostSoFar {
                usd,
                source: "statusline",
            }));
        }
    }
    heard
}

/// Where a sub-agent writes its transcript that has just begun: beside that of its session.
fn own_transcript(event: &Value) -> Option<PathBuf> {
    let id = event["agent_id"].as_str().filter(|id| is_name(id))?;
    let session = Path::new(event["transcript_path"].as_str()?).with_extension("");
    Some(session.join("subagents").join(format!("agent-{id}.jsonl")))
}

/// Where Claude Code has a folder for each project, with what was said in it.
pub(in crate::harness) fn projects(var: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let own = var("CLAUDE_CONFIG_DIR").map(PathBuf::from);
    let own = own.or_else(|| Some(Path::new(&var("HOME")?).join(".claude")));
    own.map(|own| own.join("projects"))
}

/// The transcript of the sub-agent `name` of `conversation`, below the folder of its project.
pub(in crate::harness) fn transcript_of(conversation: &str, name: &str) -> Option<PathBuf> {
    let fits = is_name(conversation) && is_name(name);
    fits.then(|| {
        Path::new(conversation)
            .join("subagents")
            .join(format!("agent-{name}.jsonl"))
    })
}

/// What stands in the file of notes beside the transcript of a sub-agent.
pub(in crate::harness) fn note(text: &str) -> Note {
    let note: Value = serde_json::from_str(text).unwrap_or_default();
    let word = |name: &str| note[name].as_str().map(str::to_owned);
    Note {
        crew: word("agentType"),
        about: word("description"),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// A line of a transcript, as far as it is read.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    timestamp: Option<Time>,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    id: Option<String>,
    model: Option<String>,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Counts {
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    cache_read_input_tokens: u64,
    #[serde(default)]
    cache_creation_input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
}

pub(in crate::harness) fn written(line: &[u8]) -> Option<Written> {
    let line = std::str::from_utf8(line).ok()?;
    if let Some(sub_agent) = sent_out(line) {
        return Some(sub_agent);
    }
    // Most lines are of other kinds, and some are long.
    let line = Some(line).filter(|line| line.contains("\"usage\""))?;
    let line: Line = serde_json::from_str(line)
        .ok()
        .filter(|line: &Line| line.kind == "assistant")?;
    let message = line.message?;
    let counts = message.usage?;
    // What the program itself says in the model's place.
    if message.model.as_deref() == Some("<synthetic>") {
        return None;
    }
    Some(Written::Reply {
        id: message.id,
        at: line.timestamp,
        usage: Usage {
            model: message.model,
            tokens: Tokens {
                input: counts.input_tokens,
                cached: counts.cache_read_input_tokens,
                cache_write: counts.cache_creation_input_tokens,
                output: counts.output_tokens,
                reasoning: 0,
            },
            cost_usd: None,
            source: "transcript".to_owned(),
            basis: Basis::Reported,
        },
    })
}

/// The prompt of a sub-agent, if the line is that: what a tool has answered is a list and no text.
fn sent_out(line: &str) -> Option<Written> {
    if !line.contains("\"isSidechain\":true") || !line.contains("\"type\":\"user\"") {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let prompt = line["message"]["content"].as_str().filter(|_| line["type"] == "user")?;
    let first = prompt.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Some(Written::SubAgent {
        id: line["agentId"].as_str().filter(|id| is_name(id)).map(str::to_owned),
        at: line["timestamp"].as_str().and_then(|at| at.parse().ok()),
        about: first.trim().chars().take(ABOUT).collect(),
        task: TaskId::named_in(prompt),
    })
}

pub(in crate::harness) fn reporting(around: &Surroundings<'_>) -> Reporting {
    let mut notes = Vec::new();
    let files: Vec<Value> = settings_files(around)
        .iter()
        .filter_map(|path| serde_json::from_str(&(around.read)(path)?).ok())
        .collect();
    let mut ours = match own_settings(around) {
        Ok(own) => own,
        Err(note) => {
            notes.push(note);
            return Reporting {
                notes,
                ..Reporting::default()
            };
        }
    };
    let has = |settings: &Map<String, Value>, what: &str| {
        settings.get(what).is_some() || files.iter().any(|each| each.get(what).is_some())
    };
    let off = |settings: &Value| settings["disableAllHooks"] == true;
    if files.iter().any(off) || off(&Value::from(ours.clone())) {
        notes.push("claude: your settings switch hooks off, so it is read from the screen alone".to_owned());
    }
    let line = around.shell_line("claude");
    if has(&ours, "statusLine") {
        notes.push("claude: the status line is your own, so what a turn costs is not heard".to_owned());
    } else {
        ours.insert("statusLine".to_owned(), json!({"type": "command", "command": line}));
    }
    let answers = |settings: &Value| settings["hooks"].get("PermissionRequest").is_some();
    let answered = files.iter().any(answers) || answers(&Value::from(ours.clone()));
    let hook = json!({"type": "command", "command": line, "timeout": TIMEOUT});
    let hooks = ours.entry("hooks").or_insert_with(|| json!({}));
    for (event, matcher) in HOOKS {
        if event == "PermissionRequest" && answered {
            notes.push(
                "claude: a hook of your own answers permission requests, so they are read from the screen alone"
                    .to_owned(),
            );
            continue;
        }
        let group = json!({"matcher": matcher, "hooks": [hook]});
        match &mut hooks[event] {
            Value::Array(groups) => groups.push(group),
            own => *own = json!([group]),
        }
    }
    let path = around.folder.join("claude.json");
    Reporting {
        args: vec!["--settings".to_owned(), path.display().to_string()],
        replaces: Some("--settings"),
        files: vec![(path, Value::from(ours).to_string())],
        notes,
        ..Reporting::default()
    }
}

/// The files that Claude Code reads settings from, here.
fn settings_files(around: &Surroundings<'_>) -> Vec<PathBuf> {
    let own = (around.var)("CLAUDE_CONFIG_DIR").map_or_else(|| around.home.join(".claude"), PathBuf::from);
    vec![
        own.join("settings.json"),
        around.cwd.join(".claude/settings.json"),
        around.cwd.join(".claude/settings.local.json"),
        PathBuf::from("/etc/claude-code/managed-settings.json"),
    ]
}

/// What the user's own `--settings` says; nothing where there is none. Error: a note, when it cannot be read.
fn own_settings(around: &Surroundings<'_>) -> Result<Map<String, Value>, String> {
    let args = around.command.iter().take_while(|arg| *arg != "--");
    let mut given = None;
    let mut is_next = false;
    for arg in args {
        if is_next {
            given = Some(arg.as_str());
        }
        is_next = arg == "--settings";
        given = arg.strip_prefix("--settings=").or(given);
    }
    let Some(given) = given else { return Ok(Map::new()) };
    let text = if given.trim_start().starts_with('{') {
        Some(given.to_owned())
    } else {
        (around.read)(&around.cwd.join(Path::new(given)))
    };
    let settings = text.and_then(|text| serde_json::from_str(&text).ok());
    settings.ok_or_else(|| {
        "claude: the settings that `claude_flags` names cannot be read, so its hooks are not heard".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was asked to be run, under these settings.
    fn settings(command: &[&str], files: &[(&str, &str)]) -> (Reporting, Value) {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        let reporting = reporting(&Surroundings {
            executable: Path::new("/opt/my fleet's/fleet"),
            cwd: Path::new("/w"),
            home: Path::new("/h"),
            folder: Path::new("/a/reporting"),
            command: &command,
            var: &|_| None,
            read: &read,
            exists: &|_| false,
            only_root_writes: &|_| false,
        });
        let written = reporting.files.first().map(|(_, text)| text.as_str()).unwrap_or("null");
        let value = serde_json::from_str(written).expect("JSON");
        (reporting, value)
    }

    #[test]
    fn hooks_and_a_status_line_are_given_by_a_file_of_fleets_own() {
        let (reporting, value) = settings(&["claude"], &[]);
        assert_eq!(reporting.args, ["--settings", "/a/reporting/claude.json"]);
        let line = r"'/opt/my fleet'\''s/fleet' '__report' 'claude'";
        assert_eq!(value["statusLine"]["command"], line);
        assert_eq!(value["hooks"]["Stop"][0]["hooks"][0]["command"], line);
        assert_eq!(value["hooks"].as_object().expect("hooks").len(), HOOKS.len());
        assert!(reporting.notes.is_empty());
    }

    #[test]
    fn a_status_line_of_the_users_own_stays() {
        for file in [
            "/h/.claude/settings.json",
            "/w/.claude/settings.json",
            "/w/.claude/settings.local.json",
        ] {
            let (reporting, value) = settings(
                &["claude"],
                &[(file, r#"{"statusLine":{"type":"command","command":"x"}}"#)],
            );
            assert!(value["statusLine"].is_null() && reporting.notes.len() == 1, "{file}");
            assert!(value["hooks"]["Stop"].is_array());
        }
    }

    #[test]
    fn a_hook_of_the_users_own_that_answers_permission_requests_stays_alone() {
        let file = ("/h/.claude/settings.json", r#"{"hooks":{"PermissionRequest":[]}}"#);
        let (reporting, value) = settings(&["claude"], &[file]);
        assert!(value["hooks"]["PermissionRequest"].is_null() && value["hooks"]["Stop"].is_array());
        assert_eq!(reporting.notes.len(), 1);
    }

    #[test]
    fn settings_that_the_user_gives_by_a_flag_are_taken_into_ours() {
        let own = r#"{"model":"opus","statusLine":{"type":"command","command":"mine"},
            "hooks":{"Stop":[{"hooks":[{"type":"command","command":"mine"}]}]}}"#;
        let (_, by_file) = settings(&["claude", "--settings", "own.json"], &[("/w/own.json", own)]);
        let inline = format!("--settings={own}");
        let (_, by_text) = settings(&["claude", &inline], &[]);
        for value in [by_file, by_text] {
            assert_eq!(
                (&value["model"], &value["statusLine"]["command"]),
                (&json!("opus"), &json!("mine"))
            );
            let stop = value["hooks"]["Stop"].as_array().expect("groups");
            assert_eq!((stop.len(), &stop[0]["hooks"][0]["command"]), (2, &json!("mine")));
        }
    }

    #[test]
    fn settings_of_the_user_that_cannot_be_read_are_left_alone() {
        let (reporting, _) = settings(&["claude", "--settings", "gone.json"], &[]);
        assert!(reporting.args.is_empty() && reporting.notes.len() == 1);
    }

    #[test]
    fn what_the_program_itself_says_in_the_models_place_used_nothing() {
        let line = br#"{"type":"assistant","message":{"id":"m","model":"<synthetic>","usage":{"input_tokens":0}}}"#;
        assert_eq!(written(line), None);
    }
}
