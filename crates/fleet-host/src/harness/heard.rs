//! What an agent program tells of itself: by its hooks, its extensions, its notifier.
//!
//! A program is led to run `fleet __report NAME` with one JSON object, or to send that object to the supervisor's socket
//! itself. Each harness reads the events of its program by one pure function in its own file ([`super::heard`]). What
//! comes in is data of a program that is not trusted: it is compared and counted, never run, and no text of it is kept.
//!
//! A harness says no more than what its program said. What becomes of it is the supervisor's affair: a screen that shows
//! otherwise for long enough is right, because programs forget to tell (Claude Code runs no hook after Escape).

use std::path::PathBuf;

use fleet_core::Time;
use fleet_core::agent::Reason;
use fleet_core::task::TaskId;
use fleet_core::usage::Usage;

/// The largest event that is taken, in bytes of JSON.
pub const MAX_EVENT: usize = 1024 * 1024;

/// One thing that a program told.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A turn begins. The receipt of a prompt whose text it is; otherwise the program works from now on.
    TurnBegan {
        /// The prompt as the program took it; none where it does not say.
        text: Option<String>,
        /// What `explain` calls it, such as `hook UserPromptSubmit`.
        by: &'static str,
    },
    /// A turn is over. The screen tells when the program takes prompts again; what was used is counted now.
    TurnEnded,
    /// The transcripts have something new, though the turn goes on: a sub-agent has begun or ended.
    TranscriptGrew,
    /// A sub-agent has answered.
    CameBack {
        /// What [`Written::SubAgent`] calls it.
        id: String,
    },
    /// A person is being asked. For [`Reason::Limit`] and [`Reason::Login`] this holds until work is seen again.
    Asked {
        /// What for.
        reason: Reason,
        /// What `explain` calls it.
        by: &'static str,
    },
    /// The question is answered, by whomever.
    Answered {
        /// What `explain` calls it.
        by: &'static str,
    },
    /// The program's id of its conversation, as it is now. Said as often as one likes.
    Conversation {
        /// The id.
        id: String,
    },
    /// A file to which the program writes what was used ([`super::written`] reads its lines). Said as often as one likes.
    Transcript {
        /// The file, absolute.
        path: PathBuf,
    },
    /// What was used since the program said so last. Each such event is added up.
    Used(Usage),
    /// The same of a sub-agent, which the program's stream leaves out.
    UsedBelow(Usage),
    /// A reply broke off, and the program asks for it once more.
    BrokeOff,
    /// The program asks its service for something whose use it tells nowhere.
    Untold,
    /// What everything since the program's start has cost, as it says. Said as often as one likes.
    CostSoFar {
        /// US dollars.
        usd: f64,
        /// Where the number is from, such as `statusline`.
        source: &'static str,
    },
}

/// What a program notes of a sub-agent in a file beside its transcript.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// What kind of sub-agent it is.
    pub crew: Option<String>,
    /// What it is to do, in a few words.
    pub about: Option<String>,
}

/// One line of a transcript, as far as it tells of the agent.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// The id of the conversation whose transcript it is.
    Conversation {
        /// The id.
        id: String,
    },
    /// A turn began: a receipt, where the screen gave none.
    TurnBegan {
        /// When it was written.
        at: Option<Time>,
        /// The prompt.
        text: String,
        /// What `explain` calls it.
        by: &'static str,
    },
    /// The replies that follow are from this model, unless they say otherwise.
    Model(String),
    /// All of it is a sub-agent's.
    SubAgent {
        /// What tells it from all others; none where it does not say.
        id: Option<String>,
        /// When it was sent out.
        at: Option<Time>,
        /// What it is told, in its first words.
        about: String,
        /// The task that its prompt names.
        task: Option<TaskId>,
    },
    /// What one reply used. A reply may be written several times, each time with as much as was known.
    Reply {
        /// What tells it from other replies; none where each line is a reply of its own.
        id: Option<String>,
        /// When it was written. What is older than the agent is not counted.
        at: Option<Time>,
        /// All that it used.
        usage: Usage,
    },
}
