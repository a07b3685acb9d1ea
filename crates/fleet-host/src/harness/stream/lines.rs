//! Cuts a stream of bytes into lines, in bounded memory, and saves what can be saved of a line that is too long.

use serde_json::Value;

/// The longest line that is read whole, in bytes. Of a longer one the beginning is looked at.
pub const LONGEST_LINE: usize = 4 * 1024 * 1024;

/// How much of a longer line is kept: the fields that tell its kind come first in all five programs.
const HEAD: usize = 64 * 1024;

/// One line, without its end.
pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    Long { head: &'a [u8], bytes: u64 },
}

#[derive(Default)]
pub(super) struct Lines {
    /// The line so far; once it is too long, its head.
    begun: Vec<u8>,
    /// The length so far of a line that is too long; otherwise 0.
    long: u64,
}

impl Lines {
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(Line<'_>)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (part, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if self.begun.is_empty() && self.long == 0 && part.len() <= LONGEST_LINE {
                line(Line::Whole(part));
                continue;
            }
            self.keep(part);
            if let Some(whole) = self.rest() {
                line(whole);
            }
            // A line of megabytes is rare, and its room is not kept for the next one.
            if self.begun.capacity() > HEAD {
                self.begun = Vec::new();
            }
            self.begun.clear();
            self.long = 0;
        }
        self.keep(bytes);
    }

    /// The line that has begun and has no end yet.
    pub(super) fn rest(&self) -> Option<Line<'_>> {
        match (self.long, self.begun.is_empty()) {
            (0, true) => None,
            (0, false) => Some(Line::Whole(&self.begun)),
            (bytes, _) => Some(Line::Long {
                head: &self.begun,
                bytes,
            }),
        }
    }

    fn keep(&mut self, part: &[u8]) {
        if self.long > 0 {
            self.long += part.len() as u64;
        } else if self.begun.len() + part.len() > LONGEST_LINE {
            self.long = (self.begun.len() + part.len()) as u64;
            let room = HEAD.saturating_sub(self.begun.len()).min(part.len());
            self.begun.extend_from_slice(&part[..room]);
            self.begun.truncate(HEAD);
            self.begun.shrink_to_fit();
        } else {
            self.begun.extend_from_slice(part);
        }
    }
}

/// The fields of a JSON object that are whole in its head, those of objects within it left out where they are not.
pub(super) fn fields_of_head(head: &[u8]) -> Option<Value> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut whole = None;
    for (at, &byte) in head.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => whole = Some(at),
            _ => {}
        }
    }
    let mut closed = head.get(..whole?)?.to_vec();
    closed.push(b'}');
    serde_json::from_slice(&closed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_counted_and_only_its_head_is_kept() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let begin = b"{\"type\":\"result\",\"x\":\"";
        lines.feed(begin, |_| seen.push(0));
        for _ in 0..50 {
            lines.feed(&vec![b'x'; 1024 * 1024], |_| seen.push(0));
            assert!(lines.begun.capacity() <= LONGEST_LINE * 2);
        }
        lines.feed(b"\"}\nnext\n", |line| match line {
            Line::Long { head, bytes } => {
                assert_eq!(head.len(), HEAD);
                seen.push(bytes);
            }
            Line::Whole(line) => {
                assert_eq!(line, b"next");
                seen.push(1);
            }
        });
        assert_eq!(seen, [50 * 1024 * 1024 + begin.len() as u64 + 2, 1]);
        assert!(lines.rest().is_none());
    }

    #[test]
    fn the_whole_fields_of_a_head_are_read() {
        let fields = |head: &str| fields_of_head(head.as_bytes()).map(|value| value.to_string());
        assert_eq!(
            fields(r#"{"type":"a,b","n":{"x":[1,2]},"text":"cut o"#).as_deref(),
            Some(r#"{"n":{"x":[1,2]},"type":"a,b"}"#)
        );
        assert_eq!(fields(r#"{"type":"x"#), None);
        assert_eq!(fields("]]]]{,"), None);
        assert_eq!(fields(""), None);
    }
}
