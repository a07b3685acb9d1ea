//! What a prompt asks of an endpoint that has no turns for it.
//!
//! Each line may be a directive; other lines are passed over. `run`, `write` and `read` make a turn each, and the
//! texts of all `say` make the last one. `wait`, `slow`, `hang` and `fail` are about the turn that follows.

use super::script::{ApiError, Fault, Pace, ToolCall, Trouble, Turn};

/// What is said when nothing else was asked for.
const NOTHING_ASKED: &str = "ok";

/// The turns that answer this prompt; at least one.
pub(crate) fn turns(prompt: &str) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut said = Vec::new();
    let mut next = Turn::default();
    for line in prompt.lines() {
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let call = match word {
            "run" => ToolCall::Shell(rest.to_owned()),
            "read" => ToolCall::Read(rest.to_owned()),
            "write" => {
                let (path, content) = rest.split_once(' ').unwrap_or((rest, ""));
                let (path, content) = (path.to_owned(), format!("{content}\n"));
                ToolCall::Write { path, content }
            }
            _ => {
                prepare(word, rest, &mut next, &mut said);
                continue;
            }
        };
        next.calls.push(call);
        turns.push(std::mem::take(&mut next));
    }
    next.text = if said.is_empty() {
        NOTHING_ASKED.to_owned()
    } else {
        said.join("\n")
    };
    turns.push(next);
    turns
}

/// Takes up a directive that makes no turn of its own.
fn prepare(word: &str, rest: &str, next: &mut Turn, said: &mut Vec<String>) {
    let pace = next.pace.unwrap_or_default();
    match (word, rest.parse()) {
        ("say", _) => said.push(rest.to_owned()),
        ("hang", _) => next.fault = Some(Fault::Hang),
        ("wait", Ok(time)) => {
            next.pace = Some(Pace {
                first_byte_ms: Some(time),
                ..pace
            });
        }
        ("slow", Ok(time)) => {
            next.pace = Some(Pace {
                chunk_ms: Some(time),
                ..pace
            });
        }
        ("fail", _) => next.fault = trouble(rest).map(|is| Fault::Error(ApiError::of(is))),
        _ => {}
    }
}

/// The trouble of this name, as scripts write it.
fn trouble(name: &str) -> Option<Trouble> {
    serde_json::from_value(name.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_a_small_script() {
        let turns = turns("please\nwait 30\nrun ls -l\nwrite a.txt some words\nslow 5\nsay one\nsay two");
        assert_eq!(turns.len(), 3);
        assert_eq!(turns[0].calls, [ToolCall::Shell("ls -l".into())]);
        assert_eq!(turns[0].pace.unwrap().first_byte_ms, Some(30));
        let written = ToolCall::Write {
            path: "a.txt".into(),
            content: "some words\n".into(),
        };
        assert_eq!(turns[1].calls, [written]);
        assert_eq!(turns[2].text, "one\ntwo");
        assert_eq!(turns[2].pace.unwrap().chunk_ms, Some(5));
    }

    #[test]
    fn a_prompt_without_a_directive_is_answered_too() {
        assert_eq!(turns("hello\nsaying nothing"), [Turn::say("ok")]);
    }

    #[test]
    fn a_prompt_can_ask_for_a_failure() {
        let turns = turns("fail rate_limit");
        let error = Fault::Error(ApiError::of(Trouble::RateLimit));
        assert_eq!(turns[0].fault, Some(error));
    }
}
