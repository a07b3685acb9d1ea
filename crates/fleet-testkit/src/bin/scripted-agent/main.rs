//! A stand-in for a coding agent's terminal program: takes prompts as they do, and does what the prompts say.
//!
//! Its contract with the tests: a prompt is in the receive log *before* its text leaves the draft on the screen.
//! See `args.rs` for the flags and `directive.rs` for what a prompt can ask.

mod agent;
mod args;
mod detached;
mod directive;
mod full_screen;
mod inline;
mod keyboard;
mod keys;
mod view;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};

use crate::agent::{After, Agent};
use crate::args::{Mode, Options};
use crate::keyboard::Keyboard;
use crate::view::{Plain, View};

/// The exit code after the terminal went away, as a shell would report it for SIGHUP.
const HANGUP_CODE: u8 = 129;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            let _ = writeln!(io::stderr(), "error: {message}");
            return ExitCode::from(2);
        }
    };
    if options.version {
        let _ = writeln!(io::stdout(), "scripted-agent {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    if let Some(helper) = options.helper {
        return exit_with(detached::run(helper).map(|()| 0));
    }
    let ignore_term = options.ignore_term;
    let on_terminal = options.mode != Mode::Stdin && io::stdin().is_terminal();
    let end = start(options);
    if ignore_term && on_terminal && matches!(end, Err(_) | Ok(HANGUP_CODE)) {
        // Only SIGKILL ends one that ignores everything else, the loss of its terminal too.
        loop {
            std::thread::park();
        }
    }
    exit_with(end)
}

/// Runs in the mode that was asked for; the exit code.
fn start(options: Options) -> io::Result<u8> {
    if options.ignore_term {
        // Blocked for good is as good as ignored, and takes no signal handler.
        let ignored = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
        SigSet::from_iter(ignored).thread_block()?;
    }
    if let Some(path) = &options.env_report {
        report_environment(path)?;
    }
    match options.mode {
        Mode::Stdin => headless(options),
        Mode::Cooked => cooked(options),
        Mode::Inline | Mode::FullScreen if io::stdin().is_terminal() => interactive(options),
        Mode::Inline | Mode::FullScreen => headless(options),
    }
}

/// One prompt from standard input (or the argument), one turn.
fn headless(options: Options) -> io::Result<u8> {
    let prompt = match &options.prompt {
        Some(prompt) => prompt.clone(),
        None => io::read_to_string(io::stdin())?,
    };
    let mut agent = Agent::new(options, Box::new(Plain { prompts: false }), None);
    agent.boot();
    if let After::Exit(code) = agent.first_turn(None)? {
        return Ok(code);
    }
    let prompt = prompt.strip_suffix('\n').unwrap_or(&prompt);
    match agent.submit(prompt)? {
        After::Exit(code) => Ok(code),
        After::Next => Ok(0),
    }
}

/// Whole lines from a terminal (or anything) left in its own line mode.
fn cooked(mut options: Options) -> io::Result<u8> {
    let prompt = options.prompt.take();
    let mut agent = Agent::new(options, Box::new(Plain { prompts: true }), None);
    agent.boot();
    let mut after = agent.first_turn(prompt.as_deref())?;
    loop {
        if let After::Exit(code) = after {
            return Ok(code);
        }
        agent.view.prompt("")?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            return Ok(0);
        }
        let line = line.trim_end_matches('\n');
        after = if line.is_empty() {
            After::Next
        } else {
            agent.submit(line)?
        };
    }
}

/// Keys from a terminal in raw mode.
fn interactive(mut options: Options) -> io::Result<u8> {
    let prompt = options.prompt.take();
    let view: Box<dyn View> = match options.mode {
        Mode::FullScreen => Box::new(full_screen::FullScreen::new(!options.no_bracketed)),
        _ => Box::new(inline::Inline::new(!options.no_bracketed)),
    };
    let flush = options.busy == args::Busy::Drop;
    let mut agent = Agent::new(options, view, None);
    agent.boot();
    agent.keyboard = Some(Keyboard::open(flush)?);
    agent.view.start()?;
    let code = agent.run(prompt.as_deref())?;
    if code != HANGUP_CODE {
        agent.view.finish()?;
    }
    Ok(code)
}

/// Writes the names of the whole environment, and the values of fleet's own variables.
fn report_environment(path: &Path) -> io::Result<()> {
    let text = |name: OsString| name.to_string_lossy().into_owned();
    let all: BTreeMap<String, String> = std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    let fleet: BTreeMap<_, _> = all.iter().filter(|(name, _)| name.starts_with("FLEET_")).collect();
    let names: Vec<_> = all.keys().collect();
    let report = serde_json::json!({ "names": names, "fleet": fleet });
    std::fs::write(path, format!("{report}\n"))
}

fn exit_with(end: io::Result<u8>) -> ExitCode {
    match end {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
