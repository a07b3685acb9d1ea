//! Ceilings with the real binary: what they keep from starting, what they interrupt, and how it goes on.

mod agents;
mod days;
mod kills;
mod lost;
mod quota;
mod rounds;
mod tasks;
mod told;
mod within;

use serde_json::{Value, json};

use crate::runs::stage::{Stage, states};

/// Three workers of at most 1 USD each, which cost 0.60, one after the other.
pub(crate) fn three() -> Stage {
    let stage = Stage::new();
    let worker = |id: &str| json!({"id": id, "type": "code-run", "max_budget_usd": 1});
    let plan = json!({"fleet_name": "three", "type": "dag", "config": {"max_concurrent": 1},
        "workers": [worker("a"), worker("b"), worker("c")]});
    stage.plan(&plan, &[("a", "!cost 0.6"), ("b", "!cost 0.6"), ("c", "!cost 0.6")]);
    stage
}

pub(crate) fn line(stage: &Stage, what: &str) -> Value {
    let shown = stage.answer(["budget", "show"]);
    let lines = shown["lines"].as_array().expect("lines");
    lines
        .iter()
        .find(|line| line["what"] == what)
        .unwrap_or_else(|| panic!("no {what}: {shown}"))
        .clone()
}

#[test]
fn a_run_pauses_at_its_ceiling_and_goes_on_when_it_is_raised() {
    let stage = three();
    let done = stage.fleet(["launch", "root", "--budget", "2"]).output();
    assert!(
        done.stdout.contains("0.60 of 2.00 USD are spent") || done.stdout.contains("paused"),
        "{done}"
    );
    let run = stage.status();
    assert_eq!(
        (&run["state"], &run["cap_usd"]),
        (&json!("paused"), &json!(2.0)),
        "{run}"
    );
    // The third would reserve 1 USD, and 0.80 are left.
    assert_eq!(states(&run), ["a done", "b done", "c pending"]);
    assert!(
        run["about"]
            .as_str()
            .is_some_and(|about| about.contains("fleet budget raise")),
        "{run}"
    );
    let shown = line(&stage, "three");
    assert_eq!(
        (&shown["spent_usd"], &shown["left_usd"]),
        (&json!(1.2), &json!(0.8)),
        "{shown}"
    );

    let low = stage.fleet(["budget", "raise", "root", "1.5"]).output().fails(2);
    assert!(low.stderr.contains("is 2.00 USD already"), "{low}");
    assert_eq!(stage.status()["state"], "paused");
    let raised = stage.answer(["budget", "raise", "root", "+0.5"]);
    assert_eq!(
        (&raised["changed"][0]["ceiling_usd"], &raised["changed"][0]["how"]),
        (&json!(2.5), &json!("goes on"))
    );
    let run = stage.wait_state("done");
    assert_eq!(
        (&run["spent_usd"], stage.paid().len()),
        (&json!(1.8), 3),
        "nothing was done twice"
    );
}

#[test]
fn a_hard_ceiling_ends_a_run_and_what_raises_it_lets_the_rest_run() {
    let stage = three();
    let done = stage
        .fleet(["launch", "root", "--budget", "1.7", "--hard"])
        .output()
        .fails(1);
    assert!(done.stdout.contains("finished: over budget"), "{done}");
    assert_eq!(states(&stage.status()), ["a done", "b done", "c pending"]);
    let raised = stage.answer(["budget", "raise", "root", "5"]);
    assert_eq!(raised["changed"][0]["how"], "goes on");
    let run = stage.wait_state("done");
    assert_eq!((&run["spent_usd"], &run["cap_usd"]), (&json!(1.8), &json!(5.0)));
    assert_eq!(stage.paid().len(), 3);
}

#[test]
fn the_ceiling_of_the_plan_itself_can_be_raised_without_touching_its_file() {
    let stage = Stage::new();
    let worker = |id: &str| json!({"id": id, "type": "code-run", "max_budget_usd": 1});
    let plan = json!({"fleet_name": "own", "type": "dag", "config": {"max_concurrent": 1, "max_budget_fleet": 1.5},
        "workers": [worker("a"), worker("b")]});
    stage.plan(&plan, &[("a", "!cost 0.6"), ("b", "!cost 0.6")]);
    let _ = stage.fleet(["launch", "root"]).output().fails(1);
    assert_eq!(states(&stage.status()), ["a done", "b pending"]);
    let _ = stage.fleet(["budget", "raise", "own", "3"]).output().success();
    stage.wait_state("done");
    assert_eq!(stage.paid().len(), 2);
}

#[test]
fn a_day_that_is_used_up_pauses_every_run_and_counts_what_each_has_spent() {
    let stage = three();
    let _ = stage.fleet(["budget", "set", "--per", "day", "1.5"]).output().success();
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    let run = stage.wait_state("paused");
    assert_eq!(states(&run), ["a done", "b pending", "c pending"]);
    let day = line(&stage, "day");
    assert_eq!(
        (&day["spent_usd"], &day["reserved_usd"], &day["left_usd"]),
        (&json!(0.6), &json!(0.0), &json!(0.9))
    );
    let raised = stage.answer(["budget", "raise", "day", "10"]);
    assert_eq!(raised["changed"][0]["how"], "goes on", "{raised}");
    stage.wait_state("done");
    let day = line(&stage, "day");
    assert_eq!(
        (&day["spent_usd"], &day["reserved_usd"]),
        (&json!(1.8), &json!(0.0)),
        "nothing stays reserved"
    );
}

#[test]
fn a_worker_that_is_over_its_budget_goes_on_in_the_same_conversation_when_that_is_raised() {
    let stage = Stage::new();
    let plan = json!({"fleet_name": "one", "type": "dag",
        "workers": [{"id": "a", "type": "code-run", "max_budget_usd": 1}]});
    stage.plan(&plan, &[("a", "!cost 1.2\n!fail 529 1")]);
    let done = stage.fleet(["launch", "root"]).output().fails(1);
    assert!(done.stdout.contains("over"), "{done}");
    assert_eq!(states(&stage.status()), ["a over-budget"]);
    let none = stage
        .fleet(["budget", "raise", "root", "3", "--worker", "b"])
        .output()
        .fails(3);
    assert!(none.stderr.contains("no worker `b`"), "{none}");
    let raised = stage.answer(["budget", "raise", "root", "3", "--worker", "a"]);
    assert_eq!(
        (&raised["changed"][0]["before_usd"], &raised["changed"][0]["what"]),
        (&json!(1.0), &json!("one/a"))
    );
    stage.wait_state("done");
    assert_eq!(stage.paid(), ["paid a 1", "resumed a 1"]);
}

#[test]
fn what_is_no_ceiling_is_refused_and_nothing_is_started() {
    let stage = three();
    for bad in ["0", "-5", "NaN", "inf", "1e308", "0.0000001", "five"] {
        let launched = stage
            .fleet(["launch", "root", &format!("--budget={bad}")])
            .output()
            .fails(2);
        assert!(launched.stderr.contains("error: "), "{bad}: {launched}");
        let set = stage.fleet(["budget", "set", "--per", "day", bad]).output().fails(2);
        assert!(
            set.stderr.contains("hint: ") || set.stderr.contains("Usage"),
            "{bad}: {set}"
        );
    }
    let _ = stage.fleet(["launch", "root", "--hard"]).output().fails(2);
    let _ = stage.fleet(["budget", "set", "5"]).output().fails(2);
    let _ = stage
        .fleet(["budget", "raise", "day", "5", "--worker", "a"])
        .output()
        .fails(3);
    let unknown = stage.fleet(["budget", "raise", "nobody", "5"]).output().fails(3);
    assert!(unknown.stderr.contains("no run and no agent `nobody`"), "{unknown}");
    assert!(!stage.root.join(".fleet-run").exists());
    assert_eq!(line(&stage, "day")["ceiling_usd"], json!(null));
}

#[test]
fn a_table_of_prices_that_is_wrong_is_said_before_anything_starts() {
    let stage = three();
    let path = stage.env.fleet_home().join("prices.toml");
    let row = |more: &str| format!("[[price]]\nmodels = [\"m\"]\ninput = 1\noutput = 2\n{more}\n");
    for (rows, what) in [
        (row("until = 2026-01-01") + &row("from = 2026-02-01"), "no price from"),
        (
            row("until = 2026-03-01") + &row("from = 2026-02-01"),
            "two prices at once",
        ),
        (row("cache_read = -1"), "is no price"),
        (row("colour = 1"), "colour"),
    ] {
        std::fs::write(&path, format!("version = 1\n{rows}")).expect("written");
        let refused = stage.fleet(["budget", "prices"]).output().fails(78);
        assert!(refused.stderr.contains(what), "{what}: {refused}");
        let launched = stage.fleet(["launch", "root"]).output();
        assert!(!launched.status.success(), "{launched}");
        assert!(stage.paid().is_empty(), "{what}");
    }
    let example = stage.fleet(["budget", "prices", "--example"]).output().success();
    std::fs::write(&path, &example.stdout).expect("written");
    let shown = stage.answer(["budget", "prices", "my-model"]);
    assert_eq!(shown["prices"].as_array().map(Vec::len), Some(4), "{shown}");
    assert!(shown["prices"][0]["input"] == 2.0, "{shown}");
}
