//! Codex, `exec --json`. Seen with 0.169.0.
//!
//! - `turn.completed` counts from the beginning of the thread, also when that was in an earlier process.
//! - `input_tokens` has the cached ones in it, and those put into a cache.
//! - `error` is final only when `turn.failed` follows. An item of type `error` is a warning.
//! - A command that the sandbox stops may leave no item at all; the run ends as if nothing had happened.
//! - Interrupted, it exits with 1 and says nothing.
//! - A sub-agent is a thread of its own. What it uses is in no account of the thread that sent it out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::end::{Outcome, trouble};
use super::{Basis, Cli, Decode, Event, Tokens, Usage, account, number, say, sent_out, short, text};
use crate::harness::Launch;

pub(super) struct Decoder {
    /// What the thread had used at the last account; none if that is not known.
    accounted: Option<Tokens>,
    /// Items that began and did not end.
    open: BTreeSet<String>,
    /// An error that may yet be the turn's end.
    error: Option<String>,
    /// The threads of sub-agents that work, each with the call that sent it out.
    threads: BTreeMap<String, String>,
}

pub(super) fn headless(launch: &Launch<'_>) -> Vec<String> {
    let mut argv = vec!["exec".to_owned()];
    if launch.resume {
        argv.push("resume".to_owned());
    }
    // Where it runs was decided before; a fleet root need not be a repository.
    argv.extend(["--json", "--skip-git-repo-check"].map(str::to_owned));
    argv.extend(
        launch
            .model
            .iter()
            .flat_map(|model| ["--model".to_owned(), (*model).to_owned()]),
    );
    match launch.conversation {
        Some(id) if launch.resume => argv.push(id.to_owned()),
        None if launch.resume => argv.push("--last".to_owned()),
        _ => {}
    }
    argv.push("-".to_owned());
    argv
}

impl Decoder {
    pub(super) fn new(earlier: Option<Tokens>) -> Decoder {
        Decoder {
            accounted: earlier,
            open: BTreeSet::new(),
            error: None,
            threads: BTreeMap::new(),
        }
    }

    /// Tells an error that was not the turn's end.
    fn tell_error(&mut self, events: &mut Vec<Event>) {
        if let Some(text) = self.error.take() {
            events.push(Event::Error {
                outcome: failure(&text),
                text,
            });
        }
    }

    fn usage(&mut self, line: &Value, events: &mut Vec<Event>) {
        let cached = number(line, "/usage/cached_input_tokens");
        let cache_write = number(line, "/usage/cache_write_input_tokens");
        let sum = Tokens {
            input: number(line, "/usage/input_tokens").saturating_sub(cached.saturating_add(cache_write)),
            cached,
            cache_write,
            output: number(line, "/usage/output_tokens"),
            reasoning: number(line, "/usage/reasoning_output_tokens"),
        };
        let basis = if self.accounted.is_some() {
            Basis::Reported
        } else {
            Basis::WholeConversation
        };
        let usage = Usage {
            model: None,
            tokens: sum - self.accounted.replace(sum).unwrap_or_default(),
            cost_usd: None,
            source: "turn.completed.usage".to_owned(),
            basis,
        };
        account(usage, events);
    }

    fn item(&mut self, item: &Value, completed: bool, events: &mut Vec<Event>) {
        let id = text(item, "/id").to_owned();
        match text(item, "/type") {
            "agent_message" if completed => return say(text(item, "/text"), events),
            "error" if completed => {
                return events.push(Event::Notice {
                    text: text(item, "/message").to_owned(),
                });
            }
            _ => {}
        }
        let Some((tool, about)) = call(item) else { return };
        if !self.open.remove(&id) {
            let sends_out = Cli::Codex.dispatches(&tool);
            events.push(Event::Call {
                id: id.clone(),
                tool,
                about,
            });
            if sends_out {
                events.push(sent_out(&id, "", "", "", text(item, "/prompt")));
            }
        }
        if completed {
            self.crews(item, &id, events);
            events.push(result(item, id));
        } else {
            self.open.insert(id);
        }
    }
}

impl Decoder {
    /// What a call that is over tells of sub-agents.
    fn crews(&mut self, item: &Value, id: &str, events: &mut Vec<Event>) {
        if text(item, "/type") != "collab_tool_call" {
            return;
        }
        let sends_out = Cli::Codex.dispatches(text(item, "/tool"));
        for (thread, state) in item["agents_states"].as_object().into_iter().flatten() {
            if sends_out {
                self.threads.insert(thread.clone(), id.to_owned());
            }
            let ok = match text(state, "/status") {
                "completed" => true,
                "errored" | "shutdown" | "not_found" | "interrupted" => false,
                _ => continue,
            };
            if let Some(call) = self.threads.remove(thread) {
                events.push(Event::CameBack { call, ok });
            }
        }
        if sends_out && text(item, "/status") == "failed" {
            let call = id.to_owned();
            events.push(Event::CameBack { call, ok: false });
        }
    }
}

impl Decode for Decoder {
    fn line(&mut self, line: &Value, events: &mut Vec<Event>) {
        let kind = text(line, "/type");
        if kind != "turn.failed" {
            self.tell_error(events);
        }
        match kind {
            "thread.started" => events.push(Event::Conversation {
                id: text(line, "/thread_id").to_owned(),
            }),
            "item.started" => self.item(&line["item"], false, events),
            "item.completed" => self.item(&line["item"], true, events),
            "error" => {
                let said = text(line, "/message");
                match said.strip_prefix("Reconnecting... ") {
                    Some(rest) => events.push(retry(rest)),
                    None => self.error = Some(said.to_owned()),
                }
            }
            "turn.completed" => {
                self.usage(line, events);
                events.push(Event::End {
                    outcome: Outcome::Success,
                    text: String::new(),
                });
            }
            "turn.failed" => {
                self.error = None;
                let said = text(line, "/error/message");
                events.push(Event::End {
                    outcome: failure(said),
                    text: short(said),
                });
            }
            _ => {}
        }
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        self.tell_error(events);
    }
}

/// The tool of an item that is a call, and what it is about.
fn call(item: &Value) -> Option<(String, String)> {
    let (tool, about) = match text(item, "/type") {
        "command_execution" => ("shell".to_owned(), short(text(item, "/command"))),
        "mcp_tool_call" => (
            format!("{}.{}", text(item, "/server"), text(item, "/tool")),
            super::about_call(&item["arguments"]),
        ),
        "collab_tool_call" => (text(item, "/tool").to_owned(), short(text(item, "/prompt"))),
        "web_search" => ("web_search".to_owned(), short(text(item, "/query"))),
        "file_change" => {
            let changes = item["changes"].as_array().into_iter().flatten();
            let paths: Vec<&str> = changes.map(|change| text(change, "/path")).collect();
            ("file_change".to_owned(), short(&paths.join(" ")))
        }
        _ => return None,
    };
    Some((tool, about))
}

fn result(item: &Value, id: String) -> Event {
    let about = match text(item, "/type") {
        "command_execution" => short(text(item, "/aggregated_output")),
        "mcp_tool_call" if !item["error"].is_null() => short(text(item, "/error/message")),
        "mcp_tool_call" => super::about_result(&item["result"]["content"]),
        _ => String::new(),
    };
    let ok = !matches!(text(item, "/status"), "failed" | "declined") && item["exit_code"].as_i64().unwrap_or(0) == 0;
    Event::Result { id, ok, about }
}

/// `1/5 (why)`, or words and the reason.
fn retry(rest: &str) -> Event {
    let (count, why) = rest.split_once(" (").unwrap_or((rest, ""));
    let numbers = count.split_once('/');
    Event::Retry {
        attempt: numbers.and_then(|(attempt, _)| attempt.parse().ok()),
        most: numbers.and_then(|(_, most)| most.parse().ok()),
        why: short(why.strip_suffix(')').unwrap_or(why)),
    }
}

/// Codex has words of its own for some statuses.
fn failure(said: &str) -> Outcome {
    if said.contains("currently experiencing high demand") {
        return Outcome::ApiError { status: Some(500) };
    }
    if said.contains("invalid_request_error") {
        return Outcome::ApiError { status: Some(400) };
    }
    trouble(None, said)
}
