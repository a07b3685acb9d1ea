//! What the last check said of an agent's work: a file in the agent's folder that `rank` writes and `pr` reads.

use fleet_core::Time;
use fleet_core::agent::Standing;
use fleet_core::id::AgentId;
use fleet_core::tally::Tally;
use fleet_host::files;
use fleet_host::supervise::journal;
use serde::{Deserialize, Serialize};

use crate::app::App;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// The shell line.
    pub(crate) check: String,
    /// The commit that was checked; one that is on no branch where something was not committed.
    pub(crate) commit: String,
    pub(crate) passed: bool,
    pub(crate) exit_code: Option<i32>,
    pub(crate) tests: Option<Tally>,
    pub(crate) files: usize,
    pub(crate) added: u64,
    pub(crate) removed: u64,
    pub(crate) cost_usd: Option<f64>,
    /// Its place, from 1.
    pub(crate) place: usize,
    /// Among so many.
    pub(crate) of: usize,
    /// Files that the check left in the worktree, and SHA-256 of each: no work of the agent's while they stay so.
    #[serde(default)]
    pub(crate) left: Vec<(String, String)>,
    /// When.
    pub(crate) at: Time,
}

const FILE: &str = "check.json";

/// Writes it down in place of the one before.
pub(crate) fn keep(app: &App, id: &AgentId, verdict: &Verdict) {
    if let Ok(bytes) = serde_json::to_vec_pretty(verdict) {
        let _ = files::write_cache("rank.verdict", &app.home.agent_dir(id).join(FILE), &bytes, 0o600);
    }
}

/// The last one, if there is one.
pub(crate) fn last(app: &App, id: &AgentId) -> Option<Verdict> {
    let bytes = std::fs::read(app.home.agent_dir(id).join(FILE)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Files in the worktree of an agent that are no work of its own while they stay as they are: those that fleet copied
/// in, and those that the last check left.
pub(crate) fn foreign(app: &App, id: &AgentId) -> Vec<(String, String)> {
    let entries = journal::read(&app.home.agent_dir(id)).unwrap_or_default();
    let mut foreign = Standing::fold(&entries).copied;
    for file in last(app, id).map(|verdict| verdict.left).unwrap_or_default() {
        if !foreign.contains(&file) {
            foreign.push(file);
        }
    }
    foreign
}

impl Verdict {
    /// As a comment for people.
    pub(crate) fn text(&self) -> String {
        let result = match (self.passed, self.exit_code) {
            (true, _) => "passed".to_owned(),
            (false, Some(code)) => format!("failed with exit code {code}"),
            (false, None) => "ran out of time".to_owned(),
        };
        let mut text = format!(
            "`{}` {result} on {}.\n\n",
            self.check.replace('`', "'"),
            short(&self.commit)
        );
        if let Some(tests) = self.tests {
            text.push_str(&format!(
                "- tests: {} passed, {} failed, {} skipped\n",
                tests.passed, tests.failed, tests.skipped
            ));
        }
        text.push_str(&format!(
            "- change: {} files, +{} -{}\n",
            self.files, self.added, self.removed
        ));
        if let Some(cost) = self.cost_usd {
            text.push_str(&format!("- cost: {cost:.2} USD, by the agent program's own account\n"));
        }
        if self.of > 1 {
            text.push_str(&format!("- rank: {} of {}\n", self.place, self.of));
        }
        text
    }
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}
