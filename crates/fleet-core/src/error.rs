//! The one error every surface shows, and the one table from its kind to exit code and HTTP status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The result of everything a user can ask for.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as a program can branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The thing asked for did not succeed, and that is an expected outcome.
    Failed,
    /// Bad arguments or parameters.
    Usage,
    /// No such agent, batch, repository, salvage or plan.
    NotFound,
    /// It exists already, is held by another, or changed meanwhile.
    Conflict,
    /// Not allowed, not confirmed, or it would lose work.
    Refused,
    /// A cap would be passed.
    OverBudget,
    /// git, tmux, a supervisor or a file system cannot be used; a retry may help.
    Unavailable,
    /// Waited as long as told.
    Timeout,
    /// The act was done but its effect could not be observed.
    Unverified,
    /// A plan, a contract or a report has errors.
    Plan,
    /// Our bug.
    Internal,
    /// Broken settings.
    Config,
}

impl Kind {
    /// Every kind, in the order of the reference page.
    pub const ALL: &[Kind] = &[
        Kind::Failed,
        Kind::Usage,
        Kind::NotFound,
        Kind::Conflict,
        Kind::Refused,
        Kind::OverBudget,
        Kind::Unavailable,
        Kind::Timeout,
        Kind::Unverified,
        Kind::Plan,
        Kind::Internal,
        Kind::Config,
    ];

    /// The exit code, the HTTP status and one line for the reference page.
    ///
    /// 65, 70 and 78 are `EX_DATAERR`, `EX_SOFTWARE` and `EX_CONFIG` of sysexits(3); 2 is what the argument parser itself uses.
    pub const fn row(self) -> (u8, u16, &'static str) {
        match self {
            Kind::Failed => (1, 422, "the thing asked for did not succeed"),
            Kind::Usage => (2, 400, "bad arguments or parameters"),
            Kind::NotFound => (3, 404, "no such agent, batch, repository, salvage or plan"),
            Kind::Conflict => (4, 409, "it exists already, is held by another, or changed meanwhile"),
            Kind::Refused => (5, 403, "not allowed, not confirmed, or it would lose work"),
            Kind::OverBudget => (6, 402, "a cap would be passed"),
            Kind::Unavailable => (
                7,
                503,
                "git, tmux, a supervisor or a file system cannot be used; a retry may help",
            ),
            Kind::Timeout => (8, 504, "waited as long as told"),
            Kind::Unverified => (9, 502, "the act was done but its effect could not be observed"),
            Kind::Plan => (
                65,
                422,
                "a plan, a contract or a report has errors, and nothing was started",
            ),
            Kind::Internal => (70, 500, "a bug in fleet"),
            Kind::Config => (78, 500, "broken settings"),
        }
    }

    /// The process exit code of this kind.
    pub const fn exit_code(self) -> u8 {
        self.row().0
    }
}

/// A refusal or failure: what it is for programs, what happened for people, and what to do next.
///
/// `message` starts in lower case and has no full stop; `hint` is a command that works when pasted, or a
/// sentence that says what to change; `detail` is quoted output of another program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Error {
    /// What went wrong, for programs.
    pub kind: Kind,
    /// What happened, in one line.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Output of the program that failed, as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            detail: None,
        }
    }

    /// The same error with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with another program's output; blank output is left out.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let text = detail.trim_end();
        self.detail = (!text.trim().is_empty()).then(|| text.to_owned());
        self
    }

    /// The same error with `what` in front of its message.
    #[must_use]
    pub fn context(mut self, what: impl AsRef<str>) -> Self {
        self.message = format!("{}: {}", what.as_ref(), self.message);
        self
    }

    /// A failure that is no one's mistake.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// Bad arguments.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Nothing of that name.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Taken, held or changed.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// Not allowed, or work would be lost.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// Something outside fleet cannot be used now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// Our bug.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_exit_code_of_its_own() {
        let mut codes: Vec<u8> = Kind::ALL.iter().map(|kind| kind.exit_code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
        assert!(!codes.contains(&0));
    }

    #[test]
    fn blank_detail_is_left_out() {
        assert_eq!(Error::failed("x").detail(" \n").detail, None);
    }
}
