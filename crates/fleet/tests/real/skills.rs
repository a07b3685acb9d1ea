//! The skills that `integrate claude` installs: the real Claude Code lists them, tells its model of them, and hands their
//! text over when the model asks for it.

use fleet_testkit::clis::Cli;
use fleet_testkit::model::{Rule, Script, ToolCall, Turn, When};
use serde_json::{Value, json};

use crate::world::World;

const PROMPT: &str = "plan a fleet for the new search";

/// A model that asks for the skill, then for the index, then is done.
fn script() -> Script {
    let call = |name: &str, input: Value| Turn {
        calls: vec![ToolCall::Tool {
            name: name.to_owned(),
            input,
        }],
        ..Turn::default()
    };
    let when = When {
        contains: Some(PROMPT.to_owned()),
        ..When::default()
    };
    let turns = vec![call("Skill", json!({ "skill": "fleet-plan" })), Turn::say("planned")];
    Script {
        rules: vec![Rule { when, turns }],
        ..Script::default()
    }
}

#[test]
fn claude_lists_the_skills_and_hands_their_text_to_its_model() {
    let world = World::with_script(Cli::Claude, script());
    let installed = world.answer(["integrate", "claude"]);
    assert_eq!(installed["files"][0]["outcome"], "written", "{installed}");
    let create = ["create", "one", "--headless", "-p", PROMPT, "--wait", "exited"];
    let _ = world.fleet(create).output().success();

    let stream = world.fleet(["logs", "one", "--raw"]).output().success().stdout;
    let events = stream
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let init = events
        .into_iter()
        .find(|event| event["subtype"] == "init")
        .expect("its first event");
    let listed: Vec<&str> = init["skills"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for skill in [
        "fleet-plan",
        "worktree-fleet",
        "dag-fleet",
        "iterative-fleet",
        "autoresearch-fleet",
    ] {
        assert!(listed.contains(&skill), "{skill}: {init}");
    }

    let asked = world.wait_request("the prompt", |request| {
        request.prompt().contains(PROMPT) && request.turn == 0
    });
    let body = asked.body.to_string();
    for description in [
        "Plan work for several coding agents at once.",
        "Keys, rules, prompts and commands of dag fleets",
    ] {
        assert!(body.contains(description), "{description}: {body}");
    }
    let text = "You write the plan; `fleet` runs it.";
    assert!(!body.contains(text), "the text comes when it is asked for");

    let loaded = world.wait_request("the skill's text", |request| request.body.to_string().contains(text));
    let body = loaded.body.to_string();
    for wanted in ["No fleet needed — this fits in one session.", "| `claude` | `sonnet` |"] {
        assert!(body.contains(wanted), "{wanted}: {body}");
    }
    world.end();
}
