//! How soon a change on a program's screen is a fact in its journal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fleet_core::fact::Fact;
use fleet_core::{Error, Kind};
use fleet_host::supervise::client::{Client, Event};

use super::page::{Bound, Row};
use super::sample::Sample;
use super::stage::{Stage, millis};
use crate::run::io;
use crate::{Failure, Result, failed};

/// What a spinner shows, in turn, and how often it moves.
const FRAMES: [&str; 4] = [
    "\r\x1b[K| thinking",
    "\r\x1b[K/ thinking",
    "\r\x1b[K- thinking",
    "\r\x1b[K\\ thinking",
];
const FRAME: Duration = Duration::from_millis(80);
/// What a program shows that takes a prompt.
const PROMPT: &str = "\r\x1b[K> ";
const PATIENCE: Duration = Duration::from_secs(10);

/// The rows. One who watches is told right after the journal was written, so what is measured is a little more.
pub(super) fn rows(stage: &mut Stage) -> Result<Vec<Row>> {
    let repo = stage.repo("files200", 200)?;
    stage.fleet(&repo, &["create", "still", "--agent", "still"])?;
    let agents = stage.agents(&repo)?;
    let Some(agent) = agents.iter().find(|agent| agent["branch"] == "still") else {
        return failed("the agent is not listed");
    };
    let path = format!("/proc/{}/fd/1", agent["pid"]);
    let terminal = OpenOptions::new().write(true).open(&path);
    let mut terminal = terminal.map_err(io("open", Path::new(&path)))?;
    let socket = agent["id"].as_str().unwrap_or_default();
    let socket = stage.world.fleet_home().join(format!("run/{socket}.sock"));
    let mut client = Client::connect(&socket).map_err(told)?;
    client.watch().map_err(told)?;

    let rounds = stage.rounds(201);
    let (mut work, mut prompt) = (Sample::default(), Sample::default());
    to_prompt(&mut terminal, &mut client)?;
    for round in 0..rounds {
        // Not in step with anything that the other side counts.
        let rest = Duration::from_millis(60 + 7 * (round as u64 % 11));
        thread::sleep(rest);
        work.push(to_work(&mut terminal, &mut client)?);
        thread::sleep(rest);
        prompt.push(to_prompt(&mut terminal, &mut client)?);
    }
    stage.fleet(&repo, &["kill", "still", "--force"])?;
    stage.clean(&repo)?;

    let floor = pipe(rounds)?;
    let what_floor = "a byte through a pipe, until its reader has it";
    let bound = Bound::absolute(200.0, 100.0);
    let row = |name, what: &str, sample: &Sample| Row::times(name, what, sample).floor(what_floor, &floor).bound(bound);
    let p99 = |name, sample: &Sample| {
        let what = format!("the same, one in a hundred of {rounds} takes longer");
        Row::times(name, &what, &sample.worst_of_a_hundred()).bound(bound)
    };
    Ok(vec![
        row(
            "state-work",
            "from a spinner's first frame on the screen, which then goes on, to `working` in the journal",
            &work,
        ),
        p99("state-work-p99", &work),
        row(
            "state-prompt",
            "from the prompt on the screen to `ready` in the journal",
            &prompt,
        ),
        p99("state-prompt-p99", &prompt),
    ])
}

/// Milliseconds from the first frame of a spinner until the program is known to work.
fn to_work(terminal: &mut File, client: &mut Client) -> Result<f64> {
    let start = Instant::now();
    for frame in FRAMES.iter().cycle() {
        show(terminal, frame)?;
        if wait(client, Instant::now() + FRAME, |fact| matches!(fact, Fact::Busy { .. }))? {
            break;
        }
        if start.elapsed() > PATIENCE {
            return failed("a spinner was not seen");
        }
    }
    Ok(millis(start.elapsed()))
}

/// Milliseconds from the prompt until the program is known to be there.
fn to_prompt(terminal: &mut File, client: &mut Client) -> Result<f64> {
    let start = Instant::now();
    show(terminal, PROMPT)?;
    match wait(client, start + PATIENCE, |fact| matches!(fact, Fact::Ready { .. }))? {
        true => Ok(millis(start.elapsed())),
        false => failed("a prompt was not seen"),
    }
}

fn show(terminal: &mut File, text: &str) -> Result<()> {
    terminal
        .write_all(text.as_bytes())
        .map_err(io("write", Path::new("the terminal")))
}

/// Whether a fact comes for which `wanted` is true.
fn wait(client: &mut Client, deadline: Instant, wanted: fn(&Fact) -> bool) -> Result<bool> {
    loop {
        match client.event(Some(deadline)) {
            Ok(Some(Event::Entry(entry))) if wanted(&entry.fact) => return Ok(true),
            Ok(Some(_)) => {}
            Ok(None) => return failed("the supervisor has gone"),
            Err(error) if error.kind == Kind::Timeout => return Ok(false),
            Err(error) => return Err(told(error)),
        }
    }
}

/// The same news through a pipe, whose reader does nothing but wait for it.
fn pipe(rounds: usize) -> Result<Sample> {
    let (mut reader, mut writer) = std::io::pipe().map_err(io("make", Path::new("a pipe")))?;
    let (sender, received) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut byte = [0];
        while reader.read_exact(&mut byte).is_ok() && sender.send(Instant::now()).is_ok() {}
    });
    let mut sample = Sample::default();
    for _ in 0..rounds {
        thread::sleep(Duration::from_millis(5));
        let start = Instant::now();
        writer.write_all(b"x").map_err(io("write", Path::new("a pipe")))?;
        let at = received.recv_timeout(PATIENCE);
        let at = at.map_err(|_| Failure::Failed("a byte was lost in a pipe".to_owned()))?;
        sample.push(millis(at.saturating_duration_since(start)));
    }
    drop(writer);
    let _ = reading.join();
    Ok(sample)
}

fn told(error: Error) -> Failure {
    Failure::Failed(error.message)
}
