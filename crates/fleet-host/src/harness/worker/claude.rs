//! Claude Code: a closed list of tools, and which of them need no question.
//!
//! - Its mode without any question (`--dangerously-skip-permissions`) is refused to root, so it is never used: what
//!   is on the list of allowed tools, and an edit of the workspace in the mode `acceptEdits`, is not asked for.
//! - Without a terminal nobody can be asked, and what would be asked for is refused.

use std::path::PathBuf;

use fleet_core::plan::word::WorkerType;

use super::{Dropped, State, Terms, WorkerTerms, text};

/// `--tools` twice would offer the tools of both.
const DROPS: &[Dropped] = &[
    Dropped::flag(&["--dangerously-skip-permissions", "--allow-dangerously-skip-permissions"]),
    Dropped::option(&["--permission-mode"]),
    Dropped::list(&["--tools"]),
];

const READ: &[&str] = &["Read", "Glob", "Grep"];
const WRITE: &[&str] = &["Edit", "Write", "NotebookEdit"];
const SHELL: &[&str] = &["Bash", "TaskOutput", "TaskStop"];
const WEB: &[&str] = &["WebFetch", "WebSearch"];
/// What has no effect beyond its own conversation, or none without the tools above.
const NOTES: &[&str] = &["TaskCreate", "TaskGet", "TaskList", "TaskUpdate", "TodoWrite"];

pub(super) fn terms(worker: &WorkerTerms<'_>) -> Terms {
    let kind = worker.worker_type;
    let mut offered = [READ, NOTES].concat();
    let mut allowed = offered.clone();
    if kind.writes() {
        offered.extend(WRITE);
        if !worker.is_kept_in() {
            allowed.extend(WRITE);
        }
    }
    for (may, tools) in [(kind.has_shell(), SHELL), (kind.has_web(), WEB)] {
        if may {
            offered.extend(tools);
            allowed.extend(tools);
        }
    }
    let mode = if kind.writes() { "acceptEdits" } else { "dontAsk" };
    let mut args = vec!["--permission-mode".to_owned(), mode.to_owned(), "--tools".to_owned()];
    if kind == WorkerType::Reviewer {
        args.push("default".to_owned());
        allowed.extend(["Agent", "Skill"]);
    } else {
        if kind.has_shell() {
            offered.push("Skill");
            allowed.push("Skill");
        }
        args.push(offered.join(","));
    }
    args.extend(["--allowedTools".to_owned(), allowed.join(",")]);
    if !kind.has_shell() {
        args.push("--strict-mcp-config".to_owned());
    }
    for folder in worker.added {
        args.extend(["--add-dir".to_owned(), text(folder)]);
    }
    let limits = [
        ("--fallback-model", worker.fallback.map(str::to_owned)),
        ("--max-budget-usd", worker.budget_usd.map(|usd| usd.to_string())),
        ("--max-turns", worker.max_turns.map(|turns| turns.to_string())),
    ];
    for (option, value) in limits {
        args.extend(value.into_iter().flat_map(|value| [option.to_owned(), value]));
    }
    Terms {
        args,
        drops: DROPS,
        ..Terms::default()
    }
}

pub(super) fn state(folder: &dyn Fn(&str, &str) -> PathBuf) -> State {
    let own = folder("CLAUDE_CONFIG_DIR", ".claude");
    let settings = [
        "settings.json",
        "settings.local.json",
        "CLAUDE.md",
        "agents",
        "commands",
        "hooks",
        "output-styles",
        "plugins",
        "skills",
    ];
    State {
        // It is in the home folder, unless everything is somewhere else.
        files: vec![own.with_extension("json")],
        ..State::of(own, &settings)
    }
}
