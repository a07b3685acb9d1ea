//! The notifiers of the config: an argv, run once per transition, with JSON on standard input and ten seconds
//! to live. Their failure never matters to the agent.

use std::io::Write;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fleet_core::fault;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::exec::{self, find_program, raw_command};
use crate::process::{self, Identity};
use crate::sys;

const TIME_TO_LIVE: Duration = Duration::from_secs(10);

/// Whether a notifier gets this variable: what a desktop or mail notifier needs, and none of an agent's keys.
pub fn passes(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "SHELL",
        "TMPDIR",
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "XDG_RUNTIME_DIR",
        "DBUS_SESSION_BUS_ADDRESS",
        "TZ",
    ];
    NAMES.contains(&name) || name.starts_with("LC_")
}

/// Runs the notifier `argv` for `hook` to its end, or for as long as it has to live. That it cannot be run is nobody's
/// concern but its own.
pub fn run(hook: &'static str, argv: &[String], env: &[(String, String)], body: &serde_json::Value) {
    let Some(notifier) = Notifier::start(hook, argv, env, body) else {
        return;
    };
    let pidfd = Identity::of(notifier.pid).and_then(|identity| process::handle(&identity));
    if let Some(pidfd) = pidfd {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        while poll(&mut fds, exec::until(Some(notifier.deadline))) == Err(Errno::EINTR) {}
        if Instant::now() >= notifier.deadline && !notifier.kill() {
            return;
        }
    }
    if let Ok(pid) = i32::try_from(notifier.pid) {
        let _ = waitpid(Pid::from_raw(pid), None);
    }
}

/// A notifier on its way.
#[derive(Debug)]
pub(crate) struct Notifier {
    pub(crate) hook: &'static str,
    pub(crate) pid: u32,
    pub(crate) deadline: Instant,
}

impl Notifier {
    /// Starts `argv`; none when it cannot be started.
    pub(crate) fn start(
        hook: &'static str,
        argv: &[String],
        env: &[(String, String)],
        body: &serde_json::Value,
    ) -> Option<Notifier> {
        let (program, args) = argv.split_first()?;
        let path = env
            .iter()
            .find(|(name, _)| name == "PATH")
            .map_or("/usr/bin:/bin", |(_, path)| path);
        let mut command = raw_command(find_program(program, path)?);
        command
            .args(args)
            .current_dir("/")
            .env_clear()
            .envs(env.iter().map(|(name, value)| (name, value)));
        command
            // What a notifier starts is none of the agent's.
            .env("FLEET_ROLE", "notifier")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        sys::with_new_session(&mut command);
        let mut child = fault::guard("supervisor.notifier", || command.spawn()).ok()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A pipe holds 64 KiB and the body is far smaller, so this cannot block.
            let _ = stdin.write_all(body.to_string().as_bytes());
        }
        let pid = child.id();
        Some(Notifier {
            hook,
            pid,
            deadline: Instant::now() + TIME_TO_LIVE,
        })
    }

    /// Ends it and what it has started; false if that may not be done, because it runs as another user. It leads a group of its own, and its number is its own until the supervisor,
    /// whose child it is, has reaped it.
    pub(crate) fn kill(&self) -> bool {
        i32::try_from(self.pid).is_ok_and(|pid| killpg(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
    }
}
