//! Pi, `--mode rpc`. Seen with 0.73.1.
//!
//! - It takes commands, a line of JSON each, until its standard input ends: then it exits at once, in the middle of a
//!   turn as well, and nothing more is printed. So the input stays open until nothing is left to do ([`Event::Rest`]).
//! - `agent_end` is not that moment: a retry or a compaction may follow it. What follows is printed before any command
//!   is answered that came later, so `get_state` is asked then, and its answer decides.
//! - Its own queue of prompts lives in its memory, and a turn that fails or is aborted leaves it where it is. So a prompt
//!   is written when it rests; `followUp` only sees to it that one is not refused when an extension has begun a turn.
//! - A prompt is answered when it has a model and a key for it, and the turn begins with that. What goes wrong
//!   later are events; the last assistant's `stopReason` tells, for it exits with 0 whatever the service said.
//! - `agent_end` repeats every message and may be longer than any line that is read; nothing in it is needed.
//! - `message_update` repeats the message so far with each piece; only whole messages are read.
//! - A conversation is in no file before its first reply, and cannot be resumed until then.
//! - An extension that asks a person waits for the answer without end. Nobody is there, so it is told that the dialog
//!   was dismissed. Before its start is complete it hears nothing, and exits with 0 when such a dialog is all it waits for.

use serde_json::{Value, json};

use super::end::{Outcome, trouble};
use super::{
    Basis, Cli, Commands, Decode, Event, Tokens, Usage, about_call, about_result, account, number, say, sent_out,
    short, text,
};
use crate::harness::Launch;

/// What it is told while it runs.
pub(super) const COMMANDS: Commands = Commands {
    prompt: |number, text| {
        let id = format!("{PROMPT}{number}");
        line(&json!({ "id": id, "type": "prompt", "message": text, "streamingBehavior": "followUp" }))
    },
    abort: || line(&json!({ "type": "abort" })),
};

/// Before the number of a prompt, and of a question about its state.
const PROMPT: &str = "prompt-";
const STATE: &str = "state-";

#[derive(Default)]
pub(super) struct Decoder {
    /// How the last assistant's message ended, and what it says about it.
    last: Option<(Outcome, String)>,
    /// The last agent loop came to its end.
    ended: bool,
    /// It begins again by itself, after a pause.
    goes_on: bool,
    /// How often its state was asked for.
    asked: u64,
    conversation: Conversation,
    replies: String,
}

/// What is known of the conversation's id.
#[derive(Default)]
enum Conversation {
    #[default]
    Unknown,
    /// There is no reply in it yet.
    Begun(String),
    Told,
}

pub(super) fn headless(launch: &Launch<'_>) -> Vec<String> {
    let mut argv: Vec<String> = ["--mode", "rpc"].map(str::to_owned).into();
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

/// A command. Inside of a text JSON has no line feeds, and it splits its input at nothing else.
fn line(command: &Value) -> String {
    format!("{command}\n")
}

impl Decode for Decoder {
    fn line(&mut self, line: &Value, events: &mut Vec<Event>) {
        match text(line, "/type") {
            "response" => self.response(line, events),
            "agent_start" => {
                self.ended = false;
                self.goes_on = false;
            }
            "agent_end" => {
                self.ended = true;
                self.ask();
            }
            "message_end" if text(line, "/message/role") == "assistant" => self.message(&line["message"], events),
            "tool_execution_start" => {
                let (id, tool) = (text(line, "/toolCallId"), text(line, "/toolName"));
                events.push(Event::Call {
                    id: id.to_owned(),
                    tool: tool.to_owned(),
                    about: about_call(&line["args"]),
                });
                if Cli::Pi.dispatches(tool) {
                    let given = |key: &str| text(&line["args"], key);
                    events.push(sent_out(id, "", given("/agent"), "", given("/task")));
                }
            }
            "tool_execution_end" => {
                let (call, ok) = (
                    text(line, "/toolCallId").to_owned(),
                    line["isError"].as_bool() != Some(true),
                );
                if Cli::Pi.dispatches(text(line, "/toolName")) {
                    events.push(Event::CameBack { call: call.clone(), ok });
                }
                events.push(Event::Result {
                    id: call,
                    ok,
                    about: about_result(&line["result"]["content"]),
                });
            }
            "auto_retry_start" => {
                self.goes_on = true;
                events.push(Event::Retry {
                    attempt: line["attempt"].as_u64(),
                    most: line["maxAttempts"].as_u64(),
                    why: short(text(line, "/errorMessage")),
                });
            }
            "auto_retry_end" if line["success"] == false => {
                self.goes_on = false;
                if text(line, "/finalError") == "Retry cancelled" {
                    self.last = Some((Outcome::Interrupted, String::new()));
                }
                self.ask();
            }
            "compaction_end" => {
                self.goes_on = line["willRetry"] == true;
                notice(text(line, "/errorMessage"), events);
                self.ask();
            }
            "extension_error" => notice(&format!("an extension failed: {}", text(line, "/error")), events),
            "extension_ui_request" => self.dialog(line, events),
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

    fn take_replies(&mut self) -> String {
        std::mem::take(&mut self.replies)
    }
}

impl Decoder {
    fn response(&mut self, line: &Value, events: &mut Vec<Event>) {
        let id = text(line, "/id");
        match text(line, "/command") {
            "prompt" => {
                let Some(number) = id.strip_prefix(PROMPT).and_then(|number| number.parse().ok()) else {
                    return;
                };
                let refused = (line["success"] != true).then(|| text(line, "/error").to_owned());
                if let Some(text) = &refused {
                    events.push(Event::Error {
                        outcome: trouble(None, text),
                        text: short(text),
                    });
                }
                events.push(Event::Answered { number, refused });
                // A command of an extension is handled without a turn.
                self.ask();
            }
            "get_state" => {
                let state = &line["data"];
                if matches!(self.conversation, Conversation::Unknown) {
                    self.conversation = Conversation::Begun(text(state, "/sessionId").to_owned());
                }
                if id == format!("{STATE}{}", self.asked) && self.rests(state) {
                    events.push(Event::Rest);
                }
            }
            "abort" => self.ask(),
            _ if line["success"] == false => notice(text(line, "/error"), events),
            _ => {}
        }
    }

    /// Whether nothing is left to do, by this answer to [`Decoder::ask`].
    fn rests(&self, state: &Value) -> bool {
        let flag = |name: &str| state[name] == true;
        // After an answer it goes on with what waits in its own queue; after trouble that stays there.
        let waits =
            number(state, "/pendingMessageCount") > 0 && matches!(self.last, None | Some((Outcome::Success, _)));
        !self.goes_on && !flag("isStreaming") && !flag("isCompacting") && !waits
    }

    /// Asks for its state: it may have nothing left to do. Only the answer to the last question counts.
    fn ask(&mut self) {
        self.asked += 1;
        let id = format!("{STATE}{}", self.asked);
        self.replies += &line(&json!({ "id": id, "type": "get_state" }));
    }

    fn dialog(&mut self, request: &Value, events: &mut Vec<Event>) {
        match text(request, "/method") {
            "select" | "confirm" | "input" | "editor" => {
                let title = text(request, "/title");
                notice(&format!("dismissed, for nobody can answer: {title}"), events);
                let id = text(request, "/id");
                self.replies += &line(&json!({ "type": "extension_ui_response", "id": id, "cancelled": true }));
            }
            "notify" => notice(text(request, "/message"), events),
            _ => {}
        }
    }

    fn message(&mut self, message: &Value, events: &mut Vec<Event>) {
        if let Conversation::Begun(id) = &mut self.conversation {
            let id = std::mem::take(id);
            events.push(Event::Conversation { id });
            self.conversation = Conversation::Told;
        }
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

fn notice(text: &str, events: &mut Vec<Event>) {
    if !text.is_empty() {
        events.push(Event::Notice { text: short(text) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::stream::{Cli, Reader};

    /// Reads lines one by one: what each of them leads to, and what is said to it.
    fn read(reader: &mut Reader, lines: &[&str]) -> (Vec<Event>, String) {
        let mut events = Vec::new();
        let mut said = String::new();
        for line in lines {
            events.extend(reader.feed(format!("{line}\n").as_bytes()));
            said += &reader.take_replies();
        }
        (events, said)
    }

    fn state(number: u64, streaming: bool, waiting: u64) -> String {
        format!(
            r#"{{"id":"state-{number}","type":"response","command":"get_state","success":true,"data":{{"sessionId":"c-1","isStreaming":{streaming},"isCompacting":false,"pendingMessageCount":{waiting}}}}}"#
        )
    }

    fn reply(reason: &str) -> String {
        format!(r#"{{"type":"message_end","message":{{"role":"assistant","content":[],"stopReason":"{reason}"}}}}"#)
    }

    const TAKEN: &str = r#"{"id":"prompt-1","type":"response","command":"prompt","success":true}"#;
    const BEGIN: &str = r#"{"type":"agent_start"}"#;
    const END: &str = r#"{"type":"agent_end","messages":[]}"#;

    fn rests(events: &[Event]) -> bool {
        events.contains(&Event::Rest)
    }

    #[test]
    fn it_rests_when_it_says_so_after_its_turn_and_not_before() {
        let mut reader = Reader::new(Cli::Pi);
        let (events, said) = read(&mut reader, &[TAKEN, BEGIN]);
        let number = 1;
        assert_eq!(events, [Event::Answered { number, refused: None }]);
        assert_eq!(said, "{\"id\":\"state-1\",\"type\":\"get_state\"}\n");
        let (events, said) = read(&mut reader, &[&state(1, true, 0), &reply("stop"), END]);
        assert_eq!(events, [Event::Conversation { id: "c-1".into() }]);
        assert_eq!(said, "{\"id\":\"state-2\",\"type\":\"get_state\"}\n");
        // An answer to an earlier question says nothing about now.
        assert_eq!(read(&mut reader, &[&state(1, false, 0)]).0, []);
        assert_eq!(read(&mut reader, &[&state(2, true, 0)]).0, []);
        assert_eq!(read(&mut reader, &[&state(2, false, 0)]).0, [Event::Rest]);
    }

    #[test]
    fn a_retry_and_a_compaction_that_goes_on_are_no_rest() {
        for (pause, over) in [
            (
                r#"{"type":"auto_retry_start","attempt":1,"maxAttempts":3,"errorMessage":"503"}"#,
                r#"{"type":"auto_retry_end","success":false,"attempt":3,"finalError":"503"}"#,
            ),
            (
                r#"{"type":"compaction_end","reason":"overflow","willRetry":true}"#,
                r#"{"type":"compaction_end","reason":"overflow","willRetry":false,"errorMessage":"no"}"#,
            ),
        ] {
            let mut reader = Reader::new(Cli::Pi);
            let _ = read(&mut reader, &[TAKEN, BEGIN, &reply("error"), END, pause]);
            assert!(!rests(
                &read(&mut reader, &[&state(2, false, 0), &state(3, false, 0)]).0
            ));
            let (_, said) = read(&mut reader, &[BEGIN, &reply("error"), END, over]);
            let last = said.lines().count() as u64 + if pause.contains("compaction") { 3 } else { 2 };
            let (events, _) = read(&mut reader, &[&state(last, false, 0)]);
            assert!(rests(&events), "{pause}: {said}");
        }
    }

    #[test]
    fn what_waits_in_its_own_queue_is_begun_after_an_answer_alone() {
        for (reason, rest) in [("stop", false), ("error", true), ("aborted", true)] {
            let mut reader = Reader::new(Cli::Pi);
            let _ = read(&mut reader, &[TAKEN, BEGIN, &reply(reason), END]);
            assert_eq!(rests(&read(&mut reader, &[&state(2, false, 1)]).0), rest, "{reason}");
        }
    }

    #[test]
    fn a_retry_that_was_called_off_is_an_interrupted_run() {
        let mut reader = Reader::new(Cli::Pi);
        let off = r#"{"type":"auto_retry_end","success":false,"attempt":1,"finalError":"Retry cancelled"}"#;
        let _ = read(&mut reader, &[TAKEN, BEGIN, &reply("error"), END, off]);
        let (outcome, text) = (Outcome::Interrupted, String::new());
        assert_eq!(reader.finish(), [Event::End { outcome, text }]);
    }

    #[test]
    fn a_refused_prompt_says_why_and_a_dialog_is_dismissed() {
        let mut reader = Reader::new(Cli::Pi);
        let refused = r#"{"id":"prompt-1","type":"response","command":"prompt","success":false,"error":"No API key found for x.\n"}"#;
        let asked = r#"{"type":"extension_ui_request","id":"u-1","method":"select","title":"Which?","options":[]}"#;
        let told = r#"{"type":"extension_ui_request","id":"u-2","method":"setStatus","statusKey":"k"}"#;
        let (events, said) = read(&mut reader, &[refused, asked, told]);
        assert!(matches!(
            &events[0],
            Event::Error {
                outcome: Outcome::Login,
                ..
            }
        ));
        assert!(matches!(&events[1], Event::Answered { refused: Some(_), .. }));
        assert!(matches!(&events[2], Event::Notice { text } if text.ends_with("Which?")));
        assert_eq!(events.len(), 3);
        let answers: Vec<Value> = said
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(
            answers[1],
            json!({ "type": "extension_ui_response", "id": "u-1", "cancelled": true })
        );
        assert_eq!(answers.len(), 2);
    }

    #[test]
    fn a_command_is_one_line_whatever_is_in_it() {
        let text = "two\nlines \u{2028} \u{85} \"quoted\" \r";
        let line = (COMMANDS.prompt)(7, text);
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let command: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            (&command["id"], &command["message"]),
            (&"prompt-7".into(), &text.into())
        );
    }
}
