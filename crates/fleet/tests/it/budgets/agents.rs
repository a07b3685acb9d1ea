//! Agents of their own: what each may spend, what happens at the end of it, and what all together may reserve.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use fleet_core::Time;
use fleet_core::fact::Fact;
use fleet_host::supervise::journal;
use fleet_testkit::{binary, wait_until};
use serde_json::{Value, json};

use super::told::Hook;
use crate::prompts::stage::{LONG, Stage, kill_hard, outcome};

/// Its input costs 1 USD a million tokens, so that a token is a millionth of a dollar.
const PRICES: &str = "version = 1\n[[price]]\nmodels = [\"m-1\"]\ninput = 1\noutput = 1\n";

/// A fleet with a scripted agent, a model with a price, and a notifier that writes what it is told.
pub(super) struct Paid {
    pub(super) stage: Stage,
    pub(super) hook: Hook,
}

impl Paid {
    pub(super) fn new(args: &[&str]) -> Self {
        let stage = Stage::scripted(args);
        let hook = Hook::new(&stage.env);
        fs::write(stage.env.fleet_home().join("prices.toml"), PRICES).expect("written");
        Self { stage, hook }
    }

    #[track_caller]
    pub(super) fn create(&self, branch: &str, args: &[&str]) {
        let args = [&["create", branch, "--wait", "ready"], args].concat();
        let _ = self.stage.fleet(&args).output().success();
    }

    /// The program of `branch` tells of a reply that cost so many millionths.
    #[track_caller]
    pub(super) fn spend(&self, branch: &str, id: &str, micros: u64) {
        let message = json!({"id": id, "model": "m-1", "usage": {"input_tokens": micros, "output_tokens": 0}});
        let line = json!({"type": "assistant", "timestamp": now(), "message": message});
        let transcript = self.transcript(branch);
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&transcript)
            .expect("the transcript");
        writeln!(file, "{line}").expect("written");
        let event = json!({"hook_event_name": "Stop", "session_id": "c-1", "transcript_path": transcript});
        report(&self.stage, branch, &event);
    }

    fn transcript(&self, branch: &str) -> PathBuf {
        self.stage.env.root().join(format!("{branch}.jsonl"))
    }

    /// What the notifier was told of ceilings of this kind.
    pub(super) fn told(&self, scope: &str) -> Vec<Value> {
        self.hook.told(scope)
    }

    pub(super) fn line(&self, what: &str) -> Value {
        let shown = self.answer(&["budget", "show"]);
        let lines = shown["lines"].as_array().expect("lines");
        lines
            .iter()
            .find(|line| line["what"] == what)
            .unwrap_or_else(|| panic!("no {what}: {shown}"))
            .clone()
    }

    #[track_caller]
    pub(super) fn answer(&self, args: &[&str]) -> Value {
        self.stage.fleet(args).arg("--json").output().success().json()
    }
}

/// As programs write it.
fn now() -> String {
    let since = std::time::UNIX_EPOCH.elapsed().expect("a clock");
    let whole = Time(i64::try_from(since.as_millis()).expect("a time")).to_string();
    whole.replace('Z', &format!(".{:03}Z", since.subsec_millis()))
}

fn report(stage: &Stage, branch: &str, event: &Value) {
    let _ = stage
        .env
        .program(binary("fleet"), ["__report", "claude"])
        .env("FLEET_SOCKET", stage.socket(branch))
        .stdin(event.to_string().as_bytes())
        .timeout(LONG)
        .output()
        .success();
}

fn has(folder: &Path, is: impl Fn(&Fact) -> bool) -> bool {
    let entries = journal::read(folder).expect("a journal");
    entries.iter().any(|entry| is(&entry.fact))
}

#[test]
fn an_agent_that_has_used_its_budget_waits_keeps_its_prompts_and_goes_on_when_it_is_raised() {
    let paid = Paid::new(&[]);
    paid.create("a", &["--budget", "1"]);
    paid.spend("a", "r-1", 850_000);
    let first = &paid.hook.wait("agent", 1)[0];
    assert_eq!(
        (&first["hook"], &first["level"], &first["about"]),
        (&json!("on_budget"), &json!("near"), &json!("0.85 of 1.00 USD"))
    );
    let sent = paid.stage.prompt("a", "print still here").success();
    assert_eq!(outcome(&sent), "delivered", "near is not reached");

    paid.spend("a", "r-2", 200_000);
    paid.stage.wait_state("a", "waiting(budget)");
    let sent = paid.stage.prompt("a", "print later").success();
    assert_eq!(outcome(&sent), "queued");
    let line = paid.line("a");
    assert_eq!(
        (&line["spent_usd"], &line["level"]),
        (&json!(1.05), &json!("reached")),
        "{line}"
    );

    let raised = paid.answer(&["budget", "raise", "a", "2"]);
    assert_eq!(raised["changed"][0]["how"], "goes on", "{raised}");
    paid.stage.wait_received(&["print still here", "print later"]);
    paid.stage.wait_state("a", "idle");
    paid.stage.end();
}

#[test]
fn an_agent_with_nothing_to_do_is_told_to_go_on_unless_it_is_to_be_quiet() {
    let paid = Paid::new(&[]);
    paid.create("a", &["--budget", "1"]);
    paid.spend("a", "r-1", 1_000_000);
    paid.stage.wait_state("a", "waiting(budget)");
    let _ = paid
        .stage
        .fleet(&["budget", "raise", "a", "+1", "--prompt", "print on"])
        .output()
        .success();
    paid.stage.wait_received(&["print on"]);
    paid.spend("a", "r-2", 1_000_000);
    paid.stage.wait_state("a", "waiting(budget)");
    let _ = paid
        .stage
        .fleet(&["budget", "raise", "a", "+1", "--quiet"])
        .output()
        .success();
    paid.stage.wait_state("a", "idle");
    assert_eq!(paid.stage.received(), ["print on"]);
    paid.stage.end();
}

#[test]
fn a_hard_budget_ends_the_agent_at_once_and_what_raises_it_revives_it() {
    let paid = Paid::new(&[]);
    paid.create("a", &["--budget", "1", "--hard"]);
    paid.spend("a", "r-1", 1_000_000);
    wait_until(LONG, "the end", || {
        let state = paid.stage.explain("a")["agent"]["state"].clone();
        state
            .as_str()
            .is_some_and(|state| state.starts_with("exited"))
            .then_some(())
    });
    let refused = paid.stage.fleet(&["resume", "a"]).output().fails(6);
    assert!(refused.stderr.contains("has spent 1.00 USD of 1.00 USD"), "{refused}");
    assert!(refused.stderr.contains("fleet budget raise a +5"), "{refused}");
    let raised = paid.answer(&["budget", "raise", "a", "+1", "--prompt", "print again"]);
    assert_eq!(raised["changed"][0]["how"], "goes on", "{raised}");
    paid.stage.wait_received(&["print again"]);
    paid.spend("a", "r-2", 500_000);
    wait_until(LONG, "the next reply to be counted", || {
        (paid.line("a")["spent_usd"] == json!(1.5)).then_some(())
    });
    paid.stage.end();
}

#[test]
fn a_cost_that_nobody_knows_reaches_a_budget_and_is_never_taken_to_be_nothing() {
    let paid = Paid::new(&[]);
    paid.create("a", &["--budget", "1"]);
    fs::write(
        paid.transcript("a"),
        format!(
            "{}\n",
            json!({"type": "assistant", "timestamp": now(),
                "message": {"id": "x", "model": "nobody-knows", "usage": {"input_tokens": 1, "output_tokens": 1}}})
        ),
    )
    .expect("written");
    let event = json!({"hook_event_name": "Stop", "session_id": "c-1", "transcript_path": paid.transcript("a")});
    report(&paid.stage, "a", &event);
    paid.stage.wait_state("a", "waiting(budget)");
    assert!(has(&paid.stage.folder("a"), |fact| matches!(
        fact,
        Fact::Budget { about, .. } if about.contains("not known")
    )));
    assert_eq!(paid.line("a")["unknown"], 1);
    let hint = "hint: `nobody-knows` has no price, so the cost is not known";
    for verb in [&["budget", "show"][..], &["task", "cost"]] {
        let shown = paid.stage.fleet(verb).output().success();
        assert!(
            shown.stderr.contains(hint) && !shown.stderr.contains("nobody has told"),
            "{shown}"
        );
    }
    // Who raises it has seen that.
    let _ = paid
        .stage
        .fleet(&["budget", "raise", "a", "+1", "--quiet"])
        .output()
        .success();
    paid.stage.wait_state("a", "ready");
    let refused = paid
        .stage
        .fleet(&["create", "b", "--budget", "1", "--hard", "--model", "nobody-knows"])
        .output()
        .fails(5);
    assert!(
        refused.stderr.contains("nobody knows what `nobody-knows` costs"),
        "{refused}"
    );
    paid.stage.end();
}

#[test]
fn of_two_that_reserve_at_once_only_those_start_that_fit_and_what_is_over_is_free_again() {
    let paid = Paid::new(&[]);
    let _ = paid
        .stage
        .fleet(&["budget", "set", "--per", "week", "10"])
        .output()
        .success();
    let started: Vec<bool> = std::thread::scope(|scope| {
        let create = |branch: &'static str| {
            let stage = &paid.stage;
            scope.spawn(move || {
                let done = stage.fleet(&["create", branch, "--budget", "6"]).output();
                assert!(
                    done.status.success() || done.stderr.contains("4.00 USD of it are free"),
                    "{done}"
                );
                done.status.success()
            })
        };
        let all: Vec<_> = ["a", "b", "c"].map(create).into_iter().collect();
        all.into_iter().map(|each| each.join().expect("a thread")).collect()
    });
    assert_eq!(started.iter().filter(|started| **started).count(), 1, "{started:?}");
    let branch = ["a", "b", "c"][started.iter().position(|started| *started).expect("one")];
    assert_eq!(paid.line("week")["left_usd"], json!(4.0));
    // Without a budget of its own an agent has the amount of the settings, 5 USD.
    let refused = paid.stage.fleet(&["create", "d"]).output().fails(6);
    assert!(refused.stderr.contains("5.00 USD are needed"), "{refused}");
    paid.spend(branch, "r-1", 1_000_000);
    kill_hard(paid.stage.supervisor(branch));
    // Nobody knows what it spent when it was killed: all that it had stays charged.
    wait_until(LONG, "the loss", || {
        (paid.line("week")["left_usd"] == json!(4.0)).then_some(())
    });
    let _ = paid.stage.fleet(&["kill", branch]).output().success();
    assert_eq!(paid.line("week")["left_usd"], json!(4.0));
    paid.create("e", &["--budget", "3"]);
    paid.spend("e", "r-2", 1_000_000);
    wait_until(LONG, "the reply to be counted", || {
        (paid.line("e")["spent_usd"] == json!(1.0)).then_some(())
    });
    let _ = paid.stage.fleet(&["kill", "e"]).output().success();
    assert_eq!(
        paid.line("week")["left_usd"],
        json!(3.0),
        "one dollar of three was spent"
    );
    paid.stage.end();
}

#[test]
fn agents_that_run_already_get_a_limit_when_all_together_get_a_ceiling() {
    let paid = Paid::new(&[]);
    paid.create("a", &[]);
    paid.create("b", &[]);
    let set = paid
        .stage
        .fleet(&["budget", "set", "--per", "day", "4"])
        .output()
        .success();
    assert!(set.stdout.contains("a may spend 2.00 USD more from now on"), "{set}");
    assert_eq!(paid.line("day")["left_usd"], json!(0.0));
    paid.spend("b", "r-1", 2_000_000);
    paid.stage.wait_state("b", "waiting(budget)");
    let _ = paid
        .stage
        .fleet(&["budget", "set", "--per", "day", "none"])
        .output()
        .success();
    paid.create("c", &[]);
    paid.stage.end();
}

#[test]
fn a_budget_is_shared_out_evenly_and_a_start_that_fails_reserves_nothing() {
    let paid = Paid::new(&[]);
    let _ = paid
        .stage
        .fleet(&["budget", "set", "--per", "day", "10"])
        .output()
        .success();
    let _ = paid
        .stage
        .fleet(&["fanout", "3", "x", "--budget", "9"])
        .output()
        .success();
    for branch in ["x-A1", "x-A2", "x-A3"] {
        assert_eq!(paid.line(branch)["ceiling_usd"], json!(3.0));
    }
    assert_eq!(paid.line("day")["left_usd"], json!(1.0));
    let _ = paid.stage.fleet(&["kill", "--batch", "x"]).output().success();
    assert_eq!(paid.line("day")["left_usd"], json!(10.0));
    for bad in ["0", "-1", "NaN", "1e308"] {
        let _ = paid
            .stage
            .fleet(&["create", "y", &format!("--budget={bad}")])
            .output()
            .fails(2);
    }
    let _ = paid
        .stage
        .fleet(&["create", "y", "--budget", "2", "--base", "nowhere"])
        .output()
        .fails(2);
    assert_eq!(paid.line("day")["left_usd"], json!(10.0));
    paid.stage.end();
}

#[test]
fn a_ceiling_that_is_lowered_below_what_was_spent_acts_at_once() {
    let paid = Paid::new(&[]);
    paid.create("a", &["--budget", "5"]);
    paid.create("b", &["--budget", "5"]);
    for branch in ["a", "b"] {
        paid.spend(branch, "r-1", 1_000_000);
        wait_until(LONG, "the reply to be counted", || {
            (paid.line(branch)["spent_usd"] == json!(1.0)).then_some(())
        });
    }
    let _ = paid.answer(&["budget", "set", "a", "0.5"]);
    paid.stage.wait_state("a", "waiting(budget)");
    assert_eq!(paid.hook.wait("agent", 1)[0]["about"], "1.00 of 0.50 USD");
    let _ = paid.answer(&["budget", "set", "b", "0.5", "--hard"]);
    wait_until(LONG, "the end", || {
        let state = paid.stage.explain("b")["agent"]["state"].clone();
        state.as_str()?.starts_with("exited").then_some(())
    });
    paid.stage.end();
}
