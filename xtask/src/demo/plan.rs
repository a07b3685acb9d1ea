//! `cargo xtask demo --plan`: an iterative plan, from answers to a run that the reviewer has accepted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::{build, say, seconds, small_repository};
use crate::run::{io, target};
use crate::world::World;
use crate::{Result, failed};

/// What is to be done, as `fleet plan --from` reads it. The stand-in for Claude Code takes lines that begin with `!` as
/// orders; the rest is what a model would read.
const ANSWERS: &str = r#"name = "greeting"
type = "iterative"
review = """
Is it a greeting, and does it name the reader?
!cost 0.03
!verdict iterate lgtm"""
max_iterations = 4
max_budget_fleet = 12

[[workers]]
id = "write"
type = "write"
size = "edit"
task = """
Write a greeting.
!cost 0.12
!append $FLEET_ROOT/workers/write/output/greeting.txt Hello!"""

[[workers]]
id = "check"
type = "read-only"
size = "edit"
after = ["write"]
task = """
Read the greeting in $FLEET_ROOT/workers/write/output/greeting.txt aloud.
!cost 0.01
!fail 529 1"""
"#;

pub(super) fn main() -> Result<()> {
    build()?;
    let start = Instant::now();
    let mut world = World::new("demo", target().join("debug"))?;
    let bin = world.root().join("bin");
    fs::create_dir(&bin).map_err(io("make", &bin))?;
    let stand_in = target().join("debug/worker");
    symlink(&stand_in, bin.join("claude")).map_err(io("link", &stand_in))?;
    let ledger = world.root().join("ledger");
    world.add(vec![("WORKER_LEDGER".into(), ledger.clone().into())], &bin)?;
    world.configure("claude_flags = \"\"\n")?;
    let repo = small_repository(&world)?;
    let answers = world.root().join("answers.toml");
    fs::write(&answers, ANSWERS).map_err(io("write", &answers))?;
    let root = world.root().join("fleet-greeting");
    let (shown_root, shown_answers) = (root.display().to_string(), answers.display().to_string());
    let fleet = |args: &[&str]| -> Result<()> {
        println!("$ fleet {}", args.join(" "));
        world.fleet(&repo, args).pass()
    };

    say("a plan from answers, without a model");
    fleet(&["plan", "--from", &shown_answers, &shown_root])?;
    say("everything that is wrong with it, before anything is started");
    fleet(&["check", &shown_root])?;
    fleet(&["launch", &shown_root, "--dry-run"])?;
    say("the run: two workers and a reviewer, round after round (a stand-in for Claude Code costs nothing)");
    fleet(&["launch", &shown_root])?;
    say("what came of it");
    fleet(&["status", &shown_root, "--report"])?;
    show(&root, "iterations/2/review.md")?;
    show(&root, "workers/write/output/greeting.txt")?;
    prove(&world, &repo, &shown_root, &ledger)?;
    say(&format!("done in {} after the build", seconds(start)));
    Ok(())
}

fn show(root: &Path, file: &str) -> Result<()> {
    let path = root.join(file);
    let text = fs::read_to_string(&path).map_err(io("read", &path))?;
    println!("$ cat {file}\n{}", text.trim_end());
    Ok(())
}

/// The run is done in two rounds, the trouble of the service in each cost a second try and nothing else, and nothing is left.
fn prove(world: &World, repo: &Path, root: &str, ledger: &Path) -> Result<()> {
    say("what the stand-in was asked, and what is left");
    let text = world.fleet(repo, ["status", root, "--json"]).text()?;
    let status: Value = serde_json::from_str(&text).unwrap_or_default();
    let run = &status["runs"][0];
    if run["state"] != "done" || run["round"] != 2 {
        return failed(format!(
            "the run is {} in round {}, not done in round 2",
            run["state"], run["round"]
        ));
    }
    let asked = fs::read_to_string(ledger).map_err(io("read", ledger))?;
    print!("{asked}");
    let resumed = asked.lines().filter(|line| line.starts_with("resumed ")).count();
    let paid = asked.lines().filter(|line| line.starts_with("paid ")).count();
    if (paid, resumed) != (6, 2) {
        return failed(format!(
            "{paid} steps were begun and {resumed} gone on with, not 6 and 2"
        ));
    }
    let left = world.processes().len();
    if left > 0 {
        return failed(format!("{left} processes are left"));
    }
    println!("no process is left");
    Ok(())
}
