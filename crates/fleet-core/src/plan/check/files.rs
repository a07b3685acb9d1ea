//! Worktree plans: branches, declared files, and who can commit.

use std::collections::BTreeMap;

use super::super::file::{FleetFile, WorkerFile};
use super::super::glob::{Pattern, Unusable};
use super::super::overlap::overlaps;
use super::super::rule::{Findings, Rule, quoted};
use super::type_of;
use crate::name::{branch_fault, branch_hint};

/// Notes what is wrong with the branches, files and types of a worktree plan.
pub(super) fn worktree(file: &FleetFile, findings: &mut Findings) {
    branches(file, findings);
    declared(file, findings);
    for (index, worker) in file.workers.iter().enumerate() {
        if let Some(worker_type) = type_of(file, index).filter(|worker_type| !worker_type.has_shell()) {
            let message = format!(
                "a worker of type `{}` has no shell to commit with",
                worker_type.as_str()
            );
            let at_type = worker.worker_type.map_or("", |_| ".type");
            let _ = findings.add(Rule::CannotCommit, format!("workers[{index}]{at_type}"), message);
        }
    }
}

fn branches(file: &FleetFile, findings: &mut Findings) {
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, worker) in file.workers.iter().enumerate().filter(|(_, worker)| is_there(worker)) {
        let path = || format!("workers[{index}].branch");
        let Some(branch) = &worker.branch else {
            let message = "the key `branch` is missing: the branch that the worker commits to";
            let hint = "write a name of its own, such as \"branch\": \"fix-parser\"";
            let _ = findings.add(Rule::Missing, path(), message).hint(hint);
            continue;
        };
        if let Some(why) = branch_fault(branch) {
            let message = format!("{} is no valid branch name: {why}", quoted(branch));
            let _ = findings.add(Rule::BadBranch, path(), message).hint(branch_hint(branch));
        }
        if let Some(first) = taken.get(branch.as_str()) {
            let message = format!("{} is the branch of workers[{first}] as well", quoted(branch));
            let _ = findings.add(Rule::BranchTaken, path(), message);
        } else {
            taken.insert(branch, index);
        }
    }
    for (branch, index) in &taken {
        let above = branch
            .match_indices('/')
            .find_map(|(at, _)| taken.get_key_value(&branch[..at]));
        if let Some((above, other)) = above {
            let message = format!(
                "git cannot have {} beside {} of workers[{other}]",
                quoted(branch),
                quoted(above)
            );
            let _ = findings.add(Rule::BranchTaken, format!("workers[{index}].branch"), message);
        }
    }
}

fn declared(file: &FleetFile, findings: &mut Findings) {
    let mut patterns = Vec::with_capacity(file.workers.len());
    for (index, worker) in file.workers.iter().enumerate() {
        let list = worker.target_files.as_deref().unwrap_or_default();
        if list.is_empty() && is_there(worker) {
            let message = match worker.target_files {
                None => "the key `target_files` is missing: the files that the worker will change",
                Some(_) => "`target_files` is empty",
            };
            let hint = "write paths or globs from the repository's top, such as \"target_files\": [\"src/parser/**\"]";
            let path = format!("workers[{index}].target_files");
            let _ = findings.add(Rule::Missing, path, message).hint(hint);
        }
        let read = |(place, text): (usize, &String)| match Pattern::new(text) {
            Ok(pattern) => Some(pattern),
            Err(fault) => {
                let path = format!("workers[{index}].target_files[{place}]");
                let _ = match fault {
                    Unusable::Malformed(why) => findings.add(
                        Rule::BadPattern,
                        path,
                        format!("{} cannot be read: {why}", quoted(text)),
                    ),
                    Unusable::Outside => findings.add(
                        Rule::OutsidePattern,
                        path,
                        format!("{} is not in the repository", quoted(text)),
                    ),
                };
                None
            }
        };
        patterns.push(list.iter().enumerate().map(read).collect());
    }
    let (found, whole) = overlaps(&patterns);
    for overlap in found {
        let text = |(worker, place): (usize, usize)| {
            let list = file.workers[worker].target_files.as_deref().unwrap_or_default();
            quoted(list.get(place).map_or("", String::as_str))
        };
        let path = |(worker, place): (usize, usize)| format!("workers[{worker}].target_files[{place}]");
        let message = format!(
            "{} and {} of {} both match {}",
            text(overlap.later),
            text(overlap.earlier),
            path(overlap.earlier),
            quoted(&overlap.path)
        );
        let _ = findings.add(Rule::Overlap, path(overlap.later), message);
    }
    if whole.is_err() {
        let message = "there are too many patterns that begin alike to compare each with each";
        let _ = findings.add(Rule::TooManyPatterns, "workers", message);
    }
}

/// Whether there is a worker at all, and not something else in its place.
fn is_there(worker: &WorkerFile) -> bool {
    *worker != WorkerFile::default()
}
