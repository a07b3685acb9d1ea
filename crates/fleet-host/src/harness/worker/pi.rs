//! Pi: a closed list of tools, and an extension that keeps the ones that write to the workspace.
//!
//! - It asks for nothing and has no sandbox: a shell goes everywhere.
//! - It has no web of its own. The list has the names that extensions use for it, for users who have one.

use std::path::PathBuf;

use serde_json::json;

use super::{Dropped, State, Terms, WorkerTerms, text};

const DROPS: &[Dropped] = &[
    Dropped::flag(&["--no-tools", "-nt", "--no-builtin-tools", "-nbt"]),
    Dropped::option(&["--tools", "-t"]),
];

const FILE: &str = "fleet-pi-worker.ts";
const EXTENSION: &str = include_str!("../pi/worker.ts");
/// What stands in the extension for the folders.
const FOLDERS: &str = "[\"FOLDERS\"]";

const READ: &[&str] = &["read", "grep", "find", "ls"];
const WRITE: &[&str] = &["edit", "write"];
const SHELL: &[&str] = &["bash"];
const WEB: &[&str] = &["web_search", "fetch_content", "code_search", "get_search_content"];

pub(super) fn terms(worker: &WorkerTerms<'_>) -> Terms {
    let kind = worker.worker_type;
    let mut tools = READ.to_vec();
    for (may, more) in [(kind.writes(), WRITE), (kind.has_shell(), SHELL), (kind.has_web(), WEB)] {
        if may {
            tools.extend(more);
        }
    }
    let mut args = Vec::new();
    let mut files = Vec::new();
    if worker.is_kept_in() {
        args.extend(["--tools".to_owned(), tools.join(",")]);
    }
    if kind.writes() && worker.is_kept_in() {
        let path = worker.folder.join(FILE);
        let folders: Vec<String> = worker.writable().map(text).collect();
        args.extend(["--extension".to_owned(), text(&path)]);
        files.push((path, EXTENSION.replace(FOLDERS, &json!(folders).to_string())));
    }
    if let Some(effort) = worker.effort {
        args.extend(["--thinking".to_owned(), effort.as_str().to_owned()]);
    }
    Terms {
        args,
        files,
        drops: DROPS,
        ..Terms::default()
    }
}

pub(super) fn state(folder: &dyn Fn(&str, &str) -> PathBuf) -> State {
    let settings = [
        "settings.json",
        "models.json",
        "extensions",
        "prompts",
        "skills",
        "AGENTS.md",
    ];
    State::of(folder("PI_CODING_AGENT_DIR", ".pi/agent"), &settings)
}
