//! `logs`: the same output as text, while an agent runs and after it.

use fleet_testkit::wait_until;
use serde_json::Value;

use super::{SHELL, SHELL_READY, Way, open};
use crate::prompts::stage::{LONG, Stage};

#[test]
fn logs_of_a_full_screen_program_are_never_blank() {
    let stage = Stage::scripted(&["--full-screen"]);
    stage.create("a");
    let _ = stage
        .fleet(&["prompt", "a", "-m", "print shown-here", "--wait=idle"])
        .output()
        .success();
    let shows = |when: &str| {
        let logs = stage.fleet(&["logs", "a"]).output().success();
        assert!(logs.stdout.contains("shown-here"), "{when}: {logs}");
    };
    shows("while it runs");
    let _ = stage.prompt("a", "exit 0");
    stage.wait_state("a", "exited");
    shows("after its end");
    let _ = stage.fleet(&["kill", "a"]).output().success();
    shows("after its kill");
    let json: Value = stage.fleet(&["logs", "a", "--json"]).output().success().json();
    assert!(
        json["lines"].as_array().is_some_and(|lines| !lines.is_empty()),
        "{json}"
    );
}

#[test]
fn a_screen_that_was_cleared_does_not_blank_the_log() {
    let stage = Stage::with_harness(&SHELL, Some(SHELL_READY));
    stage.create("a");
    let text = r"printf '\e[?1049h\e[Hshown-%d\e[2J' 42; sleep 1000";
    let _ = stage.prompt("a", text);
    let logs = wait_until(LONG, "the cleared screen", || {
        let raw = stage.fleet(&["logs", "a", "--raw"]).output().success().stdout;
        raw.contains("\x1b[?1049h\x1b[Hshown-42\x1b[2J")
            .then(|| stage.fleet(&["logs", "a"]).output().success())
    });
    assert!(logs.stdout.contains("shown-42"), "{logs}");
    stage.end();
}

#[test]
fn logs_can_be_limited_to_the_last_lines() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    let _ = stage
        .fleet(&["prompt", "a", "-m", "spam 300", "--wait=idle"])
        .output()
        .success();
    let logs = stage.fleet(&["logs", "a", "-n", "200"]).output().success();
    assert_eq!(logs.stdout.lines().count(), 200, "{logs}");
    assert!(
        logs.stdout.contains("spam 300\n") && !logs.stdout.contains("spam 1\n"),
        "{logs}"
    );
    stage.end();
}

#[test]
fn logs_that_follow_print_each_line_once_and_end_with_the_agent() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    let _ = stage
        .fleet(&["prompt", "a", "-m", "print before", "--wait=idle"])
        .output()
        .success();
    let lines = stage.fleet(&["logs", "a", "-f", "-n", "5000"]).spawn();
    let json = stage.fleet(&["logs", "a", "-f", "-n", "5000", "--json"]).spawn();
    for round in 1..=3 {
        let text = format!("print round-{round}\nspam 500");
        let _ = stage
            .fleet(&["prompt", "a", "-m", &text, "--wait=idle"])
            .output()
            .success();
    }
    let _ = stage.fleet(&["kill", "a"]).output().success();
    let lines = lines.wait(LONG).success();
    let spam: Vec<&str> = lines
        .stdout
        .lines()
        .filter(|line| line.starts_with("spam ") || line.starts_with("round-"))
        .collect();
    let round = |round: usize| std::iter::once(format!("round-{round}")).chain((1..=500).map(|n| format!("spam {n}")));
    let wanted: Vec<String> = (1..=3).flat_map(round).collect();
    assert_eq!(spam, wanted);
    assert_eq!(
        lines.stdout.lines().filter(|line| *line == "before").count(),
        1,
        "{lines}"
    );
    let json: Vec<Value> = json.wait(LONG).success().json_lines();
    let last = json.iter().filter(|line| line["line"] == "spam 500").count();
    assert_eq!(last, 3);
    assert!(json.iter().all(|line| line["branch"] == "a"));
}

#[test]
fn raw_logs_are_the_programs_bytes_and_following_loses_none() {
    let stage = Stage::with_harness(&SHELL, Some(SHELL_READY));
    stage.create("a");
    let follower = stage.fleet(&["logs", "a", "--raw", "-f"]).spawn();
    let mut view = open(&stage, Way::Direct, "a", 24, 80);
    view.wait_for_text("$", LONG);
    view.send("n=196; printf \"\\e[38;5;${n}mred\\e[0m\\n\"; seq 800000; echo end-$((40+2))\r");
    view.wait_for_text("end-42", LONG);
    let now = stage.fleet(&["logs", "a", "--raw"]).output().success();
    // Longer than one segment of what is kept: where the next one begins must not show.
    let numbers: String = (1..=800_000).map(|n| format!("{n}\r\n")).collect();
    let wanted = format!("\x1b[38;5;196mred\x1b[0m\r\n{numbers}end-42\r\n");
    assert!(now.stdout.contains(&wanted), "the bytes as they came");
    view.send("echo more-$((40+3))\r");
    view.wait_for_text("more-43", LONG);
    drop(view);
    let _ = stage.fleet(&["kill", "a", "--force"]).output().success();
    let followed = follower.wait(LONG).success();
    let all = stage.fleet(&["logs", "a", "--raw"]).output().success();
    assert!(
        followed.stdout == all.stdout,
        "{} and {} bytes",
        followed.stdout.len(),
        all.stdout.len()
    );
}
