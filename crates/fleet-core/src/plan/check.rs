//! The rules over what a file says, and what it speaks of.

mod files;
mod spend;
mod told;

use std::collections::BTreeMap;

use regex_lite::Regex;

use super::file::{FleetFile, WorkerFile};
use super::graph;
use super::resolve::worker_type;
use super::rule::{Findings, Rule, quoted};
use super::word::{PlanType, Role, WorkerType};
use super::{Reach, Surroundings};

/// The ids of a plan's workers, each with the place of the first worker that has it.
type Ids<'a> = BTreeMap<&'a str, usize>;

/// Notes every rule that `file` breaks.
pub(super) fn file(file: &FleetFile, around: &Surroundings, findings: &mut Findings) {
    names(file, findings);
    if let Some(why) = &around.read_only {
        let message = format!("{} cannot be written to: {why}", around.root());
        let _ = findings.add(Rule::RootReadOnly, "", message);
    }
    if file.plan_type == Some(PlanType::Autoresearch) {
        research(file, around, findings);
    } else {
        workers(file, around, findings);
    }
    spend::models(file, around, findings);
    spend::budgets(file, findings);
}

/// What the commands of its workers can do beyond their types.
pub(super) fn reach(file: &FleetFile) -> Vec<Reach> {
    match file.plan_type {
        Some(PlanType::Autoresearch) => Vec::new(),
        _ => spend::reach(file),
    }
}

/// What is wrong with the id of a worker. It names a folder, so it may be no path.
pub(super) fn id_fault(id: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if id.is_empty() {
        Some("it is empty")
    } else if id.len() > 64 {
        Some("it is longer than 64 characters")
    } else if id.contains('/') {
        Some("it has a `/`")
    } else if id.contains("..") {
        Some("it has `..`")
    } else if !id.chars().all(plain) {
        Some("it has a character other than letters, digits, `-`, `_` and `.`")
    } else if !id.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Some("it does not begin with a letter or digit")
    } else {
        None
    }
}

/// What is wrong with the pattern of a metric.
pub(super) fn metric_fault(pattern: &str) -> Option<String> {
    match Regex::new(pattern) {
        Ok(regex) if regex.captures_len() < 2 => Some("it has no group".to_owned()),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

fn names(file: &FleetFile, findings: &mut Findings) {
    for (key, name) in [("fleet_name", &file.fleet_name), ("fleet_id", &file.fleet_id)] {
        let Some(name) = name else { continue };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let why = if name.len() > 100 {
            "it is longer than 100 characters"
        } else if !name.chars().all(plain) {
            "it has a character other than letters, digits, `.`, `_`, `-` and `/`"
        } else if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
            "a part of it is empty or begins with a dot"
        } else {
            continue;
        };
        let _ = findings.add(Rule::BadName, key, format!("{} cannot be used: {why}", quoted(name)));
    }
}

fn workers(file: &FleetFile, around: &Surroundings, findings: &mut Findings) {
    if file.workers.is_empty() {
        let _ = findings.add(Rule::NoWorkers, "workers", "there are no workers");
    }
    let ids = ids(file, findings);
    let graph = dependencies(file, &ids, findings);
    for (index, worker) in file.workers.iter().enumerate() {
        if worker.worker_type.is_none()
            && ![None, Some(PlanType::Worktree)].contains(&file.plan_type)
            && *worker != WorkerFile::default()
        {
            let message = "the key `type` is missing: what the worker may do";
            let hint =
                "write one of `read-only`, `write`, `code-run`, `research`, `reviewer`, by what it has to hand in";
            let _ = findings
                .add(Rule::Missing, format!("workers[{index}].type"), message)
                .hint(hint);
        }
    }
    match file.plan_type {
        Some(PlanType::Worktree) => files::worktree(file, findings),
        Some(PlanType::Iterative) => rounds(file, &graph, findings),
        _ => {}
    }
    told::prompts(file, around, findings);
}

fn ids<'a>(file: &'a FleetFile, findings: &mut Findings) -> Ids<'a> {
    let mut ids = Ids::new();
    for (index, worker) in file.workers.iter().enumerate() {
        let Some(id) = &worker.id else { continue };
        let path = || format!("workers[{index}].id");
        if let Some(why) = id_fault(id) {
            let _ = findings.add(Rule::BadId, path(), format!("{} cannot be an id: {why}", quoted(id)));
        }
        if let Some(first) = ids.get(id.as_str()) {
            let message = format!("{} is the id of workers[{first}] as well", quoted(id));
            let _ = findings.add(Rule::DuplicateId, path(), message);
        } else {
            ids.insert(id, index);
        }
    }
    ids
}

/// Who waits for whom, as far as the names mean somebody.
fn dependencies(file: &FleetFile, ids: &Ids<'_>, findings: &mut Findings) -> Vec<Vec<usize>> {
    let known: Vec<&str> = ids.keys().copied().collect();
    let mut graph = Vec::with_capacity(file.workers.len());
    for (index, worker) in file.workers.iter().enumerate() {
        let mut waits_for = BTreeMap::new();
        for (place, id) in worker.depends_on.iter().enumerate() {
            let path = || format!("workers[{index}].depends_on[{place}]");
            if worker.id.as_ref() == Some(id) {
                let _ = findings.add(Rule::SelfDependency, path(), format!("{} waits for itself", quoted(id)));
            } else if let Some(&other) = ids.get(id.as_str()) {
                if waits_for.insert(other, place).is_some() {
                    let _ = findings.add(
                        Rule::RepeatedDependency,
                        path(),
                        format!("{} is named twice", quoted(id)),
                    );
                }
            } else {
                let near = findings.guess(id, &known);
                let message = format!("no worker has the id {}", quoted(id));
                let note = findings.add(Rule::UnknownDependency, path(), message);
                if let Some(near) = near {
                    let _ = note.hint(format!("did you mean `{near}`?"));
                }
            }
        }
        graph.push(waits_for);
    }
    let edges: Vec<Vec<usize>> = graph
        .iter()
        .map(|waits_for| waits_for.keys().copied().collect())
        .collect();
    for cycle in graph::cycles(&edges) {
        let next = cycle.get(1).copied().unwrap_or(cycle[0]);
        let place = graph[cycle[0]].get(&next).copied().unwrap_or_default();
        let path = format!("workers[{}].depends_on[{place}]", cycle[0]);
        let _ = findings.add(Rule::Cycle, path, format!("a cycle: {}", circle(file, &cycle)));
    }
    edges
}

/// `a -> b -> a`, with the middle of a long one left out.
fn circle(file: &FleetFile, cycle: &[usize]) -> String {
    const SHOWN: usize = 12;
    let name = |index: &usize| file.workers[*index].id.as_deref().unwrap_or_default().to_owned();
    let mut names: Vec<String> = cycle.iter().take(SHOWN).map(name).collect();
    if cycle.len() > SHOWN {
        names.push(format!("({} more)", cycle.len() - SHOWN));
    }
    names.extend(cycle.first().map(name));
    names.join(" -> ")
}

/// Rounds of builders and one reviewer.
fn rounds(file: &FleetFile, graph: &[Vec<usize>], findings: &mut Findings) {
    stop_rule(file, findings);
    let mut reviewers = Vec::new();
    for (index, worker) in file.workers.iter().enumerate() {
        let is_reviewer = match worker.worker_type {
            Some(worker_type) => worker_type == WorkerType::Reviewer,
            None => worker.role == Some(Role::Reviewer),
        };
        if let (Some(role), Some(worker_type)) = (worker.role, worker.worker_type)
            && (role == Role::Reviewer) != is_reviewer
        {
            let message = format!("role `{}`, and type `{}`", role.as_str(), worker_type.as_str());
            let _ = findings.add(Rule::RoleDisagrees, format!("workers[{index}].role"), message);
        }
        if is_reviewer {
            reviewers.push(index);
        }
    }
    let [reviewer] = reviewers.as_slice() else {
        if reviewers.is_empty() && !file.workers.is_empty() {
            let _ = findings.add(Rule::ReviewerCount, "workers", "there is no reviewer");
        }
        for second in reviewers.iter().skip(1) {
            let message = format!("a second reviewer; the first one is workers[{}]", reviewers[0]);
            let _ = findings.add(Rule::ReviewerCount, format!("workers[{second}].type"), message);
        }
        return;
    };
    if file.workers.len() == 1 {
        let _ = findings.add(Rule::NoWorkers, "workers", "there is a reviewer, and no builder");
    }
    let (before, after) = (
        graph::reached(graph, *reviewer),
        graph::reached(&graph::reversed(graph), *reviewer),
    );
    let early: Vec<usize> = (0..graph.len())
        .filter(|worker| !before[*worker] && !after[*worker] && worker != reviewer)
        .collect();
    if !early.is_empty() {
        let message = format!("the reviewer does not wait for {}", list(file, &early));
        let _ = findings.add(Rule::ReviewerEarly, format!("workers[{reviewer}].depends_on"), message);
    }
    for (index, worker) in file.workers.iter().enumerate().filter(|(index, _)| index != reviewer) {
        let reviewer_id = file.workers[*reviewer].id.as_ref();
        for (place, id) in worker
            .depends_on
            .iter()
            .enumerate()
            .filter(|(_, id)| Some(*id) == reviewer_id)
        {
            let path = format!("workers[{index}].depends_on[{place}]");
            let _ = findings.add(
                Rule::WaitsForReviewer,
                path,
                format!("a builder waits for the reviewer {}", quoted(id)),
            );
        }
    }
}

fn stop_rule(file: &FleetFile, findings: &mut Findings) {
    let stop = file.stop_when.clone().unwrap_or_default();
    let keys = [
        ("max_iterations", stop.max_iterations, 10),
        ("reviewer_lgtm_count", stop.reviewer_lgtm_count, 1),
    ];
    if file.stop_when.is_none() {
        let message = "the key `stop_when` is missing: when the rounds end";
        let hint = "write \"stop_when\": {\"max_iterations\": 10, \"reviewer_lgtm_count\": 1}";
        let _ = findings.add(Rule::Missing, "stop_when", message).hint(hint);
        return;
    }
    for (key, _, usual) in keys.iter().filter(|(_, value, _)| value.is_none()) {
        let message = format!("the key `{key}` is missing: when the rounds end");
        let _ = findings
            .add(Rule::Missing, format!("stop_when.{key}"), message)
            .hint(format!("write \"{key}\": {usual}"));
    }
    if let (Some(most), Some(wanted)) = (stop.max_iterations, stop.reviewer_lgtm_count)
        && wanted > most
    {
        let message = format!("{wanted} verdicts in a row cannot be reached in {most} rounds");
        let _ = findings.add(Rule::UnreachableStop, "stop_when.reviewer_lgtm_count", message);
    }
}

/// A metric loop: the problem is there, its metric can be read, and so can its files.
fn research(file: &FleetFile, around: &Surroundings, findings: &mut Findings) {
    let Some(problem) = &file.problem else {
        let message = "the key `problem` is missing: what is to get better";
        let hint = "write \"problem\": {\"eval_command\": \"…\", \"metric_regex\": \"score: ([0-9.]+)\"}";
        let _ = findings.add(Rule::Missing, "problem", message).hint(hint);
        return;
    };
    for (key, value) in [
        ("eval_command", &problem.eval_command),
        ("metric_regex", &problem.metric_regex),
    ] {
        if value.as_ref().is_some_and(|text| text.trim().is_empty()) {
            let _ = findings.add(Rule::Missing, format!("problem.{key}"), format!("`{key}` is empty"));
        }
    }
    if let Some(pattern) = problem.metric_regex.as_ref().filter(|pattern| !pattern.is_empty())
        && let Some(why) = metric_fault(pattern)
    {
        let message = format!("{} cannot find a number: {why}", quoted(pattern));
        let _ = findings.add(Rule::BadMetric, "problem.metric_regex", message);
    }
    if let Some(workdir) = problem.workdir.as_ref().filter(|_| !around.has_workdir) {
        let message = format!("there is no folder {}", quoted(workdir));
        let _ = findings.add(Rule::PathMissing, "problem.workdir", message);
    }
    told::program(problem, around, findings);
}

/// `` `a`, `b` and 3 more ``.
fn list(file: &FleetFile, workers: &[usize]) -> String {
    const SHOWN: usize = 3;
    let names: Vec<String> = workers
        .iter()
        .take(SHOWN)
        .map(|index| match &file.workers[*index].id {
            Some(id) => quoted(id),
            None => format!("workers[{index}]"),
        })
        .collect();
    match workers.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// The type of the worker at `index`, where it is known.
fn type_of(file: &FleetFile, index: usize) -> Option<WorkerType> {
    worker_type(file.plan_type, &file.workers[index])
}
