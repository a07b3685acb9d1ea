//! What the end of an agent means for the step that it made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Why;
use crate::outcome::Outcome;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The program says that it is done, and it exited in order.
    Done,
    /// The same, but a tool that it called was denied.
    DoneDenied,
    /// It failed by itself: to try the same again would cost the same again.
    Failed,
    /// It failed for a reason outside of it, such as a service without room.
    Trouble,
    /// The service wants fewer requests for a while.
    Limited,
    /// There is no login or no credit: a person has to do something first.
    Blocked,
    /// It has spent what it may.
    OverBudget,
    /// It took longer than it may.
    TimedOut,
    /// It gave no sign of life.
    Stalled,
    /// Its supervisor was killed before the end was seen.
    Lost,
    /// Somebody ended it.
    Stopped,
    /// It was not started: the start failed.
    NotStarted,
}

impl How {
    /// Whether the work is done.
    pub const fn is_done(self) -> bool {
        matches!(self, How::Done | How::DoneDenied)
    }

    /// Whether the same step may fare better the next time.
    pub const fn may_be_tried_again(self) -> bool {
        matches!(
            self,
            How::Trouble | How::Limited | How::Stalled | How::Lost | How::NotStarted
        )
    }

    /// Whether nothing is to be tried before somebody asks for it.
    pub const fn waits_for_a_person(self) -> bool {
        matches!(self, How::Blocked | How::Stopped)
    }

    /// In words, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            How::Done => "done",
            How::DoneDenied => "done, but a tool was denied",
            How::Failed => "failed",
            How::Trouble => "trouble",
            How::Limited => "rate limited",
            How::Blocked => "blocked",
            How::OverBudget => "over its budget",
            How::TimedOut => "timed out",
            How::Stalled => "stalled",
            How::Lost => "lost",
            How::Stopped => "stopped",
            How::NotStarted => "not started",
        }
    }
}

/// What was seen of an agent that runs no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How its run ended by its stream and its exit, where its program has a stream that is known.
    pub outcome: Option<Outcome>,
    /// Its exit code; none when its supervisor was killed before there was one.
    pub code: Option<i32>,
    /// Why the engine told it to end, if it did.
    pub ending: Option<Why>,
}

/// What that means for its step. What the program said before it was told to end holds: work that is done is done.
pub fn judge(seen: Seen) -> How {
    let own = of_outcome(seen.outcome, seen.code);
    match seen.ending {
        Some(_) if own.is_done() => own,
        Some(Why::Timeout) => How::TimedOut,
        Some(Why::Stall) => How::Stalled,
        Some(Why::Stop | Why::Relaunch) => How::Stopped,
        None => own,
    }
}

fn of_outcome(outcome: Option<Outcome>, code: Option<i32>) -> How {
    let Some(outcome) = outcome else {
        return match code {
            None => How::Lost,
            Some(0) => How::Done,
            Some(_) => How::Failed,
        };
    };
    match outcome {
        Outcome::Success => How::Done,
        Outcome::PermissionDenied => How::DoneDenied,
        Outcome::RateLimited => How::Limited,
        Outcome::Overloaded | Outcome::Cut | Outcome::NoTerminalEvent | Outcome::Unknown => How::Trouble,
        Outcome::ApiError { status } => match status {
            // Of the client's errors these two are about the moment, not about the request (RFC 9110 §15.5.9; RFC 6585 §4).
            Some(400..=499) if !matches!(status, Some(408 | 429)) => How::Failed,
            _ => How::Trouble,
        },
        // A program that breaks, or is killed by somebody else, says nothing about the task.
        Outcome::Crashed { .. } | Outcome::Killed { .. } => How::Trouble,
        Outcome::NoCredit | Outcome::Login => How::Blocked,
        Outcome::Budget => How::OverBudget,
        Outcome::MaxTurns | Outcome::Failed => How::Failed,
        Outcome::Interrupted => How::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(outcome: Option<Outcome>, code: Option<i32>, ending: Option<Why>) -> How {
        judge(Seen { outcome, code, ending })
    }

    #[test]
    fn an_exit_of_zero_is_not_success_where_the_stream_says_otherwise() {
        assert_eq!(of(Some(Outcome::Failed), Some(0), None), How::Failed);
        assert_eq!(of(Some(Outcome::NoTerminalEvent), Some(0), None), How::Trouble);
        assert_eq!(of(None, Some(0), None), How::Done);
    }

    #[test]
    fn trouble_outside_is_tried_again_and_a_refusal_is_not() {
        let api = |status| of(Some(Outcome::ApiError { status }), Some(1), None).may_be_tried_again();
        assert!([None, Some(500), Some(529), Some(408), Some(429)].into_iter().all(api));
        assert!(![Some(400), Some(403), Some(404)].into_iter().any(api));
        assert!(!of(Some(Outcome::Login), Some(1), None).may_be_tried_again());
        assert!(of(None, None, None).may_be_tried_again());
    }

    #[test]
    fn work_that_was_done_when_it_was_told_to_end_is_done() {
        assert_eq!(of(Some(Outcome::Success), Some(0), Some(Why::Timeout)), How::Done);
        assert_eq!(
            of(Some(Outcome::Killed { signal: 15 }), Some(143), Some(Why::Timeout)),
            How::TimedOut
        );
        assert_eq!(of(None, Some(143), Some(Why::Stop)), How::Stopped);
    }
}
