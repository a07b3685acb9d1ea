//! Prompts of which nobody saw what became of them: they are never sent again, and the journal says so.

use fleet_core::fact::{Entry, Fact};
use fleet_host::supervise::journal;
use fleet_testkit::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::stage::{LONG, Stage, kill_hard, outcome};

fn facts(stage: &Stage, branch: &str) -> Vec<Entry> {
    journal::read(&stage.folder(branch)).expect("a journal")
}

/// How often the journal says that a prompt is unverified.
fn unverified(stage: &Stage, branch: &str, prompt: &str) -> usize {
    let says = |entry: &&Entry| matches!(&entry.fact, Fact::PromptUnverified { id, .. } if id == prompt);
    facts(stage, branch).iter().filter(says).count()
}

#[test]
fn a_queued_prompt_whose_supervisor_was_killed_after_enter_ends_as_unverified() {
    for repaired in [true, false] {
        // Without an echo there is no receipt for some seconds.
        let stage = Stage::scripted(&["--no-echo"]);
        stage.create("a");
        let first = stage.fleet(&["prompt", "a", "-m", "one", "--wait"]).spawn();
        wait_until(LONG, "the first prompt on its way", || {
            let typed = |entry: &Entry| matches!(entry.fact, Fact::PromptTyped { .. });
            facts(&stage, "a").iter().any(typed).then_some(())
        });
        let queued = stage.prompt("a", "two").success();
        assert_eq!(outcome(&queued), "queued");
        let answer: serde_json::Value = queued.json();
        let id = answer["sent"][0]["prompt"].as_str().expect("an id").to_owned();
        let _ = first.wait(LONG).fails(9);
        wait_until(LONG, "Enter after the second", || {
            let facts = facts(&stage, "a");
            let typed = facts
                .iter()
                .position(|entry| entry.fact == Fact::PromptTyped { id: id.clone() })?;
            facts[typed..]
                .iter()
                .any(|entry| matches!(entry.fact, Fact::Busy { .. }))
                .then_some(())
        });
        kill_hard(stage.supervisor("a"));
        wait_until(LONG, "the loss", || {
            (stage.explain("a")["agent"]["state"] == "lost").then_some(())
        });
        assert_eq!(unverified(&stage, "a", &id), 0, "it was killed before it could say so");

        if repaired {
            let said = stage.fleet(&["list", "--repair"]).output().success();
            assert!(
                said.stdout.contains("the prompt that it had typed is unverified"),
                "{said}"
            );
            let again = stage.fleet(&["list", "--repair"]).output().success();
            assert!(again.stdout.contains("nothing to repair"), "{again}");
            assert_eq!(stage.explain("a")["agent"]["state"], "lost");
            assert_eq!(unverified(&stage, "a", &id), 1);
        }
        let _ = stage.fleet(&["resume", "a"]).output().success();
        stage.wait_state("a", "idle");
        assert_eq!(unverified(&stage, "a", &id), 1, "said once");
        let shown = stage.explain("a").to_string();
        assert!(
            shown.contains("prompt_unverified") && shown.contains("its supervisor was killed"),
            "{shown}"
        );
        assert_eq!(stage.explain("a")["queued"], 0);
        let twos = stage.received().iter().filter(|text| *text == "two").count();
        assert!(twos <= 1, "sent again: {:?}", stage.received());
        stage.end();
    }
}

#[test]
fn a_program_that_stops_reading_ends_the_wait_and_takes_each_text_once_when_it_reads_again() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    let program = stage.program("a");
    send(program, Signal::SIGSTOP);
    // Far more than the kernel keeps for a program that does not read.
    let long = "long ".repeat(40_000).trim_end().to_owned();
    let first = stage
        .fleet(&["prompt", "a", "-", "--wait", "--json"])
        .stdin(long.clone())
        .output()
        .fails(9);
    assert_eq!(outcome(&first), "unverified");
    assert!(first.stdout.contains("stopped reading"), "{first}");
    let second = stage.prompt("a", "second").success();
    assert_eq!(outcome(&second), "queued");
    send(program, Signal::SIGCONT);
    stage.wait_received(&[&long, "second"]);
    stage.wait_state("a", "idle");
    assert_eq!(stage.explain("a")["queued"], 0);
    assert_eq!(stage.received(), [long.as_str(), "second"]);
    stage.end();
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("it lives");
}
