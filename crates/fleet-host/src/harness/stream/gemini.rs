//! Gemini CLI, `-o stream-json`. Seen with 0.61.0.
//!
//! - It exits with the low byte of the HTTP status that stopped it: 144 after 400, 145 after 401.
//! - The numbers of `result` are this process's, by model, with those of the request that chose the model.
//! - Text comes in pieces that break anywhere; they are put together to lines.
//! - A command that fails is a tool result of status `success`. Tries that failed are on standard error only.
//! - A tool that would have to ask is not offered, so the model does not call it and nothing is told.

use std::collections::BTreeMap;

use serde_json::Value;

use super::end::{Outcome, trouble};
use super::{Basis, Cli, Decode, Event, Tokens, Usage, about_call, account, number, say, sent_out, short, text};
use crate::harness::Launch;

/// How much text without a line break is held back, in bytes.
const LONGEST_HELD: usize = 64 * 1024;

#[derive(Default)]
pub(super) struct Decoder {
    /// The line of text that has begun.
    begun: String,
    /// The last error that was not the end.
    error: String,
    /// The tools and arguments of calls without a result, by id.
    calls: BTreeMap<String, (String, String)>,
}

pub(super) fn headless(launch: &Launch<'_>) -> Vec<String> {
    let mut argv: Vec<String> = ["-o", "stream-json"].map(str::to_owned).into();
    match launch.conversation {
        Some(id) if launch.resume => argv.extend(["--resume".to_owned(), id.to_owned()]),
        Some(id) => argv.extend(["--session-id".to_owned(), id.to_owned()]),
        None if launch.resume => argv.extend(["--resume".to_owned(), "latest".to_owned()]),
        None => {}
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
        if text(line, "/type") == "message" {
            if text(line, "/role") == "assistant" {
                self.piece(text(line, "/content"), events);
            }
            return;
        }
        say(&std::mem::take(&mut self.begun), events);
        match text(line, "/type") {
            "init" => events.push(Event::Conversation {
                id: text(line, "/session_id").to_owned(),
            }),
            "tool_use" => self.call(line, events),
            "tool_result" => self.tool_result(line, events),
            "error" => self.error(text(line, "/message"), events),
            "result" => self.result(line, events),
            _ => {}
        }
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        say(&std::mem::take(&mut self.begun), events);
    }
}

impl Decoder {
    fn piece(&mut self, piece: &str, events: &mut Vec<Event>) {
        self.begun.push_str(piece);
        let whole = match self.begun.rfind('\n') {
            Some(end) => end + 1,
            None if self.begun.len() > LONGEST_HELD => self.begun.len(),
            None => return,
        };
        let rest = self.begun.split_off(whole);
        say(&std::mem::replace(&mut self.begun, rest), events);
    }

    fn call(&mut self, line: &Value, events: &mut Vec<Event>) {
        let id = text(line, "/tool_id").to_owned();
        let (tool, about) = (text(line, "/tool_name").to_owned(), about_call(&line["parameters"]));
        self.calls.insert(id.clone(), (tool.clone(), about.clone()));
        let sends_out = Cli::Gemini.dispatches(&tool).then(|| {
            let given = |key: &str| text(&line["parameters"], key);
            sent_out(&id, "", given("/agent_name"), "", given("/prompt"))
        });
        events.push(Event::Call { id, tool, about });
        events.extend(sends_out);
    }

    fn tool_result(&mut self, line: &Value, events: &mut Vec<Event>) {
        let id = text(line, "/tool_id").to_owned();
        let (tool, about) = self.calls.remove(&id).unwrap_or_default();
        let ok = text(line, "/status") != "error";
        if Cli::Gemini.dispatches(&tool) {
            events.push(Event::CameBack { call: id.clone(), ok });
        }
        if text(line, "/error/type") == "policy_violation" {
            events.push(Event::Denied { tool, about });
        }
        let said = if ok { "/output" } else { "/error/message" };
        events.push(Event::Result {
            id,
            ok,
            about: short(text(line, said)),
        });
    }

    fn error(&mut self, said: &str, events: &mut Vec<Event>) {
        said.clone_into(&mut self.error);
        events.push(Event::Error {
            outcome: failure("", said),
            text: short(said),
        });
    }

    fn result(&mut self, line: &Value, events: &mut Vec<Event>) {
        usage(line, events);
        let said = match text(line, "/error/message") {
            "" => self.error.as_str(),
            said => said,
        };
        let (outcome, text) = match text(line, "/status") {
            "success" => (Outcome::Success, String::new()),
            _ => (failure(text(line, "/error/type"), said), short(said)),
        };
        events.push(Event::End { outcome, text });
    }
}

/// What an exit code alone tells.
pub(super) fn of_exit(code: i32) -> Option<Outcome> {
    match code {
        41 => Some(Outcome::Login),
        53 => Some(Outcome::MaxTurns),
        144..=255 => Some(trouble(u16::try_from(code + 256).ok(), "")),
        _ => None,
    }
}

fn usage(line: &Value, events: &mut Vec<Event>) {
    for (model, sum) in line
        .pointer("/stats/models")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let (total, input, output) = (
            number(sum, "/total_tokens"),
            number(sum, "/input_tokens"),
            number(sum, "/output_tokens"),
        );
        let cached = number(sum, "/cached");
        // What is in the total and in neither is the thinking.
        let reasoning = total.saturating_sub(input).saturating_sub(output);
        let usage = Usage {
            model: Some(model.clone()),
            tokens: Tokens {
                input: input.saturating_sub(cached),
                cached,
                cache_write: 0,
                output: output.saturating_add(reasoning),
                reasoning,
            },
            cost_usd: None,
            source: "result.stats.models".to_owned(),
            basis: Basis::Reported,
        };
        account(usage, events);
    }
}

fn failure(kind: &str, said: &str) -> Outcome {
    match kind {
        "FatalTurnLimitedError" => return Outcome::MaxTurns,
        "FatalCancellationError" => return Outcome::Interrupted,
        "FatalAuthenticationError" => return Outcome::Login,
        _ if said.contains("without a finish reason") => return Outcome::Cut,
        _ => {}
    }
    // The message holds the service's own JSON; its `code` is the status.
    let status = said
        .split_once("\"code\":")
        .and_then(|(_, rest)| rest.trim_start().get(..3))
        .and_then(|code| code.parse().ok());
    trouble(status, said)
}
