//! Each program starts without a question, takes a prompt, and goes without a trace; what is the user's stays theirs.

use fleet_testkit::clis::Cli;
use fleet_testkit::scan;

use crate::users::Users;
use crate::world::World;

const AGENT: &str = "one";
const PROMPT: &str = "say hello from the endpoint";

/// From nothing to nothing, with one prompt between.
#[track_caller]
fn takes_one_prompt(cli: Cli) {
    let world = World::new(cli);
    let users = Users::settle(&world, cli);
    world.start(AGENT);
    users.wait_served();
    let id = world.agent(AGENT)["id"].as_str().expect("a living agent").to_owned();
    let processes = || scan::processes(|process| process.has_env("FLEET_AGENT", &id));
    assert!(!processes().is_empty(), "no process of {}", cli.name());

    let _ = world.fleet(["prompt", AGENT, PROMPT]).output().success();
    world.wait_request("the prompt", |request| request.prompt() == PROMPT);
    world.wait_state(AGENT, "idle");
    assert!(
        world.screen(AGENT).contains("hello from the endpoint"),
        "{}",
        world.screen(AGENT)
    );
    world.end();
    assert_eq!(processes(), [], "of {}", cli.name());
    users.assert_kept();
    // Only now: what was sent twice may have arrived late.
    assert_eq!(world.arrivals(PROMPT), 1, "{}", world.endpoint().overview());
}

#[test]
fn claude_takes_one_prompt_and_leaves_nothing() {
    takes_one_prompt(Cli::Claude);
}

#[test]
fn codex_takes_one_prompt_and_leaves_nothing() {
    takes_one_prompt(Cli::Codex);
}

#[test]
fn pi_takes_one_prompt_and_leaves_nothing() {
    takes_one_prompt(Cli::Pi);
}

#[test]
fn opencode_takes_one_prompt_and_leaves_nothing() {
    takes_one_prompt(Cli::OpenCode);
}

#[test]
fn gemini_takes_one_prompt_and_leaves_nothing() {
    takes_one_prompt(Cli::Gemini);
}
