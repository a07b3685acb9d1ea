//! How a run without a terminal ended.
//!
//! Neither the exit status nor the stream is enough: Pi exits with 0 when the service refused everything, Claude
//! Code calls an error `success` beside a flag, Codex says nothing when it is interrupted. So success is a
//! terminal event without an error *and* exit status 0, with no tool denied on the way.

pub use fleet_core::outcome::Outcome;

use super::{Cli, Event, gemini};

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// The exit code as a shell gives it: 128 + n for signal n.
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

/// What matters of the events for the outcome. Feed it every event.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    end: Option<Outcome>,
    error: Option<Outcome>,
    denied: u64,
    /// Lines that were no events, or too long.
    pub unread: u64,
    said: String,
}

impl Seen {
    /// Whether it said that it is done.
    pub fn is_done(&self) -> bool {
        self.end == Some(Outcome::Success)
    }

    /// Takes one event in.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::End { outcome, text } => {
                self.end = Some(*outcome);
                self.say(text);
            }
            Event::Error { outcome, text } => {
                self.error = Some(*outcome);
                self.say(text);
            }
            Event::Denied { tool, about } => {
                self.denied += 1;
                self.say(&format!("{tool} {about}"));
            }
            // What went wrong before a retry that worked is over.
            Event::Text { .. } | Event::Call { .. } => self.error = None,
            Event::Malformed { .. } | Event::Skipped { .. } => self.unread += 1,
            _ => {}
        }
    }

    /// What was said last about something that went wrong: on one line, short, fit for a terminal. Empty if nothing was.
    pub fn said(&self) -> &str {
        &self.said
    }

    fn say(&mut self, text: &str) {
        let text = super::short(&super::plain(text));
        if !text.is_empty() {
            self.said = text;
        }
    }
}

impl<'a> FromIterator<&'a Event> for Seen {
    fn from_iter<T: IntoIterator<Item = &'a Event>>(events: T) -> Seen {
        let mut seen = Seen::default();
        events.into_iter().for_each(|event| seen.note(event));
        seen
    }
}

/// How the run ended. `sent` is the last signal that fleet sent to it, if any: some programs catch it, and exit
/// like after an error.
pub fn outcome(cli: Cli, seen: &Seen, exit: Exit, sent: Option<i32>) -> Outcome {
    let killed = |signal: i32| match signal {
        SIGINT => Outcome::Interrupted,
        signal => Outcome::Killed { signal },
    };
    let code = match exit {
        Exit::Signal(signal) => return killed(signal),
        Exit::Code(code) => code,
    };
    let said = match (cli, seen.end) {
        (Cli::Gemini, None | Some(Outcome::Failed)) => gemini::of_exit(code).or(seen.end),
        (_, end) => end,
    };
    match (said, code) {
        (Some(Outcome::Success), 0) if seen.denied > 0 => Outcome::PermissionDenied,
        (Some(Outcome::Success), 0) => Outcome::Success,
        // Shells, and programs that catch a signal, say 128 + its number. Other numbers are not read so: Gemini
        // CLI has codes of its own up there.
        (None | Some(Outcome::Success), 129 | 130 | 137 | 143) => killed(code - 128),
        (Some(Outcome::Success), code) => Outcome::Crashed { code },
        (Some(outcome), _) => outcome,
        (None, code) => match (sent, code) {
            (Some(signal), _) => killed(signal),
            (None, 0) if seen.denied > 0 => Outcome::PermissionDenied,
            (None, 0) => seen.error.unwrap_or(Outcome::NoTerminalEvent),
            (None, code) => seen.error.unwrap_or(Outcome::Crashed { code }),
        },
    }
}

const SIGINT: i32 = 2;

/// What kind of trouble a message of a service is, by its status and its words.
pub(super) fn trouble(status: Option<u16>, message: &str) -> Outcome {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let status = status.or_else(|| status_in(&message));
    if says(&[
        "credit balance",
        "quota exceeded",
        "insufficient_quota",
        "exceeded your current quota",
        "billing",
    ]) {
        return Outcome::NoCredit;
    }
    match status {
        Some(401) => return Outcome::Login,
        Some(429) => return Outcome::RateLimited,
        Some(503 | 529) => return Outcome::Overloaded,
        Some(status) => {
            return Outcome::ApiError { status: Some(status) };
        }
        None => {}
    }
    if says(&[
        "not logged in",
        "/login",
        "invalid api key",
        "api key not valid",
        "missing environment variable",
        "api key is missing",
        "no api key",
    ]) {
        Outcome::Login
    } else if says(&["rate limit", "too many requests", "usage limit", "resource_exhausted"]) {
        Outcome::RateLimited
    } else if says(&["overloaded", "at capacity", "unavailable"]) {
        Outcome::Overloaded
    } else if says(&[
        "econnreset",
        "econnrefused",
        "connection",
        "unable to connect",
        "terminated",
        "disconnected",
        "socket",
        "fetch failed",
        "network",
        "premature close",
        "aborted",
    ]) {
        Outcome::Cut
    } else {
        Outcome::Failed
    }
}

/// The first number in a message that is an HTTP error.
fn status_in(message: &str) -> Option<u16> {
    message
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .filter(|word| word.len() == 3)
        .find_map(|word| word.parse().ok().filter(|status| (400..600).contains(status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(end: Option<Outcome>, error: Option<Outcome>, denied: u64) -> Seen {
        Seen {
            end,
            error,
            denied,
            ..Seen::default()
        }
    }

    #[test]
    fn success_needs_a_clear_terminal_event_and_exit_0_and_nothing_denied() {
        use Outcome::*;
        let done = Some(Success);
        for (seen, exit, sent, wanted) in [
            (seen(done, None, 0), Exit::Code(0), None, Success),
            (seen(done, None, 1), Exit::Code(0), None, PermissionDenied),
            (seen(done, None, 0), Exit::Code(1), None, Crashed { code: 1 }),
            (seen(done, None, 0), Exit::Signal(9), None, Killed { signal: 9 }),
            (seen(done, None, 0), Exit::Code(143), None, Killed { signal: 15 }),
            (seen(None, None, 0), Exit::Code(0), None, NoTerminalEvent),
            (seen(None, None, 1), Exit::Code(0), None, PermissionDenied),
            (seen(None, Some(Login), 0), Exit::Code(0), None, Login),
            (seen(None, Some(Login), 0), Exit::Code(1), None, Login),
            (seen(None, None, 0), Exit::Code(1), None, Crashed { code: 1 }),
            (seen(None, None, 0), Exit::Code(1), Some(2), Interrupted),
            (seen(None, None, 0), Exit::Code(0), Some(15), Killed { signal: 15 }),
            (seen(None, None, 0), Exit::Code(130), None, Interrupted),
            (seen(None, None, 0), Exit::Signal(2), None, Interrupted),
            (seen(Some(Interrupted), None, 0), Exit::Code(0), None, Interrupted),
            (seen(Some(Budget), None, 3), Exit::Code(1), None, Budget),
            (seen(Some(Login), None, 0), Exit::Code(145), None, Login),
        ] {
            assert_eq!(
                outcome(Cli::Claude, &seen, exit, sent),
                wanted,
                "{seen:?} {exit:?} {sent:?}"
            );
        }
    }

    #[test]
    fn a_service_s_words_are_sorted() {
        for (status, message, wanted) in [
            (Some(400), "Credit balance is too low", Outcome::NoCredit),
            (None, "429 Rate limit reached", Outcome::RateLimited),
            (
                None,
                "unexpected status 403 Forbidden: no",
                Outcome::ApiError { status: Some(403) },
            ),
            (None, "took 500.5 ms and 4000 tokens", Outcome::Failed),
            (None, "terminated", Outcome::Cut),
        ] {
            assert_eq!(trouble(status, message), wanted, "{message}");
        }
    }
}
