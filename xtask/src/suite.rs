//! `cargo xtask test`: everything the tests need, then all of them.
//!
//! The tests with real agent programs are a program of their own, `real`, which `cargo test` leaves out: it runs in a
//! network namespace, after all others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::alone::Alone;
use crate::args::Args;
use crate::clis::{self, CLIS};
use crate::install::{self, GIT, TMUX, Tool};
use crate::run::{Run, cargo, root};
use crate::{Failure, Result, failed};

pub(crate) const USAGE: &str = "usage: cargo xtask test [--full] [--allow-missing] [FILTER…]

Installs what the tests need and runs those whose name contains a FILTER, or all. `real` alone means the tests with
real agent programs.

  --full            as many rounds as the project asks for, not only as many as fit a quick check
  --allow-missing   succeed also when a group of tests could not run on this machine";

/// What the tests run beside the project's own programs.
const TOOLS: &[Tool] = &[
    GIT,
    TMUX,
    Tool {
        program: "vim",
        package: "vim",
    },
    Tool {
        program: "less",
        package: "less",
    },
    Tool {
        program: "setsid",
        package: "util-linux",
    },
    Tool {
        program: "unshare",
        package: "util-linux",
    },
    Tool {
        program: "ps",
        package: "procps",
    },
];

/// The test program with the real agent programs.
const REAL: &str = "real";
/// They are large, and slow when there are more of them than processors.
const REAL_THREADS: usize = 2;

pub(crate) fn main(mut args: Args) -> Result<()> {
    let full = args.flag("--full");
    let allow_missing = args.flag("--allow-missing");
    let mut filters = args.words()?;
    let only_real = filters == [REAL];
    if only_real {
        filters.clear();
    }
    let mut missing = BTreeSet::new();
    if let Err(Failure::Failed(why)) = install::require(TOOLS, "the tests") {
        // What does not need them runs nevertheless; the end tells.
        missing.insert(why);
    }
    // The tests of one crate run the programs of another, which `cargo test` alone would not build.
    Run::cargo("build").args(["--workspace", "--bins"]).pass()?;

    let dir = tempfile::tempdir().map_err(|error| Failure::Failed(format!("no temporary folder: {error}")))?;
    // A test whose group cannot run here appends `group: why` to this file.
    let said = dir.path().join("missing");
    let prepared = |run: Run, threads: usize| {
        let run = run
            .args(["--no-fail-fast"])
            .env("RUST_BACKTRACE", "0")
            .env("RUST_TEST_THREADS", threads.to_string())
            .env("FLEET_TEST_MISSING", &said);
        let run = if full { run.env("FLEET_TEST_FULL", "1") } else { run };
        run.args(["--"]).args(&filters)
    };
    let mut ran = Ok(());
    if !only_real {
        ran = prepared(Run::cargo("test").args(["--workspace"]), threads()).pass();
    }
    if has_real(&filters)? {
        match real() {
            Ok(run) => ran = ran.and(prepared(run, REAL_THREADS).pass()),
            Err(Failure::Failed(why)) => drop(missing.insert(format!("{REAL}: {why}"))),
            Err(usage) => return Err(usage),
        }
    }
    missing.extend(lines(&said));
    if !missing.is_empty() {
        println!("\ncould not run on this machine:");
        for group in &missing {
            println!("  {group}");
        }
    }
    ran.and_then(|()| accept(&missing, allow_missing))
}

/// What was not run is no success, unless that was said to do.
fn accept(missing: &BTreeSet<String>, allow_missing: bool) -> Result<()> {
    if missing.is_empty() || allow_missing {
        return Ok(());
    }
    failed("some groups of tests could not run (`--allow-missing` accepts that)")
}

/// Whether the program with the real agent programs has a test for these filters.
fn has_real(filters: &[String]) -> Result<bool> {
    let list = Run::cargo("test")
        .args(["--quiet", "--package", "fleet", "--test", REAL, "--", "--list"])
        .args(filters)
        .text()?;
    Ok(list.lines().any(|line| line.ends_with(": test")))
}

/// A run of it in a namespace of its own, with the programs that it wants. Error: this machine cannot have them.
pub(crate) fn real() -> Result<Run> {
    let alone = Alone::find("the tests with real agent programs")?;
    let all: Vec<_> = CLIS.iter().collect();
    let programs = clis::install(&all, "the tests with real agent programs")?;
    let args = ["test", "--locked", "--package", "fleet", "--test", REAL];
    Ok(alone.run(cargo(), &root(), args).env("FLEET_TEST_CLIS", programs))
}

/// Tests wait for other processes more than they compute, but those compute too.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8))
}

fn lines(path: &Path) -> BTreeSet<String> {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(ToOwned::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_could_not_run_are_told_once_and_are_no_success_unless_allowed() {
        let dir = tempfile::tempdir().expect("a folder");
        let said = dir.path().join("missing");
        assert_eq!(accept(&lines(&said), false), Ok(()), "nobody said anything");
        fs::write(&said, "mounts: not permitted\nmounts: not permitted\n").expect("written");
        let missing = lines(&said);
        assert_eq!(missing.len(), 1);
        assert!(accept(&missing, false).is_err());
        assert_eq!(accept(&missing, true), Ok(()));
    }
}
