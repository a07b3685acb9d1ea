//! The ceiling of a task: all agents that work for it, and for its parts, stay within it together.

use fleet_testkit::wait_until;
use serde_json::json;

use super::agents::Paid;
use crate::prompts::stage::{LONG, kill_hard};

/// A task with a ceiling, by its id.
fn task(paid: &Paid, args: &[&str]) -> String {
    let made = paid.answer(&[&["task", "create", "The work"], args].concat());
    made["task"]["id"].as_str().expect("an id").to_owned()
}

fn ceiling(paid: &Paid, what: &str) -> f64 {
    paid.line(what)["ceiling_usd"].as_f64().expect("a ceiling")
}

#[track_caller]
fn wait_spent(paid: &Paid, what: &str, usd: f64) {
    wait_until(LONG, "the reply to be counted", || {
        (paid.line(what)["spent_usd"] == json!(usd)).then_some(())
    });
}

#[test]
fn agents_of_a_task_share_its_ceiling_evenly_and_what_raises_it_lets_them_go_on() {
    let paid = Paid::new(&[]);
    let whole = task(&paid, &["--ceiling", "2"]);
    paid.create("a", &["--task", &whole]);
    let line = paid.line(&whole);
    assert_eq!(
        (&line["kind"], &line["reserved_usd"], &line["left_usd"]),
        (&json!("task"), &json!(2.0), &json!(0.0)),
        "{line}"
    );
    // What an agent starts belongs to what it works for.
    let create = ["create", "b", "--wait", "ready"];
    let _ = paid.stage.fleet(&create).env("FLEET_TASK", &whole).output().success();
    assert_eq!((ceiling(&paid, "a"), ceiling(&paid, "b")), (1.0, 1.0));

    paid.spend("a", "r-1", 1_000_000);
    paid.stage.wait_state("a", "waiting(budget)");
    paid.spend("b", "r-2", 700_000);
    wait_spent(&paid, &whole, 1.7);
    let sent = paid.stage.prompt("a", "print later").success();
    assert_eq!(crate::prompts::stage::outcome(&sent), "queued");
    let told = paid.answer(&["task", "show", &whole]);
    assert_eq!((&told["ceiling"], &told["left_usd"]), (&json!(2.0), &json!(0.0)));
    let near =
        |event: &serde_json::Value| event["event"] == "near" && event["about"] == "1.70 USD of 2.00 USD are spent";
    assert!(told["events"].as_array().expect("events").iter().any(near), "{told}");

    let raised = paid.answer(&["budget", "raise", &whole, "+1"]);
    assert_eq!(
        (&raised["changed"][0]["ceiling_usd"], &raised["changed"][0]["how"]),
        (&json!(3.0), &json!("goes on")),
        "{raised}"
    );
    paid.stage.wait_received(&["print later"]);
    assert_eq!((ceiling(&paid, "a"), ceiling(&paid, "b")), (1.5, 1.5));
    let low = paid.stage.fleet(&["budget", "raise", &whole, "3"]).output().fails(2);
    assert!(low.stderr.contains("is 3.00 USD already"), "{low}");
    paid.stage.end();
}

#[test]
fn what_a_part_is_promised_is_taken_from_the_captain_and_comes_back_when_the_part_is_over() {
    let paid = Paid::new(&[]);
    let whole = task(&paid, &["--ceiling", "5"]);
    paid.create("captain", &["--task", &whole]);
    assert_eq!(ceiling(&paid, "captain"), 5.0);
    paid.spend("captain", "r-1", 500_000);
    wait_spent(&paid, "captain", 0.5);
    let part = task(&paid, &["--ceiling", "3", "--parent", &whole]);
    assert_eq!(ceiling(&paid, "captain"), 2.0);
    let refused = ["task", "create", "Too much", "--ceiling", "1.6", "--parent", &whole];
    let refused = paid.stage.fleet(&refused).output().fails(6);
    assert!(refused.stderr.contains("0.00 USD of it are not given out"), "{refused}");
    assert_eq!(ceiling(&paid, "captain"), 2.0, "what is refused takes nothing");

    paid.create("crew", &["--task", &part]);
    assert_eq!(ceiling(&paid, "crew"), 3.0);
    paid.spend("crew", "r-2", 1_000_000);
    wait_spent(&paid, &part, 1.0);
    paid.spend("captain", "r-3", 1_500_000);
    paid.stage.wait_state("captain", "waiting(budget)");
    let _ = paid.stage.fleet(&["kill", "crew"]).output().success();
    assert_eq!(ceiling(&paid, "captain"), 2.0, "the rest is still promised to the part");
    let _ = paid
        .stage
        .fleet(&["task", "end", &part, "--status", "completed"])
        .output()
        .success();
    paid.stage.wait_state("captain", "idle");
    assert_eq!(ceiling(&paid, "captain"), 4.0);
    let line = paid.line(&whole);
    assert_eq!(
        (&line["spent_usd"], &line["reserved_usd"], &line["left_usd"]),
        (&json!(3.0), &json!(2.0), &json!(0.0)),
        "{line}"
    );
    paid.stage.end();
}

#[test]
fn a_hard_ceiling_of_a_task_ends_its_agent_at_once_and_what_raises_it_revives_it() {
    let paid = Paid::new(&[]);
    let whole = task(&paid, &[]);
    let none = paid.stage.fleet(&["budget", "raise", &whole, "1"]).output().fails(2);
    assert!(none.stderr.contains("has no ceiling"), "{none}");
    paid.create("a", &["--task", &whole]);
    let set = paid.answer(&["budget", "set", &whole, "1", "--hard"]);
    assert_eq!(
        set["changed"][0]["limited"],
        json!(["a may spend 1.00 USD more"]),
        "{set}"
    );
    paid.spend("a", "r-1", 1_000_000);
    wait_until(LONG, "the end", || {
        let state = paid.stage.explain("a")["agent"]["state"].clone();
        state.as_str()?.starts_with("exited").then_some(())
    });
    let refused = paid.stage.fleet(&["resume", "a"]).output().fails(6);
    assert!(
        refused.stderr.contains(&format!("fleet budget raise {whole}")),
        "{refused}"
    );
    let refused = paid.stage.fleet(&["create", "b", "--task", &whole]).output().fails(6);
    assert!(
        refused.stderr.contains(&format!("fleet budget raise {whole}")),
        "{refused}"
    );
    let raised = paid.answer(&["budget", "raise", &whole, "+2"]);
    assert_eq!(raised["changed"][0]["how"], "goes on", "{raised}");
    paid.stage
        .wait_received(&["Your budget was raised. Go on where you stopped."]);
    assert_eq!(ceiling(&paid, "a"), 3.0);
    paid.stage.end();
}

#[test]
fn of_several_that_reserve_at_once_for_one_task_only_those_start_that_fit() {
    let paid = Paid::new(&[]);
    let whole = task(&paid, &["--ceiling", "10"]);
    let part = task(&paid, &["--parent", &whole]);
    let started: Vec<bool> = std::thread::scope(|scope| {
        let create = |(branch, task): (&'static str, &str)| {
            let (stage, task) = (&paid.stage, task.to_owned());
            scope.spawn(move || {
                let done = stage
                    .fleet(&["create", branch, "--budget", "6", "--task", &task])
                    .output();
                assert!(
                    done.status.success() || done.stderr.contains("the ceiling of TASK-"),
                    "{done}"
                );
                done.status.success()
            })
        };
        let all: Vec<_> = [("a", whole.as_str()), ("b", &part), ("c", &part), ("d", &whole)]
            .map(create)
            .into_iter()
            .collect();
        all.into_iter().map(|each| each.join().expect("a thread")).collect()
    });
    assert_eq!(started.iter().filter(|started| **started).count(), 1, "{started:?}");
    assert_eq!(paid.line(&whole)["left_usd"], json!(4.0));
    let _ = paid
        .stage
        .fleet(&["fanout", "4", "x", "--task", &whole])
        .output()
        .success();
    assert_eq!((ceiling(&paid, "x-A1"), ceiling(&paid, "x-A4")), (1.0, 1.0));
    // The ceiling of all agents holds beside it.
    let _ = paid.stage.fleet(&["kill", "--batch", "x"]).output().success();
    assert_eq!(paid.line(&whole)["left_usd"], json!(4.0));
    let _ = paid
        .stage
        .fleet(&["budget", "set", "--per", "day", "7"])
        .output()
        .success();
    let refused = paid.stage.fleet(&["create", "y", "--task", &whole]).output().fails(6);
    assert!(refused.stderr.contains("the ceiling of this day"), "{refused}");
    paid.stage.end();
}

#[test]
fn a_task_that_a_run_works_for_has_the_ceiling_of_the_run_and_none_can_be_taken_below_what_is_reserved() {
    let paid = Paid::new(&[]);
    let whole = task(&paid, &["--ceiling", "5"]);
    paid.create("own", &["--task", &whole, "--budget", "3"]);
    let refused = paid.stage.fleet(&["budget", "set", &whole, "2"]).output().fails(6);
    assert!(refused.stderr.contains("3.00 USD are reserved"), "{refused}");
    let lower = paid.stage.fleet(&["budget", "set", "own", "1"]).output().success();
    assert!(lower.stdout.contains("may spend 1.00 USD"), "{lower}");
    let _ = paid.stage.fleet(&["budget", "set", &whole, "2"]).output().success();
    let removed = paid.answer(&["budget", "set", &whole, "none"]);
    assert_eq!(removed["removed"], json!([whole]));
    assert_eq!(paid.answer(&["task", "show", &whole])["ceiling"], json!(null));
    paid.stage.end();
}

#[test]
fn whoever_deals_shares_may_be_killed_and_no_more_is_allowed_than_there_is() {
    for point in [
        "budget.set:before",
        "budget.set:after",
        "budget.set-agent:before",
        "budget.set-agent:after",
    ] {
        let paid = Paid::new(&[]);
        let whole = task(&paid, &["--ceiling", "2"]);
        paid.create("a", &["--task", &whole]);
        let raise = ["budget", "raise", &whole, "3"];
        let killed = paid.stage.fleet(&raise).env("FLEET_FAULT", point).output();
        assert!(!killed.status.success(), "{point}: {killed}");
        let _ = paid.stage.fleet(&["budget", "set", &whole, "3"]).output().success();
        assert_eq!(ceiling(&paid, "a"), 3.0, "{point}");
        // Its supervisor knows of it, too.
        paid.spend("a", "r-1", 2_500_000);
        wait_spent(&paid, "a", 2.5);
        paid.stage.wait_state("a", "ready");
        let killed = paid
            .stage
            .fleet(&["create", "b", "--task", &whole])
            .env("FLEET_FAULT", "budget.set-agent:before")
            .output();
        assert!(!killed.status.success(), "{point}: {killed}");
        let _ = paid.stage.fleet(&["list", "--repair"]).output().success();
        paid.create("b", &["--task", &whole]);
        assert_eq!((ceiling(&paid, "a"), ceiling(&paid, "b")), (2.75, 0.25), "{point}");
        kill_hard(paid.stage.supervisor("b"));
        let _ = paid.stage.fleet(&["kill", "b"]).output().success();
        paid.stage.end();
    }
}
