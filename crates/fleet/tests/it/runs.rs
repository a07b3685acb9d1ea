//! Runs of plans with the real binary: what is started, in what order, what it costs, and what comes of failures.

mod changed;
mod files;
mod rounds;
pub(crate) mod stage;
mod stops;
mod trees;

use serde_json::json;

use self::stage::{Stage, states};

#[test]
fn workers_run_when_what_they_wait_for_is_done_and_everybody_is_told() {
    let stage = Stage::new();
    let plan = json!({"fleet_name": "four", "type": "dag", "config": {"max_concurrent": 2}, "workers": [
        {"id": "a", "type": "code-run"}, {"id": "b", "type": "code-run", "depends_on": ["a"]},
        {"id": "c", "type": "code-run", "depends_on": ["a"]}, {"id": "d", "type": "code-run", "depends_on": ["b", "c"]}]});
    stage.plan(
        &plan,
        &[
            ("a", "!cost 0.25"),
            ("b", ""),
            ("c", ""),
            ("d", "!write $FLEET_ROOT/workers/d/output/x.txt done"),
        ],
    );
    let done = stage.fleet(["launch", "root"]).output().success();
    assert!(done.stdout.contains("four launched (dag, 4 workers)"), "{done}");
    assert!(done.stdout.contains("a started: with claude"), "{done}");
    assert!(done.stdout.contains("a ended: done (0.25 USD)"), "{done}");
    assert!(done.stdout.contains("finished: done"), "{done}");
    let paid = stage.paid();
    assert_eq!(paid.first().map(String::as_str), Some("paid a 1"));
    assert_eq!(paid.last().map(String::as_str), Some("paid d 1"));
    assert_eq!(paid.len(), 4);
    let run = stage.status();
    assert_eq!(
        (&run["state"], &run["spent_usd"], &run["spent_unknown"]),
        (&json!("done"), &json!(0.28), &json!(false))
    );
    assert_eq!(states(&run), ["a done", "b done", "c done", "d done"]);
    assert_eq!(stage.read("workers/d/output/x.txt"), "done\n");
    assert!(stage.read("workers/a/session.jsonl").contains("\"type\":\"result\""));
    let status = stage.json("workers/a/status.json");
    assert_eq!((&status["status"], &status["cost_usd"]), (&json!("DONE"), &json!(0.25)));
    assert!(
        stage.answer(["list"])["agents"].as_array().expect("a list").is_empty(),
        "their part is done"
    );
    stage.env.assert_nothing_left();
}

#[test]
fn launching_a_run_that_is_done_starts_nothing() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "")]);
    let _ = stage.fleet(["launch", "root"]).output().success();
    let again = stage.fleet(["launch", "root"]).output().success();
    assert!(again.stdout.contains("try is done already"), "{again}");
    assert_eq!(stage.paid(), ["paid a 1"]);
}

#[test]
fn a_dry_run_says_what_would_be_started_and_makes_nothing() {
    let stage = Stage::new();
    stage.dag(&[("b", &["a"], ""), ("a", &[], "")]);
    let done = stage.fleet(["launch", "root", "--dry-run"]).output().success();
    insta::assert_snapshot!(done.stdout, @r"
    STEP  WORKER  RUN BY         AT MOST   BRANCH
    1     a       claude sonnet  1.00 USD
    2     b       claude sonnet  1.00 USD
    2 workers would be started; nothing was
    ");
    assert!(!stage.root.join(".fleet-run").exists());
    assert!(stage.paid().is_empty());
}

#[test]
fn a_plan_with_errors_is_not_started() {
    let stage = Stage::new();
    stage.dag(&[("a", &["b"], "")]);
    let done = stage.fleet(["launch", "root"]).output().fails(65);
    assert!(done.stdout.contains("error[P031]"), "{done}");
    assert!(!stage.root.join(".fleet-run").exists());
}

#[test]
fn a_program_that_is_not_installed_is_said_before_anything_starts() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "")]);
    let done = stage
        .fleet(["launch", "root"])
        .env("PATH", "/usr/bin:/bin")
        .output()
        .fails(7);
    assert!(done.stderr.contains("`claude` is not installed"), "{done}");
    assert!(done.stderr.contains("npm install -g"), "{done}");
    assert!(!stage.root.join(".fleet-run").exists());
}

#[test]
fn a_boundary_without_bubblewrap_is_refused_before_anything_starts() {
    let stage = Stage::new();
    let plan = json!({"fleet_name": "held", "type": "dag", "config": {"sandbox": "bwrap"},
        "workers": [{"id": "a", "type": "code-run"}]});
    stage.plan(&plan, &[("a", "")]);
    let path = format!("{}/bin", stage.env.root().display());
    let done = stage.fleet(["launch", "root"]).env("PATH", path).output().fails(7);
    assert!(done.stderr.contains("install bubblewrap"), "{done}");
    assert!(!stage.root.join(".fleet-run").exists());
}

#[test]
fn a_worker_whose_dependency_failed_is_skipped_and_launching_again_does_the_rest() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!fail 400 1"), ("b", &["a"], ""), ("c", &[], "")]);
    let done = stage.fleet(["launch", "root"]).output().fails(1);
    assert!(done.stdout.contains("finished: failed"), "{done}");
    let run = stage.status();
    assert_eq!(states(&run), ["a failed", "b skipped", "c done"]);
    assert!(
        run["workers"][0]["about"]
            .as_str()
            .is_some_and(|about| about.contains("400")),
        "{run}"
    );
    let _ = stage.fleet(["launch", "root"]).output().success();
    assert_eq!(states(&stage.status()), ["a done", "b done", "c done"]);
    let paid = stage.paid();
    assert_eq!(paid.iter().filter(|line| line.contains(" c ")).count(), 1, "{paid:?}");
}

#[test]
fn trouble_outside_is_tried_again_in_the_same_conversation() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!fail 529 2")]);
    let _ = stage.fleet(["launch", "root"]).output().success();
    assert_eq!(stage.paid(), ["paid a 1", "resumed a 1", "resumed a 1"]);
    assert_eq!(stage.status()["workers"][0]["attempts"], 3);
}

#[test]
fn trouble_that_does_not_end_is_a_failure_after_the_last_try() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!fail 529")]);
    let _ = stage.fleet(["launch", "root"]).output().fails(1);
    let run = stage.status();
    assert_eq!(states(&run), ["a failed"]);
    assert_eq!(run["workers"][0]["attempts"], 3);
}

#[test]
fn no_more_is_started_than_the_budget_of_the_run_holds() {
    let stage = Stage::new();
    let plan = json!({"fleet_name": "cap", "type": "dag", "config": {"max_concurrent": 3, "max_budget_fleet": 2.5},
        "workers": [{"id": "a", "type": "code-run", "max_budget_usd": 1}, {"id": "b", "type": "code-run", "max_budget_usd": 1},
                    {"id": "c", "type": "code-run", "max_budget_usd": 1}]});
    stage.plan(
        &plan,
        &[
            ("a", "!cost 0.9\n!sleep 300"),
            ("b", "!cost 0.9\n!sleep 300"),
            ("c", "!cost 0.9"),
        ],
    );
    let done = stage.fleet(["launch", "root"]).output().fails(1);
    assert!(done.stdout.contains("finished: over budget"), "{done}");
    let run = stage.status();
    assert_eq!(states(&run), ["a done", "b done", "c pending"]);
    assert_eq!(stage.paid().len(), 2);
    // What was reserved and not spent is free again: a larger cap lets the rest run, and nothing is done twice.
    let text = stage.read("fleet.json").replace("2.5", "3.5");
    stage.write("fleet.json", &text);
    let _ = stage.fleet(["launch", "root"]).output().success();
    assert_eq!(stage.paid().len(), 3);
}
