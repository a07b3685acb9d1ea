//! How agents are named: branch, repo/branch, id, pattern, batch.

use fleet_testkit::TestEnv;
use serde_json::Value;

use crate::drive::{agent, answer, fleet, listed, listed_by, refusal, text};

/// The worktree folders that `path` answers with, or the error.
fn ended(env: &TestEnv, cwd: &std::path::Path, args: &[&str]) -> Vec<String> {
    let all = ["kill", "--dry-run"].iter().chain(args);
    let killed = answer(env, cwd, all);
    let mut branches: Vec<String> = killed["agents"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|each| text(&each["branch"]))
        .collect();
    branches.sort();
    branches
}

#[test]
fn agents_are_named_by_branch_repository_id_pattern_and_batch() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let (one, two) = (env.repo("one", 3), env.repo("two", 3));
    let _ = answer(&env, &one, ["fanout", "2", "fix"]);
    let _ = answer(&env, &two, ["fanout", "2", "fix2"]);
    let _ = answer(&env, &two, ["create", "feature/x"]);

    assert_eq!(ended(&env, &one, &["fix-A1"]), ["fix-A1"]);
    // A branch of another repository is found when this one has none of that name.
    assert_eq!(ended(&env, &one, &["feature/x"]), ["feature/x"]);
    assert_eq!(ended(&env, env.root(), &["two/feature/x"]), ["feature/x"]);
    let id = text(&agent(&env, "fix-A2")["id"]);
    assert_eq!(ended(&env, &two, &[&id]), ["fix-A2"]);
    // A pattern means this repository when it fits anything here.
    assert_eq!(ended(&env, &one, &["fix*"]), ["fix-A1", "fix-A2"]);
    assert_eq!(ended(&env, &two, &["fix*"]), ["fix2-A1", "fix2-A2"]);
    assert_eq!(
        ended(&env, env.root(), &["fix*"]),
        ["fix-A1", "fix-A2", "fix2-A1", "fix2-A2"]
    );
    assert_eq!(ended(&env, &two, &["one/*"]), ["fix-A1", "fix-A2"]);
    assert_eq!(ended(&env, &one, &["--batch", "fix2"]), ["fix2-A1", "fix2-A2"]);
    // Named twice is meant once.
    assert_eq!(ended(&env, &one, &["fix-A1", "fix-*", &id]), ["fix-A1", "fix-A2"]);

    assert_eq!(listed(&env).len(), 5, "a dry run touched nothing");
    let listing = answer(&env, &two, ["list", "--repo"]);
    assert_eq!(listing["agents"].as_array().map(Vec::len), Some(3));
    let _ = answer(&env, &one, ["kill", "one/*", "two/*", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn agents_of_several_repositories_are_shown_with_the_repository() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let (one, two) = (env.repo("one", 1), env.repo("two", 1));
    for repo in [&one, &two] {
        let _ = answer(&env, repo, ["create", "fix", "--wait", "ready"]);
    }
    let shown = |args: &[&str]| fleet(&env, env.root(), args).output().success().stdout;
    let names = |text: &str| ["one/fix", "two/fix"].map(|name| text.contains(name));
    for args in [
        &["wait", "*", "--until", "ready"][..],
        &["prompt", "*", "hello", "--wait"],
        &["restart", "*"],
        &["kill", "*", "--dry-run"],
    ] {
        let text = shown(args);
        assert_eq!(names(&text), [true, true], "{args:?}: {text}");
    }
    let text = fleet(&env, &one, ["kill", "one/*", "--dry-run"])
        .output()
        .success()
        .stdout;
    assert_eq!(
        names(&text),
        [false, false],
        "of one repository the branch is enough: {text}"
    );
    let text = shown(&["kill", "*"]);
    assert_eq!(names(&text), [true, true], "{text}");
    env.assert_nothing_left();
}

#[test]
fn a_target_that_fits_nothing_is_told_the_nearest_name_and_nothing_happens() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let made = answer(&env, &repo, ["create", "fix-login"]);
    let batch = text(&made["agents"][0]["batch_id"]).to_owned();
    for args in [
        ["kill", "fix-logn"],
        ["kill", "fix-?"],
        ["path", "fix-logn"],
        ["restart", "fix-logn"],
        ["resume", "fix-logn"],
    ] {
        let said: Value = refusal(&env, &repo, args, 3);
        assert!(said["error"]["hint"].is_string(), "{said}");
    }
    let said = refusal(&env, &repo, ["kill", "fix-logn"], 3);
    assert!(text(&said["error"]["hint"]).contains("fix-login"), "{said}");
    // One bad name among good ones ends none.
    let _ = refusal(&env, &repo, ["kill", "fix-login", "nobody"], 3);
    let near = batch.replacen("manual", "manul", 1);
    let said = refusal(&env, &repo, ["kill", "--batch", &near], 3);
    assert!(
        text(&said["error"]["hint"]).contains(&format!("--batch {batch}")),
        "{said}"
    );
    assert_eq!(listed_by(&env, "branch"), ["fix-login"]);
    let _ = answer(&env, &repo, ["kill", "fix-login", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn an_exact_name_wins_over_what_else_it_could_mean() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let (repo, other) = (env.repo("repo", 3), env.repo("other", 3));
    // `other/x` is a branch here and `x` of the repository `other`.
    let _ = answer(&env, &repo, ["create", "other/x"]);
    let _ = answer(&env, &other, ["create", "x"]);
    assert_eq!(ended(&env, &repo, &["other/x"]), ["other/x"]);
    assert_eq!(ended(&env, &other, &["x"]), ["x"]);
    let _ = answer(&env, &repo, ["kill", "other/x", "x", "--force"]);
    env.assert_nothing_left();
}
