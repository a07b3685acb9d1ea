//! From answers to a plan: which type fits and why, its `fleet.json` and its prompts.
//!
//! Nothing here judges whether the plan is right: what is written goes through the same [`super::read`] and
//! [`super::Draft::check`] as what a person wrote.
//!
//! - [`tree`] decides on the type; `line` reads a worker from one line; `told` writes the prompts.

pub mod tree;

mod line;
#[cfg(test)]
mod tests;
pub mod told;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::tree::{Choice, Decision, decide};
use super::check;
use super::file::{ConfigFile, FleetFile, ProblemFile, StopFile, WorkerFile};
use super::model;
use super::resolve::{PROGRAM, PROVIDER, RESULTS};
use super::word::{Direction, Effort, PlanType, Size, WorkerType};
use crate::name::branch_fault;
use crate::{Error, Result};

/// How many rounds an iterative and an autoresearch plan have, where nobody says otherwise.
pub const ROUNDS: [u32; 2] = [10, 20];

/// What is said about a piece of work: the content of a `spec.toml`, of the flags, or of the dialogue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// Where the fleet root is made; `fleet-{YYYYMMDD-HHMMSS}-{name}` in the current directory if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// What the fleet is called; the name of the repository if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The type of the plan, where it is known. Without one the next questions decide.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub plan_type: Option<PlanType>,
    /// Whether one agent can do all of it in a single session. Then there is no plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_session: Option<bool>,
    /// Whether it splits into parts that have no file in common.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub independent: Option<bool>,
    /// Whether it is done when a reviewer says so, round after round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviewed: Option<bool>,
    /// Whether one part needs what another made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordered: Option<bool>,
    /// Whether one number is to get better, and a command measures it quickly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<bool>,
    /// The provider of all workers; `claude` if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Their model; the provider's default if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How long their model thinks; `codex` and `pi` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<Effort>,
    /// How large a task is, of each worker that does not say it, and of each round of an autoresearch plan; `function`
    /// if it says nothing. It proposes the budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// How many workers run at once; 3 if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// What the whole run may spend, in USD; no limit if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_budget_fleet: Option<f64>,
    /// The workers. An autoresearch plan has none, and the reviewer of an iterative one may be left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerSpec>,
    /// What the reviewer has to look at, in an iterative plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<String>,
    /// The most rounds of an iterative plan, 10 if it says nothing, or of an autoresearch plan, 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_iterations: Option<u32>,
    /// So many verdicts `lgtm` in a row end an iterative plan; 1 if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviewer_lgtm_count: Option<u32>,
    /// What is to get better in an autoresearch plan, and what may be tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<String>,
    /// The command that measures it. fleet runs it after each round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_command: Option<String>,
    /// A regular expression with a group around the number in the command's output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_regex: Option<String>,
    /// Which way is better; `minimize` if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_direction: Option<Direction>,
    /// Where an autoresearch plan works; the repository's top if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// The files that an autoresearch plan may change; all below `workdir` if it says nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// One worker, as it is described.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSpec {
    /// Its name in the plan, and of its folder.
    pub id: String,
    /// What it is to do, in specific terms: the text of its prompt.
    pub task: String,
    /// What it may do, by what it hands in; `code-run` in a worktree plan, else it must be said.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub worker_type: Option<WorkerType>,
    /// The files that it changes or makes, from the repository's top. Without any it saves into its output folder; in a
    /// worktree plan there must be some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// The workers that must be done before it starts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// Its branch in a worktree plan; `NAME-ID` if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// How large its task is, where that is not the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// What it may spend, in USD, in an iterative plan in each round; as its size proposes if it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// Its provider, where that is not the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Its model, where that is not the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How long its model thinks, where that is not the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_effort: Option<Effort>,
}

/// A plan as it is to be written: nothing of it has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// What its `fleet.json` says.
    pub file: FleetFile,
    /// The same as text.
    pub text: String,
    /// Its prompts, each with its path below the fleet root, in the order of [`super::Draft::prompts`].
    pub prompts: Vec<(String, String)>,
    /// Where each worker hands in, in the order of the plan.
    destinations: Vec<Vec<String>>,
}

impl Written {
    /// Where the worker `id` hands in: files from the repository's top, or from the fleet root. Nothing for one that
    /// answers in its last message.
    pub fn destination(&self, id: &str) -> &[String] {
        let mut workers = self.file.workers.iter().zip(&self.destinations);
        let found = workers.find(|(worker, _)| worker.id.as_deref() == Some(id));
        found.map_or(&[], |(_, destination)| destination)
    }
}

/// What is still to be said before a plan can be written: each as a few words, nothing if that is all.
pub fn missing(spec: &Spec) -> Vec<String> {
    let plan_type = match decide(spec) {
        Decision::Unanswered(open) => {
            let open = open.iter().map(|question| format!("`{}`", question.key()));
            return vec![format!(
                "`type`, or whether it is {}",
                open.collect::<Vec<_>>().join(", ")
            )];
        }
        Decision::Stop(_) => return Vec::new(),
        Decision::Take(choice) => choice.plan_type,
    };
    let mut missing = Vec::new();
    if plan_type == PlanType::Autoresearch {
        let keys = [
            ("goal", &spec.goal),
            ("eval_command", &spec.eval_command),
            ("metric_regex", &spec.metric_regex),
        ];
        let open = keys.iter().filter(|(_, value)| is_blank(value.as_deref()));
        missing.extend(open.map(|(key, _)| format!("`{key}`")));
        return missing;
    }
    if !spec.workers.iter().any(|worker| !is_verdict(plan_type, worker)) {
        missing.push("`workers`".to_owned());
    }
    for (index, worker) in spec.workers.iter().enumerate() {
        let who = match worker.id.is_empty() {
            true => format!("worker {}", index + 1),
            false => format!("worker `{}`", worker.id),
        };
        let wants_files = plan_type == PlanType::Worktree && worker.files.is_empty();
        let wants_type = plan_type != PlanType::Worktree && worker.worker_type.is_none();
        let open = [
            ("id", worker.id.is_empty()),
            ("task", worker.task.trim().is_empty()),
            ("type", wants_type),
            ("files", wants_files),
        ];
        missing.extend(
            open.iter()
                .filter(|(_, is_open)| *is_open)
                .map(|(key, _)| format!("`{key}` of {who}")),
        );
    }
    missing
}

/// Writes the plan of `spec`, of the type that was chosen. `base` is the absolute path that relative ones start from,
/// the repository's top. Errors: something is said that this type of plan has no place for.
pub fn write(spec: &Spec, choice: &Choice, base: &str) -> Result<Written> {
    let plan_type = choice.plan_type;
    unused(spec, plan_type)?;
    let name = spec.name.clone().unwrap_or_else(|| default_name(base));
    let mut file = FleetFile {
        fleet_name: Some(name.clone()),
        plan_type: Some(plan_type),
        config: config(spec, plan_type),
        ..FleetFile::default()
    };
    let mut destinations = Vec::new();
    let prompts = if plan_type == PlanType::Autoresearch {
        let workdir = below(base, spec.workdir.as_deref().unwrap_or(base));
        file.stop_when = Some(StopFile {
            max_iterations: Some(spec.max_iterations.unwrap_or(ROUNDS[1])),
            ..StopFile::default()
        });
        file.problem = Some(ProblemFile {
            eval_command: spec.eval_command.clone(),
            metric_regex: spec.metric_regex.clone(),
            metric_direction: Some(spec.metric_direction.unwrap_or(Direction::Minimize)),
            workdir: Some(workdir.clone()),
            ..ProblemFile::default()
        });
        vec![(PROGRAM.to_owned(), told::program(spec, &name, &workdir, RESULTS))]
    } else {
        let workers = all_workers(spec, plan_type);
        file.workers = worker_files(spec, &workers, plan_type, &name);
        destinations = workers.iter().map(|worker| destination(plan_type, worker)).collect();
        if plan_type == PlanType::Iterative {
            file.stop_when = Some(StopFile {
                max_iterations: Some(spec.max_iterations.unwrap_or(ROUNDS[0])),
                reviewer_lgtm_count: Some(spec.reviewer_lgtm_count.unwrap_or(1)),
                cost_cap_usd: None,
            });
        }
        told::prompts(plan_type, &workers, base)
    };
    let text = serde_json::to_string_pretty(&file)
        .map_err(|error| Error::internal(format!("the plan is no JSON: {error}")))?;
    Ok(Written {
        file,
        text: text + "\n",
        prompts,
        destinations,
    })
}

/// What a fleet is called that works in `base`: its last folder in lower case, words joined by `-`.
pub fn default_name(base: &str) -> String {
    let folder = base.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    let mut name = String::new();
    for c in folder.chars().take(60) {
        match c.is_ascii_alphanumeric() {
            true => name.push(c.to_ascii_lowercase()),
            false if !name.ends_with('-') => name.push('-'),
            false => {}
        }
    }
    match name.trim_matches('-') {
        "" => "fleet".to_owned(),
        name => name.to_owned(),
    }
}

/// The folder of a fleet root that nobody named: `fleet-{YYYYMMDD-HHMMSS}-{name}`, the time in UTC.
pub fn default_root(now: crate::Time, name: &str) -> String {
    format!("fleet-{}-{}", now.compact(), crate::name::safe(name))
}

/// What is proposed for a worker of this size, in USD.
pub fn proposal(size: Option<Size>) -> f64 {
    size.unwrap_or(Size::Function).band().1
}

/// Says why `id` cannot be the id of a worker.
pub fn id_fault(id: &str) -> Option<&'static str> {
    check::id_fault(id)
}

/// Says why `pattern` cannot find a number.
pub fn metric_fault(pattern: &str) -> Option<String> {
    check::metric_fault(pattern)
}

/// Whether this worker's verdict ends a round.
pub fn is_verdict(plan_type: PlanType, worker: &WorkerSpec) -> bool {
    plan_type == PlanType::Iterative && worker.worker_type == Some(WorkerType::Reviewer)
}

/// `path` seen from `base`, an absolute path.
pub(super) fn below(base: &str, path: &str) -> String {
    let path = path.trim_start_matches("./");
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{}/{path}", base.trim_end_matches('/')),
    }
}

fn is_blank(text: Option<&str>) -> bool {
    text.is_none_or(|text| text.trim().is_empty())
}

/// Refuses what a plan of this type would silently leave out.
fn unused(spec: &Spec, plan_type: PlanType) -> Result<()> {
    use PlanType::{Autoresearch, Iterative, Worktree};
    let rounds = [Iterative, Autoresearch];
    let of_plan: [(&str, bool, &[PlanType]); 10] = [
        ("review", spec.review.is_some(), &[Iterative]),
        ("max_iterations", spec.max_iterations.is_some(), &rounds),
        ("reviewer_lgtm_count", spec.reviewer_lgtm_count.is_some(), &[Iterative]),
        ("goal", spec.goal.is_some(), &[Autoresearch]),
        ("eval_command", spec.eval_command.is_some(), &[Autoresearch]),
        ("metric_regex", spec.metric_regex.is_some(), &[Autoresearch]),
        ("metric_direction", spec.metric_direction.is_some(), &[Autoresearch]),
        ("workdir", spec.workdir.is_some(), &[Autoresearch]),
        ("files", !spec.files.is_empty(), &[Autoresearch]),
        (
            "workers",
            !spec.workers.is_empty(),
            &[Worktree, PlanType::Dag, Iterative],
        ),
    ];
    if let Some((key, _, types)) = of_plan
        .iter()
        .find(|(_, is_said, types)| *is_said && !types.contains(&plan_type))
    {
        return Err(misplaced(key, "", plan_type, types));
    }
    for worker in &spec.workers {
        let of = format!(" of worker `{}`", worker.id);
        if worker.branch.is_some() && plan_type != Worktree {
            return Err(misplaced("branch", &of, plan_type, &[Worktree]));
        }
        if is_verdict(plan_type, worker) && !worker.files.is_empty() {
            let message = format!("`files`{of}: the verdict is all that a reviewer hands in");
            return Err(Error::usage(message).hint("leave it out; what it is to look at belongs into its `task`"));
        }
        if spec.review.is_some() && is_verdict(plan_type, worker) {
            let message = format!("`review` and worker `{}` both describe the reviewer", worker.id);
            return Err(Error::usage(message).hint("leave one of them out"));
        }
    }
    Ok(())
}

fn misplaced(key: &str, of: &str, plan_type: PlanType, types: &[PlanType]) -> Error {
    let types: Vec<String> = types.iter().map(|each| format!("`{}`", each.as_str())).collect();
    Error::usage(format!("a {} plan has no place for `{key}`{of}", plan_type.as_str()))
        .hint(format!("leave it out, or say `type`: {}", types.join(" or ")))
}

/// The workers of the plan, with the reviewer that an iterative one needs.
fn all_workers(spec: &Spec, plan_type: PlanType) -> Vec<WorkerSpec> {
    let mut workers = spec.workers.clone();
    if plan_type == PlanType::Worktree {
        for worker in &mut workers {
            worker.worker_type.get_or_insert(WorkerType::CodeRun);
        }
    }
    if plan_type != PlanType::Iterative {
        return workers;
    }
    if !workers.iter().any(|worker| is_verdict(plan_type, worker)) {
        let taken = |id: &str| spec.workers.iter().any(|worker| worker.id == id);
        let mut id = "reviewer".to_owned();
        while taken(&id) {
            id.push_str("-2");
        }
        workers.push(WorkerSpec {
            id,
            task: spec.review.clone().unwrap_or_else(|| told::REVIEW.to_owned()),
            worker_type: Some(WorkerType::Reviewer),
            ..WorkerSpec::default()
        });
    }
    let builders: Vec<String> = workers
        .iter()
        .filter(|worker| !is_verdict(plan_type, worker))
        .map(|worker| worker.id.clone())
        .collect();
    for reviewer in workers.iter_mut().filter(|worker| is_verdict(plan_type, worker)) {
        let new = builders.iter().filter(|id| !reviewer.after.contains(id)).cloned();
        let new: Vec<String> = new.collect();
        reviewer.after.extend(new);
    }
    workers
}

fn worker_files(spec: &Spec, workers: &[WorkerSpec], plan_type: PlanType, name: &str) -> Vec<WorkerFile> {
    let mut taken: BTreeSet<String> = workers.iter().filter_map(|worker| worker.branch.clone()).collect();
    let write = |worker: &WorkerSpec| {
        let budget = Some(worker.budget.unwrap_or_else(|| proposal(worker.size.or(spec.size))));
        let is_iterative = plan_type == PlanType::Iterative;
        let is_worktree = plan_type == PlanType::Worktree;
        WorkerFile {
            id: Some(worker.id.clone()),
            worker_type: worker.worker_type,
            task: Some(label(&worker.task)),
            provider: worker.provider.clone(),
            model: worker.model.clone(),
            reasoning_effort: worker.reasoning_effort,
            max_budget_usd: budget.filter(|_| !is_iterative),
            max_budget_per_iter: budget.filter(|_| is_iterative),
            depends_on: worker.after.clone(),
            branch: is_worktree.then(|| {
                worker
                    .branch
                    .clone()
                    .unwrap_or_else(|| own_branch(name, &worker.id, &mut taken))
            }),
            target_files: is_worktree.then(|| worker.files.clone()),
            ..WorkerFile::default()
        }
    };
    workers.iter().map(write).collect()
}

fn destination(plan_type: PlanType, worker: &WorkerSpec) -> Vec<String> {
    if is_verdict(plan_type, worker) {
        return vec!["iterations/<N>/review.md".to_owned()];
    }
    match worker.worker_type {
        _ if !worker.files.is_empty() => worker.files.clone(),
        Some(WorkerType::ReadOnly) => Vec::new(),
        _ => vec![format!("workers/{}/output/", worker.id)],
    }
}

/// A branch `NAME-ID` that nobody has, and that git takes.
fn own_branch(name: &str, id: &str, taken: &mut BTreeSet<String>) -> String {
    let mut branch = format!("{name}-{id}");
    if branch_fault(&branch).is_some() {
        branch = branch.replace('.', "-");
    }
    while !taken.insert(branch.clone()) {
        branch.push_str("-2");
    }
    branch
}

/// The first line of a task, as a label for people.
fn label(task: &str) -> String {
    const LONGEST: usize = 100;
    let line = task.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or_default().trim_start_matches(['#', ' ']);
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line.to_owned(),
    }
}

fn config(spec: &Spec, plan_type: PlanType) -> ConfigFile {
    let provider = spec.provider.as_deref().unwrap_or(PROVIDER);
    let known = model::provider(provider);
    let default = |of: fn(&model::Provider) -> &Option<String>| known.and_then(|known| of(known).clone());
    let is_research = plan_type == PlanType::Autoresearch;
    let model = spec.model.clone().or_else(|| default(|known| &known.default));
    ConfigFile {
        max_concurrent: (!is_research).then(|| spec.max_concurrent.unwrap_or(3)),
        provider: Some(provider.to_owned()),
        fallback_model: default(|known| &known.fallback).filter(|fallback| Some(fallback) != model.as_ref()),
        model,
        reasoning_effort: spec.reasoning_effort,
        max_budget_fleet: spec.max_budget_fleet,
        budget_per_iter: is_research.then(|| proposal(spec.size)),
        ..ConfigFile::default()
    }
}
