//! Programs that a test runs: a cleared environment, a deadline, and nothing forgotten.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

use crate::wait::wait_until;

/// The standard library's way to start a program, for the test kit only.
#[expect(
    clippy::disallowed_methods,
    reason = "the test kit stands outside the product and its doors"
)]
pub fn raw_command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// A program to run, in an environment that holds only what was put into it.
#[derive(Debug)]
#[must_use = "a command does nothing until `output` or `spawn`"]
pub struct Cmd {
    command: Command,
    shown: String,
    stdin: Option<Vec<u8>>,
    timeout: Duration,
}

/// A program that has ended.
#[derive(Debug)]
#[must_use = "say what you expect: `success()`, `fails(code)`, or look at the fields"]
pub struct Finished {
    /// The command, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

/// A program that runs beside the test; killed with its process group when dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    shown: String,
    output: mpsc::Receiver<(Stream, Vec<u8>)>,
    /// What was read of the output before the end.
    early: Vec<(Stream, Vec<u8>)>,
    started: Instant,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

impl Cmd {
    /// A run of `program` in `cwd` with an empty environment, nothing on standard input, and 30 s to live.
    pub fn new(program: impl AsRef<Path>, cwd: &Path) -> Self {
        let program = program.as_ref();
        let mut command = raw_command(program);
        command.env_clear().current_dir(cwd).process_group(0);
        let shown = program
            .file_name()
            .unwrap_or(program.as_os_str())
            .to_string_lossy()
            .into_owned();
        Self {
            command,
            shown,
            stdin: None,
            timeout: Duration::from_secs(30),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Self {
        args.into_iter().fold(self, Cmd::arg)
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets variables.
    pub fn envs(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.command.envs(variables);
        self
    }

    /// Runs it in another directory.
    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.command.current_dir(cwd.into());
        self
    }

    /// Gives it bytes on standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// How long it may run before it is killed and the test fails.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs it to its end. Panics, with what it had said, when it does not end in time.
    #[track_caller]
    pub fn output(self) -> Finished {
        let timeout = self.timeout;
        self.spawn().wait(timeout)
    }

    /// Starts it beside the test, as the leader of a process group.
    #[track_caller]
    pub fn spawn(mut self) -> Background {
        let stdin = if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{}`: {error}", self.shown));
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), self.stdin) {
            // A program may end without having read everything; that is its affair.
            thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let (sender, output) = mpsc::channel();
        let out = child.stdout.take().expect("stdout was asked for as a pipe");
        let err = child.stderr.take().expect("stderr was asked for as a pipe");
        collect(Stream::Out, out, sender.clone());
        collect(Stream::Err, err, sender);
        Background {
            child,
            shown: self.shown,
            output,
            early: Vec::new(),
            started,
            ended: false,
        }
    }
}

impl Finished {
    /// Expects exit code 0.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "expected success of {self}");
        self
    }

    /// Expects this exit code.
    #[track_caller]
    pub fn fails(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "expected exit code {code} of {self}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}) from {self}"))
    }

    /// Standard output as lines of JSON.
    #[track_caller]
    pub fn json_lines<T: DeserializeOwned>(&self) -> Vec<T> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}) from {self}"));
        self.stdout.lines().map(parse).collect()
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            command,
            status,
            stdout,
            stderr,
            ..
        } = self;
        write!(f, "`{command}` ({status})\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Ends a process of a test's own by SIGKILL; one that is gone already is fine.
pub fn kill_process(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
}

impl Background {
    /// Its process id, which is its process group's too.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal (it alone, not its group).
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(pid_of(&self.child), signal).expect("a child that was not waited for can be signalled");
    }

    /// True while it has not ended.
    pub fn is_running(&mut self) -> bool {
        !self.ended && matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the first line of its output, and gives it without its end. Panics after `timeout`.
    ///
    /// What was read so far is kept for [`Background::wait`].
    #[track_caller]
    pub fn first_line(&mut self, timeout: Duration) -> String {
        let deadline = Instant::now() + timeout;
        loop {
            let out = self.early.iter().filter(|(stream, _)| *stream == Stream::Out);
            let so_far: Vec<u8> = out.flat_map(|(_, bytes)| bytes.clone()).collect();
            if let Some(end) = so_far.iter().position(|byte| *byte == b'\n') {
                return text(so_far[..end].to_vec());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(part) => self.early.push(part),
                Err(_) => panic!("no line within {timeout:?} from `{}`: {:?}", self.shown, text(so_far)),
            }
        }
    }

    /// Waits for its end and the end of its output. Panics, with what it had said, after `timeout`.
    #[track_caller]
    pub fn wait(mut self, timeout: Duration) -> Finished {
        let deadline = Instant::now() + timeout;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for (stream, bytes) in std::mem::take(&mut self.early) {
            match stream {
                Stream::Out => stdout.extend(bytes),
                Stream::Err => stderr.extend(bytes),
            }
        }
        let in_time = loop {
            match self
                .output
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok((Stream::Out, bytes)) => stdout.extend(bytes),
                Ok((Stream::Err, bytes)) => stderr.extend(bytes),
                Err(mpsc::RecvTimeoutError::Disconnected) => break true,
                Err(mpsc::RecvTimeoutError::Timeout) => break false,
            }
        };
        let (stdout, stderr) = (text(stdout), text(stderr));
        let said = format!("`{}`\n--- stdout\n{stdout}\n--- stderr\n{stderr}", self.shown);
        let ended = self.child.try_wait().expect("a child can be asked for its state");
        if !in_time {
            self.kill();
            match ended {
                Some(_) => panic!("ended, but something that it started still holds its output: {said}"),
                None => panic!("killed after {timeout:?}: {said}"),
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let status = ended.unwrap_or_else(|| {
            wait_until(left, &format!("the end of {said}"), || {
                self.child.try_wait().ok().flatten()
            })
        });
        self.ended = true;
        Finished {
            command: std::mem::take(&mut self.shown),
            status,
            stdout,
            stderr,
            took: self.started.elapsed(),
        }
    }

    /// Kills it and its process group.
    pub fn kill(&mut self) {
        if !self.ended {
            let _ = killpg(pid_of(&self.child), Signal::SIGKILL);
            let _ = self.child.wait();
            self.ended = true;
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The code a shell would report for `status`: 128 and the signal for a killed program.
pub(crate) fn shell_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

fn collect(stream: Stream, mut from: impl Read + Send + 'static, to: mpsc::Sender<(Stream, Vec<u8>)>) {
    thread::spawn(move || {
        let mut chunk = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            if to.send((stream, chunk[..count].to_vec())).is_err() {
                return;
            }
        }
    });
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid fits an i32"))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> Cmd {
        Cmd::new("/bin/sh", Path::new("/")).args(["-c", script])
    }

    #[test]
    fn output_and_exit_code_come_back() {
        let done = run("echo out; echo err >&2; exit 3").output().fails(3);
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"));
    }

    #[test]
    fn the_environment_is_only_what_was_given() {
        let done = run("/usr/bin/env").env("MARK", "x").output().success();
        assert!(
            done.stdout.contains("MARK=x") && !done.stdout.contains("HOME="),
            "{done}"
        );
    }

    #[test]
    fn standard_input_arrives_whole() {
        let bytes = vec![b'x'; 1 << 20];
        assert_eq!(
            run("/usr/bin/wc -c").stdin(bytes).output().success().stdout.trim(),
            "1048576"
        );
    }

    #[test]
    #[should_panic(expected = "killed after")]
    fn a_program_that_hangs_is_killed() {
        let _ = run("read -r line < /dev/zero")
            .timeout(Duration::from_millis(50))
            .output();
    }

    #[test]
    #[should_panic(expected = "still holds its output")]
    fn a_descendant_that_keeps_the_output_open_is_noticed() {
        let _ = run("/bin/sleep 2 & exit 0")
            .timeout(Duration::from_millis(300))
            .output();
    }
}
