//! Pipelines on the disk and in the store: the file of a repository, the contract that fleet itself is under, what came
//! of a run.

use std::path::{Path, PathBuf};

use fleet_core::block::rule::{Checked, Level};
use fleet_core::block::{self, Mark};
use fleet_core::budget::{Cap, Limits};
use fleet_core::contract::{self, Budget, Contract};
use fleet_core::money::Usd;
use fleet_core::name::plural;
use fleet_core::pipeline::Pipeline;
use fleet_core::pipeline::file::VibeFile;
use fleet_core::plan::{Plan, Shape};
use fleet_core::report::{Activity, Execution, FollowUp, Report, Status, TaskLine, Utilization};
use fleet_core::run::record::{Event, Run, StepRecord, seen};
use fleet_core::run::stages::{self, Stood};
use fleet_core::run::{Control, Finish, Pause, Seen};
use fleet_core::{Error, Kind, Result};
use fleet_host::process;
use fleet_store::{Given, Grant};

use crate::app::App;
use crate::caller::{Caller, Who};
use crate::engine::pipeline::{self as stage, CONTRACT};
use crate::{grants, runs};

/// Where the file of a repository may be, the first that is there.
const FILES: [&str; 2] = [".vibe/vibe.yaml", "vibe.yaml"];

/// The file of the repository around `folder`, and its path; what holds without one where there is none. Errors: it
/// cannot be read, or says something that cannot be.
pub(crate) fn file(folder: &Path) -> Result<(VibeFile, Option<PathBuf>)> {
    let top = folder.ancestors().find(|folder| folder.join(".git").exists());
    let found = top.and_then(|top| FILES.iter().map(|name| top.join(name)).find(|path| path.exists()));
    let Some(path) = found else {
        return Ok((VibeFile::built_in(), None));
    };
    let text = std::fs::read_to_string(&path).map_err(|error| fleet_host::files::io_error("read", &path, &error))?;
    let checked = VibeFile::read(&text);
    match checked.value {
        Some(file) => Ok((file, Some(path))),
        None => Err(refused(&path.display().to_string(), &checked)),
    }
}

/// The contract that this caller is under: that of the prompt, or that of its environment; of two each limit is the
/// smaller one. Errors: one that cannot be obeyed, so nothing is started.
pub(crate) fn own_contract(caller: &Caller, prompt: Option<&str>) -> Result<Option<Own>> {
    let told = prompt.and_then(contract::carried);
    let told = told
        .map(|checked| obeyed("the contract in the prompt", checked))
        .transpose()?;
    let around = match caller.var(CONTRACT).filter(|text| !text.trim().is_empty()) {
        Some(text) => Some(obeyed(CONTRACT, contract::read(text))?),
        None => None,
    };
    // An agent that starts something else has a job already, which is its own.
    let is_job = told.is_some() || caller.who == Who::User;
    let contract = match (told, around) {
        (Some(told), Some(around)) => Some(Contract {
            budget: narrowed(told.budget, &around.budget),
            ..told
        }),
        (told, around) => told.or(around),
    };
    let job = |contract: &Contract| is_job.then(|| contract.job_id.clone());
    Ok(contract.map(|contract| Own {
        job: job(&contract),
        contract,
    }))
}

/// The contract that a caller is under.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    /// What holds.
    pub(crate) contract: Contract,
    /// The job that is given by it; none where it only surrounds what is started.
    pub(crate) job: Option<String>,
}

/// What a caller may start under the contract that it is under itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Under {
    /// What all of it may spend together.
    pub(crate) budget: Option<Cap>,
    /// What each agent may use beside money.
    pub(crate) counts: Limits,
    /// The contract of each agent, for its own environment.
    pub(crate) contract: Option<String>,
    /// What was noted as the share of all.
    pub(crate) given: Option<Given>,
}

/// `own` with no limit above what is left of the contract in the environment, for an agent that starts something as a part of
/// its session; and which contract that is. `given` is what this adds to, if it was begun before.
///
/// # Errors
/// `OverBudget` when nothing is left.
pub(crate) fn beside_shares(
    app: &App,
    caller: &Caller,
    own: Option<Own>,
    given: Option<&Given>,
) -> Result<(Option<Own>, Option<String>)> {
    let around = caller.var(CONTRACT).filter(|text| !text.trim().is_empty());
    let (Some(mut own), Some(around), Who::Agent) = (own.clone(), around, caller.who) else {
        return Ok((own, None));
    };
    let around = obeyed(CONTRACT, contract::read(around))?;
    let key = grants::key(app, caller, &around)?;
    let left = grants::left(app, &key, &around.job_id, around.budget, given)?;
    own.contract.budget = narrowed(own.contract.budget, &left);
    Ok((Some(own), Some(key)))
}

/// Notes what of a contract a run has.
pub(crate) fn give_run(app: &App, key: Option<String>, run: &str, budget: &Budget) -> Result<()> {
    let Some(contract) = key else { return Ok(()) };
    let share = Grant {
        contract,
        given: Given::Run(run.to_owned()),
        usd: budget.ceiling_usd,
        tool_calls: budget.max_tool_calls,
        turns: budget.max_turns,
        dispatches: budget.max_crew_dispatches.map(|most| most.saturating_add(1)),
        given_at: app.now(),
    };
    app.store()?.grant_give("grant.give", &share)
}

/// What the `count` agents of one request, in `batch`, may use where `asked` is asked for. It is their share from now on.
///
/// # Errors
/// `Plan`: the contract cannot be obeyed. `OverBudget`: it allows fewer agents, or nothing is left of it.
pub(crate) fn under(app: &App, caller: &Caller, asked: Option<Cap>, count: usize, batch: &str) -> Result<Under> {
    let Some(Own { contract, .. }) = own_contract(caller, None)? else {
        return Ok(Under {
            budget: asked,
            ..Under::default()
        });
    };
    let _turn = grants::turn(app)?;
    let key = grants::key(app, caller, &contract)?;
    let whole = grants::left(app, &key, &contract.job_id, contract.budget, None)?;
    if let Some(most) = whole.max_crew_dispatches.filter(|most| (*most as usize) < count) {
        let message = format!(
            "the contract of job {} allows {most} dispatches, and {} would be started",
            contract.job_id,
            plural(count, "agent")
        );
        return Err(Error::new(Kind::OverBudget, message)
            .hint("start fewer, or have the contract's `max_crew_dispatches` raised"));
    }
    let cap = capped(asked, Some(&whole));
    let ceiling = cap.map(|cap| cap.ceiling);
    let hard = cap.map_or(whole.hard_ceiling, |cap| cap.hard);
    let agents = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    let share = Budget {
        ceiling_usd: ceiling.map(|ceiling| Usd::from_micros(ceiling.micros() / u64::from(agents))),
        max_tool_calls: whole.max_tool_calls.map(|most| most / agents),
        max_turns: whole.max_turns.map(|most| (most / agents).max(1)),
        max_crew_dispatches: whole.max_crew_dispatches.map(|most| (most / agents).saturating_sub(1)),
        hard_ceiling: hard,
        ..whole
    };
    let times = |most: Option<u32>| most.map(|most| most.saturating_mul(agents));
    let given = Grant {
        contract: key,
        given: Given::Batch(batch.to_owned(), agents),
        usd: ceiling,
        tool_calls: times(share.max_tool_calls),
        turns: times(share.max_turns),
        dispatches: times(share.max_crew_dispatches.map(|most| most.saturating_add(1))),
        given_at: app.now(),
    };
    app.store()?.grant_give("grant.give", &given)?;
    Ok(Under {
        given: Some(given.given),
        budget: cap,
        counts: Limits {
            hard,
            ..counted(&share)
        },
        contract: Some(contract::write(&Contract {
            budget: share,
            ..contract
        })?),
    })
}

/// The ceiling that is asked for, within that of a contract.
pub(crate) fn capped(asked: Option<Cap>, budget: Option<&Budget>) -> Option<Cap> {
    let within = budget.and_then(|budget| budget.ceiling_usd);
    let ceiling = asked.map(|asked| asked.ceiling).into_iter().chain(within).min()?;
    let hard = asked.is_some_and(|asked| asked.hard) || budget.is_some_and(|budget| budget.hard_ceiling);
    Some(Cap { ceiling, hard })
}

/// The limits of `budget` that are no money, as a supervisor heeds them: it steps in at the first call beyond.
pub(crate) fn counted(budget: &Budget) -> Limits {
    let beyond = |most: Option<u32>| most.map(|most| u64::from(most) + 1);
    Limits {
        tool_calls: beyond(budget.max_tool_calls),
        model_turns: beyond(budget.max_turns),
        dispatches: beyond(budget.max_crew_dispatches),
        ..Limits::default()
    }
}

fn obeyed(what: &str, checked: Checked<Contract>) -> Result<Contract> {
    let error = refused(what, &checked);
    checked.value.ok_or(error)
}

fn refused<T>(what: &str, checked: &Checked<T>) -> Error {
    let fault = checked.fault().unwrap_or_default();
    let first = checked.findings.iter().find(|finding| finding.level == Level::Error);
    let error = Error::new(Kind::Plan, format!("{what}: {fault}"));
    match first {
        Some(first) => error.hint(first.hint.clone()),
        None => error,
    }
}

/// `budget` with no limit above that of `most`.
pub(crate) fn narrowed(budget: Budget, most: &Budget) -> Budget {
    let least = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
    Budget {
        ceiling_usd: budget.ceiling_usd.into_iter().chain(most.ceiling_usd).min(),
        max_tool_calls: least(budget.max_tool_calls, most.max_tool_calls),
        max_turns: least(budget.max_turns, most.max_turns),
        max_crew_dispatches: least(budget.max_crew_dispatches, most.max_crew_dispatches),
        intensity: budget.intensity.min(most.intensity),
        hard_ceiling: budget.hard_ceiling || most.hard_ceiling,
    }
}

/// The prompt of a pipeline without the contract that it carries.
pub(crate) fn task(prompt: &str) -> String {
    block::without(prompt, Mark::CONTRACT).trim().to_owned()
}

/// The newest run of a pipeline for the job `id`, and for this `task` where one is named.
pub(crate) fn of_job(app: &App, id: &str, task: Option<&str>) -> Result<Option<Run>> {
    let runs = app.store()?.runs()?;
    let is_task = |run: &Run| task.is_none_or(|task| of_run(run).is_ok_and(|pipeline| pipeline.prompt == task));
    let own = |run: &Run| run.plan_type == fleet_core::pipeline::TYPE && run.name == id && is_task(run);
    Ok(runs.into_iter().find(own))
}

/// The pipeline of `run`, as it is recorded.
pub(crate) fn of_run(run: &Run) -> Result<Pipeline> {
    Pipeline::from_text(&run.text)
}

/// The report of a run that is over or has paused; none of one that goes on, or of another plan than a pipeline.
pub(crate) fn report(app: &App, run: &Run) -> Result<Option<Report>> {
    let plan = runs::plan_of(app, run)?;
    let Shape::Pipeline(pipeline) = &plan.shape else {
        return Ok(None);
    };
    let store = app.store()?;
    let steps = store.steps(&run.id)?;
    let mut seen = seen(
        &plan,
        run.control,
        &steps,
        &[],
        &process::boot_id(),
        process::since_boot(),
    );
    seen.used = stage::used(run, &plan, pipeline, &seen);
    seen.used.dispatches += stage::started(app, run)?;
    let stood = stages::stood(&plan, pipeline, &seen);
    let Some(status) = status(run, &stood) else {
        return Ok(None);
    };
    let costs: Option<Vec<Usd>> = steps.iter().map(|step| step.ended.as_ref()?.cost).collect();
    let known: Usd = steps.iter().filter_map(|step| step.ended.as_ref()?.cost).sum();
    let total = costs.map(|costs| costs.into_iter().sum::<Usd>());
    let ceiling = store
        .cap(&fleet_core::budget::Scope::Run(run.id.clone()))?
        .map(|cap| cap.ceiling);
    let is_undone = stood.len() < pipeline.stages.len() || stood.iter().any(|stage| stage.is_open);
    let utilization = total
        .zip(ceiling)
        .map(|(spent, ceiling)| Utilization::of(spent, ceiling, status == Status::OverBudget && is_undone));
    Ok(Some(Report {
        job_id: pipeline.contract.job_id.clone(),
        execution: Execution {
            status,
            total_cost_usd: total,
            known_cost_usd: total.is_none().then_some(known),
            total_tool_calls: Some(count(seen.used.tool_calls)),
        },
        fleet_activity: activity(
            run,
            &plan,
            pipeline,
            &steps,
            &store.run_events(&run.id, 0)?,
            &seen,
            &stood,
        ),
        budget_utilization: utilization,
    }))
}

/// How a pipeline ended; none while it goes on.
fn status(run: &Run, stood: &[Stood]) -> Option<Status> {
    match (run.finish, run.pause, run.control) {
        (Some(Finish::Done), ..) if stood.iter().any(|stage| !stage.is_good) => Some(Status::Partial),
        (Some(Finish::Done), ..) => Some(Status::Completed),
        (Some(Finish::OverBudget), ..) | (None, Some(Pause::Budget), Control::Paused) => Some(Status::OverBudget),
        (Some(Finish::Stopped), ..) => Some(Status::Cancelled),
        (Some(Finish::Failed | Finish::NotAccepted), ..) => Some(Status::Failed),
        // It waits for a person, and says so to whoever waits for it.
        (None, _, Control::Paused) => Some(Status::Partial),
        (None, ..) => None,
    }
}

fn activity(
    run: &Run,
    plan: &Plan,
    pipeline: &Pipeline,
    steps: &[StepRecord],
    events: &[(u64, Event)],
    seen: &Seen,
    stood: &[Stood],
) -> Activity {
    let commits = stage::commits(events);
    let mut activity = Activity {
        tasks_completed: stood.iter().filter(|stage| stage.is_good && !stage.is_open).count() as u32,
        crew_dispatches: count(seen.used.dispatches),
        ..Activity::default()
    };
    for (place, stage) in pipeline.stages.iter().enumerate() {
        let Some(go) = stage::last_go(seen, place) else {
            continue;
        };
        let own = steps.iter().filter(|step| step.name.worker == stage.name);
        let costs: Option<Vec<Usd>> = own.map(|step| step.ended.as_ref()?.cost).collect();
        let of_stage = commits.iter().filter(|(name, _)| *name == stage.name);
        activity.tasks.push(TaskLine {
            id: pipeline.task_id(place),
            crew: Some(plan.worker_id(place).to_owned()),
            cost_usd: costs.map(|costs| costs.into_iter().sum()),
            commits: of_stage.map(|(_, commit)| commit.clone()).collect(),
        });
        let Some(report) = stage::answer(run, pipeline, place, go).report else {
            continue;
        };
        activity.officer_dispatches += report.fleet_activity.officer_dispatches;
        for left in report.fleet_activity.follow_ups {
            let is_new = |each: &FollowUp| each.title != left.title;
            if activity.follow_ups.iter().all(is_new) {
                activity.follow_ups.push(left);
            }
        }
    }
    activity.tasks_created = activity.tasks.len() as u32;
    activity
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
