//! OpenAI Chat Completions: the account comes last, where the client has asked for it, and from some with each piece.

use super::Account;
use super::json::Found;

pub(super) fn saw(account: &mut Account, path: &str, found: Found<'_>) {
    match (path, found) {
        ("model", Found::Text(model, _)) => account.named(model),
        ("choices/*/finish_reason", Found::Text(..)) => account.stopped = true,
        ("usage/prompt_tokens", Found::Number(count)) => account.input = Some(count),
        ("usage/prompt_tokens_details/cached_tokens", Found::Number(count)) => account.cached = count,
        ("usage/prompt_tokens_details/cache_write_tokens", Found::Number(count)) => account.cache_write = count,
        ("usage/completion_tokens", Found::Number(count)) => {
            account.output = Some(count);
            account.accounted = true;
        }
        ("usage/completion_tokens_details/reasoning_tokens", Found::Number(count)) => account.reasoning = count,
        (path, Found::Text(_, bytes)) if is_written(path) => account.text = account.text.saturating_add(bytes),
        _ => {}
    }
}

fn is_written(path: &str) -> bool {
    let parts = ["choices/*/delta/", "choices/*/message/"];
    let part = parts.iter().find_map(|part| path.strip_prefix(part));
    matches!(
        part.unwrap_or_default(),
        "content" | "reasoning_content" | "reasoning" | "tool_calls/*/function/arguments"
    )
}
