//! Lines of tmux's command language that carry any bytes unharmed.

use std::fmt::Write;

/// One command with its words, for `source-file -`.
#[derive(Debug)]
pub(super) struct Line(String);

impl Line {
    pub(super) fn new(command: &str) -> Line {
        Line(command.to_owned())
    }

    pub(super) fn word(mut self, word: impl AsRef<[u8]>) -> Line {
        self.0.push(' ');
        quote(&mut self.0, word.as_ref());
        self
    }

    pub(super) fn option(self, name: &str, value: impl AsRef<[u8]>) -> Line {
        self.word(name).word(value)
    }

    pub(super) fn end(mut self) -> String {
        self.0.push('\n');
        self.0
    }
}

/// Every byte that could mean something is written as its octal number: one rule instead of tmux's several.
fn quote(out: &mut String, word: &[u8]) {
    out.push('"');
    for byte in word {
        if byte.is_ascii_alphanumeric() || b"-_/.,=+".contains(byte) {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "\\{byte:03o}");
        }
    }
    out.push('"');
}

/// `text` for an option that tmux expands as a format, such that it comes out as it was: there `#(…)` would run
/// a shell. tmux makes one `#` of two, but leaves all of them before a `[`.
pub(super) fn without_formats(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if *first != b'#' {
            out.push(*first);
            rest = tail;
            continue;
        }
        let count = rest.iter().take_while(|byte| **byte == b'#').count();
        let doubled = if rest.get(count) == Some(&b'[') {
            count
        } else {
            2 * count
        };
        out.resize(out.len() + doubled, b'#');
        rest = &rest[count..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mean_something_is_written_as_a_number() {
        let line = Line::new("new-session").option("-s", "a b").word("x;\n\"$~#\\é").end();
        assert_eq!(
            line,
            "new-session \"-s\" \"a\\040b\" \"x\\073\\012\\042\\044\\176\\043\\134\\303\\251\"\n"
        );
    }

    #[test]
    fn formats_are_defused() {
        assert_eq!(without_formats(b"#(x) ##{y} #[z ##[z #"), b"##(x) ####{y} #[z ##[z ##");
    }
}
