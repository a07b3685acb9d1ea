//! The meter: the one proxy of a fleet, through which programs reach their services. How it is started, and what it and
//! a supervisor say to each other.
//!
//! Whoever needs it starts it: a start of an agent, and each supervisor that loses it. It keeps its port for ever, because
//! programs were told of it; so where another process listens there, it does not start. It ends when no supervisor
//! holds on to it any more, by a connection to its socket that nothing is said on.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;

use fleet_core::spend::Spend;
use fleet_core::usage::Tokens;
use fleet_core::{Error, Result, Time, fault};
use serde::{Deserialize, Serialize};

use crate::exec::raw_command;

/// The first argument by which the executable knows that it is to be the meter.
pub const ARGUMENT: &str = "__meter";

/// How the meter is started and found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Meter {
    /// Where it listens for supervisors.
    pub socket: PathBuf,
    /// Where it writes what it cannot say elsewhere.
    pub log: PathBuf,
    /// Its environment.
    pub env: Vec<(String, String)>,
}

/// An agent whose program reaches its service through the meter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Metered {
    /// The secret in the program's address.
    pub token: String,
    /// The base URL of each service by the name in the program's address.
    pub routes: BTreeMap<String, String>,
    /// The meter.
    pub meter: Meter,
}

/// What the meter says when it starts, as one line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// It serves this port of 127.0.0.1.
    Serves(u16),
    /// It cannot.
    Failed(Error),
}

/// What the meter tells or asks a supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum Request {
    /// May this request go on?
    Admit {
        /// The secret of its address.
        token: String,
        /// Which service is meant.
        route: String,
        /// Whether it asks for a reply, which costs.
        costs: bool,
        /// The model that it asks for; none where it does not say.
        #[serde(default)]
        model: Option<String>,
        /// How the hard ceilings of all agents stand.
        #[serde(default)]
        ceiling: Ceiling,
    },
    /// The request of this number is with the service, whole.
    Sent {
        /// Its number.
        number: u64,
        /// The model that was asked for.
        model: Option<String>,
        /// What it is taken to have read, as long as nobody says.
        expected: Tokens,
    },
    /// The request of this number has ended.
    Ended {
        /// Its number.
        number: u64,
        /// What it used; none: it has cost nothing.
        reply: Option<Reply>,
    },
    /// A request got no answer of its service.
    Unanswered {
        /// Why, for people.
        about: String,
    },
    /// The service has refused because a limit of its own is used up.
    Limited {
        /// Until when; none where it does not say.
        until: Option<Time>,
    },
}

/// How the hard ceilings of all agents together stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ceiling {
    /// There is none.
    #[default]
    None,
    /// There is room, for what has a price.
    Room,
    /// One is used up: what to say.
    UsedUp(String),
}

/// What a request used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The model that was asked for.
    pub asked: Option<String>,
    /// The model as the reply calls it.
    pub model: Option<String>,
    /// The tokens, estimates among them unless it is `whole`.
    pub tokens: Tokens,
    /// Whether the service came to its final account.
    pub whole: bool,
}

/// What a supervisor answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It goes on.
    Pass {
        /// The base URL of the service.
        upstream: String,
        /// The number of the request.
        number: u64,
    },
    /// There is to be no other request: why, for people.
    Refused(String),
    /// That is not the agent's address.
    Stranger,
    /// It is recorded.
    Noted {
        /// The entry of the agent's account that was made.
        spend: Option<Spend>,
    },
}

impl Meter {
    /// Starts it unless it runs, and gives its port.
    ///
    /// # Errors
    /// `Conflict`: another process has its port. `Unavailable`: it cannot be started.
    pub fn start(&self) -> Result<u16> {
        use std::os::unix::fs::OpenOptionsExt;
        let cannot = |error: std::io::Error| Error::unavailable(format!("cannot start the meter: {error}"));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.log);
        let log = log.map_err(cannot)?;
        // The running executable, even when its file was replaced by an update meanwhile.
        let mut command = raw_command("/proc/self/exe");
        command
            .arg(ARGUMENT)
            .current_dir("/")
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            // A supervisor that starts it becomes its parent, and is not to end it with its agent.
            .env("FLEET_ROLE", "meter")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log));
        crate::sys::with_new_session(&mut command);
        let mut child = fault::guard("meter.spawn", || command.spawn()).map_err(cannot)?;
        let mut text = String::new();
        let read = child.stdout.take().map(|mut said| said.read_to_string(&mut text));
        // Its first process is over at once: it forks away, so that it is nobody's child.
        let _ = child.wait();
        read.transpose().map_err(cannot)?;
        match serde_json::from_str(&text) {
            Ok(Report::Serves(port)) => Ok(port),
            Ok(Report::Failed(error)) => Err(error),
            Err(_) => Err(Error::unavailable("the meter ended at once").hint(format!(
                "see what it says: `cat {}`",
                fleet_core::name::word(&self.log.to_string_lossy())
            ))),
        }
    }

    /// Holds on to it, and starts it where it does not run.
    ///
    /// # Errors
    /// Those of [`Meter::start`].
    pub fn join(&self) -> Result<UnixStream> {
        if let Ok(link) = UnixStream::connect(&self.socket) {
            return Ok(link);
        }
        self.start()?;
        UnixStream::connect(&self.socket)
            .map_err(|error| Error::unavailable(format!("the meter does not answer: {error}")))
    }
}

/// Says how the start went to whoever started this process, and leaves them. True in the process that goes on.
pub fn leave(report: &Report) -> bool {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    let mut out = std::io::stdout();
    let _ = out.write_all(&line).and_then(|()| out.flush());
    if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = crate::sys::replace_fd(null.as_fd(), 1);
    }
    matches!(crate::sys::fork_is_parent(), Ok(false))
}
