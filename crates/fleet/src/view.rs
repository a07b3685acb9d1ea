//! A view: shows an agent's terminal on this one and types into it. It runs in the pane of every tmux session
//! and in `attach --direct`.
//!
//! When both terminals have one size the output passes through as it is. When they differ the view draws the
//! part that fits, from a screen of its own.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fleet_core::{Error, Result};
use fleet_host::supervise::client::{Client, Event};
use fleet_host::sys;
use fleet_term::Terminal;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{self, SetArg, Termios};

/// The first argument by which the executable knows that it is to be a view: then follow the socket and the
/// agent's branch.
pub(crate) const ARGUMENT: &str = "__view";

/// Ctrl-\, twice, leaves a direct view.
const LEAVE: u8 = 0x1c;

/// Makes a terminal what a shell expects, whatever a program has set. In order: end of a string, of an update, of
/// the alternate screen; mouse, focus, colour scheme and paste reports; cursor; keys, keypad, keyboard flags;
/// insert, newline, origin, wrap, reverse; character sets; colours; scroll region.
const PLAIN: &[u8] = b"\x1b\\\x1b[?2026l\x1b[?1049l\
    \x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l\
    \x1b[?1004l\x1b[?2031l\x1b[?2004l\x1b[?25h\x1b[0 q\x1b[?1l\x1b>\x1b[<99u\x1b[>4m\
    \x1b[4l\x1b[20l\x1b[?6l\x1b[?7h\x1b[?5l\x1b(B\x1b)B\x0f\x1b[0m\x1b[r";

/// How long a view that is started beside its supervisor waits for the socket.
const PATIENCE: Duration = Duration::from_secs(10);

/// Enters the view of a tmux pane.
pub(crate) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    sys::frugal_heap();
    let (Some(socket), branch) = (args.next(), args.next()) else {
        return ExitCode::from(2);
    };
    let branch = branch.unwrap_or_default().to_string_lossy().into_owned();
    match run(&PathBuf::from(socket), false) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            crate::ui::error(&error.context(branch));
            ExitCode::from(1)
        }
    }
}

/// What ended a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The user left.
    Left,
    /// The agent ended, in this state if it said so.
    Ended(Option<String>),
}

/// Shows the agent behind `socket` until it ends, or until the user leaves where `leaves` allows it.
pub(crate) fn run(socket: &Path, leaves: bool) -> Result<End> {
    let mut client = connect(socket)?;
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGWINCH, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals
        .thread_block()
        .map_err(|error| Error::internal(format!("sigmask: {error}")))?;
    let signalled = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|error| Error::internal(format!("signalfd: {error}")))?;
    let terminal = RawTerminal::enter()?;
    let size = own_size();
    let theirs = client.view(size.0, size.1)?;
    let mut view = View {
        size,
        theirs,
        own: None,
        modes: None,
        leaving: false,
    };
    view.fit();
    if leaves {
        // Whoever has just attached looks on now; a pane of tmux may be behind nobody's window.
        client.resize(size.0, size.1)?;
    }
    let end = view.pass(&mut client, &signalled, leaves);
    drop(terminal);
    end
}

fn connect(socket: &Path) -> Result<Client> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Client::connect(socket) {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() >= deadline || !socket.parent().is_some_and(Path::exists) => {
                return Err(error);
            }
            // Between a restart's end and its start there is no socket, and no event tells of a new one.
            Err(_) if !socket.exists() => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error),
        }
    }
}

struct View {
    size: (u16, u16),
    theirs: (u16, u16),
    /// The agent's screen, while its size differs from ours.
    own: Option<Box<Terminal>>,
    /// The modes of input that our terminal was given while we draw ourselves.
    modes: Option<[bool; 3]>,
    leaving: bool,
}

impl View {
    fn pass(&mut self, client: &mut Client, signalled: &SignalFd, leaves: bool) -> Result<End> {
        let stdin = std::io::stdin();
        let mut state = None;
        loop {
            // Before the wait: the first screen may have come together with an answer, and nothing tells of it again.
            let (events, closed) = client.arrived()?;
            for event in events {
                match event {
                    Event::Output(bytes) => self.show(&bytes),
                    Event::Size(rows, cols) => {
                        self.theirs = (rows, cols);
                        self.fit();
                    }
                    Event::Ended(how) => state = Some(how),
                    Event::Entry(_) => {}
                }
            }
            if closed {
                return Ok(End::Ended(state));
            }
            let (typed, signal) = {
                let mut fds = [
                    PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
                    PollFd::new(client.fd(), PollFlags::POLLIN),
                    PollFd::new(signalled.as_fd(), PollFlags::POLLIN),
                ];
                match poll(&mut fds, PollTimeout::NONE) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return Err(Error::internal(format!("poll: {error}"))),
                }
                (fds[0].any().unwrap_or(false), fds[2].any().unwrap_or(false))
            };
            if signal {
                while let Ok(Some(info)) = signalled.read_signal() {
                    if info.ssi_signo != Signal::SIGWINCH as u32 {
                        return Ok(End::Left);
                    }
                }
                self.size = own_size();
                client.resize(self.size.0, self.size.1)?;
                self.fit();
            }
            if typed {
                let mut keys = [0; 4096];
                match nix::unistd::read(stdin.as_fd(), &mut keys) {
                    Ok(0) => return Ok(End::Left),
                    Ok(count) if leaves && self.wants_to_leave(&keys[..count]) => return Ok(End::Left),
                    Ok(count) => client.input(&keys[..count])?,
                    Err(Errno::EINTR | Errno::EAGAIN) => {}
                    Err(_) => return Ok(End::Left),
                }
            }
        }
    }

    /// Whether this is the second Ctrl-\ in a row.
    fn wants_to_leave(&mut self, keys: &[u8]) -> bool {
        let leaves = keys.iter().filter(|key| **key == LEAVE).count();
        let all = leaves == keys.len();
        let second = self.leaving && all || leaves >= 2;
        self.leaving = all && leaves > 0;
        second
    }

    fn show(&mut self, bytes: &[u8]) {
        match &mut self.own {
            None => write(bytes),
            Some(screen) => {
                screen.feed(bytes);
                let modes = screen.modes();
                let wanted = [modes.bracketed_paste, modes.app_cursor, modes.app_keypad];
                if self.modes != Some(wanted) {
                    self.modes = Some(wanted);
                    write(&input_modes(wanted));
                }
                write(&screen.render(self.size.0, self.size.1));
            }
        }
    }

    /// Chooses between passing through and drawing. After a change of size the supervisor sends a redraw.
    fn fit(&mut self) {
        if self.size == self.theirs {
            self.own = None;
            self.modes = None;
            return;
        }
        if self.own.is_none() {
            write(PLAIN);
        }
        match &mut self.own {
            Some(screen) => screen.resize(self.theirs.0, self.theirs.1),
            None => self.own = Some(Box::new(Terminal::new(self.theirs.0, self.theirs.1))),
        }
        write(b"\x1b[2J");
    }
}

/// The sequences that make a terminal send what is pasted and typed as the program wants it.
fn input_modes([bracketed_paste, app_cursor, app_keypad]: [bool; 3]) -> Vec<u8> {
    let set = |on: bool| if on { 'h' } else { 'l' };
    let keypad = if app_keypad { '=' } else { '>' };
    format!(
        "\x1b[?2004{}\x1b[?1{}\x1b{keypad}",
        set(bracketed_paste),
        set(app_cursor)
    )
    .into_bytes()
}

fn write(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

fn own_size() -> (u16, u16) {
    match sys::window_size(std::io::stdout().as_fd()) {
        Ok((rows, cols)) if rows > 0 && cols > 0 => (rows, cols),
        _ => (24, 80),
    }
}

/// This terminal in raw mode; put back, with every mode that a program may have set switched off, at the end.
struct RawTerminal(Option<Termios>);

impl RawTerminal {
    fn enter() -> Result<RawTerminal> {
        let stdin = std::io::stdin();
        let Ok(before) = termios::tcgetattr(&stdin) else {
            return Ok(RawTerminal(None));
        };
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(&stdin, SetArg::TCSANOW, &raw)
            .map_err(|error| Error::internal(format!("terminal: {error}")))?;
        Ok(RawTerminal(Some(before)))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        write(PLAIN);
        write(b"\x1b[999;1H\r\n");
        if let Some(before) = &self.0 {
            let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}
