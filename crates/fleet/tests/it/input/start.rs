//! What `create`, `fanout`, `multi` and `prompt` refuse.

use std::fs;
use std::os::unix::fs::symlink;

use fleet_testkit::TestEnv;
use serde_json::Value;

use super::*;

#[test]
fn outside_of_a_repository_nothing_starts_and_the_hint_opens_the_settings() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let said = refused(fleet(&env, env.root(), &["create", "fix"]).output(), 2).says("is not inside a git repository");
    let _ = said
        .hints("`repo_root`")
        .paste(&env, env.root(), |line| line.replace("repo_root", "fleet config path"))
        .success();
    let _ = paste(&env, env.root(), "fleet config edit").success();
    for args in [&["fanout", "2"][..], &["multi", "a:x", "b:y"]] {
        let _ = refused(fleet(&env, env.root(), args).output(), 2).says("is not inside a git repository");
    }
    env.assert_nothing_left();
    assert!(!env.fleet_home().join("worktrees/fix").exists());
}

#[test]
fn a_repo_root_that_is_no_repository_is_named() {
    let env = TestEnv::new();
    env.config_with_scripted("repo_root = \"/no/such/place\"");
    let said = refused(fleet(&env, env.root(), &["create", "fix"]).output(), 2);
    let said = said.says("repo_root").says("/no/such/place").hints("fleet config edit");
    assert_eq!(said.command(), "fleet config edit");
    let _ = paste(&env, env.root(), "EDITOR='sed -i /repo_root/d' fleet config edit").success();
    env.assert_nothing_left();
}

#[test]
fn a_valid_repo_root_is_used_from_anywhere() {
    let env = TestEnv::new();
    let repo = env.repo("repo", 1);
    env.config_with_scripted(&format!("repo_root = \"{}\"", repo.display()));
    let _ = fleet(&env, env.root(), &["create", "fix"]).output().success();
    assert!(env.git(&repo, ["rev-parse", "--verify", "fix"]).status.success());
    kill_all(&env);
}

#[test]
fn without_a_commit_the_hint_makes_one_and_then_it_works() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.root().join("empty");
    fs::create_dir(&repo).unwrap();
    let _ = env.git(&repo, ["init", "--quiet"]).success();
    for args in [&["create", "fix"][..], &["fanout", "3"], &["multi", "a:x"]] {
        let _ = refused(fleet(&env, &repo, args).output(), 2).says("has no commit yet");
    }
    env.assert_nothing_left();
    let said = refused(fleet(&env, &repo, &["create", "fix"]).output(), 2);
    let _ = said.paste(&env, &repo, |line| line).success();
    let _ = fleet(&env, &repo, &["create", "fix"]).output().success();
    kill_all(&env);
}

#[test]
fn a_branch_that_exists_is_refused_and_the_hint_uses_it() {
    let (env, repo) = scene("");
    let _ = env.git(&repo, ["branch", "old"]).success();
    changes_nothing(&env, &repo, || {
        let said = refused(fleet(&env, &repo, &["create", "old"]).output(), 4).says("`old` exists already");
        assert_eq!(said.command(), "fleet create old --existing");
        let _ = refused(fleet(&env, &repo, &["multi", "new:x", "old:y"]).output(), 4).says("`old` exists already");
        let _ = refused(fleet(&env, &repo, &["create", "none", "--existing"]).output(), 3)
            .says("there is no branch `none`");
        let _ = refused(fleet(&env, &repo, &["create", "ol", "--existing"]).output(), 3).hints("`old`");
        let _ = refused(fleet(&env, &repo, &["create", "new", "--base", "nowhere"]).output(), 2)
            .says("`nowhere` names no commit");
        let _ = refused(fleet(&env, &repo, &["create", "new", "--base", "ol"]).output(), 2).hints("`old`");
    });
    let _ = paste(&env, &repo, "fleet create old --existing").success();
    let _ = refused(fleet(&env, &repo, &["create", "old"]).output(), 4);
    kill_all(&env);
    assert!(
        env.git(&repo, ["rev-parse", "--verify", "old"]).status.success(),
        "a branch of the user's stays"
    );
}

#[test]
fn a_branch_that_is_checked_out_elsewhere_is_refused_with_the_place() {
    let (env, repo) = scene("");
    let elsewhere = env.root().join("elsewhere");
    let _ = env
        .git(
            &repo,
            ["worktree", "add", "-q", "-b", "busy", elsewhere.to_str().unwrap()],
        )
        .success();
    let before = world(&env, &repo);
    let _ = refused(fleet(&env, &repo, &["create", "main"]).output(), 4).hints(&repo.display().to_string());
    let _ = refused(fleet(&env, &repo, &["create", "busy"]).output(), 4).hints(&elsewhere.display().to_string());
    let said = refused(fleet(&env, &repo, &["create", "busy", "--existing"]).output(), 4);
    let said = said.says(&format!("checked out at {}", elsewhere.display()));
    assert_eq!(world(&env, &repo), before);
    let _ = said.paste(&env, &repo, |line| line.replace("NAME", "busy-2")).success();
    let _ = fleet(&env, &repo, &["kill", "busy-2"]).output().success();
    let _ = env
        .git(&repo, ["worktree", "remove", "--force", elsewhere.to_str().unwrap()])
        .success();
    env.assert_nothing_left();
}

#[test]
fn invalid_refs_are_refused_with_a_valid_name_and_unusual_valid_ones_work() {
    let (env, repo) = scene("");
    changes_nothing(&env, &repo, || {
        let bad = [
            "a..b", "-x", "a b", "x.lock", "/a", "a/", ".a", "HEAD", "@", "a~1", "a^", "a:b", "", "é\u{7}",
        ];
        for name in bad {
            let said = refused(fleet(&env, &repo, &["create", "--", name]).output(), 2).says("is no valid branch name");
            if let Some(better) = said.hint.strip_prefix("use `") {
                let better = better.trim_end_matches('`');
                assert!(
                    env.git(&repo, ["check-ref-format", "--branch", better])
                        .status
                        .success(),
                    "{better}"
                );
            }
        }
        let _ = refused(fleet(&env, &repo, &["create", "--", "a..b"]).output(), 2).hints("use `a-b`");
        let _ = refused(fleet(&env, &repo, &["fanout", "2", "a..b"]).output(), 2).says("a..b-A1");
        let _ = refused(fleet(&env, &repo, &["multi", "good:x", "a..b:y"]).output(), 2).says("`a..b`");
        let done = fleet(&env, &repo, &["create", "-x"]).output().fails(2);
        assert!(done.stderr.contains("-- -x"), "{done}");
    });
    for name in ["feature/x", "v1.2", "ünïcode", "a@b"] {
        let _ = fleet(&env, &repo, &["create", name]).output().success();
    }
    kill_all(&env);
}

#[test]
fn a_branch_and_a_folder_of_branches_cannot_have_one_name() {
    let (env, repo) = scene("");
    let _ = env.git(&repo, ["branch", "feature/x"]).success();
    changes_nothing(&env, &repo, || {
        for (name, other) in [
            ("feature", "feature/x"),
            ("main/x", "main"),
            ("feature/x/y", "feature/x"),
        ] {
            let said = refused(fleet(&env, &repo, &["create", name]).output(), 4)
                .says(&format!("the branch `{other}` exists"));
            let better = said.hint.split('`').nth(1).expect("a name").to_owned();
            assert!(
                env.git(&repo, ["branch", &better]).status.success(),
                "{better} would not work"
            );
            let _ = env.git(&repo, ["branch", "-D", &better]).success();
        }
        let _ = refused(fleet(&env, &repo, &["multi", "new:x", "new/sub:y"]).output(), 4).says("`new/sub`");
        let _ = refused(fleet(&env, &repo, &["multi", "same:x", "same:y"]).output(), 4).says("`same`");
    });
}

#[test]
fn a_fan_out_of_none_or_too_many_is_refused() {
    let (env, repo) = scene("");
    changes_nothing(&env, &repo, || {
        for count in ["0", "101"] {
            let _ = refused(fleet(&env, &repo, &["fanout", count]).output(), 2)
                .says(count)
                .hints("1 to 100");
        }
        for count in ["-1", "many", "70000", "1.5"] {
            let _ = fleet(&env, &repo, &["fanout", count]).output().fails(2);
        }
    });
}

#[test]
fn empty_prompts_are_refused() {
    let (env, repo) = scene("");
    fs::write(repo.join("empty.txt"), "\n \n").unwrap();
    changes_nothing(&env, &repo, || {
        for prompt in ["", " \n ", "@empty.txt", "-"] {
            let _ =
                refused(fleet(&env, &repo, &["create", "fix", "-p", prompt]).output(), 2).says("the prompt is empty");
            let _ = refused(fleet(&env, &repo, &["fanout", "2", "-p", prompt]).output(), 2).says("the prompt is empty");
        }
        let _ = refused(fleet(&env, &repo, &["multi"]).output(), 2)
            .says("nothing to start")
            .hints("fleet multi");
        for task in ["fix", "fix:", ":x"] {
            let _ = refused(fleet(&env, &repo, &["multi", task]).output(), 2);
        }
        let _ = refused(fleet(&env, &repo, &["multi", "--file", "none.txt"]).output(), 2).says("none.txt");
        let _ = refused(fleet(&env, &repo, &["create", "fix", "-p", "@none.txt"]).output(), 2).says("none.txt");
        let done = fleet(&env, &repo, &["create", "fix", "-p", "-"])
            .stdin(b"\xff\xfe".to_vec())
            .output();
        let _ = refused(done, 2).says("standard input");
    });
}

#[test]
fn a_prompt_of_ten_megabytes_or_with_control_characters_is_refused() {
    let (env, repo) = scene("");
    let text = "x".repeat(10_000_000);
    fs::write(env.root().join("long.txt"), &text).unwrap();
    let _ = fleet(&env, &repo, &["create", "live"]).output().success();
    let _ = fleet(&env, &repo, &["wait", "live", "--until", "ready", "--timeout", "30"])
        .output()
        .success();
    changes_nothing(&env, &repo, || {
        for args in [
            &["create", "fix", "-p", "-"][..],
            &["fanout", "2", "-p", "-"],
            &["prompt", "live", "-"],
        ] {
            let done = fleet(&env, &repo, args).stdin(text.clone()).output();
            let _ = refused(done, 2).says("10000000 bytes").hints("into a file");
        }
        let _ =
            refused(fleet(&env, &repo, &["create", "fix", "-p", "@../long.txt"]).output(), 2).says("10000000 bytes");
        for args in [
            &["create", "fix", "-p", "a\u{1b}[31mb"][..],
            &["prompt", "live", "a\u{3}b"],
        ] {
            let _ = refused(fleet(&env, &repo, args).output(), 2).says("control character");
        }
        let _ = refused(fleet(&env, &repo, &["prompt", "live", ""]).output(), 2).says("the prompt is empty");
        let _ = refused(fleet(&env, &repo, &["prompt", "live"]).output(), 2).says("no target");
    });
    assert_eq!(env.received(), []);
    kill_all(&env);
}

#[test]
fn a_prompt_too_long_for_an_argument_is_refused_before_anything_is_made() {
    let env = TestEnv::new();
    env.config_with_scripted("[harness.arg]\ncommand = [\"/bin/true\"]\nprompt = \"argv\"");
    let repo = env.repo("repo", 1);
    changes_nothing(&env, &repo, || {
        let done = fleet(&env, &repo, &["create", "fix", "-a", "arg", "-p", "-"])
            .stdin("x".repeat(200_000))
            .output();
        let _ = refused(done, 2).says("200000 bytes").hints("into a file");
    });
}

#[test]
fn an_unknown_harness_names_the_nearest_and_one_that_is_not_installed_its_install_line() {
    let env = TestEnv::new();
    let own = "[harness.mine]\ncommand = [\"no-such-agent\"]\ninstall = \"get no-such-agent\"\n\
               [harness.bare]\ncommand = [\"/no/such/agent\"]";
    env.config_with_scripted(own);
    let repo = env.repo("repo", 1);
    let path = only(&env, &["git", "tmux", "sh"]);
    changes_nothing(&env, &repo, || {
        let _ = refused(fleet(&env, &repo, &["create", "fix", "-a", "cluade"]).output(), 2)
            .says("`cluade`")
            .hints("did you mean `claude`?");
        let _ = refused(fleet(&env, &repo, &["create", "fix", "-a", "zzz"]).output(), 2).hints("claude, codex");
        let with = |agent: &str| {
            fleet(&env, &repo, &["create", "fix", "-a", agent])
                .env("PATH", &path)
                .output()
        };
        let _ = refused(with("claude"), 7)
            .says("`claude` is not installed")
            .hints("npm install -g @anthropic-ai/claude-code");
        let _ = refused(with("codex"), 7)
            .says("`codex` is not installed")
            .hints("npm install -g");
        let _ = refused(with("codecs"), 7).says("`codex` is not installed");
        let _ = refused(with("mine"), 7)
            .says("`no-such-agent` is not installed")
            .hints("`get no-such-agent`");
        let said = refused(with("bare"), 7).says("/no/such/agent").hints("[harness.bare]");
        assert!(said.hint.contains("`fleet config edit`"), "{}", said.whole);
        // One of several to be dealt is enough.
        let done = fleet(&env, &repo, &["fanout", "2", "-a", "scripted,mine"]).output();
        let _ = refused(done, 7).says("`no-such-agent`");
        let _ = refused(fleet(&env, &repo, &["create", "fix", "--model", "m"]).output(), 2)
            .says("model")
            .hints("fleet config edit");
    });
}

#[test]
fn a_harness_that_dies_at_once_shows_its_last_output_and_leaves_nothing() {
    let env = TestEnv::new();
    let dies = "command = [\"/bin/sh\", \"-c\", \"echo first words; echo last words >&2; exit 3\"]";
    // One that loads for a while first, as most programs do.
    let loads = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo first words; echo last words; exit 3";
    env.config_with_scripted(&format!(
        "[harness.dies]\n{dies}\nprompt = \"paste\"\n[harness.headless]\n{dies}\nprompt = \"stdin\"\n\
         [harness.loads]\ncommand = [\"/bin/sh\", \"-c\", \"{loads}\"]\nprompt = \"paste\""
    ));
    let repo = env.repo("repo", 1);
    changes_nothing(&env, &repo, || {
        for harness in ["dies", "headless", "loads"] {
            let said = refused(
                fleet(&env, &repo, &["create", "fix", "-a", harness, "-p", "x"]).output(),
                1,
            );
            let said = said.says(harness).says("exit code 3");
            let _ = said.shows("first words").shows("last words");
        }
        let done = fleet(&env, &repo, &["fanout", "2", "-a", "dies", "--json"])
            .output()
            .fails(1);
        let told: Value = done.json();
        assert_eq!(told["agents"], serde_json::json!([]));
        for failed in told["failed"].as_array().unwrap() {
            assert!(
                failed["error"]["detail"].as_str().unwrap().contains("last words"),
                "{done}"
            );
        }
    });
}

#[test]
fn a_partial_failure_keeps_the_rest_names_the_failed_and_exits_with_one() {
    let env = TestEnv::new();
    env.config_with_scripted("[harness.dies]\ncommand = [\"/bin/sh\", \"-c\", \"exit 3\"]\nprompt = \"paste\"");
    let repo = env.repo("repo", 1);
    let done = fleet(&env, &repo, &["fanout", "2", "pair", "-a", "scripted,dies", "--json"])
        .output()
        .fails(1);
    let told: Value = done.json();
    assert_eq!(
        (&told["agents"][0]["branch"], told["agents"].as_array().unwrap().len()),
        (&"pair-A1".into(), 1)
    );
    assert_eq!(
        (&told["failed"][0]["branch"], &told["failed"][0]["error"]["kind"]),
        (&"pair-A2".into(), &"failed".into())
    );
    let agents = world(&env, &repo).agents;
    assert_eq!(agents.len(), 1, "{agents:?}");
    kill_all(&env);
}

#[test]
fn a_setup_command_that_fails_shows_its_output_and_keep_going_goes_on() {
    let (env, repo) = scene("setup_commands = [\"echo before it\", \"echo it went wrong; exit 7\", \"echo never\"]");
    let said = std::cell::RefCell::new(None);
    changes_nothing(&env, &repo, || {
        let told = refused(fleet(&env, &repo, &["create", "fix"]).output(), 1)
            .says("echo it went wrong; exit 7")
            .says("7");
        *said.borrow_mut() = Some(told.shows("before it").shows("it went wrong").hints("--keep-going"));
    });
    let _ = fleet(&env, &repo, &["create", "fix", "--keep-going"])
        .output()
        .success();
    let _ = fleet(&env, &repo, &["create", "quick", "--quick"]).output().success();
    kill_all(&env);
}

#[test]
fn credential_files_that_cannot_be_copied_safely_are_refused() {
    let env = TestEnv::new();
    let repo = env.repo("repo", 1);
    fs::write(env.root().join("outside.key"), "secret").unwrap();
    fs::create_dir(repo.join("folder")).unwrap();
    symlink(env.root().join("outside.key"), repo.join("link.key")).unwrap();
    symlink(env.root(), repo.join("linked")).unwrap();
    symlink("nowhere", repo.join("dangling.key")).unwrap();
    let cases = [
        ("missing.key", "no such file"),
        ("dangling.key", "no such file"),
        ("folder", "no regular file"),
        ("link.key", "out of the repository"),
        ("linked/outside.key", "out of the repository"),
    ];
    for (file, why) in cases {
        env.config_with_scripted(&format!("credential_files = [\"{file}\"]"));
        changes_nothing(&env, &repo, || {
            let said = refused(fleet(&env, &repo, &["create", "fix"]).output(), 78)
                .says(file)
                .says(why);
            let _ = said.hints("credential_files").paste_edit(&env, &repo);
        });
    }
    for file in ["../outside.key", "/etc/passwd"] {
        env.config_with_scripted(&format!("credential_files = [\"{file}\"]"));
        let _ = refused(fleet(&env, &repo, &["create", "fix"]).output(), 78)
            .says(file)
            .says("credential_files");
    }
    env.assert_nothing_left();
}

impl Said {
    /// The hint opens the settings, and that works.
    #[track_caller]
    fn paste_edit(self, env: &TestEnv, dir: &Path) -> Self {
        assert!(self.hint.contains("`fleet config edit`"), "{}", self.whole);
        let _ = paste(env, dir, "fleet config edit; true").success();
        self
    }
}
