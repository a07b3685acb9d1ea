//! From what a file says to what holds: every default, in one place.

use super::file::{ConfigFile, FleetFile, WorkerFile};
use super::model;
use super::word::{Direction, OnDepFailure, PlanType, WorkerType};
use super::{ModelChoice, Plan, Research, Rounds, Shape, Worker};
use crate::money::Usd;

/// The prompt of an autoresearch plan.
pub(super) const PROGRAM: &str = "program.md";

const NAME: &str = "fleet";
pub(super) const PROVIDER: &str = "claude";
pub(super) const RESULTS: &str = "results.tsv";
const CONCURRENT: u32 = 5;
const ROUNDS: u32 = 50;
const PLATEAU: u32 = 3;
const RETRIES: u32 = 2;
/// In seconds.
const RETRY_DELAY: f64 = 5.0;
/// In minutes.
const STALL: f64 = 30.0;
/// In seconds.
const EVAL_TIMEOUT: u32 = 600;
/// In USD: a worker, a worker in each round of an iterative plan, a round of an autoresearch plan.
const BUDGETS: [f64; 3] = [1.0, 2.0, 1.0];

/// The plan that a file without errors says. None: it has one after all.
pub(super) fn plan(file: &FleetFile) -> Option<Plan> {
    let plan_type = file.plan_type?;
    let name = file.fleet_name.clone().unwrap_or_else(|| NAME.to_owned());
    let mut workers = Vec::new();
    if plan_type != PlanType::Autoresearch {
        let ids = file
            .workers
            .iter()
            .enumerate()
            .filter_map(|(at, worker)| Some((worker.id.as_deref()?, at)));
        let places = ids.collect();
        workers = file
            .workers
            .iter()
            .map(|each| worker(file, each, &places))
            .collect::<Option<Vec<_>>>()?;
    }
    let shape = match plan_type {
        PlanType::Worktree => Shape::Worktree,
        PlanType::Dag => Shape::Dag,
        PlanType::Iterative => {
            let reviewer = workers
                .iter()
                .position(|worker| worker.worker_type == WorkerType::Reviewer)?;
            workers[reviewer].depends_on = (0..workers.len()).filter(|worker| *worker != reviewer).collect();
            let stop = file.stop_when.as_ref()?;
            Shape::Iterative(Rounds {
                max_iterations: stop.max_iterations?,
                lgtm_count: stop.reviewer_lgtm_count?,
                reviewer,
                budget: file.config.budget_per_iter.and_then(Usd::new),
            })
        }
        PlanType::Autoresearch => Shape::Autoresearch(Box::new(research(file)?)),
    };
    Some(Plan {
        id: file.fleet_id.clone().unwrap_or_else(|| name.clone()),
        name,
        shape,
        max_concurrent: file.config.max_concurrent.unwrap_or(CONCURRENT),
        launch_delay_ms: (file.config.launch_delay_seconds.unwrap_or(0.0) * 1000.0) as u64,
        max_retries: file.config.max_retries.unwrap_or(RETRIES),
        retry_delay_ms: (file.config.retry_delay_seconds.unwrap_or(RETRY_DELAY) * 1000.0) as u64,
        stall_ms: millis(file.config.stall_minutes.or(Some(STALL))),
        cap: cap(file).map(|(cap, _)| cap),
        workers,
    })
}

/// Minutes as milliseconds; none for no limit.
fn millis(minutes: Option<f64>) -> Option<u64> {
    minutes
        .filter(|minutes| *minutes > 0.0)
        .map(|minutes| (minutes * 60_000.0) as u64)
}

/// What a worker may spend: in an iterative plan in each round.
pub(super) fn budget(plan_type: PlanType, worker: &WorkerFile) -> Usd {
    let (named, default) = match plan_type {
        PlanType::Iterative => (worker.max_budget_per_iter, BUDGETS[1]),
        _ => (worker.max_budget_usd, BUDGETS[0]),
    };
    Usd::new(named.unwrap_or(default)).unwrap_or_default()
}

/// What a round of an autoresearch plan may spend.
pub(super) fn research_budget(config: &ConfigFile) -> Usd {
    Usd::new(config.budget_per_iter.unwrap_or(BUDGETS[2])).unwrap_or_default()
}

/// The most rounds of a plan that has rounds.
pub(super) fn rounds(file: &FleetFile) -> Option<u32> {
    let named = file.stop_when.as_ref().and_then(|stop| stop.max_iterations);
    match file.plan_type? {
        PlanType::Iterative => named,
        PlanType::Autoresearch => Some(named.or(file.config.max_iterations).unwrap_or(ROUNDS)),
        PlanType::Worktree | PlanType::Dag => None,
    }
}

/// The smallest limit on the whole run, and where it is written.
pub(super) fn cap(file: &FleetFile) -> Option<(Usd, &'static str)> {
    let stop = file.stop_when.as_ref().and_then(|stop| stop.cost_cap_usd);
    let of_rounds = match stop {
        Some(cap) => (Some(cap), "stop_when.cost_cap_usd"),
        None => (file.config.cost_cap_usd, "config.cost_cap_usd"),
    };
    [(file.config.max_budget_fleet, "config.max_budget_fleet"), of_rounds]
        .into_iter()
        .filter_map(|(cap, path)| Some((Usd::new(cap?)?, path)))
        .filter(|(cap, _)| !cap.is_zero())
        .min()
}

/// The type of a worker, where it is known.
pub(super) fn worker_type(plan_type: Option<PlanType>, worker: &WorkerFile) -> Option<WorkerType> {
    let default = (plan_type == Some(PlanType::Worktree)).then_some(WorkerType::CodeRun);
    worker.worker_type.or(default)
}

/// What runs a worker, or without one a round of an autoresearch plan.
///
/// A model of the plan is for the plan's provider: a worker with another one gets that one's default.
pub(super) fn choice(config: &ConfigFile, worker: Option<&WorkerFile>) -> ModelChoice {
    let of_plan = config.provider.as_deref().unwrap_or(PROVIDER);
    let provider = worker.and_then(|worker| worker.provider.as_deref()).unwrap_or(of_plan);
    let known = model::provider(provider);
    let for_plan = |value: &Option<String>| value.clone().filter(|_| provider == of_plan);
    let model = worker
        .and_then(|worker| worker.model.clone())
        .or_else(|| for_plan(&config.model))
        .or_else(|| known.and_then(|known| known.default.clone()));
    let fallback = known.and_then(|known| known.fallback.clone()).and_then(|default| {
        let named = worker
            .and_then(|worker| worker.fallback_model.clone())
            .or_else(|| for_plan(&config.fallback_model));
        Some(named.unwrap_or(default)).filter(|fallback| Some(fallback) != model.as_ref())
    });
    let effort = worker
        .and_then(|worker| worker.reasoning_effort)
        .or(config.reasoning_effort);
    ModelChoice {
        provider: provider.to_owned(),
        fallback,
        model,
        effort: effort.filter(|_| known.is_some_and(|known| known.effort)),
        sandbox: worker.and_then(|worker| worker.sandbox).or(config.sandbox),
    }
}

fn worker(file: &FleetFile, worker: &WorkerFile, places: &std::collections::BTreeMap<&str, usize>) -> Option<Worker> {
    let plan_type = file.plan_type?;
    let depends_on = worker.depends_on.iter().map(|id| places.get(id.as_str()).copied());
    let mut depends_on = depends_on.collect::<Option<Vec<_>>>()?;
    depends_on.sort_unstable();
    depends_on.dedup();
    Some(Worker {
        id: worker.id.clone()?,
        worker_type: worker_type(Some(plan_type), worker)?,
        task: worker.task.clone(),
        choice: choice(&file.config, Some(worker)),
        budget: budget(plan_type, worker),
        timeout_ms: millis(worker.timeout_minutes.or(file.config.timeout_minutes)),
        depends_on,
        on_dep_failure: worker
            .on_dep_failure
            .or(file.config.on_dep_failure)
            .unwrap_or(OnDepFailure::Skip),
        branch: worker.branch.clone(),
        target_files: worker.target_files.clone().unwrap_or_default(),
    })
}

fn research(file: &FleetFile) -> Option<Research> {
    let problem = file.problem.as_ref()?;
    let search = file.search.clone().unwrap_or_default();
    Some(Research {
        choice: choice(&file.config, None),
        budget: research_budget(&file.config),
        timeout_ms: millis(file.config.timeout_minutes),
        max_turns: file.config.max_turns.filter(|turns| *turns > 0),
        max_iterations: rounds(file)?,
        workdir: problem.workdir.clone(),
        eval_command: problem.eval_command.clone()?,
        eval_timeout_ms: u64::from(problem.eval_timeout_seconds.unwrap_or(EVAL_TIMEOUT)) * 1000,
        metric_regex: problem.metric_regex.clone()?,
        direction: problem.metric_direction.unwrap_or(Direction::Minimize),
        results_file: problem.results_file.clone().unwrap_or_else(|| RESULTS.to_owned()),
        program: problem.program_md.clone().unwrap_or_else(|| PROGRAM.to_owned()),
        plateau: search
            .enabled
            .unwrap_or(true)
            .then(|| search.plateau_threshold.unwrap_or(PLATEAU)),
    })
}
