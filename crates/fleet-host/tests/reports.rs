//! What the programs told when they were recorded, read by their harnesses; and the line that leads them to tell.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_core::agent::Reason;
use fleet_core::usage::Tokens;
use fleet_host::exec::Cmd;
use fleet_host::harness;
use fleet_host::harness::heard::{Heard, Written};
use fleet_host::harness::reporting::Surroundings;
use serde_json::Value;

fn recorded(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/reports")
        .join(name);
    std::fs::read_to_string(path).expect("a recording")
}

const SESSION: &str = "139965ce-c82f-4ce3-9a24-ce508bd68d45";

/// What each recorded event tells, beside the conversation and its file.
#[test]
fn every_event_of_claude_tells_what_it_is() {
    let folder = "/home/u/.claude/projects/-home-u-worktrees-one";
    let asked = |reason, by| vec![Heard::Asked { reason, by }];
    let limit = Heard::Asked {
        reason: Reason::Limit,
        by: "hook StopFailure",
    };
    let wanted: Vec<(&str, Vec<Heard>)> = vec![
        ("SessionStart", vec![]),
        (
            "UserPromptSubmit",
            vec![Heard::TurnBegan {
                text: Some("delegate it".to_owned()),
                by: "hook UserPromptSubmit",
            }],
        ),
        (
            "SubagentStop",
            vec![
                Heard::Transcript {
                    path: format!("{folder}/{SESSION}/subagents/agent-a358f1d2b06fbee74.jsonl").into(),
                },
                Heard::TranscriptGrew,
                Heard::CameBack {
                    id: "a358f1d2b06fbee74".to_owned(),
                },
            ],
        ),
        ("Stop", vec![Heard::TurnEnded]),
        // That it is idle the screen tells.
        ("Notification", vec![]),
        ("PermissionRequest", asked(Reason::Permission, "hook PermissionRequest")),
        ("PermissionRequest", asked(Reason::Question, "hook PermissionRequest")),
        ("SessionEnd", vec![Heard::TranscriptGrew]),
        ("SessionStart", vec![]),
        ("StopFailure", vec![Heard::TurnEnded, limit]),
        (
            "",
            vec![Heard::CostSoFar {
                usd: 0.0484,
                source: "statusline",
            }],
        ),
    ];
    let events: Vec<Value> = recorded("claude.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(events.len(), wanted.len());
    for (event, (name, told)) in events.iter().zip(wanted) {
        assert_eq!(event["hook_event_name"].as_str().unwrap_or_default(), name);
        let id = event["session_id"].as_str().expect("an id").to_owned();
        let path = PathBuf::from(format!("{folder}/{id}.jsonl"));
        let all = [vec![Heard::Conversation { id }, Heard::Transcript { path }], told].concat();
        assert_eq!(harness::heard("claude", event), all, "{name}");
    }
}

#[test]
fn what_is_no_event_tells_nothing() {
    for event in [
        "null",
        "7",
        "[]",
        "{}",
        r#"{"hook_event_name":"Dreamt"}"#,
        r#"{"prompt":["x"]}"#,
    ] {
        let event: Value = serde_json::from_str(event).expect("JSON");
        for name in harness::BUILTIN {
            assert_eq!(harness::heard(name, &event), [], "{name}: {event}");
        }
    }
}

/// The replies in a recording: id, model and tokens.
fn replies(name: &str, recording: &str) -> Vec<(String, Option<String>, Tokens)> {
    let lines = recorded(recording);
    let told = lines.lines().filter_map(|line| harness::written(name, line.as_bytes()));
    told.filter_map(|told| match told {
        Written::Reply { id, at, usage } => {
            assert!(at.is_some() && usage.cost_usd.is_none());
            Some((id.expect("an id"), usage.model, usage.tokens))
        }
        _ => None,
    })
    .collect()
}

#[test]
fn a_transcript_of_claude_has_a_line_for_each_block_of_a_reply() {
    let replies = replies("claude", "claude-transcript.jsonl");
    let ids: std::collections::BTreeSet<&String> = replies.iter().map(|(id, ..)| id).collect();
    assert_eq!((replies.len(), ids.len()), (9, 7));
    let (_, model, tokens) = replies
        .iter()
        .find(|(.., tokens)| tokens.cached > 0)
        .expect("one that was cached");
    assert_eq!(model.as_deref(), Some("claude-opus-4-8"));
    assert_eq!((tokens.input, tokens.cached, tokens.output), (700, 300, 40));
}

#[test]
fn a_rollout_of_codex_tells_its_conversation_its_model_its_prompts_and_each_reply_once() {
    let lines = recorded("codex-rollout.jsonl");
    let told: Vec<Written> = lines
        .lines()
        .filter_map(|line| harness::written("codex", line.as_bytes()))
        .collect();
    let id = "01a1fcf7-3e8d-7bb2-9cd7-b2003e1b7656".to_owned();
    assert_eq!(told[0], Written::Conversation { id });
    assert_eq!(told[1], Written::Model("scripted".to_owned()));
    assert!(
        matches!(&told[2], Written::TurnBegan { text, at: Some(_), .. } if text == "C-c 12-0"),
        "{told:?}"
    );
    let replies = replies("codex", "codex-rollout.jsonl");
    assert_eq!(replies.len(), 2);
    assert!(
        replies
            .iter()
            .all(|(_, model, tokens)| model.is_none() && (tokens.input, tokens.output) == (1000, 50))
    );
    let path = Path::new("/home/u/.codex/sessions/2026/11/21/rollout-2026-11-21T07-17-04-01a1.jsonl");
    assert!(harness::is_transcript("codex", path) && !harness::is_transcript("claude", path));
    assert!(!harness::is_transcript("codex", Path::new("/home/u/rollout-1.jsonl")));
}

#[test]
fn what_was_cached_is_no_input_of_codex() {
    let line = br#"{"timestamp":"2026-11-21T07:17:10.317Z","type":"token_usage_record","payload":{"response_id":"r",
        "usage":{"input_tokens":1000,"cached_input_tokens":300,"output_tokens":50,"reasoning_output_tokens":20}}}"#;
    let Some(Written::Reply { usage, .. }) = harness::written("codex", line) else {
        panic!("no reply");
    };
    let tokens = usage.tokens;
    assert_eq!(
        (tokens.input, tokens.cached, tokens.output, tokens.reasoning),
        (700, 300, 50, 20)
    );
}

/// Claude Code runs it by a shell: a path may have anything in it.
#[test]
fn the_command_of_a_hook_survives_a_path_with_spaces_and_quotes() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("it's a \"dir\" $(touch x) `y` \\ ü");
    std::fs::create_dir(&folder).expect("made");
    let program = folder.join("fleet");
    std::fs::write(&program, "#!/bin/sh\nprintf '%s|' \"$@\" > \"${0%/*}/args\"\n").expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("executable");
    let around = Surroundings {
        executable: &program,
        cwd: dir.path(),
        home: dir.path(),
        folder: dir.path(),
        command: &[],
        var: &|_| None,
        exists: &|_| false,
        only_root_writes: &|_| false,
        read: &|_| None,
    };
    let run = Cmd::new("test.hook", "/bin/sh", dir.path())
        .args(["-c", &around.shell_line("claude")])
        .timeout(Duration::from_secs(60))
        .output()
        .expect("run");
    assert!(run.status.success(), "{}", run.error_text());
    let args = std::fs::read_to_string(folder.join("args")).expect("it was started");
    assert_eq!(args, "__report|claude|");
    assert!(!dir.path().join("x").exists());
}
