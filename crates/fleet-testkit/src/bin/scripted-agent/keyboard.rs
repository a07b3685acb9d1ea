//! The terminal's input side: raw mode, keys and changes of size.

use std::io::{self, Stdin};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};

use crate::keys::{Decoder, Key};

/// How long an escape may be the beginning of a sequence.
const ESCAPE_WAIT: Duration = Duration::from_millis(25);

/// Standard input in raw mode until this is dropped.
pub(crate) struct Keyboard {
    stdin: Stdin,
    before: Termios,
    resizes: SignalFd,
    decoder: Decoder,
}

/// Why a wait ended.
pub(crate) enum Event {
    Keys(Vec<Key>),
    Resized,
    /// The terminal is gone.
    Closed,
    /// The time is up, or nothing of interest came.
    Nothing,
}

impl Keyboard {
    /// Takes over the terminal. `flush` throws away what was typed before.
    pub(crate) fn open(flush: bool) -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        // Output processing stays on, as in the raw mode of the real programs' runtime: what a tool prints while it
        // shares the terminal does not become a staircase.
        raw.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN);
        raw.input_flags
            .remove(InputFlags::ICRNL | InputFlags::INLCR | InputFlags::IXON | InputFlags::ISTRIP);
        raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(&stdin, if flush { SetArg::TCSAFLUSH } else { SetArg::TCSANOW }, &raw)?;
        let resize = SigSet::from(Signal::SIGWINCH);
        resize.thread_block()?;
        let resizes = SignalFd::with_flags(&resize, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self {
            stdin,
            before,
            resizes,
            decoder: Decoder::default(),
        })
    }

    /// Waits for something to happen, for ever without a `timeout`.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Event> {
        let escape = self.decoder.escape_waits();
        let timeout = if escape {
            Some(timeout.map_or(ESCAPE_WAIT, |time| time.min(ESCAPE_WAIT)))
        } else {
            timeout
        };
        let mut fds = [
            PollFd::new(self.stdin.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.resizes.as_fd(), PollFlags::POLLIN),
        ];
        let ready = match poll(&mut fds, poll_timeout(timeout)) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => return Ok(Event::Nothing),
            Err(error) => return Err(error.into()),
        };
        let input = fds[0].any().unwrap_or(true);
        let resized = fds[1].any().unwrap_or(true);
        if ready == 0 && escape {
            return Ok(Event::Keys(vec![self.decoder.take_escape()]));
        }
        if resized {
            while let Ok(Some(_)) = self.resizes.read_signal() {}
            return Ok(Event::Resized);
        }
        if !input {
            return Ok(Event::Nothing);
        }
        let mut chunk = [0; 4096];
        match nix::unistd::read(&self.stdin, &mut chunk) {
            Ok(0) | Err(Errno::EIO) => Ok(Event::Closed),
            Ok(count) => Ok(Event::Keys(self.decoder.feed(&chunk[..count]))),
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(Event::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// True if there is input that was not read yet.
    pub(crate) fn has_input(&self) -> bool {
        let mut fds = [PollFd::new(self.stdin.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Runs `act`, which starts a program, with this process's signal mask as programs expect it.
    pub(crate) fn starting<T>(act: impl FnOnce() -> T) -> io::Result<T> {
        let resize = SigSet::from(Signal::SIGWINCH);
        resize.thread_unblock()?;
        let out = act();
        resize.thread_block()?;
        Ok(out)
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.stdin, SetArg::TCSANOW, &self.before);
    }
}

/// Rounded up to whole milliseconds, so that the end of a wait is not approached in idle turns.
fn poll_timeout(timeout: Option<Duration>) -> PollTimeout {
    let Some(timeout) = timeout else {
        return PollTimeout::NONE;
    };
    let ms = timeout.as_micros().div_ceil(1000);
    PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
}
