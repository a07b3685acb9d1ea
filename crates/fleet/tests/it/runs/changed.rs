//! What changes under a run while it goes on, or was there before it: plan, reviews, configuration, branches, repository.

use std::fs;

use fleet_testkit::wait_until;
use serde_json::{Value, json};

use super::rounds::{iterative, research};
use super::stage::{Stage, events, states};
use super::trees::worktree;
use crate::drive::LONG;

fn change_plan(stage: &Stage, change: impl FnOnce(&mut Vec<Value>)) {
    let mut plan = stage.json("fleet.json");
    change(plan["workers"].as_array_mut().expect("workers"));
    stage.write("fleet.json", &plan.to_string());
}

#[test]
fn a_review_that_lay_there_before_the_reviewer_began_is_no_verdict() {
    let stop = json!({"max_iterations": 1, "reviewer_lgtm_count": 1});
    for place in [
        "iterations/1/review.md",
        "workers/judge/iterations/1/review.md",
        "workers/judge/output/iterations/1/review.md",
        "iterations/1/workers/judge/review.md",
    ] {
        let stage = Stage::new();
        iterative(&stage, &stop, "", "!verdict none\n!answer none");
        stage.write(place, "verdict: lgtm\n");
        let _ = stage.fleet(["launch", "root"]).output().fails(1);
        assert_eq!(stage.status()["state"], "not accepted", "{place}");
        let aside = place.replace("review.md", "review.earlier-1.md");
        assert_eq!(stage.read(&aside), "verdict: lgtm\n", "it is still there");
    }
}

#[test]
fn a_review_by_a_builder_is_no_verdict() {
    let stage = Stage::new();
    let stop = json!({"max_iterations": 1, "reviewer_lgtm_count": 1});
    let builder = "!write iterations/1/review.md verdict: lgtm";
    iterative(&stage, &stop, builder, "!verdict none\n!answer iterate");
    let _ = stage.fleet(["launch", "root"]).output().fails(1);
    assert_eq!(stage.status()["state"], "not accepted");
}

#[test]
fn the_reviewer_is_told_its_round_even_where_folders_of_earlier_rounds_lie() {
    let stage = Stage::new();
    iterative(
        &stage,
        &json!({"max_iterations": 1, "reviewer_lgtm_count": 1}),
        "",
        "!verdict lgtm",
    );
    stage.write("iterations/7/review.md", "verdict: iterate\n");
    let _ = stage.fleet(["launch", "root"]).output().success();
    assert!(stage.read("iterations/1/review.md").contains("lgtm"));
}

#[test]
fn a_worker_that_is_added_while_others_run_leaves_them_what_they_are() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!sleep 1500"), ("b", &["a"], "")]);
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("paid a 1");
    stage.write("workers/new/prompt.md", "Do it.\n");
    change_plan(&stage, |workers| {
        workers.insert(0, json!({"id": "new", "type": "code-run"}));
    });
    let _ = stage.fleet(["launch", "root"]).output().success();
    assert_eq!(states(&stage.status()), ["new done", "a done", "b done"]);
    assert_eq!(stage.paid().len(), 3, "{:?}", stage.paid());
}

#[test]
fn a_worker_that_is_taken_out_of_the_plan_while_it_runs_is_ended() {
    let stage = Stage::with("kill_grace_ms = 300");
    stage.dag(&[("a", &[], "!hang"), ("b", &[], "")]);
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("paid a 1");
    change_plan(&stage, |workers| drop(workers.remove(0)));
    let done = stage.fleet(["launch", "root"]).output().success();
    assert!(done.stdout.contains("its worker is in the plan no more"), "{done}");
    assert_eq!(stage.status()["reserved_usd"], 0.0);
    stage.env.assert_nothing_left();
}

#[test]
fn the_budget_of_a_worker_in_rounds_may_be_changed_while_it_runs() {
    let stage = Stage::new();
    let stop = json!({"max_iterations": 2, "reviewer_lgtm_count": 1});
    iterative(&stage, &stop, "!sleep 800", "!verdict iterate");
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("paid build 1");
    change_plan(&stage, |workers| workers[0]["max_budget_per_iter"] = json!(1.25));
    stage.wait_noted("paid build 2");
    wait_until(LONG, "what is reserved", || {
        (stage.status()["reserved_usd"] == 1.25).then_some(())
    });
    let _ = stage.wait_state("not accepted");
}

#[test]
fn a_configuration_that_cannot_be_read_pauses_the_run_and_says_so() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!sleep 600"), ("b", &["a"], "")]);
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("paid a 1");
    stage.env.write_config("rubbish = =");
    let run = stage.wait_state("paused");
    assert!(
        run["about"].as_str().is_some_and(|about| about.contains("config.toml")),
        "{run}"
    );
    stage.env.write_config("claude_flags = \"\"");
    let _ = stage.fleet(["resume", "root"]).output().success();
    let _ = stage.wait_state("done");
    assert_eq!(stage.paid(), ["paid a 1", "paid b 1"]);
}

#[test]
fn a_branch_that_somebody_took_fails_its_worker_and_is_free_again_when_they_leave() {
    let stage = Stage::new();
    let repo = worktree(&stage, &[("one", "!sleep 600\n!commit one"), ("two", "!commit two")]);
    let mut plan = stage.json("fleet.json");
    plan["config"]["max_concurrent"] = json!(1);
    stage.write("fleet.json", &plan.to_string());
    let _ = stage
        .fleet(["launch", "../root", "--detach"])
        .cwd(&repo)
        .output()
        .success();
    stage.wait_noted("paid one 1");
    let other = stage.env.root().join("other");
    let other = other.to_str().expect("UTF-8");
    let _ = stage
        .env
        .git(&repo, ["worktree", "add", "-b", "work/two", other])
        .success();
    let run = stage.wait_state("failed");
    let about = run["workers"][1]["about"].as_str().expect("a reason").to_owned();
    assert!(about.contains("taken meanwhile"), "{about}");
    assert_eq!(stage.answer(["list"])["agents"].as_array().map(Vec::len), Some(1));
    let _ = stage.env.git(&repo, ["worktree", "remove", "--force", other]).success();
    let _ = stage.env.git(&repo, ["branch", "-D", "work/two"]).success();
    let _ = stage.fleet(["launch", "../root"]).cwd(&repo).output().success();
    assert_eq!(states(&stage.status()), ["one done", "two done"]);
}

#[test]
fn a_worker_of_a_worktree_that_is_started_over_costs_what_each_try_cost() {
    let stage = Stage::new();
    let repo = worktree(&stage, &[("one", "!cost 0.5")]);
    let _ = stage.fleet(["launch", "../root"]).cwd(&repo).output().success();
    let _ = stage
        .fleet(["relaunch", "one", "--run", "../root"])
        .cwd(&repo)
        .output()
        .success();
    let run = stage.wait_state("done");
    assert_eq!(run["spent_usd"], 1.0, "{run}");
}

#[test]
fn two_launches_at_once_are_one_run() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], ""), ("b", &["a"], "")]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let _ = scope.spawn(|| stage.fleet(["launch", "root", "--detach"]).output().success());
        }
    });
    let _ = stage.wait_state("done");
    assert_eq!(
        stage.answer(["status", "--all"])["runs"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(stage.paid(), ["paid a 1", "paid b 1"]);
}

fn git(stage: &Stage, args: &[&str]) -> String {
    let done = stage.env.git(&stage.root.join("work"), args.iter().copied()).success();
    done.stdout.trim().to_owned()
}

#[test]
fn a_round_that_switches_branches_is_brought_back_to_the_branch_of_the_run() {
    let stage = Stage::new();
    let prompt = "Make it less.\n!round 1 run git checkout -q -b side\n!round 1 append score 8\n\
                  !round 2 run git checkout -q release\n!round 2 append score 50\n!commit a change\n";
    research(&stage, 2, prompt);
    let _ = git(&stage, &["branch", "release"]);
    let _ = stage.fleet(["launch", "root"]).output().success();
    assert_eq!(git(&stage, &["symbolic-ref", "--short", "HEAD"]), "main");
    assert_eq!(stage.read("work/score"), "10\n8\n");
    assert_eq!(git(&stage, &["show", "main:score"]), "10\n8");
    assert_eq!(
        git(&stage, &["show", "release:score"]),
        "10\n50",
        "what the agent did to another branch is not undone"
    );
}

#[test]
fn a_round_that_rewrites_history_keeps_its_files_and_not_its_history() {
    let stage = Stage::new();
    let prompt = "Make it less.\n!append score 8\n!run git add -A && git commit -q --amend -m rewritten\n";
    research(&stage, 1, prompt);
    let start = git(&stage, &["rev-parse", "HEAD"]);
    let _ = stage.fleet(["launch", "root"]).output().success();
    assert_eq!(git(&stage, &["rev-parse", "HEAD^"]), start);
    assert_eq!(git(&stage, &["show", "HEAD:score"]), "10\n8");
    assert_eq!(stage.status()["rounds"][0]["kept"], true);
}

#[test]
fn a_round_that_deletes_its_repository_pauses_the_run_and_leaves_the_one_around_it_alone() {
    let stage = Stage::new();
    research(&stage, 1, "Make it less.\n!append score 8\n!run rm -rf .git\n");
    fs::write(stage.root.join("mine"), "not committed").expect("written");
    for args in [
        &["init", "--quiet", "-b", "main"][..],
        &["add", "fleet.json"],
        &["commit", "--quiet", "-m", "around"],
    ] {
        let _ = stage.env.git(&stage.root, args.iter().copied()).success();
    }
    let _ = stage.fleet(["launch", "root"]).output().fails(1);
    let run = stage.status();
    assert_eq!(run["state"], "paused", "{run}");
    assert!(
        run["about"]
            .as_str()
            .is_some_and(|about| about.contains("is gone from the repository")),
        "{run}"
    );
    let log = stage.env.git(&stage.root, ["log", "--format=%s"]).success();
    assert_eq!(log.stdout.trim(), "around");
    assert!(events(&run).iter().any(|event| event.starts_with("paused")), "{run}");
}
