//! Settings that are wrong: the file, the line, the nearest key.

use std::fs;

use super::*;

/// Each verb that reads settings refuses these with one error.
#[track_caller]
fn broken(env: &TestEnv, repo: &Path) -> Said {
    let mut last = None;
    for args in [
        &["create", "fix"][..],
        &["fanout", "2"],
        &["config", "show"],
        &["doctor"],
        &["config", "validate"],
    ] {
        let done = fleet(env, repo, args).output();
        if args == ["doctor"] {
            assert!(done.stdout.contains("error   settings: "), "{done}");
        } else if args == ["config", "validate"] {
            let _ = done.fails(78);
        } else {
            last = Some(refused(done, 78));
        }
    }
    assert!(!env.fleet_home().join("worktrees/fix").exists());
    last.expect("at least one")
}

#[test]
fn an_unknown_key_names_file_line_and_the_nearest_key() {
    let env = TestEnv::new();
    let repo = env.repo("repo", 1);
    env.write_config("tmux_prefix = \"x_\"\n# a comment\ndefault_agnet = \"codex\"\n");
    let file = format!("{}:3", env.fleet_home().join("config.toml").display());
    let _ = broken(&env, &repo)
        .says(&file)
        .says("default_agnet")
        .hints("default_agent");
    env.write_config("[harness.x]\ncommand = [\"x\"]\nreddy = \"y\"\n");
    let file = format!("{}:3", env.fleet_home().join("config.toml").display());
    let _ = broken(&env, &repo).says(&file).says("reddy").hints("ready");
    env.assert_nothing_left();
}

#[test]
fn a_wrong_type_names_file_line_and_what_was_expected() {
    let env = TestEnv::new();
    let repo = env.repo("repo", 1);
    let cases = [
        ("quick_setup = \"yes\"", "quick_setup"),
        ("setup_commands = \"npm install\"", "setup_commands"),
        ("port_block = \"ten\"", "port_block"),
        ("port_block = 0", "port_block"),
        ("kill_grace_ms = -1", "kill_grace_ms"),
        ("default_agent = 3", "default_agent"),
        ("harness = 3", "harness"),
        ("[harness.x]\ncommand = [\"x\"]\nprompt = \"telepathy\"", "prompt"),
        ("[harness.x]\ncommand = [\"x\"]\nready = \"(\"", "ready"),
        ("[harness.x]\nprompt = \"argv\"", "command"),
    ];
    for (text, key) in cases {
        env.write_config(&format!("\n{text}\n"));
        let said = broken(&env, &repo).says(key);
        let file = format!("{}:", env.fleet_home().join("config.toml").display());
        let said = said.says(&file);
        let line = said
            .message
            .split(&file)
            .nth(1)
            .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        let line: usize = line
            .and_then(|line| line.parse().ok())
            .unwrap_or_else(|| panic!("no line: {}", said.whole));
        assert!((2..=4).contains(&line), "{}", said.whole);
    }
    env.assert_nothing_left();
}

#[test]
fn bad_toml_names_file_and_line_and_the_editor_still_opens_it() {
    let env = TestEnv::new();
    let repo = env.repo("repo", 1);
    for text in [
        "default_agent = \"codex\"\nsetup_commands = [\"a\"\n\"b\"\n",
        "a = = 1\n",
        "x = \"\u{1}\n",
        "[a\n",
    ] {
        env.write_config(text);
        let _ = broken(&env, &repo).says(&format!("{}:", env.fleet_home().join("config.toml").display()));
    }
    fs::write(env.fleet_home().join("config.toml"), b"default_agent = \"\xff\"\n").unwrap();
    let _ = broken(&env, &repo).says("config.toml");
    let done = paste(&env, &repo, "EDITOR='truncate -s 0' fleet config edit");
    assert!(
        done.status.code() == Some(0) || done.stdout.contains("claude"),
        "{done}"
    );
    let _ = fleet(&env, &repo, &["config", "show"]).output().success();
}

#[test]
fn the_settings_of_a_repository_and_of_the_environment_are_checked_as_well() {
    let (env, repo) = scene("");
    fs::create_dir(repo.join(".fleet")).unwrap();
    let project = repo.join(".fleet/config.toml");
    fs::write(&project, "quick_setpu = true\n").unwrap();
    let _ = refused(fleet(&env, &repo, &["create", "fix"]).output(), 78)
        .says(&format!("{}:1", project.display()))
        .hints("quick_setup");
    // A repository may not choose programs to run or where things are.
    fs::write(&project, "on_exit = [\"sh\"]\n").unwrap();
    let _ = refused(fleet(&env, &repo, &["create", "fix"]).output(), 78).says(&format!("{}:1", project.display()));
    fs::remove_file(&project).unwrap();
    let done = fleet(&env, &repo, &["create", "fix"])
        .env("FLEET_QUICK_SETUP", "maybe")
        .output();
    let _ = refused(done, 78).says("FLEET_QUICK_SETUP");
    env.assert_nothing_left();
}

#[test]
fn an_editor_that_is_missing_or_fails_is_told() {
    let env = TestEnv::new();
    let edit = |editor: &str| {
        fleet(&env, env.root(), &["config", "edit"])
            .env("EDITOR", editor)
            .output()
    };
    let _ = refused(edit("no-such-editor"), 7)
        .says("no-such-editor")
        .hints("EDITOR");
    let done = edit("false").fails(1);
    assert!(done.stderr.contains("`false`"), "{done}");
}
