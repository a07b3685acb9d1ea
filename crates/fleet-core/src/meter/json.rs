//! A reader of JSON that keeps nothing of it: it names each plain value by its path while the bytes go by.
//!
//! Memory does not grow with the document. Of a key or a text only the beginning is kept, and a document that nests
//! deeper than [`DEEPEST`] is given up. It is no judge of JSON: what is wrong in a way that does not matter passes.

/// How deep a document may nest.
const DEEPEST: usize = 200;
/// How much of a key is kept, in bytes.
const LONGEST_KEY: usize = 64;
/// How much of a text is kept, in bytes.
const LONGEST_TEXT: usize = 256;

/// A plain value of a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Found<'a> {
    /// A text: its beginning, and how many bytes it has.
    Text(&'a str, u64),
    /// A number that is not negative, without its fraction.
    Number(u64),
    /// `true`, `false`, `null`, or another number.
    Other,
}

/// The state between two pieces of a document.
#[derive(Clone, Debug, Default)]
pub(super) struct Scanner {
    state: State,
    levels: Vec<Level>,
    /// The path of the value that is read, such as `usage/input_tokens`; an element of a list is `*`.
    path: String,
    kept: Vec<u8>,
    /// How many bytes the text has so far.
    length: u64,
    /// The digits of `\uXXXX` so far.
    digits: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    is_list: bool,
    /// How long the path of the list or object itself is.
    base: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// A value begins, or a list is empty.
    #[default]
    Value,
    /// A key begins, or an object is empty.
    Key,
    /// The colon behind a key.
    Colon,
    /// A comma, or the end of a list or object.
    Next,
    /// Within a text.
    Text { is_key: bool, escape: Escape },
    /// Within a number or a word.
    Word,
    /// The document is over.
    Over,
    /// It is no document.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    /// Behind a backslash.
    Begun,
    /// Within the digits of `\uXXXX`.
    Digits,
}

impl Scanner {
    /// Forgets the document, for the next one.
    pub(super) fn reset(&mut self) {
        self.state = State::Value;
        self.levels.clear();
        self.path.clear();
    }

    /// Whether the document is over, and was one.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Reads on, and hands each value that ends within `bytes` to `found` with its path.
    pub(super) fn push(&mut self, bytes: &[u8], found: &mut dyn FnMut(&str, Found<'_>)) {
        let mut rest = bytes;
        while let Some((&byte, behind)) = rest.split_first() {
            match self.state {
                State::Over | State::Broken => return,
                State::Text {
                    is_key,
                    escape: Escape::None,
                } => {
                    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'));
                    let (plain, behind) = rest.split_at(end.unwrap_or(rest.len()));
                    self.keep(plain);
                    rest = behind;
                    if let Some((&mark, behind)) = rest.split_first() {
                        rest = behind;
                        match mark {
                            b'\\' => {
                                self.state = State::Text {
                                    is_key,
                                    escape: Escape::Begun,
                                };
                            }
                            _ => self.end_text(is_key, found),
                        }
                    }
                }
                State::Text { is_key, escape } => {
                    self.escaped(is_key, escape, byte);
                    rest = behind;
                }
                State::Word if !is_word(byte) => {
                    // The byte behind a word belongs to what is around it.
                    self.end_word(found);
                }
                State::Word => {
                    self.keep(&[byte]);
                    rest = behind;
                }
                _ if byte.is_ascii_whitespace() => rest = behind,
                state => {
                    self.step(state, byte);
                    rest = behind;
                }
            }
        }
    }

    /// The document has no more bytes: a number at its very end is complete now.
    pub(super) fn end(&mut self, found: &mut dyn FnMut(&str, Found<'_>)) {
        if self.state == State::Word {
            self.end_word(found);
        }
    }

    fn step(&mut self, state: State, byte: u8) {
        self.state = match (state, byte) {
            (State::Value, b'{') => self.open(false),
            (State::Value, b'[') => self.open(true),
            (State::Value, b'"') => self.begin_text(false),
            (State::Value, b']') => self.close(true),
            (State::Value, byte) if is_word(byte) => {
                self.kept.clear();
                self.kept.push(byte);
                State::Word
            }
            (State::Key, b'"') => self.begin_text(true),
            (State::Key, b'}') => self.close(false),
            (State::Colon, b':') => State::Value,
            (State::Next, b',') => match self.levels.last() {
                Some(level) if level.is_list => State::Value,
                Some(_) => State::Key,
                None => State::Broken,
            },
            (State::Next, b']') => self.close(true),
            (State::Next, b'}') => self.close(false),
            _ => State::Broken,
        };
    }

    fn open(&mut self, is_list: bool) -> State {
        if self.levels.len() >= DEEPEST {
            return State::Broken;
        }
        self.levels.push(Level {
            is_list,
            base: self.path.len(),
        });
        match is_list {
            true => {
                self.enter("*");
                State::Value
            }
            false => State::Key,
        }
    }

    fn close(&mut self, is_list: bool) -> State {
        match self.levels.pop() {
            Some(level) if level.is_list == is_list => {
                self.path.truncate(level.base);
                self.after_value()
            }
            _ => State::Broken,
        }
    }

    fn after_value(&self) -> State {
        match self.levels.is_empty() {
            true => State::Over,
            false => State::Next,
        }
    }

    fn begin_text(&mut self, is_key: bool) -> State {
        self.kept.clear();
        self.length = 0;
        State::Text {
            is_key,
            escape: Escape::None,
        }
    }

    fn end_text(&mut self, is_key: bool, found: &mut dyn FnMut(&str, Found<'_>)) {
        let kept = std::mem::take(&mut self.kept);
        if is_key {
            let key = String::from_utf8_lossy(&kept[..kept.len().min(LONGEST_KEY)]).replace('/', "\u{0}");
            if let Some(level) = self.levels.last() {
                self.path.truncate(level.base);
            }
            self.enter(&key);
            self.state = State::Colon;
        } else {
            found(&self.path, Found::Text(&String::from_utf8_lossy(&kept), self.length));
            self.state = self.after_value();
        }
        self.kept = kept;
    }

    fn end_word(&mut self, found: &mut dyn FnMut(&str, Found<'_>)) {
        let word = std::str::from_utf8(&self.kept).unwrap_or_default();
        let whole = word.parse().ok();
        let rounded = || word.parse::<f64>().ok().filter(|number| *number >= 0.0);
        let number = whole.or_else(|| rounded().map(|number| number as u64));
        found(&self.path, number.map_or(Found::Other, Found::Number));
        self.state = self.after_value();
    }

    fn escaped(&mut self, is_key: bool, escape: Escape, byte: u8) {
        let next = |escape| State::Text { is_key, escape };
        if escape == Escape::Begun && byte == b'u' {
            self.digits.clear();
            self.state = next(Escape::Digits);
            return;
        }
        if escape == Escape::Digits {
            self.digits.push(byte);
            if self.digits.len() < 4 {
                return;
            }
            let code = std::str::from_utf8(&self.digits).ok();
            let code = code.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let letter = code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
            self.keep(letter.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            let byte = match byte {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'b' => 8,
                b'f' => 12,
                other => other,
            };
            self.keep(&[byte]);
        }
        self.state = next(Escape::None);
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len() as u64);
        let room = LONGEST_TEXT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn enter(&mut self, name: &str) {
        if !self.path.is_empty() {
            self.path.push('/');
        }
        self.path.push_str(name);
    }
}

/// Whether it belongs to a number or to `true`, `false`, `null`.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, size: usize) -> (Vec<String>, bool) {
        let mut scanner = Scanner::default();
        let mut all = Vec::new();
        let mut note = |path: &str, found: Found<'_>| all.push(format!("{path}={found:?}"));
        for chunk in text.as_bytes().chunks(size) {
            scanner.push(chunk, &mut note);
        }
        scanner.end(&mut note);
        (all, scanner.is_over())
    }

    #[test]
    fn each_value_is_named_by_its_path_wherever_the_text_is_cut() {
        let text = r#" {"a": {"b\/c": 12, "d": [1.9, {"e": "x\u00e4\n"}, []]}, "f": null, "g": -1, "h": {}} "#;
        let wanted = [
            "a/b\u{0}c=Number(12)",
            "a/d/*=Number(1)",
            "a/d/*/e=Text(\"xä\\n\", 4)",
            "f=Other",
            "g=Other",
        ];
        for size in 1..text.len() {
            assert_eq!(read(text, size), (wanted.map(str::to_owned).to_vec(), true), "{size}");
        }
    }

    #[test]
    fn a_list_of_documents_is_one_document_and_a_bare_value_too() {
        assert_eq!(read(r#"[{"a":1},{"a":2}]"#, 3).0, ["*/a=Number(1)", "*/a=Number(2)"]);
        assert_eq!(read("7", 1), (vec!["=Number(7)".to_owned()], true));
    }

    #[test]
    fn what_is_no_document_is_never_over_and_memory_is_bounded() {
        for text in ["", "{", "{\"a\" 1}", "]", "{]", "\"cut", &"[".repeat(100_000)] {
            assert!(!read(text, 7).1, "{text:.20}");
        }
        let long = format!("{{\"{}\": \"{}\"}}", "k".repeat(100_000), "v".repeat(100_000));
        let mut scanner = Scanner::default();
        let mut length = 0;
        scanner.push(long.as_bytes(), &mut |path, found| {
            assert!(path.len() <= LONGEST_KEY);
            if let Found::Text(start, bytes) = found {
                assert_eq!(start.len(), LONGEST_TEXT);
                length = bytes;
            }
        });
        assert_eq!(length, 100_000);
    }
}
