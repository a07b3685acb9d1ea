//! Plans whose workers have a worktree each.

use serde_json::json;

use super::stage::{Stage, states};

fn worktree(stage: &Stage, prompts: &[(&str, &str)]) -> std::path::PathBuf {
    let repo = stage.env.repo("repo", 3);
    let workers: Vec<_> = prompts
        .iter()
        .map(|(id, _)| json!({"id": id, "branch": format!("work/{id}"), "target_files": [format!("{id}.txt")]}))
        .collect();
    stage.plan(
        &json!({"fleet_name": "trees", "type": "worktree", "workers": workers}),
        prompts,
    );
    repo
}

#[test]
fn each_worker_has_a_branch_and_its_work_stays_until_it_is_landed() {
    let stage = Stage::new();
    let repo = worktree(
        &stage,
        &[
            ("one", "!write one.txt 1\n!commit one"),
            ("two", "!write two.txt 2\n!commit two"),
        ],
    );
    let _ = stage.fleet(["launch", "../root"]).cwd(&repo).output().success();
    let run = stage.status();
    assert_eq!(states(&run), ["one done", "two done"]);
    assert_eq!(run["workers"][0]["branch"], "work/one");
    for id in ["one", "two"] {
        let show = stage.env.git(&repo, ["show", &format!("work/{id}:{id}.txt")]).success();
        assert!(!show.stdout.is_empty());
    }
    let agents = stage.answer(["list"]);
    assert_eq!(agents["agents"].as_array().map(Vec::len), Some(2), "{agents}");
    assert_eq!(
        stage.env.git(&repo, ["status", "--porcelain"]).success().stdout,
        "",
        "the checkout is as it was"
    );
}

#[test]
fn a_try_that_is_cut_off_goes_on_in_the_same_worktree() {
    let stage = Stage::new();
    let repo = worktree(&stage, &[("one", "!append one.txt once\n!fail 503 1\n!commit one")]);
    let _ = stage.fleet(["launch", "../root"]).cwd(&repo).output().success();
    assert_eq!(stage.paid(), ["paid one 1", "resumed one 1"]);
    assert_eq!(stage.answer(["list"])["agents"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_branch_that_exists_is_refused_before_anything_starts() {
    let stage = Stage::new();
    let repo = worktree(&stage, &[("one", ""), ("two", "")]);
    let _ = stage.env.git(&repo, ["branch", "work/two"]).success();
    let done = stage.fleet(["launch", "../root"]).cwd(&repo).output().fails(4);
    assert!(done.stderr.contains("work/two"), "{done}");
    assert!(stage.paid().is_empty());
    assert!(!stage.root.join(".fleet-run").exists());
}

#[test]
fn outside_of_a_repository_a_worktree_plan_is_refused() {
    let stage = Stage::new();
    let _ = worktree(&stage, &[("one", "")]);
    let done = stage.fleet(["launch", "root"]).output().fails(2);
    assert!(done.stderr.contains("needs a git repository"), "{done}");
}
