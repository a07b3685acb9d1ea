//! What people do to a run while it goes on, and what limits do.

use serde_json::json;

use super::stage::{Stage, events, states};

#[test]
fn a_paused_run_starts_nothing_more_until_it_is_resumed() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!sleep 500"), ("b", &["a"], "")]);
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("paid a 1");
    let _ = stage.fleet(["pause", "root"]).output().success();
    stage.wait_noted("done a 1");
    fleet_testkit::wait_until(crate::drive::LONG, "the end of a", || {
        (states(&stage.status()) == ["a done", "b pending"]).then_some(())
    });
    assert_eq!(stage.status()["state"], "paused");
    let _ = stage.fleet(["resume", "root"]).output().success();
    let _ = stage.wait_state("done");
    assert_eq!(stage.paid(), ["paid a 1", "paid b 1"]);
}

#[test]
fn a_stopped_run_leaves_no_process_and_goes_on_in_the_same_conversation() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!sleep 60000"), ("b", &["a"], "")]);
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("paid a 1");
    let stopped = stage.fleet(["stop", "root"]).output().success();
    assert!(stopped.stdout.contains("try stopped"), "{stopped}");
    let run = stage.status();
    assert_eq!(
        (&run["state"], states(&run)),
        (&json!("stopped"), vec!["a stopped".to_owned(), "b waiting".to_owned()])
    );
    stage.env.assert_nothing_left();
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("resumed a 1");
    let _ = stage.fleet(["stop", "root"]).output().success();
}

#[test]
fn a_run_that_is_never_at_rest_is_stopped_at_once() {
    let stage = Stage::new();
    let ids: Vec<String> = (0..80).map(|number| format!("w{number}")).collect();
    let workers: Vec<_> = ids.iter().map(|id| json!({"id": id, "type": "code-run"})).collect();
    let plan = json!({"fleet_name": "busy", "type": "dag", "config": {"max_concurrent": 2}, "workers": workers});
    let prompts: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "")).collect();
    stage.plan(&plan, &prompts);
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("paid w1 1");
    let _ = stage.fleet(["stop", "root"]).output().success();
    let run = stage.status();
    assert_eq!(run["state"], "stopped", "{run}");
    assert!(stage.paid().len() < 40, "{} were started", stage.paid().len());
}

#[test]
fn a_worker_that_ignores_every_polite_request_is_stopped_all_the_same() {
    let stage = Stage::with("kill_grace_ms = 300");
    stage.dag(&[("a", &[], "!stubborn\n!hang")]);
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("paid a 1");
    let _ = stage.fleet(["stop", "root"]).output().success();
    stage.env.assert_nothing_left();
}

#[test]
fn a_worker_that_takes_longer_than_it_may_is_ended_and_that_is_its_end() {
    let stage = Stage::with("kill_grace_ms = 300");
    let plan = json!({"fleet_name": "slow", "type": "dag", "config": {"timeout_minutes": 0.005},
        "workers": [{"id": "a", "type": "code-run"}]});
    stage.plan(&plan, &[("a", "!hang")]);
    let done = stage.fleet(["launch", "root"]).output().fails(1);
    assert!(done.stdout.contains("it takes longer than it may"), "{done}");
    assert_eq!(states(&stage.status()), ["a timed-out"]);
    stage.env.assert_nothing_left();
}

#[test]
fn a_worker_without_a_sign_of_life_is_ended_and_tried_again() {
    let stage = Stage::with("kill_grace_ms = 300");
    let plan = json!({"fleet_name": "mute", "type": "dag", "config": {"stall_minutes": 0.01, "max_retries": 1},
        "workers": [{"id": "a", "type": "code-run"}]});
    stage.plan(&plan, &[("a", "!hang")]);
    let done = stage.fleet(["launch", "root"]).output().fails(1);
    assert!(done.stdout.contains("it gave no sign of life"), "{done}");
    assert_eq!(stage.paid(), ["paid a 1", "resumed a 1"]);
}

#[test]
fn a_missing_login_pauses_the_run_instead_of_burning_it() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!login"), ("b", &["a"], "")]);
    let done = stage.fleet(["launch", "root"]).output().fails(1);
    assert!(done.stdout.contains("a paused: blocked"), "{done}");
    let run = stage.status();
    assert_eq!(
        (&run["state"], states(&run)[0].as_str()),
        (&json!("paused"), "a blocked")
    );
    stage.write("logged-in", "");
    let _ = stage.fleet(["resume", "root"]).output().success();
    let _ = stage.wait_state("done");
}

#[test]
fn one_worker_can_be_started_over() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], ""), ("b", &["a"], "")]);
    let _ = stage.fleet(["launch", "root"]).output().success();
    let _ = stage.fleet(["relaunch", "a", "--run", "root"]).output().success();
    let run = stage.wait_state("done");
    assert_eq!(stage.paid(), ["paid a 1", "paid b 1", "paid a 1"]);
    assert_eq!(run["spent_usd"], 0.03, "what it cost before still counts");
    let done = stage.fleet(["relaunch", "aa", "--run", "root"]).output().fails(3);
    assert!(done.stderr.contains("did you mean `a`?"), "{done}");
}

#[test]
fn a_second_driver_is_impossible_and_a_dead_one_is_replaced_by_whoever_notices() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!sleep 700"), ("b", &["a"], "!sleep 300"), ("c", &["b"], "")]);
    let launched = stage.answer(["launch", "root", "--detach"]);
    let id = launched["run"]["id"].as_str().expect("an id").to_owned();
    stage.wait_noted("paid a 1");
    let drivers = || {
        let all = stage.env.own_processes();
        let of_run = |process: &&fleet_testkit::scan::Process| process.argv.iter().any(|arg| arg == "__drive");
        all.iter()
            .filter(of_run)
            .map(|process| process.pid)
            .collect::<Vec<u32>>()
    };
    let before = drivers();
    assert_eq!(before.len(), 1, "one driver of {id}");
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    assert_eq!(drivers(), before);
    fleet_testkit::kill_process(before[0]);
    // Nobody asks: the supervisor of `a` notices when its program has ended.
    let _ = stage.wait_state("done");
    assert_eq!(stage.paid(), ["paid a 1", "paid b 1", "paid c 1"]);
}

#[test]
fn a_clock_that_jumps_an_hour_ends_nothing_and_starts_nothing() {
    for jump in ["3600000", "-3600000"] {
        let stage = Stage::new();
        let plan = json!({"fleet_name": "jump", "type": "dag", "config": {"timeout_minutes": 5, "stall_minutes": 5},
            "workers": [{"id": "a", "type": "code-run"}, {"id": "b", "type": "code-run", "depends_on": ["a"]}]});
        stage.plan(&plan, &[("a", "!sleep 800"), ("b", "")]);
        let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
        stage.wait_noted("paid a 1");
        let drivers = stage.env.own_processes();
        for driver in drivers
            .iter()
            .filter(|process| process.argv.iter().any(|arg| arg == "__drive"))
        {
            fleet_testkit::kill_process(driver.pid);
        }
        let again = stage
            .fleet(["launch", "root"])
            .env("FLEET_TEST_CLOCK_JUMP_MS", jump)
            .output();
        let _ = again.success();
        assert_eq!(stage.paid(), ["paid a 1", "paid b 1"], "{jump}");
    }
}

#[test]
fn a_fleet_root_that_was_moved_pauses_the_run_and_goes_on_at_its_new_place() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!sleep 600"), ("b", &["a"], "")]);
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("paid a 1");
    std::fs::rename(&stage.root, stage.env.root().join("elsewhere")).expect("moved");
    fleet_testkit::wait_until(crate::drive::LONG, "a paused run", || {
        let run = stage.answer(["status", "try"])["runs"][0].clone();
        (run["state"] == "paused").then_some(())
    });
    let run = stage.answer(["status", "try"])["runs"][0].clone();
    assert!(
        events(&run).iter().any(|event| event.contains("moved or deleted")),
        "{run}"
    );
    let _ = stage.fleet(["launch", "elsewhere"]).output().success();
    assert_eq!(stage.paid(), ["paid a 1", "paid b 1"]);
}

#[test]
fn a_supervisor_that_is_killed_before_it_could_tell_of_its_program_leaves_no_second_one_at_work() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!sleep 400")]);
    let _ = stage
        .fleet(["launch", "root"])
        .env("FLEET_FAULT", "supervisor.journal:after:3")
        .env("FLEET_FAULT_HIT", stage.env.root().join("hit"))
        .output()
        .success();
    let events = events(&stage.status());
    assert!(events.iter().any(|event| event == "ended: lost"), "{events:?}");
    let done = stage.noted().iter().filter(|line| *line == "done a 1").count();
    assert_eq!(done, 1, "{:?}", stage.noted());
    stage.env.assert_nothing_left();
}

#[test]
fn a_launch_that_somebody_watches_starts_another_driver_where_one_was_killed() {
    for point in ["drive.turn:before:1", "drive.turn:after:1", "drive.turn:before:2"] {
        let stage = Stage::new();
        stage.dag(&[("a", &[], ""), ("b", &["a"], "")]);
        let hit = stage.env.root().join("hit");
        let _ = stage
            .fleet(["launch", "root"])
            .env("FLEET_FAULT", point)
            .env("FLEET_FAULT_HIT", &hit)
            .output()
            .success();
        assert!(hit.exists(), "{point}: no driver was killed");
        assert_eq!(stage.paid(), ["paid a 1", "paid b 1"], "{point}");
    }
}

#[test]
fn what_is_done_is_not_in_a_dry_run_and_what_is_said_to_do_next_works_when_pasted() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], ""), ("b", &["a"], "!fail 400 1")]);
    let _ = stage.fleet(["launch", "root"]).output().fails(1);
    let dry = stage.answer(["launch", "root", "--dry-run"]);
    let ids: Vec<&str> = dry["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .filter_map(|step| step["id"].as_str())
        .collect();
    assert_eq!(ids, ["b"]);
    let _ = stage.fleet(["launch", "root"]).output().success();
    let done = stage.fleet(["stop", "root"]).output().fails(4);
    assert!(done.stderr.contains("see what came of it: `fleet status "), "{done}");
    let done = stage.fleet(["launch", "root"]).output().success();
    let hint = done.stderr.split('`').nth(1).expect("a command").to_owned();
    let _ = stage.fleet(hint.split(' ').skip(1)).output().success();
    let _ = stage.wait_state("done");
    assert_eq!(
        stage.paid().iter().filter(|line| *line == "paid a 1").count(),
        2,
        "{hint}"
    );
}

#[test]
fn a_worker_whose_program_has_forgotten_the_conversation_begins_anew_at_once_and_for_free() {
    let stage = Stage::new();
    let plan = json!({"fleet_name": "night", "type": "dag", "config": {"max_retries": 0, "retry_delay_seconds": 3600},
        "workers": [{"id": "a", "type": "code-run"}]});
    stage.plan(&plan, &[("a", "!first 1 forget\n!first 1 fail 400")]);
    let _ = stage.fleet(["launch", "root"]).output().fails(1);
    let again = stage.fleet(["launch", "root"]).output().success();
    assert_eq!(stage.paid(), ["paid a 1", "paid a 1"], "{again}");
    let run = stage.status();
    assert_eq!(
        (&run["state"], &run["workers"][0]["attempts"]),
        (&json!("done"), &json!(3)),
        "{run:#}"
    );
    let told = stage.fleet(["status", "root", "--json"]).output().success().stdout;
    assert!(told.contains("No conversation found"), "{told}");
}
