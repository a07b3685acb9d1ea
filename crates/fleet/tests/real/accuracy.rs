//! How near both meters come to what the endpoint says that it told: the same eleven sessions with each program and meter.
//!
//! `cargo xtask record --meter` runs all of them and writes `tests/fixtures/meter`, of which `cargo xtask gen` makes a
//! page; a quick run tries one by the proxy.

use std::fs;
use std::path::{Path, PathBuf};

use fleet_core::Time;
use fleet_core::fact::{Fact, Used};
use fleet_core::money::Usd;
use fleet_core::price::Prices;
use fleet_core::spend::Certainty;
use fleet_core::usage::Tokens;
use fleet_host::harness::builtin;
use fleet_host::supervise::journal;
use fleet_testkit::clis::Cli;
use fleet_testkit::model::{ApiError, Fault, FaultRule, Outcome, Rule, Script, ToolCall, Trouble, Turn, Usage, When};
use serde_json::{Value, json};

use crate::meter::{PRICES, looks};
use crate::world::World;

/// The sessions, in the order of the page. Each is a run without a terminal; `resume` is two.
const SESSIONS: [&str; 11] = [
    "one reply",
    "cached tokens",
    "tool calls",
    "many turns",
    "a limit, then a retry",
    "an error, then a retry",
    "a cut stream",
    "a later cut",
    "a resume",
    "a sub-agent",
    "a long context",
];

/// What the endpoint says in the end.
const ANSWER: &str = "this is the answer to all of that";

fn usage(input: u64, cached: u64, cache_write: u64, output: u64) -> Usage {
    Usage {
        input,
        cached,
        cache_write,
        output,
        ..Usage::default()
    }
}

/// How many tokens the first request of this program has, about: the endpoint tells so where a stream is cut, so that an
/// estimate of it is compared with something true ([`is_true`]).
fn first_request(cli: Cli) -> u64 {
    match cli {
        Cli::Claude => 18_500,
        Cli::Codex => 9000,
        Cli::Gemini => 9000,
        Cli::OpenCode => 6800,
        Cli::Pi => 1200,
    }
}

/// Whether the request has about so many tokens, counted as tokenizers cut text: a word of up to eight letters, up to three
/// digits, or a few signs.
fn is_true(tokens: u64, body: &Value) -> bool {
    fn count(value: &Value) -> u64 {
        match value {
            Value::String(text) => pieces(text),
            Value::Array(all) => all.iter().map(count).sum(),
            Value::Object(all) => all.iter().map(|(key, value)| pieces(key) + count(value)).sum(),
            _ => 1,
        }
    }
    let counted = count(body);
    counted.abs_diff(tokens) * 100 <= tokens * 15
}

/// The tokens of a text, about.
fn pieces(text: &str) -> u64 {
    let kind = |letter: char| match letter {
        letter if letter.is_alphabetic() => 8,
        letter if letter.is_ascii_digit() => 3,
        letter if letter.is_whitespace() => 0,
        _ => 2,
    };
    let letters: Vec<char> = text.chars().collect();
    let runs = letters.chunk_by(|one, other| kind(*one) == kind(*other));
    let count = |run: &[char]| match kind(run[0]) {
        0 => u64::from(run.contains(&'\n')),
        most => (run.len() as u64).div_ceil(most),
    };
    runs.map(count).sum()
}

fn error(is: Trouble) -> Fault {
    Fault::Error(ApiError {
        retry_after_s: Some(1),
        ..ApiError::of(is)
    })
}

/// What the endpoint does in a session.
fn script(cli: Cli, session: &str) -> Script {
    let looks = |number, usage| looks(cli, number).with_usage(usage);
    // OpenCode makes a conversation shorter that comes near the end of its model's context.
    let long = if cli == Cli::OpenCode { 90_000 } else { 150_000 };
    let first = first_request(cli);
    let answer = Turn::say(ANSWER).with_usage(usage(1200, 0, 0, 350));
    let turns = match session {
        "cached tokens" => vec![
            looks(1, usage(3000, 0, 9000, 120)),
            Turn::say("found in the cache").with_usage(usage(150, 12_000, 0, 80)),
        ],
        "tool calls" => vec![looks(1, usage(900, 0, 0, 60)), looks(2, usage(1100, 0, 0, 70)), answer],
        "many turns" => (1..=7)
            .map(|turn| looks(turn, usage(700 * turn, 300 * turn, 0, 31)))
            .chain([answer])
            .collect(),
        "a cut stream" => vec![Turn::say(ANSWER).with_usage(usage(first, 0, 0, 350))],
        "a later cut" => vec![
            looks(1, usage(first, 0, 0, 60)),
            Turn::say(ANSWER).with_usage(usage(first + 50, 0, 0, 350)),
        ],
        "a long context" => vec![looks(1, usage(long, 0, 0, 900)), answer],
        _ => vec![answer],
    };
    let script = Script::of(turns);
    match session {
        "a limit, then a retry" => script.with_fault(FaultRule::nth(1, error(Trouble::RateLimit))),
        "an error, then a retry" => script.with_fault(FaultRule::nth(1, error(Trouble::ServerError))),
        "a cut stream" => script.with_fault(FaultRule::nth(1, Fault::CutAfter(4))),
        "a later cut" => script.with_fault(FaultRule::nth(2, Fault::CutAfter(4))),
        "a sub-agent" => Script {
            rules: vec![
                rule(
                    "delegate",
                    vec![
                        Turn::call(delegation()).with_usage(usage(2000, 0, 0, 90)),
                        Turn::say("it was done below").with_usage(usage(2300, 0, 0, 40)),
                    ],
                ),
                rule("from below", vec![Turn::say("done").with_usage(usage(640, 0, 0, 25))]),
            ],
            ..script
        },
        _ => script,
    }
}

fn rule(text: &str, turns: Vec<Turn>) -> Rule {
    Rule {
        when: When {
            contains: Some(text.to_owned()),
            ..When::default()
        },
        turns,
    }
}

fn delegation() -> ToolCall {
    ToolCall::Tool {
        name: "Agent".to_owned(),
        input: json!({
            "description": "a part of it", "prompt": "answer from below", "subagent_type": "general-purpose",
        }),
    }
}

/// What a session came to.
#[track_caller]
fn found(cli: Cli, meter: &str, session: &str) -> Value {
    let mut script = script(cli, session);
    if cli == Cli::OpenCode
        && let Some(turn) = script.rules.first_mut().and_then(|rule| rule.turns.first_mut())
    {
        let input = json!({"description": "a part of it", "prompt": "answer from below", "subagent_type": "general"});
        let name = "task".to_owned();
        turn.calls = vec![ToolCall::Tool { name, input }];
    }
    let world = World::with_script(cli, script);
    world.settle_opencode();
    world.configure(cli, &format!("claude_flags = \"\"\nmeter = \"{meter}\"\n"));
    fs::write(world.fleet_home().join("prices.toml"), PRICES).expect("the fleet home can be written");
    let prompt = if session == "a sub-agent" {
        "delegate it"
    } else {
        "do it"
    };
    let mut create = vec!["create", "one", "--headless", "-p", prompt, "--wait", "exited"];
    if cli == Cli::Codex {
        // Without a terminal it does not say which model it uses.
        create.extend(["--model", "scripted"]);
    }
    let ended = world.fleet(create).output();
    // Gemini CLI gives up at a cut stream.
    let is_cut = matches!(session, "a cut stream" | "a later cut");
    if !is_cut {
        let _ = ended.success();
    }
    if session == "a resume" {
        let _ = world.fleet(["resume", "one", "-p", "and go on"]).output().success();
        let _ = world.fleet(["wait", "one", "--until", "exited"]).output().success();
    }
    let agent = world.agent("one");
    assert!(
        agent["outcome"] == "success" || is_cut,
        "{session}: {agent} {}",
        world.screen("one")
    );

    let prices = Prices::builtin().with(Prices::parse(PRICES, "own").expect("a table"));
    let (mut told, mut whole, mut side, mut cut) = (Usd::default(), 0, 0, 0);
    let mut lost = Usd::default();
    for request in world.endpoint().requests() {
        if request.format.is_none() || request.answer.status != 200 {
            continue;
        }
        let usage = request.answer.usage.expect("its own account");
        // Gemini does not tell apart what is put into a cache.
        let apart = if cli == Cli::Gemini { 0 } else { usage.cache_write };
        let tokens = Tokens {
            input: usage.input + usage.cache_write - apart,
            cached: usage.cached,
            cache_write: apart,
            output: usage.output,
            reasoning: usage.reasoning,
        };
        let cost = prices.cost(&request.model, Time(request.at_ms as i64), tokens);
        let cost = cost.unwrap_or_else(|| panic!("no price of `{}`", request.model));
        if request.end.is_some_and(|end| end.outcome == Outcome::Sent) {
            whole += 1;
            side += u64::from(request.side.is_some());
            told = told + cost;
        } else {
            // What it had written by then is next to nothing.
            let read = Tokens { output: 0, ..tokens };
            cut += 1;
            lost = lost
                + prices
                    .cost(&request.model, Time(request.at_ms as i64), read)
                    .unwrap_or_default();
            let size = usage.input + usage.cached + usage.cache_write;
            assert!(is_true(size, &request.body), "{}: {size} {}", cli.name(), request.body);
        }
    }
    let id = agent["id"].as_str().expect("an id");
    let entries = journal::read(&world.fleet_home().join("agents").join(id)).expect("a journal");
    let used = entries.into_iter().filter_map(|entry| match entry.fact {
        Fact::Used(used) if !used.beside => Some(used),
        _ => None,
    });
    let used: Vec<Used> = used.collect();
    let sum = |certainty: Certainty| -> Usd {
        let of = used.iter().filter(|used| used.certainty == Some(certainty));
        of.filter_map(|used| used.cost).sum()
    };
    // The program's own figure counts where it does not say which model it uses.
    let estimates = used
        .iter()
        .filter(|used| used.certainty == Some(Certainty::Estimated))
        .count();
    let found = json!({
        "session": session, "requests": whole, "side": side, "cut": cut, "told": told.micros(), "lost": lost.micros(),
        "counted": (sum(Certainty::Measured) + sum(Certainty::Reported)).micros(), "estimated": sum(Certainty::Estimated).micros(),
        "estimates": estimates, "unknown": used.iter().filter(|used| used.cost.is_none()).count(),
    });
    world.end();
    found
}

/// The file with what is known of a program.
fn written_down(cli: Cli) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/meter");
    folder.join(format!("{}.json", cli.name()))
}

#[track_caller]
fn is_as_near_as_was_recorded(cli: Cli) {
    let all = |meter: &str| -> Vec<Value> {
        let sessions = SESSIONS.iter();
        sessions.map(|session| found(cli, meter, session)).collect()
    };
    if std::env::var_os("FLEET_TEST_FULL").is_some() {
        let found = json!({
            "version": builtin(cli.name(), &[]).expect("built in").tested,
            "proxy": all("proxy"),
            "transcript": all("transcript"),
        });
        let path = written_down(cli);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the tree can be written");
        fs::write(path, format!("{found:#}\n")).expect("the tree can be written");
        return;
    }
    let known = fs::read_to_string(written_down(cli)).expect("`cargo xtask record --meter` writes it");
    let known: Value = serde_json::from_str(&known).expect("JSON");
    let session = "cached tokens";
    let rows = known["proxy"].as_array().expect("sessions");
    let recorded = rows.iter().find(|row| row["session"] == session).expect("the session");
    assert_eq!(&found(cli, "proxy", session), recorded);
}

#[test]
fn claude_is_as_near_as_was_recorded() {
    is_as_near_as_was_recorded(Cli::Claude);
}

#[test]
fn codex_is_as_near_as_was_recorded() {
    is_as_near_as_was_recorded(Cli::Codex);
}

#[test]
fn pi_is_as_near_as_was_recorded() {
    is_as_near_as_was_recorded(Cli::Pi);
}

#[test]
fn opencode_is_as_near_as_was_recorded() {
    is_as_near_as_was_recorded(Cli::OpenCode);
}

#[test]
fn gemini_is_as_near_as_was_recorded() {
    is_as_near_as_was_recorded(Cli::Gemini);
}
