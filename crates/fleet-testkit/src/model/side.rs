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

/// Words of the system prompt or of the last text by which a request is known, in lower case.
const KNOWN: &[(&str, &str)] = &[
    ("title", "you are a title generator"),
    ("title", "generate a concise, sentence-case title"),
    ("suggestion", "[suggestion mode:"),
    ("summary", "your task is to create a detailed summary"),
    ("summary", "generate a concise summary"),
];

/// A limit of output below which nobody wants a conversation.
const TINY: u64 = 16;

/// What kind of side request this is; none for a part of the conversation.
pub(crate) fn recognise(asked: &Asked, script: &Script) -> Option<Side> {
    let without_tools = asked.tools.is_empty();
    let system = asked.system.to_lowercase();
    let last = asked.last_heard().to_lowercase();
    let known = KNOWN
        .iter()
        .find(|(_, words)| without_tools && system.contains(words) || last.starts_with(words))
        .map(|(kind, _)| *kind);
    let kind = match known {
        Some(kind) => kind,
        None if !without_tools => return None,
        None if asked.schema.is_some() => "structured",
        None if asked.limit.is_some_and(|limit| limit <= TINY) => "check",
        None if script.without_tools == WithoutTools::Conversation => return None,
        None => "other",
    };
    let answer = match &asked.schema {
        Some(schema) => schema::instance(schema).to_string(),
        None => script.side_text.clone(),
    };
    Some(Side { kind, answer })
}
