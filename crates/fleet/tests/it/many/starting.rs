//! What `create` can be told: where to start, where to work, what to give, when to answer.

use std::path::Path;

use fleet_testkit::TestEnv;
use serde_json::Value;

use crate::drive::{agent, answer, create, fleet, listed, listed_by, refusal, text, turn, worktree};

fn head(env: &TestEnv, dir: &Path) -> String {
    env.git(dir, ["rev-parse", "HEAD"]).success().stdout.trim().to_owned()
}

#[test]
fn a_worktree_starts_at_head_or_at_the_base_that_was_asked_for() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let first = head(&env, &repo);
    let _ = env.git(&repo, ["tag", "v1.2"]).success();
    std::fs::write(repo.join("second.txt"), "2\n").expect("written");
    env.commit_all(&repo, "second");
    let second = head(&env, &repo);

    for (branch, base, wanted) in [
        ("at-head", None, &second),
        ("at-tag", Some("v1.2"), &first),
        ("at-branch", Some("main"), &second),
        ("at-commit", Some(&first[..12]), &first),
    ] {
        let mut args = vec!["create", branch];
        args.extend(base.iter().flat_map(|base| ["--base", base]));
        let record = answer(&env, &repo, args)["agents"][0].clone();
        assert_eq!(record["base"], **wanted, "{branch}");
        assert_eq!(&head(&env, &worktree(&record)), wanted, "{branch}");
        assert_eq!(
            worktree(&record).join("second.txt").exists(),
            *wanted == second,
            "{branch}"
        );
    }
    let said = refusal(&env, &repo, ["create", "nowhere", "--base", "no-such-thing"], 2);
    assert!(text(&said["error"]["message"]).contains("no-such-thing"), "{said}");
    assert_eq!(listed(&env).len(), 4);
    let _ = answer(&env, &repo, ["kill", "at-*", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn an_existing_branch_wants_existing_and_keeps_its_commits() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let _ = env.git(&repo, ["switch", "--quiet", "-c", "old"]).success();
    std::fs::write(repo.join("old.txt"), "old\n").expect("written");
    env.commit_all(&repo, "old work");
    let old = head(&env, &repo);
    let _ = env.git(&repo, ["switch", "--quiet", "main"]).success();

    let said = refusal(&env, &repo, ["create", "old"], 4);
    assert!(text(&said["error"]["hint"]).contains("--existing"), "{said}");
    let said = refusal(&env, &repo, ["create", "none-such", "--existing"], 3);
    assert!(said["error"]["hint"].is_string(), "{said}");
    let said = refusal(&env, &repo, ["create", "main", "--existing"], 4);
    assert!(text(&said["error"]["message"]).contains("checked out"), "{said}");

    let record = answer(&env, &repo, ["create", "old", "--existing"])["agents"][0].clone();
    assert_eq!(head(&env, &worktree(&record)), old);
    assert!(worktree(&record).join("old.txt").exists());
    let _ = answer(&env, &repo, ["kill", "old", "--force"]);
    let kept = env.git(&repo, ["rev-parse", "old"]).success().stdout;
    assert_eq!(kept.trim(), old, "the branch is the user's");
    env.assert_nothing_left();
}

#[test]
fn here_takes_a_label_changes_nothing_and_its_kill_ends_processes_only() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let before = env.git(&repo, ["branch", "--all"]).success().stdout;
    let made = answer(
        &env,
        &repo,
        ["create", "the docs", "--here", "--wait", "ready", "--timeout", "60"],
    );
    let record = &made["agents"][0];
    assert_eq!(record["workspace"], "here");
    assert_eq!(worktree(record), repo);
    turn(&env, &repo, "the docs", "write made-here.txt yes");

    let said = refusal(&env, &repo, ["create", "another", "--here"], 4);
    assert!(
        text(&said["error"]["message"]).contains("the docs") || said["error"]["hint"].is_string(),
        "{said}"
    );
    assert_eq!(listed_by(&env, "branch"), ["the docs"]);

    let killed = answer(&env, &repo, ["kill", "the docs"]);
    assert!(killed["agents"][0]["ended"]["salvage"].is_null(), "{killed}");
    assert_eq!(
        std::fs::read_to_string(repo.join("made-here.txt")).expect("kept"),
        "yes\n"
    );
    assert_eq!(env.git(&repo, ["branch", "--all"]).success().stdout, before);
    assert!(listed(&env).is_empty());
    env.assert_nothing_left();
}

#[test]
fn here_works_where_there_is_no_repository() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let dir = env.root().join("plain");
    std::fs::create_dir(&dir).expect("made");
    let _ = answer(
        &env,
        &dir,
        ["create", "notes", "--here", "--wait", "ready", "--timeout", "60"],
    );
    turn(&env, &dir, "notes", "write note.txt here");
    let _ = answer(&env, &dir, ["kill", "notes", "--delete-branch"]);
    assert_eq!(std::fs::read_to_string(dir.join("note.txt")).expect("kept"), "here\n");
    env.assert_nothing_left();
}

#[test]
fn the_answer_can_wait_for_a_state() {
    let env = TestEnv::new();
    env.config_with_scripted_args("", &["--boot-ms", "300", "--turn-ms", "300"]);
    let repo = env.repo("repo", 3);
    let ready = create(&env, &repo, "ready");
    assert_eq!(ready["state"], "ready");
    let args = [
        "create",
        "idle",
        "-p",
        "print hello",
        "--wait",
        "idle",
        "--timeout",
        "60",
    ];
    assert_eq!(answer(&env, &repo, args)["agents"][0]["state"], "idle");
    let args = ["create", "ended", "-p", "exit 0", "--wait", "exited", "--timeout", "60"];
    assert_eq!(answer(&env, &repo, args)["agents"][0]["state"], "exited(0)");

    // A wait that is in vain has an exit code of its own, and the agent stays.
    let said = refusal(
        &env,
        &repo,
        ["create", "never", "--wait", "waiting", "--timeout", "1"],
        8,
    );
    assert_eq!(said["not_reached"][0]["error"]["kind"], "timeout", "{said}");
    assert_eq!(agent(&env, "never")["phase"], "started");
    let said = refusal(&env, &repo, ["create", "typo", "--wait", "redy"], 2);
    assert!(text(&said["error"]["hint"]).contains("ready"), "{said}");
    assert_eq!(listed_by(&env, "branch"), ["ended", "idle", "never", "ready"]);
    let _ = answer(&env, &repo, ["kill", "*", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn quick_copies_files_and_skips_the_commands() {
    let env = TestEnv::new();
    env.config_with_scripted("credential_files = [\".env\"]\nsetup_commands = [\"touch set-up\"]\n");
    let repo = env.repo("repo", 3);
    std::fs::write(repo.join(".gitignore"), ".env\nset-up\n").expect("written");
    env.commit_all(&repo, "ignore");
    std::fs::write(repo.join(".env"), "KEY=1\n").expect("written");
    let has = |record: &Value, name: &str| worktree(record).join(name).exists();
    let full = answer(&env, &repo, ["create", "full"])["agents"][0].clone();
    assert!(has(&full, ".env") && has(&full, "set-up"));
    let quick = answer(&env, &repo, ["create", "quick", "--quick"])["agents"][0].clone();
    assert!(has(&quick, ".env") && !has(&quick, "set-up"));
    let _ = answer(&env, &repo, ["kill", "full", "quick", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn a_variable_comes_from_the_caller_or_from_the_flag() {
    let env = TestEnv::new();
    env.config_with_scripted_args("", &["--env-report", "env.json"]);
    let repo = env.repo("repo", 3);
    let made: Value = fleet(
        &env,
        &repo,
        ["create", "vars", "--env", "TAKEN", "--env", "GIVEN=x=y", "--json"],
    )
    .env("TAKEN", "marker")
    .output()
    .success()
    .json();
    let record = &made["agents"][0];
    let names: Vec<String> = record["env_names"]
        .as_array()
        .expect("a list")
        .iter()
        .map(text)
        .collect();
    assert_eq!(names, ["TAKEN", "GIVEN"]);
    turn(&env, &repo, "vars", "run env");
    let logs = fleet(&env, &repo, ["logs", "vars", "-n", "200"]).output().success();
    assert!(
        logs.stdout.contains("TAKEN=marker") && logs.stdout.contains("GIVEN=x=y"),
        "{logs}"
    );

    let said = refusal(&env, &repo, ["create", "missing", "--env", "NOT_SET_ANYWHERE"], 2);
    assert!(text(&said["error"]["message"]).contains("NOT_SET_ANYWHERE"), "{said}");
    assert_eq!(listed_by(&env, "branch"), ["vars"]);
    let _ = answer(&env, &repo, ["kill", "vars", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn branches_with_slashes_never_lie_inside_one_another() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let a = answer(&env, &repo, ["create", "a-b"])["agents"][0].clone();
    let b = answer(&env, &repo, ["create", "a/b"])["agents"][0].clone();
    let c = answer(&env, &repo, ["create", "v1.2"])["agents"][0].clone();
    assert_ne!(a["session"], b["session"]);
    let folders = [worktree(&a), worktree(&b), worktree(&c)];
    for one in &folders {
        for other in folders.iter().filter(|other| *other != one) {
            assert!(!other.starts_with(one), "{} is in {}", other.display(), one.display());
        }
    }
    let _ = answer(&env, &repo, ["kill", "*", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn a_wait_that_is_too_short_still_answers_with_what_was_started() {
    let env = TestEnv::new();
    env.config_with_scripted_args("", &["--boot-ms", "60000"]);
    let repo = env.repo("repo", 1);
    let wait = ["--wait", "ready", "--timeout", "0.2"];
    let told: Value = fleet(&env, &repo, ["create", "slow", "--json"])
        .args(wait)
        .output()
        .fails(8)
        .json();
    assert_eq!(told["agents"][0]["branch"], "slow", "{told}");
    assert_eq!(told["not_reached"][0]["branch"], "slow", "{told}");
    assert_eq!(told["not_reached"][0]["id"], told["agents"][0]["id"], "{told}");
    assert_eq!(told["not_reached"][0]["error"]["kind"], "timeout", "{told}");

    let said = fleet(&env, &repo, ["fanout", "2", "many"]).args(wait).output().fails(8);
    for branch in ["many-A1", "many-A2"] {
        assert!(said.stdout.contains(&format!("started {branch} ")), "{said}");
        assert!(said.stdout.contains(&format!("not reached {branch}: ")), "{said}");
        assert!(said.stderr.contains(&format!("fleet explain {branch}")), "{said}");
    }
    assert_eq!(listed(&env).len(), 3);
    let _ = answer(&env, &repo, ["kill", "*", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn changes_that_the_new_worktree_does_not_have_are_told_in_one_line() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let run = |args: &[&str]| fleet(&env, &repo, args).arg("--json").output().success();
    let told = |args: &[&str]| {
        let done = run(args);
        let _: Value = done.json();
        done.stderr
            .lines()
            .filter(|line| line.contains("not committed"))
            .count()
    };
    std::fs::write(repo.join("new.txt"), "untracked").expect("written");
    // A file that was only touched has not changed.
    std::fs::write(repo.join("dir0/file0.txt"), "file 0\n").expect("written");
    assert_eq!(told(&["create", "clean"]), 0);
    std::fs::write(repo.join("dir0/file1.txt"), "changed").expect("written");
    assert_eq!(told(&["create", "one"]), 1);
    assert_eq!(told(&["fanout", "2", "many"]), 1, "once, not for each");
    assert_eq!(told(&["create", "based", "--base", "HEAD"]), 0, "that was asked for");
    assert_eq!(told(&["create", "here", "--here"]), 0, "it has them");
    let _ = answer(&env, &repo, ["kill", "*", "--force"]);
    env.assert_nothing_left();
}
