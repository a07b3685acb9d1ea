//! What the meter adds to the first byte of a reply: the same request to the scripted endpoint, directly and through the
//! address that a metered agent has.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::page::{Bound, Row};
use super::rows::in_turns;
use super::sample::Sample;
use super::stage::{Stage, millis};
use crate::run::io;
use crate::world::World;
use crate::{Failure, Result, failed};

pub(super) const ROWS: &[&str] = &["meter-first-byte"];

/// The variable that leads the agent's program to its service.
const VARIABLE: &str = "ANTHROPIC_BASE_URL";
/// How long the agent's program may take until it asks.
const STARTS: Duration = Duration::from_secs(30);

/// The endpoint; it ends with this.
struct Endpoint(Child);

impl Drop for Endpoint {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn rows(stage: &mut Stage) -> Result<Vec<Row>> {
    let mut world = World::new("bench-meter", stage.programs.clone())?;
    let folder = world.root().to_owned();
    let (repo, programs) = (folder.join("repo"), folder.join("bin"));
    for each in [&repo, &programs] {
        fs::create_dir(each).map_err(io("make", each))?;
    }
    symlink(stage.programs.join("asker"), programs.join("claude")).map_err(io("link in", &programs))?;
    let mut endpoint = world
        .program(
            &stage.programs.join("fleet-model").display().to_string(),
            &folder,
            [""; 0],
        )
        .into_command()
        .stdout(Stdio::piped())
        .spawn()
        .map(Endpoint)
        .map_err(|error| Failure::Failed(format!("fleet-model does not start: {error}")))?;
    let mut direct = String::new();
    if let Some(said) = endpoint.0.stdout.take() {
        let read = BufReader::new(said).read_line(&mut direct);
        read.map_err(|error| Failure::Failed(format!("fleet-model says nothing: {error}")))?;
    }
    let direct = direct.trim().to_owned();
    world.add(vec![(VARIABLE.into(), direct.clone().into())], &programs)?;
    world.configure("claude_flags = \"\"\nmeter = \"proxy\"\n")?;
    for args in [
        &["init", "-q", "-b", "main"][..],
        &["commit", "-q", "--allow-empty", "-m", "first"],
    ] {
        world.git(&repo, args)?;
    }
    // The agent waits for its answer as long as the measurement goes on.
    let create = [
        "create",
        "one",
        "--agent",
        "claude",
        "--headless",
        "--prompt",
        "ask hang",
    ];
    world.fleet(&repo, create).text()?;
    let metered = address(&world)?;
    let (mut ours, mut floor) = (Sample::default(), Sample::default());
    for round in 0..stage.rounds(201) {
        let (through, directly) = in_turns(round, || first_byte(&metered), || first_byte(&direct))?;
        // The first round opens the meter's connection to its service.
        if round > 0 {
            ours.push(through);
            floor.push(directly);
        }
    }
    world
        .fleet(&repo, ["kill", "one", "--force", "--delete-branch"])
        .text()?;
    Ok(vec![
        Row::times(
            ROWS[0],
            "what the meter adds to the first byte of a streamed reply, on a connection of its own each time",
            &ours.less(&floor),
        )
        .floor("to the first byte without it", &floor)
        .bound(Bound::absolute(2.0, 1.0)),
    ])
}

/// The address that the agent's program was given.
fn address(world: &World) -> Result<String> {
    let begun = Instant::now();
    while begun.elapsed() < STARTS {
        for process in world.processes() {
            let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
            let variables = environment.split(|byte| *byte == 0);
            let texts = variables.filter_map(|each| std::str::from_utf8(each).ok());
            let mut found = texts.filter_map(|each| each.strip_prefix(VARIABLE)?.strip_prefix('='));
            if let Some(found) = found.find(|url| url.ends_with("/anthropic")) {
                return Ok(found.to_owned());
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    failed("the agent has no address of the meter's")
}

/// Milliseconds from the connection to the first byte of the answer's body.
fn first_byte(base: &str) -> Result<f64> {
    let trouble = |error: std::io::Error| Failure::Failed(format!("{base}: {error}"));
    let body = r#"{"model":"claude-opus-4-8","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"say hello"}],"tools":[{"name":"Bash","input_schema":{"properties":{"command":{}}}}]}"#;
    let rest = base.strip_prefix("http://").unwrap_or(base);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    };
    let start = Instant::now();
    let mut stream = TcpStream::connect(host).map_err(trouble)?;
    stream.set_nodelay(true).map_err(trouble)?;
    let request = format!(
        "POST {path}/v1/messages HTTP/1.1\r\nhost: {host}\r\nx-api-key: made-up\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).map_err(trouble)?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line).map_err(trouble)?;
    if !line.contains(" 200 ") {
        return failed(format!("{base} answers {}", line.trim()));
    }
    while line.trim() != "" {
        line.clear();
        answer.read_line(&mut line).map_err(trouble)?;
    }
    answer.fill_buf().map_err(trouble)?;
    let took = millis(start.elapsed());
    answer.read_to_end(&mut Vec::new()).map_err(trouble)?;
    Ok(took)
}
