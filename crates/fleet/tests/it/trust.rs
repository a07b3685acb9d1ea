//! What agent programs ask of a new folder is answered before they start, and the answers go with the agents. The
//! program here is a script that is called `claude` and keeps what it was started with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fleet_testkit::{Cmd, Finished, TestEnv, wait_until};
use serde_json::Value;

use crate::drive::{LONG, fleet, text};

/// Of a user who has a login, servers, and a file that is written like no program would write it.
const USERS: &str = "{\n  \"hasCompletedOnboarding\": true,\n  \"oauthAccount\": {\"emailAddress\": \"you@example.invalid\"},\n\
                     \t\"mcpServers\": {\"db\": {\"command\": \"db-mcp\", \"args\": [\"\\u002d-ro\"]}},\n  \"rate\": 1.50e+02,\n  \
                     \"projects\": {\"/home/you/own\": {\"hasTrustDialogAccepted\": true}}\n}\n";

const ASKS_FOR_PERMISSION: &str = "default_agent = \"claude\"\nclaude_flags = \"--permission-mode plan\"\n";

struct Stage {
    env: TestEnv,
    repo: PathBuf,
    file: PathBuf,
}

impl Stage {
    fn new(config: &str) -> Stage {
        let env = TestEnv::new();
        env.write_config(config);
        let repo = env.repo("repo", 1);
        let file = env.home().join(".claude.json");
        fs::write(&file, USERS).expect("written");
        let stage = Stage { env, repo, file };
        // What it was started with is whole when the prompt is shown.
        stage.program(
            "claude",
            "[ \"$1\" = --version ] && { echo '2.1.197 (Claude Code)'; exit; }\n\
             seen=\"$HOME/seen-$FLEET_BRANCH\"\n\
             cp \"$HOME/.claude.json\" \"$seen.json\"\n\
             { echo \"sandbox=$IS_SANDBOX\"; printf '%s\\n' \"$@\"; } > \"$seen.txt\"\n\
             printf '❯ '; exec cat\n",
        );
        stage
    }

    fn program(&self, name: &str, lines: &str) {
        let bin = self.env.root().join("bin");
        fs::create_dir_all(&bin).expect("made");
        fs::write(bin.join(name), format!("#!/bin/sh\n{lines}")).expect("written");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("set");
    }

    fn path(&self) -> String {
        let of_env = self.env.variables().into_iter().find(|(name, _)| name == "PATH");
        let of_env = of_env.expect("a path").1.into_string().expect("text");
        format!("{}:{of_env}", self.env.root().join("bin").display())
    }

    fn run(&self, args: &[&str]) -> Cmd {
        fleet(&self.env, &self.repo, args).env("PATH", self.path())
    }

    #[track_caller]
    fn create(&self, branch: &str) -> Finished {
        let done = self.run(&["create", branch]).output().success();
        self.seen(branch);
        done
    }

    /// The arguments that the program of `branch` was started with, and the file as it found it.
    #[track_caller]
    fn seen(&self, branch: &str) -> (Vec<String>, String) {
        let name = |end: &str| self.env.home().join(format!("seen-{branch}.{end}"));
        let told = wait_until(LONG, "a program that has started", || {
            fs::read_to_string(name("txt")).ok().filter(|told| told.ends_with('\n'))
        });
        let file = fs::read_to_string(name("json")).expect("a copy");
        (told.lines().map(str::to_owned).collect(), file)
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).expect("read")
    }

    fn worktree(&self, branch: &str) -> PathBuf {
        self.env.fleet_home().join("worktrees").join(branch)
    }

    /// What `doctor` says of `what`, its level first.
    #[track_caller]
    fn doctor(&self, what: &str) -> (String, String) {
        let checks: Value = self.run(&["doctor", "--json"]).output().success().json();
        let checks = checks["checks"].as_array().expect("checks").clone();
        let check = checks.iter().find(|check| check["what"] == what);
        let check = check.unwrap_or_else(|| panic!("no `{what}` in {checks:?}"));
        (text(&check["level"]), text(&check["found"]))
    }
}

#[track_caller]
fn is_trusted(file: &str, folder: &Path) -> bool {
    let file: Value = serde_json::from_str(file).expect("JSON");
    file["projects"][folder.to_str().expect("text")]["hasTrustDialogAccepted"] == true
}

#[test]
fn the_worktree_and_the_main_checkout_are_trusted_while_the_agent_is_there_and_no_other_byte_changes() {
    let stage = Stage::new(ASKS_FOR_PERMISSION);
    let _ = stage.create("one");
    let (_, found) = stage.seen("one");
    assert!(
        is_trusted(&found, &stage.worktree("one")) && is_trusted(&found, &stage.repo),
        "{found}"
    );
    let (level, said) = stage.doctor("trust");
    assert!(
        level == "ok" && said.contains(".claude.json") && said.contains("worktrees/one"),
        "{said}"
    );

    let _ = stage.create("two");
    let _ = stage.run(&["kill", "one"]).output().success();
    assert!(!is_trusted(&stage.text(), &stage.worktree("one")));
    assert!(is_trusted(&stage.text(), &stage.repo), "`two` needs it");
    let _ = stage.run(&["kill", "two"]).output().success();
    assert_eq!(stage.text(), USERS);
    assert_eq!(stage.doctor("trust").1, "fleet has added nothing to files of yours");
    stage.env.assert_nothing_left();
}

#[test]
fn twenty_at_once_are_all_trusted_and_leave_the_file_as_it_was() {
    let stage = Stage::new(ASKS_FOR_PERMISSION);
    let _ = stage.run(&["fanout", "20", "many"]).output().success();
    for number in 1..=20 {
        let branch = format!("many-A{number}");
        assert!(is_trusted(&stage.seen(&branch).1, &stage.worktree(&branch)));
    }
    let _ = stage.run(&["kill", "many-*"]).output().success();
    assert_eq!(stage.text(), USERS);
}

#[test]
fn a_revived_agent_is_trusted_again() {
    let stage = Stage::new(ASKS_FOR_PERMISSION);
    let _ = stage.create("one");
    fs::write(&stage.file, USERS).expect("somebody puts an old file there");
    fs::remove_file(stage.env.home().join("seen-one.txt")).expect("removed");
    let _ = stage.run(&["restart", "one"]).output().success();
    assert!(is_trusted(&stage.seen("one").1, &stage.worktree("one")));
    let _ = stage.run(&["kill", "one"]).output().success();
    assert_eq!(stage.text(), USERS);
}

#[test]
fn a_program_that_fails_at_once_leaves_the_file_as_it_was() {
    let stage = Stage::new(ASKS_FOR_PERMISSION);
    stage.program("claude", "exit 3\n");
    let _ = stage.run(&["create", "one"]).output().fails(1);
    assert_eq!(stage.text(), USERS);
}

/// Kills `fleet` with `args` at each side of each of the acts, and lets `repair` clear up.
fn walk(acts: &[&str], prepare: impl Fn(&Stage), args: &[&str]) {
    let edges = ["before", "after"];
    for point in acts.iter().flat_map(|act| edges.map(|edge| format!("{act}:{edge}"))) {
        let stage = Stage::new(ASKS_FOR_PERMISSION);
        prepare(&stage);
        let done = stage.run(args).env("FLEET_FAULT", &point).output();
        assert!(!done.status.success(), "{point}: {done}");
        let _ = stage.run(&["list", "--repair"]).output().success();
        assert_eq!(stage.text(), USERS, "{point}");
        // A lock of the program's that is left is taken over by whoever comes next.
        let _ = stage.create("next");
        assert!(is_trusted(&stage.text(), &stage.worktree("next")), "{point}");
        let _ = stage.run(&["kill", "next"]).output().success();
        assert_eq!(stage.text(), USERS, "{point}");
        stage.env.assert_nothing_left();
    }
}

#[test]
fn a_start_that_was_cut_off_is_cleared_up_by_repair() {
    let acts = [
        "trust.folder",
        "trust.their-lock",
        "trust.backup",
        "trust.record",
        "trust.user-file",
        "trust.their-unlock",
    ];
    walk(&acts, |_| {}, &["create", "one"]);
}

#[test]
fn a_removal_that_was_cut_off_is_completed_by_repair() {
    let acts = [
        "trust.their-lock",
        "trust.user-file",
        "trust.their-unlock",
        "trust.backup-gone",
        "trust.record-gone",
    ];
    let started = |stage: &Stage| {
        let _ = stage.create("one");
    };
    walk(&acts, started, &["kill", "one"]);
}

#[test]
fn a_file_that_fleet_has_made_goes_again_also_after_a_crash() {
    let key = |cmd: Cmd| cmd.env("ANTHROPIC_API_KEY", "sk-made-up-abcdefghijklmnopqrst");
    for point in [
        None,
        Some("trust.user-file-gone:before"),
        Some("trust.user-file-gone:after"),
    ] {
        let stage = Stage::new(ASKS_FOR_PERMISSION);
        fs::remove_file(&stage.file).expect("removed");
        let _ = key(stage.run(&["create", "one"])).output().success();
        let found = stage.seen("one").1;
        assert!(is_trusted(&found, &stage.worktree("one")) && found.contains("\"hasCompletedOnboarding\":true"));
        let kill = stage.run(&["kill", "one"]);
        match point {
            None => {
                let _ = kill.output().success();
            }
            Some(point) => {
                assert!(!kill.env("FLEET_FAULT", point).output().status.success());
                let _ = stage.run(&["list", "--repair"]).output().success();
            }
        }
        assert!(!stage.file.exists(), "{point:?}");
        stage.env.assert_nothing_left();
    }
}

#[test]
fn logins_servers_and_settings_of_all_five_stay_to_the_byte() {
    const FILES: [(&str, &str); 11] = [
        (".claude.json", USERS),
        (
            ".claude/settings.json",
            "{ \"permissions\": {\"allow\": [\"Bash(ls)\"]} }\n",
        ),
        (
            ".claude/.credentials.json",
            "{\"claudeAiOauth\": {\"accessToken\": \"made-up\"}}",
        ),
        (
            ".codex/config.toml",
            "# mine\nmodel = \"m\"\n[mcp_servers.db]\ncommand = \"db\"\n\n[projects.\"/own\"]\ntrust_level = \"trusted\"\n",
        ),
        (".codex/auth.json", "{\"OPENAI_API_KEY\": \"made-up\"}"),
        (
            ".gemini/settings.json",
            "{\n  // mine\n  \"mcpServers\": {\"db\": {\"command\": \"db\"}}\n}\n",
        ),
        (".gemini/trustedFolders.json", "{\"/own\": \"TRUST_FOLDER\"}"),
        (".gemini/oauth_creds.json", "{\"access_token\": \"made-up\"}"),
        (
            ".pi/agent/auth.json",
            "{\"anthropic\": {\"type\": \"api_key\", \"key\": \"made-up\"}}",
        ),
        (
            ".config/opencode/opencode.json",
            "{\"mcp\": {\"db\": {\"type\": \"local\", \"command\": [\"db\"]}}}",
        ),
        (
            ".local/share/opencode/auth.json",
            "{\"x\": {\"type\": \"api\", \"key\": \"made-up\"}}",
        ),
    ];
    let stage = Stage::new(ASKS_FOR_PERMISSION);
    for (path, text) in FILES {
        let path = stage.env.home().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }
    let script = fs::read_to_string(stage.env.root().join("bin/claude")).expect("a script");
    let (_, lines) = script.split_once('\n').expect("a first line");
    let five = ["claude", "codex", "gemini", "opencode", "pi"];
    for name in five {
        stage.program(name, lines);
        let _ = stage.run(&["create", name, "--agent", name]).output().success();
        let (told, _) = stage.seen(name);
        assert_eq!(
            told.iter().any(|arg| arg.starts_with("projects={")),
            name == "codex",
            "{told:?}"
        );
    }
    let _ = stage.run(&["kill", "*"]).output().success();
    for (path, text) in FILES {
        assert_eq!(
            fs::read_to_string(stage.env.home().join(path)).expect("read"),
            text,
            "{path}"
        );
    }
    stage.env.assert_nothing_left();
}

#[test]
fn a_broken_file_stays_as_it_is_and_the_agent_starts_with_a_warning() {
    let stage = Stage::new(ASKS_FOR_PERMISSION);
    fs::write(&stage.file, "{ half").expect("written");
    let done = stage.create("one");
    assert!(
        done.stderr.contains("warning: ") && done.stderr.contains("is not JSON"),
        "{done}"
    );
    assert_eq!(stage.text(), "{ half");
    let _ = stage.run(&["kill", "one"]).output().success();
    assert_eq!(stage.text(), "{ half");
}

#[test]
fn a_user_without_a_file_gets_none() {
    let stage = Stage::new(ASKS_FOR_PERMISSION);
    fs::remove_file(&stage.file).expect("removed");
    stage.program("claude", "printf '❯ '; exec cat\n");
    let _ = stage.run(&["create", "one"]).output().success();
    assert!(!stage.file.exists());
    let _ = stage.run(&["kill", "one"]).output().success();
    assert!(!stage.file.exists());
}

#[test]
fn an_api_key_is_approved_for_a_user_without_a_login_only() {
    const KEY: &str = "sk-made-up-abcdefghijklmnopqrst";
    let stage = Stage::new(ASKS_FOR_PERMISSION);
    let create = |branch: &str| {
        let _ = stage
            .run(&["create", branch])
            .env("ANTHROPIC_API_KEY", KEY)
            .output()
            .success();
        stage.seen(branch).1
    };
    assert!(!create("login").contains("klmnopqrst"), "who pays is the user's to say");
    let _ = stage.run(&["kill", "login"]).output().success();

    let without = r#"{"hasCompletedOnboarding":true,"customApiKeyResponses":{"approved":["own"],"rejected":[]}}"#;
    fs::write(&stage.file, without).expect("written");
    let found: Value = serde_json::from_str(&create("none")).expect("JSON");
    let approved = &found["customApiKeyResponses"]["approved"];
    assert_eq!(*approved, serde_json::json!(["own", "abcdefghijklmnopqrst"]));
    let record = fs::read_to_string(stage.env.fleet_home().join("trust/added.json")).expect("a record");
    assert!(!record.contains("klmnopqrst"), "{record}");
    let _ = stage.run(&["kill", "none"]).output().success();
    assert_eq!(stage.text(), without);
}

#[test]
fn trust_worktrees_switches_it_off() {
    let stage = Stage::new(&format!("{ASKS_FOR_PERMISSION}trust_worktrees = false\n"));
    let _ = stage.create("one");
    assert_eq!(stage.seen("one").1, USERS);
    assert!(stage.doctor("trust").1.contains("`trust_worktrees` is off"));
    assert!(!stage.env.fleet_home().join("trust").exists());
}

/// Runs lines of shell as root, with the script on the path.
fn as_root(stage: &Stage, lines: &str) -> Option<Finished> {
    let lines = format!("PATH=\"$ROOT/bin:$PATH\"\n{lines}");
    stage.env.in_namespace(&stage.repo, &lines)
}

#[test]
fn root_may_not_bypass_permissions_and_nothing_is_made() {
    let stage = Stage::new("default_agent = \"claude\"\n");
    let Some(done) = as_root(&stage, "\"$FLEET\" create one") else {
        return;
    };
    let done = done.fails(5);
    assert!(
        done.stderr.contains("as root") && done.stderr.contains("root_bypass = true"),
        "{done}"
    );
    assert!(!stage.worktree("one").exists());
    assert_eq!(stage.text(), USERS);
    let branches = stage.env.git(&stage.repo, ["branch", "--list", "one"]).success();
    assert_eq!(branches.stdout, "");
}

#[test]
fn root_bypasses_with_root_bypass_or_with_the_users_own_word() {
    let word = ("IS_SANDBOX=1", "default_agent = \"claude\"\n");
    let setting = ("NO_WORD=1", "default_agent = \"claude\"\nroot_bypass = true\n");
    for (variable, config) in [word, setting] {
        let stage = Stage::new(config);
        let lines = format!(
            "{variable} \"$FLEET\" create one\nuntil [ -s \"$HOME/seen-one.txt\" ]; do :; done\n\"$FLEET\" kill one"
        );
        let Some(done) = as_root(&stage, &lines) else { return };
        let _ = done.success();
        let (told, _) = stage.seen("one");
        assert_eq!(told[0], "sandbox=1", "{told:?}");
        assert_eq!(told[1], "--settings", "the warning of the bypass mode: {told:?}");
        // One option, for the last one alone counts: with the answer, and with what the program reports by.
        assert_eq!(
            told.iter().filter(|arg| arg.starts_with("--settings")).count(),
            1,
            "{told:?}"
        );
        let settings = fs::read_to_string(&told[2]).expect("a file of settings");
        assert!(
            settings.contains("skipDangerousModePermissionPrompt") && settings.contains("UserPromptSubmit"),
            "{settings}"
        );
        assert_eq!(stage.text(), USERS);
    }
}

#[test]
fn doctor_says_which_version_is_the_tested_one_and_asks_each_program_once() {
    let stage = Stage::new(ASKS_FOR_PERMISSION);
    let (level, said) = stage.doctor("harness claude");
    assert!(
        level == "ok" && said.contains("2.1.197") && said.contains("the tested version"),
        "{said}"
    );
    for (version, says) in [
        ("2.2.0", "newer than the tested 2.1.197"),
        ("1.9.9", "older than the tested"),
    ] {
        let asked = stage.env.root().join("asked");
        stage.program(
            "claude",
            &format!("echo x >> {}\necho '{version} (x)'\n", asked.display()),
        );
        for _ in 0..2 {
            let (level, said) = stage.doctor("harness claude");
            assert!(
                level == "warning" && said.contains(version) && said.contains(says),
                "{said}"
            );
        }
        assert_eq!(fs::read_to_string(&asked).expect("asked"), "x\n");
        fs::remove_file(&asked).expect("removed");
    }
}
