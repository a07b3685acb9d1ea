//! Pi, `-p --mode json`. Seen with 0.73.1.
//!
//! - It exits with 0 whatever the service said: the last assistant's `stopReason` tells.
//! - `agent_end` comes once per try, so the stream's end is the end. It repeats every message and may be longer
//!   than any line that is read; nothing in it is needed.
//! - `message_update` repeats the message so far with each piece; only whole messages are read.

use serde_json::Value;

use super::end::{Outcome, trouble};
use super::{Basis, Decode, Event, Tokens, Usage, about_call, about_result, account, number, say, short, text};
use crate::harness::Launch;

#[derive(Default)]
pub(super) struct Decoder {
    /// How the last assistant's message ended, and what it says about it.
    last: Option<(Outcome, String)>,
    /// The last agent loop came to its end.
    ended: bool,
}

pub(super) fn headless(launch: &Launch<'_>) -> Vec<String> {
    let mut argv: Vec<String> = ["-p", "--mode", "json"].map(str::to_owned).into();
    match launch.conversation {
        Some(id) if launch.resume => argv.extend(["--session".to_owned(), id.to_owned()]),
        None if launch.resume => argv.push("--continue".to_owned()),
        _ => {}
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
            "session" => events.push(Event::Conversation {
                id: text(line, "/id").to_owned(),
            }),
            "agent_start" => self.ended = false,
            "agent_end" => self.ended = true,
            "message_end" if text(line, "/message/role") == "assistant" => self.message(&line["message"], events),
            "tool_execution_start" => events.push(Event::Call {
                id: text(line, "/toolCallId").to_owned(),
                tool: text(line, "/toolName").to_owned(),
                about: about_call(&line["args"]),
            }),
            "tool_execution_end" => events.push(Event::Result {
                id: text(line, "/toolCallId").to_owned(),
                ok: line["isError"].as_bool() != Some(true),
                about: about_result(&line["result"]["content"]),
            }),
            "auto_retry_start" => events.push(Event::Retry {
                attempt: line["attempt"].as_u64(),
                most: line["maxAttempts"].as_u64(),
                why: short(text(line, "/errorMessage")),
            }),
            _ => {}
        }
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        if let Some((outcome, text)) = self.last.take().filter(|_| self.ended) {
            events.push(Event::End { outcome, text });
        }
    }

    fn skips(&self, line: &[u8]) -> bool {
        [
            &b"{\"type\":\"message_update\""[..],
            b"{\"type\":\"tool_execution_update\"",
        ]
        .iter()
        .any(|begin| line.starts_with(begin))
    }
}

impl Decoder {
    fn message(&mut self, message: &Value, events: &mut Vec<Event>) {
        for part in message["content"].as_array().into_iter().flatten() {
            say(text(part, "/text"), events);
        }
        let usage = Usage {
            model: Some(text(message, "/model").to_owned()),
            tokens: Tokens {
                input: number(message, "/usage/input"),
                cached: number(message, "/usage/cacheRead"),
                cache_write: number(message, "/usage/cacheWrite"),
                output: number(message, "/usage/output"),
                reasoning: number(message, "/usage/reasoning"),
            },
            cost_usd: message.pointer("/usage/cost/total").and_then(Value::as_f64),
            source: "message.usage".to_owned(),
            basis: Basis::Reported,
        };
        account(usage, events);
        let said = text(message, "/errorMessage");
        let outcome = match text(message, "/stopReason") {
            "error" => trouble(None, said),
            "aborted" => Outcome::Interrupted,
            "length" => Outcome::Failed,
            _ => Outcome::Success,
        };
        self.last = Some((outcome, short(said)));
    }
}
