//! Merging the branches of agents: what is to be known before, and the landing.
//!
//! [`plan::plan`] tries every merge without touching a checkout, index or ref, and proposes an order. [`land::land`]
//! lands them so, behind a gate where one is given. Neither forces anything: what cannot be merged stays where it is
//! and is named. Who the branches belong to is the caller's affair: agents of a fleet, or workers of a run.

pub(crate) mod gate;
pub mod land;
pub mod plan;
pub mod target;

use std::path::PathBuf;

use fleet_core::agent::{Agent, Workspace};
use fleet_core::task::TaskId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::checked;

/// One branch that may be merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branch {
    /// What it is called in the answer: an agent's branch, or a worker's id.
    pub name: String,
    /// The local branch.
    pub branch: String,
    /// Where its owner works, if that is still there.
    pub worktree: Option<PathBuf>,
    /// The commit that it started from.
    pub base: Option<String>,
    /// The files that its owner said it would change, as patterns; none where it said nothing.
    pub declared: Vec<String>,
    /// Names of those that go in before it.
    pub after: Vec<String>,
    /// Files in the worktree that are no work of its owner while they stay as they are, with SHA-256: what fleet copied in,
    /// and what a check left.
    pub foreign: Vec<(String, String)>,
}

impl Branch {
    /// The branch of `agent`. None when it works in a directory of the user's.
    pub fn of(app: &App, agent: &Agent) -> Option<Branch> {
        if agent.workspace == Workspace::Here {
            return None;
        }
        Some(Branch {
            name: agent.branch.clone(),
            branch: agent.branch.clone(),
            worktree: agent.worktree.is_dir().then(|| agent.worktree.clone()),
            base: agent.base.clone(),
            declared: Vec::new(),
            after: Vec::new(),
            foreign: checked::foreign(app, &agent.id),
        })
    }
}

/// How a branch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It can be merged.
    Ready,
    /// It was merged.
    Landed,
    /// Everything on it was merged before.
    AlreadyIn,
    /// There is no commit on it.
    Empty,
    /// It and what is there already change the same.
    Conflict,
    /// The gate fails with it, and passes without.
    GateFailed,
    /// Its worktree holds work that is in no commit.
    Uncommitted,
    /// Its worktree is on something else.
    Elsewhere,
    /// There is no such branch any more.
    Gone,
    /// Its owner has no branch, but works in a directory of the user's.
    NoBranch,
}

/// A file that cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Clash {
    /// Its path from the repository's top.
    pub file: String,
    /// git's word for it: `contents`, `binary`, `modify/delete`, `file/directory`, `rename/rename`, …
    pub kind: String,
    /// Who else changed it: names of branches, or the branch that is merged into.
    pub with: Vec<String>,
}

/// Two branches that cannot both be merged as they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Conflict {
    /// The name of one.
    pub a: String,
    /// The name of the other.
    pub b: String,
    /// The files.
    pub files: Vec<String>,
}

/// What is known of one branch, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// What it is called.
    pub name: String,
    /// The local branch.
    pub branch: String,
    /// How it stands.
    pub fate: Fate,
    /// Why it cannot be merged, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The commit that is merged.
    pub tip: Option<String>,
    /// Commits on it that are not on the target.
    pub ahead: usize,
    /// Commits on the target that are not on it.
    pub behind: usize,
    /// The files that it changes.
    pub files: Vec<String>,
    /// Lines that it adds.
    pub added: u64,
    /// Lines that it removes.
    pub removed: u64,
    /// Those of the files that its owner had not declared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undeclared: Vec<String>,
    /// The files that keep it from being merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clashes: Vec<Clash>,
    /// The commit that it landed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landed_in: Option<String>,
    /// The tasks that its commits are for; known of one that is about to land.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskId>,
    /// The end of what the gate printed when it failed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_output: Option<String>,
}

impl Planned {
    pub(crate) fn new(branch: &Branch, fate: Fate) -> Planned {
        Planned {
            name: branch.name.clone(),
            branch: branch.branch.clone(),
            fate,
            why: None,
            hint: None,
            tip: None,
            ahead: 0,
            behind: 0,
            files: Vec::new(),
            added: 0,
            removed: 0,
            undeclared: Vec::new(),
            clashes: Vec::new(),
            landed_in: None,
            tasks: Vec::new(),
            gate_output: None,
        }
    }
}

impl Planned {
    /// What is to be said of an agent that works in a directory of the user's.
    pub(crate) fn without_branch(name: &str) -> Planned {
        let branch = Branch {
            name: name.to_owned(),
            branch: name.to_owned(),
            ..Branch::default()
        };
        Planned {
            why: Some("works in a directory of yours, on no branch of its own".to_owned()),
            ..Planned::new(&branch, Fate::NoBranch)
        }
    }
}

/// What would come of merging all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergePlan {
    /// Those that can be merged, in the proposed order; behind them the others, by name.
    pub branches: Vec<Planned>,
    /// Which of them are in each other's way.
    pub conflicts: Vec<Conflict>,
}
