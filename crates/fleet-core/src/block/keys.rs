//! Reads the keys of a map: what is wrong is noted with its place, and reading goes on.

use std::ops::RangeInclusive;

use super::rule::{Findings, Rule};
use crate::money::{self, Usd};
use crate::plan::rule::{near, quoted};
use crate::plan::word::Word;
use crate::yaml::{Entry, Node, Value};

/// A map whose keys are being asked for.
pub(crate) struct Keys<'a> {
    path: String,
    at: usize,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
}

/// Which amounts may stand for a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// 0 and more.
    AnyCost,
    /// More than 0.
    Ceiling,
}

impl<'a> Keys<'a> {
    /// The keys of `node`, which is called `path`. None, and noted, where it is no map.
    pub(crate) fn of(node: &'a Node, path: &str, findings: &mut Findings) -> Option<Keys<'a>> {
        let Value::Map(entries) = &node.value else {
            let what = if path.is_empty() { "the block" } else { "this" };
            findings.add(
                Rule::WrongType,
                node.at,
                path,
                format!("{what} is {}, and a map is wanted", node.kind()),
            );
            return None;
        };
        Some(Keys {
            path: path.to_owned(),
            at: node.at,
            entries,
            asked: Vec::new(),
        })
    }

    /// Where the map begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The full name of `key`.
    pub(crate) fn path(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// Where `key` stands, or the map where it does not.
    pub(crate) fn place(&self, key: &str) -> usize {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map_or(self.at, |entry| entry.at)
    }

    /// Whether `key` is there, with a value or without.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// The value of `key`, unless it is nothing.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<&'a Node> {
        self.present(key).filter(|node| !node.is_null())
    }

    /// The value of `key`, even if it is nothing.
    fn present(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        let entries: &'a [Entry] = self.entries;
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Notes that `key` is missing, if nothing was read for it and nothing was said about it.
    pub(crate) fn require<T>(&self, key: &str, read: Option<T>, findings: &mut Findings) -> Option<T> {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        if read.is_none() && entry.is_none_or(|entry| entry.node.is_null()) {
            findings.add(
                Rule::MissingKey,
                self.place(key),
                self.path(key),
                format!("`{key}` is missing"),
            );
        }
        read
    }

    /// A text of any length.
    pub(crate) fn text(&mut self, key: &'static str, findings: &mut Findings) -> Option<String> {
        let node = self.value(key)?;
        let path = self.path(key);
        text(node, &path, findings)
    }

    /// A text that names something: no blanks, at most 128 characters.
    pub(crate) fn name(&mut self, key: &'static str, findings: &mut Findings) -> Option<String> {
        const LONGEST: usize = 128;
        let node = self.value(key)?;
        let path = self.path(key);
        let name = text(node, &path, findings)?;
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if name.is_empty() || name.chars().count() > LONGEST || name.contains(odd) {
            let message = format!("{} cannot be used as `{key}`", quoted(&name));
            findings.add(Rule::BadText, node.at, path, message);
            return None;
        }
        Some(name)
    }

    /// An amount of money. None where it is not there, or `unknown`.
    pub(crate) fn money(&mut self, key: &'static str, amount: Amount, findings: &mut Findings) -> Option<Usd> {
        let node = self.present(key)?;
        let path = self.path(key);
        let unknown = |node: &Node| matches!(&node.value, Value::Scalar { text, .. } if text == "unknown");
        if amount == Amount::AnyCost && (node.is_null() || unknown(node)) {
            return None;
        }
        let number = number(node, &path, findings)?;
        let least = if amount == Amount::Ceiling {
            "more than 0"
        } else {
            "0 or more"
        };
        let usd = Usd::new(number).filter(|usd| amount == Amount::AnyCost || !usd.is_zero());
        if usd.is_none() {
            let message = format!(
                "{} is no amount of US dollars that may stand here",
                money::written(number)
            );
            findings.add(Rule::OutOfRange, node.at, path, message).hint =
                format!("a number of US dollars: {least}, and at most {}", Usd::MAX);
        }
        usd
    }

    /// A whole number.
    pub(crate) fn count(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
        findings: &mut Findings,
    ) -> Option<u32> {
        let node = self.present(key)?;
        let path = self.path(key);
        let number = number(node, &path, findings)?;
        let inside = (f64::from(*range.start())..=f64::from(*range.end())).contains(&number);
        if !inside || number.fract() != 0.0 {
            let message = format!("{number} is no whole number of the range");
            findings.add(Rule::OutOfRange, node.at, path, message).hint =
                format!("a whole number from {} to {}", range.start(), range.end());
            return None;
        }
        Some(number as u32)
    }

    /// A number of 0 or more.
    pub(crate) fn share(&mut self, key: &'static str, findings: &mut Findings) -> Option<f64> {
        let node = self.value(key)?;
        let path = self.path(key);
        let number = number(node, &path, findings)?;
        if !(0.0..=1e9).contains(&number) {
            findings
                .add(Rule::OutOfRange, node.at, path, format!("{number} is no share"))
                .hint = "a number of 0 or more, in per cent".to_owned();
            return None;
        }
        Some(number)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, key: &'static str, findings: &mut Findings) -> Option<bool> {
        let node = self.present(key)?;
        let Value::Scalar { text, .. } = &node.value else {
            let path = self.path(key);
            findings.add(Rule::WrongType, node.at, path, wanted(node, "`true` or `false`"));
            return None;
        };
        match text.as_str() {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => {
                let path = self.path(key);
                findings
                    .add(
                        Rule::WrongType,
                        node.at,
                        path,
                        format!("{} is no truth value", quoted(text)),
                    )
                    .hint = "`true` or `false`".to_owned();
                None
            }
        }
    }

    /// One of the words of `W`.
    pub(crate) fn word<W: Word>(&mut self, key: &'static str, findings: &mut Findings) -> Option<W> {
        let node = self.present(key)?;
        let path = self.path(key);
        let text = text(node, &path, findings)?;
        if let Some((_, word)) = W::WORDS.iter().find(|(name, _)| *name == text) {
            return Some(*word);
        }
        let names: Vec<&str> = W::WORDS.iter().map(|(name, _)| *name).collect();
        let all = names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let hint = match near(&text, &names) {
            Some(near) => format!("did you mean `{near}`? The words are {all}"),
            None => format!("one of {all}"),
        };
        findings
            .add(
                Rule::UnknownWord,
                node.at,
                path,
                format!("{} is no word for `{key}`", quoted(&text)),
            )
            .hint = hint;
        None
    }

    /// The keys of the map at `key`.
    pub(crate) fn map(&mut self, key: &'static str, findings: &mut Findings) -> Option<Keys<'a>> {
        let node = self.value(key)?;
        Keys::of(node, &self.path(key), findings)
    }

    /// The values of the list at `key`, each with its name.
    pub(crate) fn list(&mut self, key: &'static str, findings: &mut Findings) -> Vec<(String, &'a Node)> {
        let Some(node) = self.value(key) else {
            return Vec::new();
        };
        let path = self.path(key);
        let Value::List(nodes) = &node.value else {
            findings.add(Rule::WrongType, node.at, path, wanted(node, "a list"));
            return Vec::new();
        };
        let name = |(place, node)| (format!("{path}[{place}]"), node);
        nodes.iter().enumerate().map(name).collect()
    }

    /// The maps in the map at `key`, each with its key and where that stands.
    pub(crate) fn maps(&mut self, key: &'static str, findings: &mut Findings) -> Vec<(String, usize, Keys<'a>)> {
        let Some(node) = self.value(key) else {
            return Vec::new();
        };
        let path = self.path(key);
        let Value::Map(entries) = &node.value else {
            findings.add(Rule::WrongType, node.at, path, wanted(node, "a map"));
            return Vec::new();
        };
        let inner = entries.iter().filter_map(|entry| {
            let keys = Keys::of(&entry.node, &format!("{path}.{}", entry.key), findings)?;
            Some((entry.key.clone(), entry.at, keys))
        });
        inner.collect()
    }

    /// The texts of the list at `key`.
    pub(crate) fn texts(&mut self, key: &'static str, findings: &mut Findings) -> Vec<String> {
        let list = self.list(key, findings);
        list.into_iter()
            .filter_map(|(path, node)| text(node, &path, findings))
            .collect()
    }

    /// Notes the keys that nobody asked for.
    pub(crate) fn end(self, findings: &mut Findings) {
        for entry in self
            .entries
            .iter()
            .filter(|entry| !self.asked.contains(&entry.key.as_str()))
        {
            let message = format!("the key {} is not known", quoted(&entry.key));
            let finding = findings.add(Rule::UnknownKey, entry.at, self.path(&entry.key), message);
            if let Some(near) = near(&entry.key, &self.asked) {
                finding.hint = format!("did you mean `{near}`? It is read as if it were not there");
            }
        }
    }
}

fn wanted(node: &Node, what: &str) -> String {
    format!("this is {}, and {what} is wanted", node.kind())
}

fn text(node: &Node, path: &str, findings: &mut Findings) -> Option<String> {
    match &node.value {
        Value::Scalar { text, .. } if !node.is_null() => Some(text.clone()),
        _ => {
            findings.add(Rule::WrongType, node.at, path, wanted(node, "a text"));
            None
        }
    }
}

/// A number as YAML writes it, `.nan` and `.inf` among them: those are out of every range.
fn number(node: &Node, path: &str, findings: &mut Findings) -> Option<f64> {
    let Value::Scalar {
        text,
        quoted: between_quotes,
    } = &node.value
    else {
        findings.add(Rule::WrongType, node.at, path, wanted(node, "a number"));
        return None;
    };
    let Some(number) = parse(text) else {
        let what = match node.is_null() {
            true => "there is no value, and a number is wanted".to_owned(),
            false => format!("{} is no number", quoted(text)),
        };
        findings.add(Rule::WrongType, node.at, path, what);
        return None;
    };
    if *between_quotes {
        findings.add(Rule::QuotedNumber, node.at, path, "the number stands between quotes");
    }
    Some(number)
}

fn parse(text: &str) -> Option<f64> {
    let bare = text.trim_start_matches(['+', '-']);
    match bare.to_ascii_lowercase().as_str() {
        ".nan" | "nan" => return Some(f64::NAN),
        ".inf" | "inf" | "infinity" => return Some(f64::INFINITY),
        _ => {}
    }
    let digits = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let signs = text.len() - bare.len() <= 1;
    text.parse().ok().filter(|_| digits && signs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_yaml() {
        for (text, wanted) in [
            ("5.00", Some(5.0)),
            ("-5", Some(-5.0)),
            ("+.5", Some(0.5)),
            ("1e308", Some(1e308)),
            ("1e999", Some(f64::INFINITY)),
            ("-.inf", Some(f64::INFINITY)),
            ("5 USD", None),
            ("$5", None),
            ("--5", None),
            ("", None),
            ("infinite", None),
            ("0x10", None),
        ] {
            assert_eq!(parse(text), wanted, "{text}");
        }
        assert!(parse(".NaN").is_some_and(f64::is_nan));
    }
}
