//! The power goes, or a program crashes: every agent comes back in the conversation that it was in.
//!
//! `cargo xtask test --full back::` does it with more agents and writes down what came back, for the page
//! `docs/reference/reboot-drill.md`.

use std::fs;
use std::path::Path;

use fleet_testkit::clis::Cli;
use fleet_testkit::scan::Process;
use fleet_testkit::{kill_process, wait_until};
use serde_json::json;

use crate::world::{LONG, World};

/// An agent that is asked nothing before the power goes: there is no conversation that it could go on with.
const QUIET: &str = "quiet";

/// What is said to an agent. Each has words of its own, so that nobody's conversation is taken for another's.
fn said(when: &str, branch: &str) -> String {
    format!("say {when} in {branch}")
}

/// Gives the agent a prompt, and what was typed in its conversation up to then, as the endpoint was told.
#[track_caller]
fn talk(world: &World, branch: &str, when: &str) -> Vec<String> {
    let prompt = said(when, branch);
    // On a busy machine a program may be too slow for a receipt; whether the prompt arrived is what counts here.
    let _ = world.fleet(["prompt", branch, &prompt]).output();
    let request = world.wait_request(&prompt, |request| request.prompt() == prompt);
    world.wait_state(branch, "idle");
    request.prompts.iter().map(|typed| typed.trim().to_owned()).collect()
}

/// Ends the program of an agent without a word, and waits for its end.
#[track_caller]
fn crash(world: &World, branch: &str) {
    let pid = world.agent(branch)["pid"].as_u64().expect("it runs");
    let pid = u32::try_from(pid).expect("a process id");
    kill_process(pid);
    wait_until(LONG, "the end of the program", || {
        Process::read(pid).is_none().then_some(())
    });
}

/// Talks with agents, cuts the power, brings them back and talks on; then crashes one and restarts it.
#[track_caller]
fn come_back(cli: Cli) {
    let full = std::env::var_os("FLEET_TEST_FULL").is_some();
    let branches: Vec<String> = (1..=if full { 4 } else { 2 }).map(|n| format!("a{n}")).collect();
    let mut world = World::new(cli);
    for branch in &branches {
        world.start(branch);
        let typed = talk(&world, branch, "before");
        assert_eq!(typed, [said("before", branch)], "{branch}");
    }
    world.start(QUIET);
    world.cut_power();

    let resumed = world.answer(["resume", "--all"]);
    assert_eq!(
        resumed["agents"].as_array().map(Vec::len),
        Some(branches.len() + 1),
        "{resumed}"
    );
    world.wait_state(QUIET, "ready");
    let typed = talk(&world, QUIET, "first");
    assert_eq!(typed, [said("first", QUIET)]);
    for branch in &branches {
        world.wait_state(branch, "idle");
        let typed = talk(&world, branch, "after");
        assert_eq!(typed, [said("before", branch), said("after", branch)], "{branch}");
    }

    // Any but the one that talked last: a program that takes the newest conversation must not get away with it.
    let branch = &branches[0];
    crash(&world, branch);
    let _ = world.fleet(["restart", branch]).output().success();
    world.wait_state(branch, "idle");
    let typed = talk(&world, branch, "again");
    assert_eq!(typed, ["before", "after", "again"].map(|when| said(when, branch)));
    world.end();
    if full {
        write_down(cli, branches.len());
    }
}

/// What has just been shown: so many agents had talked and came back, one more came back that had not, and one that
/// crashed later went on.
fn write_down(cli: Cli, talked: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/drill");
    fs::create_dir_all(&folder).expect("the tree can be written");
    let text = format!("{:#}\n", json!({ "talked": talked, "quiet": 1, "crashed": 1 }));
    fs::write(folder.join(format!("{}.json", cli.name())), text).expect("the tree can be written");
}

#[test]
fn codex_goes_on_with_the_newer_of_two_conversations_of_a_worktree() {
    let world = World::new(Cli::Codex);
    world.start("a1");
    assert_eq!(talk(&world, "a1", "before"), [said("before", "a1")]);
    let _ = world.fleet(["restart", "a1", "--fresh"]).output().success();
    world.wait_state("a1", "idle");
    // Nothing was said in the new one yet, and the old one is not to be taken for it.
    crash(&world, "a1");
    let _ = world.fleet(["restart", "a1"]).output().success();
    world.wait_state("a1", "idle");
    assert_eq!(talk(&world, "a1", "anew"), [said("anew", "a1")]);
    crash(&world, "a1");
    let _ = world.fleet(["restart", "a1"]).output().success();
    world.wait_state("a1", "idle");
    assert_eq!(
        talk(&world, "a1", "again"),
        ["anew", "again"].map(|when| said(when, "a1"))
    );
    world.end();
}

#[test]
fn claude_comes_back_in_its_conversation() {
    come_back(Cli::Claude);
}

#[test]
fn codex_comes_back_in_its_conversation() {
    come_back(Cli::Codex);
}

#[test]
fn pi_comes_back_in_its_conversation() {
    come_back(Cli::Pi);
}

#[test]
fn opencode_comes_back_in_its_conversation() {
    come_back(Cli::OpenCode);
}

#[test]
fn gemini_comes_back_in_its_conversation() {
    come_back(Cli::Gemini);
}
