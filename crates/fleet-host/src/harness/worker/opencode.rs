//! OpenCode: its permissions, each by its name, so that none of the user's own is left between.
//!
//! - What is denied is not offered; what would be asked for is refused without a terminal, and ends the run.
//! - `external_directory` keeps its tools to the workspace, reading included, and refuses a command that names a folder
//!   outside. A redirection it does not see.

use std::path::PathBuf;

use fleet_core::plan::word::WorkerType;
use serde_json::{Map, Value, json};

use super::{Dropped, State, Terms, WorkerTerms, text};

const DROPS: &[Dropped] = &[Dropped::flag(&["--auto", "--dangerously-skip-permissions"])];

pub(super) fn terms(worker: &WorkerTerms<'_>) -> Terms {
    Terms {
        env: vec![("OPENCODE_PERMISSION".to_owned(), permission(worker).to_string())],
        drops: DROPS,
        ..Terms::default()
    }
}

fn permission(worker: &WorkerTerms<'_>) -> Value {
    let kind = worker.worker_type;
    let full = kind == WorkerType::Reviewer;
    let rights = [
        // The last one that fits decides, and this fits everything.
        ("*", full),
        ("read", true),
        ("glob", true),
        ("grep", true),
        ("list", true),
        ("todoread", true),
        ("todowrite", true),
        ("edit", kind.writes()),
        ("bash", kind.has_shell()),
        ("skill", kind.has_shell()),
        ("webfetch", kind.has_web()),
        ("websearch", kind.has_web()),
        ("codesearch", kind.has_web()),
        ("task", full),
    ];
    let word = |may: bool| Value::from(if may { "allow" } else { "deny" });
    let mut permission: Map<String, Value> = rights
        .into_iter()
        .map(|(name, may)| (name.to_owned(), word(may)))
        .collect();
    let outside = if full {
        word(true)
    } else {
        let mut folders = Map::from_iter([("*".to_owned(), word(false))]);
        for folder in worker.added {
            folders.insert(format!("{}/*", text(folder)), word(true));
        }
        folders.into()
    };
    permission.insert("external_directory".to_owned(), outside);
    json!(permission)
}

/// In the folder of its settings it writes as well, at its first start, and ends where it cannot.
pub(super) fn state(folder: &dyn Fn(&str, &str) -> PathBuf) -> State {
    let kinds = [
        ("XDG_DATA_HOME", ".local/share"),
        ("XDG_STATE_HOME", ".local/state"),
        ("XDG_CACHE_HOME", ".cache"),
    ];
    let settings = [
        "opencode.json",
        "opencode.jsonc",
        "config.json",
        "AGENTS.md",
        "agent",
        "agents",
        "command",
        "commands",
        "plugin",
        "plugins",
        "tool",
        "tools",
    ];
    let mut state = State::of(folder("XDG_CONFIG_HOME", ".config").join("opencode"), &settings);
    let more = kinds.map(|(name, usual)| folder(name, usual).join("opencode"));
    state.folders.extend(more);
    state
}
