//! A program without a terminal that takes prompts while it runs: Pi, whose part a program of the test kit plays that
//! notes what it is told.

use std::fs;
use std::os::unix::fs::symlink;

use fleet_core::outcome::Outcome;
use fleet_testkit::{binary, wait_until};
use serde_json::Value;

use super::Stage;
use crate::drive::{LONG, journal, text};

/// A stage on which `pi` is the stand-in.
fn stage() -> Stage {
    let stage = Stage::empty();
    let pi = stage.env.root().join("bin/pi");
    fs::remove_file(&pi).expect("a link");
    symlink(binary("talker"), pi).expect("a link");
    stage
}

impl Stage {
    fn start(&self, branch: &str, prompt: &str) {
        let create = ["create", branch, "-a", "pi", "--headless", "-p", prompt];
        let _ = self.fleet(&create).output().success();
    }

    /// What the stand-in was told.
    fn told(&self) -> Vec<String> {
        let log = fs::read_to_string(self.runs_file()).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn wait_told(&self, wanted: &str) {
        wait_until(LONG, wanted, || {
            self.told().iter().any(|line| line == wanted).then_some(())
        });
    }

    /// Lets the turn end that holds.
    fn release(&self, branch: &str) {
        let worktree = text(&self.agent(branch)["worktree"]);
        fs::write(std::path::Path::new(&worktree).join("release"), "").expect("written");
    }

    #[track_caller]
    fn ends(&self, branch: &str, outcome: Outcome) {
        let _ = self.fleet(&["wait", branch, "--until", "exited"]).output();
        let agent = self.agent(branch);
        assert_eq!(agent["outcome"], outcome.to_string(), "{agent}");
        assert_eq!(agent["state"], "exited(0)", "{agent}");
    }

    /// The facts about prompts, in order: the fact and how it was known.
    fn prompts(&self, branch: &str) -> Vec<String> {
        let facts = journal(&self.env, &text(&self.agent(branch)["id"]));
        let prompts = facts.iter().filter_map(|entry| {
            let fact = entry["fact"].as_str()?.strip_prefix("prompt_")?;
            Some(
                format!("{fact} {}", entry["by"].as_str().unwrap_or_default())
                    .trim_end()
                    .to_owned(),
            )
        });
        prompts.collect()
    }
}

#[test]
fn prompts_to_a_working_run_wait_for_its_turns_and_it_ends_when_nothing_is_left() {
    let stage = stage();
    stage.start("one", "hold first");
    for prompt in ["-second \"quoted\" \u{2028} \\n", "third\nof two lines"] {
        let sent = stage.fleet(&["prompt", "one", "-m", prompt, "--json"]).output();
        assert_eq!(sent.success().json::<Value>()["sent"][0]["outcome"], "queued");
    }
    stage.wait_told("prompt hold first");
    assert_eq!(stage.told().len(), 2, "{:?}", stage.told());
    stage.release("one");
    stage.ends("one", Outcome::Success);
    let told = [
        "started",
        "prompt hold first",
        "prompt -second \"quoted\" \u{2028} \\n",
        "prompt third",
        "of two lines",
        "end",
    ];
    assert_eq!(stage.told(), told);
    let (queued, typed, delivered) = ("queued", "typed", "delivered program");
    let prompts = [typed, queued, queued, delivered, typed, delivered, typed, delivered];
    let mut facts = stage.prompts("one");
    // How soon it answered the first is not settled.
    facts[..4].sort();
    let mut wanted = prompts.map(str::to_owned).to_vec();
    wanted[..4].sort();
    assert_eq!(facts, wanted);
    let logs = stage.logs("one");
    for line in ["> hold first", "> third", "> of two lines", "released", "done"] {
        assert!(logs.contains(&line.to_owned()), "{line}: {logs:#?}");
    }

    let late = stage.fleet(&["prompt", "one", "more"]).output().fails(5);
    assert!(late.stderr.contains("fleet resume one --prompt TEXT"), "{late}");
    stage.end();
}

#[test]
fn a_prompt_of_a_megabyte_arrives_whole() {
    let stage = stage();
    stage.start("one", "hold first");
    let long = "x".repeat(1024 * 1024);
    let prompt = stage.env.root().join("prompt");
    fs::write(&prompt, &long).expect("written");
    let prompt = format!("@{}", prompt.display());
    let _ = stage.fleet(&["prompt", "one", &prompt]).output().success();
    stage.release("one");
    stage.ends("one", Outcome::Success);
    assert!(stage.told().contains(&format!("prompt {long}")));
    stage.end();
}

#[test]
fn a_sender_that_waits_hears_the_program_s_own_answer() {
    let stage = stage();
    stage.start("one", "hold first");
    let wait = |prompt: &'static str| {
        let args = ["prompt", "one", prompt, "--wait", "--json"];
        stage.fleet(&args).output()
    };
    let queued = |count: usize| {
        wait_until(LONG, "the prompt in the queue", || {
            let queued = stage.prompts("one").iter().filter(|fact| *fact == "queued").count();
            (queued == count).then_some(())
        });
    };
    std::thread::scope(|scope| {
        let taken = scope.spawn(|| wait("second"));
        queued(1);
        let refused = scope.spawn(|| wait("refuse it"));
        queued(2);
        stage.release("one");
        let taken: Value = taken.join().expect("a sender").success().json();
        assert_eq!(taken["sent"][0]["outcome"], "delivered", "{taken}");
        let refused: Value = refused.join().expect("a sender").fails(5).json();
        assert_eq!(refused["sent"][0]["outcome"], "refused", "{refused}");
        assert_eq!(refused["sent"][0]["why"], "No API key found for scripted.");
    });
    // The turns that were begun have ended well.
    stage.ends("one", Outcome::Success);
    assert_eq!(stage.prompts("one").last().map(String::as_str), Some("refused"));
    stage.end();
}

#[test]
fn a_first_prompt_that_is_refused_is_a_failure_with_its_reason() {
    let stage = stage();
    stage.start("one", "refuse it");
    stage.ends("one", Outcome::Login);
    assert_eq!(stage.agent("one")["why"], "No API key found for scripted.");
    assert_eq!(stage.prompts("one"), ["typed", "refused"]);
    assert_eq!(stage.told(), ["started", "prompt refuse it", "end"]);
    stage.end();
}

#[test]
fn an_interrupt_ends_the_turn_and_the_run_and_what_is_queued_is_for_the_next_one() {
    let stage = stage();
    stage.start("one", "hold first");
    wait_until(LONG, "the answer", || {
        stage
            .prompts("one")
            .contains(&"delivered program".to_owned())
            .then_some(())
    });
    let _ = stage.fleet(&["prompt", "one", "second"]).output().success();
    let interrupted = stage.fleet(&["prompt", "one", "--interrupt", "--json"]).output();
    let interrupted: Value = interrupted.success().json();
    assert_eq!(interrupted["sent"][0]["outcome"], "interrupted", "{interrupted}");
    stage.ends("one", Outcome::Interrupted);
    assert_eq!(stage.told(), ["started", "prompt hold first", "abort", "end"]);

    let _ = stage.fleet(&["resume", "one", "-p", "go on"]).output().success();
    stage.ends("one", Outcome::Success);
    let told = ["resumed", "prompt go on", "prompt second", "end"];
    assert_eq!(stage.told()[4..], told);
    stage.end();
}

#[test]
fn a_retry_is_waited_for_and_nobody_is_asked() {
    let stage = stage();
    stage.start("retries", "retry once");
    stage.ends("retries", Outcome::Success);
    let logs = stage.logs("retries");
    assert!(logs.contains(&"the second try".to_owned()), "{logs:#?}");
    stage.start("asks", "ask me");
    stage.ends("asks", Outcome::Success);
    assert!(stage.told().contains(&"answer true".to_owned()), "{:?}", stage.told());
    let logs = stage.logs("asks").join("\n");
    assert!(logs.contains("nobody can answer: Really?"), "{logs}");
    stage.end();
}

#[test]
fn a_prompt_without_an_answer_is_unverified_and_is_not_written_again() {
    let stage = stage();
    stage.start("one", "hold first");
    let _ = stage.fleet(&["prompt", "one", "mute please"]).output().success();
    let _ = stage.fleet(&["prompt", "one", "never"]).output().success();
    stage.release("one");
    wait_until(LONG, "the end of the wait", || {
        stage.prompts("one").contains(&"unverified".to_owned()).then_some(())
    });
    let _ = stage.fleet(&["prompt", "one", "--interrupt"]).output().success();
    let told = stage.told();
    assert_eq!(told, ["started", "prompt hold first", "prompt mute please"]);
    let explained = stage.fleet(&["explain", "one"]).output().success().stdout;
    assert!(explained.contains("the program has not answered"), "{explained}");
    assert!(explained.contains("1 prompt waiting"), "{explained}");
    stage.end();
}
