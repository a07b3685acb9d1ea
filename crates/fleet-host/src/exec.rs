//! The one door for child processes that fleet waits for, or that end with it ([`Beside`]).
//!
//! A [`Cmd`] always says where it runs, takes its arguments as a list (never a shell line), gets its input on
//! standard input, and may have a deadline. Descriptors of ours are close-on-exec throughout. Supervisors and
//! their children are started in [`crate::supervise`], the only other place that spawns.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fleet_core::{Error, Kind, Result, fault};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

mod beside;
mod check;

pub use self::beside::Beside;
pub use self::check::{Checked, MARK as CHECK_MARK, end_marked};

/// A program to run to its end.
#[derive(Debug)]
pub struct Cmd {
    site: &'static str,
    command: Command,
    program: OsString,
    stdin: Vec<u8>,
    timeout: Option<Duration>,
}

/// What a finished program left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl Cmd {
    /// A run of `program` in the directory `cwd`. `site` names its two fault points.
    pub fn new(site: &'static str, program: impl AsRef<OsStr>, cwd: &Path) -> Self {
        let program = program.as_ref().to_owned();
        let mut command = raw_command(&program);
        command.current_dir(cwd);
        Self {
            site,
            command,
            program,
            stdin: Vec::new(),
            timeout: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable of its environment.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Starts from an empty environment.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// What it reads on standard input; nothing by default.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Kills it after `timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Runs it to its end, whatever its exit code. Errors: it cannot be started, or time ran out.
    pub fn output(mut self) -> Result<Output> {
        let site = self.site;
        fault::guard(site, || {
            self.command.stdin(if self.stdin.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            });
            self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = self
                .command
                .spawn()
                .map_err(|error| match self.command.get_current_dir() {
                    // The kernel's answer is the same when it is the folder that is missing.
                    Some(cwd) if !cwd.is_dir() => Error::unavailable(format!("the folder {} is gone", cwd.display())),
                    _ => cannot_start(&self.program, &error),
                })?;
            let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
            converse(child, &self.stdin, deadline).map_err(|error| error.context(self.program.to_string_lossy()))
        })
    }

    /// Runs it and gives its standard output. An exit code other than 0 is an error with its standard error.
    pub fn run(self) -> Result<String> {
        let described = self.describe();
        let output = self.output()?;
        if output.status.success() {
            return Ok(output.text());
        }
        let first = output
            .error_text()
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("")
            .trim()
            .to_owned();
        Err(
            Error::failed(format!("`{described}` ended with {}", status_words(output.status))).detail(
                if first.is_empty() {
                    output.text()
                } else {
                    output.error_text()
                },
            ),
        )
    }

    /// Program and first arguments, for messages. Values of the environment never show.
    fn describe(&self) -> String {
        let name = Path::new(&self.program)
            .file_name()
            .unwrap_or(&self.program)
            .to_string_lossy()
            .into_owned();
        let args = self
            .command
            .get_args()
            .take(4)
            .map(|arg| arg.to_string_lossy().into_owned());
        std::iter::once(name).chain(args).collect::<Vec<_>>().join(" ")
    }
}

/// A bare [`Command`]. Only this module and [`crate::supervise`] may use it.
#[expect(clippy::disallowed_methods, reason = "the one owner")]
pub(crate) fn raw_command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// Runs `argv` on this process's own terminal, for an editor, and waits for its end.
pub fn run_on_this_terminal(site: &'static str, argv: &[String], cwd: &Path) -> Result<ExitStatus> {
    let (program, args) = argv.split_first().ok_or_else(|| Error::usage("an empty command"))?;
    fault::guard(site, || raw_command(program).args(args).current_dir(cwd).status())
        .map_err(|error| cannot_start(OsStr::new(program), &error))
}

/// Becomes `argv`. Returns only the error when that fails.
pub fn replace_self(argv: &[String]) -> Error {
    use std::os::unix::process::CommandExt;
    let Some((program, args)) = argv.split_first() else {
        return Error::usage("an empty command");
    };
    let error = raw_command(program).args(args).exec();
    cannot_start(OsStr::new(program), &error)
}

/// `exit code 3` or `signal 9`.
pub fn status_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}

/// The exit code of a status, with 128 + n for signal n.
pub fn status_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The file that `program` means: itself when it has a slash, else the first executable of that name in `path`
/// (the value of a `PATH` variable).
pub fn find_program(program: &str, path: &str) -> Option<PathBuf> {
    let executable = |file: &Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|file| executable(file));
    }
    path.split(':')
        .filter(|dir| !dir.is_empty())
        .map(|dir| Path::new(dir).join(program))
        .find(|file| executable(file))
}

/// Adds how to install `package` to an error about a program that is missing or too old.
pub(crate) fn install_hint(package: &str, error: Error) -> Error {
    match error.kind {
        Kind::Unavailable if cfg!(target_os = "macos") => error.hint(format!("install it: `brew install {package}`")),
        Kind::Unavailable => error.hint(format!(
            "install it: `apt-get install {package}`, or `brew install {package}`"
        )),
        _ => error,
    }
}

fn cannot_start(program: &OsStr, error: &std::io::Error) -> Error {
    let program = program.to_string_lossy();
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            let error = Error::unavailable(format!("`{program}` is not installed or not on PATH"));
            match program.as_ref() {
                "git" => install_hint("git", error),
                _ => error,
            }
        }
        _ => Error::unavailable(format!("`{program}` cannot be started: {error}")),
    }
}

/// Feeds standard input and drains both outputs in one thread, so that no full pipe can block the other.
fn converse(mut child: Child, input: &[u8], deadline: Option<Instant>) -> Result<Output> {
    let mut stdin = child.stdin.take();
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    let (mut out, mut err, mut written) = (Vec::new(), Vec::new(), 0);
    let pipes = [
        stdin.as_ref().map(AsFd::as_fd),
        stdout.as_ref().map(AsFd::as_fd),
        stderr.as_ref().map(AsFd::as_fd),
    ];
    for fd in pipes.into_iter().flatten() {
        set_nonblocking(fd)?;
    }
    while stdin.is_some() || stdout.is_some() || stderr.is_some() {
        let mut fds = Vec::with_capacity(3);
        if let Some(fd) = &stdin {
            fds.push(PollFd::new(fd.as_fd(), PollFlags::POLLOUT));
        }
        for fd in [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)]
            .into_iter()
            .flatten()
        {
            fds.push(PollFd::new(fd, PollFlags::POLLIN));
        }
        let ready = match poll(&mut fds, until(deadline)) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other.map_err(|error| Error::internal(format!("poll failed: {error}")))?,
        };
        if ready == 0 {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::new(Kind::Timeout, "it did not end in time and was stopped"));
        }
        if let Some(pipe) = &mut stdin {
            match pipe.write(&input[written..]) {
                Ok(count) => written += count,
                Err(error) if would_block(&error) => {}
                Err(_) => written = input.len(),
            }
            if written == input.len() {
                stdin = None;
            }
        }
        drain(&mut stdout, &mut out);
        drain(&mut stderr, &mut err);
    }
    let status = child
        .wait()
        .map_err(|error| Error::internal(format!("wait failed: {error}")))?;
    Ok(Output {
        status,
        stdout: out,
        stderr: err,
    })
}

fn drain(pipe: &mut Option<impl Read>, into: &mut Vec<u8>) {
    let mut chunk = [0; 16 * 1024];
    while let Some(source) = pipe {
        match source.read(&mut chunk) {
            Ok(0) => *pipe = None,
            Ok(count) => into.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if would_block(&error) => return,
            Err(_) => *pipe = None,
        }
    }
}

fn would_block(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock
}

/// Switches `fd` to non-blocking reads and writes.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    let fail = |error| Error::internal(format!("fcntl failed: {error}"));
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).map_err(fail)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map_err(fail)?;
    Ok(())
}

/// The poll time-out that ends at `deadline`, rounded up so that it never spins.
pub(crate) fn until(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else {
        return PollTimeout::NONE;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let millis = left.as_micros().div_ceil(1000).min(i32::MAX as u128);
    PollTimeout::try_from(millis as i32).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cmd(program: &str) -> Cmd {
        Cmd::new("test.exec", program, Path::new("/"))
    }

    #[test]
    fn large_input_and_output_pass_without_a_deadlock() {
        let input = vec![b'x'; 3_000_000];
        let output = cmd("cat").stdin(input.clone()).output().expect("cat");
        assert_eq!(output.stdout, input);
    }

    #[test]
    fn a_failure_carries_the_words_of_the_program() {
        let error = cmd("ls").arg("/no/such/file").run().expect_err("fails");
        assert_eq!(error.kind, Kind::Failed);
        assert!(error.detail.expect("stderr").contains("/no/such/file"));
    }

    #[test]
    fn a_missing_program_is_said_to_be_missing() {
        let error = cmd("no-such-program-anywhere").run().expect_err("missing");
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.message.contains("not installed"));
    }

    #[test]
    fn a_missing_folder_is_not_taken_for_a_missing_program() {
        let gone = Path::new("/no/such/folder");
        let error = Cmd::new("test.exec", "git", gone).run().expect_err("no folder");
        assert_eq!(error.message, "the folder /no/such/folder is gone");
    }

    #[test]
    fn time_runs_out() {
        let error = cmd("sleep")
            .arg("60")
            .timeout(Duration::from_millis(30))
            .run()
            .expect_err("too slow");
        assert_eq!(error.kind, Kind::Timeout);
    }
}
