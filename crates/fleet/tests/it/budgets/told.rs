//! What is told of a ceiling near its end, and at it: an event, and the hook `on_budget`, once over all processes.

use std::fs;
use std::path::PathBuf;

use fleet_testkit::{TestEnv, wait_until};
use serde_json::{Value, json};

use super::agents::Paid;
use super::three;
use crate::prompts::stage::LONG;
use crate::runs::stage::{Stage, events};

/// A hook `on_budget` that writes down what it is told.
pub(super) struct Hook {
    told: PathBuf,
}

impl Hook {
    /// Adds it to the settings of `env`.
    pub(super) fn new(env: &TestEnv) -> Hook {
        let (script, told) = (env.root().join("tell"), env.root().join("told"));
        let text = format!("#!/bin/sh\ncat >> '{}'\necho >> '{0}'\n", told.display());
        fs::write(&script, text).expect("written");
        fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        let config = env.fleet_home().join("config.toml");
        let text = fs::read_to_string(&config).unwrap_or_default();
        env.write_config(&format!("on_budget = [\"{}\"]\n{text}", script.display()));
        Hook { told }
    }

    /// What it was told of ceilings of this kind.
    pub(super) fn told(&self, scope: &str) -> Vec<Value> {
        let text = fs::read_to_string(&self.told).unwrap_or_default();
        let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        all.filter(|told| told["scope"] == scope).collect()
    }

    /// Waits until it was told so often.
    #[track_caller]
    pub(super) fn wait(&self, scope: &str, times: usize) -> Vec<Value> {
        wait_until(LONG, "the hook", || {
            let told = self.told(scope);
            (told.len() >= times).then_some(told)
        })
    }
}

fn briefly(told: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let brief = |each: &Value| {
        format!(
            "{} {} {}",
            text(&each["what"]),
            text(&each["level"]),
            text(&each["about"])
        )
    };
    told.iter().map(brief).collect()
}

#[test]
fn the_day_and_the_week_are_told_of_while_agents_work_and_nobody_asks() {
    let paid = Paid::new(&[]);
    for (per, usd) in [("day", "10"), ("week", "9")] {
        let _ = paid.answer(&["budget", "set", "--per", per, usd]);
    }
    paid.create("a", &["--budget", "4.6"]);
    paid.create("b", &["--budget", "4.4"]);
    paid.spend("a", "r-1", 4_500_000);
    let first = paid.hook.wait("agent", 1);
    assert_eq!(briefly(&first), ["a near 4.50 of 4.60 USD"], "{first:?}");
    assert_eq!((paid.told("day"), paid.told("week")), (vec![], vec![]));
    // What it was that brought them there is told by nobody: each agent stays within its own ceiling.
    paid.spend("b", "r-2", 3_500_000);
    let day = paid.hook.wait("day", 1);
    assert_eq!(briefly(&day), ["day near 8.00 of 10.00 USD"]);
    assert_eq!(briefly(&paid.hook.wait("week", 1)), ["week near 8.00 of 9.00 USD"]);
    let told = &day[0];
    assert_eq!(
        (&told["hook"], &told["spent_usd"], &told["ceiling_usd"], &told["rung"]),
        (&json!("on_budget"), &json!(8.0), &json!(10.0), &json!("usd")),
        "{told}"
    );
    let line = paid.line("day");
    assert_eq!(
        (&line["level"], &line["told_at"]),
        (&json!("near"), &told["at"]),
        "{line}"
    );
    let shown = paid.stage.fleet(&["budget", "show"]).output().success();
    assert!(shown.stdout.contains("the day has been near its end since"), "{shown}");

    // Said once, however much is counted and whoever looks. After a raise it is another ceiling.
    paid.spend("b", "r-3", 100_000);
    wait_until(LONG, "the reply to be counted", || {
        (paid.line("day")["spent_usd"] == json!(8.1)).then_some(())
    });
    let raised = paid.answer(&["budget", "raise", "day", "10.2"]);
    assert_eq!(raised["changed"][0]["ceiling_usd"], json!(10.2), "{raised}");
    assert_eq!(paid.line("day")["told_at"], json!(null));
    let _ = paid.answer(&["budget", "raise", "week", "20"]);
    paid.spend("b", "r-4", 200_000);
    assert_eq!(
        briefly(&paid.hook.wait("day", 2)),
        ["day near 8.00 of 10.00 USD", "day near 8.30 of 10.20 USD"]
    );
    assert_eq!(paid.told("week").len(), 1);
    // One that is lowered may be used up by that alone.
    let _ = paid.answer(&["budget", "set", "--per", "day", "8.2"]);
    assert_eq!(briefly(&paid.hook.wait("day", 3))[2], "day reached 8.30 of 8.20 USD");
    let _ = paid.answer(&["budget", "set", "--per", "day", "10"]);
    assert_eq!(briefly(&paid.hook.wait("day", 4))[3], "day near 8.30 of 10.00 USD");
    paid.stage.end();
}

#[test]
fn a_task_is_told_of_with_an_event_and_the_hook() {
    let paid = Paid::new(&[]);
    let made = paid.answer(&["task", "create", "The work", "--ceiling", "2"]);
    let task = made["task"]["id"].as_str().expect("an id").to_owned();
    paid.create("a", &["--task", &task, "--budget", "1"]);
    paid.create("b", &["--task", &task, "--budget", "1"]);
    paid.spend("a", "r-1", 900_000);
    paid.spend("b", "r-2", 700_000);
    let told = paid.hook.wait("task", 1);
    assert_eq!(briefly(&told), [format!("{task} near 1.60 of 2.00 USD")]);
    paid.spend("b", "r-3", 400_000);
    let told = paid.hook.wait("task", 2);
    assert_eq!(briefly(&told)[1], format!("{task} reached 2.00 of 2.00 USD"));
    paid.stage.end();
}

#[test]
fn a_run_is_told_of_with_an_event_and_the_hook_and_again_when_it_is_raised() {
    let stage = three();
    let hook = Hook::new(&stage.env);
    let _ = stage.fleet(["launch", "root", "--budget", "1.5"]).output();
    stage.wait_state("paused");
    // 40 % of it are spent, and it waits for somebody all the same.
    let paused = "three paused 0.60 USD of 1.50 USD are spent or reserved";
    assert_eq!(briefly(&hook.wait("run", 1)), [paused]);
    let _ = stage.answer(["budget", "raise", "root", "2.2"]);
    let run = stage.wait_state("done");
    let near = "three near 1.80 of 2.20 USD";
    assert_eq!(briefly(&hook.wait("run", 2)), [paused, near]);
    assert_eq!(told_in(&run), ["near: 1.80 USD of 2.20 USD are spent"], "{run:#}");
    stage.env.assert_nothing_left();
}

#[test]
fn a_run_that_ends_at_a_hard_ceiling_or_pauses_for_the_day_is_told_of() {
    let stage = three();
    let hook = Hook::new(&stage.env);
    let _ = stage
        .fleet(["launch", "root", "--budget", "1.5", "--hard"])
        .output()
        .fails(1);
    let ended = "three ended 0.60 USD of 1.50 USD are spent or reserved";
    assert_eq!(briefly(&hook.wait("run", 1)), [ended]);

    let stage = three();
    let hook = Hook::new(&stage.env);
    let _ = stage.answer(["budget", "set", "--per", "day", "1.5"]);
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    let run = stage.wait_state("paused");
    let told = briefly(&hook.wait("run", 1));
    let until = run["goes_on_at"].as_str().expect("a time");
    let about = format!("three paused of the ceiling of all agents 0.90 USD are left; it goes on at {until}");
    assert_eq!(told, [about]);
}

#[test]
fn a_run_is_told_of_while_its_workers_work() {
    let stage = Stage::new();
    let hook = Hook::new(&stage.env);
    let worker = |id: &str| json!({"id": id, "type": "code-run", "max_budget_usd": 1});
    let plan = json!({"fleet_name": "pair", "type": "dag", "workers": [worker("a"), worker("b")]});
    let slow = "!spent 0.9\n!run until [ -e go ]; do sleep 0.1; done\n!cost 0.9";
    stage.plan(&plan, &[("a", slow), ("b", slow)]);
    let _ = stage
        .fleet(["launch", "root", "--budget", "2", "--detach"])
        .output()
        .success();
    assert_eq!(briefly(&hook.wait("run", 1)), ["pair near 1.80 of 2.00 USD"]);
    let run = stage.status();
    assert_eq!((&run["state"], told_in(&run).len()), (&json!("running"), 1), "{run:#}");
    stage.write("go", "");
    stage.wait_state("done");
    assert_eq!(hook.told("run").len(), 1);
}

#[test]
fn a_round_is_told_of_with_an_event_and_the_hook() {
    let stage = Stage::new();
    let hook = Hook::new(&stage.env);
    let plan = json!({"fleet_name": "loop", "type": "iterative", "config": {"budget_per_iter": 3.2},
    "stop_when": {"max_iterations": 2, "reviewer_lgtm_count": 1},
    "workers": [
        {"id": "build", "type": "code-run", "max_budget_per_iter": 2},
        {"id": "judge", "type": "reviewer", "depends_on": ["build"], "max_budget_per_iter": 1}]});
    let recipe = "Write your verdict to `iterations/<N>/review.md` with one of `verdict: lgtm`, `verdict: iterate`, \
                  `verdict: escalate`.";
    let judge = format!("!verdict iterate lgtm\n!cost 0.8\n{recipe}");
    stage.plan(&plan, &[("build", "!cost 1.9"), ("judge", &judge)]);
    let _ = stage.fleet(["launch", "root"]).output().success();
    let told = hook.wait("iteration", 2);
    assert_eq!(
        briefly(&told),
        [
            "loop/round 1 near 2.70 of 3.20 USD",
            "loop/round 2 near 2.70 of 3.20 USD"
        ]
    );
    assert_eq!((&told[0]["round"], told[0]["run"].is_string()), (&json!(1), true));
    assert_eq!(
        told_in(&stage.status()),
        [
            "near: 2.70 USD of 3.20 USD of round 1 are spent",
            "near: 2.70 USD of 3.20 USD of round 2 are spent"
        ]
    );
}

#[test]
fn whoever_runs_the_hook_may_be_killed_and_it_is_run_once_at_most() {
    for (point, times) in [("notify.take:before", 1), ("notify.take:after", 0)] {
        let paid = Paid::new(&[]);
        let _ = paid.answer(&["budget", "set", "--per", "day", "10"]);
        paid.create("a", &["--budget", "9"]);
        let path = paid.stage.env.fleet_home().join("config.toml");
        let settings = fs::read_to_string(&path).expect("the settings");
        // Nobody can run the hook now, and nothing is lost of what it is to be told.
        fs::write(&path, "on_budget = [").expect("written");
        paid.spend("a", "r-1", 8_500_000);
        wait_until(LONG, "the event", || {
            paid.line("day")["told_at"].is_string().then_some(())
        });
        let nobody_records = || {
            let all = paid.stage.env.own_processes();
            let records = all
                .iter()
                .any(|process| process.argv.iter().any(|arg| arg == "__record"));
            (!records).then_some(())
        };
        wait_until(LONG, "the end of who looked", nobody_records);
        fs::write(&path, settings).expect("written");
        let record = || paid.stage.env.program(fleet_testkit::binary("fleet"), ["__record"]);
        let _ = record().env("FLEET_FAULT", point).output();
        wait_until(LONG, "the end of what was killed", nobody_records);
        let _ = paid.answer(&["budget", "show"]);
        if times > 0 {
            paid.hook.wait("day", times);
        }
        let _ = record().output();
        paid.stage.end();
        assert_eq!(paid.told("day").len(), times, "{point}");
    }
}

/// The events of `run` that tell of its ceilings.
fn told_in(run: &Value) -> Vec<String> {
    let mut all = events(run);
    all.retain(|event| event.starts_with("near: ") || event.starts_with("reached: "));
    all
}
