//! Gemini CLI: a policy of fleet's own, which comes before every other one but the machine's.
//!
//! - A tool that is denied is not offered. Its tools write in the workspace alone.
//! - What a policy does not allow by name is asked for, and without a terminal refused: a redirection in a shell line,
//!   too, so that is allowed with the shell.
//! - Git in its shell knows nothing of the user's settings, so it is told who commits.
//! - A command substitution in a shell line it refuses whatever a policy says.

use std::path::PathBuf;

use fleet_core::plan::word::WorkerType;
use serde_json::json;

use super::{Dropped, State, Terms, WorkerTerms, text};

/// Its parser takes each of these once.
const DROPS: &[Dropped] = &[
    Dropped::flag(&["--yolo", "-y"]),
    Dropped::option(&["--approval-mode"]),
    Dropped::list(&["--allowed-tools"]),
];

const FILE: &str = "fleet-gemini-worker.toml";

const READ: &[&str] = &[
    "read_file",
    "read_many_files",
    "list_directory",
    "glob",
    "grep_search",
    "search_file_content",
    "update_topic",
    "write_todos",
];
const WRITE: &[&str] = &["write_file", "replace"];
const SHELL: &[&str] = &[
    "run_shell_command",
    "list_background_processes",
    "read_background_output",
];
const WEB: &[&str] = &["web_fetch", "google_web_search"];

pub(super) fn terms(worker: &WorkerTerms<'_>) -> Terms {
    let path = worker.folder.join(FILE);
    let mut args = vec![
        "--approval-mode".to_owned(),
        "default".to_owned(),
        "--admin-policy".to_owned(),
        text(&path),
    ];
    for folder in worker.added {
        args.extend(["--include-directories".to_owned(), text(folder)]);
    }
    let author = worker.author.filter(|_| worker.worker_type.has_shell());
    let env = author.into_iter().flat_map(|(name, address)| {
        ["AUTHOR", "COMMITTER"].into_iter().flat_map(move |who| {
            [("NAME", name), ("EMAIL", address)].map(|(what, value)| (format!("GIT_{who}_{what}"), value.to_owned()))
        })
    });
    Terms {
        args,
        env: env.collect(),
        files: vec![(path, policy(worker.worker_type))],
        drops: DROPS,
    }
}

fn policy(kind: WorkerType) -> String {
    let all = json!(["*"]);
    if kind == WorkerType::Reviewer {
        return rule(&all, "allow", 900);
    }
    let mut allowed = READ.to_vec();
    for (may, tools) in [(kind.writes(), WRITE), (kind.has_shell(), SHELL), (kind.has_web(), WEB)] {
        if may {
            allowed.extend(tools);
        }
    }
    rule(&all, "deny", 100) + &rule(&json!(allowed), "allow", 900)
}

/// A JSON list of texts is one of TOML, too.
fn rule(tools: &serde_json::Value, decision: &str, priority: u32) -> String {
    format!(
        "[[rule]]\ntoolName = {tools}\ndecision = \"{decision}\"\npriority = {priority}\nallowRedirection = true\n\n"
    )
}

pub(super) fn state(folder: &dyn Fn(&str, &str) -> PathBuf) -> State {
    let settings = [
        "settings.json",
        "GEMINI.md",
        "commands",
        "extensions",
        "policies",
        "skills",
    ];
    State::of(folder("GEMINI_CLI_HOME", "").join(".gemini"), &settings)
}
