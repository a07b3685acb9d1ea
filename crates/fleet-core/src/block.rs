//! Marked blocks: `<!-- MARK`, YAML, `-->`, in any text. They carry contracts and reports between programs.
//!
//! - [`is_there`] tells whether a text has a block; `find` takes the one that counts, and notes what is odd about it.
//! - [`rule`] is the table of what can be wrong; `keys` reads a map, [`crate::yaml`] the YAML.
//! - `write` makes a block of a `tree`.
//!
//! A text is walked once, whatever is in it. A block in a code fence counts only where none stands outside of one: a text
//! that explains a contract and carries another one carries the other one.

pub(crate) mod keys;
pub mod rule;
pub(crate) mod tree;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use self::keys::Keys;
use self::rule::{Findings, Rule};
use self::tree::Tree;
use crate::yaml::{self, FaultKind, Node};

/// The word that a block begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(&'static str);

impl Mark {
    /// What a session may spend, and what it is for.
    pub const CONTRACT: Mark = Mark("VIBE_SESSION_CONTRACT");
    /// What a session did and spent.
    pub const REPORT: Mark = Mark("FLEET_SESSION_REPORT");
    /// What a crew did for its task.
    pub const CREW: Mark = Mark("FLEET_REPORT");

    const ALL: &[Mark] = &[Mark::CONTRACT, Mark::REPORT, Mark::CREW];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

const BEGIN: &str = "<!--";
const END: &str = "-->";

/// The version of contracts and reports that fleet reads and writes.
pub const VERSION: u32 = 1;

/// A block as it stands in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block<'a> {
    /// The byte at which it begins.
    at: usize,
    /// The byte at which its YAML begins.
    body_at: usize,
    body: &'a str,
    /// Whether it stands in a code fence.
    fenced: bool,
    /// Whether its end is there.
    whole: bool,
}

/// Whether a block of this mark begins in `text`.
pub fn is_there(text: &str, mark: Mark) -> bool {
    !blocks(text, mark).is_empty()
}

/// Every block of this mark that counts in `text`, from its beginning to its end, or to that of the text where it has none.
pub(crate) fn each(text: &str, mark: Mark) -> Vec<&str> {
    let all = blocks(text, mark);
    let has_plain = all.iter().any(|block| !block.fenced);
    let counting = all.iter().filter(|block| !(block.fenced && has_plain));
    let whole = |block: &Block<'_>| {
        let body_ends = block.body_at + block.body.len();
        block.at..body_ends + if block.whole { END.len() } else { 0 }
    };
    counting.map(|block| &text[whole(block)]).collect()
}

/// The block of this mark that counts in `text`, read. None: there is none, or it cannot be read; why is noted.
pub(crate) fn find(text: &str, mark: Mark, findings: &mut Findings) -> Option<Node> {
    let all = blocks(text, mark);
    let fenced = all.iter().find(|block| block.fenced);
    let plain: Vec<Block<'_>> = all.iter().copied().filter(|block| !block.fenced).collect();
    if let Some(block) = fenced {
        let message = match plain.is_empty() {
            true => "the block stands in a code fence",
            false => "a block in a code fence is taken for text",
        };
        findings.add(Rule::Fenced, block.at, "", message);
    }
    let counting = if plain.is_empty() { &all } else { &plain };
    let Some(first) = counting.first() else {
        let name = mark.as_str();
        findings
            .add(Rule::Missing, 0, "", format!("there is no block `{name}`"))
            .hint = format!("one block: `{BEGIN} {name}`, YAML, and `{END}`");
        return None;
    };
    if let Some(cut) = counting.iter().find(|block| !block.whole) {
        findings.add(
            Rule::CutOff,
            cut.at,
            "",
            format!("the block has no end: `{END}` is missing"),
        );
    }
    for block in counting {
        if let Some(inner) = Mark::ALL.iter().find_map(|mark| begin(block.body, *mark)) {
            let at = block.body_at + inner.0;
            findings.add(
                Rule::Nested,
                at,
                "",
                "a block begins before the one around it has ended",
            );
            break;
        }
    }
    if let Some(second) = counting.get(1) {
        match counting.iter().find(|block| block.body.trim() != first.body.trim()) {
            Some(other) => findings.add(Rule::Differ, other.at, "", "a block differs from the first one"),
            None => findings.add(Rule::Doubled, second.at, "", "the block stands there more than once"),
        };
    }
    if findings.has_errors() {
        return None;
    }
    match yaml::read(first.body) {
        Ok(mut node) => {
            node.shift(first.body_at);
            Some(node)
        }
        Err(fault) => {
            let rule = match fault.kind {
                FaultKind::Syntax => Rule::Syntax,
                FaultKind::Tab => Rule::Tab,
                FaultKind::Reference => Rule::Reference,
                FaultKind::TooLarge => Rule::TooLarge,
                FaultKind::DuplicateKey => Rule::DuplicateKey,
            };
            findings.add(rule, first.body_at + fault.at, "", fault.message);
            None
        }
    }
}

/// `text` without its blocks of this mark that count; one that is cut off goes with all that follows.
pub fn without(text: &str, mark: Mark) -> String {
    let all = blocks(text, mark);
    let has_plain = all.iter().any(|block| !block.fenced);
    let mut rest = String::with_capacity(text.len());
    let mut from = 0;
    for block in all.iter().filter(|block| !(has_plain && block.fenced)) {
        rest.push_str(&text[from..block.at]);
        let end = block.body_at + block.body.len();
        from = if block.whole { end + END.len() } else { end };
    }
    rest.push_str(&text[from..]);
    rest
}

/// `map` as a block, in a form that every reader of YAML and HTML takes for the same.
pub(crate) fn write(mark: Mark, map: &Tree) -> String {
    let mut text = format!("{BEGIN} {}\nversion: {VERSION}\n", mark.as_str());
    map.write_entries(&mut text, 0);
    text.push_str(END);
    text.push('\n');
    text
}

/// Whether the version of a block is one that fleet reads; where it is not, that is noted.
pub(crate) fn is_readable(keys: &mut Keys<'_>, findings: &mut Findings) -> bool {
    let wrong = findings.len();
    let Some(version) = keys.count("version", 1..=u32::MAX, findings) else {
        return findings.len() == wrong;
    };
    if version > VERSION {
        let message = format!("version {version} is newer than this fleet, which reads version {VERSION}");
        findings.add(Rule::NewerVersion, keys.place("version"), "version", message);
    }
    version <= VERSION
}

/// The JSON Schema of a block's map, with `version` and an example.
pub(crate) fn schema_of<T: JsonSchema + Serialize>(example: &T) -> Value {
    let mut schema = crate::plan::file::schema_of::<T>();
    schema["properties"]["version"] = json!({
        "type": "integer",
        "const": VERSION,
        "default": VERSION,
        "description": "The version of this form; 1 if it says nothing. What is newer than the reader is refused.",
    });
    schema["examples"] = json!([example]);
    schema
}

/// Every block of this mark, in order.
fn blocks(text: &str, mark: Mark) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut fence = Fence::default();
    let mut from = 0;
    while let Some((begins, body_at)) = begin(&text[from..], mark) {
        let (at, body_at) = (from + begins, from + body_at);
        fence.walk(&text[from..at]);
        let rest = &text[body_at..];
        let end = rest.find(END);
        blocks.push(Block {
            at,
            body_at,
            body: &rest[..end.unwrap_or(rest.len())],
            fenced: fence.open.is_some(),
            whole: end.is_some(),
        });
        from = body_at + end.map_or(rest.len(), |end| end + END.len());
        // What follows on the line of the end is no line of its own.
        fence.within_line = true;
    }
    blocks
}

/// Where the first block of this mark begins in `text`, and where its YAML does.
fn begin(text: &str, mark: Mark) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = text[from..].find(BEGIN) {
        let at = from + found;
        let rest = &text[at + BEGIN.len()..];
        let name = rest.trim_start();
        let body_at = text.len() - name.len() + mark.as_str().len();
        let behind = name.strip_prefix(mark.as_str());
        if behind.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace) || rest.starts_with(END))
        {
            return Some((at, body_at));
        }
        from = at + BEGIN.len() + (rest.len() - name.len());
    }
    None
}

/// Whether a code fence is open, and which.
#[derive(Default)]
struct Fence {
    open: Option<(char, usize)>,
    /// Whether the text that was walked so far ended within a line.
    within_line: bool,
}

impl Fence {
    /// Goes on over `text`. Its last line counts only where it has ended.
    fn walk(&mut self, text: &str) {
        for line in text.split_inclusive('\n') {
            let begins = !std::mem::replace(&mut self.within_line, !line.ends_with('\n'));
            if begins && line.ends_with('\n') {
                self.line(line.trim_end());
            }
        }
    }

    fn line(&mut self, line: &str) {
        let bare = line.trim_start_matches(' ');
        let Some(sign) = bare
            .chars()
            .next()
            .filter(|sign| line.len() - bare.len() < 4 && "`~".contains(*sign))
        else {
            return;
        };
        let info = bare.trim_start_matches(sign);
        let length = bare.len() - info.len();
        match self.open {
            None if length >= 3 && (sign == '~' || !info.contains('`')) => self.open = Some((sign, length)),
            Some((open, least)) if sign == open && length >= least && info.is_empty() => self.open = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
