//! What is printed where: for programs, through pipes, without colour, without questions.

use std::fs;
use std::process::Stdio;

use fleet_testkit::{Pty, raw_command};
use serde_json::Value;

use super::*;

/// A call of every verb in a world with the live agent `one`, and its exit code.
fn every_verb() -> Vec<(Vec<&'static str>, i32)> {
    let calls = [
        ("list", 0),
        ("list --all --grouped --disk", 0),
        ("list --repo", 0),
        ("list --repair", 0),
        ("create two", 0),
        ("create two", 4),
        ("fanout 2 pair", 0),
        ("fanout 0", 2),
        ("multi m-1:print m-2:print", 0),
        ("multi", 2),
        ("prompt one hello --wait", 0),
        ("prompt none hello", 3),
        ("logs one", 0),
        ("logs none", 3),
        ("diff one", 0),
        ("diff none", 3),
        ("path one", 0),
        ("path none", 3),
        ("wait one --until idle --timeout 30", 0),
        ("wait one --until exited --timeout 0.05", 8),
        ("wait none --until idle", 3),
        ("explain one", 0),
        ("explain none", 3),
        ("restart one", 0),
        ("restart none", 3),
        ("resume --all", 0),
        ("resume one", 4),
        ("kill two --dry-run", 0),
        ("kill two", 0),
        ("kill two", 3),
        ("salvage list", 0),
        ("salvage show none", 3),
        ("salvage restore none", 3),
        ("salvage prune", 0),
        ("salvage prune none", 3),
        ("clean", 0),
        ("config show", 0),
        ("config show --origin", 0),
        ("config validate", 0),
        ("config path", 0),
        ("doctor", 0),
        ("attach one --print", 0),
        ("attach none --print", 3),
        ("attach one", 2),
        ("completions bash", 0),
        ("config edit", 0),
        ("logs one --raw", 2),
        // What the parser itself refuses.
        ("create", 2),
        ("kill", 2),
        ("list --nonsense", 2),
        ("no-such-verb", 2),
        ("salvage", 2),
        ("fanout many", 2),
    ];
    calls
        .into_iter()
        .map(|(line, code)| (line.split(' ').collect(), code))
        .collect()
}

#[test]
fn with_json_every_verb_prints_one_document_and_errors_are_documents_too() {
    let (env, repo) = scene("");
    let _ = fleet(&env, &repo, &["create", "one", "--wait", "ready", "--timeout", "30"])
        .output()
        .success();
    for (args, code) in every_verb() {
        let done = fleet(&env, &repo, &args)
            .arg("--json")
            .env("EDITOR", "true")
            .output()
            .fails(code);
        let told: Value = done.json();
        assert!(told.is_object(), "{done}");
        if done.stderr.contains("error: ") {
            let error: fleet_core::Error = serde_json::from_value(told["error"].clone()).expect("an error of ours");
            assert_eq!(i32::from(error.kind.exit_code()), code, "{done}");
            assert!(!error.message.is_empty() && error.hint.is_some(), "{done}");
        }
        assert!(
            !done.stderr.contains("panicked") && !done.stdout.contains('\u{1b}'),
            "{done}"
        );
    }
    // Where it streams, each line is a document.
    let _ = fleet(&env, &repo, &["prompt", "one", "spam 5", "--wait=idle"])
        .output()
        .success();
    // Whether its receipt is seen before the program has ended is chance.
    let _ = fleet(&env, &repo, &["prompt", "one", "exit 0"]).output();
    let _ = fleet(&env, &repo, &["wait", "one", "--until", "exited", "--timeout", "30"])
        .output()
        .success();
    let lines: Vec<Value> = fleet(&env, &repo, &["logs", "one", "-f", "--json"])
        .output()
        .success()
        .json_lines();
    assert!(
        lines.len() >= 5
            && lines
                .iter()
                .all(|line| line["branch"] == "one" && line["line"].is_string()),
        "{lines:?}"
    );
    let mut watch = fleet(&env, &repo, &["list", "--watch", "--json"]).spawn();
    assert!(watch.is_running());
    wait_until(PATIENCE, "two listings", || {
        env.fleet_home().join("usage.json").exists().then_some(())
    });
    watch.signal(nix::sys::signal::Signal::SIGINT);
    let watched = watch.wait(PATIENCE);
    let listings: Vec<Value> = watched.json_lines();
    assert!(listings.iter().all(|listing| listing["agents"].is_array()), "{watched}");
    kill_all(&env);
}

#[test]
fn what_is_piped_has_no_escape_sequences_and_asks_nothing() {
    let (env, repo) = scene("");
    let _ = fleet(&env, &repo, &["create", "one", "--wait", "ready", "--timeout", "30"])
        .output()
        .success();
    for (args, code) in every_verb() {
        if args == ["logs", "one", "--raw"] {
            continue;
        }
        // Nobody answers: standard input stays open and silent.
        let (silent, held) = std::io::pipe().unwrap();
        let mut command = raw_command(binary("fleet"));
        let mut child = command
            .args(&args)
            .env_clear()
            .envs(env.variables())
            .env("EDITOR", "true")
            .env("CLICOLOR_FORCE", "1")
            .current_dir(&repo)
            .stdin(silent)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Read meanwhile: some say more than a pipe holds.
        let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (status, text) = std::thread::scope(|scope| {
            let said = scope.spawn(move || std::io::read_to_string(&mut stdout).unwrap());
            let warned = scope.spawn(move || std::io::read_to_string(&mut stderr).unwrap());
            let status = wait_until(PATIENCE, &format!("the end of {args:?}"), || child.try_wait().unwrap());
            drop(held);
            (status, said.join().unwrap() + &warned.join().unwrap())
        });
        assert_eq!(status.code(), Some(code), "{args:?}: {text}");
        assert!(!text.contains('\u{1b}'), "{args:?}: {text:?}");
    }
    kill_all(&env);
}

#[test]
fn a_terminal_gets_colour_unless_no_color_is_set() {
    let (env, repo) = scene("");
    let _ = fleet(&env, &repo, &["create", "one"]).output().success();
    let raw = |args: &[&str], more: &[(&str, &str)]| {
        let fleet = binary("fleet");
        let fleet = fleet.to_str().unwrap();
        let argv: Vec<&str> = std::iter::once(fleet).chain(args.iter().copied()).collect();
        let mut pty = Pty::spawn_with(&env, &repo, &argv, more, 40, 120);
        pty.wait_exit(PATIENCE);
        String::from_utf8_lossy(&pty.raw_output()).into_owned()
    };
    for args in [&["list"][..], &["kill", "none"], &["--help"], &["create"]] {
        assert!(
            raw(args, &[]).contains("\u{1b}["),
            "{args:?} has no colour on a terminal"
        );
        for more in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let text = raw(args, &[more]);
            assert!(!text.contains('\u{1b}'), "{args:?} with {more:?}: {text:?}");
        }
    }
    kill_all(&env);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let ticker = "command = [\"/bin/sh\", \"-c\", \"while :; do echo tick; sleep 0.3; done\"]\nprompt = \"paste\"";
    let (env, repo) = scene(&format!("[harness.ticker]\n{ticker}"));
    let _ = fleet(&env, &repo, &["create", "tick", "-a", "ticker"])
        .output()
        .success();
    let _ = fleet(&env, &repo, &["create", "one", "-p", "spam 3000"])
        .output()
        .success();
    let _ = fleet(&env, &repo, &["wait", "one", "--until", "idle", "--timeout", "40"])
        .output()
        .success();
    let lines = [
        "fleet logs one -n 2000 | head -1",
        "fleet logs tick -f | head -1",
        "fleet logs tick -f --json | head -1",
        "fleet logs one --raw | head -1",
        "fleet logs tick --raw -f | head -1",
        "fleet list --watch | head -1",
        "fleet list --watch --json | head -1",
        "fleet list | true",
        "fleet completions zsh | head -1",
        "fleet config show --json | head -1",
        "fleet --help | true",
        "fleet kill none 2>&1 | true",
        "fleet kill none --json 2>&1 | true",
        "fleet list >&-",
        "fleet kill none 2>&-; true",
    ];
    for line in lines {
        let done = paste(&env, &repo, line);
        assert!(!done.stderr.contains("panicked"), "{line}: {done}");
        assert!(done.status.success() || line.contains(">&-"), "{line}: {done}");
        let crash = fs::read_dir(&repo)
            .unwrap()
            .flatten()
            .any(|entry| entry.file_name() == "core");
        assert!(!crash, "{line}");
    }
    kill_all(&env);
}
