//! Tasks in the real Claude Code: the hook that `integrate claude` installs stores what a sub-agent reports, and `/fleet` is
//! a command of its.

use fleet_testkit::binary;
use fleet_testkit::clis::Cli;
use fleet_testkit::model::{self, Rule, Script, ToolCall, Turn, When};
use fleet_testkit::wait_until;
use serde_json::{Value, json};

use crate::world::{LONG, World};

const ID: &str = "TASK-20260404-001";
const LEAD: &str = "lead the crews";
const CREW: &str = "index the shop";
/// So many tokens the sub-agent writes.
const OUTPUT: u64 = 4321;

fn block() -> String {
    format!("Indexed.\n\n<!-- FLEET_REPORT\nfleet_task_id: {ID}\ncrew: api\nstatus: completed\ncost_usd: 0.5\n-->\n")
}

/// A captain that sends out a sub-agent, whose prompt has a report as an example; and one that is asked for a command.
fn script() -> Script {
    let rule = |contains: &str, turns| Rule {
        when: When {
            contains: Some(contains.to_owned()),
            ..When::default()
        },
        turns,
    };
    let call = |call| Turn {
        calls: vec![call],
        ..Turn::default()
    };
    let used = model::Usage {
        output: OUTPUT,
        ..model::Usage::default()
    };
    let example = block().replace("completed", "failed");
    let prompt = format!("{CREW}\nfleet_task_id: {ID}\nEnd like this:\n{example}");
    let input = json!({"description": "the index", "prompt": prompt, "subagent_type": "general-purpose"});
    let dispatch = ToolCall::Tool {
        name: "Agent".to_owned(),
        input,
    };
    Script {
        rules: vec![
            rule(CREW, vec![Turn::say(block()).with_usage(used)]),
            rule(LEAD, vec![call(dispatch), Turn::say("led")]),
            rule(
                "Asked for: task list",
                vec![call(ToolCall::Shell("fleet task list".to_owned())), Turn::say("shown")],
            ),
        ],
        ..Script::default()
    }
}

/// Runs Claude Code to its end with this prompt, and fleet on its PATH.
#[track_caller]
fn run(world: &World, branch: &str, prompt: &str) -> String {
    let programs = binary("fleet").parent().map(|folder| folder.display().to_string());
    let path = format!("{}:{}", programs.expect("a folder"), fleet_testkit::clis::search_path());
    let create = ["create", branch, "--headless", "-p", prompt, "--wait", "exited"];
    let _ = world.fleet(create).env("PATH", path).output().success();
    world.fleet(["logs", branch, "--raw"]).output().success().stdout
}

#[test]
fn claude_runs_the_hook_for_a_sub_agent_and_lists_the_command() {
    let world = World::with_script(Cli::Claude, script());
    let before = std::fs::read_to_string(world.home().join(".claude/settings.json")).expect("settings");
    let _ = world.answer(["integrate", "claude"]);
    let made = world.answer(["task", "create", "The index", "--external", ID]);
    assert_eq!(made["task"]["id"], ID);

    let stream = run(&world, "captain", LEAD);
    let task = world.answer(["task", "show", ID]);
    assert_eq!(
        (&task["status"], &task["crew"], &task["reported"], &task["harness"]),
        (&json!("completed"), &json!("api"), &json!(0.5), &json!("claude")),
        "{task:#}\n{stream}"
    );
    let events: Vec<&str> = task["events"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|each| each["event"].as_str())
        .collect();
    assert_eq!(events, ["created", "started", "reported"], "{task:#}");
    let report = world.repo().join(format!(".fleet/tasks/{ID}/report.md"));
    assert!(
        std::fs::read_to_string(report)
            .expect("a report")
            .contains("status: completed")
    );

    let init = stream
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|event| event["subtype"] == "init");
    let init = init.expect("its first event");
    let commands: Vec<&str> = init["slash_commands"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    assert!(commands.contains(&"fleet"), "{init}");
    let stream = run(&world, "asked", "/fleet task list");
    assert!(stream.contains("The index"), "what the command has printed: {stream}");

    let _ = world.answer(["integrate", "claude", "--remove"]);
    let after = std::fs::read_to_string(world.home().join(".claude/settings.json")).expect("settings");
    assert_eq!(after, before);
    world.end();
}

#[test]
fn claude_in_a_terminal_has_a_sub_agent_counted_for_its_task() {
    let world = World::with_script(Cli::Claude, script());
    let whole = world.answer(["task", "create", "The whole"])["task"]["id"].clone();
    let whole = whole.as_str().expect("an id");
    let create = ["task", "create", "The index", "--parent", whole, "--external", ID];
    let _ = world.fleet(create).output().success();
    let _ = world
        .fleet(["create", "captain", "--task", whole, "--wait", "ready"])
        .output()
        .success();
    let sent = world.answer(["prompt", "captain", "-m", LEAD, "--wait"]);
    assert_eq!(sent["sent"][0]["outcome"], "delivered", "{sent}");
    let written = |id: &str| {
        let cost = world.answer(["task", "cost"]);
        let groups = cost["groups"].as_array().cloned().unwrap_or_default();
        let group = groups.into_iter().find(|group| group["name"] == id);
        group.and_then(|group| group["cost"]["tokens"]["output"].as_u64())
    };
    wait_until(LONG, "the account of the sub-agent", || {
        (written(ID) == Some(OUTPUT)).then_some(())
    });
    wait_until(LONG, "the account of the captain", || {
        written(whole).filter(|tokens| *tokens > 0)
    });
    world.end();
}
