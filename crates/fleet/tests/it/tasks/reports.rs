//! What crews report, through the verb and through the hook.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::stage::{GOOD, Stage, block};

#[test]
fn a_report_ends_its_task_and_its_cost_is_never_the_account() {
    let stage = Stage::new();
    let id = stage.task(&["The index"]);
    let head = stage
        .env
        .git(&stage.repo, ["rev-parse", "HEAD"])
        .success()
        .stdout
        .trim()
        .to_owned();
    let said = format!("{}commits: [{}, abcdef0]\n", GOOD.replace("TASK", &id), &head[..9]);
    let heard = stage.report(&said);
    assert_eq!(heard["reports"][0]["reception"], "stored");
    assert_eq!(
        heard["reports"][0]["notes"],
        json!(["`abcdef0` is no commit of the repository"])
    );
    let task = stage.answer(["task", "show", &id]);
    assert_eq!(
        (
            &task["status"],
            &task["reported"],
            &task["commits"],
            &task["cost"]["usd"]
        ),
        (&json!("completed"), &json!(1.85), &json!([head]), &Value::Null)
    );
    let report = stage.read(&format!(".fleet/tasks/{id}/report.md"));
    assert!(report.contains("<!-- FLEET_REPORT\nfleet_task_id: "), "{report}");
    let yaml = stage.read(&format!(".fleet/tasks/{id}/task.yaml"));
    assert!(yaml.contains("cost: unknown\nreported_usd: 1.85\n"), "{yaml}");
    assert_eq!(stage.report(&said)["reports"][0]["reception"], "known");
    let said = said.replace("completed", "partial");
    assert_eq!(stage.report(&said)["reports"][0]["reception"], "stored");
    assert_eq!(stage.answer(["task", "show", &id])["status"], "partial");
    stage.end();
}

#[test]
fn what_cannot_be_true_changes_nothing_and_is_noted() {
    let stage = Stage::new();
    let id = stage.task(&["The index"]);
    let good = GOOD.replace("TASK", &id);
    let before = stage.read(&format!(".fleet/tasks/{id}/task.yaml"));
    for (text, why) in [
        (block(&good.replace("1.85", "-5")), "C024"),
        (block(&good.replace("1.85", "1e308")), "C024"),
        (block(&good.replace("1.85", ".nan")), "C024"),
        (block(&good.replace(&id, "../../etc/passwd")), "C027"),
        (block(&good.replace(&id, "TASK-20200101-009")), "there is no such task"),
        (block(&good.replace("completed", "brilliant")), "C025"),
        (block(&good).replace("-->", ""), "C002"),
        (block("a: &a [x]\nb: [*a, *a]\n"), "C012"),
        (block(&format!("version: 2\n{good}")), "C020"),
        (
            format!("{}{}", block(&good), block(&good.replace("completed", "failed"))),
            "C004",
        ),
    ] {
        let told = stage.tell(&text).output();
        assert!(!told.status.success(), "{text}");
        let heard: Value = told.json();
        let first = &heard["reports"][0];
        assert_eq!(first["reception"], "refused", "{heard}");
        assert!(first["notes"].to_string().contains(why), "{why}: {heard}");
    }
    assert_eq!(stage.read(&format!(".fleet/tasks/{id}/task.yaml")), before);
    let events = stage.answer(["task", "show", &id])["events"].to_string();
    assert!(events.contains("refused") && events.contains("C024"), "{events}");
    let nothing = stage.tell("All done.").output();
    assert_eq!(nothing.json::<Value>()["error"]["kind"], "usage");
    let large = format!("{}{}", "x".repeat(5_000_000), block(&good));
    assert_eq!(stage.tell(&large).output().json::<Value>()["error"]["kind"], "usage");
    assert_eq!(stage.answer(["task", "show", &id])["status"], "open");
    stage.end();
}

#[test]
fn an_agent_reports_its_own_tasks_and_nobody_elses() {
    let stage = Stage::new();
    let (own, other) = (stage.task(&["Own"]), stage.task(&["Somebody else's"]));
    let part = stage.task(&["A part", "--parent", &own]);
    let tell = |id: &str| {
        let said = stage.tell(&block(&GOOD.replace("TASK", id))).env("FLEET_TASK", &own);
        let heard: Value = said.output().json();
        heard["reports"][0]["reception"].as_str().expect("a word").to_owned()
    };
    assert_eq!([tell(&own), tell(&part), tell(&other)], ["stored", "stored", "refused"]);
    assert_eq!(stage.answer(["task", "show", &other])["status"], "open");
    stage.end();
}

/// The hook as it is installed, given an event of Claude Code.
#[track_caller]
fn hook(stage: &Stage, event: &Value) -> String {
    let script = stage.env.home().join(".claude/skills/fleet/hooks/report-persister.sh");
    let done = stage.program(script).stdin(event.to_string()).output().success();
    assert_eq!(done.stdout, "", "{done}");
    done.stderr
}

#[test]
fn the_hook_stores_what_sub_agents_say_and_not_what_they_are_asked() {
    let stage = Stage::new();
    let _ = stage.answer(["integrate", "claude"]);
    let script = stage.env.home().join(".claude/skills/fleet/hooks/report-persister.sh");
    assert_ne!(std::fs::metadata(&script).expect("it").permissions().mode() & 0o111, 0);
    let settings = std::fs::read_to_string(stage.env.home().join(".claude/settings.json")).expect("settings");
    let settings: Value = serde_json::from_str(&settings).expect("JSON");
    for event in ["PreToolUse", "PostToolUse", "SubagentStop", "Stop"] {
        let command = settings["hooks"][event][0]["hooks"][0]["command"]
            .as_str()
            .expect("a line");
        assert_eq!(command, format!("'{}'", script.display()));
    }
    let id = stage.task(&["The index", "--crew", "api"]);
    let good = GOOD.replace("TASK", &id);
    let status = || {
        stage.answer(["task", "show", &id])["status"]
            .as_str()
            .expect("a word")
            .to_owned()
    };

    let prompt = format!("Do it.\nfleet_task_id: {id}\nEnd with:\n{}", block(&good));
    let input = json!({"prompt": prompt, "subagent_type": "general-purpose"});
    let _ = hook(
        &stage,
        &json!({"hook_event_name": "PreToolUse", "tool_name": "Agent", "tool_input": input}),
    );
    assert_eq!(status(), "running");
    assert_eq!(stage.answer(["task", "show", &id])["harness"], "claude");
    let answer = json!({"prompt": prompt, "content": [{"type": "text", "text": "I could not."}]});
    let post =
        json!({"hook_event_name": "PostToolUse", "tool_name": "Agent", "tool_input": input, "tool_response": answer});
    let _ = hook(&stage, &post);
    assert_eq!(status(), "running", "an example in a prompt is no report");
    let last = block(&good);
    let _ = hook(
        &stage,
        &json!({"hook_event_name": "SubagentStop", "last_assistant_message": last}),
    );
    assert_eq!(status(), "completed");
    let mut post = post;
    post["tool_response"]["content"][0]["text"] = json!(block(&good.replace("completed", "partial")));
    let _ = hook(&stage, &post);
    assert_eq!(status(), "partial");

    // It never holds a session up.
    let odd = hook(
        &stage,
        &json!({"hook_event_name": "Stop", "last_assistant_message": block("status: x\n")}),
    );
    assert!(!odd.contains("error"), "{odd}");
    let _ = hook(
        &stage,
        &json!({"hook_event_name": "Stop", "last_assistant_message": "fine"}),
    );
    assert_eq!(status(), "partial");
    stage.end();
}
