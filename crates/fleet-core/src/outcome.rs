//! How a run without a terminal ended, in words.
//!
//! Which outcome a run had is decided from its stream and its exit, where these are known.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It said that it is done, no tool was denied, and it exited with 0.
    Success,
    /// The service refused the request or failed.
    ApiError {
        /// The HTTP status, where it is told.
        status: Option<u16>,
    },
    /// The account has no credit left.
    NoCredit,
    /// Too many requests, or the account's limit is reached.
    RateLimited,
    /// The service has no room at present.
    Overloaded,
    /// There is no login or key, or it is not accepted.
    Login,
    /// It ended in order, but a tool that it called was denied.
    PermissionDenied,
    /// The most turns that it was allowed are done.
    MaxTurns,
    /// The most money that it was allowed is spent.
    Budget,
    /// It was interrupted (SIGINT).
    Interrupted,
    /// A signal ended it.
    Killed {
        /// The signal's number.
        signal: i32,
    },
    /// The connection to the service broke, or there was none.
    Cut,
    /// It failed in another way.
    Failed,
    /// It exited with an error and the stream does not say why.
    Crashed {
        /// The exit code.
        code: i32,
    },
    /// It exited with 0 and the stream does not say that it is done.
    NoTerminalEvent,
    /// An outcome this version does not know.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Success => f.write_str("success"),
            Outcome::ApiError { status: Some(status) } => write!(f, "api error {status}"),
            Outcome::ApiError { status: None } => f.write_str("api error"),
            Outcome::NoCredit => f.write_str("no credit"),
            Outcome::RateLimited => f.write_str("rate limited"),
            Outcome::Overloaded => f.write_str("overloaded"),
            Outcome::Login => f.write_str("login"),
            Outcome::PermissionDenied => f.write_str("permission denied"),
            Outcome::MaxTurns => f.write_str("max turns"),
            Outcome::Budget => f.write_str("budget"),
            Outcome::Interrupted => f.write_str("interrupted"),
            Outcome::Killed { signal } => write!(f, "killed by signal {signal}"),
            Outcome::Cut => f.write_str("cut"),
            Outcome::Failed => f.write_str("failed"),
            Outcome::Crashed { code } => write!(f, "crashed with {code}"),
            Outcome::NoTerminalEvent => f.write_str("no terminal event"),
            Outcome::Unknown => f.write_str("unknown"),
        }
    }
}
