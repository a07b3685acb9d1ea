//! fleet's own tmux server: views on agents, and nothing an agent depends on.
//!
//! The server has its own socket and settings, so it never meets the user's. Its environment is cleared, so that
//! no secret of the process that happened to start it reaches another session. Sessions are addressed as
//! `=name`, which tmux matches exactly; without the sign `fix` would also mean `fix-42`.
//!
//! Commands go to tmux as lines on its standard input (`source-file -`). In one argument list a failing command
//! drops all that follow it, and the list may have 16 KiB only.

mod conf;
mod line;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_core::{Error, Result, Time};

use self::line::Line;
use crate::exec::{Cmd, Output, install_hint};
use crate::files;

/// The oldest tmux that has all we use.
const OLDEST: (u32, u32) = (3, 2);

/// A busy machine may take a while to start a hundred panes; a server that hangs must not hang us.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a call is tried when the server vanishes under it, as one does whose last session ends just then.
const ATTEMPTS: usize = 4;

/// The tmux server behind one socket.
#[derive(Clone, Debug)]
pub struct Tmux {
    socket: PathBuf,
    conf: PathBuf,
    env: Vec<(String, String)>,
}

/// A session to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// Its name; see [`check_name`].
    pub name: String,
    /// Where its program works.
    pub cwd: PathBuf,
    /// The program and its arguments. No shell sees them.
    pub argv: Vec<String>,
    /// Height until a client attaches.
    pub rows: u16,
    /// Width until a client attaches.
    pub cols: u16,
}

/// What became of one new session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It was made, and its program runs as this process.
    Created {
        /// The number of the program in its pane.
        pane_pid: u32,
    },
    /// The server had a session of that name; it was left alone.
    Existed,
    /// It could not be made.
    Failed(Error),
}

/// A session of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Time,
    /// How many clients are attached.
    pub attached: u32,
    /// The number of the program in its active pane.
    pub pane_pid: u32,
}

impl Tmux {
    /// The server behind `socket`, with its settings in the file `conf`. Of the caller's environment `env` only
    /// what a terminal program needs is passed on.
    pub fn new(socket: impl Into<PathBuf>, conf: impl Into<PathBuf>, env: &[(String, String)]) -> Self {
        let env = env.iter().filter(|(name, _)| is_harmless(name)).cloned().collect();
        Self {
            socket: socket.into(),
            conf: conf.into(),
            env,
        }
    }

    /// Writes the settings file, if it is not as it should be. [`Tmux::new_sessions`] does this itself.
    pub fn ensure_conf(&self) -> Result<()> {
        let home = self
            .env
            .iter()
            .find(|(name, _)| name == "HOME")
            .map(|(_, value)| Path::new(value));
        let text = conf::text(conf::terminal(home));
        if std::fs::read(&self.conf).is_ok_and(|bytes| bytes == text.as_bytes()) {
            return Ok(());
        }
        files::write_cache("tmux.write-conf", &self.conf, text.as_bytes(), 0o600)
    }

    /// Major and minor version of the installed tmux. Errors: it is missing or too old. A development version
    /// without a number counts as the newest.
    pub fn version(&self) -> Result<(u32, u32)> {
        let output = self
            .command("tmux.version")
            .arg("-V")
            .timeout(PATIENCE)
            .output()
            .map_err(|error| install_hint("tmux", error))?;
        let text = output.text();
        match parse_version(&text) {
            Some(version) if version < OLDEST => {
                let (major, minor) = OLDEST;
                let message = format!("{} is too old: fleet needs tmux {major}.{minor} or newer", text.trim());
                Err(install_hint("tmux", Error::unavailable(message)))
            }
            Some(version) => Ok(version),
            None => Ok((u32::MAX, 0)),
        }
    }

    /// Makes sessions, all in one call, starting the server if there is none. One outcome for each, in order;
    /// a session that cannot be made does not keep the others from being made.
    pub fn new_sessions(&self, site: &'static str, sessions: &[NewSession]) -> Result<Vec<Opened>> {
        let mut outcomes: Vec<Option<Opened>> = sessions.iter().map(|each| refuse(each).map(Opened::Failed)).collect();
        if outcomes.iter().all(Option::is_some) {
            return Ok(outcomes.into_iter().flatten().collect());
        }
        self.ensure_conf()?;
        for attempt in 1.. {
            let open: Vec<usize> = (0..sessions.len()).filter(|index| outcomes[*index].is_none()).collect();
            let script: String = open.iter().map(|index| new_session_line(&sessions[*index])).collect();
            let output = self.call(site, &["start-server", ";", "source-file", "-"], &script)?;
            let (printed, complaints) = (output.text(), output.error_text());
            for index in open {
                let name = &sessions[index].name;
                let created = printed.lines().find_map(|line| {
                    let (pid, printed_name) = line.split_once(' ')?;
                    (printed_name == name).then(|| pid.parse().ok())?
                });
                let duplicate = format!("duplicate session: {name}");
                outcomes[index] = match created {
                    Some(pane_pid) => Some(Opened::Created { pane_pid }),
                    None if complaints.lines().any(|line| line == duplicate) => Some(Opened::Existed),
                    None => None,
                };
            }
            if outcomes.iter().all(Option::is_some) {
                break;
            }
            if attempt == ATTEMPTS || !server_is_gone(&complaints) {
                let failed = Opened::Failed(self.explain(&output));
                outcomes
                    .iter_mut()
                    .for_each(|outcome| _ = outcome.get_or_insert_with(|| failed.clone()));
                break;
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Ends sessions, all in one call. Those that are missing are fine, and so is a missing server.
    pub fn kill_sessions(&self, site: &'static str, names: &[&str]) -> Result<()> {
        let names = names.iter().filter(|name| check_name(name).is_ok());
        let script: String = names
            .map(|name| Line::new("kill-session").option("-t", exact(name)).end())
            .collect();
        if script.is_empty() {
            return Ok(());
        }
        let output = self.call(site, &["-N", "source-file", "-"], &script)?;
        let complaints = output.error_text();
        let harmless = |line: &str| line.starts_with("can't find session") || server_is_gone(line);
        if output.status.success() || complaints.lines().all(harmless) {
            return Ok(());
        }
        Err(self.explain(&output))
    }

    /// Every session of the server; none when there is no server.
    pub fn sessions(&self) -> Result<Vec<Session>> {
        const FORMAT: &str = "#{session_created} #{session_attached} #{pane_pid} #{session_name}";
        let output = self.call("tmux.sessions", &["-N", "list-sessions", "-F", FORMAT], "")?;
        if output.status.success() {
            return Ok(output.text().lines().filter_map(parse_session).collect());
        }
        if server_is_gone(&output.error_text()) {
            Ok(Vec::new())
        } else {
            Err(self.explain(&output))
        }
    }

    /// Whether the server has a session of exactly that name.
    pub fn has_session(&self, name: &str) -> Result<bool> {
        Ok(self.sessions()?.iter().any(|session| session.name == name))
    }

    /// The number of the server's process; none when there is no server.
    pub fn server_pid(&self) -> Result<Option<u32>> {
        let output = self.call("tmux.server-pid", &["-N", "list-sessions", "-F", "#{pid}"], "")?;
        Ok(output.text().lines().next().and_then(|line| line.trim().parse().ok()))
    }

    /// Ends the server and with it every session.
    pub fn kill_server(&self, site: &'static str) -> Result<()> {
        let output = self.call(site, &["-N", "kill-server"], "")?;
        if output.status.success() || server_is_gone(&output.error_text()) {
            Ok(())
        } else {
            Err(self.explain(&output))
        }
    }

    /// The program and arguments that attach the terminal to a session, to be executed in place. It works inside
    /// the user's own tmux too, and it never starts a server.
    pub fn attach_command(&self, name: &str) -> Vec<String> {
        let socket = self.socket.to_string_lossy();
        let target = exact(name);
        [
            "env",
            "-u",
            "TMUX",
            "tmux",
            "-N",
            "-S",
            &socket,
            "attach-session",
            "-t",
            &target,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// [`Tmux::attach_command`] as a line for a POSIX shell.
    pub fn attach_line(&self, name: &str) -> String {
        let words: Vec<String> = self.attach_command(name).iter().map(|word| shell_word(word)).collect();
        words.join(" ")
    }

    fn call(&self, site: &'static str, args: &[&str], script: &str) -> Result<Output> {
        // `-u`: without it tmux prints `_` for every character of a name that is not ASCII.
        let command = self
            .command(site)
            .args(["-u", "-S"])
            .arg(&self.socket)
            .arg("-f")
            .arg(&self.conf);
        command
            .args(args)
            .stdin(script)
            .timeout(PATIENCE)
            .output()
            .map_err(|error| install_hint("tmux", error))
    }

    /// A bare tmux. The server keeps the directory and the environment of the client that starts it.
    fn command(&self, site: &'static str) -> Cmd {
        let command = Cmd::new(site, "tmux", Path::new("/"))
            .env_clear()
            .env("FLEET_ROLE", "tmux");
        self.env
            .iter()
            .fold(command, |command, (name, value)| command.env(name, value))
    }

    /// The error for a failed call: that tmux is too old, if it is, else its own words.
    fn explain(&self, output: &Output) -> Error {
        let complaints = output.error_text();
        let own_words = || Error::unavailable("tmux refused what fleet asked of it").detail(complaints.as_str());
        self.version().err().unwrap_or_else(own_words)
    }
}

/// Refuses a session name that tmux would change or could not find again: `.` and `:` separate the parts of a
/// target, `~` and `=` at the start mean other things, and control characters, `\` and `$` are stored in another
/// form.
pub fn check_name(name: &str) -> Result<()> {
    let unfit = |c: char| ".:\\$".contains(c) || c.is_control();
    if name.is_empty() || name.starts_with(['~', '=']) || name.contains(unfit) {
        return Err(
            Error::usage(format!("`{}` is no session name for tmux", name.escape_debug()))
                .hint("use letters, digits, `-` and `_` in `tmux_prefix`"),
        );
    }
    Ok(())
}

fn refuse(session: &NewSession) -> Option<Error> {
    if session.argv.is_empty() {
        return Some(Error::internal(format!("session `{}` has no program", session.name)));
    }
    check_name(&session.name).err()
}

fn new_session_line(session: &NewSession) -> String {
    let line = Line::new("new-session")
        .word("-dP")
        .option("-F", "#{pane_pid} #{session_name}")
        .option("-s", line::without_formats(session.name.as_bytes()))
        .option("-c", line::without_formats(session.cwd.as_os_str().as_bytes()))
        .option("-x", session.cols.to_string())
        .option("-y", session.rows.to_string())
        .word("--");
    // A single word tmux would give to a shell; two or more it executes as they are.
    let line = if session.argv.len() == 1 {
        line.word("env")
    } else {
        line
    };
    session.argv.iter().fold(line, |line, arg| line.word(arg)).end()
}

fn parse_session(line: &str) -> Option<Session> {
    let mut fields = line.splitn(4, ' ');
    let created: i64 = fields.next()?.parse().ok()?;
    let attached = fields.next()?.parse().ok()?;
    let pane_pid = fields.next()?.parse().ok()?;
    Some(Session {
        name: fields.next()?.to_owned(),
        created: Time(created * 1000),
        attached,
        pane_pid,
    })
}

/// `tmux 3.3a` and `tmux next-3.4` have a number, `tmux master` has none.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let number = text.trim().strip_prefix("tmux ")?;
    let number = number.strip_prefix("next-").unwrap_or(number);
    let (major, rest) = number.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn server_is_gone(complaints: &str) -> bool {
    let gone = [
        "no server running",
        "server exited",
        "lost server",
        "(No such file or directory)",
        "(Connection refused)",
    ];
    gone.iter().any(|words| complaints.contains(words))
}

fn exact(name: &str) -> String {
    format!("={name}")
}

fn is_harmless(name: &str) -> bool {
    matches!(name, "PATH" | "HOME" | "TERM" | "LANG" | "SHELL" | "USER") || name.starts_with("LC_")
}

fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_/.,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
