//! Plans whose workers have a worktree each.

use serde_json::json;

use super::stage::{Stage, states};

pub(super) fn worktree(stage: &Stage, prompts: &[(&str, &str)]) -> std::path::PathBuf {
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

#[test]
fn while_workers_run_status_tells_whose_branches_are_in_each_others_way_and_who_left_his_files() {
    let stage = Stage::new();
    let repo = worktree(
        &stage,
        &[
            ("one", "!write one.txt 1\n!write shared.txt one\n!sleep 60000"),
            ("two", "!write shared.txt two\n!sleep 60000"),
        ],
    );
    let _ = stage
        .fleet(["launch", "../root", "--detach"])
        .cwd(&repo)
        .output()
        .success();
    stage.wait_noted("paid one 1");
    stage.wait_noted("paid two 1");
    let run = fleet_testkit::wait_until(crate::drive::LONG, "a conflict that is foreseen", || {
        Some(stage.status()).filter(|run| run["conflicts"].is_array())
    });
    let files = json!(["shared.txt"]);
    assert_eq!(run["conflicts"], json!([{"a": "one", "b": "two", "files": files}]));
    assert_eq!(
        run["undeclared"],
        json!([{"worker": "one", "files": files}, {"worker": "two", "files": files}])
    );
    let page = stage.fleet(["status", "root"]).output().success();
    assert!(
        page.stdout.contains("in conflict: one and two, in shared.txt"),
        "{page}"
    );
    for id in ["one", "two"] {
        let worktree = stage.env.fleet_home().join(format!("worktrees/work-{id}"));
        let status = stage.env.git(&worktree, ["status", "--porcelain"]).success().stdout;
        assert!(status.contains("?? shared.txt"), "nothing of it was touched: {status}");
    }
    let _ = stage.fleet(["stop", "root"]).output().success();
}

#[test]
fn the_branches_of_a_run_are_landed_by_its_root_behind_a_gate() {
    let stage = Stage::new();
    let repo = worktree(
        &stage,
        &[
            ("one", "!write one.txt 1\n!commit one"),
            ("bad", "!write bad.txt x\n!commit bad"),
            ("two", "!write two.txt 2\n!commit two"),
        ],
    );
    let _ = stage.fleet(["launch", "../root"]).cwd(&repo).output().success();
    let dry = stage
        .fleet(["merge", "../root", "--dry-run"])
        .cwd(&repo)
        .output()
        .success();
    assert!(dry.stdout.contains("would land 3 branches on `main`"), "{dry}");
    let done = stage
        .fleet(["merge", "../root", "--gate", "test ! -e bad.txt"])
        .cwd(&repo)
        .output()
        .fails(1);
    assert!(done.stdout.contains("landed 2 branches on `main`"), "{done}");
    assert!(repo.join("one.txt").exists() && repo.join("two.txt").exists() && !repo.join("bad.txt").exists());
    let done = stage
        .fleet(["status", "../root", "--report"])
        .cwd(&repo)
        .output()
        .success();
    assert!(done.stdout.contains("| one | done |"), "{done}");
}

#[test]
fn a_run_without_branches_has_nothing_to_land() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "")]);
    let _ = stage.fleet(["launch", "root"]).output().success();
    let done = stage.fleet(["merge", "root", "--dry-run"]).output().fails(2);
    assert!(done.stderr.contains("`try` has no branches to merge"), "{done}");
}
