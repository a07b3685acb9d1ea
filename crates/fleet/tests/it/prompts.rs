//! Prompts arrive exactly once, or the exit code says otherwise. What arrived is decided by the agents' own
//! receive log.

mod interrupt;
mod soak;
pub(crate) mod stage;
mod unseen;

use fleet_core::agent::Standing;
use fleet_core::fact::Fact;
use fleet_testkit::{Pty, binary, wait_until};

use self::stage::{LONG, Stage, kill_hard, outcome, session, tmux};

/// Texts that something on the way might take for something else.
fn hard_texts() -> Vec<String> {
    let lines: Vec<String> = (1..=100).map(|n| format!("line {n} of one hundred")).collect();
    vec![
        "plain".to_owned(),
        "first\n\n  third, indented\nfourth".to_owned(),
        lines.join("\n"),
        "five kilobytes ".repeat(350).trim_end().to_owned(),
        r#"$(touch /tmp/x) `id` "double" 'single' \back\\slash; | & > < * ? [a] {b} ~ ! # %s $HOME"#.to_owned(),
        "-rf / --force".to_owned(),
        "--help".to_owned(),
        "/clear".to_owned(),
        "C-c".to_owned(),
        "Enter Escape Space M-x ^C \\e[A".to_owned(),
        "日本語のテキスト 한국어 中文".to_owned(),
        "👍 👩‍👩‍👧 🇩🇪 ñ é z̈ ✨".to_owned(),
        "x".to_owned(),
        "ends with prompt sign >".to_owned(),
        "@someone please".to_owned(),
    ]
}

/// `-m` reads `@FILE`; a text that begins with it is written with two.
fn argument(text: &str) -> String {
    match text.strip_prefix('@') {
        Some(rest) => format!("@@{rest}"),
        None => text.to_owned(),
    }
}

#[test]
fn every_text_arrives_as_it_was_written_inline_and_full_screen() {
    for args in [&[][..], &["--full-screen"]] {
        let stage = Stage::scripted(args);
        stage.create("a");
        let texts = hard_texts();
        for text in &texts {
            let sent = stage
                .fleet(&["prompt", "a", "--json", "--wait", "-m", &argument(text)])
                .output()
                .success();
            assert_eq!(outcome(&sent), "delivered", "{text:?}: {sent}");
        }
        assert_eq!(stage.received(), texts, "{args:?}");
        stage.end();
    }
}

#[test]
fn a_text_comes_from_an_argument_a_file_or_standard_input() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    let dashed = ["prompt", "a", "--wait", "--", "-x --version"];
    let _ = stage.fleet(&dashed).output().success();
    std::fs::write(stage.repo.join("text.md"), "from a file\nwith two lines\n").expect("written");
    let _ = stage.fleet(&["prompt", "a", "@text.md", "--wait"]).output().success();
    let piped = stage
        .fleet(&["prompt", "a", "-", "--wait"])
        .stdin("from standard input\n")
        .output();
    let _ = piped.success();
    stage.wait_received(&["-x --version", "from a file\nwith two lines", "from standard input"]);
    stage.end();
}

#[test]
fn an_empty_prompt_is_refused_with_a_hint_and_nothing_is_sent() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    for text in ["", " \n\t\n"] {
        let refused = stage.fleet(&["prompt", "a", "-m", text]).output().fails(2);
        assert!(
            refused.stderr.contains("empty") && refused.stderr.contains("hint"),
            "{refused}"
        );
    }
    let refused = stage.fleet(&["prompt", "a", "-m", "\x1b[201~rm"]).output().fails(2);
    assert!(refused.stderr.contains("control character"), "{refused}");
    assert!(stage.received().is_empty());
    stage.end();
}

#[test]
fn a_busy_agent_queues_and_takes_each_prompt_once_at_the_turns_end() {
    let stage = Stage::scripted(&["--turn-ms", "4000"]);
    stage.create("a");
    assert_eq!(outcome(&stage.prompt("a", "one").success()), "delivered");
    assert_eq!(outcome(&stage.prompt("a", "two").success()), "queued");
    assert_eq!(outcome(&stage.prompt("a", "three\nlines").success()), "queued");
    let late = stage
        .fleet(&["prompt", "a", "-m", "four", "--wait", "--timeout", "0.2"])
        .output()
        .fails(8);
    assert!(late.stderr.contains("queued"), "{late}");
    let waited = stage
        .fleet(&["prompt", "a", "--json", "-m", "five", "--wait=receipt"])
        .output()
        .success();
    assert_eq!(outcome(&waited), "delivered");
    stage.wait_received(&["one", "two", "three\nlines", "four", "five"]);
    let idle = stage
        .fleet(&["prompt", "a", "--json", "-m", "six", "--wait=idle"])
        .output()
        .success();
    assert_eq!(outcome(&idle), "delivered");
    assert_eq!(stage.explain("a")["agent"]["state"], "idle");
    stage.wait_received(&["one", "two", "three\nlines", "four", "five", "six"]);
    stage.end();
}

#[test]
fn a_wait_that_is_too_short_says_so_with_its_own_exit_code() {
    let stage = Stage::scripted(&["--turn-ms", "3000"]);
    stage.create("a");
    let late = stage
        .fleet(&["prompt", "a", "-m", "one", "--wait=idle", "--timeout", "1"])
        .output()
        .fails(8);
    assert!(late.stderr.contains("hint"), "{late}");
    stage.wait_received(&["one"]);
    stage.end();
}

#[test]
fn a_booting_agent_takes_its_prompts_when_it_is_up() {
    for args in [&["--boot-ms", "1500"][..], &["--boot-ms", "1500", "--full-screen"]] {
        let stage = Stage::scripted(args);
        let _ = stage.fleet(&["create", "a", "-p", "first"]).output().success();
        assert_eq!(outcome(&stage.prompt("a", "second").success()), "queued");
        let waited = stage
            .fleet(&["prompt", "a", "--json", "-m", "third", "--wait"])
            .output()
            .success();
        assert_eq!(outcome(&waited), "delivered");
        stage.wait_received(&["first", "second", "third"]);
        stage.end();
    }
}

#[test]
fn a_session_in_copy_mode_does_not_swallow_a_prompt() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    let target = session(&stage, "a").1 + ":";
    let _ = tmux(&stage, "a", &["copy-mode", "-t", &target]).success();
    let mode = tmux(
        &stage,
        "a",
        &["display-message", "-p", "-t", &target, "#{pane_in_mode}"],
    )
    .success();
    assert_eq!(mode.stdout.trim(), "1");
    assert_eq!(outcome(&stage.prompt("a", "copy\nmode").success()), "delivered");
    stage.wait_received(&["copy\nmode"]);
    stage.end();
}

#[test]
fn an_agent_that_has_ended_refuses_and_says_how_to_revive_it() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    stage.create("b");
    let _ = stage.prompt("a", "exit 3");
    stage.wait_state("a", "exited");
    let refused = stage.fleet(&["prompt", "a", "-m", "hello"]).output().fails(5);
    assert!(refused.stderr.contains("fleet resume a"), "{refused}");
    // The others of a list get theirs, and the exit code still says that one did not.
    let both = stage.fleet(&["prompt", "*", "-m", "all of you"]).output().fails(5);
    assert!(
        both.stdout.contains("delivered") && both.stdout.contains("refused"),
        "{both}"
    );
    kill_hard(stage.supervisor("b"));
    wait_until(LONG, "the loss of b", || {
        let seen = stage.explain("b");
        (seen["agent"]["state"] == "lost").then_some(())
    });
    let lost = stage.fleet(&["prompt", "b", "-m", "hello"]).output().fails(5);
    assert!(lost.stderr.contains("fleet resume b"), "{lost}");
    assert_eq!(stage.received(), ["exit 3", "all of you"]);
    stage.end();
}

#[test]
fn an_agent_just_resumed_takes_a_prompt_once() {
    let stage = Stage::scripted(&["--boot-ms", "400"]);
    stage.create("a");
    for round in 1..=3 {
        kill_hard(if round == 2 {
            stage.program("a")
        } else {
            stage.supervisor("a")
        });
        wait_until(LONG, "its end", || {
            let state = stage.explain("a")["agent"]["state"].as_str().map(str::to_owned);
            state.filter(|state| state == "lost" || state.starts_with("exited"))
        });
        wait_until(LONG, "its revival", || {
            stage.fleet(&["resume", "a"]).output().status.success().then_some(())
        });
        let text = format!("round {round}");
        let sent = stage
            .fleet(&["prompt", "a", "--json", "--wait", "-m", &text])
            .output()
            .success();
        assert_eq!(outcome(&sent), "delivered");
    }
    stage.wait_received(&["round 1", "round 2", "round 3"]);
    stage.end();
}

#[test]
fn queued_prompts_outlive_a_killed_supervisor_and_arrive_once() {
    let stage = Stage::scripted(&["--turn-ms", "2000"]);
    stage.create("a");
    let _ = stage.prompt("a", "one").success();
    for text in ["two", "three\nlines", "four"] {
        assert_eq!(outcome(&stage.prompt("a", text).success()), "queued");
    }
    kill_hard(stage.supervisor("a"));
    wait_until(LONG, "the loss", || {
        (stage.explain("a")["agent"]["state"] == "lost").then_some(())
    });
    assert_eq!(stage.received(), ["one"]);
    let _ = stage.fleet(&["resume", "a"]).output().success();
    stage.wait_received(&["one", "two", "three\nlines", "four"]);
    stage.wait_state("a", "idle");
    assert_eq!(stage.explain("a")["queued"], 0);
    assert_eq!(stage.received().len(), 4);
    stage.end();
}

#[test]
fn a_queued_prompt_that_was_typed_and_not_entered_is_delivered_after_resume() {
    // Without an echo Enter is pressed late, so that there is time for a kill before it.
    let stage = Stage::scripted(&["--turn-ms", "300", "--no-echo"]);
    stage.create("a");
    let folder = stage.folder("a");
    let facts = || fleet_host::supervise::journal::read(&folder).expect("a journal");
    let caught = (1..=10).find(|round| {
        let (first, second) = (format!("first {round}"), format!("second {round}"));
        // The first is on its way for as long as nothing is seen of it; the second waits meanwhile.
        let running = stage.fleet(&["prompt", "a", "-m", &first]).spawn();
        wait_until(LONG, "the first", || stage.received().contains(&first).then_some(()));
        let queued = stage.prompt("a", &second).success();
        let _ = running.wait(LONG).fails(9);
        let id = queued.json::<serde_json::Value>()["sent"][0]["prompt"]
            .as_str()
            .expect("an id")
            .to_owned();
        wait_until(LONG, "the prompt to be typed", || {
            facts()
                .iter()
                .any(|entry| entry.fact == Fact::PromptTyped { id: id.clone() })
                .then_some(())
        });
        kill_hard(stage.supervisor("a"));
        wait_until(LONG, "the loss", || {
            (stage.explain("a")["agent"]["state"] == "lost").then_some(())
        });
        let caught = Standing::fold(&facts()).waits(&id);
        let _ = stage.fleet(&["resume", "a"]).output().success();
        caught
    });
    let round = caught.expect("a kill before Enter in ten rounds");
    let second = format!("second {round}");
    wait_until(LONG, "its delivery", || {
        stage.received().contains(&second).then_some(())
    });
    stage.wait_state("a", "idle");
    assert_eq!(stage.received().iter().filter(|text| **text == second).count(), 1);
    stage.end();
}

#[test]
fn prompts_sent_at_once_never_mix() {
    let stage = Stage::scripted(&["--turn-ms", "0..20"]);
    stage.create("a");
    let mut texts: Vec<String> = (1..=10)
        .map(|n| {
            (1..=n)
                .map(|line| format!("prompt {n} line {line}"))
                .collect::<Vec<_>>()
                .join("\n")
        })
        .collect();
    let running: Vec<_> = texts
        .iter()
        .map(|text| stage.fleet(&["prompt", "a", "--json", "--wait", "-m", text]).spawn())
        .collect();
    for each in running {
        assert_eq!(outcome(&each.wait(LONG).success()), "delivered");
    }
    let mut received = stage.received();
    received.sort();
    texts.sort();
    assert_eq!(received, texts);
    stage.end();
}

#[test]
fn a_person_who_types_meanwhile_is_neither_disturbed_nor_disturbs() {
    let stage = Stage::scripted(&["--turn-ms", "0..30"]);
    stage.create("a");
    let fleet = binary("fleet");
    let argv = [fleet.to_str().expect("a path"), "attach", "--direct", "a"];
    let mut view = Pty::spawn(&stage.env, &stage.repo, &argv, 30, 100);
    view.wait_for_text(">", LONG);
    let mut wanted = Vec::new();
    for round in 1..=12 {
        let sent = format!("sent {round}\nin two lines");
        let typed = format!("typed {round} by a person");
        let running = stage.fleet(&["prompt", "a", "--json", "--wait", "-m", &sent]).spawn();
        for key in typed.chars() {
            view.send(key.to_string());
        }
        view.wait_for_text(&format!("> {typed}"), LONG);
        view.send("\r");
        view.wait_for_text(&format!("done: {typed}"), LONG);
        assert_eq!(outcome(&running.wait(LONG).success()), "delivered");
        wanted.extend([sent, typed]);
    }
    let mut received = stage.received();
    received.sort();
    wanted.sort();
    assert_eq!(received, wanted);
    stage.end();
}

#[test]
fn a_persons_draft_is_not_mixed_with_a_prompt() {
    let stage = Stage::scripted(&[]);
    stage.create("a");
    let fleet = binary("fleet");
    let argv = [fleet.to_str().expect("a path"), "attach", "--direct", "a"];
    let mut view = Pty::spawn(&stage.env, &stage.repo, &argv, 30, 100);
    view.wait_for_text(">", LONG);
    view.send("an unfinished");
    view.wait_for_text("> an unfinished", LONG);
    assert_eq!(outcome(&stage.prompt("a", "from the command line").success()), "queued");
    view.send(" thought");
    view.wait_for_text("> an unfinished thought", LONG);
    assert!(stage.received().is_empty());
    view.send("\r");
    stage.wait_received(&["an unfinished thought", "from the command line"]);
    stage.end();
}

#[test]
fn an_agent_without_a_terminal_refuses_a_later_prompt() {
    let stage = Stage::headless(&["--turn-ms", "60000"]);
    let _ = stage.fleet(&["create", "a", "-p", "the only one"]).output().success();
    stage.wait_received(&["the only one"]);
    let refused = stage.fleet(&["prompt", "a", "-m", "another"]).output().fails(5);
    assert!(
        refused.stderr.contains("without a terminal") && refused.stderr.contains("fleet create"),
        "{refused}"
    );
    assert_eq!(stage.received().len(), 1);
    stage.end();
}

#[test]
fn without_bracketed_paste_one_line_is_delivered_and_several_are_refused() {
    let stage = Stage::scripted(&["--no-bracketed"]);
    stage.create("a");
    assert_eq!(
        outcome(&stage.prompt("a", "one line; with $signs").success()),
        "delivered"
    );
    let refused = stage.prompt("a", "two\nlines").fails(5);
    assert_eq!(outcome(&refused), "refused");
    let shown = stage.fleet(&["prompt", "a", "-m", "two\nlines"]).output().fails(5);
    assert!(
        (shown.stdout + &shown.stderr).contains("file"),
        "the refusal says what to do instead"
    );
    let _ = stage
        .fleet(&["wait", "a", "--until", "idle", "--timeout", "60"])
        .output()
        .success();
    assert_eq!(outcome(&stage.prompt("a", "another").success()), "delivered");
    stage.wait_received(&["one line; with $signs", "another"]);
    stage.end();
}

#[test]
fn a_program_that_reads_lines_takes_lines_that_the_kernel_can_hold() {
    let stage = Stage::scripted(&["--cooked"]);
    stage.create("a");
    assert_eq!(outcome(&stage.prompt("a", "one line").success()), "delivered");
    assert_eq!(outcome(&stage.prompt("a", "two\nlines").fails(5)), "refused");
    assert_eq!(outcome(&stage.prompt("a", &"long ".repeat(1000)).fails(5)), "refused");
    let long = "x".repeat(3000);
    let _ = stage
        .fleet(&["wait", "a", "--until", "idle", "--timeout", "60"])
        .output()
        .success();
    assert_eq!(outcome(&stage.prompt("a", &long).success()), "delivered");
    stage.wait_received(&["one line", &long]);
    stage.end();
}

#[test]
fn without_a_receipt_the_outcome_is_unverified_and_the_text_was_sent_once() {
    let stage = Stage::scripted(&["--no-echo"]);
    stage.create("a");
    let blind = stage.fleet(&["prompt", "a", "-m", "secret"]).output().fails(9);
    assert!(blind.stdout.contains("unverified"), "{blind}");
    assert!(
        (blind.stdout + &blind.stderr).contains("fleet logs a"),
        "it says where to look"
    );
    stage.wait_received(&["secret"]);
    stage.end();
}

#[test]
fn without_a_ready_rule_the_state_stays_working_and_the_receipt_decides() {
    let stage = Stage::without_rule(&["--boot-ms", "600"]);
    stage.create_now("a");
    let sent = stage
        .fleet(&["prompt", "a", "--json", "--wait", "-m", "while it boots"])
        .output()
        .success();
    assert_eq!(outcome(&sent), "delivered");
    assert_eq!(outcome(&stage.prompt("a", "two\nlines").success()), "delivered");
    assert_eq!(stage.explain("a")["agent"]["state"], "working");
    let never = stage
        .fleet(&["prompt", "a", "-m", "x", "--wait=idle"])
        .output()
        .fails(2);
    assert!(never.stderr.contains("ready"), "{never}");
    stage.wait_received(&["while it boots", "two\nlines"]);
    stage.end();

    let blind = Stage::without_rule(&["--no-echo"]);
    blind.create_now("a");
    let sent = blind
        .fleet(&["prompt", "a", "--json", "--wait", "-m", "unseen"])
        .output()
        .fails(9);
    assert_eq!(outcome(&sent), "unverified");
    assert_eq!(blind.explain("a")["agent"]["state"], "working");
    blind.wait_received(&["unseen"]);
    blind.end();
}

#[test]
fn without_a_ready_rule_queued_prompts_wait_for_a_resumed_program_to_come_up() {
    let stage = Stage::without_rule(&["--boot-ms", "600"]);
    let _ = stage.fleet(&["create", "a", "-p", "first"]).output().success();
    kill_hard(stage.supervisor("a"));
    wait_until(LONG, "the loss", || {
        (stage.explain("a")["agent"]["state"] == "lost").then_some(())
    });
    let _ = stage.fleet(&["resume", "a"]).output().success();
    let sent = stage
        .fleet(&["prompt", "a", "--json", "--wait", "-m", "second"])
        .output()
        .success();
    assert_eq!(outcome(&sent), "delivered");
    stage.wait_received(&["first", "second"]);
    stage.end();
}

#[test]
fn a_shell_takes_prompts_too() {
    let stage = Stage::with_harness(&["/bin/bash", "--norc", "--noprofile"], Some(r"bash-[0-9.]+[$#] ?$"));
    stage.create("a");
    assert_eq!(
        outcome(&stage.prompt("a", "echo $((6*7)) > answer").success()),
        "delivered"
    );
    let worktree = stage.explain("a")["agent"]["worktree"]
        .as_str()
        .expect("a path")
        .to_owned();
    let answer = wait_until(LONG, "the answer", || {
        std::fs::read_to_string(format!("{worktree}/answer"))
            .ok()
            .filter(|text| !text.is_empty())
    });
    assert_eq!(answer, "42\n");
    stage.end();
}
