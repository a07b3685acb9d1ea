use std::fs;
use std::path::Path;
use std::time::Duration;

use fleet_testkit::scan::Process;
use fleet_testkit::{Pty, Received, TestEnv, binary, read_received, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getsid};

const SOON: Duration = Duration::from_secs(10);

fn on_terminal(env: &TestEnv, flags: &[&str], rows: u16, cols: u16) -> Pty {
    let program = binary("scripted-agent");
    let log = env.receive_log();
    let mut argv = vec![utf8(&program), "--receive-log", utf8(&log)];
    argv.extend(flags);
    Pty::spawn(env, env.root(), &argv, rows, cols)
}

/// Started and waiting for its first prompt.
fn ready(env: &TestEnv, flags: &[&str]) -> Pty {
    let pty = on_terminal(env, flags, 24, 80);
    wait_for_prompt(&pty);
    pty
}

/// The empty draft: what `ready = "^> ?$"` matches.
fn wait_for_prompt(pty: &Pty) {
    pty.wait_for("an empty draft", SOON, |terminal| {
        let line = terminal.cursor_line();
        (line.trim_end() == ">").then_some(())
    });
}

fn submit(pty: &mut Pty, text: &str) {
    pty.paste(text);
    pty.send("\r");
}

fn texts(log: &[Received]) -> Vec<&str> {
    log.iter().map(|received| received.text.as_str()).collect()
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path of the test kit is text")
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).expect("a pid fits"))
}

#[test]
fn a_pasted_prompt_is_logged_once_and_before_it_leaves_the_draft() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &["--turn-ms", "600000"]);
    assert!(pty.with_terminal(|terminal| terminal.modes().bracketed_paste));
    pty.paste("first line\nsecond line\r\nthird");
    pty.wait_for_text("  third", SOON);
    let screen = pty.screen();
    assert_eq!(screen[..3], ["> first line", "  second line", "  third"]);
    assert!(env.received().is_empty());
    pty.send("\r");
    pty.wait_for("the text to leave the draft", SOON, |terminal| {
        (!terminal.text().iter().any(|line| line.contains("third"))).then_some(())
    });
    let log = env.received();
    assert_eq!(texts(&log), ["first line\nsecond line\nthird"]);
    assert_eq!((log[0].n, log[0].pid), (1, pty.pid()));
    pty.wait_for_text("working…", SOON);
}

#[test]
fn a_turn_ends_with_a_reply_and_an_empty_draft() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &[]);
    for n in 1..=3 {
        submit(&mut pty, &format!("wish {n}"));
        pty.wait_for_text(&format!("done: wish {n}"), SOON);
        wait_for_prompt(&pty);
    }
    assert_eq!(texts(&env.received()), ["wish 1", "wish 2", "wish 3"]);
    assert!(!pty.screen().iter().any(|line| line.contains("working")));
}

#[test]
fn keys_typed_during_a_turn_become_the_next_draft() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &[]);
    submit(&mut pty, "sleep 200");
    pty.wait_for_text("working…", SOON);
    pty.send("and then");
    pty.wait_for_text("> and then", SOON);
    assert_eq!(env.received().len(), 1);
    pty.send(" this\r");
    pty.wait_for_text("done: and then this", SOON);
    assert_eq!(texts(&env.received()), ["sleep 200", "and then this"]);
}

#[test]
fn keys_typed_during_a_turn_are_lost_when_told_so() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &["--busy", "drop"]);
    submit(&mut pty, "sleep 600000");
    pty.wait_for_text("working…", SOON);
    pty.send("lost\x1b");
    pty.wait_for_text("interrupted", SOON);
    wait_for_prompt(&pty);
    submit(&mut pty, "kept");
    pty.wait_for_text("done: kept", SOON);
    assert_eq!(texts(&env.received()), ["sleep 600000", "kept"]);
}

#[test]
fn escape_interrupts_a_turn_and_the_program_that_it_runs() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &[]);
    submit(&mut pty, "print now\nrun sleep 600\nprint never");
    pty.wait_for("the first directive", SOON, |terminal| {
        terminal.text().contains(&"now".to_owned()).then_some(())
    });
    pty.send("\x1b");
    pty.wait_for_text("interrupted", SOON);
    wait_for_prompt(&pty);
    assert!(!pty.screen().iter().any(|line| line.contains("never")));
}

#[test]
fn an_escape_sent_together_with_the_prompt_interrupts_it_too() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &["--turn-ms", "600000"]);
    pty.send("\x1b[200~wish\x1b[201~\r\x1b\x1b[Inext");
    pty.wait_for_text("interrupted", SOON);
    pty.wait_for_text("> next", SOON);
    assert_eq!(texts(&env.received()), ["wish"]);
}

#[test]
fn the_draft_can_be_edited_cleared_and_left() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &[]);
    pty.send("abx\x7fc\ndef\x1b[A\x1b[I\x1b[<0;3;4M");
    pty.wait_for_text("  def", SOON);
    assert_eq!(pty.screen()[..2], ["> abc", "  def"]);
    pty.send("\x03");
    wait_for_prompt(&pty);
    assert!(!pty.screen().iter().any(|line| line.contains("abc")));
    pty.send("\x03");
    assert_eq!(pty.wait_exit(SOON), 130);
    assert!(env.received().is_empty());
    let mut pty = ready(&env, &[]);
    pty.send("\x04");
    assert_eq!(pty.wait_exit(SOON), 0);
}

#[test]
fn a_long_draft_is_wrapped_and_vanishes_whole() {
    let env = TestEnv::new();
    let mut pty = on_terminal(&env, &["--turn-ms", "600000"], 10, 20);
    wait_for_prompt(&pty);
    let text = "x".repeat(100);
    pty.paste(&text);
    pty.wait_for("100 letters", SOON, |terminal| {
        (terminal.text().concat().matches('x').count() == 100).then_some(())
    });
    assert_eq!(pty.screen()[0], format!("> {}", "x".repeat(17)));
    pty.send("\r");
    pty.wait_for_text("working…", SOON);
    assert_eq!(pty.screen().concat().trim(), "working…");
    assert_eq!(texts(&env.received()), [text]);
}

#[test]
fn a_megabyte_arrives_whole() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &[]);
    let text = "0123456789abcdef".repeat(1 << 16);
    submit(&mut pty, &text);
    pty.wait_for_text("done: 0123", SOON);
    assert!(texts(&env.received()) == [text], "not what was sent");
}

#[test]
fn a_draft_that_is_not_echoed_is_logged_all_the_same() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &["--no-echo", "--no-bracketed", "--die-after", "1"]);
    assert!(!pty.with_terminal(|terminal| terminal.modes().bracketed_paste));
    pty.send("secret\r");
    assert_eq!(pty.wait_exit(SOON), 1);
    assert_eq!(texts(&env.received()), ["secret"]);
    assert!(!String::from_utf8(pty.raw_output()).unwrap().contains("> s"));
}

#[test]
fn the_full_screen_layout_follows_size_mouse_and_keys() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &["--full-screen"]);
    assert!(pty.with_terminal(|terminal| terminal.modes().alt_screen));
    pty.wait_for_text("scripted-agent 80x24", SOON);
    assert_eq!(pty.with_terminal(|terminal| terminal.cursor().0), 23);
    submit(&mut pty, "hello");
    pty.wait_for_text("done: hello", SOON);
    pty.resize(12, 40);
    pty.wait_for_text("scripted-agent 40x12", SOON);
    pty.wait_for("the whole layout", SOON, |terminal| {
        let text = terminal.text();
        let whole = text.len() == 12 && text[2] == "done: hello" && text[10] == "─".repeat(40);
        (whole && text[11].trim_end() == ">").then_some(())
    });
    pty.resize(24, 100);
    pty.send("\x1b[<0;10;5M\x1b[B");
    pty.wait_for_text("100x24 | key down | mouse press 0 at 10,5", SOON);
    pty.send("\x04");
    assert_eq!(pty.wait_exit(SOON), 0);
    let modes = pty.with_terminal(fleet_term::Terminal::modes);
    assert!(!modes.alt_screen && !modes.bracketed_paste && !modes.focus_events);
}

#[test]
fn spawned_helpers_are_detached_and_carry_the_environment() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &[]);
    submit(&mut pty, "spawn setsid 600000\nspawn nohup 600000\nspawn double 600000");
    pty.wait_for_text("done: spawn", SOON);
    let helpers: Vec<u32> = pty
        .screen()
        .iter()
        .filter_map(|line| line.strip_prefix("spawned "))
        .map(|text| text.trim().parse().unwrap())
        .collect();
    let sessions: Vec<bool> = helpers
        .iter()
        .map(|helper| getsid(Some(pid(*helper))).unwrap() == pid(*helper))
        .collect();
    assert_eq!(sessions, [true, false, true]);
    pty.kill();
    for helper in &helpers {
        let process = Process::read(*helper).expect("the helper outlives the agent");
        assert!(process.has_env("FLEET_HOME", env.fleet_home()), "{process}");
    }
    env.end_processes();
    assert!(helpers.iter().all(|helper| Process::read(*helper).is_none()));
}

#[test]
fn a_turn_changes_and_commits_files() {
    let env = TestEnv::new();
    let repo = env.repo("repo", 3);
    let script = env.root().join("script");
    fs::write(
        &script,
        "write new/a.txt one two\nappend new/a.txt three\ncommit add a\n",
    )
    .unwrap();
    let program = binary("scripted-agent");
    let done = env
        .program(
            &program,
            ["--stdin", "--fix", r"dir0/file0.txt=right\n", "--script", utf8(&script)],
        )
        .cwd(&repo)
        .stdin("fix the failing test\nrun echo hi\nstage dir0/file0.txt\n")
        .output()
        .success();
    assert!(
        done.stdout.contains("committed: add a\n") && done.stdout.contains("hi\n"),
        "{done}"
    );
    assert!(done.stdout.ends_with("done: fix the failing test\n"), "{done}");
    assert_eq!(fs::read_to_string(repo.join("new/a.txt")).unwrap(), "one two\nthree\n");
    let log = env.git(&repo, ["log", "-1", "--format=%an %s"]).success();
    assert_eq!(log.stdout, "Scripted Agent add a\n");
    let status = env.git(&repo, ["status", "--porcelain"]).success();
    assert_eq!(status.stdout, "M  dir0/file0.txt\n");
}

#[test]
fn prompts_by_standard_input_and_by_argument_are_logged_whole() {
    let env = TestEnv::new();
    let program = binary("scripted-agent");
    let log = env.receive_log();
    let run = |args: &[&str]| env.program(&program, args).env("SCRIPTED_RECEIVE_LOG", &log);
    let done = run(&["--stdin"]).stdin("hello\nworld\n").output().success();
    assert_eq!(done.stdout, "done: hello\n");
    let _ = run(&["--prompt-arg", "exit 7"]).output().fails(7);
    assert_eq!(texts(&env.received()), ["hello\nworld", "exit 7"]);
    let pty = on_terminal(&env, &["--prompt-arg", "from the", "arguments"], 24, 80);
    pty.wait_for_text("done: from the arguments", SOON);
    wait_for_prompt(&pty);
    assert_eq!(env.received()[2].text, "from the arguments");
}

#[test]
fn line_mode_logs_each_line() {
    let env = TestEnv::new();
    let mut pty = on_terminal(&env, &["--cooked"], 24, 80);
    wait_for_prompt(&pty);
    pty.send("one\ntwo\n");
    pty.wait_for_text("done: two", SOON);
    assert_eq!(texts(&env.received()), ["one", "two"]);
    pty.send("\x04");
    assert_eq!(pty.wait_exit(SOON), 0);
}

#[test]
fn it_crashes_exits_and_prints_as_told() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &[]);
    submit(&mut pty, "title work\nspam 100\nprint the end");
    pty.wait_for_text("done: title work", SOON);
    assert_eq!(
        pty.with_terminal(|terminal| terminal.title().map(str::to_owned))
            .as_deref(),
        Some("work")
    );
    assert!(pty.screen().contains(&"spam 100".to_owned()));
    wait_for_prompt(&pty);
    submit(&mut pty, "alt on");
    pty.wait_for("the alternate screen", SOON, |terminal| {
        terminal.modes().alt_screen.then_some(())
    });
    wait_for_prompt(&pty);
    submit(&mut pty, "alt off\ncrash");
    assert_eq!(pty.wait_exit(SOON), 128 + 9);
}

#[test]
fn what_ignores_signals_also_survives_the_loss_of_its_terminal() {
    let env = TestEnv::new();
    let mut pty = ready(&env, &["--ignore-term"]);
    let agent = pid(pty.pid());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        kill(agent, signal).unwrap();
    }
    submit(&mut pty, "still here");
    pty.wait_for_text("done: still here", SOON);
    pty.hang_up();
    let descriptors = format!("/proc/{agent}/fd");
    wait_until(SOON, "the agent to let go of its keyboard", || {
        let links = fs::read_dir(&descriptors)
            .ok()?
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        (!links
            .into_iter()
            .any(|link| link.to_string_lossy().contains("signalfd")))
        .then_some(())
    });
    assert!(Process::read(pty.pid()).is_some());
    kill(agent, Signal::SIGKILL).unwrap();
}

#[test]
fn the_environment_report_has_names_and_only_fleets_values() {
    let env = TestEnv::new();
    let report = env.root().join("report.json");
    let program = binary("scripted-agent");
    let _ = env
        .program(&program, ["--stdin", "--env-report", utf8(&report)])
        .env("TOKEN", "hidden")
        .env("FLEET_AGENT", "a1")
        .output()
        .success();
    let text = fs::read_to_string(&report).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["fleet"]["FLEET_AGENT"], "a1");
    assert!(json["names"].as_array().unwrap().contains(&"TOKEN".into()));
    assert!(!text.contains("hidden"));
}

#[test]
fn the_version_is_one_line_and_bad_flags_are_refused() {
    let env = TestEnv::new();
    let program = binary("scripted-agent");
    assert_eq!(
        env.program(&program, ["--version"]).output().success().stdout,
        "scripted-agent 0.1.0\n"
    );
    let refused = env.program(&program, ["--frob"]).output().fails(2);
    assert_eq!(refused.stderr, "error: unknown flag `--frob`\n");
    assert!(read_received(Path::new("/nonexistent")).is_empty());
}
