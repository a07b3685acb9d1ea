//! The streams that the five agent programs printed against the scripted endpoint, read again.
//!
//! `fixtures/streams/CLI/CASE.jsonl` is standard output as it was, with neutral paths and ids, Claude Code's lists
//! of tools and Pi's repetitions cut. `CASE.exit` says how the process ended: `code N` or `signal N`, and
//! `sent N` where it was sent a signal. Pi was told to `abort` behind the line of that number.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use fleet_host::harness::Launch;
use fleet_host::harness::stream::{
    Basis, Cli, Event, Exit, LONGEST_LINE, Outcome, Reader, Seen, Tokens, outcome, view,
};
use proptest::prelude::*;

/// What was done, by the recording's name. Every recording is here.
const CASES: &[(&str, &str)] = &[
    ("tools", "tools are called, one fails, then the answer"),
    ("cached", "cached tokens and thinking"),
    ("resumed", "a second process goes on with a conversation"),
    ("retried", "429, then the answer"),
    ("cut_once", "the stream breaks once"),
    ("terminal_control", "the model says escape sequences"),
    ("bad_request", "400"),
    ("unauthorized", "401"),
    ("login", "no key"),
    ("forbidden", "403"),
    ("rate_limit", "429, always"),
    ("no_credit", "no credit"),
    ("server_error", "500, always"),
    ("overloaded", "529 or 503, always"),
    ("error_in_stream", "an error in the stream, always"),
    ("cut", "the stream breaks, always"),
    ("refused", "nobody listens"),
    ("denied", "tools without the permission"),
    ("withheld", "a tool that is not offered for want of permission"),
    ("max_turns", "more turns than allowed"),
    ("budget", "more money than allowed"),
    ("interrupted", "an interrupt while a tool runs"),
    ("terminated", "SIGTERM while a tool runs"),
    ("killed", "SIGKILL while a tool runs"),
    ("killed_in_reply", "SIGKILL while the model speaks"),
    ("unknown_conversation", "resuming what does not exist"),
    ("bad_flag", "an unknown flag"),
];

/// The cases in which the model gives its answer in the end.
const ANSWERED: [&str; 7] = [
    "tools",
    "cached",
    "resumed",
    "retried",
    "cut_once",
    "terminal_control",
    "withheld",
];

struct Recording {
    cli: Cli,
    case: String,
    stream: Vec<u8>,
    exit: Exit,
    sent: Option<i32>,
}

impl Recording {
    fn reader(&self) -> Reader {
        // What the conversation had used before it was resumed.
        let earlier = Tokens {
            input: 500,
            output: 10,
            ..Tokens::default()
        };
        match self.case.as_str() {
            "resumed" => Reader::going_on(self.cli, Some(earlier)),
            _ => Reader::new(self.cli),
        }
    }

    fn events(&self) -> Vec<Event> {
        in_chunks(self.reader(), &self.stream, usize::MAX)
    }

    fn outcome(&self, events: &[Event]) -> Outcome {
        outcome(self.cli, &events.iter().collect::<Seen>(), self.exit, self.sent)
    }
}

fn in_chunks(mut reader: Reader, stream: &[u8], size: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for chunk in stream.chunks(size.min(stream.len()).max(1)) {
        events.extend(reader.feed(chunk));
    }
    events.extend(reader.finish());
    events
}

fn recordings() -> Vec<Recording> {
    let mut all = Vec::new();
    for cli in Cli::ALL {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/streams")
            .join(cli.name());
        let mut paths: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths
            .iter()
            .filter(|path| path.extension().is_some_and(|ext| ext == "jsonl"))
        {
            let how = fs::read_to_string(path.with_extension("exit")).unwrap();
            let number = |key: &str| -> Option<i32> {
                let line = how.lines().find_map(|line| line.strip_prefix(key))?;
                Some(line.trim().parse().unwrap())
            };
            all.push(Recording {
                cli,
                case: path.file_stem().unwrap().to_str().unwrap().to_owned(),
                stream: fs::read(path).unwrap(),
                exit: number("code").map_or_else(|| Exit::Signal(number("signal").unwrap()), Exit::Code),
                sent: number("sent"),
            });
        }
    }
    all
}

fn recording(cli: Cli, case: &str) -> Recording {
    recordings()
        .into_iter()
        .find(|recording| recording.cli == cli && recording.case == case)
        .unwrap_or_else(|| panic!("{} has no {case}", cli.name()))
}

fn count(events: &[Event], is: impl Fn(&Event) -> bool) -> usize {
    events.iter().filter(|event| is(event)).count()
}

/// Tokens, reported cost and source, by model.
fn usage(events: &[Event]) -> BTreeMap<String, (Tokens, Option<f64>, String)> {
    let mut sums: BTreeMap<String, (Tokens, Option<f64>, String)> = BTreeMap::new();
    for event in events {
        // What is estimated stands beside it.
        if let Event::Usage(usage) = event
            && usage.basis != Basis::Estimated
        {
            let sum = sums.entry(usage.model.clone().unwrap_or_default()).or_default();
            sum.0 += usage.tokens;
            sum.1 = usage.cost_usd.map(|cost| cost + sum.1.unwrap_or_default()).or(sum.1);
            sum.2.clone_from(&usage.source);
            if usage.basis == Basis::Partial {
                sum.2.push_str(", at least");
            }
        }
    }
    sums
}

/// The page of the documents that says how each recording ends.
fn page() -> String {
    let all = recordings();
    let mut page = String::from(
        "# Headless outcomes

What follows from the stream and the exit of each agent program when this is done to it, with the
[scripted model endpoint](../model-endpoint.md). Success is a terminal event without an error *and* exit status 0, with
no tool denied. The test `every_recording_ends_as_the_page_says` makes this page from the recordings in
`crates/fleet-host/tests/fixtures/streams`.

",
    );
    page.push_str("| what is done |");
    for cli in Cli::ALL {
        write!(page, " {} |", cli.name()).unwrap();
    }
    page.push_str("\n| --- | --- | --- | --- | --- | --- |\n");
    for (case, what) in CASES {
        write!(page, "| {what} |").unwrap();
        for cli in Cli::ALL {
            let found = all
                .iter()
                .find(|recording| recording.cli == cli && recording.case == *case);
            let cell = found.map_or("-".to_owned(), |recording| {
                let exit = match recording.exit {
                    Exit::Code(code) => format!("exit {code}"),
                    Exit::Signal(signal) => format!("signal {signal}"),
                };
                format!("{} ({exit})", recording.outcome(&recording.events()))
            });
            write!(page, " {cell} |").unwrap();
        }
        page.push('\n');
    }
    page.push_str(
        "
`-`: not recorded, or the program has no such thing.

## Usage

Tokens are disjoint, but for thinking, which is a part of output.

| program | what is done | model | input | cached | to cache | output | thinking | reported cost | source |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
",
    );
    for recording in &all {
        let Some((case, what)) = CASES.iter().find(|(case, _)| *case == recording.case) else {
            continue;
        };
        if !["tools", "cached", "resumed", "cut_once", "killed"].contains(case) {
            continue;
        }
        for (model, (tokens, cost, source)) in usage(&recording.events()) {
            let model = if model.is_empty() { "-" } else { &model };
            let cost = cost.map_or("-".to_owned(), |cost| format!("${cost:.6}"));
            let name = recording.cli.name();
            writeln!(
                page,
                "| {name} | {what} | {model} | {} | {} | {} | {} | {} | {cost} | {source} |",
                tokens.input, tokens.cached, tokens.cache_write, tokens.output, tokens.reasoning,
            )
            .unwrap();
        }
    }
    page
}

#[test]
fn what_claude_loses_with_a_stream_that_is_cut_is_estimated_and_nothing_else_is() {
    for recording in recordings() {
        let events = recording.events();
        let usages = |wanted: bool| {
            let of = move |event: &Event| match event {
                Event::Usage(usage) if (usage.basis == Basis::Estimated) == wanted => Some(usage.tokens),
                _ => None,
            };
            events.iter().filter_map(of).collect::<Vec<Tokens>>()
        };
        let (cli, case) = (recording.cli, recording.case.as_str());
        match (cli, case) {
            (Cli::Claude, "cut_once") => assert_eq!(usages(true), usages(false), "as much again"),
            (Cli::Claude, "cut") => {}
            _ => assert_eq!(usages(true), [], "{} {case}", cli.name()),
        }
    }
}

#[test]
fn every_recording_ends_as_the_page_says() {
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/headless-outcomes.md");
    let made = page();
    let beside = Path::new(env!("CARGO_TARGET_TMPDIR")).join("headless-outcomes.md");
    fs::write(&beside, &made).unwrap();
    assert!(
        fs::read_to_string(documents).is_ok_and(|wanted| wanted == made),
        "docs/reference/headless-outcomes.md differs from {}: look at it, then copy it",
        beside.display()
    );
}

#[test]
fn an_answer_is_a_success_and_nothing_else_is() {
    for recording in recordings() {
        let (cli, case) = (recording.cli, recording.case.as_str());
        let described = CASES.iter().any(|(name, _)| *name == case);
        assert!(described, "{case} is not described");
        let events = recording.events();
        let wanted = match (cli, case) {
            // It does not try again when the stream breaks.
            (Cli::Gemini, "cut_once") => false,
            // It does not tell what its sandbox stopped.
            (Cli::Codex, "denied") => true,
            _ => ANSWERED.contains(&case),
        };
        let success = recording.outcome(&events) == Outcome::Success;
        assert_eq!(success, wanted, "{} {case}: {events:#?}", cli.name());
    }
}

#[test]
fn it_does_not_matter_where_a_stream_is_cut() {
    for recording in recordings() {
        let whole = recording.events();
        for size in [1, 7, 1000] {
            let events = in_chunks(recording.reader(), &recording.stream, size);
            assert_eq!(events, whole, "{} {}", recording.cli.name(), recording.case);
        }
    }
}

#[test]
fn lines_that_are_no_events_or_too_long_change_nothing_else() {
    for cli in Cli::ALL {
        let recording = recording(cli, "tools");
        let mut reader = recording.reader();
        let mut events = Vec::new();
        for (number, line) in recording.stream.split_inclusive(|&byte| byte == b'\n').enumerate() {
            events.extend(reader.feed(line));
            if number == 2 {
                events.extend(reader.feed(b"warning: no JSON\n[1]\n\xff\xfe\n{\"type\":\n{}\n{\"type\":7}\n\n"));
                events.extend(reader.feed(b"{\"type\":\"user\",\"x\":\""));
                for _ in 0..50 {
                    events.extend(reader.feed(&[b'x'; 1024 * 1024]));
                }
                events.extend(reader.feed(b"\"}\n"));
            }
        }
        events.extend(reader.feed(b"{\"type\":\"resu"));
        events.extend(reader.finish());
        let unread = |event: &Event| matches!(event, Event::Malformed { .. } | Event::Skipped { .. });
        assert_eq!(count(&events, unread), 6, "{events:#?}");
        assert_eq!(recording.outcome(&events), Outcome::Success, "{}", cli.name());
        events.retain(|event| !unread(event));
        assert_eq!(events, recording.events());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail(which in any::<prop::sample::Index>(), changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..50)) {
        let all = recordings();
        let recording = which.get(&all);
        let mut stream = recording.stream.clone();
        for (at, byte) in changes.iter().filter(|_| !recording.stream.is_empty()) {
            let at = at.index(stream.len());
            stream[at] = *byte;
        }
        let events = in_chunks(recording.reader(), &stream, 100);
        recording.outcome(&events);
        for line in events.iter().flat_map(view) {
            let leaks = line.contains(['\n', '\r', '\u{7}', '\u{9b}']);
            prop_assert!(!leaks, "{line:?}");
        }
    }
}

#[test]
fn a_terminal_event_that_is_too_long_to_read_is_still_one() {
    for (cli, begin) in [
        (
            Cli::Claude,
            r#"{"type":"result","subtype":"success","is_error":false,"result":""#,
        ),
        (
            Cli::Pi,
            r#"{"type":"agent_end","messages":[{"role":"user","content":[{"text":""#,
        ),
    ] {
        let mut recording = recording(cli, "tools");
        let text = String::from_utf8(recording.stream).unwrap();
        let before = &text[..text.rfind(&begin[..20]).unwrap()];
        let long = "x".repeat(LONGEST_LINE);
        recording.stream = format!("{before}{begin}{long}\"}}]}}]}}\n").into_bytes();
        let events = recording.events();
        assert_eq!(count(&events, |event| matches!(event, Event::Skipped { .. })), 1);
        assert_eq!(recording.outcome(&events), Outcome::Success, "{}", cli.name());
    }
}

#[test]
fn what_the_model_says_cannot_reach_the_terminal() {
    for recording in recordings() {
        for line in recording.events().iter().flat_map(view) {
            let mut rest = line.clone();
            for ours in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m"] {
                rest = rest.replace(ours, "");
            }
            assert!(!rest.contains(char::is_control), "{line:?}");
        }
    }
}

#[test]
fn tools_and_answers_are_lines_to_read() {
    for cli in Cli::ALL {
        let events = recording(cli, "tools").events();
        let shown: String = events.iter().flat_map(view).map(|line| line + "\n").collect();
        for wanted in ["I look first.", "echo one", "one", "broken", "All done.", "tokens: "] {
            assert!(shown.contains(wanted), "{}: {shown}", cli.name());
        }
        assert!(!shown.contains("\"type\""), "{shown}");
        assert_eq!(count(&events, |event| matches!(event, Event::Call { .. })), 3);
        assert_eq!(count(&events, |event| matches!(event, Event::Result { .. })), 3);
        // Gemini CLI calls a command that failed a success.
        let failed = count(&events, |event| matches!(event, Event::Result { ok: false, .. }));
        assert_eq!(failed, usize::from(cli != Cli::Gemini), "{}", cli.name());
        let first = events.iter().find(|event| !matches!(event, Event::Answered { .. }));
        assert!(
            matches!(first, Some(Event::Conversation { id }) if !id.is_empty()),
            "{}",
            cli.name()
        );
    }
}

#[test]
fn a_retry_is_told_where_the_program_tells_it() {
    for (cli, case, told) in [
        (Cli::Claude, "retried", 2),
        (Cli::Codex, "retried", 1),
        (Cli::Pi, "cut_once", 1),
        (Cli::Pi, "rate_limit", 3),
        (Cli::OpenCode, "retried", 0),
        (Cli::Gemini, "retried", 0),
    ] {
        let events = recording(cli, case).events();
        let retries = count(&events, |event| matches!(event, Event::Retry { .. }));
        assert_eq!(retries, told, "{}: {events:#?}", cli.name());
    }
}

#[test]
fn a_limit_that_draws_near_is_told() {
    let line = |status: &str| {
        format!(
            r#"{{"type":"rate_limit_event","rate_limit_info":{{"status":"{status}","rateLimitType":"five_hour","resetsAt":7}}}}"#
        )
    };
    let stream = [line("allowed"), line("allowed_warning")].join("\n");
    assert_eq!(
        in_chunks(Reader::new(Cli::Claude), stream.as_bytes(), usize::MAX),
        [Event::Limit {
            about: "five hour allowed warning".to_owned(),
            resets_at: Some(7),
            refused: false,
        }]
    );
}

#[test]
fn codex_counts_from_the_beginning_of_a_thread() {
    let resumed = recording(Cli::Codex, "resumed");
    let tokens = |events: &[Event]| usage(events)[""].0;
    assert_eq!(tokens(&resumed.events()).input, 500);
    let unknown = in_chunks(Reader::going_on(Cli::Codex, None), &resumed.stream, usize::MAX);
    assert_eq!(tokens(&unknown).input, 1000);
    let whole = |event: &Event| matches!(event, Event::Usage(usage) if usage.basis == Basis::WholeConversation);
    assert_eq!(count(&unknown, whole), 1);
}

#[test]
fn claude_counts_from_the_beginning_of_a_process() {
    let tools = recording(Cli::Claude, "tools");
    let twice = [tools.stream.as_slice(), tools.stream.as_slice()].concat();
    assert_eq!(
        usage(&in_chunks(tools.reader(), &twice, usize::MAX)),
        usage(&tools.events())
    );
}

#[test]
fn the_prompt_of_a_headless_run_goes_over_standard_input() {
    let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
    for (cli, new, resume) in [
        (
            Cli::Claude,
            "claude --own -p --output-format stream-json --verbose --session-id i-1 --model m",
            "claude --own -p --output-format stream-json --verbose --resume i-1",
        ),
        (
            Cli::Codex,
            "codex --own exec --json --skip-git-repo-check --model m -",
            "codex --own exec resume --json --skip-git-repo-check i-1 -",
        ),
        (
            Cli::Pi,
            "pi --own --mode rpc --model m",
            "pi --own --mode rpc --session i-1",
        ),
        (
            Cli::OpenCode,
            "opencode run --own --format json --title= --model m",
            "opencode run --own --format json --session i-1",
        ),
        (
            Cli::Gemini,
            "gemini --own -o stream-json --session-id i-1 --model m",
            "gemini --own -o stream-json --resume i-1",
        ),
    ] {
        let prompt = "-x \"quoted\"\n$HOME";
        let launch = Launch {
            model: Some("m"),
            prompt: Some(prompt),
            conversation: Some("i-1"),
            resume: false,
        };
        let line = cli.headless(&words(cli.name()), &words("--own"), &launch).unwrap();
        assert_eq!((line.argv, line.stdin.as_deref()), (words(new), Some(prompt)));
        let launch = Launch {
            model: None,
            resume: true,
            ..launch
        };
        assert_eq!(
            cli.headless(&words(cli.name()), &words("--own"), &launch).unwrap().argv,
            words(resume)
        );
        assert!(
            cli.headless(&words(cli.name()), &words("--own"), &Launch::default())
                .is_err()
        );
    }
}
