//! What a supervisor observes of its agent, as lines of the agent's journal.
//!
//! A journal is a text file of one JSON object a line. The supervisor is its only writer. Lines carry the
//! format version, a sequence that never repeats in one agent's life, the time, the source of the
//! observation and the state that followed from it, so that the last line alone tells how an agent stands.
//! A reader that meets an unknown fact keeps its sequence and skips it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Time;
use crate::agent::Reason;
use crate::budget::{Level, Limits, Rung};
use crate::money::Usd;
use crate::outcome::Outcome;
use crate::spend::{Certainty, Meter, Spend};
use crate::usage::Usage;

/// The version of the journal's format. A journal that starts with a newer one is refused, never half read.
pub const VERSION: u32 = 1;

/// Where an observation came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The kernel: a process was started, ended or reaped.
    Process,
    /// The rendered screen.
    Screen,
    /// The program itself: a hook, an extension, its stream or its transcript.
    Program,
    /// A request over the socket.
    Request,
    /// The supervisor's own doing.
    Supervisor,
    /// A source this version does not know.
    #[serde(other)]
    Unknown,
}

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Format version.
    pub v: u32,
    /// Position in the agent's life, from 1; it goes on when the agent is resumed.
    pub seq: u64,
    /// When it was observed.
    pub at: Time,
    /// Who observed it.
    pub src: Source,
    /// What was observed.
    #[serde(flatten)]
    pub fact: Fact,
    /// The state that followed, in words (see [`crate::agent::State`]).
    pub state: String,
}

/// How a receipt was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// The prompt was an argument of the program that now runs.
    Argv,
    /// The prompt was read from standard input to its end.
    Stdin,
    /// The program itself said that a turn began with the text.
    Program,
    /// The text was seen in the draft and then seen leaving it, and the terminal's input queue was empty.
    Screen,
    /// A receipt this version does not know.
    #[serde(other)]
    Unknown,
}

/// What was used, and what that comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// The program's own account.
    #[serde(flatten)]
    pub usage: Usage,
    /// What it cost by fleet's account; none where that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Usd>,
    /// How far that can be relied on; none where an older supervisor did not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certainty: Option<Certainty>,
    /// The task that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The sub-agent that used it, as [`Fact::SentOut`] calls it, where the program tells that apart. It belongs to that
    /// one's task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crew: Option<String>,
    /// Whether it is the program's own sum of what was counted elsewhere already: it is in no account.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
    /// The number of the request, where the proxy has counted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// When the last reply in it was written, in milliseconds since 1970, where it is read from a file: whoever reads that
    /// file next begins behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upto: Option<i64>,
}

/// One observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// A supervisor took the agent over: at the start and at each resume.
    Launched {
        /// 1 at the start, one more at each resume.
        generation: u32,
        /// The supervisor's process id.
        supervisor: u32,
        /// The boot it belongs to.
        boot: String,
        /// Name of the harness.
        harness: String,
        /// Whether the harness has a `ready` rule: without one the state stays `working`.
        ready_rule: bool,
        /// Whether its conversation is a new one: at the start, and when it was asked for or there was none to go on
        /// with.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        fresh: bool,
        /// The folder in which its program keeps its conversations, by its environment and arguments; none where nobody
        /// knows, and in journals of older versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sessions: Option<PathBuf>,
    },
    /// A file was copied into the workspace; the digest tells later whether it was edited.
    Copied {
        /// Path relative to the workspace.
        path: String,
        /// SHA-256 of its bytes, hexadecimal.
        sha256: String,
    },
    /// A setup command ended.
    Setup {
        /// The command as configured.
        command: String,
        /// Its exit code; 128 + n when signal n ended it.
        code: i32,
    },
    /// The child is about to be started: from here on it may have run, although nobody has seen it. For workers of runs,
    /// whose work must not be paid for twice.
    Starting,
    /// The child runs.
    Started {
        /// Its process id.
        pid: u32,
        /// Its start time in clock ticks since boot, which makes the pid unambiguous.
        start: u64,
    },
    /// The child could not be started.
    StartFailed {
        /// Why.
        why: String,
    },
    /// The program takes a prompt, and its output has settled.
    Ready {
        /// The rule that told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
    },
    /// The program works: it was given a turn, or its prompt went away.
    Busy {
        /// The rule that told; none when Enter was pressed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
    },
    /// A person is being asked, or has to do something before it goes on.
    Asked {
        /// What for.
        reason: Reason,
        /// The rule that told.
        rule: String,
    },
    /// The program's own id of the conversation: with it the conversation can be resumed.
    Conversation {
        /// The id.
        id: String,
    },
    /// What was used since the last fact of this kind.
    Used(Used),
    /// A limit of what the agent may use is near, or reached.
    Budget {
        /// How near.
        level: Level,
        /// Which.
        rung: Rung,
        /// What was used of what, in words.
        about: String,
    },
    /// The proxy through which the program reaches its service went away, or came back, or has something to tell. Without
    /// it nothing is spent, unless the program was never led through it.
    Meter {
        /// Whether it is there.
        there: bool,
        /// What happened, in words.
        about: String,
    },
    /// The service refused a request because a limit of its own is used up.
    Quota {
        /// When it is lifted; none where the service does not say.
        until: Option<Time>,
    },
    /// The agent may use this much from now on.
    Limited {
        /// The limits.
        limits: Limits,
    },
    /// The program has sent out a sub-agent.
    SentOut {
        /// What tells it from all others of this agent, over all launches.
        id: String,
        /// What kind of sub-agent it is, as the program calls it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crew: Option<String>,
        /// Whether it is known to change nothing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        reads: bool,
        /// What it is to do, in a line.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        about: String,
        /// The task that its prompt names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<String>,
        /// The task that its agent works for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        part_of: Option<String>,
        /// The sub-agent that sent it out; none where the agent itself did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within: Option<String>,
    },
    /// A sub-agent has answered.
    CameBack {
        /// Which, as [`Fact::SentOut`] calls it.
        id: String,
        /// Whether it says that it succeeded.
        ok: bool,
    },
    /// The key that interrupts a turn was pressed because somebody asked for it.
    Interrupted,
    /// A prompt waits for the end of the turn. The text is kept here so that it outlives everything.
    PromptQueued {
        /// The request's id; a second request of the same id is the same prompt.
        id: String,
        /// The prompt.
        text: String,
    },
    /// A prompt is about to be written to the child. It is not written again, unless the program ends before
    /// [`Fact::Busy`] says that Enter was pressed: then it cannot have taken it.
    PromptTyped {
        /// The request's id.
        id: String,
    },
    /// A receipt was seen.
    PromptDelivered {
        /// The request's id.
        id: String,
        /// What counted as the receipt.
        by: Receipt,
    },
    /// The prompt was written but no receipt was seen.
    PromptUnverified {
        /// The request's id.
        id: String,
        /// What was seen instead.
        why: String,
    },
    /// The prompt was not written.
    PromptRefused {
        /// The request's id.
        id: String,
        /// Why.
        why: String,
    },
    /// The end was asked for.
    Stopping {
        /// Without the polite waits.
        force: bool,
    },
    /// How a run without a terminal ended, by its stream and its exit together; [`Fact::Exited`] follows.
    Ended {
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
        /// What the program or the service said about it, short and fit for a terminal; empty at a success.
        text: String,
    },
    /// The child ended.
    Exited {
        /// Its exit code; 128 + n when signal n ended it.
        code: i32,
    },
    /// Processes that outlived the child were ended.
    Swept {
        /// Their process ids.
        pids: Vec<u32>,
    },
    /// A notifier of the config ran.
    Notified {
        /// `on_waiting`, `on_idle` or `on_exit`.
        hook: String,
        /// Its exit code; none when it could not start or ran out of time.
        code: Option<i32>,
    },
    /// A fact of a newer version.
    #[serde(other)]
    Unknown,
}

impl Used {
    /// An account that nobody has priced.
    pub fn unpriced(usage: Usage) -> Used {
        Used {
            usage,
            cost: None,
            certainty: None,
            task: None,
            crew: None,
            beside: false,
            request: None,
            upto: None,
        }
    }
}

impl Entry {
    /// The entry of the agent's account that this fact makes; none of another fact.
    pub fn spend(&self) -> Option<Spend> {
        let Fact::Used(used) = &self.fact else { return None };
        let reported = used.usage.cost_usd.and_then(Usd::new);
        let (cost, certainty) = match (used.certainty, reported) {
            (Some(certainty), _) => (used.cost, certainty),
            (None, Some(reported)) => (Some(reported), Certainty::Reported),
            (None, None) => (None, Certainty::Unknown),
        };
        Some(Spend {
            meter: match used.request {
                Some(_) => Meter::Proxy,
                None => Meter::Transcript,
            },
            seq: used.request.unwrap_or(self.seq),
            at: self.at,
            model: used.usage.model.clone(),
            tokens: used.usage.tokens,
            cost,
            certainty,
            reported,
            task: used.task.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_fact_is_kept_as_unknown() {
        let line = r#"{"v":1,"seq":9,"at":"2026-11-21T00:00:00Z","src":"oracle","fact":"dreamt","of":"sheep","state":"working"}"#;
        let entry: Entry = serde_json::from_str(line).expect("an entry");
        assert_eq!((entry.seq, entry.src, entry.fact), (9, Source::Unknown, Fact::Unknown));
    }

    #[test]
    fn the_end_of_a_run_reads_back_and_an_unknown_one_is_kept_as_unknown() {
        let line = r#"{"v":1,"seq":7,"at":"2026-11-21T00:00:00Z","src":"program","fact":"ended","outcome":"api_error","status":403,"text":"no","state":"working"}"#;
        let entry: Entry = serde_json::from_str(line).expect("an entry");
        let ended = |outcome| Fact::Ended {
            outcome,
            text: "no".into(),
        };
        assert_eq!(entry.fact, ended(Outcome::ApiError { status: Some(403) }));
        let again: Entry = serde_json::from_str(&serde_json::to_string(&entry).expect("json")).expect("an entry");
        assert_eq!(again, entry);
        let newer: Entry = serde_json::from_str(&line.replace("api_error", "evaporated")).expect("an entry");
        assert_eq!(newer.fact, ended(Outcome::Unknown));
    }

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let entry = Entry {
            v: VERSION,
            seq: 1,
            at: Time(0),
            src: Source::Process,
            fact: Fact::Exited { code: 137 },
            state: "exited(137)".into(),
        };
        let line = serde_json::to_string(&entry).expect("json");
        assert_eq!(serde_json::from_str::<Entry>(&line).expect("an entry"), entry);
    }
}
