//! OpenCode, `run --format json`. Seen with 1.18.33.
//!
//! - There is no terminal event: a `step_finish` of reason `stop` that is the last line, or an `error`.
//! - A tool that must ask is denied, and the run ends after that step with exit status 0.
//! - `output` is without the thinking. The request for a title is in no step and in no cost, so a conversation gets one
//!   from its prompt. What sub-agents use, and that a stream was cut, is told by the plugin alone.
//! - A prompt in its arguments gets quotes; standard input does not.

use serde_json::Value;

use super::end::{Outcome, trouble};
use super::{Basis, Cli, Decode, Event, Tokens, Usage, about_call, account, number, say, sent_out, short, text};
use crate::harness::Launch;

#[derive(Default)]
pub(super) struct Decoder {
    conversation: String,
    last: Option<(Outcome, String)>,
}

/// Without a text a title is the beginning of the prompt, and its service is not asked for one.
pub(super) const TITLE: &str = "--title=";

pub(super) fn headless(launch: &Launch<'_>) -> Vec<String> {
    let mut argv: Vec<String> = ["run", "--format", "json"].map(str::to_owned).into();
    match launch.conversation {
        Some(id) if launch.resume => argv.extend(["--session".to_owned(), id.to_owned()]),
        None if launch.resume => argv.push("--continue".to_owned()),
        _ => argv.push(TITLE.to_owned()),
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
        let id = text(line, "/sessionID");
        if self.conversation.is_empty() && !id.is_empty() {
            id.clone_into(&mut self.conversation);
            events.push(Event::Conversation { id: id.to_owned() });
        }
        let part = &line["part"];
        match text(line, "/type") {
            "step_start" => self.last = None,
            "text" => say(text(part, "/text"), events),
            "tool_use" => tool(part, events),
            "step_finish" => self.step_finish(part, events),
            "error" => {
                let (outcome, said) = failure(&line["error"]);
                self.last = Some((outcome, said));
            }
            _ => {}
        }
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        if let Some((outcome, text)) = self.last.take() {
            events.push(Event::End { outcome, text });
        }
    }
}

impl Decoder {
    fn step_finish(&mut self, part: &Value, events: &mut Vec<Event>) {
        let reasoning = number(part, "/tokens/reasoning");
        let usage = Usage {
            model: None,
            tokens: Tokens {
                input: number(part, "/tokens/input"),
                cached: number(part, "/tokens/cache/read"),
                cache_write: number(part, "/tokens/cache/write"),
                output: number(part, "/tokens/output").saturating_add(reasoning),
                reasoning,
            },
            cost_usd: part["cost"].as_f64(),
            source: "step_finish.tokens".to_owned(),
            basis: Basis::Reported,
        };
        account(usage, events);
        self.last = match text(part, "/reason") {
            "stop" => Some((Outcome::Success, String::new())),
            reason @ ("length" | "content-filter" | "error") => Some((Outcome::Failed, reason.to_owned())),
            _ => None,
        };
    }
}

fn tool(part: &Value, events: &mut Vec<Event>) {
    let (id, tool) = (text(part, "/callID").to_owned(), text(part, "/tool").to_owned());
    let state = &part["state"];
    events.push(Event::Call {
        id: id.clone(),
        tool: tool.clone(),
        about: about_call(&state["input"]),
    });
    let error = text(state, "/error");
    let failed =
        text(state, "/status") == "error" || state.pointer("/metadata/exit").and_then(Value::as_i64).unwrap_or(0) != 0;
    // A call is told of when it is over.
    if Cli::OpenCode.dispatches(&tool) {
        let input = |key: &str| text(&state["input"], key);
        let (crew, about) = (input("/subagent_type"), input("/description"));
        events.push(sent_out(&id, "", crew, about, input("/prompt")));
        events.push(Event::CameBack {
            call: id.clone(),
            ok: !failed,
        });
    }
    events.push(Event::Result {
        id,
        ok: !failed,
        about: short(if error.is_empty() {
            text(state, "/output")
        } else {
            error
        }),
    });
    if error.contains("rejected permission") || error.contains("prevents you from using") {
        events.push(Event::Denied {
            tool,
            about: short(error),
        });
    }
}

fn failure(error: &Value) -> (Outcome, String) {
    let name = text(error, "/name");
    let said = text(error, "/data/message");
    let said = if said.is_empty() { name } else { said };
    let status = error.pointer("/data/statusCode").and_then(Value::as_u64);
    let outcome = match name {
        "MessageAbortedError" => Outcome::Interrupted,
        "ProviderAuthError" => Outcome::Login,
        _ => trouble(status.and_then(|status| u16::try_from(status).ok()), said),
    };
    (outcome, short(said))
}
