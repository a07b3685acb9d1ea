//! A program that runs beside its caller, read line by line, and ends with it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};

use fleet_core::{Error, Result, fault};

use super::{Cmd, cannot_start};

/// A running program. When this is dropped it is killed and waited for.
#[derive(Debug)]
pub struct Beside {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Cmd {
    /// Starts it with nothing on standard input. Its deadline counts for nothing. Error: it cannot be started.
    pub fn beside(mut self) -> Result<Beside> {
        self.command.stdin(Stdio::null());
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            fault::guard(self.site, || self.command.spawn()).map_err(|error| cannot_start(&self.program, &error))?;
        let said = child.stdout.take().expect("it was asked for as a pipe");
        Ok(Beside {
            child,
            said: BufReader::new(said),
        })
    }
}

impl Beside {
    /// The next line that it says, without its end; waits for it. Error: it has ended; the detail is what it complained
    /// of.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.said.read_line(&mut line);
        let count = read.map_err(|error| Error::failed(format!("its output cannot be read: {error}")))?;
        if count > 0 {
            return Ok(line.trim_end_matches('\n').to_owned());
        }
        let mut complaint = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut complaint);
        }
        Err(Error::failed("it ended before it was ready").detail(complaint))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sh(lines: &str) -> Beside {
        let cmd = Cmd::new("test.beside", "sh", Path::new("/")).args(["-c", lines]);
        cmd.beside().expect("a shell")
    }

    #[test]
    fn what_it_says_is_read_while_it_runs_and_it_ends_with_its_owner() {
        let mut beside = sh("echo one; echo; exec cat /dev/fd/0 /dev/zero > /dev/null");
        assert_eq!(beside.line().expect("a line"), "one");
        assert_eq!(beside.line().expect("an empty one"), "");
        let identity = crate::process::Identity::of(beside.child.id()).expect("it runs");
        drop(beside);
        assert!(!crate::process::is_running(&identity));
    }

    #[test]
    fn an_early_end_is_told_with_its_complaint() {
        let error = sh("echo broken >&2").line().expect_err("it has ended");
        assert!(error.detail.expect("stderr").contains("broken"));
    }
}
