//! A stand-in for an agent program that runs without a terminal: prints a recorded stream and ends as it did.
//!
//! It is started under the name of the program that it stands for, by an agent whose branch names the recording:
//! `$REPLAY_STREAMS/<name>/<branch>.jsonl` is its standard output, `.stderr` its standard error, and `.exit` says how
//! it ends: `code N` or `signal N`, and with `sent N` when that signal comes. What it was started with is appended to
//! `$REPLAY_LOG` before anything is printed, a line of JSON each run.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
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
    let prompt = io::read_to_string(io::stdin())?;
    log(&argv, &prompt)?;

    let name = argv.first().map(Path::new).and_then(Path::file_name);
    let recording = PathBuf::from(variable("REPLAY_STREAMS")?)
        .join(name.unwrap_or_default())
        .join(variable("FLEET_BRANCH")?);
    let of = |extension: &str| recording.with_extension(extension);
    // Nobody may listen any more, as when the agent is ended.
    if let Ok(mut stream) = fs::File::open(of("jsonl")) {
        let _ = io::copy(&mut stream, &mut io::stdout());
    }
    if let Ok(errors) = fs::read(of("stderr")) {
        let _ = io::stderr().write_all(&errors);
    }
    let how = fs::read_to_string(of("exit"))?;
    let number =
        |key: &str| -> Option<i32> { how.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()) };
    let sent = number("sent").map(Signal::try_from).transpose()?;
    if let Some(sent) = sent.filter(|sent| ends.contains(sent)) {
        while SigSet::from_iter(ends).wait()? != sent {}
    }
    if let Some(signal) = number("signal").map(Signal::try_from).transpose()? {
        SigSet::from_iter(ends).thread_unblock()?;
        raise(signal)?;
    }
    Ok(number("code").and_then(|code| u8::try_from(code).ok()).unwrap_or(98))
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
