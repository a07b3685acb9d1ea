//! A scripted model endpoint as a program: coding agents talk to it as to their vendor's service.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use fleet_testkit::clis::{Setup, prepare};
use fleet_testkit::model::{ModelServer, Options, Script};
use nix::sys::signal::{SigSet, Signal};

/// Answer coding agents as their vendors' services do, from a script
///
/// Listens on 127.0.0.1 and speaks Anthropic Messages, OpenAI Responses, Chat Completions and Gemini. The first line of
/// the output is the base URL. Without a script it does what prompts ask: `say TEXT`, `run COMMAND`, `write FILE TEXT`,
/// `read FILE`, `wait MS`, `slow MS`, `hang` and `fail TROUBLE`, one on a line.
///
/// While it runs, `GET /__log` gives the requests so far, `POST /__script` takes another script, and `POST /__release`
/// lets everything go on that hangs.
#[derive(Debug, Parser)]
#[command(name = "fleet-model", version)]
struct Args {
    /// Answer from this file
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Listen on this port; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
    /// Append each request to this file, as lines of JSON that only you may read
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Write into this HOME what Claude Code, Codex, Pi, OpenCode and Gemini CLI need to talk to this endpoint
    ///
    /// The variables that they want follow the URL, `NAME=value` on a line each, and an empty line. A HOME that has
    /// settings of theirs is refused.
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// With --home: say that this folder is trusted
    #[arg(long, value_name = "DIR", requires = "home")]
    trust: Vec<PathBuf>,
    /// With --home: let them write files of the workspace without a question
    #[arg(long, requires = "home")]
    edits: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until it is asked to end.
fn run(args: &Args) -> Result<(), String> {
    // Blocked before any thread is there, so that the one that waits below gets them.
    let ends: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    ends.thread_block()
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    let script = match &args.script {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            Script::from_json(&text).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None => Script::default(),
    };
    let options = Options {
        script,
        port: args.port,
        log: args.log.as_deref(),
    };
    let server = ModelServer::open(options).map_err(|error| match &args.log {
        Some(log) => format!(
            "cannot listen on port {}, or write {}: {error}",
            args.port,
            log.display()
        ),
        None => format!("cannot listen on port {}: {error}", args.port),
    })?;
    let mut said = format!("{}\n", server.url());
    if let Some(home) = &args.home {
        let trust: Vec<&Path> = args.trust.iter().map(PathBuf::as_path).collect();
        let variables = prepare(&Setup {
            home,
            url: &server.url(),
            trust: &trust,
            edits: args.edits,
        });
        let variables = variables.map_err(|error| format!("cannot prepare {}: {error}", home.display()))?;
        said.extend(variables.iter().map(|(name, value)| format!("{name}={value}\n")));
        said.push('\n');
    }
    // Whoever started it may have closed its output; it serves all the same.
    let _ = io::stdout().write_all(said.as_bytes());
    ends.wait()
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    Ok(())
}
