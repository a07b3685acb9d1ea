//! How values are written in a column.

use std::path::Path;

use fleet_core::id::AgentId;
use fleet_core::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The name of a variant, such as `reserved`.
pub(crate) fn word<T: Serialize>(value: &T) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        _ => Err(Error::internal("a value that is no word was to be stored as one")),
    }
}

/// The variant called `name`.
pub(crate) fn from_word<T: DeserializeOwned>(name: String) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(name)).map_err(|error| unreadable(&error))
}

/// `value` as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal(format!("cannot store a value as JSON: {error}")))
}

/// The value written as `text`.
pub(crate) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| unreadable(&error))
}

/// The agent's id written as `text`.
pub(crate) fn from_id(text: &str) -> Result<AgentId> {
    AgentId::parse(text).ok_or_else(|| unreadable(&format!("`{text}` is no id of an agent")))
}

/// `path` as text.
///
/// Records go to JSON and to people, so a path has to be UTF-8 already here.
pub(crate) fn path(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::usage(format!("the path {} is not valid UTF-8", path.display()))
            .hint("rename the folder, or use another one")
    })
}

/// `number` as SQLite's signed integer.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// SQLite's signed integer as a count.
pub(crate) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn unreadable(why: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("a record of the database cannot be read: {why}"))
}
