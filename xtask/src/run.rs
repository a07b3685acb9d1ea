//! Programs that a chore starts and waits for.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::{Failure, Result, failed};

/// A program to run to its end.
#[derive(Debug)]
pub(crate) struct Run {
    command: Command,
    shown: String,
}

/// What a program left that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The environment of a private world: these variables and no others.
#[derive(Clone, Debug)]
pub(crate) struct Environment(pub(crate) Vec<(OsString, OsString)>);

impl Run {
    pub(crate) fn new(program: impl AsRef<Path>, cwd: &Path) -> Self {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command.current_dir(cwd);
        let shown = program
            .file_name()
            .unwrap_or(program.as_os_str())
            .to_string_lossy()
            .into_owned();
        Self { command, shown }
    }

    /// cargo on this workspace. The lock file is not touched: the cargo that started this program has seen to it.
    pub(crate) fn cargo(verb: &str) -> Self {
        Self::new(cargo(), &root()).args([verb, "--locked"])
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        for arg in args {
            self.shown.push(' ');
            self.shown.push_str(&quoted(&arg.as_ref().to_string_lossy()));
            self.command.arg(arg);
        }
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Exactly this environment.
    pub(crate) fn within(mut self, environment: &Environment) -> Self {
        self.command
            .env_clear()
            .envs(environment.0.iter().map(|(name, value)| (name, value)));
        self
    }

    /// The command line, as one would type it.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// The bare command, with nothing on its standard input, for those who must do more than wait.
    pub(crate) fn into_command(mut self) -> Command {
        self.command.stdin(Stdio::null());
        self.command
    }

    /// Runs it with its output kept. An error is only that it could not be started.
    pub(crate) fn output(self) -> Result<Ended> {
        let shown = self.shown.clone();
        let output = self
            .into_command()
            .output()
            .map_err(|error| cannot_start(&shown, &error))?;
        Ok(Ended {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs it and gives its standard output; another exit code than 0 is an error with all that it said.
    pub(crate) fn text(self) -> Result<String> {
        let shown = self.shown.clone();
        let ended = self.output()?;
        if ended.status.success() {
            return Ok(ended.stdout);
        }
        failed(format!(
            "`{shown}` failed ({})\n{}{}",
            ended.status, ended.stdout, ended.stderr
        ))
    }

    /// Runs it with its output on ours. An error is only that it could not be started.
    pub(crate) fn status(self) -> Result<ExitStatus> {
        let shown = self.shown.clone();
        self.into_command()
            .status()
            .map_err(|error| cannot_start(&shown, &error))
    }

    /// Runs it with its output on ours; another exit code than 0 is an error.
    pub(crate) fn pass(self) -> Result<()> {
        let shown = self.shown.clone();
        let status = self.status()?;
        if status.success() {
            Ok(())
        } else {
            failed(format!("`{shown}` failed ({status})"))
        }
    }
}

/// The cargo that started this program.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own)
        .parent()
        .expect("xtask is a folder of the workspace")
        .to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// True if `program` is an executable on PATH.
pub(crate) fn is_installed(program: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).any(|file| {
        file.metadata()
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

/// `text` as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Any I/O error as a failure that says what was being done.
pub(crate) fn io(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let what = format!("cannot {what} {}", path.display());
    move |error| Failure::Failed(format!("{what}: {error}"))
}

fn cannot_start(shown: &str, error: &std::io::Error) -> Failure {
    Failure::Failed(format!("cannot start `{shown}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_only_when_a_shell_needs_it() {
        assert_eq!(quoted("a/b-c.d"), "a/b-c.d");
        assert_eq!(quoted("it's $x"), r"'it'\''s $x'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("fix-*"), "'fix-*'");
    }

    #[test]
    fn a_failing_program_tells_what_it_said() {
        let run = Run::new("/bin/sh", Path::new("/")).args(["-c", "echo out; echo err >&2; exit 3"]);
        let Err(Failure::Failed(text)) = run.text() else {
            panic!("it failed")
        };
        assert!(text.contains("exit status: 3") && text.contains("out\nerr"), "{text}");
    }
}
