//! What users have in the settings of their programs: servers that add tools, and whatever else they have written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fleet_testkit::clis::Cli;
use fleet_testkit::wait_until;
use serde_json::{Value, json};

use crate::world::{LONG, World};

/// A server that speaks just enough of the Model Context Protocol to say that it has no tools.
const SERVER: &str = r#"#!/bin/sh
echo started >> "$1"
while read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
    case $line in
    *'"initialize"'*)
        result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"own","version":"1"}}' ;;
    *'"tools/list"'*) result='{"tools":[]}' ;;
    *) result='{}' ;;
    esac
    [ -z "$id" ] || printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
"#;

/// What programs write into their settings themselves is theirs; what was there before stays.
const FILES: [&str; 7] = [
    ".claude.json",
    ".claude/settings.json",
    ".codex/config.toml",
    ".gemini/settings.json",
    ".pi/agent/models.json",
    ".pi/agent/settings.json",
    ".config/opencode/opencode.json",
];

/// A user's settings in the HOME of a world, as they were before any agent.
pub(crate) struct Users {
    started: PathBuf,
    files: Vec<(PathBuf, String)>,
}

impl Users {
    /// Adds a server to the settings of `cli`, where it takes one, and remembers all of its files.
    #[track_caller]
    pub(crate) fn settle(world: &World, cli: Cli) -> Self {
        let home = world.home();
        let server = home.join("own server.sh");
        fs::write(&server, SERVER).expect("written");
        fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).expect("set");
        let started = home.join("started");
        let (program, log) = (&server, &started);
        let stdio = json!({"command": program, "args": [log]});
        match cli {
            Cli::Claude => {
                let path = home.join(".claude.json");
                add(&path, "mcpServers", &stdio);
                // It moves this one to another file.
                let mut state = read_json(&path);
                state.as_object_mut().expect("an object").remove("theme");
                fs::write(&path, state.to_string()).expect("written");
            }
            Cli::Gemini => add(&home.join(".gemini/settings.json"), "mcpServers", &stdio),
            Cli::OpenCode => {
                let local = json!({"type": "local", "command": [program, log], "enabled": true});
                add(&home.join(".config/opencode/opencode.json"), "mcp", &local);
            }
            Cli::Codex => {
                let path = home.join(".codex/config.toml");
                let text = fs::read_to_string(&path).expect("read");
                let own = format!("\n# mine\n[mcp_servers.own]\ncommand = {program:?}\nargs = [{log:?}]\n");
                fs::write(&path, text + &own).expect("written");
            }
            Cli::Pi => fs::write(&started, "it has no servers").expect("written"),
        }
        let files = FILES.map(|path| {
            let path = home.join(path);
            let text = fs::read_to_string(&path).expect("the endpoint has written it");
            (path, text)
        });
        Self {
            started,
            files: files.into(),
        }
    }

    /// Waits until the program has started the user's server.
    #[track_caller]
    pub(crate) fn wait_served(&self) {
        wait_until(LONG, "the user's server", || self.started.exists().then_some(()));
    }

    /// Fails when anything that was the user's is not as it was.
    #[track_caller]
    pub(crate) fn assert_kept(&self) {
        for (path, before) in &self.files {
            let after = fs::read_to_string(path).expect("still there");
            let kept = match serde_json::from_str::<Value>(before) {
                Ok(before) => contains(&read_json(path), &before),
                Err(_) => after.starts_with(before),
            };
            assert!(kept, "{} was\n{before}\nand is\n{after}", path.display());
        }
    }
}

fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("read");
    serde_json::from_str(&text).expect("JSON")
}

#[track_caller]
fn add(path: &Path, key: &str, server: &Value) {
    let mut settings = read_json(path);
    settings[key]["own"] = server.clone();
    fs::write(path, format!("{settings:#}\n")).expect("written");
}

/// Whether nothing of `before` is missing.
fn contains(after: &Value, before: &Value) -> bool {
    match before {
        Value::Object(members) => members.iter().all(|(key, value)| contains(&after[key], value)),
        _ => after == before,
    }
}
