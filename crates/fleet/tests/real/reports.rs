//! What the programs tell of themselves: receipts, conversations, usage; beside what the user has set up.

use std::fs;
use std::path::{Path, PathBuf};

use fleet_testkit::clis::Cli;
use fleet_testkit::model::Script;
use fleet_testkit::wait_until;
use serde_json::{Value, json};

use crate::world::{LONG, World};

const AGENT: &str = "one";

/// Each reply of the conversation has used this.
fn script() -> Script {
    let usage = json!({"input": 1500, "cached": 300, "output": 40});
    let turn = |text: &str| json!({"text": text, "usage": usage});
    let script = json!({"rules": [
        {"when": {"contains": "compute"}, "turns": [turn("computed")]},
        {"when": {"contains": "greet"}, "turns": [turn("greeted")]},
    ]});
    serde_json::from_value(script).expect("a script")
}

/// A program of the user's that notes that it ran.
fn marker(world: &World, name: &str) -> (PathBuf, PathBuf) {
    let (program, mark) = (world.home().join(name), world.home().join(format!("{name}.ran")));
    fs::write(&program, format!("#!/bin/sh\necho ran >> '{}'\n", mark.display())).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, mode).expect("executable");
    (program, mark)
}

#[track_caller]
fn wait_mark(mark: &Path) {
    wait_until(LONG, &format!("{} to be there", mark.display()), || {
        mark.exists().then_some(())
    });
}

/// The accounts of an agent by this source, as soon as there are so many output tokens.
#[track_caller]
fn wait_output(world: &World, source: &str, output: u64) -> Value {
    wait_until(LONG, &format!("{output} tokens by the {source}"), || {
        account(world, source).filter(|account| account["tokens"]["output"] == output)
    })
}

fn account(world: &World, source: &str) -> Option<Value> {
    let usage = world.agent(AGENT)["usage"].as_array().cloned().unwrap_or_default();
    usage.into_iter().find(|account| account["source"] == source)
}

/// What the journal says of prompts: `program`, `screen`, …
fn receipts(world: &World) -> Vec<String> {
    let told = world.answer(["explain", AGENT, "-n", "1000"]);
    let facts = told["facts"].as_array().cloned().unwrap_or_default();
    facts
        .iter()
        .filter(|fact| fact["fact"] == "prompt_delivered")
        .map(|fact| fact["by"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[track_caller]
fn deliver(world: &World, text: &str) {
    let sent = world.answer(["prompt", AGENT, "-m", text, "--wait"]);
    assert_eq!(sent["sent"][0]["outcome"], "delivered", "{sent}");
}

/// How many replies of the conversation the endpoint was asked for.
fn replies(world: &World) -> u64 {
    world.endpoint().conversation().len() as u64
}

#[test]
fn claude_tells_beside_the_users_own_hooks_and_status_line() {
    let world = World::with_script(Cli::Claude, script());
    let (hook, hook_ran) = marker(&world, "hook");
    let (line, line_ran) = marker(&world, "line");
    let settings = world.home().join(".claude/settings.json");
    let mut own: Value = serde_json::from_slice(&fs::read(&settings).expect("settings")).expect("JSON");
    own["hooks"] = json!({"Stop": [{"hooks": [{"type": "command", "command": hook}]}]});
    own["statusLine"] = json!({"type": "command", "command": line});
    let own = own.to_string();
    fs::write(&settings, &own).expect("written");
    let commands = world.home().join(".claude/commands");
    fs::create_dir_all(&commands).expect("made");
    fs::write(commands.join("greeting.md"), "greet $ARGUMENTS\n").expect("written");

    world.start(AGENT);
    deliver(&world, "compute one");
    world.wait_state(AGENT, "idle");
    // No screen tells whether the program has taken this for a command that begins no turn.
    deliver(&world, "/greeting of mine");
    let greeted = |prompt: &str| prompt.contains("greet of mine");
    world.wait_request("the command", |request| greeted(request.prompt()));
    world.wait_state(AGENT, "idle");
    assert_eq!(receipts(&world)[1..], ["program"]);
    wait_mark(&hook_ran);
    wait_mark(&line_ran);

    let used = wait_output(&world, "transcript", 80);
    assert_eq!(replies(&world), 2, "{}", world.endpoint().overview());
    assert_eq!(
        (&used["tokens"]["input"], &used["tokens"]["cached"]),
        (&json!(3000), &json!(600))
    );
    assert!(account(&world, "statusline").is_none(), "the status line is the user's");

    // Escape runs no hook, and it is idle all the same.
    let _ = world.fleet(["prompt", AGENT, "hang"]).output().success();
    world.wait_request("the prompt that hangs", |request| request.prompt() == "hang");
    let _ = world
        .fleet(["prompt", "--interrupt", AGENT, "compute two"])
        .output()
        .success();
    world.wait_request("the next prompt", |request| request.prompt() == "compute two");
    world.wait_state(AGENT, "idle");
    let _ = wait_output(&world, "transcript", 120);
    world.endpoint().release();
    assert_eq!(fs::read_to_string(settings).expect("text"), own);
    world.end();
}

#[test]
fn claude_tells_its_conversation_and_what_it_costs() {
    let world = World::with_script(Cli::Claude, script());
    world.start(AGENT);
    deliver(&world, "compute one");
    world.wait_state(AGENT, "idle");
    let conversation = || {
        world.agent(AGENT)["conversation"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let first = conversation();
    assert!(
        transcripts(&world).contains(&first),
        "{first}: {:?}",
        transcripts(&world)
    );
    wait_until(LONG, "the cost", || {
        let cost = account(&world, "statusline")?["cost_usd"].as_f64()?;
        (cost > 0.0).then_some(())
    });
    // It begins another conversation, with another file.
    let _ = world.fleet(["prompt", AGENT, "-m", "/clear"]).output();
    wait_until(LONG, "another conversation", || (conversation() != first).then_some(()));
    world.wait_state(AGENT, "idle");
    deliver(&world, "compute two");
    world.wait_state(AGENT, "idle");
    let _ = wait_output(&world, "transcript", 80);
    assert!(transcripts(&world).contains(&conversation()));
    world.end();
}

/// The names of Claude Code's transcripts: ids of conversations.
fn transcripts(world: &World) -> Vec<String> {
    let folders = fs::read_dir(world.home().join(".claude/projects"))
        .into_iter()
        .flatten()
        .flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
    files
        .filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned()))
        .collect()
}

#[test]
fn codex_tells_by_its_rollout_and_the_users_own_notifier_stays() {
    let world = World::with_script(Cli::Codex, script());
    let (notify, notified) = marker(&world, "notify");
    let config = world.home().join(".codex/config.toml");
    let own = format!(
        "notify = [{}]\n{}",
        json!(notify),
        fs::read_to_string(&config).expect("text")
    );
    fs::write(&config, own).expect("written");

    world.start(AGENT);
    deliver(&world, "compute one");
    world.wait_state(AGENT, "idle");
    wait_mark(&notified);
    let used = wait_output(&world, "rollout", 40);
    assert_eq!(used["model"], "scripted");
    let conversation = world.agent(AGENT)["conversation"].as_str().expect("an id").to_owned();

    let _ = world.fleet(["prompt", AGENT, "hang"]).output().success();
    world.wait_request("the prompt that hangs", |request| request.prompt() == "hang");
    let _ = world
        .fleet(["prompt", "--interrupt", AGENT, "compute two"])
        .output()
        .success();
    world.wait_request("the next prompt", |request| request.prompt() == "compute two");
    world.wait_state(AGENT, "idle");
    let used = wait_output(&world, "rollout", 80);
    assert_eq!(
        (&used["tokens"]["input"], &used["tokens"]["cached"]),
        (&json!(3000), &json!(600))
    );
    world.endpoint().release();
    let _ = world.fleet(["restart", AGENT]).output().success();
    world.wait_state(AGENT, "idle");
    deliver(&world, "compute three");
    world.wait_state(AGENT, "idle");
    // What the earlier life has counted is not counted again, though it is the same file.
    let _ = wait_output(&world, "rollout", 120);
    assert_eq!(world.agent(AGENT)["conversation"], conversation.as_str());
    assert_eq!(receipts(&world).len(), 4);
    world.end();
}
