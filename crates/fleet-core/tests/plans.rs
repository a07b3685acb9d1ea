//! Whole plans with everything that `check` says of them, to be read by a person.
//!
//! Each file of `plans/` has the plan, its prompts, and the findings. When a rule changes, a test here fails and shows
//! the transcript as it is now.

use fleet_core::plan::prompt::Prompt;
use fleet_core::plan::{Surroundings, read};

/// The parts of a file: each begins with a line `== NAME`.
fn parts(file: &str) -> Vec<(&str, &str)> {
    let sections = file.split("== ").filter(|part| !part.is_empty());
    sections
        .map(|part| part.split_once('\n').unwrap_or((part, "")))
        .collect()
}

fn transcript(file: &str) -> String {
    let parts = parts(file);
    let part = |name: &str| parts.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    let draft = read(part("fleet.json").expect("a plan"));
    let prompt = |name: &str| part(name).map_or(Prompt::Missing, Prompt::read);
    let around = Surroundings {
        roots: vec!["/home/you/fleet-x".to_owned()],
        prompts: draft.prompts().map(|id| prompt(&format!("prompt of {id}"))).collect(),
        program: draft.program().map(prompt),
        has_workdir: true,
        ..Surroundings::default()
    };
    let checked = draft.check(&around);
    let mut said = String::new();
    for finding in &checked.findings {
        let place = format!("{}:{}", finding.line.unwrap_or(0), finding.column.unwrap_or(0));
        let level = finding.level.as_str();
        said.push_str(&format!(
            "{place} {level}[{}] {}: {}\n",
            finding.code, finding.path, finding.message
        ));
        said.push_str(&format!("  hint: {}\n", finding.hint));
    }
    said.push_str(&match checked.plan {
        Some(plan) => format!("{} workers, at most {}\n", plan.workers.len(), plan.most()),
        None => "cannot be started\n".to_owned(),
    });
    said
}

#[track_caller]
fn holds(file: &str) {
    let said = transcript(file);
    let parts = parts(file);
    let wanted = parts
        .iter()
        .find(|(name, _)| *name == "findings")
        .map_or("", |(_, text)| *text);
    assert!(said == wanted, "as it is now:\n{said}");
}

#[test]
fn a_plan_of_worktrees_with_nothing_wrong() {
    holds(include_str!("plans/worktree-fine.txt"));
}

#[test]
fn a_plan_of_worktrees_that_get_in_each_others_way() {
    holds(include_str!("plans/worktree-overlap.txt"));
}

#[test]
fn a_graph_that_was_written_for_the_first_fleet() {
    holds(include_str!("plans/dag-older.txt"));
}

#[test]
fn a_graph_with_the_mistakes_of_a_beginner() {
    holds(include_str!("plans/dag-beginner.txt"));
}

#[test]
fn rounds_without_what_ends_them() {
    holds(include_str!("plans/iterative-endless.txt"));
}

#[test]
fn rounds_with_several_providers() {
    holds(include_str!("plans/iterative-providers.txt"));
}

#[test]
fn a_search_for_a_better_number() {
    holds(include_str!("plans/autoresearch.txt"));
}

#[test]
fn a_text_that_is_hardly_json() {
    holds(include_str!("plans/hardly-json.txt"));
}
