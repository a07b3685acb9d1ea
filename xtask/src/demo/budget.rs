//! `cargo xtask demo --budget`: a fleet that pauses at its ceiling, and goes on when somebody raises it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::{build, say, seconds, small_repository};
use crate::run::{io, target};
use crate::world::World;
use crate::{Result, failed};

/// Five workers, two at a time, of at most 1 USD each. Each costs 0.80, so that 3 USD reach for three.
fn plan() -> Value {
    let worker = |number: u32| json!({"id": format!("w{number}"), "type": "code-run", "max_budget_usd": 1});
    json!({"fleet_name": "night", "type": "dag", "config": {"max_concurrent": 2},
        "workers": (1..=5).map(worker).collect::<Vec<_>>()})
}

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
    let root = world.root().join("fleet-night");
    write(&root.join("fleet.json"), &plan().to_string())?;
    for number in 1..=5 {
        write(
            &root.join(format!("workers/w{number}/prompt.md")),
            "Do it.\n!cost 0.8\n",
        )?;
    }
    let shown = root.display().to_string();
    let fleet = |args: &[&str]| -> Result<()> {
        println!("$ fleet {}", args.join(" "));
        world.fleet(&repo, args).pass()
    };

    say("a night for 3 USD: five workers of at most 1 USD each (a stand-in for Claude Code costs nothing)");
    println!("$ fleet launch {shown} --budget 3");
    // It says with its exit code that the run is not done; the state is looked at below.
    world.fleet(&repo, ["launch", &shown, "--budget", "3"]).status()?;
    expect(&world, &repo, &shown, "paused", 2.4)?;
    say("what is spent, and why it pauses");
    fleet(&["budget", "show"])?;
    say("somebody wakes up, and allows more");
    fleet(&["budget", "raise", &shown, "+2"])?;
    fleet(&["status", &shown, "--watch"])?;
    expect(&world, &repo, &shown, "done", 4.0)?;
    fleet(&["budget", "show"])?;

    say("what the stand-in was asked, and what is left");
    let asked = fs::read_to_string(&ledger).map_err(io("read", &ledger))?;
    print!("{asked}");
    let paid = asked.lines().filter(|line| line.starts_with("paid ")).count();
    if paid != 5 {
        return failed(format!("{paid} workers were paid for, not 5"));
    }
    match world.processes().len() {
        0 => println!("no process is left"),
        left => return failed(format!("{left} processes are left")),
    }
    say(&format!("done in {} after the build", seconds(start)));
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io("make", folder))?;
    }
    fs::write(path, text).map_err(io("write", path))
}

/// The run is in `state`, has spent `usd`, and that is no more than it may.
fn expect(world: &World, repo: &Path, root: &str, state: &str, usd: f64) -> Result<()> {
    let text = world.fleet(repo, ["status", root, "--json"]).text()?;
    let status: Value = serde_json::from_str(&text).unwrap_or_default();
    let run = &status["runs"][0];
    if run["state"] == state && run["spent_usd"] == usd {
        return Ok(());
    }
    failed(format!(
        "the run is {} and has spent {}, not {state} and {usd}",
        run["state"], run["spent_usd"]
    ))
}
