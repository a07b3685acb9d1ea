//! What Claude Code tells a hook: a sub-agent is sent out, a message of a crew is there.
//!
//! A dispatching prompt may hold a report as an example, so only what somebody answered is looked through for reports.

use fleet_core::Result;
use fleet_core::task::TaskId;
use fleet_host::git::Repo;
use fleet_host::harness::stream::Cli;
use serde_json::Value;

use super::{Heard, hear, key, publish};
use crate::app::App;
use crate::caller::Caller;

/// Records what an event says of tasks.
///
/// # Errors
/// Those of [`hear`].
pub fn take(app: &App, caller: &Caller, repo: &Repo, event: &Value) -> Result<Heard> {
    let tool = event["tool_name"].as_str().unwrap_or_default();
    let mut heard = Heard::default();
    match event["hook_event_name"].as_str() {
        Some("PreToolUse") if Cli::Claude.dispatches(tool) => {
            let id = event["tool_input"]["prompt"].as_str().and_then(TaskId::named_in);
            if let Some(id) = id
                && begin(app, repo, id)?
            {
                heard.begun.push(id);
            }
        }
        Some("PostToolUse") if Cli::Claude.dispatches(tool) => {
            for text in texts(&event["tool_response"]) {
                heard.reports.extend(hear(app, caller, repo, text)?.reports);
            }
        }
        Some("Stop" | "SubagentStop") => {
            if let Some(text) = event["last_assistant_message"].as_str() {
                heard = hear(app, caller, repo, text)?;
            }
        }
        _ => {}
    }
    Ok(heard)
}

/// Notes that a sub-agent works on a task of this repository, and answers whether that is news.
fn begin(app: &App, repo: &Repo, id: TaskId) -> Result<bool> {
    let store = app.store()?;
    let own = key(repo)?;
    if store.task(id)?.is_none_or(|task| task.repo != own) {
        return Ok(false);
    }
    let is_new = store.task_start("task.begin", id, "claude", app.now())?;
    if is_new {
        publish(app, repo, id)?;
    }
    Ok(is_new)
}

/// Every text in an answer of a tool that is what the sub-agent said: `text` of its content, or the answer itself. The
/// prompt, which the answer repeats, is not.
fn texts(answer: &Value) -> Vec<&str> {
    match answer {
        Value::String(text) => vec![text],
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
        Value::Object(_) => texts(&answer["content"]),
        _ => Vec::new(),
    }
}
