//! `cargo xtask bench`: what fleet costs, each row beside its floor measured in the same run.
//!
//! - [`rows`]: what is measured and how; [`stage`]: the world it happens in
//! - [`seen`]: how soon a change of state is known; [`real`]: what is measured with the real agent programs, for which the
//!   whole run goes into a network namespace of its own
//! - [`sample`]: numbers and their spread; [`page`]: the table and the JSON

mod meter;
mod page;
mod plans;
mod real;
mod rows;
mod sample;
mod seen;
mod stage;

use std::fs;

use crate::alone;
use crate::args::Args;
use crate::clis;
use crate::install::{self, GIT, TMUX};
use crate::run::{Run, io, root, target};
use crate::{Failure, Result};
use page::Report;
use rows::GROUPS;
use stage::Stage;

pub(crate) const USAGE: &str = "usage: cargo xtask bench [ROW…] [--quick] [--json] [--no-build]

Builds for release and measures the rows whose names begin with a ROW, or all; `real` means those with the real agent
programs, which are installed first. Writes target/bench.json, and after a run of all rows that was not --quick
docs/benchmarks.md.

  --quick      few samples: to see whether it works
  --json       print JSON instead of the table
  --no-build   measure the release programs that are there";

const PAGE: &str = "docs/benchmarks.md";

pub(crate) fn main(mut args: Args) -> Result<()> {
    let quick = args.flag("--quick");
    let json = args.flag("--json");
    let build = !args.flag("--no-build");
    let wanted = args.words()?;
    if let Some(word) = wanted
        .iter()
        .find(|word| !rows::names().any(|name| name.starts_with(word.as_str())))
    {
        let names: Vec<_> = rows::names().collect();
        return Err(Failure::Usage(format!(
            "`{word}` is no row; the rows are {}",
            names.join(", ")
        )));
    }
    install::require(&[GIT, TMUX], "the benchmark")?;
    // The part that runs in a namespace measures what the other has built.
    if build && alone::inside().is_none() {
        eprintln!("building for release");
        Run::cargo("build")
            .args([
                "--quiet",
                "--release",
                "--package",
                "fleet",
                "--package",
                "fleet-testkit",
                "--bins",
            ])
            .pass()?;
    }

    let asked = |name: &str| wanted.is_empty() || wanted.iter().any(|word| means(word, name));
    if real::names().any(asked) && alone::inside().is_none() {
        let all: Vec<_> = clis::CLIS.iter().collect();
        return alone::go_inside("the benchmark", &all);
    }
    let mut stage = Stage::set(target().join("release"), quick)?;
    let mut report = Report::of_this_machine(&stage)?;
    for group in GROUPS.iter().filter(|group| group.rows.iter().any(|name| asked(name))) {
        eprintln!("measuring {}", group.rows.join(", "));
        report.rows.extend((group.measure)(&mut stage)?);
    }
    drop(stage);

    let path = target().join("bench.json");
    fs::write(&path, report.json()).map_err(io("write", &path))?;
    if json {
        print!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    if quick || !wanted.is_empty() {
        eprintln!("{PAGE} is left alone: it takes a full run of all rows");
        return Ok(());
    }
    let path = root().join(PAGE);
    let present = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, report.page(&present)).map_err(io("write", &path))?;
    eprintln!("wrote {PAGE}");
    Ok(())
}

/// A word means the row of that name, else all whose names begin with it.
fn means(word: &str, name: &str) -> bool {
    if rows::names().any(|known| known == word) {
        name == word
    } else {
        name.starts_with(word)
    }
}
