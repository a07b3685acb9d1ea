//! The agent itself: a draft, a receive log, and turns.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use fleet_testkit::{Received, append_received, raw_command};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::HANGUP_CODE;
use crate::args::{Busy, Options};
use crate::detached::{self, Helper};
use crate::directive::Directive;
use crate::keyboard::{Event, Keyboard};
use crate::keys::Key;
use crate::view::View;

/// How often a running program is looked at.
const PROGRAM_STEP: Duration = Duration::from_millis(10);

/// How much of a prompt's first line a reply repeats, in characters.
const QUOTED: usize = 200;

/// A scripted agent in any mode.
pub(crate) struct Agent {
    pub(crate) view: Box<dyn View>,
    pub(crate) keyboard: Option<Keyboard>,
    options: Options,
    draft: String,
    /// Keys that were read and not handled yet: type-ahead, when a turn runs.
    ahead: VecDeque<Key>,
    received: u64,
    turns: u64,
    random: u64,
}

/// What comes after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Next,
    Exit(u8),
}

/// How a piece of a turn went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    On,
    Interrupted,
    Exit(u8),
}

impl Agent {
    pub(crate) fn new(options: Options, view: Box<dyn View>, keyboard: Option<Keyboard>) -> Self {
        let random = options
            .seed
            .unwrap_or_else(|| unix_ms() ^ u64::from(std::process::id()) << 32);
        let (draft, ahead) = (String::new(), VecDeque::new());
        Self {
            view,
            keyboard,
            options,
            draft,
            ahead,
            received: 0,
            turns: 0,
            random,
        }
    }

    /// Takes its time until the first prompt. The terminal is left as it is meanwhile.
    pub(crate) fn boot(&mut self) {
        let boot = self.options.boot.pick(self.next_random());
        std::thread::sleep(boot);
    }

    /// What was asked for at the start: the script, then `prompt`.
    pub(crate) fn first_turn(&mut self, prompt: Option<&str>) -> io::Result<After> {
        if let Some(path) = self.options.script.take() {
            let script = fs::read_to_string(path)?;
            self.view.busy()?;
            if let After::Exit(code) = self.turn(&script)? {
                return Ok(After::Exit(code));
            }
        }
        prompt.map_or(Ok(After::Next), |prompt| self.submit(prompt))
    }

    /// Lives on keys until something ends it; the exit code.
    pub(crate) fn run(&mut self, prompt: Option<&str>) -> io::Result<u8> {
        let mut after = self.first_turn(prompt)?;
        loop {
            while after == After::Next
                && let Some(key) = self.ahead.pop_front()
            {
                after = self.handle(key)?;
            }
            if let After::Exit(code) = after {
                return Ok(code);
            }
            let Some(keyboard) = &mut self.keyboard else {
                return Ok(0);
            };
            if !keyboard.has_input() {
                // In the middle of a long paste each chunk would be drawn for nobody.
                let shown = if self.options.no_echo { "" } else { &self.draft };
                self.view.prompt(shown)?;
            }
            match keyboard.wait(None)? {
                Event::Keys(keys) => self.ahead.extend(keys),
                Event::Resized => self.view.resized()?,
                Event::Closed => return Ok(HANGUP_CODE),
                Event::Nothing => {}
            }
        }
    }

    /// Takes a prompt: logs it, then shows that it has left the draft, then works on it.
    pub(crate) fn submit(&mut self, text: &str) -> io::Result<After> {
        self.received += 1;
        if let Some(path) = &self.options.receive_log {
            let (n, text, pid) = (self.received, text.to_owned(), std::process::id());
            append_received(
                path,
                &Received {
                    n,
                    text,
                    at_ms: unix_ms(),
                    pid,
                },
            )?;
        }
        if self.options.busy == Busy::Drop {
            self.ahead.clear();
        }
        self.view.busy()?;
        self.turn(text)
    }

    fn handle(&mut self, key: Key) -> io::Result<After> {
        self.view.key(&key);
        match key {
            Key::Text(text) | Key::Paste(text) => self.draft.push_str(&text),
            Key::Newline => self.draft.push('\n'),
            Key::Backspace => drop(self.draft.pop()),
            Key::Enter if !self.draft.trim().is_empty() => {
                let text = std::mem::take(&mut self.draft);
                return self.submit(&text);
            }
            Key::Ctrl('c') if self.draft.is_empty() => return Ok(After::Exit(130)),
            Key::Ctrl('d') if self.draft.is_empty() => return Ok(After::Exit(0)),
            Key::Ctrl('c' | 'u') => self.draft.clear(),
            Key::Enter | Key::Escape | Key::Ctrl(_) | Key::Mouse(_) | Key::Other(_) => {}
        }
        Ok(After::Next)
    }

    fn turn(&mut self, text: &str) -> io::Result<After> {
        let think = self.options.turn.pick(self.next_random());
        let mut went = if self.interrupted_already() {
            Went::Interrupted
        } else {
            self.pause(think)?
        };
        for directive in text.lines().filter_map(Directive::parse) {
            if went != Went::On {
                break;
            }
            went = self.perform(directive)?;
        }
        match went {
            Went::Exit(code) => return Ok(After::Exit(code)),
            Went::Interrupted => self.view.say("interrupted")?,
            Went::On => {
                let first: String = text.lines().next().unwrap_or_default().chars().take(QUOTED).collect();
                self.view.say(&format!("done: {first}"))?;
            }
        }
        reap();
        self.turns += 1;
        Ok(if self.options.die_after == Some(self.turns) {
            After::Exit(1)
        } else {
            After::Next
        })
    }

    /// Takes an interrupt out of what was read together with the Enter that began the turn.
    fn interrupted_already(&mut self) -> bool {
        let at = self
            .ahead
            .iter()
            .position(|key| matches!(key, Key::Escape | Key::Ctrl('c')));
        at.is_some_and(|at| self.ahead.remove(at).is_some())
    }

    fn perform(&mut self, directive: Directive) -> io::Result<Went> {
        match directive {
            Directive::Sleep(time) => return self.pause(time),
            Directive::Run(argv) => return self.run_program(&argv),
            Directive::Exit(code) => return Ok(Went::Exit(code)),
            Directive::Crash => kill(Pid::this(), Signal::SIGKILL)?,
            Directive::Print(text) => self.view.say(&text)?,
            Directive::Title(text) => self.view.control(&format!("\x1b]2;{text}\x07"))?,
            Directive::Alt(true) => self.view.control("\x1b[?1049h\x1b[2J\x1b[H")?,
            Directive::Alt(false) => self.view.control("\x1b[?1049l")?,
            Directive::Spam(count) => self.spam(count)?,
            Directive::Write(path, text) => self.tell(write_file(&path, &text))?,
            Directive::Append(path, text) => self.tell(append_file(&path, &text))?,
            Directive::Stage(path) => self.tell(git(&["add", "--"], path.as_os_str()))?,
            Directive::Commit(message) => self.tell(commit(&message))?,
            Directive::Spawn(detach, lives) => {
                let spawned = detached::spawn(Helper { lives, detach });
                self.tell(spawned.map(|pid| format!("spawned {pid}")))?;
            }
            Directive::Fix => match self.options.fix.clone() {
                Some((path, text)) => self.tell(write_file(&path, &text))?,
                None => self.view.say("nothing to fix: no `--fix FILE=TEXT`")?,
            },
        }
        Ok(Went::On)
    }

    /// Says how it went; a failure is no reason to end.
    fn tell(&mut self, done: io::Result<String>) -> io::Result<()> {
        match done {
            Ok(text) => self.view.say(&text),
            Err(error) => self.view.say(&format!("error: {error}")),
        }
    }

    fn spam(&mut self, count: u64) -> io::Result<()> {
        // In pieces, so that the memory does not grow with the count.
        for from in (1..=count).step_by(1000) {
            let lines: Vec<String> = (from..=count.min(from + 999)).map(|n| format!("spam {n}")).collect();
            self.view.say(&lines.join("\n"))?;
        }
        Ok(())
    }

    fn run_program(&mut self, argv: &[String]) -> io::Result<Went> {
        let mut command = raw_command(&argv[0]);
        command.args(&argv[1..]).stdin(Stdio::null());
        if !self.view.make_room()? {
            let output = Keyboard::starting(|| command.output())?;
            self.tell(output.map(|output| both(&output)))?;
            return Ok(Went::On);
        }
        let mut child = match self.spawn(&mut command) {
            Ok(child) => child,
            Err(error) => {
                self.view.say(&format!("error: {}: {error}", argv[0]))?;
                return Ok(Went::On);
            }
        };
        loop {
            if child.try_wait()?.is_some() {
                return Ok(Went::On);
            }
            let went = self.pause(PROGRAM_STEP)?;
            if went != Went::On {
                child.kill()?;
                child.wait()?;
                return Ok(went);
            }
        }
    }

    fn spawn(&self, command: &mut Command) -> io::Result<std::process::Child> {
        match self.keyboard {
            Some(_) => Keyboard::starting(|| command.spawn())?,
            None => command.spawn(),
        }
    }

    /// Lets time pass within a turn: keys go to the next draft, Escape and Ctrl-C interrupt.
    fn pause(&mut self, time: Duration) -> io::Result<Went> {
        let Some(keyboard) = &mut self.keyboard else {
            std::thread::sleep(time);
            return Ok(Went::On);
        };
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Went::On);
            }
            let keys = match keyboard.wait(Some(left))? {
                Event::Keys(keys) => keys,
                Event::Resized => {
                    self.view.resized()?;
                    continue;
                }
                Event::Closed => return Ok(Went::Exit(HANGUP_CODE)),
                Event::Nothing => continue,
            };
            let mut interrupted = false;
            for key in keys {
                match key {
                    Key::Escape | Key::Ctrl('c') => interrupted = true,
                    Key::Mouse(_) => self.view.key(&key),
                    key if self.options.busy == Busy::Keep => self.ahead.push_back(key),
                    _ => {}
                }
            }
            if interrupted {
                return Ok(Went::Interrupted);
            }
        }
    }

    /// The next number of a splitmix64 sequence.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn write_file(path: &Path, text: &str) -> io::Result<String> {
    make_parent(path)?;
    fs::write(path, text)?;
    Ok(format!("wrote {}", path.display()))
}

fn append_file(path: &Path, text: &str) -> io::Result<String> {
    make_parent(path)?;
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?
        .write_all(text.as_bytes())?;
    Ok(format!("appended to {}", path.display()))
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn commit(message: &str) -> io::Result<String> {
    git(&["add"], "--all".as_ref())?;
    git(&["commit", "--quiet", "--no-verify", "-m"], message.as_ref())?;
    Ok(format!("committed: {message}"))
}

fn git(args: &[&str], last: &std::ffi::OsStr) -> io::Result<String> {
    let output = raw_command("git")
        .args(["-c", "commit.gpgSign=false"])
        .args(args)
        .arg(last)
        .env("GIT_AUTHOR_NAME", "Scripted Agent")
        .env("GIT_AUTHOR_EMAIL", "scripted@example.invalid")
        .env("GIT_COMMITTER_NAME", "Scripted Agent")
        .env("GIT_COMMITTER_EMAIL", "scripted@example.invalid")
        .stdin(Stdio::null())
        .output()?;
    let said = both(&output);
    if output.status.success() {
        Ok(format!("git {}: {said}", args[0]))
    } else {
        Err(io::Error::other(said))
    }
}

fn both(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

/// Collects helpers that have ended, so that they do not stay as zombies.
fn reap() {
    while let Ok(status) = waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a receive log has real times, and this program no clock to take"
)]
fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
