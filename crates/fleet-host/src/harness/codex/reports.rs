//! What Codex tells of itself: by the file that it keeps open for its conversation, its rollout.
//!
//! - Nothing is added to its launch. `-c notify=…` would replace the user's own notifier, and tells only of turns that
//!   have ended. A hook given by `-c hooks.…` runs beside the user's, but opens a dialog at each start until a person has
//!   trusted it, and the trust is written into the user's file.
//! - The rollout appears with the first turn and is found among the program's open files. A resumed conversation goes on
//!   in its old one.
//! - Each reply has a `token_usage_record` of its own, with the id of the response. `token_count` says the same and is
//!   repeated, with other limits, for a reply that was told before. `input_tokens` includes what was cached.
//! - A sub-agent has a rollout of its own, whose `thread_source` is not `user`.

use std::path::Path;

use fleet_core::Time;
use fleet_core::usage::{Basis, Tokens, Usage};
use serde::Deserialize;
use serde_json::Value;

use crate::harness::heard::Written;

/// Whether a file that the program has open is one to follow.
pub(in crate::harness) fn follows(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("rollout-") && name.ends_with(".jsonl") && path.iter().any(|part| part == "sessions")
}

/// A line of a rollout.
#[derive(Deserialize)]
struct Line {
    timestamp: Option<Time>,
    #[serde(rename = "type")]
    kind: String,
    payload: Value,
}

pub(in crate::harness) fn written(line: &[u8]) -> Option<Written> {
    // What was said and done is most of a rollout, and none of it is read.
    const KINDS: [&str; 4] = [
        r#""type":"session_meta""#,
        r#""type":"turn_context""#,
        r#""type":"token_usage_record""#,
        r#""type":"UserMessage""#,
    ];
    let line = std::str::from_utf8(line).ok()?;
    if !KINDS.iter().any(|kind| line.contains(kind)) {
        return None;
    }
    let Line {
        timestamp,
        kind,
        payload,
    } = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str);
    match kind.as_str() {
        "session_meta" if text("/thread_source") == Some("user") && text("/source") == Some("cli") => {
            Some(Written::Conversation {
                id: text("/id")?.to_owned(),
            })
        }
        "turn_context" => Some(Written::Model(text("/model")?.to_owned())),
        "token_usage_record" => Some(Written::Reply {
            id: text("/response_id").map(str::to_owned),
            at: timestamp,
            usage: usage(&payload["usage"]),
        }),
        "event_msg" if text("/item/type") == Some("UserMessage") => Some(Written::TurnBegan {
            at: timestamp,
            text: said(&payload["item"]["content"]),
            by: "rollout UserMessage",
        }),
        _ => None,
    }
}

fn usage(counts: &Value) -> Usage {
    let count = |name: &str| counts[name].as_u64().unwrap_or(0);
    let (cached, cache_write) = (count("cached_input_tokens"), count("cache_write_input_tokens"));
    Usage {
        model: None,
        tokens: Tokens {
            input: count("input_tokens").saturating_sub(cached.saturating_add(cache_write)),
            cached,
            cache_write,
            output: count("output_tokens"),
            reasoning: count("reasoning_output_tokens"),
        },
        cost_usd: None,
        source: "rollout".to_owned(),
        basis: Basis::Reported,
    }
}

/// The texts of a message, one after another.
fn said(content: &Value) -> String {
    let parts = content.as_array().into_iter().flatten();
    parts
        .filter_map(|part| part["text"].as_str())
        .collect::<Vec<_>>()
        .join("\n")
}
