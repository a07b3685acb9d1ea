//! Codex: a sandbox around whatever its shell runs.
//!
//! - It reads files with its shell, so a type without a shell keeps it: in a sandbox that writes nothing, or only the
//!   workspace, and without a network.
//! - It has no tool that fetches a page. Its web search is done by the vendor's service; a type with the web gets a
//!   network in the shell as well.
//! - In a folder that may be written it protects what git needs for a commit, wherever that is; naming the folder itself
//!   opens it.
//! - All goes by `-c`, because `codex exec resume` has no other option for it. Its flag that takes every boundary away
//!   would win over that.
//! - MCP servers of the user's run outside of its sandbox, and nothing turns all of them off.

use std::path::PathBuf;

use fleet_core::plan::word::{Sandbox, WorkerType};
use serde_json::Value;

use super::{Dropped, State, Terms, WorkerTerms, text};

const DROPS: &[Dropped] = &[
    Dropped::flag(&[
        "--dangerously-bypass-approvals-and-sandbox",
        "--yolo",
        "--full-auto",
        "--approve-for-me",
        "--search",
    ]),
    Dropped::option(&["--sandbox", "-s", "--ask-for-approval", "-a"]),
];

pub(super) fn terms(worker: &WorkerTerms<'_>) -> Terms {
    let kind = worker.worker_type;
    let mode = mode(worker);
    let mut settings = vec![
        ("approval_policy", Value::from("never")),
        ("sandbox_mode", mode.into()),
        ("web_search", if kind.has_web() { "live" } else { "disabled" }.into()),
    ];
    if mode == WORKSPACE {
        let beside: Vec<Value> = worker.writable().skip(1).map(|folder| text(folder).into()).collect();
        settings.push(("sandbox_workspace_write.network_access", kind.has_web().into()));
        settings.push(("sandbox_workspace_write.writable_roots", beside.into()));
    }
    if kind != WorkerType::Reviewer {
        settings.push(("features.multi_agent", false.into()));
    }
    if let Some(effort) = worker.effort {
        settings.push(("model_reasoning_effort", effort.as_str().into()));
    }
    // A JSON text, truth value or list of texts is one of TOML, too.
    let args = settings.into_iter();
    let args = args.flat_map(|(key, value)| ["-c".to_owned(), format!("{key}={value}")]);
    Terms {
        args: args.collect(),
        drops: DROPS,
        ..Terms::default()
    }
}

const WORKSPACE: &str = "workspace-write";
const FULL: &str = "danger-full-access";

/// The sandbox: the plan's, or the type's.
fn mode(worker: &WorkerTerms<'_>) -> &'static str {
    match (worker.sandbox, worker.worker_type) {
        (Some(Sandbox::ReadOnly), _) => "read-only",
        (Some(Sandbox::WorkspaceWrite | Sandbox::FullAuto), _) => WORKSPACE,
        (Some(Sandbox::FullAccess), _) => FULL,
        (None | Some(Sandbox::Bwrap), WorkerType::ReadOnly) => "read-only",
        (None | Some(Sandbox::Bwrap), WorkerType::Reviewer) => FULL,
        (None | Some(Sandbox::Bwrap), _) => WORKSPACE,
    }
}

pub(super) fn state(folder: &dyn Fn(&str, &str) -> PathBuf) -> State {
    let settings = ["config.toml", "hooks.json", "AGENTS.md", "prompts", "rules", "skills"];
    State::of(folder("CODEX_HOME", ".codex"), &settings)
}
