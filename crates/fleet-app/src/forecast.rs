//! Which of the branches that agents work on now would be in conflict with each other.
//!
//! Each worktree is looked at as it is on disk, committed or not. Nothing in it, its index or its repository changes.

use std::path::Path;

use fleet_core::{Result, merge};
use fleet_host::git::{self, Merges};
use fleet_host::parallel;

use crate::merge::plan::{Looked, pairs};
use crate::merge::{Branch, Conflict, Fate, Planned};

/// What is foreseen of branches that are worked on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// Pairs that are in each other's way now.
    pub conflicts: Vec<Conflict>,
    /// Names, and the files that they change and had not declared. Of those that declared nothing nothing is said.
    pub undeclared: Vec<(String, Vec<String>)>,
}

/// What is to be foreseen of `branches` of the repository `common` (its common git directory). A branch that cannot be
/// looked at is left out: a forecast is better without it than not at all. Only pairs that changed a common place are
/// tried.
pub fn look_ahead(common: &Path, branches: &[Branch]) -> Result<Foreseen> {
    let merges = Merges::trial(common)?;
    let looked = parallel::map(branches.iter().collect(), parallel::cores(), |branch: &Branch| {
        look(common, &merges, branch)
            .ok()
            .flatten()
            .map(|looked| (branch, looked))
    });
    let looked: Vec<(&Branch, Looked)> = looked.into_iter().flatten().collect();
    let undeclared = looked.iter().filter(|(branch, _)| !branch.declared.is_empty());
    let undeclared = undeclared.map(|(branch, looked)| {
        let changed = looked.paths.iter().map(|path| path.as_ref());
        (branch.name.clone(), merge::undeclared(changed, &branch.declared))
    });
    Ok(Foreseen {
        undeclared: undeclared.filter(|(_, files)| !files.is_empty()).collect(),
        conflicts: pairs(
            &merges,
            &looked.into_iter().map(|(_, looked)| looked).collect::<Vec<_>>(),
        )?,
    })
}

/// None when it has changed nothing since its start.
fn look(common: &Path, merges: &Merges, branch: &Branch) -> Result<Option<Looked>> {
    let commit = match &branch.worktree {
        Some(worktree) => Some(merges.snapshot(worktree, &branch.foreign)?),
        None => git::branch_tip(common, &branch.branch)?,
    };
    let (Some(commit), Some(base)) = (commit, &branch.base) else {
        return Ok(None);
    };
    if commit == *base {
        return Ok(None);
    }
    let changes = merges.changes(base, &commit)?;
    let paths = changes.into_iter().map(|change| change.path).collect();
    Ok(Some(Looked {
        planned: Planned::new(branch, Fate::Ready),
        commit,
        paths,
    }))
}
