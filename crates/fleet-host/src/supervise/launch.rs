//! Starting a supervisor, detached from everything, and hearing how its start went.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use fleet_core::{Error, Result, fault};

use super::spec::{Report, Spec};
use crate::exec::raw_command;
use crate::lock::Lock;
use crate::sys;

/// The first argument by which the executable knows that it is to be a supervisor.
pub const ARGUMENT: &str = "__supervise";

/// Starts the supervisor of `spec` with `executable` and waits until its child runs or has failed.
///
/// The agent's lock passes to the supervisor. `progress` hears of each setup command that begins. Gives the
/// child's process id. Error: the start failed; the detail holds the output that explains it.
pub fn launch(executable: &Path, spec: &Spec, lock: Lock, mut progress: impl FnMut(&str)) -> Result<u32> {
    let cannot = |error: std::io::Error| Error::unavailable(format!("cannot start the supervisor: {error}"));
    let (input, mut to_supervisor) = std::io::pipe().map_err(cannot)?;
    let (from_supervisor, output) = std::io::pipe().map_err(cannot)?;
    let mut command = raw_command(executable);
    command
        .arg(ARGUMENT)
        .arg(spec.agent.as_str())
        .arg(&spec.branch)
        .current_dir("/");
    command.env_clear().env("FLEET_ROLE", "supervisor");
    // Tells whose it is in a list of processes; it reads nothing from there.
    if let Some(home) = spec.agent_dir.parent().and_then(Path::parent) {
        command.env("FLEET_HOME", home);
    }
    if cfg!(debug_assertions) {
        pass_test_variables(&mut command);
    }
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(spec.agent_dir.join("supervisor.log"))
        .map_err(cannot)?;
    command.stdin(input).stdout(output).stderr(Stdio::from(log));
    sys::pass_fd(&mut command, OwnedFd::from(lock.into_file()), 3);
    let mut child = fault::guard("launch.supervisor", || command.spawn()).map_err(cannot)?;
    // The command holds our copies of the pipe ends and of the lock; the supervisor must hold the only ones.
    drop(command);
    let body = serde_json::to_vec(spec).map_err(|error| Error::internal(format!("the specification: {error}")))?;
    let _ = to_supervisor.write_all(&body);
    drop(to_supervisor);
    let _ = child.wait();

    for line in BufReader::new(from_supervisor).lines() {
        let line = line.map_err(cannot)?;
        match serde_json::from_str(&line) {
            Ok(Report::Setup(command)) => progress(&command),
            Ok(Report::Started(pid)) => return Ok(pid),
            Ok(Report::Failed(error)) => return Err(error),
            Err(_) => {}
        }
    }
    Err(Error::failed("the supervisor ended before the program ran")
        .hint(format!("read `{}`", spec.agent_dir.join("supervisor.log").display())))
}

/// The seams of the tests reach a supervisor in debug builds only.
fn pass_test_variables(command: &mut std::process::Command) {
    for (name, value) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("FLEET_TEST_") || text.starts_with("FLEET_FAULT") {
            command.env(&name, value);
        }
    }
}
