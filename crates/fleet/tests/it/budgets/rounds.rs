//! The ceiling of a round: all workers of an iterative plan stay within it together.

use serde_json::json;

use super::line;
use crate::runs::stage::{Stage, states};

/// A builder that costs 1.20 USD of at most 2, and a reviewer that accepts for 0.30 of at most 1.
fn stage(config: &serde_json::Value, builder: &str) -> Stage {
    let stage = Stage::new();
    let plan = json!({"fleet_name": "loop", "type": "iterative", "config": config,
    "stop_when": {"max_iterations": 3, "reviewer_lgtm_count": 1},
    "workers": [
        {"id": "build", "type": "code-run", "max_budget_per_iter": 2},
        {"id": "judge", "type": "reviewer", "depends_on": ["build"], "max_budget_per_iter": 1}]});
    let recipe = "Write your verdict to `iterations/<N>/review.md` with one of `verdict: lgtm`, `verdict: iterate`, \
                  `verdict: escalate`.";
    let judge = format!("!verdict lgtm\n!cost 0.3\n{recipe}");
    stage.plan(&plan, &[("build", builder), ("judge", &judge)]);
    stage
}

#[test]
fn a_round_at_its_ceiling_ends_the_run_and_what_raises_it_lets_the_rest_of_the_round_run() {
    let stage = stage(&json!({"budget_per_iter": 2}), "!cost 1.2");
    let done = stage.fleet(["launch", "root"]).output().fails(1);
    assert!(done.stdout.contains("finished: over budget"), "{done}");
    assert_eq!(states(&stage.status()), ["build done", "judge pending"]);
    let low = ["budget", "raise", "root", "1.5", "--iteration", "1"];
    let low = stage.fleet(low).output().fails(2);
    assert!(low.stderr.contains("is 2.00 USD already"), "{low}");
    let raised = stage.answer(["budget", "raise", "root", "+0.5", "--iteration", "1"]);
    let changed = &raised["changed"][0];
    assert_eq!(
        (
            &changed["what"],
            &changed["ceiling_usd"],
            &changed["spent_usd"],
            &changed["how"]
        ),
        (&json!("loop/round 1"), &json!(2.5), &json!(1.2), &json!("goes on"))
    );
    let run = stage.wait_state("done");
    assert_eq!((&run["spent_usd"], stage.paid().len()), (&json!(1.5), 2));
}

#[test]
fn a_round_that_is_given_a_ceiling_while_it_runs_pauses_there_and_asks() {
    let stage = stage(&json!({}), "!sleep 1500\n!cost 1.2");
    for bad in ["0", "4"] {
        let refused = stage.fleet(["launch", "root", "--dry-run"]).output();
        assert!(refused.status.success(), "{refused}");
        let refused = ["budget", "set", "root", "2", "--iteration", bad];
        assert!(!stage.fleet(refused).output().status.success(), "{bad}");
    }
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("paid build 1");
    let none = ["budget", "raise", "root", "+1", "--iteration", "1"];
    let none = stage.fleet(none).output().fails(2);
    assert!(none.stderr.contains("has no ceiling as a whole"), "{none}");
    let past = ["budget", "set", "root", "2", "--iteration", "4"];
    let past = stage.fleet(past).output().fails(2);
    assert!(past.stderr.contains("has no iteration 4 to come"), "{past}");
    let _ = stage.answer(["budget", "set", "root", "2", "--iteration", "1"]);
    let shown = line(&stage, "loop/round 1");
    assert_eq!(
        (&shown["kind"], &shown["ceiling_usd"], &shown["reserved_usd"]),
        (&json!("iteration"), &json!(2.0), &json!(2.0)),
        "{shown}"
    );
    let run = stage.wait_state("paused");
    let paused = run["events"].as_array().expect("events").iter();
    let about = "1.20 USD of 2.00 USD of round 1 are spent or reserved";
    assert!(paused.rev().any(|event| event["about"] == about), "{run:#}");
    let _ = stage
        .fleet(["budget", "raise", "root", "3", "--iteration", "1"])
        .output()
        .success();
    stage.wait_state("done");
    assert_eq!(stage.paid().len(), 2, "nothing was done twice");
}
