//! What the programs ask before they work is answered, and is really asked where it is not.

use std::fs;

use fleet_testkit::clis::Cli;
use fleet_testkit::scan;

use crate::world::World;

const AGENT: &str = "one";
const OFF: &str = "claude_flags = \"\"\ntrust_worktrees = false\n";

#[track_caller]
fn asks(cli: Cli) {
    let world = World::new(cli);
    world.configure(cli, OFF);
    let _ = world.fleet(["create", AGENT]).output().success();
    world.wait_state(AGENT, "waiting");
    assert!(world.screen(AGENT).to_lowercase().contains("trust"), "{}", world.screen(AGENT));
    world.end();
}

#[test]
fn claude_asks_in_a_new_folder_when_nobody_answers() {
    asks(Cli::Claude);
}

#[test]
fn codex_asks_in_a_new_folder_when_nobody_answers() {
    asks(Cli::Codex);
}

#[test]
fn gemini_asks_in_a_new_folder_when_nobody_answers() {
    asks(Cli::Gemini);
}

#[test]
fn x_theme() {
    let world = World::new(Cli::Claude);
    fs::write(world.home().join(".claude.json"), "{\"hasCompletedOnboarding\":true}").unwrap();
    world.start(AGENT);
    world.end();
}

#[test]
fn y_none() {
    let world = World::new(Cli::Claude);
    fs::write(world.home().join(".claude.json"), "{}").unwrap();
    world.start(AGENT);
    world.end();
}

#[test]
fn z_bypass() {
    let world = World::new(Cli::Claude);
    world.configure(Cli::Claude, "root_bypass = true\n");
    world.start(AGENT);
    let id = world.agent(AGENT)["id"].as_str().expect("a living agent").to_owned();
    for p in scan::processes(|process| process.has_env("FLEET_AGENT", &id)) { eprintln!("{p:?}"); }
    world.end();
}
