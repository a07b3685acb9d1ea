//! One key of the settings: its form, its default, and what a value of it must be like.

use std::path::{Component, Path};

use regex_lite::Regex;
use toml::Value;

use super::{canonical_harness, words};

/// What there is to know about one key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it is for; each line begins with a space.
    pub doc: &'static [&'static str],
    /// What its values look like.
    pub shape: Shape,
    /// The default as TOML; none when it is unset.
    pub default: Option<&'static str>,
    /// Whether it must be set.
    pub required: bool,
    /// A value as TOML, other than the default.
    pub example: &'static str,
    /// Whether the file of a repository may set it.
    pub project: bool,
}

/// What the values of a key look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Any string.
    Text,
    /// The name of a harness.
    Harness,
    /// An absolute path, or one from `~` on.
    Path,
    /// True or false.
    Switch,
    /// A whole number.
    Number {
        /// The least that is allowed.
        least: i64,
        /// The most that is allowed.
        most: i64,
    },
    /// Arguments, as one string or an array.
    Words,
    /// An array of strings.
    Texts,
    /// An array of paths within the repository.
    Files,
    /// A program and its arguments.
    Argv,
    /// Arguments, one of them with `{model}` in it.
    Model,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// A regular expression.
    Pattern,
    /// Tables `[harness.NAME]`.
    Harnesses,
}

/// Why a value is refused: a phrase that follows the key's name, and what to do where an example does not say it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

impl Key {
    /// A key of this shape: unset, not required, for the user only.
    pub(super) const fn of(shape: Shape) -> Key {
        Key {
            name: "",
            doc: &[],
            shape,
            default: None,
            required: false,
            example: "",
            project: false,
        }
    }

    pub(super) const fn default(self, toml: &'static str) -> Key {
        Key {
            default: Some(toml),
            ..self
        }
    }

    pub(super) const fn example(self, toml: &'static str) -> Key {
        Key { example: toml, ..self }
    }

    pub(super) const fn required(self) -> Key {
        Key { required: true, ..self }
    }

    pub(super) const fn in_project(self) -> Key {
        Key { project: true, ..self }
    }

    /// The environment variable that sets this top-level key; none for tables, and for `port_base`, because every
    /// agent finds its own ports in `FLEET_PORT_BASE`.
    pub fn env(&self) -> Option<String> {
        let readable = self.name != "port_base" && self.shape != Shape::Harnesses;
        readable.then(|| format!("FLEET_{}", self.name.to_uppercase()))
    }
}

impl Shape {
    /// What a value must be, as in "wants …".
    pub fn wants(self) -> String {
        match self {
            Shape::Text => "a string".to_owned(),
            Shape::Harness => "the name of a harness".to_owned(),
            Shape::Path => "a path".to_owned(),
            Shape::Switch => "true or false".to_owned(),
            Shape::Number { least, most } => format!("a whole number from {least} to {most}"),
            Shape::Words => "a string or an array of strings".to_owned(),
            Shape::Texts | Shape::Model => "an array of strings".to_owned(),
            Shape::Files => "an array of paths".to_owned(),
            Shape::Argv => "an array of a program and its arguments".to_owned(),
            Shape::Choice(words) => words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(" or "),
            Shape::Pattern => "a regular expression".to_owned(),
            Shape::Harnesses => "tables `[harness.NAME]`".to_owned(),
        }
    }

    /// Whether an environment variable holds the plain text, not TOML.
    pub(super) fn is_plain(self) -> bool {
        matches!(self, Shape::Text | Shape::Harness | Shape::Path | Shape::Words)
    }

    /// `value` in the one form that it has from here on.
    pub(super) fn check(self, value: Value) -> Result<Value, Wrong> {
        match (self, value) {
            (Shape::Text, Value::String(text)) => Ok(Value::String(printable(text)?)),
            (Shape::Harness, Value::String(name)) => {
                check_harness_name(&name)?;
                Ok(canonical_harness(&name).into())
            }
            (Shape::Path, Value::String(path)) => absolute(printable(path)?),
            (Shape::Switch, value @ Value::Boolean(_)) => Ok(value),
            (Shape::Number { least, most }, Value::Integer(number)) if !(least..=most).contains(&number) => {
                Err(wrong(format!("wants {}, not {number}", self.wants())))
            }
            (Shape::Number { .. }, value @ Value::Integer(_)) => Ok(value),
            (Shape::Words, Value::String(line)) => {
                let split = words::split(&printable(line)?).map_err(|why| wrong(format!("cannot be split: {why}")))?;
                Ok(split.into())
            }
            (Shape::Words | Shape::Texts | Shape::Files | Shape::Argv | Shape::Model, Value::Array(items)) => {
                self.check_items(items)
            }
            (Shape::Choice(words), Value::String(word)) => match words.contains(&word.as_str()) {
                true => Ok(Value::String(word)),
                false => Err(wrong(format!("wants {}, not `{word}`", self.wants()))),
            },
            (Shape::Pattern, Value::String(pattern)) => match Regex::new(&pattern) {
                Ok(_) => Ok(Value::String(pattern)),
                Err(error) => Err(wrong(format!(
                    "is no regular expression: {}",
                    error.to_string().replace('\n', " ")
                ))),
            },
            (Shape::Harnesses, value @ Value::Table(_)) => Ok(value),
            (_, value) => Err(wrong(format!("wants {}, not {}", self.wants(), type_name(&value)))),
        }
    }

    fn check_items(self, items: Vec<Value>) -> Result<Value, Wrong> {
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let Value::String(text) = item else {
                let is = type_name(&item);
                return Err(wrong(format!("wants {}, but item {} is {is}", self.wants(), index + 1)));
            };
            let may_be_empty = self == Shape::Words || self == Shape::Argv && index > 0;
            if text.trim().is_empty() && !may_be_empty {
                return Err(wrong(format!("has an empty item {}", index + 1)));
            }
            texts.push(printable(text)?);
        }
        match self {
            Shape::Files => texts.iter().try_for_each(|path| check_within(path))?,
            Shape::Argv => match texts.first() {
                Some(program) => check_program(program)?,
                None => return Err(wrong(format!("wants {}, not an empty array", self.wants()))),
            },
            Shape::Model if !texts.is_empty() && !texts.iter().any(|text| text.contains("{model}")) => {
                return Err(wrong("does not say where the name of the model goes".to_owned()));
            }
            _ => {}
        }
        Ok(texts.into())
    }
}

/// Refuses names that `--agent a,b` could not hold.
pub(super) fn check_harness_name(name: &str) -> Result<(), Wrong> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !name.is_empty() && !name.starts_with('-') && name.chars().all(fine) {
        true => Ok(()),
        false => Err(Wrong {
            what: format!("has `{name}`, which is no name of a harness"),
            hint: Some("use letters, digits, `-`, `_` and `.`, such as `my-agent`".to_owned()),
        }),
    }
}

/// `a string`, `an array`.
pub(super) fn type_name(value: &Value) -> String {
    let name = value.type_str();
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {name}")
}

fn wrong(what: String) -> Wrong {
    Wrong { what, hint: None }
}

fn printable(text: String) -> Result<String, Wrong> {
    // No argument, path or variable of a program can hold one.
    match text.contains('\0') {
        true => Err(wrong("contains a NUL character".to_owned())),
        false => Ok(text),
    }
}

fn absolute(path: String) -> Result<Value, Wrong> {
    if Path::new(&path).is_absolute() || Path::new(&path).starts_with("~") {
        return Ok(Value::String(path));
    }
    let what = match path.is_empty() {
        true => "is empty".to_owned(),
        false => format!("is a relative path: `{path}`"),
    };
    Err(Wrong {
        what,
        hint: Some("write it from `/` or from `~/` on".to_owned()),
    })
}

fn check_program(program: &str) -> Result<(), Wrong> {
    let path = Path::new(program);
    if !program.contains('/') || path.is_absolute() || path.starts_with("~") {
        return Ok(());
    }
    Err(Wrong {
        what: format!("names its program by a relative path: `{program}`"),
        hint: Some("write it from `/` or from `~/` on, or as a bare name that is on PATH".to_owned()),
    })
}

fn check_within(path: &str) -> Result<(), Wrong> {
    let parts = || Path::new(path).components();
    let first = parts().find(|part| *part != Component::CurDir);
    let why = if Path::new(path).is_absolute() || path.starts_with('~') {
        "which is not relative to the repository"
    } else if parts().any(|part| part == Component::ParentDir) {
        "which leads out of the repository"
    } else if first.is_none() {
        "which is the repository itself"
    } else if first == Some(Component::Normal(".git".as_ref())) {
        "which is git's own"
    } else {
        return Ok(());
    };
    Err(Wrong {
        what: format!("has `{path}`, {why}"),
        hint: Some("name files below the repository's folder, such as `config/master.key`".to_owned()),
    })
}
