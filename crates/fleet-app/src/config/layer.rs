//! One layer of settings: a file, the environment or the flags, checked key by key, each mistake with its place.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use fleet_core::nearest::nearest;
use fleet_core::{Error, Kind, Result};
use fleet_host::files::io_error;
use toml::de::DeTable;
use toml::{Table, Value};

use super::key::{Wrong, check_harness_name, type_name};
use super::{Config, HarnessConfig, Key, Origin, Shape, canonical_harness, defaults};

/// The version of the files that this fleet reads and writes.
pub(super) const VERSION: i64 = 1;

/// The key of a file that is no setting: its version.
const VERSION_KEY: &str = "version";

const HARNESS_HINT: &str = "write a table `[harness.NAME]` with `command = [\"PROGRAM\"]`";

/// A checked value and where it was given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// Where a value was given, as errors begin.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) origin: Origin,
    pub(super) line: Option<usize>,
}

/// Whose file it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layer<'a> {
    /// The user's: it may set all.
    User,
    /// The repository's: it came with a clone, so it chooses no program outside of the worktree's setup.
    Project {
        /// The file that may set what this one may not.
        user: &'a Path,
    },
}

type Values = BTreeMap<&'static str, Given>;

/// The values of the file at `path`; none when there is no such file.
pub(super) fn read_file(layer: Layer<'_>, path: &Path) -> Result<Values> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Values::new());
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory) => {
            let what = if error.kind() == io::ErrorKind::InvalidData {
                "is not UTF-8"
            } else {
                "is a directory"
            };
            return Err(Error::new(Kind::Config, format!("{} {what}", path.display()))
                .hint(format!("move it away and start anew: `mv {0} {0}.old`", path.display())));
        }
        Err(error) => return Err(io_error("read", path, &error)),
    };
    let origin = match layer {
        Layer::User => Origin::User(path.to_owned()),
        Layer::Project { .. } => Origin::Project(path.to_owned()),
    };
    File::parse(layer, origin, &text)?.values()
}

/// The values of the variables `FLEET_<KEY>`. An empty one counts as unset where it could mean nothing.
pub(super) fn read_env(env: &dyn Fn(&str) -> Option<String>) -> Result<Values> {
    let mut values = Values::new();
    for key in Config::KEYS {
        let Some(name) = key.env() else { continue };
        let Some(text) = env(&name) else { continue };
        let may_be_empty = matches!(key.shape, Shape::Text | Shape::Words);
        if text.trim().is_empty() && !may_be_empty {
            continue;
        }
        let place = Place {
            origin: Origin::Env(name.clone()),
            line: None,
        };
        let hint = || format!("write for example `export {name}={}`", shell_example(key));
        let plain = key.shape.is_plain() && !(key.shape == Shape::Words && text.trim_start().starts_with('['));
        let parsed = if plain {
            Ok(Value::String(text.clone()))
        } else {
            text.trim().parse()
        };
        let value = parsed.map_err(|_: toml::de::Error| {
            let message = format!("{place}: `{}` wants {}, not `{text}`", key.name, key.shape.wants());
            Error::new(Kind::Config, message).hint(hint())
        })?;
        let value = key
            .shape
            .check(value)
            .map_err(|wrong| refused(&place, &format!("`{}`", key.name), wrong, hint()))?;
        values.insert(key.name, Given { value, place });
    }
    Ok(values)
}

/// The values that flags give.
pub(super) fn read_overrides(overrides: &[(String, Value)]) -> Result<Values> {
    let file = File {
        layer: Layer::User,
        origin: Origin::Flag,
        table: overrides.iter().cloned().collect(),
        lines: BTreeMap::new(),
    };
    file.values()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.origin),
            None => write!(f, "{}", self.origin),
        }
    }
}

/// A parsed file with the lines of its keys.
struct File<'a> {
    layer: Layer<'a>,
    origin: Origin,
    table: Table,
    lines: BTreeMap<Vec<String>, usize>,
}

impl<'a> File<'a> {
    fn parse(layer: Layer<'a>, origin: Origin, text: &str) -> Result<Self> {
        let bad = |error: toml::de::Error| {
            let (line, column) = position(text, &error.span().unwrap_or(0..0));
            let message = error.message().trim().replace('\n', ", ");
            let hint = match layer {
                Layer::User => "correct that line: `fleet config edit`",
                Layer::Project { .. } => "correct that line",
            };
            Error::new(Kind::Config, format!("{origin}:{line}:{column}: {message}")).hint(hint)
        };
        let spanned = DeTable::parse(text).map_err(bad)?;
        let mut lines = BTreeMap::new();
        note_lines(spanned.get_ref(), text, &mut Vec::new(), &mut lines);
        let table: Table = text.parse().map_err(bad)?;
        Ok(Self {
            layer,
            origin,
            table,
            lines,
        })
    }

    /// The checked values. Errors: the first mistake in the file.
    fn values(self) -> Result<Values> {
        self.check_version()?;
        let mut values = Values::new();
        for (name, value) in self.in_order(&self.table, &[]) {
            if name == VERSION_KEY {
                continue;
            }
            let place = self.place(&[name]);
            let key = Config::KEYS
                .iter()
                .find(|key| key.name == name)
                .ok_or_else(|| self.unknown(name, value))?;
            if let Layer::Project { user } = self.layer
                && !key.project
            {
                let message = format!("{place}: a repository cannot set `{name}`");
                return Err(Error::new(Kind::Config, message)
                    .hint(format!("set it in {}: `fleet config edit`", user.display())));
            }
            let hint = format!("write for example `{} = {}`", key.name, key.example);
            let hint = if key.shape == Shape::Harnesses {
                HARNESS_HINT.to_owned()
            } else {
                hint
            };
            let value = key.shape.check(value.clone());
            let mut value = value.map_err(|wrong| refused(&place, &format!("`{name}`"), wrong, hint))?;
            if key.shape == Shape::Harnesses {
                value = self.harnesses(name, &value)?;
            }
            values.insert(key.name, Given { value, place });
        }
        Ok(values)
    }

    fn check_version(&self) -> Result<()> {
        let place = || self.place(&[VERSION_KEY]);
        match self.table.get(VERSION_KEY) {
            None | Some(Value::Integer(VERSION)) => Ok(()),
            Some(Value::Integer(newer)) if *newer > VERSION => {
                let message = format!(
                    "{}: the file has version {newer}, and this fleet reads {VERSION}",
                    place()
                );
                Err(Error::new(Kind::Config, message).hint("update fleet, or move the file away"))
            }
            Some(_) => {
                let message = format!("{}: `{VERSION_KEY}` wants {VERSION}", place());
                Err(Error::new(Kind::Config, message).hint(format!("write `{VERSION_KEY} = {VERSION}`")))
            }
        }
    }

    /// The tables below the key `parent`, complete and under the names that harnesses go by.
    fn harnesses(&self, parent: &str, tables: &Value) -> Result<Value> {
        let mut harnesses = Table::new();
        let Some(tables) = tables.as_table() else {
            return Ok(harnesses.into());
        };
        for (name, value) in self.in_order(tables, &[parent]) {
            let place = self.place(&[parent, name]);
            check_harness_name(name)
                .map_err(|wrong| refused(&place, &format!("`{parent}`"), wrong, HARNESS_HINT.to_owned()))?;
            let Value::Table(table) = value else {
                let message = format!("{place}: `{parent}.{name}` wants a table, not {}", type_name(value));
                return Err(Error::new(Kind::Config, message).hint(HARNESS_HINT.to_owned()));
            };
            let known = canonical_harness(name);
            if harnesses
                .insert(known.to_owned(), self.harness(parent, name, table)?.into())
                .is_some()
            {
                let message = format!("{place}: the harness `{known}` is there twice, because `codecs` means `codex`");
                return Err(Error::new(Kind::Config, message).hint(format!("remove `[{parent}.{name}]`")));
            }
        }
        Ok(harnesses.into())
    }

    fn harness(&self, parent: &str, harness: &str, table: &Table) -> Result<Table> {
        let mut complete: Table = defaults(HarnessConfig::KEYS)?
            .into_iter()
            .map(|(name, given)| (name.to_owned(), given.value))
            .collect();
        for (name, value) in self.in_order(table, &[parent, harness]) {
            let place = self.place(&[parent, harness, name]);
            let Some(key) = HarnessConfig::KEYS.iter().find(|key| key.name == name) else {
                let message = format!("{place}: unknown key `{name}` in `[{parent}.{harness}]`");
                let error = Error::new(Kind::Config, message);
                if Config::KEYS.iter().any(|key| key.name == name) {
                    return Err(error.hint(format!("move `{name}` above the first `[table]`")));
                }
                return Err(error.hint(did_you_mean(name, HarnessConfig::KEYS)));
            };
            let hint = format!("write for example `{} = {}`", key.name, key.example);
            let label = format!("`{name}` of `[{parent}.{harness}]`");
            let value = key
                .shape
                .check(value.clone())
                .map_err(|wrong| refused(&place, &label, wrong, hint))?;
            complete.insert(name.to_owned(), value);
        }
        match HarnessConfig::KEYS
            .iter()
            .find(|key| key.required && !complete.contains_key(key.name))
        {
            None => Ok(complete),
            Some(key) => {
                let place = self.place(&[parent, harness]);
                let message = format!("{place}: `[{parent}.{harness}]` has no `{}`", key.name);
                let hint = format!("write for example `{} = {}`", key.name, key.example);
                Err(Error::new(Kind::Config, message).hint(hint))
            }
        }
    }

    fn unknown(&self, name: &str, value: &Value) -> Error {
        let error = Error::new(Kind::Config, format!("{}: unknown key `{name}`", self.place(&[name])));
        // `[claude]` for `[harness.claude]` is a likely mistake that no nearest name explains.
        let harness_like = |table: &Table| table.contains_key("command");
        match value.as_table().is_some_and(harness_like) {
            true => error.hint(format!("a harness is `[harness.{name}]`")),
            false => error.hint(did_you_mean(name, Config::KEYS)),
        }
    }

    /// The entries of the table at `path`, as they stand in the file.
    fn in_order<'t>(&self, table: &'t Table, path: &[&str]) -> Vec<(&'t str, &'t Value)> {
        let mut entries: Vec<(&str, &Value)> = table.iter().map(|(name, value)| (name.as_str(), value)).collect();
        entries.sort_by_key(|(name, _)| {
            let mut path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
            path.push((*name).to_owned());
            self.lines.get(&path).copied()
        });
        entries
    }

    fn place(&self, path: &[&str]) -> Place {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        Place {
            origin: self.origin.clone(),
            line: self.lines.get(&path).copied(),
        }
    }
}

/// The error for a refused value of the key that `label` names.
fn refused(place: &Place, label: &str, wrong: Wrong, example: String) -> Error {
    Error::new(Kind::Config, format!("{place}: {label} {}", wrong.what)).hint(wrong.hint.unwrap_or(example))
}

fn did_you_mean(wrong: &str, keys: &[Key]) -> String {
    let names = || keys.iter().map(|key| key.name);
    match nearest(wrong, names(), 1).first() {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known keys are {}", names().collect::<Vec<_>>().join(", ")),
    }
}

/// The example of `key` as a shell takes it.
fn shell_example(key: &Key) -> String {
    match key.shape.is_plain() {
        true => format!("'{}'", key.example.trim_matches('"')),
        false => format!("'{}'", key.example),
    }
}

fn note_lines(table: &DeTable<'_>, text: &str, path: &mut Vec<String>, lines: &mut BTreeMap<Vec<String>, usize>) {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        lines.insert(path.clone(), position(text, &key.span()).0);
        if let Some(inner) = value.get_ref().as_table() {
            note_lines(inner, text, path, lines);
        }
        path.pop();
    }
}

/// Line and column, from 1, of the start of `span`.
fn position(text: &str, span: &Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
