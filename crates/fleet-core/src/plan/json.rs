//! Reads JSON as people write it: everything that is wrong is noted with its place, and reading goes on where it can.
//!
//! Comments, trailing commas, missing commas, doubled keys and numbers that are none are noted and skipped, so that one
//! mistake does not hide the next. What is left of such a value is [`Value::Bad`], about which nobody complains again.

use std::collections::BTreeMap;

use super::rule::{Findings, Rule, quoted};

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) value: Value,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Object(BTreeMap<String, Member>),
    /// It could not be read, and that was noted.
    Bad,
}

/// A key's value.
#[derive(Debug)]
pub(super) struct Member {
    /// Where the key begins.
    pub(super) key_at: usize,
    pub(super) node: Node,
}

/// The deepest nesting that is read: it bounds the stack.
const DEEPEST: usize = 32;

/// The value that `text` is, or none where it cannot be followed to its end; then the reason is noted last.
pub(super) fn read(text: &str, findings: &mut Findings) -> Option<Node> {
    let mut reader = Reader { text, at: 0, findings };
    if text.starts_with('\u{feff}') {
        let _ = reader.note(Rule::ByteOrderMark, 0, "the text begins with a byte order mark");
        reader.at = '\u{feff}'.len_utf8();
    }
    let node = reader.value(0).ok()?;
    reader.skip().ok()?;
    if reader.at < text.len() {
        let _ = reader.syntax("there is more text behind the end of the object");
    }
    Some(node)
}

/// The line and the character in it, both from 1, of each byte of `places`, which are in ascending order.
///
/// One walk over the text for all of them: it may be one long line with a finding at every word.
pub(crate) fn positions(text: &str, places: impl Iterator<Item = usize>) -> Vec<(u32, u32)> {
    let (mut line, mut column, mut from) = (1, 1, 0);
    places
        .map(|place| {
            let mut to = place.clamp(from, text.len());
            while !text.is_char_boundary(to) {
                to += 1;
            }
            for c in text[from..to].chars() {
                match c {
                    '\n' => (line, column) = (line + 1, 1),
                    _ => column += 1,
                }
            }
            from = to;
            (line, column)
        })
        .collect()
}

/// Nothing more can be read; why was noted.
struct Lost;

type Read<T> = Result<T, Lost>;

struct Reader<'a> {
    text: &'a str,
    at: usize,
    findings: &'a mut Findings,
}

impl Reader<'_> {
    fn note(&mut self, rule: Rule, at: usize, message: impl Into<String>) -> super::rule::Note<'_> {
        self.findings.add(rule, "", message).at(at)
    }

    fn syntax(&mut self, message: impl Into<String>) -> Lost {
        let at = self.at;
        let _ = self.note(Rule::Syntax, at, message);
        Lost
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// Blank space and comments.
    fn skip(&mut self) -> Read<()> {
        loop {
            let rest = &self.text[self.at..];
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
            self.at += blank;
            let rest = &rest[blank..];
            let end = if rest.starts_with("//") || rest.starts_with('#') {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                match rest.find("*/") {
                    Some(end) => end + 2,
                    None => return Err(self.syntax("a comment has no end")),
                }
            } else {
                return Ok(());
            };
            let at = self.at;
            let _ = self.note(Rule::Comment, at, "there is a comment");
            self.at += end;
        }
    }

    fn value(&mut self, depth: usize) -> Read<Node> {
        self.skip()?;
        let at = self.at;
        if depth > DEEPEST {
            let _ = self.note(
                Rule::TooDeep,
                at,
                format!("more than {DEEPEST} levels of objects and lists"),
            );
            return Err(Lost);
        }
        let value = match self.peek() {
            None => return Err(self.syntax("the text ends where a value should be")),
            Some('{') => self.object(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Value::Text(self.string()?),
            Some('\'') => return Err(self.syntax("a text stands between single quotes; JSON has double ones")),
            Some(c) if c.is_alphanumeric() || "+-._".contains(c) => self.word(),
            Some(c) => return Err(self.syntax(format!("`{c}` where a value should be"))),
        };
        Ok(Node { at, value })
    }

    fn object(&mut self, depth: usize) -> Read<Value> {
        let mut members = BTreeMap::new();
        self.at += 1;
        loop {
            self.skip()?;
            let key_at = self.at;
            match self.peek() {
                Some('}') => break,
                Some('"') => {}
                Some(',') => {
                    let _ = self.syntax("a comma with nothing before it");
                    self.at += 1;
                    continue;
                }
                None => return Err(self.syntax("an object has no end: a `}` is missing")),
                Some(_) => return Err(self.syntax("a key must stand between double quotes")),
            }
            let key = self.string()?;
            self.skip()?;
            if self.peek() != Some(':') {
                return Err(self.syntax(format!("there is no `:` behind the key {}", quoted(&key))));
            }
            self.at += 1;
            let node = self.value(depth + 1)?;
            if members.contains_key(&key) {
                let _ = self.note(
                    Rule::DuplicateKey,
                    key_at,
                    format!("the key {} stands twice in one object", quoted(&key)),
                );
            }
            members.insert(key, Member { key_at, node });
            if self.separated('}')? {
                break;
            }
        }
        self.at += 1;
        Ok(Value::Object(members))
    }

    fn list(&mut self, depth: usize) -> Read<Value> {
        let mut nodes = Vec::new();
        self.at += 1;
        loop {
            self.skip()?;
            match self.peek() {
                Some(']') => break,
                Some(',') => {
                    let _ = self.syntax("a comma with nothing before it");
                    self.at += 1;
                    continue;
                }
                None => return Err(self.syntax("a list has no end: a `]` is missing")),
                Some(_) => nodes.push(self.value(depth + 1)?),
            }
            if self.separated(']')? {
                break;
            }
        }
        self.at += 1;
        Ok(Value::List(nodes))
    }

    /// Goes past what separates two members. True: `end` is next.
    fn separated(&mut self, end: char) -> Read<bool> {
        self.skip()?;
        match self.peek() {
            Some(',') => {
                let comma = self.at;
                self.at += 1;
                self.skip()?;
                if self.peek() == Some(end) {
                    let _ = self
                        .note(Rule::Syntax, comma, format!("a comma before `{end}`"))
                        .hint("take it out");
                    return Ok(true);
                }
                Ok(false)
            }
            Some(c) if c == end => Ok(true),
            None => Err(self.syntax(format!("the text ends before a `{end}`"))),
            // The next member follows at once: what is meant is clear.
            Some('"' | '{' | '[') => {
                let at = self.at;
                let _ = self
                    .note(Rule::Syntax, at, "a comma is missing")
                    .hint("put one before this");
                Ok(false)
            }
            Some(c) => Err(self.syntax(format!("`{c}` where a comma or `{end}` should be"))),
        }
    }

    /// A number or one of the three names; anything else that looks like one is noted.
    fn word(&mut self) -> Value {
        let at = self.at;
        let rest = &self.text[at..];
        let length = rest
            .find(|c: char| !(c.is_alphanumeric() || "+-._".contains(c)))
            .unwrap_or(rest.len());
        let word = &rest[..length];
        self.at += length;
        match word {
            "null" => return Value::Null,
            "true" | "false" => return Value::Bool(word == "true"),
            _ => {}
        }
        match word.parse::<f64>() {
            Ok(number) if is_number(word) && number.is_finite() => Value::Number(number),
            Ok(_) => {
                let _ = self.note(Rule::NotANumber, at, format!("{} is no number of JSON", quoted(word)));
                Value::Bad
            }
            Err(_) if word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') => {
                let _ = self.note(Rule::NotANumber, at, format!("{} is no number of JSON", quoted(word)));
                Value::Bad
            }
            Err(_) => {
                let _ = self
                    .note(Rule::Syntax, at, format!("{} is no value", quoted(word)))
                    .hint(format!(
                        "put it between double quotes: \"{}\"",
                        quoted(word).trim_matches('`')
                    ));
                Value::Bad
            }
        }
    }

    fn string(&mut self) -> Read<String> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ');
            let Some(length) = plain else {
                self.at = start;
                return Err(self.syntax("a text has no end: a `\"` is missing"));
            };
            text.push_str(&rest[..length]);
            self.at += length;
            match rest.as_bytes()[length] {
                b'"' => {
                    self.at += 1;
                    return Ok(text);
                }
                b'\\' => text.push(self.escape()?),
                b'\n' | b'\r' => {
                    self.at = start;
                    return Err(self.syntax("a text does not end on its line: write a line break as `\\n`"));
                }
                control => {
                    let _ = self.syntax("a text has a control character in it: write it as `\\t` or `\\u0000`");
                    text.push(char::from(control));
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let sign = self.text[self.at + 1..].chars().next();
        let plain = match sign {
            Some('"') => '"',
            Some('\\') => '\\',
            Some('/') => '/',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.code_point(),
            Some(c) => {
                let _ = self.syntax(format!("`\\{c}` means nothing in JSON; a backslash is written `\\\\`"));
                self.at += 1 + c.len_utf8();
                return Ok(c);
            }
            None => return Err(self.syntax("the text ends within an escape")),
        };
        self.at += 2;
        Ok(plain)
    }

    /// `\uXXXX`, or two of them where one half of a character follows the other.
    fn code_point(&mut self) -> Read<char> {
        let unit = |at: usize| {
            let digits = self.text.get(at + 2..at + 6)?;
            let whole = self.text[at..].starts_with("\\u") && digits.chars().all(|c| c.is_ascii_hexdigit());
            whole.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
        };
        let first = unit(self.at);
        let second = first
            .filter(|first| (0xD800..0xDC00).contains(first))
            .and_then(|_| unit(self.at + 6));
        let units: Vec<u16> = first.into_iter().chain(second).collect();
        match char::decode_utf16(units.iter().copied()).next() {
            Some(Ok(c)) => {
                self.at += 6 * c.len_utf16();
                Ok(c)
            }
            _ => {
                let _ = self.syntax("`\\u` wants four hexadecimal digits of a whole character");
                self.at += 2;
                Ok(char::REPLACEMENT_CHARACTER)
            }
        }
    }
}

/// Whether `word`, which reads as a number, is written as JSON has it.
fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let whole = digits.len() - digits.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let rest = &digits[whole..];
    let fraction_has_digits = rest
        .strip_prefix('.')
        .is_none_or(|fraction| fraction.starts_with(|c: char| c.is_ascii_digit()));
    whole > 0 && (whole == 1 || !digits.starts_with('0')) && fraction_has_digits && !word.contains(['n', 'N', 'i', 'I'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn codes(text: &str) -> Vec<&'static str> {
        let mut findings = Findings::default();
        let _ = read(text, &mut findings);
        findings
            .into_list()
            .into_iter()
            .map(|found| found.finding.code)
            .collect()
    }

    #[test]
    fn what_is_wrong_is_noted_and_reading_goes_on() {
        for (text, wanted) in [
            ("{}", vec![]),
            (r#"{"a": [1, -0.5, 1e3, true, null, "x\né😀"]}"#, vec![]),
            ("\u{feff}{}", vec!["P002"]),
            ("// a\n{ /* b */ \"a\": 1 # c\n}", vec!["P003", "P003", "P003"]),
            (
                r#"{"a": 1, "a": 2, "b": NaN, "c": -Infinity}"#,
                vec!["P004", "P005", "P005"],
            ),
            (
                r#"{"a": +1, "b": 01, "c": .5, "d": 1., "e": 0x10, "f": 1e999}"#,
                vec!["P005"; 6],
            ),
            (r#"{"a": 1,}"#, vec!["P001"]),
            (r#"{"a": [1,], "b": 2 "c": 3}"#, vec!["P001", "P001"]),
            (r#"{"a": yes}"#, vec!["P001"]),
            ("{'a': 1}", vec!["P001"]),
            ("{a: 1}", vec!["P001"]),
            (r#"{"a": 1"#, vec!["P001"]),
            (r#"{"a": "x"#, vec!["P001"]),
            ("{\"a\": \"x\ny\"}", vec!["P001"]),
            ("{\"a\": \"x\ty\"}", vec!["P001"]),
            (r#"{"a": "\q \ud800 \u12"}"#, vec!["P001", "P001", "P001"]),
            ("{} {}", vec!["P001"]),
            ("", vec!["P001"]),
            ("/* a", vec!["P001"]),
            (&"[".repeat(100_000), vec!["P006"]),
        ] {
            assert_eq!(codes(text), wanted, "{}", quoted(text));
        }
    }

    #[test]
    fn escapes_are_read() {
        let node = read(r#""a\"\\\/\n\u00e9\ud83d\ude00""#, &mut Findings::default()).expect("a value");
        assert!(matches!(node.value, Value::Text(text) if text == "a\"\\/\né😀"));
    }

    #[test]
    fn places_are_lines_and_characters() {
        let text = "é\n  x";
        assert_eq!(
            positions(text, [0, 3, 5, 6, 99].into_iter()),
            [(1, 1), (2, 1), (2, 3), (2, 4), (2, 4)]
        );
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd_to_be_read(text in r#"([{}\[\],:"'\\/*#a-z0-9.+ \nu-]|é|😀|\PC)*"#) {
            let _ = codes(&text);
        }

        #[test]
        fn what_another_reader_takes_is_taken_without_a_finding(text in r#"[\[\]{},:"a-c0-3 .-]{0,24}"#) {
            // A doubled key is the one thing that others let pass.
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                prop_assert!(codes(&text).iter().all(|code| *code == "P004"));
            } else {
                prop_assert!(!codes(&text).is_empty());
            }
        }
    }
}
