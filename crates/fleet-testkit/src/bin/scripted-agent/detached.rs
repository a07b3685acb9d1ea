//! Helpers that an agent's tools leave running: detached in the three ways that real ones use.

use std::io::{self, BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use fleet_testkit::raw_command;
use nix::sys::signal::{SigSet, Signal};

/// How a helper gets away from the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detach {
    /// A session of its own.
    Setsid,
    /// Deaf to SIGHUP, in the agent's session.
    Nohup,
    /// A session of its own, and its parent is gone.
    Double,
}

/// What the process is when it was started as a helper.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Helper {
    pub(crate) lives: Duration,
    pub(crate) detach: Detach,
}

impl Detach {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "setsid" => Some(Self::Setsid),
            "nohup" => Some(Self::Nohup),
            "double" => Some(Self::Double),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Setsid => "setsid",
            Self::Nohup => "nohup",
            Self::Double => "double",
        }
    }
}

/// Starts a helper; its pid, once it has really detached itself.
pub(crate) fn spawn(helper: Helper) -> io::Result<u32> {
    let mut child = again(helper).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if helper.detach == Detach::Double {
        // The one in the middle ends at once.
        child.wait()?;
    }
    line.trim()
        .parse()
        .map_err(|_| io::Error::other("the helper did not say its pid"))
}

/// Is the helper: detaches, says its pid, sleeps.
pub(crate) fn run(helper: Helper) -> io::Result<()> {
    match helper.detach {
        Detach::Double => {
            // The pid comes from the helper itself, over the standard output that it inherits.
            again(Helper {
                detach: Detach::Setsid,
                ..helper
            })
            .spawn()?;
            return Ok(());
        }
        Detach::Setsid => drop(nix::unistd::setsid()?),
        Detach::Nohup => SigSet::from(Signal::SIGHUP).thread_block()?,
    }
    writeln!(io::stdout(), "{}", std::process::id())?;
    std::thread::sleep(helper.lives);
    Ok(())
}

fn again(helper: Helper) -> std::process::Command {
    let me = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let mut command = raw_command(me);
    command
        .arg("--helper")
        .arg(helper.lives.as_millis().to_string())
        .arg(helper.detach.word());
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command
}
