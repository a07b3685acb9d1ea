//! The event loop of a supervisor.
//!
//! One thread, one `poll`. It wakes for: a signal (a child ended, or somebody ends us), output of the program,
//! a connection, a request, and the deadlines of what is under way (a prompt, an end, a notifier, the moment
//! at which output has settled). When nothing is under way there is no deadline and it sleeps.

mod crews;
mod dialogue;
mod ended;
mod ending;
mod interrupt;
mod link;
mod programs;
mod prompts;
mod reports;
mod spending;
mod stream;
mod talk;
mod transcripts;

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use fleet_core::agent::{Standing, State};
use fleet_core::fact::{Fact, Source};
use fleet_core::{Error, Result, Time, fault};
use fleet_term::Terminal as Screen;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use serde_json::{Value, json};

use self::crews::Crews;
use self::interrupt::Interrupt;
use self::link::Link;
use self::reports::Reports;
use self::spending::Spending;
use self::stream::Stream;
use self::transcripts::Transcripts;
use super::child::{Input, Terminal};
use super::journal::Journal;
use super::notify::{self, Notifier};
use super::output::{Kept, Output};
use super::prompt::Delivery;
use super::spec::{Report, Spec};
use super::stop::Stop;
use super::views::Connection;
use super::wire::Prompted;
use crate::harness::sign::{Sign, SignReader};
use crate::{exec, process, sys};

/// Output counts as settled after this long without more.
const SETTLE: Duration = Duration::from_millis(30);
/// Without a silence the prompt must have been there for this long.
const STAYS: Duration = Duration::from_millis(300);
/// The screen is looked at this often at least while output goes on.
const LOOK: Duration = Duration::from_millis(100);
/// Without a `ready` rule the first prompt waits for this long a silence, so that the program is up.
const QUIET_START: Duration = Duration::from_millis(250);
/// … but not longer than this.
const LONGEST_START: Duration = Duration::from_secs(5);
/// A key that a person has typed may be in nobody's sight yet for this long: no prompt begins meanwhile, for it
/// would be pasted behind what they are typing.
const KEYS_SETTLE: Duration = Duration::from_millis(300);
/// When no descriptor is left for a caller, it stays in line for this long before it is looked at again.
const DEAF: Duration = Duration::from_millis(200);
/// No more is read of what is typed while this many bytes wait for a program that does not read.
const MOST_TYPED: usize = 4 * 1024 * 1024;
/// The connections of views smaller than this are hidden or half made: their size is ignored.
const LEAST_SIZE: (u16, u16) = (3, 10);

/// Enters a supervisor: the specification on standard input, the report on standard output, the agent's lock on
/// descriptor 3. Returns in the short-lived first process at once, in the supervisor when all is over.
pub fn main() -> ExitCode {
    sys::close_from(4);
    match sys::fork_is_parent() {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => {}
        Err(_) => return ExitCode::FAILURE,
    }
    match Supervisor::enter().and_then(Supervisor::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&Report::Failed(error));
            ExitCode::FAILURE
        }
    }
}

/// Somebody who waits for the end of a prompt or of the agent.
#[derive(Debug)]
struct Waiter {
    connection: u64,
    request: Value,
    prompt: Option<String>,
}

/// What runs under the supervisor now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    Nothing,
    Setup { index: usize, pid: u32 },
    Child { pid: u32 },
}

struct Supervisor {
    spec: Spec,
    journal: Journal,
    output: Output,
    screen: Screen,
    terminal: Option<Terminal>,
    pipe: Option<OwnedFd>,
    /// The standard error of a child whose output is a stream of events.
    errors: Option<OwnedFd>,
    stream: Option<Stream>,
    /// Gets what a headless child prints, until it cannot be written.
    copy: Option<std::fs::File>,
    child_stdin: Option<Input>,
    signs: SignReader,
    /// What the last look said; none when no rule matched.
    sign: Option<Sign>,
    prompt_line: Option<String>,
    /// Since when the program has been at its prompt at every look.
    matched_since: Option<Instant>,
    /// The program was started with a prompt, and nothing has been seen of that turn yet.
    first_turn_unseen: bool,
    /// When Enter was pressed on a turn of which nothing has been seen yet.
    entered_at: Option<Instant>,
    /// When the screen is to be looked at again though nothing new is written.
    look_again: Option<Instant>,
    interrupt: Option<Interrupt>,
    reports: Reports,
    transcripts: Transcripts,
    spending: Spending,
    crews: Crews,
    link: Link,
    /// What held when the program was last at its prompt: bracketed paste, and line mode of the terminal.
    prompt_modes: Option<(bool, bool)>,
    running: Running,
    started_at: Instant,
    unsent: Vec<u8>,
    /// Bytes that were written to the terminal since a prompt was last begun.
    written: usize,
    held_input: Vec<u8>,
    last_output: Option<Instant>,
    dirty_since: Option<Instant>,
    /// No prompt was typed yet: without a `ready` rule the program may still be coming up.
    first_pending: bool,
    /// When a person last typed into a view.
    keys_at: Option<Instant>,
    delivery: Option<Delivery>,
    outcomes: Vec<(String, Prompted)>,
    waiters: Vec<Waiter>,
    stop: Option<Stop>,
    notifiers: Vec<Notifier>,
    notifier_env: Vec<(String, String)>,
    connections: Vec<Connection>,
    next_key: u64,
    active_view: Option<u64>,
    signals: SignalFd,
    listener: UnixListener,
    deaf_until: Option<Instant>,
    /// Whoever finds it free knows that nothing of the agent runs.
    lock: Option<OwnedFd>,
}

impl Supervisor {
    fn enter() -> Result<Supervisor> {
        sys::frugal_heap();
        for signal in [
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGPIPE,
            Signal::SIGTTOU,
            Signal::SIGTTIN,
            // The caller's limit on the size of files fails a write then, and does not end us.
            Signal::SIGXFSZ,
        ] {
            sys::ignore_signal(signal);
        }
        let _ = nix::unistd::setsid();
        sys::become_subreaper().map_err(|error| Error::unavailable(format!("cannot become a subreaper: {error}")))?;
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Error::internal(format!("no specification: {error}")))?;
        let spec: Spec =
            serde_json::from_str(&text).map_err(|error| Error::internal(format!("a broken specification: {error}")))?;
        drop(text);
        let lock =
            sys::inherited_fd(3).map_err(|error| Error::internal(format!("no lock was handed over: {error}")))?;
        nix::fcntl::fcntl(&lock, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))
            .map_err(|error| Error::internal(format!("fcntl: {error}")))?;
        let _ = nix::unistd::chdir("/");

        let mut wanted = SigSet::empty();
        wanted.add(Signal::SIGCHLD);
        wanted.add(Signal::SIGTERM);
        wanted
            .thread_block()
            .map_err(|error| Error::internal(format!("sigmask: {error}")))?;
        let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|error| Error::internal(format!("signalfd: {error}")))?;

        // Only here: what the programs make later gets the caller's mask, which they inherit.
        let callers_mask = umask(Mode::from_bits_truncate(0o077));
        let _ = std::fs::remove_file(&spec.socket);
        let listener = fault::guard("supervisor.listen", || UnixListener::bind(&spec.socket))
            .map_err(|error| crate::files::io_error("listen on", &spec.socket, &error))?;
        let _ = std::fs::set_permissions(&spec.socket, std::fs::Permissions::from_mode(0o600));
        listener
            .set_nonblocking(true)
            .map_err(|error| Error::internal(format!("socket: {error}")))?;

        let journal = Journal::open(&spec.agent_dir)?;
        let output = Output::open(&spec.agent_dir, Kept::Screen, spec.output_limit, spec.rows, spec.cols)
            .map_err(|error| crate::files::io_error("write", &spec.agent_dir, &error))?;
        let stream = Stream::open(&spec, journal.standing())
            .map_err(|error| crate::files::io_error("write", &spec.agent_dir, &error))?;
        umask(callers_mask);
        let signs = SignReader::new(&spec.signs).map_err(|error| error.context(format!("`{}`", spec.harness)))?;
        let notifier_env = spec
            .env
            .iter()
            .filter(|(name, _)| notify::passes(name))
            .cloned()
            .collect();
        Ok(Supervisor {
            screen: Screen::new(spec.rows, spec.cols),
            journal,
            output,
            terminal: None,
            pipe: None,
            errors: None,
            stream,
            copy: spec.copy_output_to.as_deref().and_then(open_copy),
            child_stdin: None,
            signs,
            sign: None,
            prompt_line: None,
            matched_since: None,
            first_turn_unseen: false,
            entered_at: None,
            look_again: None,
            interrupt: None,
            reports: Reports::default(),
            transcripts: Transcripts::default(),
            spending: Spending::new(spec.limits, spec.used),
            crews: Crews::new(&spec),
            link: Link::new(spec.generation),
            prompt_modes: None,
            running: Running::Nothing,
            started_at: Instant::now(),
            unsent: Vec::new(),
            written: 0,
            held_input: Vec::new(),
            last_output: None,
            dirty_since: None,
            first_pending: true,
            keys_at: None,
            delivery: None,
            outcomes: Vec::new(),
            waiters: Vec::new(),
            stop: None,
            notifiers: Vec::new(),
            notifier_env,
            connections: Vec::new(),
            next_key: 1,
            active_view: None,
            signals,
            listener,
            deaf_until: None,
            lock: Some(lock),
            spec,
        })
    }

    fn run(mut self) -> Result<()> {
        // Past `record`: it is the end of an earlier life, and no transition of this one.
        let _ = self.journal.end_unseen(now());
        let launched = Fact::Launched {
            generation: self.spec.generation,
            supervisor: std::process::id(),
            boot: process::boot_id().to_owned(),
            harness: self.spec.harness.clone(),
            ready_rule: !self.signs.is_blind(),
            fresh: !self.spec.goes_on,
            sessions: self.spec.sessions_folder(),
        };
        self.record(Source::Supervisor, launched);
        if let Err(error) = self.prepare() {
            self.fail(error);
        }
        while !self.is_over() {
            self.wait()?;
            self.tick(Instant::now());
        }
        let screen = &self.screen;
        self.output.finish(screen.size(), || screen.snapshot());
        if let Some(stream) = &mut self.stream {
            stream.close();
        }
        let _ = std::fs::remove_file(&self.spec.socket);
        // Nothing of the agent runs any more, and its journal says how it ended: the run may go on.
        // The lock goes first: who waits for the connections to close finds it free.
        let is_taken_in = self.is_taken_in();
        let (driver, recorder) = (self.spec.driver.take(), self.spec.recorder.take());
        self.lock = None;
        drop(self);
        let recorder = recorder.filter(|_| is_taken_in);
        if let Some(error) = recorder.and_then(|recorder| recorder.start().err()) {
            let _ = writeln!(io::stderr(), "{error}");
        }
        if let Some(error) = driver.and_then(|driver| driver.start().err()) {
            let _ = writeln!(io::stderr(), "{error}");
        }
        Ok(())
    }

    fn standing(&self) -> &Standing {
        self.journal.standing()
    }

    fn state(&self) -> State {
        self.standing().state(true).0
    }

    /// Appends a fact, tells the watchers, and runs the notifier of the transition. False if the journal could not be
    /// written: see [`Journal::append`] for what holds then.
    fn record(&mut self, src: Source, fact: Fact) -> bool {
        let before = self.state();
        let durable = matches!(fact, Fact::PromptQueued { .. });
        self.follow(&fact);
        self.count(&fact);
        let Ok(entry) = self.journal.append(src, fact, now(), durable) else {
            return false;
        };
        if self.connections.iter().any(|each| each.watches) {
            let event = json!({ "entry": entry });
            for connection in self.connections.iter_mut().filter(|each| each.watches) {
                connection.send(&event);
            }
        }
        let after = self.state();
        if after != before {
            self.notify(before, after, entry.at);
            if after == State::Idle && self.is_taken_in() {
                self.start_recorder();
            }
        }
        true
    }

    fn notify(&mut self, before: State, after: State, at: Time) {
        let (hook, argv) = match after {
            State::Waiting(_) => ("on_waiting", &self.spec.on_waiting),
            State::Idle => ("on_idle", &self.spec.on_idle),
            State::Exited(_) => ("on_exit", &self.spec.on_exit),
            _ => return,
        };
        let Some(argv) = argv.as_deref() else { return };
        let mut body = json!({
            "hook": hook, "agent": self.spec.agent, "branch": self.spec.branch, "harness": self.spec.harness,
            "worktree": self.spec.cwd, "state": after.to_string(), "previous": before.to_string(), "at": at,
        });
        if let (State::Exited(_), Some((outcome, _))) = (after, &self.standing().outcome) {
            body["outcome"] = outcome.to_string().into();
        }
        if let Some(notifier) = Notifier::start(hook, argv, &self.notifier_env, &body) {
            self.notifiers.push(notifier);
        }
    }

    fn is_over(&self) -> bool {
        self.stop.is_none()
            && self.running == Running::Nothing
            && self.standing().exited.is_some()
            && self.notifiers.is_empty()
            && self.link.is_settled()
    }

    /// Sleeps until something happens, and takes in what did.
    fn wait(&mut self) -> Result<()> {
        let deadline = self.next_deadline(Instant::now());
        let when = |wanted: bool, flags: PollFlags| if wanted { flags } else { PollFlags::empty() };
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(
                self.listener.as_fd(),
                when(self.deaf_until.is_none(), PollFlags::POLLIN),
            ),
        ];
        let output: Option<BorrowedFd<'_>> = self
            .pipe
            .as_ref()
            .map(AsFd::as_fd)
            .or(self.terminal.as_ref().map(|terminal| terminal.master.as_fd()));
        if let Some(fd) = output {
            let write = when(!self.unsent.is_empty() && self.pipe.is_none(), PollFlags::POLLOUT);
            fds.push(PollFd::new(fd, PollFlags::POLLIN | write));
        }
        if let Some(errors) = &self.errors {
            fds.push(PollFd::new(errors.as_fd(), PollFlags::POLLIN));
        }
        if let Some(input) = self.child_stdin.as_ref().filter(|input| !input.rest.is_empty()) {
            fds.push(PollFd::new(input.pipe.as_fd(), PollFlags::POLLOUT));
        }
        if let Some(meter) = self.link.fd() {
            fds.push(PollFd::new(meter, PollFlags::POLLIN));
        }
        let full = self.unsent.len() + self.held_input.len() > MOST_TYPED;
        for connection in &self.connections {
            let read = when(!(full && connection.types), PollFlags::POLLIN);
            let write = when(connection.wants_to_write(), PollFlags::POLLOUT);
            fds.push(PollFd::new(connection.stream.as_fd(), read | write));
        }
        match poll(&mut fds, exec::until(deadline)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Error::internal(format!("poll: {error}"))),
        }
        let came = |fd: i32| {
            fds.iter()
                .any(|each| each.as_fd().as_raw_fd() == fd && each.any().unwrap_or(false))
        };
        let (signalled, called) = (came(self.signals.as_raw_fd()), came(self.listener.as_raw_fd()));
        let wrote = output.is_some_and(|fd| came(fd.as_raw_fd()));
        let complained = self.errors.as_ref().is_some_and(|fd| came(fd.as_raw_fd()));
        let unlinked = self.link.fd().is_some_and(|fd| came(fd.as_raw_fd()));
        let talked: Vec<u64> = self
            .connections
            .iter()
            .filter(|each| came(each.stream.as_raw_fd()))
            .map(|each| each.key)
            .collect();
        drop(fds);
        if wrote {
            self.read_output();
        }
        if complained {
            self.read_errors();
        }
        if signalled {
            self.take_signals();
        }
        self.flush_input();
        self.feed_child();
        for key in talked {
            self.hear(key);
        }
        // Behind the requests: what the meter said before it went away counts.
        if unlinked {
            self.meter_spoke();
        }
        if called {
            self.accept();
        }
        self.connections.retain(|each| !each.closed);
        if self
            .active_view
            .is_some_and(|key| !self.connections.iter().any(|each| each.key == key))
        {
            self.active_view = None;
            if let Some((key, size)) = self
                .connections
                .iter()
                .rev()
                .filter_map(|each| Some((each.key, each.view?)))
                .find(|(_, size)| is_shown(*size))
            {
                self.activate(key, size);
            }
        }
        Ok(())
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let settle = self
            .dirty_since
            .map(|since| (self.last_output.unwrap_or(since) + SETTLE).min(since + LOOK));
        let first = self
            .waits_for_quiet()
            .then(|| self.keys_settle_at().into_iter().fold(self.quiet_at(), Instant::max));
        let keys = self.keys_settle_at().filter(|_| !self.standing().queue.is_empty());
        let notifier = self.notifiers.iter().map(|each| each.deadline).min();
        let delivery = self.delivery.as_ref().and_then(Delivery::deadline);
        let stop = self.stop.as_ref().map(|stop| stop.deadline);
        let interrupt = self.interrupt.as_ref().map(Interrupt::deadline);
        let answer = self.stream.as_ref().and_then(Stream::deadline);
        let others = [
            self.deaf_until,
            self.look_again,
            interrupt,
            answer,
            self.transcripts.due,
            self.link.due(),
        ];
        [settle, first, keys, notifier, delivery, stop]
            .into_iter()
            .chain(others)
            .flatten()
            .min()
            .map(|at| at.max(now))
    }

    /// Does what is due.
    fn tick(&mut self, now: Instant) {
        self.deaf_until = self.deaf_until.filter(|until| now < *until);
        if self.look_again.take_if(|at| now >= *at).is_some() {
            self.dirty_since.get_or_insert(now);
        }
        self.read_transcripts(now);
        self.step_link(now);
        self.look_at_screen(now);
        self.step_delivery(now);
        self.step_dialogue(now);
        self.step_budget();
        self.step_interrupt(now);
        self.begin_delivery(now);
        if let Some(stop) = &mut self.stop {
            stop.tick(now);
            self.press_stop(now);
        }
        for index in (0..self.notifiers.len()).rev() {
            if now >= self.notifiers[index].deadline && !self.notifiers[index].kill() {
                let hook = self.notifiers.swap_remove(index).hook.to_owned();
                self.record(Source::Process, Fact::Notified { hook, code: None });
            }
        }
    }

    fn read_output(&mut self) {
        let mut chunk = vec![0; 32 * 1024];
        // A program that floods must not keep requests waiting: a few chunks, then the other descriptors.
        for _ in 0..8 {
            let source = match (&self.pipe, &self.terminal) {
                (Some(pipe), _) => nix::unistd::read(pipe, &mut chunk),
                (None, Some(terminal)) => nix::unistd::read(&terminal.master, &mut chunk),
                (None, None) => return,
            };
            match source {
                Ok(0) => {
                    self.pipe = None;
                    return;
                }
                Ok(count) => {
                    if self
                        .copy
                        .as_mut()
                        .is_some_and(|copy| copy.write_all(&chunk[..count]).is_err())
                    {
                        self.copy = None;
                    }
                    if self.pipe.is_some() && self.stream.is_some() {
                        self.take_stream(&chunk[..count]);
                    } else if self.pipe.is_some() {
                        let text = with_carriage_returns(&chunk[..count]);
                        self.keep(&text);
                    } else {
                        self.keep(&chunk[..count]);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Takes in output: keeps it, draws it, answers its queries, shows it to the views.
    fn keep(&mut self, bytes: &[u8]) {
        let (size, screen) = (self.screen.size(), &self.screen);
        self.output.write(bytes, size, now(), || screen.snapshot());
        let fed = self.screen.feed(bytes);
        if !fed.answers.is_empty() && self.terminal.is_some() {
            self.unsent.extend_from_slice(&fed.answers);
        }
        if !fed.show.is_empty() {
            for connection in self.connections.iter_mut().filter(|each| each.view.is_some()) {
                connection.send_output(&fed.show);
            }
        }
        let now = Instant::now();
        self.last_output = Some(now);
        self.dirty_since.get_or_insert(now);
    }

    fn flush_input(&mut self) {
        let Some(terminal) = &self.terminal else { return };
        while !self.unsent.is_empty() {
            match nix::unistd::write(&terminal.master, &self.unsent) {
                Ok(count) => {
                    self.unsent.drain(..count);
                    self.written += count;
                }
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
    }
}

/// The file at `path` to append to. It is for people and programs that read along, so that it fails is no failure.
fn open_copy(path: &std::path::Path) -> Option<std::fs::File> {
    let mut open = std::fs::OpenOptions::new();
    fault::guard("supervisor.copy-output", || open.create(true).append(true).open(path)).ok()
}

/// Whether a view of this size is one that somebody looks at.
fn is_shown((rows, cols): (u16, u16)) -> bool {
    rows >= LEAST_SIZE.0 && cols >= LEAST_SIZE.1
}

fn to_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn report(report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    let _ = io::stdout().write_all(&line).and_then(|()| io::stdout().flush());
}

/// Line feeds of a pipe as a terminal would show them.
fn with_carriage_returns(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    for byte in bytes {
        if *byte == b'\n' {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

#[expect(
    clippy::disallowed_methods,
    reason = "a supervisor has no App; the journal is stamped here alone"
)]
fn now() -> Time {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Time(since.as_millis() as i64)
}
