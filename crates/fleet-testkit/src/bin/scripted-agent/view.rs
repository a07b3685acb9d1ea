//! What the user gets to see, whatever the mode.

use std::io::{self, Write};
use std::process::Stdio;

use fleet_testkit::raw_command;
use unicode_width::UnicodeWidthChar;

use crate::keys::Key;

/// One way to show prompts, turns and replies.
pub(crate) trait View {
    /// Takes over the terminal.
    fn start(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Shows that the agent waits, with the draft so far.
    fn prompt(&mut self, draft: &str) -> io::Result<()>;

    /// Shows that a turn runs, and no draft.
    fn busy(&mut self) -> io::Result<()>;

    /// Adds lines to the transcript.
    fn say(&mut self, text: &str) -> io::Result<()>;

    /// Sends a control sequence to the terminal.
    fn control(&mut self, sequence: &str) -> io::Result<()> {
        emit(sequence)
    }

    /// Makes room for a program that writes to the terminal itself. False if there can be none.
    fn make_room(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    /// Takes note of a key.
    fn key(&mut self, _key: &Key) {}

    /// The terminal has another size.
    fn resized(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Leaves the terminal as a shell wants it.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines without any control of the terminal.
pub(crate) struct Plain {
    /// Whether there is somebody to prompt.
    pub(crate) prompts: bool,
}

impl View for Plain {
    fn prompt(&mut self, _draft: &str) -> io::Result<()> {
        if self.prompts { emit("> ") } else { Ok(()) }
    }

    fn busy(&mut self) -> io::Result<()> {
        if self.prompts { emit("working…\n") } else { Ok(()) }
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        emit(&format!("{text}\n"))
    }
}

/// Rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Size {
    /// The terminal's size. Asked of `stty`, because the ioctl would take unsafe code.
    pub(crate) fn ask() -> Self {
        let answer = raw_command("stty")
            .arg("size")
            .stdin(Stdio::inherit())
            .stderr(Stdio::null())
            .output();
        let text = answer
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        let mut numbers = text
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .filter(|n| *n > 0);
        match (numbers.next(), numbers.next()) {
            (Some(rows), Some(columns)) => Self { rows, columns },
            _ => Self { rows: 24, columns: 80 },
        }
    }
}

/// The rows that show `draft` behind `> ` and `  `, none wider than `columns` less one (so that the terminal never
/// wraps), at most the last `most`.
pub(crate) fn draft_rows(draft: &str, columns: usize, most: usize) -> Vec<String> {
    let width = columns.saturating_sub(3).max(1);
    let mut rows: Vec<String> = Vec::new();
    // From the end, so that a huge draft costs what is shown of it.
    let mut lines = draft.rsplit('\n').peekable();
    while let Some(line) = lines.next() {
        let first = lines.peek().is_none();
        let wrapped = wrap(line, width);
        let count = wrapped.len();
        for (index, row) in wrapped.into_iter().enumerate().rev() {
            let lead = if first && index == 0 { "> " } else { "  " };
            rows.push(format!("{lead}{row}"));
            if rows.len() >= most.max(1) {
                break;
            }
        }
        if rows.len() >= most.max(1) || count == 0 {
            break;
        }
    }
    rows.reverse();
    rows
}

/// Writes all of `text` to the terminal at once.
pub(crate) fn emit(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    for c in line.chars() {
        // A tab or control character in the draft would move the cursor.
        let (c, wide) = c.width().map_or(('·', 1), |wide| (c, wide));
        if used + wide > width {
            rows.push(String::new());
            used = 0;
        }
        used += wide;
        if let Some(row) = rows.last_mut() {
            row.push(c);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_wrapped_and_its_last_rows_are_shown() {
        assert_eq!(draft_rows("", 80, 9), ["> "]);
        assert_eq!(draft_rows("one\ntwo", 80, 9), ["> one", "  two"]);
        assert_eq!(draft_rows("abcdef", 7, 9), ["> abcd", "  ef"]);
        assert_eq!(draft_rows("a\nb\nc\nd", 80, 2), ["  c", "  d"]);
        assert_eq!(draft_rows("日本語", 7, 9), ["> 日本", "  語"]);
        assert_eq!(draft_rows("a\tb", 80, 9), ["> a·b"]);
    }
}
