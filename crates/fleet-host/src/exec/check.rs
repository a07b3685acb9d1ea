//! A shell line of the user's own, run to its end with everything that it starts.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fleet_core::{Error, Result, fault};
use nix::poll::{PollFd, PollFlags, poll};

use super::{Cmd, cannot_start, status_code, until};
use crate::process::{self, Identity};
use crate::{files, sys};

/// How much of its output is kept, from the end.
const KEPT: u64 = 256 * 1024;

/// How long what it has left running may take to end politely.
const GRACE: Duration = Duration::from_millis(500);

/// The variable by which what a check has started is found.
pub const MARK: &str = "FLEET_CHECK";

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its exit code, 128 and the signal for one that was killed; none when time ran out.
    pub code: Option<i32>,
    /// How long it ran.
    pub took: Duration,
    /// The end of what it wrote to both outputs.
    pub output: String,
}

impl Checked {
    /// Whether it ended with 0.
    pub fn passed(&self) -> bool {
        self.code == Some(0)
    }
}

impl Cmd {
    /// Runs it with its output in the file `log`, which is removed again. When it ends, or its time has run out, all
    /// that it has started is ended too; `mark` tells that from other processes, and must be nobody else's.
    pub fn check(mut self, log: &Path, mark: &str) -> Result<Checked> {
        let file =
            fault::guard(self.site, || File::create(log)).map_err(|error| files::io_error("write", log, &error))?;
        let second = file
            .try_clone()
            .map_err(|error| files::io_error("write", log, &error))?;
        self.command
            .env(MARK, mark)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(second);
        let started = Instant::now();
        let deadline = self.timeout.map(|timeout| started + timeout);
        let mut child =
            fault::guard(self.site, || self.command.spawn()).map_err(|error| cannot_start(&self.program, &error))?;
        // The command holds the log open.
        drop(self.command);
        let in_time = wait_for(child.id(), deadline)?;
        let took = started.elapsed();
        if !in_time {
            let _ = child.kill();
        }
        let status = child
            .wait()
            .map_err(|error| Error::internal(format!("wait failed: {error}")))?;
        end_marked(mark);
        let output = files::read_tail(log, KEPT).unwrap_or_default();
        files::remove_file("check.log-clear", log)?;
        Ok(Checked {
            code: in_time.then(|| status_code(status)),
            took,
            output: String::from_utf8_lossy(&output).into_owned(),
        })
    }
}

/// Ends everything that a check with this mark has started.
pub fn end_marked(mark: &str) {
    let find = || {
        let marked = process::with_variable(MARK, OsStr::new(mark));
        marked.iter().map(process::Process::identity).collect::<Vec<Identity>>()
    };
    process::end_all(find, GRACE);
}

/// Waits for the end of a child that nobody has reaped. False when the deadline came first.
fn wait_for(pid: u32, deadline: Option<Instant>) -> Result<bool> {
    let pidfd = sys::pidfd_open(pid).map_err(|error| Error::internal(format!("pidfd_open failed: {error}")))?;
    loop {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, until(deadline)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(Error::internal(format!("poll failed: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str, mark: &str, limit: Option<Duration>) -> Checked {
        let dir = tempfile::tempdir().expect("dir");
        let cmd = Cmd::new("test.check", "sh", Path::new("/")).args(["-c", line]);
        let cmd = match limit {
            Some(limit) => cmd.timeout(limit),
            None => cmd,
        };
        let checked = cmd.check(&dir.path().join("log"), mark).expect("a shell");
        assert_eq!(std::fs::read_dir(dir.path()).expect("dir").count(), 0);
        checked
    }

    fn own_mark(name: &str) -> String {
        format!("test-{}-{name}", std::process::id())
    }

    fn left(mark: &str) -> usize {
        process::with_variable(MARK, OsStr::new(mark)).len()
    }

    #[test]
    fn both_outputs_and_the_exit_code_are_told() {
        let checked = run("echo out; echo err >&2; exit 3", &own_mark("code"), None);
        assert_eq!((checked.code, checked.output.as_str()), (Some(3), "out\nerr\n"));
        assert!(!checked.passed());
    }

    #[test]
    fn what_it_leaves_running_ends_with_it_and_holds_up_nothing() {
        let mark = own_mark("left");
        let checked = run("(setsid sleep 1000 &) ; sleep 1000 & echo done", &mark, None);
        assert!(checked.passed() && checked.output.contains("done"));
        assert_eq!(left(&mark), 0);
    }

    #[test]
    fn when_time_runs_out_all_of_it_ends() {
        let mark = own_mark("time");
        let checked = run(
            "echo begun; sleep 1000; echo never",
            &mark,
            Some(Duration::from_millis(100)),
        );
        assert_eq!((checked.code, checked.output.as_str()), (None, "begun\n"));
        assert_eq!(left(&mark), 0);
    }
}
