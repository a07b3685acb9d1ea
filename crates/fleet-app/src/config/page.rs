//! The settings as text: the first `config.toml` and the reference page.

use std::path::Path;

use toml::Value;

use super::layer::VERSION;
use super::{Config, HarnessConfig, Key, Shape};

const HARNESS_EXAMPLE: &str = "[harness.echoer]";

impl Config {
    /// The first `config.toml` of `home`: every key as a comment, so that it means the defaults.
    ///
    /// Text follows `# `, settings follow `#` alone.
    pub fn template(home: &Path) -> String {
        let mut page = format!(
            "# The settings of fleet. A line `#key = value` shows the default, or an example where there is none;\n\
             # remove the `#` and change it. `fleet config show --origin` shows what holds, `fleet config validate`\n\
             # checks it.\n\nversion = {VERSION}\n"
        );
        for key in Config::KEYS {
            if key.shape != Shape::Harnesses {
                page.push_str(&entry(key, home));
                continue;
            }
            page.push_str(&format!("\n{}#{HARNESS_EXAMPLE}\n", comment(key)));
            for key in HarnessConfig::KEYS {
                page.push_str(&format!("{}#{} = {}\n", comment(key), key.name, key.example));
            }
        }
        page
    }
}

/// The reference page of the settings, as Markdown.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Keys\n");
    for key in Config::KEYS.iter().filter(|key| key.shape != Shape::Harnesses) {
        page.push_str(&section(key));
    }
    if let Some(key) = Config::KEYS.iter().find(|key| key.shape == Shape::Harnesses) {
        page.push_str(&format!("\n## `[harness.NAME]`\n\n{}\n", prose(key)));
    }
    page.push_str(&format!("\n```toml\n{HARNESS_EXAMPLE}\n"));
    for key in HarnessConfig::KEYS {
        page.push_str(&format!("{} = {}\n", key.name, key.example));
    }
    page.push_str("```\n");
    for key in HarnessConfig::KEYS {
        page.push_str(&section(key));
    }
    page
}

const INTRODUCTION: &str = "\
# Settings

`~/.ai_fleet/config.toml` is written at the first run, with every key as a comment. `fleet config edit` opens it,
`fleet config show --origin` says what holds and where it comes from, `fleet config validate` checks it.

A value is looked for in this order, and the first one found holds:

1. the flag of the command;
2. the environment variable `FLEET_<KEY>`: the plain text for a string or a path, TOML for all else, such as
   `FLEET_SETUP_COMMANDS='[\"npm install\"]'`. An empty variable counts as unset, but for strings and flags;
3. `.fleet/config.toml` in the main checkout of the repository;
4. `config.toml` in the fleet home (`FLEET_HOME`, else `~/.ai_fleet`);
5. the default.

Nothing is merged: an array or a harness from a stronger place takes the whole place of a weaker one.

The file of a repository comes with a clone, so it may set only the keys that say so below. With `setup_commands` it
does run shell commands in your new worktrees: read it before you start agents in a repository you do not know.

An unknown key or a wrong value is an error that names file, line and key; nothing is started then. A path begins with
`/` or `~/`. `version = 1` says for which form of this file it was written.
";

fn section(key: &Key) -> String {
    let default = match key.default {
        Some(default) => format!("`{default}`"),
        None if key.required => "none; it must be set".to_owned(),
        None => "unset".to_owned(),
    };
    let mut section = format!(
        "\n### `{}`\n\n{}\n\n- Wants {}.\n- Default: {default}\n- Example: `{} = {}`\n",
        key.name,
        prose(key),
        key.shape.wants(),
        key.name,
        key.example
    );
    if Config::KEYS.iter().any(|each| std::ptr::eq(each, key)) {
        section.push_str(&match key.env() {
            Some(env) => format!("- Environment: `{env}`\n"),
            None => "- Environment: none, because agents find their own first port in `FLEET_PORT_BASE`\n".to_owned(),
        });
        let project = if key.project { "yes" } else { "no" };
        section.push_str(&format!("- A repository may set it: {project}\n"));
    }
    section
}

fn entry(key: &Key, home: &Path) -> String {
    let value = match key.default {
        Some(default) if default.contains("<FLEET_HOME>") => {
            Value::from(home.join("worktrees").display().to_string()).to_string()
        }
        Some(default) => default.to_owned(),
        None => key.example.to_owned(),
    };
    format!("\n{}#{} = {value}\n", comment(key), key.name)
}

fn comment(key: &Key) -> String {
    key.doc.iter().map(|line| format!("#{line}\n")).collect()
}

fn prose(key: &Key) -> String {
    key.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n")
}
