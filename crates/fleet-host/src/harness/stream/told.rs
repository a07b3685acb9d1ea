//! What a whole stream tells in sum: the last words, and how much was done.

use std::io::Read;

use super::{Cli, Event, Reader};

/// What a stream tells in sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What the model said last, from its last call of a tool on; where it said something with the mark that was looked
    /// for before that, this.
    pub said: String,
    /// How often it called a tool.
    pub tool_calls: u64,
    /// How many of those sent out a sub-agent.
    pub dispatches: u64,
    /// How often the model had its turn: once at the beginning, and once after results of tools.
    pub turns: u64,
}

/// Counts how often the model has its turn: once at the beginning, and once after results of tools.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turns {
    /// Whether the model has its turn.
    speaks: bool,
}

impl Turns {
    /// Whether a turn begins with this event.
    pub fn begins(&mut self, event: &Event) -> bool {
        match event {
            Event::Text { .. } | Event::Call { .. } => !std::mem::replace(&mut self.speaks, true),
            Event::Result { .. } => {
                self.speaks = false;
                false
            }
            _ => false,
        }
    }
}

/// More of one answer than this is not kept, in bytes.
const LONGEST: usize = 1024 * 1024;

/// Reads a stream of `cli` to its end. A stream that cannot be read further ends there.
pub fn told(cli: Cli, mut stream: impl Read, mark: &str) -> Told {
    let mut folded = Folded {
        cli,
        mark,
        told: Told::default(),
        now: String::new(),
        marked: None,
        turns: Turns::default(),
    };
    let mut reader = Reader::new(cli);
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        let events = reader.feed(&chunk[..count]);
        events.iter().for_each(|event| folded.take(event));
    }
    reader.finish().iter().for_each(|event| folded.take(event));
    folded.end()
}

struct Folded<'a> {
    cli: Cli,
    mark: &'a str,
    told: Told,
    /// What was said since the last call.
    now: String,
    /// What was said last that has the mark.
    marked: Option<String>,
    turns: Turns,
}

impl Folded<'_> {
    fn take(&mut self, event: &Event) {
        self.told.turns += u64::from(self.turns.begins(event));
        match event {
            Event::Text { text } if self.now.len() + text.len() < LONGEST => {
                self.now.push_str(text);
                self.now.push('\n');
            }
            Event::Call { tool, .. } => {
                self.told.tool_calls += 1;
                self.told.dispatches += u64::from(self.cli.dispatches(tool));
                self.end_words();
            }
            _ => {}
        }
    }

    fn end_words(&mut self) {
        if self.now.trim().is_empty() {
            return;
        }
        let now = std::mem::take(&mut self.now);
        if now.contains(self.mark) {
            self.marked = Some(now.clone());
        }
        self.told.said = now;
    }

    fn end(mut self) -> Told {
        self.end_words();
        Told {
            said: self.marked.unwrap_or(self.told.said),
            ..self.told
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stream(messages: &[serde_json::Value]) -> String {
        let line = |content: &serde_json::Value| {
            let kind = if content[0]["type"] == "tool_result" {
                "user"
            } else {
                "assistant"
            };
            format!("{}\n", json!({"type": kind, "message": {"content": content}}))
        };
        messages.iter().map(line).collect()
    }

    #[test]
    fn the_last_words_and_what_was_done_are_told() {
        let text = |text: &str| json!({"type": "text", "text": text});
        let call = |tool: &str| json!({"type": "tool_use", "id": "t", "name": tool, "input": {}});
        let result = json!([{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]);
        let lines = stream(&[
            json!([text("I look."), call("Read"), call("Task")]),
            result.clone(),
            json!([text("REPORT 1")]),
            json!([call("Bash")]),
            result,
            json!([text("Done.")]),
        ]);
        let told = |mark| super::told(Cli::Claude, lines.as_bytes(), mark);
        let wanted = Told {
            said: "Done.\n".to_owned(),
            tool_calls: 3,
            dispatches: 1,
            turns: 3,
        };
        assert_eq!(told("nothing of it"), wanted);
        assert_eq!(told("REPORT").said, "REPORT 1\n");
    }
}
