//! YAML as people and models write it, read into values with their places.
//!
//! One document of maps, lists and scalars, of bounded size, depth and count. What lets a short text mean a long one, or
//! something other than it says, is refused: anchors, aliases, tags, directives, doubled keys. A scalar stays the text
//! that it is; what it means is for whoever knows what should stand there, so that `commits: [1e10]` names a commit.

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle};

use crate::plan::rule::quoted;

/// The longest text that is read, in bytes.
pub const LONGEST: usize = 64 * 1024;

/// The deepest nesting of maps and lists that is read.
const DEEPEST: usize = 32;

/// The most values that one text may hold.
const MOST: usize = 10_000;

/// A value and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The byte at which it begins.
    pub at: usize,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text, a number, a truth or nothing.
    Scalar {
        /// As it stands there, escapes and line breaks resolved.
        text: String,
        /// Whether it is a text in any case: it stands between quotes, or as a block.
        quoted: bool,
    },
    /// Values in order.
    List(Vec<Node>),
    /// Keys and values in order, each key once.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The byte at which it begins.
    pub at: usize,
    /// Its value.
    pub node: Node,
}

/// Why a text is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The byte at which it shows.
    pub at: usize,
    /// What kind of reason it is.
    pub kind: FaultKind,
    /// The reason.
    pub message: String,
}

/// The kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It is no YAML.
    Syntax,
    /// A tab stands where YAML has none.
    Tab,
    /// It has an anchor, an alias, a tag or a directive.
    Reference,
    /// It is too long, too deep, or holds too many values.
    TooLarge,
    /// A key stands twice in one map.
    DuplicateKey,
}

/// The value that `text` is. A text without one is an empty scalar. Error: the first thing that keeps it from being read.
pub fn read(text: &str) -> Result<Node, Fault> {
    if text.len() > LONGEST {
        let message = format!("{} bytes, and at most {LONGEST} are read", text.len());
        return Err(Fault::new(LONGEST, FaultKind::TooLarge, message));
    }
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| fault(text, &error))?;
        let at = span.start.byte_offset().unwrap_or_default();
        builder.take(event, at)?;
    }
    Ok(builder.whole.unwrap_or(Node {
        at: 0,
        value: Value::Scalar {
            text: String::new(),
            quoted: false,
        },
    }))
}

/// `text` as a scalar of YAML on one line: plain where every reader takes it for this text, else between double quotes.
///
/// It never holds `<` or `>` where that could begin or end a comment of HTML.
pub fn scalar(text: &str) -> String {
    const OTHERWISE: &[&str] = &["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !text.contains("--")
        && !OTHERWISE.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    let marks = text.contains("--");
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '<' | '>' if marks => quoted.push_str(&format!("\\x{:02X}", u32::from(c))),
            ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202f}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' => quoted.push(c),
            '\u{10000}'.. => quoted.push(c),
            other if u32::from(other) <= 0xff => quoted.push_str(&format!("\\x{:02X}", u32::from(other))),
            other => quoted.push_str(&format!("\\u{:04X}", u32::from(other))),
        }
    }
    quoted.push('"');
    quoted
}

impl Node {
    /// Whether it is nothing: no text, `~` or `null`.
    pub fn is_null(&self) -> bool {
        let Value::Scalar { text, quoted: false } = &self.value else {
            return false;
        };
        matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a scalar",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// Moves every place in it by `by` bytes.
    pub(crate) fn shift(&mut self, by: usize) {
        self.at += by;
        match &mut self.value {
            Value::Scalar { .. } => {}
            Value::List(nodes) => nodes.iter_mut().for_each(|node| node.shift(by)),
            Value::Map(entries) => entries.iter_mut().for_each(|entry| {
                entry.at += by;
                entry.node.shift(by);
            }),
        }
    }
}

impl Fault {
    fn new(at: usize, kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault {
            at,
            kind,
            message: message.into(),
        }
    }
}

fn fault(text: &str, error: &granit_parser::ScanError) -> Fault {
    let at = error.marker().byte_offset().unwrap_or(text.len());
    let kind = match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar => FaultKind::Tab,
        ErrorKind::DirectiveDisallowed => FaultKind::Reference,
        ErrorKind::RecursionLimitExceeded => FaultKind::TooLarge,
        _ => FaultKind::Syntax,
    };
    Fault::new(at, kind, error.info())
}

/// Makes values of events. Its stack is on the heap, and bounded by the parser's own limits on nesting.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    whole: Option<Node>,
    count: usize,
}

/// A list or map that has not ended.
struct Open {
    at: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<(String, usize)>),
}

impl Builder {
    fn take(&mut self, event: Event<'_>, at: usize) -> Result<(), Fault> {
        let refuse = |what: &str| Err(Fault::new(at, FaultKind::Reference, format!("there is {what}")));
        if event.tag().is_some() {
            return refuse("a tag");
        }
        if event.anchor_id().is_some_and(|id| id > 0) {
            return refuse("an anchor");
        }
        match event {
            Event::Alias(_) | Event::UnresolvedAlias(_) => refuse("an alias"),
            Event::DocumentStart(..) if self.whole.is_some() => {
                Err(Fault::new(at, FaultKind::Syntax, "there is a second document"))
            }
            Event::Scalar(text, style, ..) => {
                let value = Value::Scalar {
                    text: text.into_owned(),
                    quoted: style != ScalarStyle::Plain,
                };
                self.add(Node { at, value })
            }
            Event::SequenceStart(..) => self.begin(at, OpenKind::List(Vec::new())),
            Event::MappingStart(..) => self.begin(at, OpenKind::Map(Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.add(open.close()?),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, at: usize, kind: OpenKind) -> Result<(), Fault> {
        if let Some(Open {
            kind: OpenKind::Map(_, None),
            ..
        }) = self.open.last()
        {
            return Err(Fault::new(at, FaultKind::Syntax, "a key is a list or a map"));
        }
        if self.open.len() >= DEEPEST {
            let message = format!("more than {DEEPEST} levels of maps and lists");
            return Err(Fault::new(at, FaultKind::TooLarge, message));
        }
        self.open.push(Open { at, kind });
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), Fault> {
        self.count += 1;
        if self.count > MOST {
            let message = format!("more than {MOST} values");
            return Err(Fault::new(node.at, FaultKind::TooLarge, message));
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.whole = Some(node),
            Some(OpenKind::List(nodes)) => nodes.push(node),
            Some(OpenKind::Map(entries, key)) => match (key.take(), node) {
                (Some((key, at)), node) => entries.push(Entry { key, at, node }),
                (None, Node { at, value }) => {
                    let Value::Scalar { text, .. } = value else {
                        return Err(Fault::new(at, FaultKind::Syntax, "a key is a list or a map"));
                    };
                    *key = Some((text, at));
                }
            },
        }
        Ok(())
    }
}

impl Open {
    fn close(self) -> Result<Node, Fault> {
        let value = match self.kind {
            OpenKind::List(nodes) => Value::List(nodes),
            OpenKind::Map(entries, _) => {
                let mut keys: Vec<(&str, usize)> = entries.iter().map(|entry| (entry.key.as_str(), entry.at)).collect();
                keys.sort_unstable();
                if let Some([_, (key, at)]) = keys.array_windows().find(|[first, second]| first.0 == second.0) {
                    let message = format!("the key {} stands twice in one map", quoted(key));
                    return Err(Fault::new(*at, FaultKind::DuplicateKey, message));
                }
                Value::Map(entries)
            }
        };
        Ok(Node { at: self.at, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(node: &Node) -> String {
        match &node.value {
            _ if node.is_null() => "null".to_owned(),
            Value::Scalar { text, quoted: true } => format!("{text:?}"),
            Value::Scalar { text, quoted: false } => text.clone(),
            Value::List(nodes) => format!("[{}]", nodes.iter().map(shown).collect::<Vec<_>>().join(", ")),
            Value::Map(entries) => {
                let entry = |entry: &Entry| format!("{}: {}", entry.key, shown(&entry.node));
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn refused(text: &str) -> FaultKind {
        read(text).expect_err(text).kind
    }

    #[test]
    fn maps_lists_and_scalars_are_read_however_they_are_written() {
        for (text, wanted) in [
            ("", "null"),
            ("a: 1\nb:\n  - x\n  - \"1\"\n", "{a: 1, b: [x, \"1\"]}"),
            ("a: 1\r\nb:\r\n- x\r\n", "{a: 1, b: [x]}"),
            ("{a: [1e10, ~], b: {}}", "{a: [1e10, null], b: {}}"),
            ("a:\t1\t# a remark\n", "{a: 1}"),
            ("a: |\n  one\n  two\n", "{a: \"one\\ntwo\\n\"}"),
            ("a: 'it''s'\n", "{a: \"it's\"}"),
            ("---\na: 1\n...\n", "{a: 1}"),
        ] {
            assert_eq!(read(text).map(|node| shown(&node)), Ok(wanted.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn what_makes_a_short_text_mean_a_long_one_is_refused() {
        assert_eq!(refused("a: &x [1]\nb: [*x, *x]"), FaultKind::Reference);
        assert_eq!(refused("a: *nobody"), FaultKind::Reference);
        assert_eq!(refused("a: !!python/object x"), FaultKind::Reference);
        assert_eq!(refused("%YAML 1.2\n---\na: 1"), FaultKind::Reference);
        assert_eq!(refused(&"[".repeat(10_000)), FaultKind::TooLarge);
        assert_eq!(refused(&"- ".repeat(10_000)), FaultKind::TooLarge);
        assert_eq!(refused(&"-\n".repeat(20_000)), FaultKind::TooLarge);
        assert_eq!(refused(&"x".repeat(LONGEST + 1)), FaultKind::TooLarge);
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_place() {
        assert_eq!(refused("a: 1\n\tb: 2"), FaultKind::Tab);
        assert_eq!(refused("a: 1\na: 2"), FaultKind::DuplicateKey);
        assert_eq!(refused("? [a]\n: 1"), FaultKind::Syntax);
        assert_eq!(refused("a: 1\n---\nb: 2"), FaultKind::Syntax);
        assert_eq!(read("a: [1").expect_err("no end").at, 3);
        assert_eq!(read("a: 1\nb: 2\na: 3").expect_err("doubled").at, 10);
    }

    #[test]
    fn a_scalar_is_plain_only_where_nobody_reads_it_otherwise() {
        for (text, wanted) in [
            ("VB-20260404-042", "VB-20260404-042"),
            ("yes", "\"yes\""),
            ("1e10", "\"1e10\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("a\n\u{7}é", "\"a\\n\\x07é\""),
            ("a > b", "\"a > b\""),
            ("--> <!-- x", "\"--\\x3E \\x3C!-- x\""),
            ("\u{feff}\u{2028}", "\"\\uFEFF\\u2028\""),
        ] {
            assert_eq!(scalar(text), wanted);
        }
    }

    proptest! {
        #[test]
        fn a_scalar_reads_back_as_its_text(text in "\\PC*|[a-z<>!\\-\"\\\\ :#\\n\\t\\r\u{0}\u{85}]{0,20}") {
            let node = read(&scalar(&text)).expect("a scalar");
            let Value::Scalar { text: back, .. } = node.value else { panic!("no scalar") };
            prop_assert_eq!(back, text);
        }

        #[test]
        fn no_text_is_too_odd(text in "[\\[\\]{},:\"'|>&*!%#@?a-c0-9 \\n\\t-]{0,200}|\\PC*") {
            let _ = read(&text);
        }
    }
}
