//! Claude Code, `-p --output-format stream-json --verbose`. Seen with 2.1.197.
//!
//! - A failure of the service is a `result` of subtype `success` with `is_error`.
//! - The numbers of `result` are sums over the process, so the last `result` is taken off.
//! - An assistant's message comes in parts, each with the usage at the message's *beginning* and no `stop_reason`.
//! - Of a stream that is cut before a whole part has come it says nothing, and asks for the same once more, not as a
//!   stream. Such a reply comes whole, with its `stop_reason`, and is left out of the result's `usage`, though not of its
//!   `modelUsage`. So what was lost is estimated: as much again.
//! - A sub-agent's calls and results are in the stream, marked with the call that sent it out; its last message is not.
//!   `task_notification` tells of its end. In the background the call has its result at once, so that tells of nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::end::{Outcome, trouble};
use super::{
    Basis, Cli, Decode, Event, Tokens, Usage, about_call, about_result, account, number, say, sent_out, short, text,
};
use crate::harness::Launch;

/// How many messages' ids are kept, to count each message once. Only sub-agents make more than one be open.
const OPEN_MESSAGES: usize = 64;

#[derive(Default)]
pub(super) struct Decoder {
    /// What the last `result` said, by model.
    accounted: BTreeMap<String, (Tokens, f64)>,
    /// What messages that no `result` counts yet had read when they began, by model.
    begun: BTreeMap<String, Tokens>,
    messages: VecDeque<String>,
    /// Replies since the last `result` that did not come as a stream, with their models.
    whole: Vec<(String, Tokens)>,
    conversation: String,
    /// Calls that have sent out a sub-agent of which nothing else was told.
    sent_out: BTreeSet<String>,
}

pub(super) fn headless(launch: &Launch<'_>) -> Vec<String> {
    let mut argv: Vec<String> = ["-p", "--output-format", "stream-json", "--verbose"]
        .map(str::to_owned)
        .into();
    if let Some(id) = launch.conversation {
        let flag = if launch.resume { "--resume" } else { "--session-id" };
        argv.extend([flag.to_owned(), id.to_owned()]);
    } else if launch.resume {
        argv.push("--continue".to_owned());
    }
    argv.extend(
        launch
            .model
            .iter()
            .flat_map(|model| ["--model".to_owned(), (*model).to_owned()]),
    );
    argv
}

impl Decode for Decoder {
    fn line(&mut self, line: &Value, events: &mut Vec<Event>) {
        match text(line, "/type") {
            "system" => self.system(line, events),
            "assistant" => self.assistant(line, events),
            "user" => self.results(line, events),
            "rate_limit_event" => limit(&line["rate_limit_info"], events),
            "result" => self.result(line, events),
            _ => {}
        }
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        for (model, tokens) in std::mem::take(&mut self.begun) {
            let usage = Usage {
                model: Some(model),
                tokens,
                cost_usd: None,
                source: "assistant.usage".to_owned(),
                basis: Basis::Partial,
            };
            account(usage, events);
        }
    }
}

impl Decoder {
    fn system(&mut self, line: &Value, events: &mut Vec<Event>) {
        match text(line, "/subtype") {
            "init" => {
                let id = text(line, "/session_id");
                if self.conversation != id {
                    id.clone_into(&mut self.conversation);
                    events.push(Event::Conversation { id: id.to_owned() });
                }
            }
            "task_started" if text(line, "/task_type") == "local_agent" => {
                let call = text(line, "/tool_use_id").to_owned();
                self.sent_out.remove(&call);
                let name = text(line, "/task_id").to_owned();
                events.push(Event::Called { call, name });
            }
            "task_notification" => events.push(Event::CameBack {
                call: text(line, "/tool_use_id").to_owned(),
                ok: text(line, "/status") == "completed",
            }),
            "api_retry" => {
                let status = number(line, "/error_status");
                let why = text(line, "/error");
                events.push(Event::Retry {
                    attempt: line["attempt"].as_u64(),
                    most: line["max_retries"].as_u64(),
                    why: if status == 0 {
                        why.to_owned()
                    } else {
                        format!("{status} {why}")
                    },
                });
            }
            _ => {}
        }
    }

    fn assistant(&mut self, line: &Value, events: &mut Vec<Event>) {
        let message = &line["message"];
        let failed = text(line, "/error");
        self.count_begun(message);
        for part in message["content"].as_array().into_iter().flatten() {
            match text(part, "/type") {
                "text" if !failed.is_empty() => {
                    let said = text(part, "/text");
                    events.push(Event::Error {
                        outcome: failure(None, failed, said),
                        text: said.to_owned(),
                    });
                }
                "text" => say(text(part, "/text"), events),
                "tool_use" => {
                    let (id, tool) = (text(part, "/id"), text(part, "/name"));
                    events.push(Event::Call {
                        id: id.to_owned(),
                        tool: tool.to_owned(),
                        about: about_call(&part["input"]),
                    });
                    if Cli::Claude.dispatches(tool) {
                        self.sent_out.insert(id.to_owned());
                        let input = |key: &str| text(&part["input"], key);
                        let within = text(line, "/parent_tool_use_id");
                        let (crew, about) = (input("/subagent_type"), input("/description"));
                        events.push(sent_out(id, within, crew, about, input("/prompt")));
                    }
                }
                _ => {}
            }
        }
    }

    fn results(&mut self, line: &Value, events: &mut Vec<Event>) {
        for part in line["message"]["content"].as_array().into_iter().flatten() {
            if text(part, "/type") != "tool_result" {
                continue;
            }
            let (id, ok) = (text(part, "/tool_use_id"), part["is_error"].as_bool() != Some(true));
            events.push(Event::Result {
                id: id.to_owned(),
                ok,
                about: about_result(&part["content"]),
            });
            if self.sent_out.remove(id) {
                events.push(Event::CameBack {
                    call: id.to_owned(),
                    ok,
                });
            }
        }
    }

    fn count_begun(&mut self, message: &Value) {
        let (id, model) = (text(message, "/id"), text(message, "/model"));
        if model == "<synthetic>" || self.messages.iter().any(|known| known == id) {
            return;
        }
        self.messages.push_back(id.to_owned());
        if self.messages.len() > OPEN_MESSAGES {
            self.messages.pop_front();
        }
        let tokens = tokens_of(&message["usage"]);
        if message["stop_reason"].is_string() {
            self.whole.push((model.to_owned(), tokens));
        }
        *self.begun.entry(model.to_owned()).or_default() += Tokens { output: 0, ..tokens };
    }

    /// What requests are estimated to have used whose streams were cut. `counted` is what the result counts.
    fn lost(&mut self, counted: Tokens, result: &Value, events: &mut Vec<Event>) {
        let mut room = all(counted).saturating_sub(all(tokens_of(&result["usage"])));
        for (model, tokens) in std::mem::take(&mut self.whole) {
            // A version that names the reason of streams, too, leaves no room.
            let Some(left) = room.checked_sub(all(tokens)) else {
                return;
            };
            room = left;
            let usage = Usage {
                model: Some(model),
                tokens,
                cost_usd: None,
                source: "assistant.usage".to_owned(),
                basis: Basis::Estimated,
            };
            account(usage, events);
        }
    }

    fn result(&mut self, line: &Value, events: &mut Vec<Event>) {
        self.begun.clear();
        let mut counted = Tokens::default();
        for (model, sum) in line["modelUsage"].as_object().into_iter().flatten() {
            let tokens = Tokens {
                input: number(sum, "/inputTokens"),
                cached: number(sum, "/cacheReadInputTokens"),
                cache_write: number(sum, "/cacheCreationInputTokens"),
                output: number(sum, "/outputTokens"),
                reasoning: 0,
            };
            let cost = sum["costUSD"].as_f64().unwrap_or_default();
            let before = self.accounted.insert(model.clone(), (tokens, cost)).unwrap_or_default();
            let usage = Usage {
                model: Some(model.clone()),
                tokens: tokens - before.0,
                cost_usd: Some((cost - before.1).max(0.0)),
                source: "result.modelUsage".to_owned(),
                basis: Basis::Reported,
            };
            counted += usage.tokens;
            account(usage, events);
        }
        self.lost(counted, line, events);
        for denied in line["permission_denials"].as_array().into_iter().flatten() {
            events.push(Event::Denied {
                tool: text(denied, "/tool_name").to_owned(),
                about: about_call(&denied["tool_input"]),
            });
        }
        let (outcome, text) = ending(line);
        events.push(Event::End { outcome, text });
    }
}

fn tokens_of(usage: &Value) -> Tokens {
    Tokens {
        input: number(usage, "/input_tokens"),
        cached: number(usage, "/cache_read_input_tokens"),
        cache_write: number(usage, "/cache_creation_input_tokens"),
        output: number(usage, "/output_tokens"),
        reasoning: 0,
    }
}

fn all(tokens: Tokens) -> u64 {
    let input = tokens.input.saturating_add(tokens.cached);
    input.saturating_add(tokens.cache_write).saturating_add(tokens.output)
}

/// How a `result` ended, and what it says about it.
fn ending(line: &Value) -> (Outcome, String) {
    let errors: Vec<&str> = line["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let said = if errors.is_empty() {
        text(line, "/result").to_owned()
    } else {
        errors.join("; ")
    };
    let outcome = match text(line, "/subtype") {
        "success" if line["is_error"].as_bool() == Some(false) => return (Outcome::Success, String::new()),
        "error_max_turns" => Outcome::MaxTurns,
        "error_max_budget_usd" => Outcome::Budget,
        _ if text(line, "/terminal_reason").starts_with("aborted") => Outcome::Interrupted,
        _ => {
            let status = line["api_error_status"]
                .as_u64()
                .and_then(|status| u16::try_from(status).ok());
            failure(status, "", &said)
        }
    };
    (outcome, short(&said))
}

/// `kind` is Claude Code's own word for an error, where there is one.
fn failure(status: Option<u16>, kind: &str, said: &str) -> Outcome {
    match (kind, trouble(status, said)) {
        ("authentication_failed", Outcome::Failed) => Outcome::Login,
        ("billing_error", _) => Outcome::NoCredit,
        ("rate_limit", Outcome::Failed) => Outcome::RateLimited,
        (_, outcome) => outcome,
    }
}

fn limit(info: &Value, events: &mut Vec<Event>) {
    let status = text(info, "/status");
    if !matches!(status, "" | "allowed") {
        let which = text(info, "/rateLimitType").replace('_', " ");
        events.push(Event::Limit {
            about: short(&format!("{which} {}", status.replace('_', " "))),
            resets_at: info["resetsAt"].as_i64(),
            refused: status == "rejected",
        });
    }
}
