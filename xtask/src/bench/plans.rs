//! What it costs to run a plan: a thousand workers against GNU make on the same commands, and the hand-over from one
//! worker to the next.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::sys::wait::waitpid;
use serde_json::{Value, json};

use super::page::{Bound, Row, Unit};
use super::sample::Sample;
use super::stage::{Stage, millis};
use crate::run::io;
use crate::{Failure, Result, failed};

pub(crate) const ROWS: &[&str] = &["plan-1000", "plan-1000-cpu", "plan-1000-memory", "hand-over"];

/// What every worker does.
const NAP: &str = "sleep 0.1";
const AT_ONCE: usize = 20;

/// A generator of the same numbers everywhere (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit.max(1)
    }
}

pub(crate) fn rows(stage: &mut Stage) -> Result<Vec<Row>> {
    let count = if stage.quick { 200 } else { 1000 };
    let graph = graph(count);
    let (mut ours, mut floor) = (Sample::default(), Sample::default());
    let (mut cpu, mut memory) = (Sample::default(), Sample::default());
    for round in 0..stage.rounds(3) {
        let made = make(stage, &graph, round)?;
        let run = run(stage, &graph, round)?;
        ours.push(run.took);
        floor.push(made.took);
        cpu.push((run.cpu - made.cpu) / count as f64);
        memory.push(run.memory);
    }
    let what = format!("a plan of {count} workers of 100 ms, {AT_ONCE} at once");
    let make = format!("`make -j{AT_ONCE}` on the same commands");
    Ok(vec![
        Row::times("plan-1000", &what, &ours)
            .floor(&make, &floor)
            .bound(Bound::ratio(1.3, 1.1)),
        Row::times("plan-1000-cpu", "processor time a worker, beyond that of make", &cpu)
            .bound(Bound::absolute(10.0, 5.0)),
        Row::new(
            "plan-1000-memory",
            "private memory of the driver, at its end",
            Unit::Mebibytes,
            &memory,
        ),
        hand_over(stage)?,
    ])
}

/// For each worker those that it waits for.
fn graph(count: usize) -> Vec<Vec<usize>> {
    let mut random = Random(7);
    (0..count)
        .map(|place| {
            let from = place.saturating_sub(60);
            let mut before: Vec<usize> = (0..random.below(4))
                .filter(|_| place > 0)
                .map(|_| from + random.below(place - from))
                .collect();
            before.sort_unstable();
            before.dedup();
            before
        })
        .collect()
}

/// How long something took, the processor time of all its processes, and what the driver held, in MiB.
struct Took {
    took: f64,
    cpu: f64,
    memory: f64,
}

fn folder(stage: &Stage, name: &str) -> Result<PathBuf> {
    let path = stage.world.root().join(name);
    fs::create_dir_all(&path).map_err(io("make", &path))?;
    Ok(path)
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(io("make", parent))?;
    }
    fs::write(path, text).map_err(io("write", path))
}

fn make(stage: &Stage, graph: &[Vec<usize>], round: usize) -> Result<Took> {
    let folder = folder(stage, &format!("make{round}"))?;
    let mut text = "all:".to_owned();
    for place in 0..graph.len() {
        let _ = write!(text, " w{place}");
    }
    for (place, before) in graph.iter().enumerate() {
        let _ = write!(text, "\n\nw{place}:");
        for each in before {
            let _ = write!(text, " w{each}");
        }
        let _ = write!(text, "\n\t@{NAP}; touch $@");
    }
    write(&folder.join("Makefile"), &(text + "\n"))?;
    let before = used();
    let start = Instant::now();
    stage
        .world
        .program("make", &folder, [format!("-j{AT_ONCE}"), "all".to_owned()])
        .text()?;
    Ok(Took {
        took: millis(start.elapsed()),
        cpu: used() - before,
        memory: 0.0,
    })
}

/// A fleet root with a worker for each place of `graph`, that runs `command`.
fn root(stage: &Stage, name: &str, graph: &[Vec<usize>], at_once: usize) -> Result<PathBuf> {
    let root = folder(stage, name)?;
    let workers: Vec<Value> = graph
        .iter()
        .enumerate()
        .map(|(place, before)| {
            let before: Vec<String> = before.iter().map(|each| format!("w{each}")).collect();
            json!({"id": format!("w{place}"), "type": "code-run", "depends_on": before, "max_budget_usd": 0.25})
        })
        .collect();
    for place in 0..graph.len() {
        write(&root.join(format!("workers/w{place}/prompt.md")), "Do it.\n")?;
    }
    let plan = json!({"fleet_name": name, "type": "dag", "config": {"provider": "nap", "max_concurrent": at_once},
        "workers": workers});
    write(&root.join("fleet.json"), &plan.to_string())?;
    Ok(root)
}

/// Runs a plan to its end.
fn launch(stage: &Stage, root: &Path) -> Result<Took> {
    set_child_subreaper(true).map_err(|error| Failure::Failed(format!("prctl: {error}")))?;
    let before = used();
    let start = Instant::now();
    let shown = root.display().to_string();
    stage
        .world
        .fleet(stage.world.root(), ["launch", &shown, "--detach"])
        .text()?;
    let driver = stage
        .world
        .processes()
        .into_iter()
        .find(|process| process.argv.get(1).is_some_and(|word| word == "__drive"));
    let mut memory: f64 = 0.0;
    // The driver and every supervisor leave the process that started them, and are this one's then: when none is left,
    // the run is over.
    for gone in 0.. {
        if waitpid(None, None) == Err(nix::errno::Errno::ECHILD) {
            break;
        }
        if gone % 50 == 0
            && let Some(now) = driver.as_ref().and_then(|driver| driver.private_memory())
        {
            memory = memory.max(now as f64 / f64::from(1 << 20));
        }
    }
    let took = millis(start.elapsed());
    let cpu = used() - before;
    set_child_subreaper(false).map_err(|error| Failure::Failed(format!("prctl: {error}")))?;
    let text = stage
        .world
        .fleet(stage.world.root(), ["status", &shown, "--json"])
        .text()?;
    let status: Value = serde_json::from_str(&text).unwrap_or_default();
    if status["runs"][0]["state"] != "done" {
        return failed(format!("the run is not done: {}", status["runs"][0]["state"]));
    }
    Ok(Took { took, cpu, memory })
}

fn run(stage: &mut Stage, graph: &[Vec<usize>], round: usize) -> Result<Took> {
    let root = root(stage, &format!("plan{round}"), graph, AT_ONCE)?;
    launch(stage, &root)
}

/// From the end of one worker to the start of the next, each in its own process: a chain.
fn hand_over(stage: &mut Stage) -> Result<Row> {
    let count = if stage.quick { 10 } else { 50 };
    let chain: Vec<Vec<usize>> = (0..count)
        .map(|place: usize| place.checked_sub(1).into_iter().collect())
        .collect();
    let root = root(stage, "chain", &chain, 1)?;
    let plan = fs::read_to_string(root.join("fleet.json")).map_err(io("read", &root))?;
    write(&root.join("fleet.json"), &plan.replace("\"nap\"", "\"clock\""))?;
    launch(stage, &root)?;
    let log = stage.world.root().join("clock");
    let text = fs::read_to_string(&log).map_err(io("read", &log))?;
    let stamps: Vec<f64> = text
        .lines()
        .filter_map(|line| line.parse::<f64>().ok())
        .map(|nanos| nanos / 1e6)
        .collect();
    let gaps = stamps
        .get(1..)
        .unwrap_or_default()
        .chunks(2)
        .filter(|pair| pair.len() == 2)
        .map(|pair| pair[1] - pair[0]);
    let what = "from the end of a worker to the start of the next, both programs' own moments";
    Ok(Row::times("hand-over", what, &Sample::of(gaps)).bound(Bound::absolute(50.0, 10.0)))
}

/// The harnesses of these rows, for the settings.
pub(crate) fn harnesses(root: &Path) -> String {
    let log = root.join("clock");
    format!(
        "\n[harness.nap]\ncommand = [\"/bin/sh\", \"-c\", \"{NAP}\"]\nprompt = \"stdin\"\n\
         \n[harness.clock]\ncommand = [\"/bin/sh\", \"-c\", \"date +%s%N >> {0}; sleep 0.02; date +%s%N >> {0}\"]\nprompt = \"stdin\"\n",
        log.display()
    )
}

/// Processor time of all children that have been waited for, in milliseconds.
fn used() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN);
    usage.map_or(0.0, |usage| {
        (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1000.0
    })
}
