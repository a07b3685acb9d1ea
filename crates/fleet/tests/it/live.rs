//! `doctor --harness` and what keeps `--live` from beginning. Trials with the real programs are among the real tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use fleet_testkit::{Cmd, TestEnv, binary, cannot_run};
use serde_json::Value;

/// A user with a program that is called `claude` and nothing else on PATH.
struct Stage {
    env: TestEnv,
    bin: PathBuf,
}

impl Stage {
    fn new() -> Stage {
        let env = TestEnv::new();
        env.write_config("claude_flags = \"\"\n");
        let bin = env.root().join("bin");
        fs::create_dir(&bin).expect("made");
        let stage = Stage { env, bin };
        let claude = stage.bin.join("claude");
        fs::write(&claude, "#!/bin/sh\necho '2.1.197 (Claude Code)'\n").expect("written");
        fs::set_permissions(&claude, fs::Permissions::from_mode(0o755)).expect("set");
        stage
    }

    fn doctor(&self, args: &[&str]) -> Cmd {
        self.env.fleet(["doctor"]).args(args).env("PATH", &self.bin)
    }
}

#[test]
fn doctor_of_one_harness_tells_of_it_alone() {
    let stage = Stage::new();
    let answer: Value = stage
        .doctor(&["--harness", "claude", "--json"])
        .output()
        .success()
        .json();
    let checks = answer["checks"].as_array().expect("checks");
    assert!(
        checks.iter().all(|check| check["what"] == "harness claude"),
        "{answer:#}"
    );
    let levels: Vec<&Value> = checks.iter().map(|check| &check["level"]).collect();
    assert_eq!(
        levels,
        ["ok", "info"],
        "whether it is installed, and what counts: {answer:#}"
    );
}

#[test]
fn live_without_a_harness_is_refused_with_the_command_that_names_one() {
    let refused = Stage::new().doctor(&["--live"]).output().fails(2);
    assert!(
        refused.stderr.contains("`fleet doctor --harness claude --live`"),
        "{refused}"
    );
}

#[test]
fn an_unknown_harness_is_refused_with_its_neighbour() {
    let refused = Stage::new()
        .doctor(&["--harness", "cluade", "--live"])
        .output()
        .fails(2);
    assert!(refused.stderr.contains("did you mean `claude`?"), "{refused}");
}

#[test]
fn a_harness_that_is_not_installed_is_an_error_with_its_installation() {
    let refused = Stage::new().doctor(&["--harness", "codex", "--live"]).output().fails(7);
    assert!(refused.stderr.contains("`codex` is not installed"), "{refused}");
    assert!(refused.stderr.contains("npm install -g @openai/codex"), "{refused}");
}

#[test]
fn a_harness_of_the_users_own_cannot_be_tried() {
    let stage = Stage::new();
    for name in ["mine", "claude"] {
        stage
            .env
            .write_config(&format!("[harness.{name}]\ncommand = [\"claude\"]\n"));
        let refused = stage.doctor(&["--harness", name, "--live"]).output().fails(2);
        assert!(refused.stderr.contains(&format!("cannot try `{name}`")), "{refused}");
    }
}

#[test]
fn a_missing_endpoint_is_told_with_its_installation() {
    let stage = Stage::new();
    // Away from the endpoint that was built with it.
    let fleet = stage.bin.join("fleet");
    fs::copy(binary("fleet"), &fleet).expect("copied");
    let cmd = stage.env.program(&fleet, ["doctor", "--harness", "claude", "--live"]);
    let refused = cmd.env("PATH", &stage.bin).output().fails(7);
    assert!(refused.stderr.contains("`fleet-model`"), "{refused}");
    assert!(refused.stderr.contains("cargo install"), "{refused}");
}

#[test]
fn a_tool_that_is_missing_for_the_trial_is_named() {
    // Without a network the namespace is there already, and git is the first that is missed.
    let refused = Stage::new()
        .doctor(&["--harness", "claude", "--live"])
        .output()
        .fails(7);
    let missed = |tool: &str| refused.stderr.contains(&format!("`{tool}` is not installed"));
    assert!(missed("unshare") || missed("git"), "{refused}");
    assert!(refused.stderr.contains("hint: install it: "), "{refused}");
}

#[test]
fn what_looks_does_not_begin_where_there_is_a_network() {
    let table = fs::read_to_string("/proc/self/net/dev").expect("/proc is mounted");
    if table.lines().skip(2).all(|line| line.trim_start().starts_with("lo:")) {
        return cannot_run("the guard of a trial", "there is no network here");
    }
    let stage = Stage::new();
    let refused = stage.env.fleet(["__live", "claude", "fleet-model"]).output().fails(5);
    assert!(refused.stderr.contains("more network than loopback"), "{refused}");
}
