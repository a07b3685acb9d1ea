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
    answer: &'static str,
}

const KNOWN: &[Known] = &[
    known("title", "you are a title generator", TITLE),
    known("title", "generate a concise, sentence-case title", TITLE),
    known("title", "generate a concise, single-line task title", TITLE),
    known("suggestion", "[suggestion mode:", ANYTHING),
    // Claude Code asks it about a tool call in its mode `auto`; this answer lets the call pass.
    known(
        "classifier",
        "you are a security monitor for autonomous ai coding agents",
        "<block>no</block>",
    ),
    // Claude Code and OpenCode, when a conversation is compacted.
    known(
        "summary",
        "critical: respond with text only.",
        "<summary>Scripted summary</summary>",
    ),
    known(
        "summary",
        "your task is to create a detailed summary",
        "Scripted summary",
    ),
    // Gemini, which has its summary examined and written again.
    known("summary", "generate a new <state_snapshot>", SNAPSHOT),
    known("summary", "critically evaluate the <state_snapshot>", SNAPSHOT),
];

const TITLE: &str = "Scripted title";
/// A summary that is known to be none of the user's prompts when it comes back as one.
const SNAPSHOT: &str = "<state_snapshot>Scripted summary</state_snapshot>";
const ANYTHING: &str = "ok";

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
    let answer = match (script.side.get(kind), &asked.schema) {
        (Some(answer), _) => answer.clone(),
        (None, Some(schema)) => schema::instance(schema).to_string(),
        (None, None) => known.map_or(ANYTHING, |known| known.answer).to_owned(),
    };
    Some(Side { kind, answer })
}

const fn known(kind: &'static str, words: &'static str, answer: &'static str) -> Known {
    Known { kind, words, answer }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Format;

    fn kind(body: serde_json::Value, script: &Script) -> Option<(&'static str, String)> {
        recognise(&Format::Messages.read(&body), script).map(|side| (side.kind, side.answer))
    }

    #[test]
    fn side_requests_are_known_by_their_words_their_shape_or_the_lack_of_tools() {
        let script = Script::default();
        let user = |text: &str| json!([{"role": "user", "content": text}]);
        let tools = json!([{"name": "Bash"}]);
        let monitor = "You are a security monitor for autonomous AI coding agents.";
        for (body, expected) in [
            (json!({"messages": user("hi"), "tools": tools}), None),
            (json!({"messages": user("hi"), "tools": tools, "system": monitor}), None),
            (json!({"messages": user("hi"), "system": monitor}), Some("classifier")),
            (
                json!({"messages": user("[SUGGESTION MODE: x]"), "tools": tools}),
                Some("suggestion"),
            ),
            (
                json!({"messages": user("CRITICAL: Respond with TEXT ONLY. x"), "tools": tools}),
                Some("summary"),
            ),
            (
                json!({"messages": user("hi"), "output_config": {"format": {"schema": {}}}}),
                Some("structured"),
            ),
            (json!({"messages": user("quota"), "max_tokens": 1}), Some("check")),
            (json!({"messages": user("hi")}), Some("other")),
        ] {
            let found = kind(body.clone(), &script).map(|(kind, _)| kind);
            assert_eq!(found, expected, "{body}");
        }
    }

    #[test]
    fn a_script_may_answer_them_and_may_have_conversations_without_tools() {
        let script = Script {
            without_tools: WithoutTools::Conversation,
            side: [("check".to_owned(), "fine".to_owned())].into(),
            ..Script::default()
        };
        let user = json!([{"role": "user", "content": "hi"}]);
        assert_eq!(kind(json!({"messages": user}), &script), None);
        let check = kind(json!({"messages": user, "max_tokens": 1}), &script);
        assert_eq!(check, Some(("check", "fine".to_owned())));
    }
}
