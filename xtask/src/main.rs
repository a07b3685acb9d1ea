//! The project's own chores: `cargo xtask demo|test|tidy|gen|record|bench`.
//!
//! Each chore is one module with a `main` that takes the rest of the command line. What they share: [`args`] takes
//! that apart, [`run`] starts programs, [`install`] gets missing ones, [`procs`] looks at processes.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a tool for those who work on fleet: it prints, spawns and reads the environment itself"
)]

mod alone;
mod args;
mod bench;
mod clis;
mod demo;
mod drill;
mod endpoint;
mod generate;
mod install;
mod meters;
mod procs;
mod prompts;
mod record;
mod restrictions;
mod run;
mod states;
mod suite;
mod tidy;
mod world;

use std::process::ExitCode;

use args::Args;

/// Why a chore did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The command line was wrong; the text says how it should be.
    Usage(String),
    /// The chore itself failed.
    Failed(String),
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// One chore: its name, what it does, its own usage, and its code.
struct Chore {
    name: &'static str,
    about: &'static str,
    usage: &'static str,
    main: fn(Args) -> Result<()>,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "demo",
        about: "show a whole fleet, from nothing to nothing",
        usage: demo::USAGE,
        main: demo::main,
    },
    Chore {
        name: "test",
        about: "install what the tests need and run them all",
        usage: suite::USAGE,
        main: suite::main,
    },
    Chore {
        name: "tidy",
        about: "check the rules that the compiler cannot",
        usage: tidy::USAGE,
        main: tidy::main,
    },
    Chore {
        name: "gen",
        about: "write docs/reference from the code",
        usage: generate::USAGE,
        main: generate::main,
    },
    Chore {
        name: "record",
        about: "record the states of the real agent programs",
        usage: record::USAGE,
        main: record::main,
    },
    Chore {
        name: "bench",
        about: "measure, each row beside its floor",
        usage: bench::USAGE,
        main: bench::main,
    },
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        let list: Vec<String> = CHORES
            .iter()
            .map(|chore| format!("  {:<6} {}", chore.name, chore.about))
            .collect();
        let list = format!("usage: cargo xtask CHORE [--help]\n\n{}", list.join("\n"));
        return match name.as_str() {
            "help" | "--help" | "-h" => answer(&list),
            "" => refuse(&list),
            _ => refuse(&format!("`{name}` is no chore\n{list}")),
        };
    };
    let args = Args::new(words);
    if args.asks_for_help() {
        return answer(chore.usage);
    }
    match (chore.main)(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => refuse(&format!("{text}\n{}", chore.usage)),
        Err(Failure::Failed(text)) => {
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

/// The error of a chore that failed.
pub(crate) fn failed<T>(text: impl Into<String>) -> Result<T> {
    Err(Failure::Failed(text.into()))
}

fn answer(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}

fn refuse(text: &str) -> ExitCode {
    eprintln!("error: {text}");
    ExitCode::from(2)
}
