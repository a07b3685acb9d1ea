//! What deletes shows first, and what a dry run says is all it does.

use std::fs;
use std::path::Path;

use fleet_testkit::TestEnv;
use serde_json::{Value, json};

use crate::drive::{agent, answer, create, fleet, listed, refusal, text, turn, worktree};

fn commit(env: &TestEnv, dir: &Path, name: &str) -> String {
    fs::write(dir.join(name), name).expect("written");
    env.commit_all(dir, name);
    env.git(dir, ["rev-parse", "HEAD"]).success().stdout.trim().to_owned()
}

fn has_branch(env: &TestEnv, repo: &Path, branch: &str) -> bool {
    env.git(
        repo,
        ["show-ref", "--verify", "--quiet", &format!("refs/heads/{branch}")],
    )
    .status
    .success()
}

fn salvages(env: &TestEnv) -> Vec<Value> {
    let list = answer(env, env.root(), ["salvage", "list"]);
    list["salvages"].as_array().expect("a list").clone()
}

#[test]
fn a_dry_run_tells_all_and_touches_nothing() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let record = create(&env, &repo, "dry");
    let dir = worktree(&record);
    fs::write(dir.join("untracked.txt"), "work\n").expect("written");
    let _ = create(&env, &repo, "clean");
    let state = |env: &TestEnv| {
        let refs = env.git(&repo, ["for-each-ref"]).success().stdout;
        let status = env.git(&dir, ["status", "--porcelain"]).success().stdout;
        let objects = env.git(&repo, ["count-objects"]).success().stdout;
        let rows: Vec<Value> = listed(env)
            .iter()
            .map(|row| json!([row["branch"], row["state"], row["phase"], row["pid"], row["generation"]]))
            .collect();
        (refs, status, objects, rows)
    };
    let before = state(&env);
    for flags in [&[][..], &["--force", "--delete-branch", "--salvage-ignored"]] {
        let killed = answer(&env, &repo, [&["kill", "dry", "clean", "--dry-run"], flags].concat());
        assert_eq!(
            killed["agents"][0]["would_save"],
            json!(["1 untracked file"]),
            "{killed}"
        );
        assert_eq!(killed["agents"][1]["would_save"], json!([]), "{killed}");
        assert!(killed["agents"][0]["ended"].is_null(), "{killed}");
        let page = fleet(&env, &repo, [&["kill", "dry", "--dry-run"], flags].concat())
            .output()
            .success();
        assert!(page.stdout.contains("would save 1 untracked file"), "{page}");
    }
    assert_eq!(state(&env), before);
    assert!(salvages(&env).is_empty());
    turn(&env, &repo, "dry", "print alive");
    let _ = answer(&env, &repo, ["kill", "dry", "clean", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn deleting_a_branch_saves_the_commits_that_only_it_holds() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let dir = worktree(&create(&env, &repo, "unmerged"));
    let _ = commit(&env, &dir, "one.txt");
    let tip = commit(&env, &dir, "two.txt");
    let killed = answer(&env, &repo, ["kill", "unmerged", "--delete-branch"]);
    let ended = &killed["agents"][0]["ended"];
    assert_eq!(ended["deleted_branch"], true, "{killed}");
    assert!(ended["salvage"]["reference"].is_string(), "{killed}");
    assert!(!has_branch(&env, &repo, "unmerged"));
    let _ = env.git(&repo, ["reflog", "expire", "--expire=now", "--all"]).success();
    let _ = env.git(&repo, ["gc", "--quiet", "--prune=now"]).success();
    let restored = answer(&env, &repo, ["salvage", "restore", "unmerged"]);
    let at = worktree(&restored);
    assert_eq!(env.git(&at, ["rev-parse", "HEAD"]).success().stdout.trim(), tip);
    assert_eq!(env.git(&at, ["status", "--porcelain"]).success().stdout, "");
    assert!(at.join("one.txt").exists() && at.join("two.txt").exists());
}

#[test]
fn deleting_a_branch_that_is_merged_saves_nothing() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let dir = worktree(&create(&env, &repo, "merged"));
    let _ = commit(&env, &dir, "one.txt");
    let _ = env.git(&repo, ["merge", "--quiet", "--ff-only", "merged"]).success();
    let killed = answer(&env, &repo, ["kill", "merged", "--delete-branch"]);
    assert_eq!(killed["agents"][0]["ended"]["deleted_branch"], true, "{killed}");
    assert!(killed["agents"][0]["ended"]["salvage"].is_null(), "{killed}");
    assert!(!has_branch(&env, &repo, "merged") && salvages(&env).is_empty());
    env.assert_nothing_left();
}

#[test]
fn pruning_shows_first_and_deletes_only_when_told() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    for branch in ["one", "two"] {
        let dir = worktree(&create(&env, &repo, branch));
        fs::write(dir.join("work.txt"), branch).expect("written");
        let inner = dir.join("inner");
        fs::create_dir(&inner).expect("made");
        let _ = env.git(&inner, ["init", "--quiet"]).success();
        let _ = commit(&env, &inner, "inner.txt");
        let _ = answer(&env, &repo, ["kill", branch]);
    }
    let saved = salvages(&env);
    assert_eq!(saved.len(), 2);
    for each in &saved {
        assert!(Path::new(&text(&each["trash"])).exists(), "{each}");
        assert!(each["trash_bytes"].as_u64() > Some(0), "{each}");
    }
    let young = answer(&env, &repo, ["salvage", "prune", "--older-than", "1", "--yes"]);
    assert_eq!(young["salvages"], json!([]), "{young}");
    let shown = answer(&env, &repo, ["salvage", "prune"]);
    assert_eq!(
        (shown["done"].clone(), shown["salvages"].as_array().map(Vec::len)),
        (json!(false), Some(2))
    );
    let page = fleet(&env, &repo, ["salvage", "prune", "one"]).output().success();
    assert!(
        page.stdout.contains("would delete") && !page.stdout.contains(" of two "),
        "{page}"
    );
    assert_eq!(salvages(&env).len(), 2);

    let pruned = answer(&env, &repo, ["salvage", "prune", "one", "--yes"]);
    assert_eq!(pruned["done"], true, "{pruned}");
    let left = salvages(&env);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["branch"], "two");
    let gone = saved.iter().find(|each| each["branch"] == "one").expect("it was there");
    assert!(!Path::new(&text(&gone["trash"])).exists());
    let refs = env
        .git(&repo, ["for-each-ref", "--format=%(refname)", "refs/fleet"])
        .success()
        .stdout;
    assert_eq!(refs.trim(), text(&left[0]["reference"]));
    let said = refusal(&env, &repo, ["salvage", "restore", &text(&gone["id"])], 3);
    assert!(said["error"]["hint"].is_string(), "{said}");

    // The other one is whole.
    let restored = answer(&env, &repo, ["salvage", "restore", "two"]);
    let at = worktree(&restored);
    assert_eq!(fs::read_to_string(at.join("work.txt")).expect("back"), "two");
    assert_eq!(
        env.git(&at.join("inner"), ["log", "--format=%s"]).success().stdout,
        "inner.txt\n"
    );
}

#[test]
fn cleaning_shows_first_and_removes_only_what_nobody_needs() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let _ = env.git(&repo, ["branch", "of-the-user"]).success();
    let live = create(&env, &repo, "live");
    let merged = create(&env, &repo, "merged");
    let unmerged = create(&env, &repo, "unmerged");
    let _ = commit(&env, &worktree(&merged), "merged.txt");
    let _ = env.git(&repo, ["merge", "--quiet", "--ff-only", "merged"]).success();
    let _ = commit(&env, &worktree(&unmerged), "unmerged.txt");
    let _ = answer(&env, &repo, ["kill", "merged", "unmerged"]);
    let empty = env.fleet_home().join("worktrees/left-over");
    fs::create_dir(&empty).expect("made");
    let kept = env.fleet_home().join("worktrees/of-the-user");
    fs::create_dir(&kept).expect("made");
    fs::write(kept.join("file"), "mine\n").expect("written");

    let output = |record: &Value| env.fleet_home().join("agents").join(text(&record["id"]));
    let shown = answer(&env, &repo, ["clean"]);
    assert_eq!(shown["done"], false, "{shown}");
    let names: Vec<String> = shown["leftovers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|each| text(&each["name"]))
        .collect();
    assert!(names.contains(&"merged".to_owned()), "{shown}");
    assert!(names.contains(&empty.display().to_string()), "{shown}");
    assert!(names.contains(&output(&merged).display().to_string()), "{shown}");
    for never in ["live", "unmerged", "main", "of-the-user"] {
        assert!(!names.contains(&never.to_owned()), "{never}: {shown}");
    }
    assert!(has_branch(&env, &repo, "merged") && empty.exists() && output(&merged).exists());

    let done = answer(&env, &repo, ["clean", "--yes"]);
    assert_eq!(done["done"], true, "{done}");
    assert!(!has_branch(&env, &repo, "merged") && !empty.exists() && !output(&merged).exists());
    for branch in ["unmerged", "live", "of-the-user"] {
        assert!(has_branch(&env, &repo, branch), "{branch}");
    }
    assert!(kept.join("file").exists());
    assert_eq!(agent(&env, "live")["pid"], live["pid"]);
    turn(&env, &repo, "live", "print alive");
    let page = fleet(&env, &repo, ["clean"]).output().success();
    assert!(page.stdout.contains("nothing to remove"), "{page}");
    let _ = answer(&env, &repo, ["kill", "live"]);
    fs::remove_dir_all(&kept).expect("removed");
    env.assert_nothing_left();
}

#[test]
fn the_output_of_an_ended_agent_stays_readable() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let _ = create(&env, &repo, "talker");
    turn(&env, &repo, "talker", "print famous last words");
    let _ = answer(&env, &repo, ["kill", "talker"]);
    let logs = fleet(&env, &repo, ["logs", "talker"]).output().success();
    assert!(logs.stdout.contains("famous last words"), "{logs}");
    let all = answer(&env, &repo, ["list", "--all"]);
    assert_eq!(all["agents"][0]["phase"], "ended", "{all}");
    assert!(listed(&env).is_empty());
    env.assert_nothing_left();
}
