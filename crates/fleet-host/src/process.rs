//! Processes of this machine as `/proc` shows them: who they are, whose they are, and how they end.
//!
//! A process is known by boot, number and start time, so that a number used again is never mistaken for the
//! process that had it. Nothing here forks, and waiting is done on pidfds.

mod end;
mod mark;
mod rest;
mod table;
mod usage;

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

pub use self::end::end_all;
pub use self::mark::{
    descendants_of_agent, has_children, is_supervisor_of, marked, wait_for_gits, with_variable, working_in,
};
pub use self::rest::settle;
pub use self::table::{Process, Table};
pub use self::usage::{Usage, UsageCache, cpu_percent, usage};
use crate::sys;

/// One process of one boot of this machine. It never means another process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The boot it belongs to, as [`boot_id`] gives it.
    pub boot: String,
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub start: u64,
}

impl Identity {
    /// The identity of the process `pid`; none when there is no such process.
    pub fn of(pid: u32) -> Option<Identity> {
        Some(Identity {
            boot: boot_id(),
            pid,
            start: start_time(pid)?,
        })
    }

    /// The identity of this process.
    pub fn own() -> Identity {
        Identity::of(std::process::id()).unwrap_or(Identity {
            boot: boot_id(),
            pid: std::process::id(),
            start: 0,
        })
    }
}

/// Milliseconds since this boot, sleep included: a clock that nobody can set.
pub fn since_boot() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    now.map_or(0, |now| {
        now.tv_sec().unsigned_abs() * 1000 + now.tv_nsec().unsigned_abs() / 1_000_000
    })
}

/// The id of this boot. Debug builds take it from `FLEET_TEST_BOOT_ID`, by which a test stages a reboot.
pub fn boot_id() -> String {
    this_boot().to_owned()
}

/// When the process `pid` started, in clock ticks since the boot; none when there is no such process.
pub fn start_time(pid: u32) -> Option<u64> {
    stat(pid).map(|process| process.start)
}

/// Whether that very process still runs. A zombie does not.
pub fn is_running(identity: &Identity) -> bool {
    identity.boot == this_boot()
        && stat(identity.pid).is_some_and(|process| process.start == identity.start && process.is_running())
}

/// Sends `signal` to that very process. False when it no longer runs or is not ours to signal.
pub fn signal(identity: &Identity, signal: Signal) -> bool {
    handle(identity).is_some_and(|pidfd| sys::pidfd_signal(pidfd.as_fd(), signal).is_ok())
}

/// Ends that very process by SIGKILL. False when it no longer runs or is not ours to signal.
pub fn kill(identity: &Identity) -> bool {
    signal(identity, Signal::SIGKILL)
}

/// Sends SIGINT to the process group that `leader` leads: a child of this process that it has not reaped, so that
/// the number is its own.
pub fn interrupt_group(leader: u32) {
    if let Ok(leader) = i32::try_from(leader) {
        let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(leader), Signal::SIGINT);
    }
}

/// A pidfd of that very process, while it runs. It becomes readable when the process ends.
pub fn handle(identity: &Identity) -> Option<OwnedFd> {
    let pidfd = sys::pidfd_open(identity.pid).ok()?;
    // Checked after the opening: from here on the number cannot pass to another process unnoticed.
    is_running(identity).then_some(pidfd)
}

fn this_boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    let read = || {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    BOOT.get_or_init(|| staged_boot_id().unwrap_or_else(read))
}

/// One process out of its `/proc/PID/stat`.
fn stat(pid: u32) -> Option<Process> {
    let mut buffer = [0; 1024];
    let length = std::fs::File::open(format!("/proc/{pid}/stat"))
        .ok()?
        .read(&mut buffer)
        .ok()?;
    Process::parse(&buffer[..length])
}

#[expect(
    clippy::disallowed_methods,
    reason = "a seam of debug builds; no surface may pass it on"
)]
fn staged_boot_id() -> Option<String> {
    if cfg!(debug_assertions) {
        std::env::var("FLEET_TEST_BOOT_ID").ok()
    } else {
        None
    }
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    nix::unistd::getuid().is_root()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// A shell script in a process group of its own; the group is killed when this is dropped.
    pub(crate) struct Script {
        pub(crate) child: Child,
        pids: Vec<(String, u32)>,
    }

    impl Script {
        /// Runs `text` until it has printed a line `name=pid` for every one of `names`.
        pub(crate) fn start(text: &str, env: &[(&str, &str)], names: &[&str]) -> Script {
            let mut command = crate::exec::raw_command("sh");
            command
                .arg("-c")
                .arg(text)
                .env_remove("FLEET_ROLE")
                .envs(env.iter().copied());
            command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
            let mut child = command.spawn().expect("sh");
            let mut output = BufReader::new(child.stdout.take().expect("piped"));
            let mut pids = Vec::new();
            while pids.len() < names.len() {
                let mut line = String::new();
                assert_ne!(
                    output.read_line(&mut line).expect("output"),
                    0,
                    "the script ended early"
                );
                let (name, pid) = line.trim().split_once('=').expect("name=pid");
                pids.push((name.to_owned(), pid.parse().expect("a number")));
            }
            Script { child, pids }
        }

        pub(crate) fn pid(&self) -> u32 {
            self.child.id()
        }

        /// The number that the script printed under `name`.
        pub(crate) fn pid_of(&self, name: &str) -> u32 {
            self.pids
                .iter()
                .find(|(each, _)| each == name)
                .expect("a name it prints")
                .1
        }
    }

    impl Drop for Script {
        fn drop(&mut self) {
            let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }

    /// Waits on the pidfd until the process has ended.
    pub(crate) fn wait_for_end(identity: &Identity) {
        let Some(pidfd) = handle(identity) else {
            return;
        };
        let deadline = Some(Instant::now() + Duration::from_secs(10));
        let mut fds = [nix::poll::PollFd::new(pidfd.as_fd(), nix::poll::PollFlags::POLLIN)];
        assert_eq!(
            nix::poll::poll(&mut fds, crate::exec::until(deadline)).expect("poll"),
            1,
            "it did not end in time"
        );
    }

    #[test]
    fn this_process_runs_and_another_start_or_boot_is_another_process() {
        let own = Identity::own();
        assert!(is_running(&own));
        assert!(!is_running(&Identity {
            start: own.start + 1,
            ..own.clone()
        }));
        assert!(!is_running(&Identity {
            boot: "another".to_owned(),
            ..own
        }));
        assert!(!boot_id().is_empty());
    }

    #[test]
    fn a_zombie_does_not_run_and_takes_no_signal() {
        let mut script = Script::start("echo self=$$; exec sleep 1000", &[], &["self"]);
        let identity = Identity::of(script.pid()).expect("running");
        assert!(signal(&identity, Signal::SIGKILL));
        wait_for_end(&identity);
        assert!(start_time(identity.pid).is_some(), "not reaped yet");
        assert!(!is_running(&identity));
        assert!(!signal(&identity, Signal::SIGKILL));
        script.child.wait().expect("reaped");
        assert_eq!(Identity::of(identity.pid), None);
    }
}
