//! Starting programs under a supervisor: on its terminal, or on pipes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use fleet_core::fault;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::openpty;

use crate::exec::{raw_command, set_nonblocking};
use crate::{process, sys};

/// Both ends of the agent's terminal.
///
/// The program's side stays open here as well: its input queue can be measured, and the output of a program
/// that has ended stays readable to the last byte.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

impl Terminal {
    pub(crate) fn open(rows: u16, cols: u16) -> io::Result<Terminal> {
        let pair = openpty(None, None)?;
        for fd in [pair.master.as_fd(), pair.slave.as_fd()] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        sys::set_window_size(pair.master.as_fd(), rows, cols)?;
        set_nonblocking(pair.master.as_fd()).map_err(|error| io::Error::other(error.message))?;
        Ok(Terminal {
            master: pair.master,
            slave: pair.slave,
        })
    }

    /// Whether the terminal collects lines itself (no program has switched that off).
    pub(crate) fn is_cooked(&self) -> bool {
        nix::sys::termios::tcgetattr(&self.slave)
            .is_ok_and(|settings| settings.local_flags.contains(nix::sys::termios::LocalFlags::ICANON))
    }

    /// Bytes that no program has read yet.
    pub(crate) fn pending(&self) -> usize {
        sys::pending_input(self.slave.as_fd()).unwrap_or(0)
    }
}

/// A started process: its pid and start time.
pub(crate) type Started = (u32, u64);

/// Starts `argv` as the foreground program of `terminal`.
pub(crate) fn on_terminal(
    site: &'static str,
    argv: &[String],
    cwd: &Path,
    env: &[(String, String)],
    terminal: &Terminal,
) -> io::Result<Started> {
    let mut command = prepare(argv, cwd, env)?;
    command.stdin(Stdio::from(terminal.slave.try_clone()?));
    command.stdout(Stdio::from(terminal.slave.try_clone()?));
    command.stderr(Stdio::from(terminal.slave.try_clone()?));
    sys::with_controlling_terminal(&mut command);
    start(site, command).map(|(started, _)| started)
}

/// Standard input of a program on pipes.
pub(crate) struct Input {
    pub(crate) pipe: std::process::ChildStdin,
    /// What is still to be written.
    pub(crate) rest: Vec<u8>,
    /// Whether it is left open when all is written.
    pub(crate) stays_open: bool,
}

/// What a program on pipes is written to and read from.
pub(crate) struct Pipes {
    pub(crate) stdin: std::process::ChildStdin,
    pub(crate) output: OwnedFd,
    /// Its standard error, where that is wanted apart from its output.
    pub(crate) errors: Option<OwnedFd>,
}

/// Starts `argv` without a terminal.
pub(crate) fn on_pipes(
    site: &'static str,
    argv: &[String],
    cwd: &Path,
    env: &[(String, String)],
    errors_apart: bool,
) -> io::Result<(Started, Pipes)> {
    let (output, writer) = io::pipe()?;
    let mut command = prepare(argv, cwd, env)?;
    let errors = match errors_apart {
        true => {
            let (errors, writer) = io::pipe()?;
            command.stderr(writer);
            Some(OwnedFd::from(errors))
        }
        false => {
            command.stderr(writer.try_clone()?);
            None
        }
    };
    command.stdin(Stdio::piped()).stdout(writer);
    sys::with_new_session(&mut command);
    let (started, stdin) = start(site, command)?;
    let stdin = stdin.ok_or_else(|| io::Error::other("no standard input"))?;
    let pipes = Pipes {
        stdin,
        output: OwnedFd::from(output),
        errors,
    };
    let ours = [pipes.output.as_fd(), pipes.stdin.as_fd()];
    for fd in ours.into_iter().chain(pipes.errors.as_ref().map(AsFd::as_fd)) {
        set_nonblocking(fd).map_err(|error| io::Error::other(error.message))?;
    }
    Ok((started, pipes))
}

fn prepare(argv: &[String], cwd: &Path, env: &[(String, String)]) -> io::Result<Command> {
    let (program, args) = argv.split_first().ok_or_else(|| io::Error::other("an empty command"))?;
    if !cwd.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("the workspace {} is gone", cwd.display()),
        ));
    }
    let path = env
        .iter()
        .find(|(name, _)| name == "PATH")
        .map_or("/usr/bin:/bin", |(_, path)| path);
    let program = crate::exec::find_program(program, path).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("`{program}` is not installed or not on PATH"),
        )
    })?;
    let mut command = raw_command(program);
    command
        .args(args)
        .current_dir(cwd)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// The supervisor reaps every child by waitpid(-1), so the handle of the standard library is let go.
fn start(site: &'static str, mut command: Command) -> io::Result<(Started, Option<std::process::ChildStdin>)> {
    let mut child = fault::guard(site, || command.spawn())?;
    let pid = child.id();
    Ok(((pid, process::start_time(pid).unwrap_or(0)), child.stdin.take()))
}
