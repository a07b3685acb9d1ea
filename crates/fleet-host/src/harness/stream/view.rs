//! Events as lines for a terminal.
//!
//! What a model, a tool or a service said may hold anything. Every text passes [`plain`], so that no line changes
//! the terminal in another way than the colours given here.

use super::end::Outcome;
use super::{Basis, Event, Usage};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const OFF: &str = "\x1b[0m";

/// An event as lines for a terminal, without line ends. Some events have none.
pub fn view(event: &Event) -> Vec<String> {
    match event {
        Event::Conversation { id } => coloured(DIM, &format!("conversation {id}")),
        Event::Text { text } => plain(text).lines().map(str::to_owned).collect(),
        Event::Call { tool, about, .. } => {
            let (tool, about) = (one_line(tool), one_line(about));
            vec![format!("{BOLD}{tool}{OFF} {about}").trim_end().to_owned()]
        }
        Event::Result { ok: true, about, .. } if about.is_empty() => Vec::new(),
        Event::Result { ok: true, about, .. } => coloured(DIM, &format!("  {}", one_line(about))),
        Event::Result { about, .. } => coloured(RED, &format!("  failed: {}", one_line(about))),
        Event::Usage(usage) => coloured(DIM, &used(usage)),
        Event::Retry { attempt, most, why } => {
            let count = match (attempt, most) {
                (Some(attempt), Some(most)) => format!(" {attempt} of {most}"),
                (Some(attempt), None) => format!(" {attempt}"),
                _ => String::new(),
            };
            coloured(YELLOW, &format!("retry{count}: {why}"))
        }
        Event::Denied { tool, about } => coloured(YELLOW, &format!("denied: {tool} {about}")),
        Event::Limit { about, .. } => coloured(YELLOW, &format!("limit: {about}")),
        Event::Error { outcome, text } => coloured(RED, &format!("{outcome}: {text}")),
        Event::Notice { text } => coloured(DIM, text),
        // The call itself is shown, and so is its result.
        Event::SentOut { .. } | Event::Called { .. } | Event::CameBack { .. } => Vec::new(),
        Event::Answered { .. } | Event::Rest => Vec::new(),
        Event::End {
            outcome: Outcome::Success,
            ..
        } => coloured(DIM, "done"),
        Event::End { outcome, text } => coloured(RED, &format!("ended, {outcome}: {text}")),
        Event::Skipped { bytes } => coloured(DIM, &format!("a line of {bytes} bytes is not shown")),
        Event::Malformed { about } => coloured(DIM, &format!("no event: {about}")),
    }
}

/// The prompt of a run as lines for a terminal: a long one is cut.
pub fn view_prompt(prompt: &str) -> Vec<String> {
    const MOST: usize = 20;
    let prompt = plain(prompt);
    let mut lines: Vec<String> = prompt
        .lines()
        .take(MOST)
        .map(|line| format!("{BOLD}>{OFF} {}", line.chars().take(1000).collect::<String>()))
        .collect();
    let left = prompt.lines().count().saturating_sub(MOST);
    if left > 0 {
        lines.push(format!("{DIM}> and {left} more lines{OFF}"));
    }
    lines
}

/// A line that the program wrote to its standard error, as lines for a terminal.
pub fn view_error(line: &str) -> Vec<String> {
    coloured(YELLOW, &format!("stderr: {line}"))
}

fn coloured(colour: &str, text: &str) -> Vec<String> {
    let text = one_line(text);
    let text = text.trim_end().trim_end_matches(':');
    vec![format!("{colour}{text}{OFF}")]
}

fn used(usage: &Usage) -> String {
    let tokens = &usage.tokens;
    let mut parts = Vec::new();
    for (count, name) in [
        (tokens.input, "in"),
        (tokens.cached, "cached"),
        (tokens.cache_write, "to cache"),
        (tokens.output, "out"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {name}"));
        }
    }
    let mut said = format!("tokens: {}", parts.join(", "));
    if let Some(model) = &usage.model {
        said.push_str(&format!(" ({model})"));
    }
    if let Some(cost) = usage.cost_usd {
        said.push_str(&format!(", reported cost ${cost:.4}"));
    }
    match usage.basis {
        Basis::Reported => {}
        Basis::Partial => said.push_str(", at least"),
        Basis::Estimated => said.push_str(", estimated"),
        Basis::WholeConversation => said.push_str(", since the conversation began"),
    }
    said
}

fn one_line(text: &str) -> String {
    plain(text).replace('\n', " ")
}

/// Where a text is, while what a terminal would not show is taken out of it.
#[derive(Clone, Copy)]
enum At {
    Text,
    /// After ESC.
    Escape,
    /// In ESC and intermediate bytes, to a last byte.
    EscapeRest,
    /// In a control sequence, to its last byte.
    Sequence,
    /// In a string for the terminal, such as a title, to its terminator.
    String,
    /// In such a string, after ESC.
    StringEscape,
}

/// A text without control characters and escape sequences, but with its line breaks; a tab is a blank. Characters
/// that turn the direction of writing go as well: they can make a line read as another.
pub fn plain(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut at = At::Text;
    for c in text.chars() {
        at = match (at, c) {
            // A string that has no end must not swallow the rest.
            (_, '\n') => {
                kept.push('\n');
                At::Text
            }
            (At::String, '\x1b') => At::StringEscape,
            (At::StringEscape, '\\') | (At::String, '\x07' | '\u{9c}') => At::Text,
            (At::String, _) => At::String,
            (_, '\x1b') => At::Escape,
            (At::Escape | At::StringEscape, '[') => At::Sequence,
            (At::Escape | At::StringEscape, ']' | 'P' | 'X' | '^' | '_') => At::String,
            (At::Escape | At::EscapeRest | At::StringEscape, ' '..='/') => At::EscapeRest,
            (At::Escape | At::EscapeRest | At::StringEscape, '0'..='~') => At::Text,
            (At::Sequence, ' '..='?') => At::Sequence,
            (At::Sequence, '@'..='~') => At::Text,
            (_, '\u{9b}') => At::Sequence,
            (_, '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') => At::String,
            (_, '\t') => {
                kept.push(' ');
                At::Text
            }
            (_, c) if c.is_control() || turns_direction(c) => At::Text,
            (_, c) => {
                kept.push(c);
                At::Text
            }
        };
    }
    kept
}

fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_controls_are_taken_out() {
        for (text, wanted) in [
            ("red \x1b[31mtext\x1b[0m", "red text"),
            ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
            ("\x1bPq1;2\x1b\\x\x1b_y\x1b\\z", "xz"),
            ("\u{9b}2Jclear \u{9d}0;t\u{9c}end", "clear end"),
            ("bell\x07 back\x08\rover\x7f", "bell backover"),
            ("no end \x1b]0;abc\nnext", "no end \nnext"),
            ("half \x1b[", "half "),
            ("\x1b(0x\x1bcy", "xy"),
            ("a\tb\r\nc", "a b\nc"),
            ("\x1b[1\x1b[31mx", "x"),
            ("日本語 🦀 é", "日本語 🦀 é"),
            ("a\u{202e}b", "ab"),
        ] {
            assert_eq!(plain(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn no_event_shows_a_control_character_that_it_was_given() {
        let bad = || "x\x1b]0;t\x07\x1b[2J\u{9b}2Jy".to_owned();
        let outcome = Outcome::Failed;
        let events = [
            Event::Conversation { id: bad() },
            Event::Text { text: bad() },
            Event::Call {
                id: bad(),
                tool: bad(),
                about: bad(),
            },
            Event::Result {
                id: bad(),
                ok: false,
                about: bad(),
            },
            Event::Result {
                id: bad(),
                ok: true,
                about: bad(),
            },
            Event::Usage(Usage {
                model: Some(bad()),
                tokens: super::super::Tokens::default(),
                cost_usd: None,
                source: bad(),
                basis: Basis::Partial,
            }),
            Event::Retry {
                attempt: None,
                most: None,
                why: bad(),
            },
            Event::Denied {
                tool: bad(),
                about: bad(),
            },
            Event::Limit {
                about: bad(),
                resets_at: None,
                refused: false,
            },
            Event::Error { outcome, text: bad() },
            Event::Notice { text: bad() },
            Event::End { outcome, text: bad() },
            Event::Malformed { about: bad() },
        ];
        for event in events {
            let mut shown = view(&event).join("\n");
            for ours in [BOLD, DIM, RED, YELLOW, OFF] {
                shown = shown.replace(ours, "");
            }
            assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
            assert!(shown.contains("xy"), "{shown:?}");
        }
    }
}
