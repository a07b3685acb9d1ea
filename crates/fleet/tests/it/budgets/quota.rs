//! A provider whose limit is reached: the run waits until it is lifted, and nobody has failed.

use fleet_core::Time;
use fleet_testkit::wait_until;
use serde_json::json;

use crate::drive::LONG;
use crate::runs::stage::{Stage, states};

#[test]
fn a_limit_of_the_provider_that_says_when_it_is_lifted_is_waited_for_by_all_its_workers() {
    let stage = Stage::new();
    let worker = |id: &str| json!({"id": id, "type": "code-run"});
    // Without a single retry: that the service has no room until some hour is no failure.
    let plan = json!({"fleet_name": "quota", "type": "dag", "config": {"max_concurrent": 1, "max_retries": 0},
        "workers": [worker("a"), worker("b")]});
    stage.plan(&plan, &[("a", "!quota 6"), ("b", "")]);
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    let waits = wait_until(LONG, "a worker that waits", || {
        let run = stage.status();
        run["workers"][0]["about"]
            .as_str()
            .filter(|about| about.contains("answers again at"))
            .map(str::to_owned)
    });
    assert_eq!(states(&stage.status()), ["a pending", "b pending"], "{waits}");
    assert_eq!(stage.paid(), ["paid a 1"], "b would be refused, too");
    let at = waits
        .split("again at ")
        .nth(1)
        .and_then(|rest| rest.split(';').next())
        .expect("a time");
    let at: Time = at.parse().expect("a time");

    let run = stage.wait_state("done");
    assert_eq!(states(&run), ["a done", "b done"]);
    assert_eq!(stage.paid(), ["paid a 1", "resumed a 1", "paid b 1"]);
    let began: Time = run["workers"][1]["started_at"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    assert!(began >= at, "b began at {began}, and its service answers from {at} on");
}
