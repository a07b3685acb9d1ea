//! What a program tells of itself reaches its supervisor, is believed where it may be, and disturbs nobody.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Instant;

use fleet_core::fact::{Entry, Fact, Receipt, Source};
use fleet_host::supervise::client::Client;
use fleet_host::supervise::journal;
use fleet_testkit::{Finished, binary, wait_until};
use serde_json::{Value, json};

use crate::prompts::stage::{LONG, Stage, kill_hard, outcome};

/// Hands on `event` as a hook of the agent on `branch` would.
#[track_caller]
fn tell(stage: &Stage, branch: &str, event: &Value) {
    let told = hand_on(stage, &stage.socket(branch), event.to_string().as_bytes());
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", ""));
}

fn hand_on(stage: &Stage, socket: &Path, event: &[u8]) -> Finished {
    stage
        .env
        .program(binary("fleet"), ["__report", "claude"])
        .env("FLEET_SOCKET", socket)
        .stdin(event)
        .timeout(LONG)
        .output()
        .success()
}

fn facts(stage: &Stage, branch: &str) -> Vec<Entry> {
    journal::read(&stage.folder(branch)).expect("a journal")
}

fn agent(stage: &Stage, branch: &str) -> Value {
    stage.explain(branch)["agent"].clone()
}

/// A stage whose agent tells of a turn by running `./tell` in it: that the turn began with just this prompt.
fn telling_stage(args: &[&str]) -> Stage {
    let stage = Stage::scripted(args);
    let line = format!(
        "#!/bin/sh\nexec '{}' __report claude < event\n",
        binary("fleet").display()
    );
    fs::write(stage.repo.join("tell"), line).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(stage.repo.join("tell"), mode).expect("executable");
    // White space at the ends is the program's own affair.
    let event = json!({"hook_event_name": "UserPromptSubmit", "prompt": "  run ./tell\r\n"});
    fs::write(stage.repo.join("event"), event.to_string()).expect("written");
    stage.env.commit_all(&stage.repo, "what it tells");
    stage
}

#[test]
fn a_turn_that_the_program_tells_of_is_the_receipt_that_no_screen_gave() {
    // Without an echo nothing is seen in the draft.
    let stage = telling_stage(&["--no-echo"]);
    stage.create("a");
    let sent = stage.prompt("a", "run ./tell").success();
    assert_eq!(outcome(&sent), "delivered");
    assert!(sent.stdout.contains("hook UserPromptSubmit"), "{sent}");
    stage.wait_state("a", "idle");
    let receipts: Vec<Entry> = facts(&stage, "a")
        .into_iter()
        .filter(|entry| matches!(entry.fact, Fact::PromptDelivered { .. } | Fact::PromptUnverified { .. }))
        .collect();
    assert_eq!(receipts.len(), 1, "{receipts:?}");
    assert!(
        matches!(
            receipts[0].fact,
            Fact::PromptDelivered {
                by: Receipt::Program,
                ..
            }
        ),
        "{receipts:?}"
    );
    assert_eq!(receipts[0].src, Source::Program);
    assert_eq!(stage.received(), ["run ./tell"]);
    stage.end();
}

#[test]
fn a_turn_with_another_text_is_no_receipt_and_a_receipt_of_the_screen_stays_the_only_one() {
    let stage = telling_stage(&[]);
    stage.create("a");
    for text in ["run ./tell", "print other\nrun ./tell"] {
        assert_eq!(outcome(&stage.prompt("a", text).success()), "delivered");
        stage.wait_state("a", "idle");
    }
    let receipts = facts(&stage, "a")
        .iter()
        .filter(|entry| matches!(entry.fact, Fact::PromptDelivered { .. }))
        .count();
    assert_eq!(receipts, 2);
    assert!(
        !fs::read_to_string(stage.folder("a").join("journal"))
            .expect("text")
            .contains("run ./tell")
    );
    stage.end();
}

#[test]
fn a_turn_of_somebody_else_is_work_and_a_question_is_one_until_the_screen_says_otherwise() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    tell(
        &stage,
        "a",
        &json!({"hook_event_name": "UserPromptSubmit", "prompt": "typed by a person"}),
    );
    tell(
        &stage,
        "a",
        &json!({"hook_event_name": "PermissionRequest", "tool_name": "Bash"}),
    );
    let rules: Vec<String> = facts(&stage, "a")
        .into_iter()
        .filter(|entry| entry.src == Source::Program)
        .filter_map(|entry| match entry.fact {
            Fact::Busy { rule } => rule,
            Fact::Asked { rule, .. } => Some(format!("{rule} {}", entry.state)),
            _ => None,
        })
        .collect();
    assert_eq!(
        rules,
        ["hook UserPromptSubmit", "hook PermissionRequest waiting(permission)"]
    );
    // Its prompt is on the screen all the time.
    wait_until(LONG, "the screen to be believed", || {
        let state = agent(&stage, "a")["state"].clone();
        (state == "ready" || state == "idle").then_some(())
    });
    assert_eq!(outcome(&stage.prompt("a", "print still here").success()), "delivered");
    stage.end();
}

#[test]
fn a_conversation_and_what_it_used_are_shown_and_counted_once_also_by_the_next_supervisor() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    let transcript = stage.env.root().join("transcript.jsonl");
    let line = |id: &str, output: u64, at: &str| {
        let usage = json!({"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": output});
        let message = json!({"id": id, "model": "m-1", "usage": usage});
        format!(
            "{}\n",
            json!({"type": "assistant", "timestamp": at, "message": message})
        )
    };
    let late = "2999-01-01T00:00:00.000Z";
    let event = |name: &str| json!({"hook_event_name": name, "session_id": "c-1", "transcript_path": transcript});
    // The first was there before the agent; of the second the beginning is written first.
    let before = line("old", 1000, "2001-01-01T00:00:00.000Z");
    fs::write(&transcript, before + &line("r-1", 1, late) + &line("r-1", 7, late)).expect("written");
    tell(&stage, "a", &event("Stop"));
    let output = || agent(&stage, "a")["usage"][0]["tokens"]["output"].clone();
    wait_until(LONG, "the first reply", || (output() == 7).then_some(()));
    let shown = agent(&stage, "a");
    assert_eq!(shown["conversation"], "c-1");
    assert_eq!(
        (&shown["usage"][0]["model"], &shown["usage"][0]["source"]),
        (&json!("m-1"), &json!("transcript"))
    );
    assert_eq!(shown["usage"][0]["tokens"]["cached"], 5);

    // Half a line is not read before its end is there.
    let more = line("r-2", 20, late);
    let (half, rest) = more.split_at(30);
    append(&transcript, half);
    tell(&stage, "a", &event("Stop"));
    append(&transcript, rest);
    tell(&stage, "a", &event("Stop"));
    tell(&stage, "a", &json!({"cost": {"total_cost_usd": 0.25}}));
    tell(&stage, "a", &json!({"cost": {"total_cost_usd": 0.5}}));
    wait_until(LONG, "the second reply", || (output() == 27).then_some(()));
    let cost = &agent(&stage, "a")["usage"][1];
    assert_eq!(
        (&cost["source"], &cost["cost_usd"]),
        (&json!("statusline"), &json!(0.5))
    );

    // A supervisor that is killed has counted; the next one reads the same file from its beginning.
    let now = facts(&stage, "a").last().expect("facts").at.to_string();
    let counted = fs::read_to_string(&transcript).expect("text").replace(late, &now);
    fs::write(&transcript, counted).expect("written");
    kill_hard(stage.supervisor("a"));
    wait_until(LONG, "the loss", || {
        (agent(&stage, "a")["state"] == "lost").then_some(())
    });
    let _ = stage.fleet(&["resume", "a"]).output().success();
    stage.wait_state("a", "ready");
    append(&transcript, &line("r-3", 100, "2999-01-02T00:00:00.000Z"));
    tell(&stage, "a", &event("Stop"));
    wait_until(LONG, "the third reply", || (output() == 127).then_some(()));
    assert_eq!(agent(&stage, "a")["conversation"], "c-1");
    let conversations = facts(&stage, "a")
        .iter()
        .filter(|entry| matches!(entry.fact, Fact::Conversation { .. }))
        .count();
    assert_eq!(conversations, 1, "said when it changes");
    stage.end();
}

#[test]
fn what_a_sub_agent_uses_is_counted_for_the_task_in_its_prompt() {
    let stage = Stage::scripted(&[]);
    let made = |title: &str, external: &str| {
        let create = ["task", "create", title, "--external", external, "--json"];
        let _ = stage.fleet(&create).output().success();
    };
    let (whole, part) = ("TASK-20260404-001", "TASK-20260404-002");
    made("The whole", whole);
    made("A part", part);
    let _ = stage
        .fleet(&["create", "a", "--task", whole, "--wait", "ready"])
        .output()
        .success();
    let reply = |id: &str, output: u64| {
        let message = json!({"id": id, "model": "m-1", "usage": {"input_tokens": 1, "output_tokens": output}});
        json!({"type": "assistant", "timestamp": "2999-01-01T00:00:00.000Z", "message": message})
    };
    let asked =
        |content: Value| json!({"type": "user", "isSidechain": true, "message": {"role": "user", "content": content}});
    let read = json!([{"type": "tool_result", "content": format!("fleet_task_id: {whole}")}]);
    for (name, lines) in [
        ("captain", vec![reply("r-1", 100)]),
        (
            "crew",
            vec![
                asked(json!(format!("Do it.\nfleet_task_id: {part}"))),
                reply("r-2", 20),
                asked(read),
                asked(json!(format!("fleet_task_id: {whole}"))),
                reply("r-3", 3),
            ],
        ),
        (
            "stray",
            vec![asked(json!("fleet_task_id: TASK-20260404-099")), reply("r-4", 4000)],
        ),
    ] {
        let path = stage.env.root().join(name);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&path, text).expect("written");
        let event = json!({"hook_event_name": "SubagentStop", "agent_transcript_path": path});
        tell(&stage, "a", &event);
    }
    let written = |task: Option<&str>| {
        let told = stage.fleet(&["task", "cost", "--json"]).output().success();
        let told: Value = told.json();
        let groups = told["groups"].as_array().cloned().unwrap_or_default();
        let group = groups.into_iter().find(|group| group["name"].as_str() == task);
        group.map(|group| (group["cost"]["usd"].clone(), group["cost"]["tokens"]["output"].clone()))
    };
    wait_until(LONG, "what the sub-agent used", || {
        (written(Some(part)) == Some((Value::Null, json!(23)))).then_some(())
    });
    // One whose prompt names no task that is recorded here has a record of its own.
    let stray = wait_until(LONG, "what the stray one used", || {
        let listed: Value = stage.fleet(&["task", "list", "--json"]).output().success().json();
        let tasks = listed["tasks"].as_array().cloned().unwrap_or_default();
        let new = tasks
            .into_iter()
            .find(|task| task["id"] != whole && task["id"] != part)?;
        (new["cost"]["tokens"]["output"] == 4000).then_some(new)
    });
    assert_eq!((&stray["parent"], &stray["cost"]["usd"]), (&json!(whole), &Value::Null));
    assert_eq!(written(Some(whole)), Some((Value::Null, json!(100))));
    assert_eq!(written(None), None);
    stage.end();
}

fn append(path: &Path, text: &str) {
    let before = fs::read_to_string(path).expect("text");
    fs::write(path, before + text).expect("written");
}

#[test]
fn whoever_tells_is_not_disturbed_by_anything() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    let socket = stage.socket("a");
    let mut large = vec![b' '; 2 * 1024 * 1024];
    large.extend_from_slice(b"{}");
    let events: [&[u8]; 6] = [b"", b"no JSON", b"null", b"[1,2]", b"{\"hook_event_name\":7}", &large];
    for event in events {
        let told = hand_on(&stage, &socket, event);
        assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", ""));
    }
    for id in ["", "--help", "two words", "\u{1b}[2J", &"x".repeat(1000)] {
        tell(
            &stage,
            "a",
            &json!({"hook_event_name": "SessionStart", "session_id": id}),
        );
    }
    assert!(agent(&stage, "a")["conversation"].is_null());
    let nobody = stage.env.root().join("nobody.sock");
    let _ = hand_on(&stage, &nobody, b"{}");
    // One that takes calls and says nothing.
    let silent = stage.env.root().join("silent.sock");
    let listener = UnixListener::bind(&silent).expect("bound");
    let begun = Instant::now();
    let _ = hand_on(&stage, &silent, b"{}");
    assert!(begun.elapsed() < LONG);
    drop(listener);
    fs::remove_file(silent).expect("removed");
    let bare = stage.env.program(binary("fleet"), ["__report"]).output().success();
    assert_eq!((bare.stdout.as_str(), bare.stderr.as_str()), ("", ""));
    assert_eq!(agent(&stage, "a")["state"], "ready");
    stage.end();
}

#[test]
fn a_supervisor_refuses_a_report_that_is_too_large_or_of_nobody() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    let mut client = Client::connect(&stage.socket("a")).expect("connected");
    let large = json!({"prompt": "x".repeat(2 * 1024 * 1024)});
    for (name, event) in [("claude", large), ("nobody", json!({}))] {
        let error = client.report(name, event, LONG).expect_err("refused");
        assert_eq!(error.kind, fleet_core::Kind::Usage, "{name}: {error:?}");
    }
    client.report("claude", json!({}), LONG).expect("taken");
    stage.end();
}
