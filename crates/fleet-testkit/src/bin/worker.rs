//! A stand-in for Claude Code without a terminal (`-p --output-format stream-json`), as a worker of a run.
//!
//! Its prompt comes on standard input. Lines that begin with `!` say what it does, in order; the rest is ignored.
//! Relative paths are relative to the current directory, `\n` in a text is a line break.
//!
//! ```text
//! !sleep MS                 works for so long
//! !write PATH TEXT          writes a file          !append PATH TEXT   adds a line to one
//! !commit MESSAGE           commits everything
//! !run COMMAND              runs a shell line
//! !cost USD                 what it says that it cost; 0.01 without
//! !spent USD                says in the midst of its work what it has cost so far
//! !reply TOKENS             notes a reply of the model `m-1` in the file of its conversation, which took so many tokens
//! !verdict WORD...          writes the review of round N with the Nth word, or the last; `none` writes nothing,
//!                           `two` two verdicts
//! !answer WORD              what it writes when it is asked for its verdict once more; `none` for nothing
//! !fail STATUS [TIMES]      the service refuses with this HTTP status, the first TIMES times it is run
//! !quota SECONDS            the first time: the service's limit is reached, and is lifted in so many seconds
//! !exit CODE [TIMES]        ends at once with this code      !login    has no login      !deny    a tool is denied
//! !round N DIRECTIVE         only in round N of an autoresearch plan
//! !at WORKER DIRECTIVE       only as this worker
//! !first N DIRECTIVE         only the first N times that it is run
//! !then N DIRECTIVE          only after it was run N times
//! !say TEXT                  says this             !report STATUS      reports for the job of the contract in its prompt
//! !forget                   keeps nothing of its conversation
//! !call TOOL N               calls a tool N times
//! !crew KIND IN OUT PROMPT   sends out a sub-agent, which reads and writes so many tokens; it has a transcript of its own,
//!                           unless it writes nothing. `!lose KIND PROMPT` sends out one that never answers
//! !stubborn                 ignores SIGTERM and SIGINT       !hang     works for ever without a sign of life
//! ```
//!
//! `$WORKER_LEDGER.told/WORKER-N` is what it was told the Nth time: its arguments in the first line, and its prompt.
//!
//! `$WORKER_LEDGER` gets a line for each step that would have been paid for: `paid WORKER ROUND` when it begins,
//! `done WORKER ROUND` when it has ended, `resumed …` and `asked …` where it goes on with a conversation.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fleet_testkit::raw_command;
use nix::sys::signal::{SigSet, Signal};
use serde_json::json;

/// How a step ends.
enum End {
    Success,
    Fail(u16),
    Login,
    Denied,
}

fn main() -> io::Result<ExitCode> {
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|arg| arg == "--version") {
        io::stdout().write_all(b"2.1.197 (Claude Code)\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let given = |flag: &str| {
        let at = args.iter().position(|arg| arg == flag)?;
        args.get(at + 1).cloned()
    };
    let resumed = given("--resume");
    let session = resumed
        .clone()
        .or_else(|| given("--session-id"))
        .unwrap_or_else(|| "none".to_owned());
    let mut prompt = String::new();
    io::stdin().read_to_string(&mut prompt)?;
    // Whoever was to write it is gone.
    if prompt.trim().is_empty() {
        writeln!(
            io::stderr(),
            "Error: Input must be provided either through stdin or as a prompt argument"
        )?;
        return Ok(ExitCode::FAILURE);
    }
    let worker = var("WORKER_ID").unwrap_or_else(|| "?".to_owned());
    let round = round(&prompt);
    let memory = memory(&session);
    let script = match (&resumed, fs::read_to_string(&memory)) {
        (None, _) => prompt.clone(),
        (Some(_), Ok(script)) => script,
        (Some(id), Err(_)) => {
            let errors = [format!("No conversation found with session ID: {id}")];
            say(
                &json!({"type": "result", "subtype": "error_during_execution", "is_error": true, "num_turns": 0,
                "errors": errors, "session_id": id, "total_cost_usd": 0, "modelUsage": {}}),
            );
            return Ok(ExitCode::FAILURE);
        }
    };
    fs::write(&memory, &script)?;
    say(&json!({"type": "system", "subtype": "init", "session_id": session, "model": "stand-in", "tools": []}));
    if prompt.contains("Your verdict is missing") {
        ledger(&format!("asked {worker} {round}"))?;
        let word = script.lines().find_map(|line| line.strip_prefix("!answer "));
        review(round, word.unwrap_or("iterate"))?;
        return finish(&session, End::Success, 0.001, (10, 5));
    }
    let word = if resumed.is_some() { "resumed" } else { "paid" };
    ledger(&format!("{word} {worker} {round}"))?;
    let times = runs(&worker, round);
    keep(&worker, times, &args, &prompt)?;
    let mut cost = 0.01;
    let mut read_and_written = (10, 5);
    let mut end = End::Success;
    let told = Told {
        prompt: &prompt,
        worker: &worker,
        times,
    };
    for line in script.lines().filter_map(|line| directive(line, &told)) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (first, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let few = || text.parse().map_or(true, |times: usize| runs(&worker, round) <= times);
        match verb {
            "sleep" => pause(first.parse().unwrap_or(0)),
            "write" => put(Path::new(first), text, false)?,
            "append" => put(Path::new(first), text, true)?,
            "commit" => commit(rest),
            "run" => drop(raw_command("/bin/sh").args(["-c", rest]).status()),
            "reply" => reply(&session, first.parse().unwrap_or(0))?,
            "cost" => cost = first.parse().unwrap_or(cost),
            "spent" => say(&result(&session, first.parse().unwrap_or(0.0), (10, 5))),
            "verdict" => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                let at = (round as usize).saturating_sub(1).min(words.len().saturating_sub(1));
                review(round, words.get(at).copied().unwrap_or("none"))?;
            }
            "fail" if few() => end = End::Fail(first.parse().unwrap_or(500)),
            "exit" if few() => return Ok(ExitCode::from(first.parse::<u8>().unwrap_or(1))),
            "quota" if runs(&worker, round) == 1 => {
                let since = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
                let at = since + first.parse::<u64>().unwrap_or(1);
                say(&json!({"type": "rate_limit_event", "rate_limit_info":
                    {"status": "rejected", "rateLimitType": "five_hour", "resetsAt": at}}));
                end = End::Fail(429);
            }
            "login" if few() && !Path::new("logged-in").exists() => end = End::Login,
            "deny" => end = End::Denied,
            "forget" => drop(fs::remove_file(&memory)),
            "say" => speak(&json!([{"type": "text", "text": rest.replace("\\n", "\n")}])),
            "report" => report(&script, first),
            "call" => call(first, text.parse().unwrap_or(1)),
            "crew" => crew(&session, first, text, &mut read_and_written)?,
            "lose" => drop(send_out(first, text)),
            "stubborn" => ignore_signals(),
            "hang" => pause(3_600_000),
            _ => {}
        }
        if !matches!(end, End::Success | End::Denied) {
            break;
        }
    }
    if matches!(end, End::Success | End::Denied) {
        ledger(&format!("done {worker} {round}"))?;
    }
    finish(&session, end, cost, read_and_written)
}

/// What conditions of directives look at.
struct Told<'a> {
    prompt: &'a str,
    worker: &'a str,
    times: usize,
}

/// The directive in `line`, where what stands before it holds.
fn directive<'a>(line: &'a str, told: &Told<'_>) -> Option<&'a str> {
    let mut line = line.strip_prefix('!')?;
    loop {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (value, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let number = value.parse::<usize>();
        let holds = match word {
            "round" => told.prompt.contains(&format!("## Round {value}\n")),
            "at" => told.worker == value,
            "first" => number.is_ok_and(|number| told.times <= number),
            "then" => number.is_ok_and(|number| told.times > number),
            _ => return Some(line),
        };
        if !holds {
            return None;
        }
        line = rest;
    }
}

/// Keeps what it was told.
fn keep(worker: &str, times: usize, args: &[String], prompt: &str) -> io::Result<()> {
    let Some(ledger) = var("WORKER_LEDGER") else {
        return Ok(());
    };
    let folder = PathBuf::from(format!("{ledger}.told"));
    fs::create_dir_all(&folder)?;
    let contract = var("FLEET_CONTRACT").unwrap_or_default();
    let task = var("FLEET_TASK").unwrap_or_default();
    let text = format!(
        "{}\n{prompt}\n== FLEET_TASK {task}\n== FLEET_CONTRACT\n{contract}",
        args.join(" ")
    );
    fs::write(folder.join(format!("{worker}-{times}")), text)
}

/// One message of the model.
fn speak(content: &serde_json::Value) {
    say(&json!({"type": "assistant", "message": {"id": "m", "model": "stand-in", "content": content}}));
}

fn call(tool: &str, times: usize) {
    for number in 0..times {
        let id = format!("t{number}");
        speak(&json!([{"type": "tool_use", "id": id, "name": tool, "input": {}}]));
        say(
            &json!({"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": id, "content": "ok"}]}}),
        );
    }
}

/// Sends out a sub-agent; the id of the call.
fn send_out(kind: &str, prompt: &str) -> String {
    let id = format!("toolu_{}", unique());
    let input = json!({"subagent_type": kind, "description": "", "prompt": prompt});
    let call = json!([{"type": "tool_use", "id": id, "name": "Agent", "input": input}]);
    say(&json!({"type": "assistant", "parent_tool_use_id": null,
        "message": {"id": "m", "model": "stand-in", "content": call}}));
    id
}

/// Sends out a sub-agent that answers. What it uses is added to `used`.
fn crew(session: &str, kind: &str, rest: &str, used: &mut (u64, u64)) -> io::Result<()> {
    let mut words = rest.splitn(3, ' ');
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    let (read, written) = (number(), number());
    let prompt = words.next().unwrap_or("do it");
    let call = send_out(kind, prompt);
    let agent = format!("a{}", unique());
    say(
        &json!({"type": "system", "subtype": "task_started", "task_id": agent, "tool_use_id": call,
        "task_type": "local_agent", "subagent_type": kind, "prompt": prompt}),
    );
    if written > 0 {
        let folder = own_folder().join("projects/p").join(session).join("subagents");
        let line = |kind: &str, message: serde_json::Value| {
            format!(
                "{}\n",
                json!({"parentUuid": null, "isSidechain": true, "agentId": agent, "type": kind, "message": message})
            )
        };
        let usage = json!({"input_tokens": read, "output_tokens": written});
        let text = line("user", json!({"role": "user", "content": prompt}))
            + &line("assistant", json!({"id": "s", "model": "stand-in", "usage": usage}));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("agent-{agent}.jsonl")), text)?;
    }
    used.0 += read;
    used.1 += written;
    say(
        &json!({"type": "system", "subtype": "task_notification", "task_id": agent, "tool_use_id": call, "status": "completed"}),
    );
    say(
        &json!({"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": call, "content": "done"}]}}),
    );
    Ok(())
}

/// A number that this process gives once.
fn unique() -> String {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{}x{count}", std::process::id())
}

/// Says a report for the job of the contract in its prompt.
fn report(prompt: &str, status: &str) {
    let job = prompt
        .lines()
        .find_map(|line| line.strip_prefix("job_id: "))
        .unwrap_or("none");
    let text = format!(
        "I am done.\n\n<!-- FLEET_SESSION_REPORT\nversion: 1\njob_id: {job}\nexecution:\n  status: {status}\n\
         fleet_activity:\n  officer_dispatches: 1\n  follow_ups:\n    - title: Tidy up\n      priority: low\n-->\n"
    );
    speak(&json!([{"type": "text", "text": text}]));
}

/// The round that the prompt is of: its feedback says so, else the folder of reviews does.
fn round(prompt: &str) -> u32 {
    let said = prompt
        .rsplit_once("This is round ")
        .and_then(|(_, rest)| rest.split('.').next()?.parse().ok());
    said.unwrap_or_else(|| {
        let rounds = fs::read_dir("iterations").into_iter().flatten().flatten();
        let numbers = rounds.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.max().unwrap_or(1)
    })
}

/// How often this worker was run in this round, this time included.
fn runs(worker: &str, round: u32) -> usize {
    let text = var("WORKER_LEDGER")
        .and_then(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    let own = [format!("paid {worker} {round}"), format!("resumed {worker} {round}")];
    text.lines().filter(|line| own.iter().any(|own| own == line)).count()
}

/// Where Claude Code has all that is its own.
fn own_folder() -> PathBuf {
    let moved = var("CLAUDE_CONFIG_DIR").map(PathBuf::from);
    moved.unwrap_or_else(|| PathBuf::from(var("HOME").unwrap_or_default()).join(".claude"))
}

fn memory(session: &str) -> PathBuf {
    let home = var("HOME").unwrap_or_else(|| "/tmp".to_owned());
    Path::new(&home).join(format!("stand-in-{session}"))
}

/// As Claude Code does it.
fn reply(session: &str, tokens: u64) -> io::Result<()> {
    let path = own_folder().join(format!("projects/-stand-in/{session}.jsonl"));
    let id = fs::read_to_string(&path).map_or(0, |text| text.lines().count());
    let now = raw_command("/bin/date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%S.%3NZ"])
        .output()?;
    let at = String::from_utf8_lossy(&now.stdout).trim().to_owned();
    let message =
        json!({"id": format!("msg-{id}"), "model": "m-1", "usage": {"input_tokens": tokens, "output_tokens": 0}});
    put(
        &path,
        &json!({"type": "assistant", "timestamp": at, "message": message}).to_string(),
        true,
    )
}

/// What it says at the end of a turn. The numbers are sums.
fn result(session: &str, cost: f64, (read, written): (u64, u64)) -> serde_json::Value {
    json!({
        "type": "result", "subtype": "success", "is_error": false, "api_error_status": null, "num_turns": 1,
        "result": "done", "stop_reason": "end_turn", "session_id": session, "total_cost_usd": cost,
        "usage": {"input_tokens": 10, "output_tokens": 5},
        "modelUsage": {"stand-in": {"inputTokens": read, "outputTokens": written, "cacheReadInputTokens": 0,
            "cacheCreationInputTokens": 0, "costUSD": cost, "contextWindow": 200_000}},
        "permission_denials": [], "terminal_reason": "completed",
    })
}

fn finish(session: &str, end: End, cost: f64, used: (u64, u64)) -> io::Result<ExitCode> {
    let mut result = result(session, cost, used);
    let code = match end {
        End::Success => 0,
        End::Denied => {
            result["permission_denials"] = json!([{"tool_name": "Bash", "tool_use_id": "t", "tool_input": {}}]);
            0
        }
        End::Fail(status) => {
            result["is_error"] = json!(true);
            result["api_error_status"] = json!(status);
            result["result"] = json!(format!("API Error: {status}"));
            1
        }
        End::Login => {
            result["is_error"] = json!(true);
            result["result"] = json!("Not logged in · Please run /login");
            1
        }
    };
    say(&result);
    Ok(ExitCode::from(code))
}

fn say(line: &serde_json::Value) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn review(round: u32, word: &str) -> io::Result<()> {
    let text = match word {
        "none" => return Ok(()),
        "two" => "verdict: lgtm\nverdict: iterate\n".to_owned(),
        word => format!("verdict: {word}\n\n- round {round}: mend what the reviewer says\n"),
    };
    let path = PathBuf::from(format!("iterations/{round}/review.md"));
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(path, text)
}

fn put(path: &Path, text: &str, append: bool) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let text = format!("{}\n", text.replace("\\n", "\n"));
    let mut open = OpenOptions::new();
    open.create(true).write(true).append(append).truncate(!append);
    open.open(path)?.write_all(text.as_bytes())
}

fn commit(message: &str) {
    for args in [vec!["add", "--all"], vec!["commit", "--quiet", "-m", message]] {
        let _ = raw_command("git").args(args).status();
    }
}

fn ledger(line: &str) -> io::Result<()> {
    let Some(path) = var("WORKER_LEDGER") else {
        return Ok(());
    };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

fn pause(millis: u64) {
    let until = Instant::now() + Duration::from_millis(millis);
    while let Some(left) = until
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        let millis = left.as_micros().div_ceil(1000).min(60_000) as u16;
        let _ = nix::poll::poll(&mut [], millis);
    }
}

fn ignore_signals() {
    let _ = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]).thread_block();
}

fn var(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}
