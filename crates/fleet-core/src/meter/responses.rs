//! OpenAI Responses: the last event has the whole response, with its account.

use super::Account;
use super::json::Found;

pub(super) fn saw(account: &mut Account, path: &str, found: Found<'_>) {
    let (in_event, name) = match path.strip_prefix("response/") {
        Some(name) => (true, name),
        None => (false, path),
    };
    match (name, found) {
        ("type", Found::Text(kind, _)) if !in_event => account.kind = kind.to_owned(),
        ("delta", Found::Text(_, bytes)) if !in_event => account.text = account.text.saturating_add(bytes),
        ("output/*/content/*/text" | "output/*/arguments" | "output/*/input", Found::Text(_, bytes)) if !in_event => {
            account.text = account.text.saturating_add(bytes);
        }
        ("model", Found::Text(model, _)) => account.named(model),
        ("usage/input_tokens", Found::Number(count)) => account.input = Some(count),
        ("usage/input_tokens_details/cached_tokens", Found::Number(count)) => account.cached = count,
        ("usage/input_tokens_details/cache_write_tokens", Found::Number(count)) => account.cache_write = count,
        ("usage/output_tokens", Found::Number(count)) => {
            account.output = Some(count);
            account.accounted = true;
        }
        ("usage/output_tokens_details/reasoning_tokens", Found::Number(count)) => account.reasoning = count,
        _ => {}
    }
}

pub(super) fn end_event(account: &mut Account) {
    let last = [
        "response.completed",
        "response.incomplete",
        "response.failed",
        "response.cancelled",
    ];
    account.over |= last.contains(&account.kind.as_str());
}
