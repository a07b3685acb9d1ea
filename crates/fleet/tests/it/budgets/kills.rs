//! Whoever changes a ceiling, reserves or gives back is killed at every step of it, and asked again.

use fleet_testkit::wait_until;
use serde_json::json;

use super::agents::Paid;
use super::three;
use crate::prompts::stage::{LONG, kill_hard};
use crate::runs::stage::states;

#[test]
fn a_launch_with_a_ceiling_that_is_cut_off_never_leaves_a_run_without_it() {
    for point in [
        "budget.launch:before",
        "budget.launch:after",
        "launch.record:before",
        "launch.record:after",
    ] {
        let stage = three();
        let launch = ["launch", "root", "--budget", "2", "--detach"];
        let killed = stage.fleet(launch).env("FLEET_FAULT", point).output();
        assert!(!killed.status.success(), "{point}: {killed}");
        // Whoever finds the run drives it, and asks for no ceiling.
        let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
        let limited =
            point != "budget.launch:before" && point != "budget.launch:after" && point != "launch.record:before";
        let run = stage.wait_state(if limited { "paused" } else { "done" });
        assert_eq!(
            run["cap_usd"],
            if limited { json!(2.0) } else { json!(null) },
            "{point}"
        );
        stage.env.assert_nothing_left();
    }
}

#[test]
fn a_raise_that_is_cut_off_is_done_or_not_and_asked_again_the_run_goes_on() {
    for point in [
        "budget.set:before",
        "budget.set:after",
        "launch.turn:before",
        "launch.turn:after",
    ] {
        let stage = three();
        let _ = stage
            .fleet(["launch", "root", "--budget", "2", "--detach"])
            .output()
            .success();
        stage.wait_state("paused");
        let killed = stage
            .fleet(["budget", "raise", "root", "4"])
            .env("FLEET_FAULT", point)
            .output();
        assert!(!killed.status.success(), "{point}: {killed}");
        let again = stage.fleet(["budget", "set", "root", "4"]).output().success();
        assert!(again.stdout.contains("may spend 4.00 USD"), "{point}: {again}");
        // The one that was killed may have let it go on without waking its driver.
        let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
        let run = stage.wait_state("done");
        assert_eq!(
            (states(&run).len(), stage.paid().len()),
            (3, 3),
            "{point}: nothing was done twice"
        );
        stage.env.assert_nothing_left();
    }
}

#[test]
fn whoever_gives_back_or_reserves_may_be_killed_and_nothing_stays_reserved() {
    let paid = Paid::new(&[]);
    let _ = paid
        .stage
        .fleet(&["budget", "set", "--per", "day", "10"])
        .output()
        .success();
    for (point, branch) in [("budget.settle:before", "a1"), ("budget.settle:after", "a2")] {
        paid.create(branch, &["--budget", "4"]);
        paid.spend(branch, point, 1_000_000);
        wait_until(LONG, "the reply to be counted", || {
            (paid.line(branch)["spent_usd"] == json!(1.0)).then_some(())
        });
        let left = paid.line("day")["left_usd"].as_f64().expect("a number");
        let _ = paid.stage.fleet(&["kill", branch]).output().success();
        let killed = paid.stage.fleet(&["budget", "show"]).env("FLEET_FAULT", point).output();
        assert!(!killed.status.success(), "{point}: {killed}");
        assert_eq!(
            paid.line("day")["left_usd"],
            json!(left + 3.0),
            "{point}: 3 of 4 dollars are free again"
        );
        // The day is set back for the next one.
        let _ = paid.stage.fleet(&["budget", "raise", "day", "+1"]).output().success();
    }
    for (point, branch) in [("budget.hold:before", "b1"), ("budget.hold:after", "b2")] {
        paid.create(branch, &["--budget", "4"]);
        let before = paid.line("day")["left_usd"].clone();
        end_program(&paid, branch);
        let killed = paid.stage.fleet(&["resume", branch]).env("FLEET_FAULT", point).output();
        assert!(!killed.status.success(), "{point}: {killed}");
        let _ = paid.stage.fleet(&["resume", branch]).output().success();
        assert_eq!(paid.line("day")["left_usd"], before, "{point}: reserved once");
        let _ = paid.stage.fleet(&["kill", branch]).output().success();
    }
    for (point, branch) in [("budget.set-agent:before", "c1"), ("budget.set-agent:after", "c2")] {
        paid.create(branch, &["--budget", "1"]);
        let before = paid.line("day")["left_usd"].as_f64().expect("a number");
        let killed = paid
            .stage
            .fleet(&["budget", "raise", branch, "2"])
            .env("FLEET_FAULT", point)
            .output();
        assert!(!killed.status.success(), "{point}: {killed}");
        let _ = paid.stage.fleet(&["budget", "set", branch, "2"]).output().success();
        assert_eq!(paid.line("day")["left_usd"], json!(before - 1.0), "{point}");
        // Its supervisor knows of it, too: with 1 USD it would wait now.
        paid.spend(branch, branch, 1_100_000);
        paid.stage.wait_state(branch, "ready");
        wait_until(LONG, "the reply to be counted", || {
            (paid.line(branch)["spent_usd"] == json!(1.1)).then_some(())
        });
        assert_eq!(paid.line(branch)["level"], "within");
        let _ = paid.stage.fleet(&["kill", branch]).output().success();
        let _ = paid
            .stage
            .fleet(&["budget", "set", "--per", "day", "20"])
            .output()
            .success();
    }
    paid.stage.end();
}

#[test]
fn what_was_spent_before_a_supervisor_was_killed_is_taken_in_by_whoever_comes_after() {
    let paid = Paid::new(&[]);
    paid.create("d", &[]);
    end_program(&paid, "d");
    let _ = paid
        .stage
        .fleet(&["budget", "set", "--per", "day", "20"])
        .output()
        .success();
    for point in ["budget.usual:before", "budget.usual:after"] {
        // It was started before there was a ceiling, so it is given the amount of the settings.
        let killed = paid.stage.fleet(&["resume", "d"]).env("FLEET_FAULT", point).output();
        let has_one = point == "budget.usual:after";
        assert!(!killed.status.success(), "{point}: {killed}");
        assert_eq!(
            paid.line("day")["left_usd"],
            json!(20.0),
            "{point}: nothing is reserved yet"
        );
        if has_one {
            let _ = paid.stage.fleet(&["resume", "d"]).output().success();
            assert_eq!(paid.line("day")["left_usd"], json!(15.0));
        }
    }
    paid.spend("d", "r-1", 1_000_000);
    wait_until(LONG, "the reply to be counted", || {
        (paid.line("d")["spent_usd"] == json!(1.0)).then_some(())
    });
    // So little of its budget is taken in at the end of a turn at the earliest.
    paid.spend("d", "r-2", 200_000);
    wait_until(LONG, "the second reply", || {
        let used = paid.stage.explain("d")["agent"]["usage"][0]["tokens"]["input"].clone();
        (used == 1_200_000).then_some(())
    });
    kill_hard(paid.stage.supervisor("d"));
    for point in ["budget.fold:before", "budget.fold:after"] {
        wait_until(LONG, "a kill", || {
            let killed = paid.stage.fleet(&["budget", "show"]).env("FLEET_FAULT", point).output();
            (!killed.status.success() || point.ends_with("after")).then_some(())
        });
    }
    // What it did beyond that nobody knows: all that was reserved stays charged.
    let day = paid.line("day");
    assert_eq!(
        (&day["spent_usd"], &day["left_usd"]),
        (&json!(1.2), &json!(15.0)),
        "{day}"
    );
    paid.stage.end();
}

/// Ends the program of an agent, and waits until its supervisor is over.
fn end_program(paid: &Paid, branch: &str) {
    kill_hard(paid.stage.program(branch));
    wait_until(LONG, "the end", || {
        let state = paid.stage.explain(branch)["agent"]["state"].clone();
        state
            .as_str()
            .is_some_and(|state| state.starts_with("exited"))
            .then_some(())
    });
}
