//! Requests beside the conversation: titles, checks, decisions. They are answered on their own.

use super::schema;
use super::script::{Script, WithoutTools};
use super::wire::Asked;

/// A request that is no part of the conversation, and its answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// What it is for; `other` when that is not known.
    pub(crate) kind: &'static str,
    pub(crate) answer: String,
}

/// A request that is known by its words.
struct Known {
    kind: &'static str,
    /// How the system prompt has it (in a request without tools) or how the last text begins, in lower case.
    words: &'static str,
    /// The answer; the script's where there is none.
    answer: Option<&'static str>,
}

const KNOWN: &[Known] = &[
    known("title", "you are a title generator", None),
    known("title", "generate a concise, sentence-case title", None),
    known("suggestion", "[suggestion mode:", None),
    // Claude Code and OpenCode, when a conversation is compacted.
    known(
        "summary",
        "critical: respond with text only.",
        Some("<summary>Scripted summary</summary>"),
    ),
    known(
        "summary",
        "your task is to create a detailed summary",
        Some("Scripted summary"),
    ),
    // Gemini, which has its summary examined and written again.
    known("summary", "generate a new <state_snapshot>", Some(SNAPSHOT)),
    known("summary", "critically evaluate the <state_snapshot>", Some(SNAPSHOT)),
];

/// A summary that is known to be none of the user's prompts when it comes back as one.
const SNAPSHOT: &str = "<state_snapshot>Scripted summary</state_snapshot>";

/// A limit of output below which nobody wants a conversation.
const TINY: u64 = 16;

/// What kind of side request this is; none for a part of the conversation.
pub(crate) fn recognise(asked: &Asked, script: &Script) -> Option<Side> {
    let without_tools = asked.tools.is_empty();
    let system = asked.system.to_lowercase();
    let last = asked.last_heard().to_lowercase();
    let known = KNOWN.iter().find(|known| {
        let by_system = without_tools && system.contains(known.words);
        by_system || last.trim_start().starts_with(known.words)
    });
    let kind = match known {
        Some(known) => known.kind,
        None if !without_tools => return None,
        None if asked.schema.is_some() => "structured",
        None if asked.limit.is_some_and(|limit| limit <= TINY) => "check",
        None if script.without_tools == WithoutTools::Conversation => return None,
        None => "other",
    };
    let answer = match (&asked.schema, known.and_then(|known| known.answer)) {
        (Some(schema), _) => schema::instance(schema).to_string(),
        (None, Some(answer)) => answer.to_owned(),
        (None, None) => script.side_text.clone(),
    };
    Some(Side { kind, answer })
}

const fn known(kind: &'static str, words: &'static str, answer: Option<&'static str>) -> Known {
    Known { kind, words, answer }
}
