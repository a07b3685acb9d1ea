//! What a program writes to its standard error, as lines: to be shown, and to say why it failed.

use std::collections::VecDeque;

use super::{plain, short};

/// How many lines are kept for the reason of a failure.
const KEPT: usize = 5;
/// A longer line is cut into several.
const LONGEST: usize = 4 * 1024;

/// Reads one process's standard error.
#[derive(Debug, Default)]
pub struct Errors {
    begun: Vec<u8>,
    last: VecDeque<String>,
}

impl Errors {
    /// The whole lines in the next bytes, fit for a terminal; empty ones are left out.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            for part in piece.chunks(LONGEST) {
                if self.begun.len() + part.len() > LONGEST {
                    lines.extend(self.line());
                }
                self.begun.extend_from_slice(part);
            }
            if piece.ends_with(b"\n") {
                lines.extend(self.line());
            }
        }
        lines
    }

    /// The line that has no end, when nothing more comes.
    pub fn finish(&mut self) -> Option<String> {
        self.line()
    }

    /// The last lines, on one.
    pub fn last(&self) -> String {
        self.last.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }

    fn line(&mut self) -> Option<String> {
        let line = plain(&String::from_utf8_lossy(&std::mem::take(&mut self.begun)));
        let line = line.trim_end();
        if line.trim().is_empty() {
            return None;
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(short(line));
        Some(line.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_wherever_they_are_cut_and_the_last_are_kept() {
        let text = b"one\r\n\n\x1b[31mtwo\x1b[0m\nthree\nfour\nfive\nsix\nhalf";
        for size in [1, 3, 100] {
            let mut errors = Errors::default();
            let mut lines: Vec<String> = text.chunks(size).flat_map(|part| errors.feed(part)).collect();
            lines.extend(errors.finish());
            assert_eq!(lines, ["one", "two", "three", "four", "five", "six", "half"]);
            assert_eq!(errors.last(), "three | four | five | six | half");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_room() {
        let mut errors = Errors::default();
        let mut bytes = 0;
        for _ in 0..100 {
            bytes += errors.feed(&[b'x'; 10_000]).iter().map(String::len).sum::<usize>();
            assert!(errors.begun.capacity() <= 2 * LONGEST);
        }
        bytes += errors.finish().map_or(0, |line| line.len());
        assert_eq!(bytes, 1_000_000);
        assert!(errors.last().len() < 2_000);
    }
}
