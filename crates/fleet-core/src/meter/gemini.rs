//! Gemini: every piece is a whole response, and its account is the sum so far.

use super::Account;
use super::json::Found;

pub(super) fn saw(account: &mut Account, path: &str, found: Found<'_>) {
    // Without events a stream is a list of responses.
    let path = path.strip_prefix("*/").unwrap_or(path);
    match (path, found) {
        ("modelVersion", Found::Text(model, _)) => account.named(model),
        ("candidates/*/finishReason", Found::Text(..)) => account.stopped = true,
        ("usageMetadata/promptTokenCount", Found::Number(count)) => {
            account.input = Some(count);
            // In an account that has no such field nothing was written.
            account.output = Some(account.output.unwrap_or(0));
            account.accounted = true;
        }
        ("usageMetadata/cachedContentTokenCount", Found::Number(count)) => account.cached = count,
        ("usageMetadata/candidatesTokenCount", Found::Number(count)) => account.output = Some(count),
        ("usageMetadata/thoughtsTokenCount", Found::Number(count)) => account.thoughts = count,
        ("usageMetadata/toolUsePromptTokenCount", Found::Number(count)) => account.beside = count,
        (path, Found::Text(_, bytes)) if path.starts_with("candidates/*/content/parts/*/") => {
            account.text = account.text.saturating_add(bytes);
        }
        _ => {}
    }
}

/// The account of the last piece stands beside its reason to stop.
pub(super) fn end_event(account: &mut Account) {
    account.over |= account.stopped && account.accounted;
}
