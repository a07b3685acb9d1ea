//! A day or a week that is used up: what waits for it goes on by itself when the next one begins.

use fleet_core::Time;
use fleet_core::budget::Scope;
use serde_json::json;

use super::{line, three};
use crate::runs::stage::{Stage, events, states};

const DAY: i64 = 86_400_000;

fn now() -> Time {
    let since = std::time::UNIX_EPOCH.elapsed().expect("a clock");
    Time(i64::try_from(since.as_millis()).expect("a time"))
}

fn kill_driver(stage: &Stage) {
    for process in stage.env.own_processes() {
        if process.argv.iter().any(|arg| arg == "__drive") {
            fleet_testkit::kill_process(process.pid);
        }
    }
}

#[test]
fn a_run_that_paused_because_the_day_was_used_up_goes_on_by_itself_at_midnight_in_utc() {
    /// So long before midnight it is for the driver.
    const BEFORE: i64 = 15_000;
    let stage = three();
    let _ = stage.fleet(["budget", "set", "--per", "day", "1.5"]).output().success();
    let midnight = Scope::Day.until(now()).expect("a midnight");
    let jump = midnight.0 - now().0 - BEFORE;
    let launch = stage
        .fleet(["launch", "root", "--detach"])
        .env("FLEET_TEST_CLOCK_JUMP_MS", jump.to_string())
        // A day is that of UTC, wherever somebody is.
        .env("TZ", "Pacific/Auckland");
    let _ = launch.output().success();
    let run = stage.wait_state("paused");
    assert_eq!(states(&run), ["a done", "b pending", "c pending"]);
    assert_eq!(run["goes_on_at"], json!(midnight.to_string()), "{run}");
    let about = run["about"].as_str().expect("a sentence");
    assert!(about.contains(&format!("goes on by itself at {midnight}")), "{about}");
    assert_eq!(line(&stage, "day")["until"], json!(midnight.to_string()));
    let refused = stage.fleet(["create", "x", "--here", "--budget", "1"]).output();
    assert!(
        refused.stderr.contains(&format!("a new day begins at {midnight}")),
        "{refused}"
    );

    let run = stage.wait_state("done");
    assert_eq!((&run["goes_on_at"], stage.paid().len()), (&json!(null), 3));
    assert!(events(&run).iter().any(|event| event.contains("resumed")), "{run:#}");
}

#[test]
fn whoever_drives_a_run_that_waits_for_a_new_day_or_week_may_be_killed_and_the_clock_may_jump() {
    for (per, days) in [("day", 1), ("week", 7)] {
        let stage = three();
        let _ = stage.fleet(["budget", "set", "--per", per, "1.5"]).output().success();
        let launch = |jump: i64| {
            let launch = stage.fleet(["launch", "root", "--detach"]);
            launch.env("FLEET_TEST_CLOCK_JUMP_MS", jump.to_string()).output()
        };
        let _ = launch(0).success();
        let at = stage.wait_state("paused")["goes_on_at"].clone();
        assert!(at.is_string(), "{per}");
        kill_driver(&stage);
        let run = stage.wait_state("unattended");
        assert!(
            run["about"]
                .as_str()
                .is_some_and(|about| about.contains("launch it again")),
            "{run}"
        );
        // Whoever drives it next waits for the same moment; a clock that was set back changes nothing.
        for jump in [0, -2 * 3_600_000] {
            let _ = launch(jump).success();
            let run = stage.wait_state("paused");
            assert_eq!(states(&run), ["a done", "b pending", "c pending"], "{per}");
            if jump == 0 {
                assert_eq!(run["goes_on_at"], at, "{per}");
            }
            kill_driver(&stage);
            stage.wait_state("unattended");
        }
        let _ = launch(days * DAY).success();
        stage.wait_state("done");
        assert_eq!(stage.paid().len(), 3, "{per}: nothing was done twice");
        stage.env.assert_nothing_left();
    }
}
