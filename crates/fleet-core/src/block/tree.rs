//! The values of a block as they are written: keys in the order in which they were added.

use crate::money::Usd;
use crate::yaml;

/// A value that is going to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    /// As it stands in YAML.
    Scalar(String),
    /// In order.
    List(Vec<Tree>),
    /// In order.
    Map(Vec<(&'static str, Tree)>),
}

impl Tree {
    /// A map without keys.
    pub(crate) fn map() -> Tree {
        Tree::Map(Vec::new())
    }

    /// The same map and a key; without a value the key is left out.
    #[must_use]
    pub(crate) fn with(mut self, key: &'static str, value: Option<Tree>) -> Tree {
        if let (Tree::Map(entries), Some(value)) = (&mut self, value) {
            entries.push((key, value));
        }
        self
    }

    /// A text.
    pub(crate) fn text(text: &str) -> Tree {
        Tree::Scalar(yaml::scalar(text))
    }

    /// A whole number.
    pub(crate) fn count(count: u32) -> Tree {
        Tree::Scalar(count.to_string())
    }

    /// An amount in US dollars.
    pub(crate) fn money(amount: Usd) -> Tree {
        Tree::decimal(amount.dollars(), 2)
    }

    /// `number` without an exponent, which is no number to every reader, and with at least so many digits.
    pub(crate) fn decimal(number: f64, digits: usize) -> Tree {
        let text = number.to_string();
        let present = text.split_once('.').map_or(0, |(_, digits)| digits.len());
        Tree::Scalar(match present < digits {
            true => format!("{number:.digits$}"),
            false => text,
        })
    }

    /// Texts in order.
    pub(crate) fn texts(texts: &[String]) -> Tree {
        Tree::List(texts.iter().map(|text| Tree::text(text)).collect())
    }

    /// A map as a document of its own.
    pub(crate) fn document(&self) -> String {
        let mut text = String::new();
        self.write_entries(&mut text, 0);
        text
    }

    /// Writes it behind a key or a dash, whose own depth is `depth`.
    pub(super) fn write(&self, text: &mut String, depth: usize) {
        match self {
            Tree::Scalar(scalar) => text.push_str(&format!(" {scalar}\n")),
            Tree::List(values) if values.is_empty() => text.push_str(" []\n"),
            Tree::Map(entries) if entries.is_empty() => text.push_str(" {}\n"),
            Tree::List(values) => {
                text.push('\n');
                for value in values {
                    text.push_str(&format!("{}-", "  ".repeat(depth + 1)));
                    value.write_item(text, depth + 1);
                }
            }
            Tree::Map(_) => {
                text.push('\n');
                self.write_entries(text, depth + 1);
            }
        }
    }

    /// Writes the keys of a map, each on a line of its own.
    pub(super) fn write_entries(&self, text: &mut String, depth: usize) {
        let Tree::Map(entries) = self else { return };
        for (key, value) in entries {
            text.push_str(&format!("{}{key}:", "  ".repeat(depth)));
            value.write(text, depth);
        }
    }

    /// Writes it behind a dash: a map begins on the same line.
    fn write_item(&self, text: &mut String, depth: usize) {
        match self {
            Tree::Map(entries) if !entries.is_empty() => {
                let mut inner = String::new();
                self.write_entries(&mut inner, depth + 1);
                text.push_str(&format!(" {}", inner.trim_start()));
            }
            _ => self.write(text, depth),
        }
    }
}
