//! Anthropic Messages: the input is told at the beginning, the output with the reason to stop.

use super::Account;
use super::json::Found;

pub(super) fn saw(account: &mut Account, path: &str, found: Found<'_>) {
    match (path, found) {
        ("type", Found::Text(kind, _)) => account.kind = kind.to_owned(),
        ("model" | "message/model", Found::Text(model, _)) => account.named(model),
        ("delta/stop_reason", Found::Text(..)) => account.stopped = true,
        ("delta/text" | "delta/thinking" | "delta/partial_json" | "content/*/text" | "content/*/thinking", text) => {
            written(account, text);
        }
        (path, Found::Text(..)) if path.starts_with("content/*/input") => written(account, found),
        (_, Found::Number(count)) => {
            let name = ["message/usage/", "usage/"]
                .iter()
                .find_map(|place| path.strip_prefix(place));
            counted(account, name.unwrap_or_default(), count);
        }
        _ => {}
    }
}

/// Accounts are sums since the beginning, and a later one may leave out what an earlier one had.
fn counted(account: &mut Account, name: &str, count: u64) {
    let at_least = |old: Option<u64>| Some(old.unwrap_or(0).max(count));
    match name {
        "input_tokens" => account.input = at_least(account.input),
        "output_tokens" => account.output = at_least(account.output),
        "cache_read_input_tokens" => account.cached = account.cached.max(count),
        "cache_creation_input_tokens" => account.cache_write = account.cache_write.max(count),
        _ => {}
    }
}

pub(super) fn end_event(account: &mut Account) {
    match account.kind.as_str() {
        "message_delta" => account.accounted |= account.stopped,
        "message_stop" => account.over = true,
        _ => {}
    }
    // The account with the reason to stop is the last one.
    account.over |= account.accounted;
}

fn written(account: &mut Account, found: Found<'_>) {
    if let Found::Text(_, bytes) = found {
        account.text = account.text.saturating_add(bytes);
    }
}
