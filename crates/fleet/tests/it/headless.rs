//! Built-in harnesses without a terminal. The recorded streams of the real programs are played back to a real
//! supervisor, by a program that stands under their names on `PATH`.

mod talks;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fleet_core::agent::Standing;
use fleet_core::fact::{Fact, Used};
use fleet_core::usage::Usage;
use fleet_host::harness::stream::{self, Basis, Cli, Event, Exit, Outcome, Reader, view, view_prompt};
use fleet_term::LogText;
use fleet_testkit::{Cmd, Pty, TestEnv, binary, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::drive::{LONG, journal, supervisor, text};

/// The size of the terminal that a run's view is made for.
const SIZE: (u16, u16) = (50, 160);

/// A repository, and a folder of recordings that agents play back.
struct Stage {
    env: TestEnv,
    repo: PathBuf,
    streams: PathBuf,
}

/// How a recording ends.
struct Ending {
    exit: Exit,
    sent: Option<i32>,
    /// Behind how many lines it was told to end its turn, where it is told so.
    abort: Option<usize>,
}

impl Stage {
    /// A stage with the recordings of the real programs.
    fn recorded() -> Self {
        let streams = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fleet-host/tests/fixtures/streams");
        Self::with(streams)
    }

    /// A stage for recordings that the test writes.
    fn empty() -> Self {
        let stage = Self::with(PathBuf::new());
        let streams = stage.env.root().join("streams");
        for cli in Cli::ALL {
            fs::create_dir_all(streams.join(cli.name())).expect("a fresh folder");
        }
        Self { streams, ..stage }
    }

    fn with(streams: PathBuf) -> Self {
        let env = TestEnv::new();
        let repo = env.repo("shop", 2);
        let programs = env.root().join("bin");
        fs::create_dir(&programs).expect("a fresh root");
        for cli in Cli::ALL {
            symlink(binary("replay"), programs.join(cli.name())).expect("a link");
        }
        env.write_config("claude_flags = \"--own-flag\"\nkill_grace_ms = 20000\n");
        Self { env, repo, streams }
    }

    /// A run of `fleet` in the repository.
    fn fleet(&self, args: &[&str]) -> Cmd {
        let path = self.env.variables().into_iter().find(|(name, _)| name == "PATH");
        let mut programs: OsString = self.env.root().join("bin").into();
        programs.push(":");
        programs.push(path.expect("a PATH").1);
        let cmd = self.env.fleet(args).cwd(&self.repo).timeout(LONG).env("PATH", programs);
        cmd.env("REPLAY_STREAMS", &self.streams)
            .env("REPLAY_LOG", self.runs_file())
    }

    fn runs_file(&self) -> PathBuf {
        self.env.root().join("runs")
    }

    /// What the programs were started with.
    fn runs(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.runs_file()).unwrap_or_default();
        log.lines()
            .map(|line| serde_json::from_str(line).expect("a run"))
            .collect()
    }

    fn record(&self, cli: Cli, name: &str, stream: &[u8], exit: &str) {
        let path = self.streams.join(cli.name()).join(name);
        fs::write(path.with_extension("jsonl"), stream).expect("written");
        fs::write(path.with_extension("exit"), exit).expect("written");
    }

    fn complain(&self, cli: Cli, name: &str, errors: &str) {
        let path = self.streams.join(cli.name()).join(name).with_extension("stderr");
        fs::write(path, errors).expect("written");
    }

    /// All agents by branch, also those that have ended.
    #[track_caller]
    fn agents(&self) -> BTreeMap<String, Value> {
        let list: Value = self.fleet(&["list", "--all", "--json"]).output().success().json();
        let agents = list["agents"].as_array().expect("agents").iter();
        agents.map(|agent| (text(&agent["branch"]), agent.clone())).collect()
    }

    #[track_caller]
    fn agent(&self, branch: &str) -> Value {
        self.agents().remove(branch).expect("an agent of this branch")
    }

    #[track_caller]
    fn logs(&self, branch: &str) -> Vec<String> {
        let logs: Value = self
            .fleet(&["logs", branch, "-n", "5000", "--json"])
            .output()
            .success()
            .json();
        serde_json::from_value(logs["lines"].clone()).expect("lines")
    }

    fn end(&self) {
        let _ = self.fleet(&["kill", "*", "--force", "--delete-branch"]).output();
        self.env.assert_nothing_left();
    }
}

/// The names of the recordings of `cli` in `folder`.
fn names(folder: &Path, cli: Cli) -> Vec<String> {
    let entries = fs::read_dir(folder.join(cli.name())).expect("recordings").flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".jsonl")?.to_owned()))
        .collect();
    names.sort();
    names
}

fn ending(path: &Path) -> Ending {
    let how = fs::read_to_string(path.with_extension("exit")).expect("an ending");
    let number = |key: &str| how.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    Ending {
        exit: number("code").map_or_else(|| Exit::Signal(number("signal").expect("a signal")), Exit::Code),
        sent: number("sent"),
        abort: number("abort").and_then(|lines| usize::try_from(lines).ok()),
    }
}

/// What the readers alone make of a recording.
struct Expected {
    outcome: Outcome,
    usage: Vec<Usage>,
    /// The lines while the program runs.
    live: Vec<String>,
    /// Those before the last, when it has ended.
    shown: Vec<String>,
}

fn expected(cli: Cli, path: &Path, prompt: &str, ending: &Ending) -> Expected {
    let mut reader = Reader::new(cli);
    let stream = fs::read(path.with_extension("jsonl")).expect("a stream");
    let lines = stream.split_inclusive(|&byte| byte == b'\n');
    let (before, after) = stream.split_at(lines.take(ending.abort.unwrap_or(usize::MAX)).map(<[u8]>::len).sum());
    let live = reader.feed(before);
    let all = [live.clone(), reader.feed(after), reader.finish()].concat();
    let mut standing = Standing::default();
    for event in &all {
        if let Event::Usage(usage) = event {
            standing.apply(standing.seq + 1, &Fact::Used(Used::unpriced(usage.clone())));
        }
    }
    let lines = |events: &[Event]| {
        let shown = events.iter().filter(|event| !matches!(event, Event::End { .. }));
        view_prompt(prompt).into_iter().chain(shown.flat_map(view)).collect()
    };
    Expected {
        outcome: stream::outcome(cli, &all.iter().collect(), ending.exit, ending.sent),
        usage: standing.used,
        live: lines(&live),
        shown: lines(&all),
    }
}

fn rendered(lines: &[String]) -> Vec<String> {
    let mut log = LogText::new(SIZE.0, SIZE.1, 5000);
    for line in lines {
        log.feed(format!("{line}\r\n").as_bytes());
    }
    log.lines(5000)
}

/// Every recording of `cli`, under a real supervisor, is what the readers alone make of it.
#[track_caller]
fn plays_back(cli: Cli) {
    let stage = Stage::recorded();
    let folder = stage.streams.join(cli.name());
    let all: Vec<(String, Ending)> = names(&stage.streams, cli)
        .into_iter()
        .map(|name| {
            let ending = ending(&folder.join(&name));
            (name, ending)
        })
        .collect();
    // A signal that the program can catch is sent by fleet; SIGKILL comes by itself.
    let waits = |ending: &Ending| ending.abort.is_some() || ending.sent.is_some_and(|signal| signal != 9);
    let tasks = |wanted: bool| -> Vec<String> {
        let chosen = all.iter().filter(|(_, ending)| waits(ending) == wanted);
        chosen.map(|(name, _)| format!("{name}:do {name}")).collect()
    };
    let start = |tasks: &[String], more: &[&str]| {
        let mut args = vec!["multi", "--agent", cli.name(), "--headless", "--json"];
        args.extend(more);
        args.extend(tasks.iter().map(String::as_str));
        stage.fleet(&args).output()
    };
    // Most of them end badly, and none of them fails to start.
    let ended: Value = start(&tasks(false), &["--wait", "exited"]).fails(1).json();
    assert_eq!(ended["failed"], Value::Array(Vec::new()), "{ended}");
    let _ = start(&tasks(true), &[]).success();
    for (name, ending) in all.iter().filter(|(_, ending)| waits(ending)) {
        let live = rendered(&expected(cli, &folder.join(name), &format!("do {name}"), ending).live);
        wait_until(LONG, "the whole stream on the screen", || {
            (stage.logs(name) == live).then_some(())
        });
        let args: &[&str] = match ending.sent {
            Some(2) | None => &["prompt", name, "--interrupt"],
            _ => &["kill", name],
        };
        let _ = stage.fleet(args).output().success();
    }

    let agents = stage.agents();
    for (name, ending) in &all {
        let mut wanted = expected(cli, &folder.join(name), &format!("do {name}"), ending);
        let agent = &agents[name];
        let what = format!("{} {name}: {agent}", cli.name());
        assert_eq!(agent["outcome"], wanted.outcome.to_string(), "{what}");
        assert_eq!(agent["state"], format!("exited({})", ending.exit.code()), "{what}");
        let used: Vec<Usage> = serde_json::from_value(agent["usage"].clone()).unwrap_or_default();
        if (cli, name.as_str()) == (Cli::Pi, "cut_once") {
            // It asks for the same once more: what was lost is estimated to be as much.
            let lost = wanted.usage.iter().cloned().map(|usage| Usage {
                basis: Basis::Estimated,
                ..usage
            });
            wanted.usage = lost.chain(wanted.usage.iter().cloned()).collect();
        }
        assert_eq!(used, wanted.usage, "{what}");
        wanted.shown.extend(view(&Event::End {
            outcome: wanted.outcome,
            text: agent["why"].as_str().unwrap_or_default().to_owned(),
        }));
        assert_eq!(stage.logs(name), rendered(&wanted.shown), "{what}");
        let raw = stage.fleet(&["logs", name, "--raw"]).output().success().stdout;
        let stream = fs::read(folder.join(name).with_extension("jsonl")).expect("a stream");
        assert_eq!(raw, String::from_utf8_lossy(&stream), "{what}");
    }
    stage.end();
}

#[test]
fn every_recording_of_claude_is_read_under_a_supervisor() {
    plays_back(Cli::Claude);
}

#[test]
fn every_recording_of_codex_is_read_under_a_supervisor() {
    plays_back(Cli::Codex);
}

#[test]
fn every_recording_of_pi_is_read_under_a_supervisor() {
    plays_back(Cli::Pi);
}

#[test]
fn every_recording_of_opencode_is_read_under_a_supervisor() {
    plays_back(Cli::OpenCode);
}

#[test]
fn every_recording_of_gemini_is_read_under_a_supervisor() {
    plays_back(Cli::Gemini);
}

#[test]
fn a_run_that_exits_with_0_and_has_failed_is_told_as_a_failure() {
    let stage = Stage::recorded();
    let create = [
        "create",
        "unauthorized",
        "-a",
        "pi",
        "--headless",
        "-p",
        "hello",
        "--wait",
        "exited",
    ];
    let made = stage.fleet(&create).output().fails(1);
    assert!(made.stdout.contains("exited(0), login"), "{made}");
    let waited = stage
        .fleet(&["wait", "unauthorized", "--until", "exited"])
        .output()
        .fails(1);
    assert!(waited.stdout.contains("is exited(0), login: 401"), "{waited}");
    let list = stage.fleet(&["list"]).output().success().stdout;
    assert!(list.contains("outcome") && list.contains("login"), "{list}");
    let explained = stage.fleet(&["explain", "unauthorized"]).output().success().stdout;
    assert!(explained.contains("the program ended, login: 401"), "{explained}");

    let facts = journal(&stage.env, &text(&stage.agent("unauthorized")["id"]));
    let kinds: Vec<&str> = facts.iter().filter_map(|entry| entry["fact"].as_str()).collect();
    let ended = kinds.iter().position(|kind| *kind == "ended");
    let exited = kinds.iter().position(|kind| *kind == "exited");
    assert!(ended.is_some() && ended < exited, "{kinds:?}");
    stage.end();
}

#[test]
fn what_the_program_wrote_to_its_standard_error_is_shown_and_says_why_it_crashed() {
    let stage = Stage::empty();
    stage.record(
        Cli::Codex,
        "broken",
        b"{\"type\":\"thread.started\",\"thread_id\":\"t-1\"}\n",
        "code 3",
    );
    stage.complain(
        Cli::Codex,
        "broken",
        "first\n\x1b]0;title\x07\x1b[2Jpanicked at the disco",
    );
    let _ = stage
        .fleet(&[
            "create",
            "broken",
            "-a",
            "codex",
            "--headless",
            "-p",
            "x",
            "--wait",
            "exited",
        ])
        .output()
        .fails(1);
    let agent = stage.agent("broken");
    assert_eq!(agent["outcome"], "crashed with 3");
    assert_eq!(agent["why"], "first | panicked at the disco");
    let logs = stage.logs("broken");
    assert!(logs.contains(&"stderr: panicked at the disco".to_owned()), "{logs:#?}");
    stage.end();
}

#[test]
fn a_prompt_is_needed_and_a_terminal_is_not_read_as_one() {
    let stage = Stage::recorded();
    let bare = stage
        .fleet(&["create", "tools", "-a", "claude", "--headless"])
        .output()
        .fails(2);
    assert!(
        bare.stderr.contains("without a terminal needs a prompt") && bare.stderr.contains("--prompt"),
        "{bare}"
    );
    let idle = [
        "create",
        "tools",
        "-a",
        "claude",
        "--headless",
        "-p",
        "x",
        "--wait",
        "idle",
    ];
    let idle = stage.fleet(&idle).output().fails(2);
    assert!(idle.stderr.contains("--wait exited"), "{idle}");
    let config = "[harness.own]\ncommand = [\"/bin/cat\"]\nprompt = \"paste\"\n";
    stage.env.write_config(config);
    let own = stage
        .fleet(&["create", "tools", "-a", "own", "--headless", "-p", "x"])
        .output()
        .fails(2);
    assert!(
        own.stderr.contains("nobody knows how `own` runs without a terminal"),
        "{own}"
    );
    assert!(stage.agents().is_empty() && stage.runs().is_empty());
    stage.end();
}

#[test]
fn the_next_run_goes_on_with_the_conversation_and_counts_only_what_is_new() {
    let stage = Stage::empty();
    let turn = |name: &str, used: u64| {
        let stream = format!(
            "{{\"type\":\"thread.started\",\"thread_id\":\"t-1\"}}\n\
             {{\"type\":\"turn.completed\",\"usage\":{{\"input_tokens\":{used},\"output_tokens\":{used}}}}}\n"
        );
        stage.record(Cli::Codex, name, stream.as_bytes(), "code 0");
    };
    turn("long", 100);
    let _ = stage
        .fleet(&[
            "create",
            "long",
            "-a",
            "codex",
            "--headless",
            "-p",
            "one",
            "--wait",
            "exited",
        ])
        .output()
        .success();
    let refused = stage.fleet(&["resume", "long"]).output().fails(2);
    assert!(refused.stderr.contains("fleet resume long --prompt TEXT"), "{refused}");
    let refused = stage.fleet(&["prompt", "long", "-m", "two"]).output().fails(5);
    assert!(refused.stderr.contains("fleet resume long --prompt TEXT"), "{refused}");
    let refused = stage.fleet(&["restart", "long"]).output().fails(2);
    assert!(refused.stderr.contains("fleet restart long --prompt TEXT"), "{refused}");
    let all = stage.fleet(&["resume", "--all"]).output().success();
    assert!(all.stdout.contains("there is nothing to resume"), "{all}");

    turn("long", 150);
    let _ = stage.fleet(&["resume", "long", "-p", "two"]).output().success();
    let ended = || {
        let _ = stage.fleet(&["wait", "long", "--until", "exited"]).output().success();
        stage.agent("long")
    };
    let agent = ended();
    assert_eq!(
        (&agent["generation"], &agent["outcome"]),
        (&2.into(), &"success".into())
    );
    assert_eq!(agent["usage"][0]["tokens"]["input"], 150);
    let runs = stage.runs();
    assert_eq!(runs[1]["prompt"], "two");
    let argv = runs[1]["argv"].to_string();
    assert!(
        argv.contains("\"resume\",\"--json\",\"--skip-git-repo-check\",\"t-1\",\"-\""),
        "{argv}"
    );
    let logs = stage.logs("long");
    assert!(
        logs.contains(&"> one".to_owned()) && logs.contains(&"> two".to_owned()),
        "{logs:#?}"
    );

    turn("long", 30);
    let other = fs::read_to_string(stage.streams.join("codex/long.jsonl")).expect("the recording");
    stage.record(Cli::Codex, "long", other.replace("t-1", "t-2").as_bytes(), "code 0");
    let _ = stage
        .fleet(&["restart", "long", "--fresh", "-p", "three"])
        .output()
        .success();
    assert_eq!(ended()["usage"][0]["tokens"]["input"], 180);
    assert!(
        !stage.runs()[2]["argv"].to_string().contains("resume"),
        "{:?}",
        stage.runs()[2]
    );
    stage.end();
}

#[test]
fn an_interrupt_ends_a_run_and_a_text_with_it_is_refused_before_anything_is_done() {
    let stage = Stage::recorded();
    let _ = stage
        .fleet(&["create", "interrupted", "-a", "opencode", "--headless", "-p", "x"])
        .output()
        .success();
    let refused = stage
        .fleet(&["prompt", "interrupted", "--interrupt", "more"])
        .output()
        .fails(5);
    assert!(
        refused.stderr.contains("fleet resume interrupted --prompt TEXT"),
        "{refused}"
    );
    assert_eq!(stage.agent("interrupted")["state"], "working");
    let busy = stage.fleet(&["prompt", "interrupted", "more"]).output().fails(5);
    assert!(busy.stderr.contains("when its run has ended"), "{busy}");

    let sent: Value = stage
        .fleet(&["prompt", "interrupted", "--interrupt", "--json"])
        .output()
        .success()
        .json();
    assert_eq!(sent["sent"][0]["outcome"], "interrupted");
    let agent = stage.agent("interrupted");
    assert_eq!(
        (&agent["state"], &agent["outcome"]),
        (&"exited(130)".into(), &"interrupted".into())
    );
    stage.end();
}

#[test]
fn lines_that_are_no_events_or_far_too_long_change_nothing_and_leave_the_supervisor_small() {
    let stage = Stage::empty();
    let plain = fs::read(Stage::recorded().streams.join("claude/tools.jsonl")).expect("a recording");
    stage.record(Cli::Claude, "plain", &plain, "code 0\nsent 2");
    let mut stream = Vec::new();
    for (number, line) in plain.split_inclusive(|&byte| byte == b'\n').enumerate() {
        stream.extend_from_slice(line);
        if number == 1 {
            stream.extend_from_slice(b"warning: no JSON\n\xff\xfe\n{\"type\":\n");
            for megabytes in [3, 50] {
                stream.extend_from_slice(b"{\"type\":\"user\",\"x\":[\"");
                stream.resize(stream.len() + megabytes * 1024 * 1024, b'x');
                stream.extend_from_slice(b"\"]}\n");
            }
        }
    }
    stream.extend_from_slice(b"{\"type\":\"resu");
    stage.record(Cli::Claude, "dirty", &stream, "code 0\nsent 2");
    stage.env.write_config("output_limit_mb = 1\nclaude_flags = \"\"\n");
    for branch in ["plain", "dirty"] {
        let _ = stage
            .fleet(&["create", branch, "-a", "claude", "--headless", "-p", "x"])
            .output()
            .success();
        wait_until(LONG, "the whole stream", || {
            (!stage.agent(branch)["usage"].is_null()).then_some(())
        });
    }
    let memory = |branch: &str| {
        let pid = supervisor(&stage.env, &text(&stage.agent(branch)["id"]));
        let map = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a living supervisor");
        let kb = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
        let private = map.lines().filter(|line| line.starts_with("Private_"));
        private.filter_map(kb).sum::<u64>()
    };
    let (plain, dirty) = (memory("plain"), memory("dirty"));
    assert!(dirty < plain + 512, "{dirty} kB after long lines, {plain} kB without");
    let kept = fs::read_dir(
        stage
            .env
            .fleet_home()
            .join("agents")
            .join(text(&stage.agent("dirty")["id"]))
            .join("stream"),
    );
    let kept: u64 = kept
        .expect("the stream is kept")
        .flatten()
        .map(|entry| entry.metadata().expect("a file").len())
        .sum();
    assert!(kept < 10 * 1024 * 1024, "{kept} bytes of the stream are kept");

    for branch in ["plain", "dirty"] {
        let _ = stage.fleet(&["prompt", branch, "--interrupt"]).output().success();
        assert_eq!(stage.agent(branch)["outcome"], "success");
    }
    assert_eq!(stage.agent("plain")["usage"], stage.agent("dirty")["usage"]);
    let logs = stage.logs("dirty").join("\n");
    for wanted in [
        "no event: warning: no JSON",
        "a line of 52428",
        "no event: {\"type\":\"resu",
        "All done.",
    ] {
        assert!(logs.contains(wanted), "{wanted}: {logs}");
    }
    stage.end();
}

#[test]
fn a_run_whose_supervisor_was_killed_is_lost_and_goes_on_with_the_next_prompt() {
    let stage = Stage::recorded();
    let create = ["create", "terminated", "-a", "pi", "--headless", "-p", "one"];
    let _ = stage.fleet(&create).output().success();
    wait_until(LONG, "its conversation", || {
        stage
            .logs("terminated")
            .iter()
            .any(|line| line.starts_with("conversation"))
            .then_some(())
    });
    let pid = supervisor(&stage.env, &text(&stage.agent("terminated")["id"]));
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    kill(pid, Signal::SIGKILL).expect("it runs");
    wait_until(LONG, "the loss", || {
        (stage.agent("terminated")["state"] == "lost").then_some(())
    });
    let all = stage.fleet(&["resume", "--all"]).output().fails(2);
    assert!(all.stderr.contains("fleet resume terminated --prompt TEXT"), "{all}");
    let _ = stage.fleet(&["resume", "terminated", "-p", "-two"]).output().success();
    let runs = stage.runs();
    assert_eq!(runs[1]["prompt"], "-two");
    assert!(runs[1]["argv"].to_string().contains("--session"), "{runs:?}");
    let agent = stage.agent("terminated");
    assert_eq!((&agent["state"], &agent["outcome"]), (&"working".into(), &Value::Null));
    stage.end();
}

#[test]
fn a_run_that_told_of_no_conversation_is_begun_again() {
    let stage = Stage::empty();
    stage.record(Cli::Codex, "again", b"", "code 0");
    let create = [
        "create",
        "again",
        "-a",
        "codex",
        "--headless",
        "-p",
        "one",
        "--wait",
        "exited",
    ];
    let _ = stage.fleet(&create).output().fails(1);
    assert_eq!(stage.agent("again")["outcome"], "no terminal event");
    let _ = stage.fleet(&["resume", "again", "-p", "two"]).output().success();
    let _ = stage.fleet(&["wait", "again", "--until", "exited"]).output().fails(1);
    assert!(
        !stage.runs()[1]["argv"].to_string().contains("resume"),
        "{:?}",
        stage.runs()
    );
    stage.end();
}

#[test]
fn a_view_shows_what_happens_as_it_happens() {
    let stage = Stage::recorded();
    let create = [
        "create",
        "interrupted",
        "-a",
        "claude",
        "--headless",
        "-p",
        "look around",
    ];
    let _ = stage.fleet(&create).output().success();
    let fleet = binary("fleet").display().to_string();
    let mut view = Pty::spawn(
        &stage.env,
        &stage.repo,
        &[&fleet, "attach", "--direct", "interrupted"],
        30,
        100,
    );
    view.wait_for_text("> look around", LONG);
    let _ = stage
        .fleet(&["prompt", "interrupted", "--interrupt"])
        .output()
        .success();
    view.wait_for_text("ended, interrupted", LONG);
    let _ = view.wait_exit(LONG);
    stage.end();
}

#[test]
fn an_agent_with_a_terminal_is_given_the_prompt_of_a_resume_when_it_is_up_again() {
    let stage = Stage::empty();
    stage.env.config_with_scripted("");
    let _ = stage.fleet(&["create", "a", "--wait", "ready"]).output().success();
    let prompt = ["prompt", "a", "exit 0"];
    let _ = stage.fleet(&prompt).output();
    let _ = stage.fleet(&["wait", "a", "--until", "exited"]).output().success();
    let _ = stage
        .fleet(&["resume", "a", "-p", "print back again"])
        .output()
        .success();
    wait_until(LONG, "the prompt", || {
        let received = stage.env.received();
        received
            .iter()
            .any(|each| each.text == "print back again")
            .then_some(())
    });
    stage.end();
}
