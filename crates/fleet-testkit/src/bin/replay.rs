//! A stand-in for an agent program that runs without a terminal: prints a recorded stream and ends as it did.
//!
//! It is started under the name of the program that it stands for, by an agent whose branch names the recording:
//! `$REPLAY_STREAMS/<name>/<branch>.jsonl` is its standard output, `.stderr` its standard error, and `.exit` says how
//! it ends: `code N` or `signal N`, and with `sent N` when that signal comes. What it was started with is appended to
//! `$REPLAY_LOG` before anything is printed, a line of JSON each run.
//!
//! With `--mode rpc` it takes commands as Pi does: the prompt is the first of them, `abort N` says behind how many lines
//! of the recording the command `abort` comes, and it ends when its standard input does.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal, raise};

fn main() -> ExitCode {
    match replay() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(99)
        }
    }
}

fn replay() -> io::Result<u8> {
    let ends = [Signal::SIGINT, Signal::SIGTERM];
    SigSet::from_iter(ends).thread_block()?;
    let argv: Vec<String> = std::env::args().collect();
    let talks = argv.iter().any(|arg| arg == "rpc");
    let prompt = match talks {
        true => command("prompt")?["message"].as_str().unwrap_or_default().to_owned(),
        false => io::read_to_string(io::stdin())?,
    };
    log(&argv, &prompt)?;

    let name = argv.first().map(Path::new).and_then(Path::file_name);
    let recording = PathBuf::from(variable("REPLAY_STREAMS")?)
        .join(name.unwrap_or_default())
        .join(variable("FLEET_BRANCH")?);
    let of = |extension: &str| recording.with_extension(extension);
    let how = fs::read_to_string(of("exit"))?;
    let number =
        |key: &str| -> Option<i32> { how.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()) };
    let stream = fs::read(of("jsonl")).unwrap_or_default();
    let aborted = number("abort").and_then(|lines| usize::try_from(lines).ok());
    let (before, after) = stream.split_at(aborted.map_or(stream.len(), |lines| end_of_line(&stream, lines)));
    // Nobody may listen any more, as when the agent is ended.
    let _ = io::stdout().write_all(before).and_then(|()| io::stdout().flush());
    if aborted.is_some() {
        let _ = command("abort")?;
        let _ = io::stdout().write_all(after).and_then(|()| io::stdout().flush());
    }
    if let Ok(errors) = fs::read(of("stderr")) {
        let _ = io::stderr().write_all(&errors);
    }
    let sent = number("sent").map(Signal::try_from).transpose()?;
    if let Some(sent) = sent.filter(|sent| ends.contains(sent)) {
        while SigSet::from_iter(ends).wait()? != sent {}
    }
    // A program that printed nothing had ended before it read.
    if talks && sent.is_none() && !stream.is_empty() {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    }
    if let Some(signal) = number("signal").map(Signal::try_from).transpose()? {
        SigSet::from_iter(ends).thread_unblock()?;
        raise(signal)?;
    }
    Ok(number("code").and_then(|code| u8::try_from(code).ok()).unwrap_or(98))
}

/// The next command of this kind; others are passed over.
fn command(kind: &str) -> io::Result<serde_json::Value> {
    let mut line = String::new();
    while io::stdin().lock().read_line(&mut line)? > 0 {
        let command: serde_json::Value = serde_json::from_str(&line)?;
        if command["type"] == kind {
            return Ok(command);
        }
        line.clear();
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Where the line of this number ends, counted from 1.
fn end_of_line(bytes: &[u8], number: usize) -> usize {
    bytes
        .split_inclusive(|&byte| byte == b'\n')
        .take(number)
        .map(<[u8]>::len)
        .sum()
}

fn log(argv: &[String], prompt: &str) -> io::Result<()> {
    let run = serde_json::json!({ "argv": argv, "prompt": prompt, "branch": variable("FLEET_BRANCH")? });
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(variable("REPLAY_LOG")?)?;
    file.write_all(format!("{run}\n").as_bytes())
}

fn variable(name: &str) -> io::Result<String> {
    let value = std::env::var_os(name).ok_or_else(|| io::Error::other(format!("{name} is not set")))?;
    value
        .into_string()
        .map_err(|_| io::Error::other(format!("{name} is no text")))
}
