//! A user at a terminal: drives an interactive program from a test.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fleet_term::Terminal;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

use crate::cmd::{raw_command, shell_code};
use crate::env::TestEnv;
use crate::wait::wait_until;

/// A program on a terminal of its own, with a thread that keeps the screen and answers the program's queries as a
/// real terminal would.
pub struct Pty {
    child: Child,
    master: File,
    screen: Arc<Shared>,
    /// Closed to make the reader let go of the terminal.
    hold: Option<PipeWriter>,
    reader: Option<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

struct Seen {
    terminal: Terminal,
    raw: Vec<u8>,
    closed: bool,
}

impl Pty {
    /// Starts `argv` with the environment of `env` in `cwd` on a terminal of the given size.
    ///
    /// The terminal becomes the program's controlling terminal through `setsid --ctty` of util-linux: doing it
    /// between fork and exec would take unsafe code. `setsid` replaces itself by the program, so the child's pid is
    /// the program's.
    #[track_caller]
    pub fn spawn(env: &TestEnv, cwd: &Path, argv: &[&str], rows: u16, cols: u16) -> Self {
        Self::spawn_with(env, cwd, argv, &[], rows, cols)
    }

    /// The same with more variables.
    #[track_caller]
    pub fn spawn_with(
        env: &TestEnv,
        cwd: &Path,
        argv: &[&str],
        variables: &[(&str, &str)],
        rows: u16,
        cols: u16,
    ) -> Self {
        let (master, slave) = open_terminal();
        set_size(&master, rows, cols);
        let slave = || Stdio::from(slave.try_clone().expect("a descriptor can be doubled"));
        let child = raw_command("setsid")
            .args(["--ctty", "--"])
            .args(argv)
            .env_clear()
            .envs(env.variables())
            .envs(variables.iter().copied())
            .current_dir(cwd)
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start setsid for {argv:?}: {error}"));
        let seen = Seen {
            terminal: Terminal::new(rows, cols),
            raw: Vec::new(),
            closed: false,
        };
        let screen = Arc::new(Shared {
            seen: Mutex::new(seen),
            changed: Condvar::new(),
        });
        let terminal = master.try_clone().expect("a descriptor can be doubled");
        let (held, hold) = std::io::pipe().expect("the kernel has a free pipe");
        let shared = Arc::clone(&screen);
        let reader = thread::spawn(move || watch(terminal, &held, &shared));
        Self {
            child,
            master,
            screen,
            hold: Some(hold),
            reader: Some(reader),
            ended: None,
        }
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.master
            .write_all(bytes.as_ref())
            .expect("the program's terminal takes input");
    }

    /// Pastes `text` as a terminal with bracketed paste does.
    #[track_caller]
    pub fn paste(&mut self, text: &str) {
        self.send(format!("\x1b[200~{text}\x1b[201~"));
    }

    /// Changes the terminal's size; the program gets SIGWINCH.
    ///
    /// A program may see an intermediate size for a moment: rows and columns are set one after the other.
    #[track_caller]
    pub fn resize(&mut self, rows: u16, cols: u16) {
        // The screen first: what the program draws for the new size must not meet the old one.
        self.seen().terminal.resize(rows, cols);
        set_size(&self.master, rows, cols);
    }

    /// The screen's lines, top to bottom.
    pub fn screen(&self) -> Vec<String> {
        self.seen().terminal.text()
    }

    /// Everything that the program has written so far.
    pub fn raw_output(&self) -> Vec<u8> {
        self.seen().raw.clone()
    }

    /// Looks at the terminal itself: modes, cursor, title.
    pub fn with_terminal<T>(&self, look: impl FnOnce(&Terminal) -> T) -> T {
        look(&self.seen().terminal)
    }

    /// Waits until `text` is on the screen.
    #[track_caller]
    pub fn wait_for_text(&self, text: &str, deadline: Duration) {
        self.wait_for(&format!("`{text}` on the screen"), deadline, |terminal| {
            terminal.text().iter().any(|line| line.contains(text)).then_some(())
        });
    }

    /// Waits until `check`, asked after every output, answers. Panics with the screen at the deadline.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, deadline: Duration, check: impl Fn(&Terminal) -> Option<T>) -> T {
        let end = Instant::now() + deadline;
        let mut seen = self.seen();
        loop {
            if let Some(found) = check(&seen.terminal) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || seen.closed {
                let why = if seen.closed {
                    "the program has ended"
                } else {
                    "time is up"
                };
                let screen = seen.terminal.text().join("\n");
                drop(seen);
                panic!("{why} while waiting for {what}; the screen:\n{screen}");
            }
            seen = self
                .screen
                .changed
                .wait_timeout(seen, left)
                .expect("the reader does not panic")
                .0;
        }
    }

    /// Waits for the program's end, and that the screen has its last output; its exit code, or 128 and the number of
    /// the signal that killed it.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> i32 {
        let status = self.ended.unwrap_or_else(|| {
            wait_until(deadline, "the end of the program on the terminal", || {
                self.child.try_wait().ok().flatten()
            })
        });
        self.ended = Some(status);
        // Not for long: something that the program has left running may keep the terminal open.
        let patience = Duration::from_secs(1);
        let last = self
            .screen
            .changed
            .wait_timeout_while(self.seen(), patience, |seen| !seen.closed);
        drop(last.expect("the reader does not panic"));
        shell_code(status)
    }

    /// Kills the program with SIGKILL.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }

    /// Closes the terminal, as a user who closes the window; the program may live on.
    pub fn hang_up(&mut self) {
        self.hold = None;
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.master = File::open("/dev/null").expect("/dev/null is there");
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.screen.seen.lock().expect("the reader does not panic")
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        self.kill();
        self.hold = None;
    }
}

/// Both ends of a new terminal, close-on-exec from the start: an end that leaked into the child of a test beside
/// this one would keep the terminal open. (`openpty` has no such flag.)
fn open_terminal() -> (File, File) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).expect("the kernel has a free terminal");
    grantpt(&master)
        .and_then(|()| unlockpt(&master))
        .expect("a terminal just made can be opened");
    let path = ptsname_r(&master).expect("a terminal has a name");
    let mut options = OpenOptions::new();
    let slave = options
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(path);
    (
        File::from(OwnedFd::from(master)),
        slave.expect("a terminal just made can be opened"),
    )
}

/// Through `stty`, because the ioctl would take unsafe code.
#[track_caller]
fn set_size(terminal: &File, rows: u16, cols: u16) {
    let terminal = terminal.try_clone().expect("a descriptor can be doubled");
    let (rows, cols) = (rows.to_string(), cols.to_string());
    let done = raw_command("stty")
        .args(["rows", &rows, "cols", &cols])
        .stdin(terminal)
        .status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "stty could not set {rows} rows and {cols} columns"
    );
}

/// Feeds the screen until the program has closed the terminal or `held` has lost its other end.
fn watch(mut master: File, held: &PipeReader, shared: &Shared) {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let mut fds = [
            PollFd::new(held.as_fd(), PollFlags::POLLIN),
            PollFd::new(master.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut fds, PollTimeout::NONE);
        let let_go = fds[0].any().unwrap_or(true);
        // Linux reports the last close of the other side as an error, not as an end.
        let count = if let_go {
            0
        } else {
            master.read(&mut chunk).unwrap_or(0)
        };
        let answers = {
            let mut seen = shared.seen.lock().expect("a test that fails does so without the lock");
            seen.closed = count == 0;
            seen.raw.extend_from_slice(&chunk[..count]);
            seen.terminal.feed(&chunk[..count]).answers
        };
        shared.changed.notify_all();
        if count == 0 {
            return;
        }
        if !answers.is_empty() {
            let _ = master.write_all(&answers);
        }
    }
}
