//! What the programs ask before they work: asked where nobody answers, answered by fleet, and nothing of it left.

use std::fs;

use fleet_testkit::clis::Cli;
use fleet_testkit::{cannot_run, scan};
use serde_json::Value;

use crate::world::World;

const AGENT: &str = "one";

impl World {
    fn claude_file(&self) -> Value {
        let text = fs::read_to_string(self.home().join(".claude.json")).expect("claude has a file");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Whether Claude Code's file has an entry that says this folder is trusted.
    fn claude_trusts(&self, folder: &str) -> Option<bool> {
        self.claude_file()["projects"][folder]["hasTrustDialogAccepted"].as_bool()
    }
}

/// Shows that the questions whose absence the other tests show are there at all.
#[track_caller]
fn asks(cli: Cli) {
    let world = World::new(cli);
    world.configure(cli, "claude_flags = \"\"\ntrust_worktrees = false\n");
    let _ = world.fleet(["create", AGENT]).output().success();
    world.wait_state(AGENT, "waiting(permission)");
    let screen = world.screen(AGENT);
    assert!(screen.to_lowercase().contains("trust"), "{screen}");
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
fn claude_with_a_key_and_nothing_else_asks_nothing_at_its_very_first_start() {
    let world = World::new(Cli::Claude);
    fs::remove_file(world.home().join(".claude.json")).expect("the endpoint has written it");
    world.start(AGENT);
    let (worktree, repo) = (world.worktree(AGENT), world.repo().display().to_string());
    let worktree = worktree.to_str().expect("text");
    assert_eq!(world.claude_trusts(worktree), Some(true));
    assert_eq!(world.claude_trusts(&repo), Some(true));
    world.end();
    // What is left is what the program itself keeps of any folder that it has run in.
    let file = world.claude_file();
    assert_eq!(file["hasCompletedOnboarding"], Value::Null, "{file:#}");
    assert_ne!(world.claude_trusts(worktree), Some(true), "{file:#}");
    assert_ne!(world.claude_trusts(&repo), Some(true), "{file:#}");
    let approved = file["customApiKeyResponses"]["approved"].as_array();
    assert!(approved.is_none_or(Vec::is_empty), "{file:#}");
}

#[test]
fn claude_as_root_is_refused_its_bypass_mode_and_gets_it_with_root_bypass() {
    if !nix::unistd::geteuid().is_root() {
        return cannot_run("claude as root", "the tests do not run as root");
    }
    let world = World::new(Cli::Claude);
    world.configure(Cli::Claude, "");
    let refused = world.fleet(["create", AGENT]).output().fails(5);
    assert!(refused.stderr.contains("root_bypass = true"), "{refused}");
    assert_eq!(world.agent(AGENT), Value::Null);

    world.configure(Cli::Claude, "root_bypass = true\n");
    world.start(AGENT);
    let id = world.agent(AGENT)["id"].as_str().expect("a living agent").to_owned();
    let program = scan::processes(|process| process.has_env("FLEET_AGENT", &id) && process.has_env("IS_SANDBOX", "1"));
    let bypasses = |argv: &[String]| argv.iter().any(|arg| arg == "--dangerously-skip-permissions");
    assert!(program.iter().any(|process| bypasses(&process.argv)), "{program:?}");
    let told = scan::processes(|process| {
        process.has_env("FLEET_HOME", world.fleet_home()) && process.has_env("IS_SANDBOX", "1")
    });
    assert!(
        told.iter().all(|process| process.has_env("FLEET_AGENT", &id)),
        "{told:?}"
    );

    let _ = world
        .fleet(["prompt", AGENT, "run touch by-root.txt"])
        .output()
        .success();
    world.wait_state(AGENT, "idle");
    assert!(
        world.worktree(AGENT).join("by-root.txt").exists(),
        "{}",
        world.screen(AGENT)
    );
    world.end();
}
