//! Prompts: whether they are there, and whether what they order fits the worker.

use super::super::Surroundings;
use super::super::file::{FleetFile, ProblemFile};
use super::super::prompt::{Orders, Prompt};
use super::super::resolve::PROGRAM;
use super::super::rule::{Findings, Rule, quoted};
use super::super::word::{PlanType, WorkerType};
use super::{id_fault, type_of};

/// Notes what is wrong with the prompts of the workers whose ids can be used.
pub(super) fn prompts(file: &FleetFile, around: &Surroundings, findings: &mut Findings) {
    let usable = |id: &&str| id_fault(id).is_none();
    let workers = file
        .workers
        .iter()
        .enumerate()
        .filter_map(|(index, worker)| Some((index, worker.id.as_deref().filter(usable)?)));
    for ((index, id), prompt) in workers.zip(&around.prompts) {
        let path = format!("workers[{index}]");
        let name = format!("workers/{id}/prompt.md");
        if let Some(orders) = readable(&name, prompt, &path, findings) {
            let told = Told {
                path: &path,
                name: &name,
                orders,
            };
            told.check(file.plan_type, type_of(file, index), around, findings);
        }
    }
}

/// Notes what is wrong with the prompt of an autoresearch plan.
pub(super) fn program(problem: &ProblemFile, around: &Surroundings, findings: &mut Findings) {
    let name = problem.program_md.as_deref().unwrap_or(PROGRAM);
    match &around.program {
        Some(Prompt::Missing) | None => {
            let message = format!("there is no file {}, the prompt of each round", quoted(name));
            let _ = findings.add(Rule::PathMissing, "problem.program_md", message);
        }
        Some(prompt) => {
            let _ = readable(name, prompt, "problem.program_md", findings);
        }
    }
}

fn readable<'a>(name: &str, prompt: &'a Prompt, path: &str, findings: &mut Findings) -> Option<&'a Orders> {
    match prompt {
        Prompt::Says(orders) => return Some(orders),
        Prompt::Missing => {
            let note = findings.add(Rule::PromptMissing, path, format!("there is no {name}"));
            let _ = note.hint(format!(
                "write what the worker is to do into {name} below the fleet root"
            ));
        }
        Prompt::Unreadable(why) => {
            let _ = findings.add(Rule::PromptUnreadable, path, format!("{name} cannot be read: {why}"));
        }
        Prompt::Empty => {
            let _ = findings.add(Rule::PromptEmpty, path, format!("{name} is empty"));
        }
    }
    None
}

/// A prompt and whose it is.
struct Told<'a> {
    path: &'a str,
    name: &'a str,
    orders: &'a Orders,
}

impl Told<'_> {
    fn check(
        &self,
        plan_type: Option<PlanType>,
        worker_type: Option<WorkerType>,
        around: &Surroundings,
        findings: &mut Findings,
    ) {
        if let Some(worker_type) = worker_type {
            self.fits(worker_type, findings);
        }
        if plan_type == Some(PlanType::Worktree) {
            if let Some(output) = self.orders.output() {
                self.note(
                    Rule::OutputInWorktree,
                    format!("says to save into {}", quoted(output)),
                    findings,
                );
            }
            if !self.orders.commits() {
                self.note(Rule::NoCommit, "does not say to commit", findings);
            }
        } else if let Some((one, other)) = self.orders.two_destinations() {
            let message = format!("names two destinations, {} and {}", quoted(one), quoted(other));
            self.note(Rule::TwoDestinations, message, findings);
        }
        if (plan_type, worker_type) == (Some(PlanType::Iterative), Some(WorkerType::Reviewer))
            && let Some(gap) = self.orders.verdict_gap()
        {
            self.note(
                Rule::NoVerdictRecipe,
                format!("does not say how to give a verdict: {gap}"),
                findings,
            );
        }
        for other in self.orders.other_roots(&around.roots) {
            let message = format!(
                "names the fleet root {}, and this one is {}",
                quoted(other),
                quoted(around.root())
            );
            self.note(Rule::OtherRoot, message, findings);
        }
    }

    /// Whether a worker of this type can do what it is told.
    fn fits(&self, worker_type: WorkerType, findings: &mut Findings) {
        let said =
            |what: &str, order: &str| format!("says {}, and type `{}` {what}", quoted(order), worker_type.as_str());
        if let Some(order) = self.orders.saves().filter(|_| !worker_type.writes()) {
            self.note(Rule::CannotSave, said("saves nothing", order), findings);
        }
        if let Some(order) = self.orders.runs().filter(|_| !worker_type.has_shell()) {
            self.note(Rule::BeyondType, said("has no shell", order), findings);
        }
        if let Some(order) = self.orders.searches().filter(|_| !worker_type.has_web()) {
            self.note(Rule::BeyondType, said("has no web", order), findings);
        }
    }

    fn note(&self, rule: Rule, message: impl AsRef<str>, findings: &mut Findings) {
        let _ = findings.add(rule, self.path, format!("{} {}", self.name, message.as_ref()));
    }
}
