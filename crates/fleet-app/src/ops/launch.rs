//! `launch`: starts the run of a plan, or goes on with it.

use clap::Args;
use fleet_core::budget::{Cap, Scope};
use fleet_core::contract::Budget;
use fleet_core::name::{plural, word};
use fleet_core::plan::word::{PlanType, Sandbox};
use fleet_core::plan::{ModelChoice, Plan, Shape};
use fleet_core::profile::Class;
use fleet_core::run::record::{Event, Run, StepName};
use fleet_core::run::standing::Word;
use fleet_core::run::{Control, Finish, Pause};
use fleet_core::task::TaskId;
use fleet_core::{Error, Kind, Result};
use fleet_host::boundary;
use fleet_host::git::{self, Repo};
use fleet_host::lock::Lock;
use fleet_host::process;
use fleet_host::{files, supervise::client};
use fleet_store::{Change, Given, Turn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

use super::check::Verdict;
use crate::app::App;
use crate::budgets;
use crate::caller::{Caller, Effect};
use crate::child;
use crate::engine;
use crate::grants;
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::pipelines;
use crate::plan::Found;
use crate::profile::{self, Expected};
use crate::runs::view::{self, RunRecord};
use crate::runs::{self, MARK};
use crate::task;

/// Start the run of a plan, or go on with it: what is done stays done
///
/// The plan is checked first, and with an error nothing is started. Without --detach it shows what happens until the
/// run ends; Ctrl-C leaves the run going. Launching again goes on with a run that was stopped, paused, cut off or has
/// failed; it never does anything twice. `fleet status` shows how it stands.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// A fleet root, or its fleet.json
    #[arg(value_name = "ROOT|fleet.json")]
    pub plan: String,
    /// Show what would be started, and start nothing
    #[arg(long)]
    #[serde(default)]
    pub dry_run: bool,
    /// Let models through that nobody knows, with a warning
    #[arg(long)]
    #[serde(default)]
    pub allow_unknown_model: bool,
    /// Where the branches of a worktree plan start: a commit, branch or tag [default: HEAD]
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The most that the run may spend, in US dollars, in place of what its plan says. At the end of it the run pauses
    #[arg(long, value_name = "USD")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// End the run when its budget is used up, rather than pause it
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hard: bool,
    /// The task that it works for: what its workers reserve and spend counts there [default: that of FLEET_TASK]
    #[arg(long, value_name = "TASK")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

/// What was launched.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Launched {
    /// What the check of the plan found.
    pub check: Verdict,
    /// `launched`, `goes on`, `runs already`, `is done already`, `dry run` or `refused`.
    pub how: String,
    /// The run; none where nothing was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRecord>,
    /// What would be started, in the order in which it could be. What is done already is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Planned>,
    /// What its workers are expected to cost and take, by what has finished before; none while too little has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Expected>,
}

/// A worker that would be started.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Planned {
    /// Its id.
    pub id: String,
    /// Its place in the order: those of one number may run at once.
    pub layer: usize,
    /// Its provider.
    pub provider: String,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The most that it may spend, in USD; in a plan of rounds in each.
    pub budget_usd: f64,
    /// Its branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

impl Operation for Launch {
    const NAME: &'static str = "launch";
    const EFFECT: Effect = Effect::Write;
    type Output = Launched;

    fn effect(&self) -> Effect {
        if self.dry_run { Effect::Read } else { Self::EFFECT }
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Launched> {
        // Workers of a plan are no dispatches: their budget holds them.
        let asked = budgets::asked(self.budget, self.hard)?;
        let own = pipelines::own_contract(caller, None)?;
        let found = crate::plan::find(caller, &self.plan)?;
        let (check, plan) = super::check::look(app, caller, &found, self.allow_unknown_model)?;
        let Some(plan) = plan else {
            return Ok(Launched {
                check,
                how: "refused".to_owned(),
                run: None,
                steps: Vec::new(),
                forecast: None,
            });
        };
        let known = runs::of_root(app, &found.root)?;
        let ground = ground(app, caller, &self, &found, &plan, known.as_ref())?;
        let forecast = profile::expected(app, &classes(&plan))?.ok();
        if self.dry_run {
            let run = known.as_ref().map(|run| view::record(app, run)).transpose()?;
            let mut steps = planned(&plan);
            if let (Some(run), Shape::Worktree | Shape::Dag) = (&run, &plan.shape) {
                let is_done = |id: &str| run.workers.iter().any(|each| each.id == id && each.state == Word::Done);
                steps.retain(|step| !is_done(&step.id));
            }
            return Ok(Launched {
                check,
                how: "dry run".to_owned(),
                run,
                steps,
                forecast,
            });
        }
        if known.is_none() {
            profile::tell(app, caller, &classes(&plan), true)?;
        }
        // Of two launches at once the second goes on with the run of the first.
        let turn = Lock::take(&app.home.root().join("launch.lock"))?;
        let known = runs::of_root(app, &found.root)?;
        let _grants = grants::turn(app)?;
        let given = known.as_ref().map(|run| Given::Run(run.id.clone()));
        let (own, key) = pipelines::beside_shares(app, caller, own, given.as_ref())?;
        let budget = own.map(|own| own.contract.budget);
        let cap = pipelines::capped(asked, budget.as_ref());
        let (id, how) = match known {
            None => (begin(app, &found, &plan, ground, cap)?, "launched"),
            Some(run) => {
                limit(app, &run.id, cap)?;
                let how = go_on(app, &run, &found, &plan)?;
                (run.id, how)
            }
        };
        if let Some(budget) = budget {
            let ceiling_usd = cap.map(|cap| cap.ceiling);
            pipelines::give_run(app, key, &id, &Budget { ceiling_usd, ..budget })?;
        }
        drop(turn);
        if how != "is done already" {
            bring_up(app, caller, &id)?;
        }
        let run = app
            .store()?
            .run(&id)?
            .ok_or_else(|| Error::internal("the run is not recorded"))?;
        Ok(Launched {
            check,
            how: how.to_owned(),
            run: Some(view::record(app, &run)?),
            steps: Vec::new(),
            forecast,
        })
    }
}

/// What the workers of a plan are like, one for each.
fn classes(plan: &Plan) -> Vec<Class> {
    let class = |choice: &ModelChoice| Class {
        kind: Some(plan.type_name().to_owned()),
        harness: Some(choice.provider.clone()),
        model: choice.model.clone(),
        intensity: None,
    };
    match &plan.shape {
        Shape::Autoresearch(research) => vec![class(&research.choice)],
        _ => plan.workers.iter().map(|worker| class(&worker.choice)).collect(),
    }
}

/// What the workers stand on: the repository, the commit that branches start from, and the task.
struct Ground {
    repo: Option<Repo>,
    base: Option<String>,
    task: Option<TaskId>,
}

/// Everything that can be known before the start and is no part of the plan itself: programs, root, repository, names.
fn ground(
    app: &App,
    caller: &Caller,
    args: &Launch,
    found: &Found,
    plan: &Plan,
    known: Option<&Run>,
) -> Result<Ground> {
    let repo = match known.and_then(|run| run.repo.clone()) {
        Some(common) => Some(Repo::of(&common)),
        None => app.repo(caller).or_else(|_| git::discover(&found.root)).ok(),
    };
    // What an agent launches outside of any repository works on that of its task.
    let repo = match repo {
        None if known.is_none() => task::of_caller(caller).and_then(|id| task::repo_of_open(app, id)),
        found => found,
    };
    let task = task_of(app, caller, args.task.as_deref(), repo.as_ref(), known)?;
    let config = app.config(caller, repo.as_ref())?;
    let mut providers: Vec<&str> = plan
        .workers
        .iter()
        .map(|worker| worker.choice.provider.as_str())
        .collect();
    if let Shape::Autoresearch(research) = &plan.shape {
        providers.push(&research.choice.provider);
        // A round that was cut off has left changes: they are its own.
        if known.is_none() {
            engine::check_research(&found.root, research)?;
        }
    }
    providers.sort_unstable();
    providers.dedup();
    for provider in providers {
        let harness = app.harness_for(&config, provider, true)?;
        let install = harness.install.clone();
        child::program_path(&harness.command, caller).map_err(|error| match install {
            Some(install) => error.hint(format!("install it: `{install}`")),
            None => error,
        })?;
    }
    let sandboxes = plan.workers.iter().map(|worker| worker.choice.sandbox);
    if sandboxes.flatten().any(|sandbox| sandbox == Sandbox::Bwrap) {
        boundary::find(caller.var("PATH").unwrap_or_default())?;
    }
    if !matches!(plan.shape, Shape::Worktree) {
        return Ok(Ground { repo, base: None, task });
    }
    let repo = repo.ok_or_else(|| {
        Error::usage("a worktree plan needs a git repository, and this is none")
            .hint("run this in the repository that the workers are to work on")
    })?;
    let base = match known.and_then(|run| run.base.clone()) {
        Some(base) => base,
        None => git::resolve_base(&repo, args.base.as_deref())?,
    };
    if known.is_none() {
        for branch in plan.workers.iter().filter_map(|worker| worker.branch.as_deref()) {
            git::check_new_branch(&repo, branch, false)?;
        }
    }
    Ok(Ground {
        repo: Some(repo),
        base: Some(base),
        task,
    })
}

/// The task that a run works for: the one that is named, or that of the caller. It is settled by the first launch.
///
/// # Errors
/// `Usage`: the run works for another one, or for none.
pub(crate) fn task_of(
    app: &App,
    caller: &Caller,
    named: Option<&str>,
    repo: Option<&Repo>,
    known: Option<&Run>,
) -> Result<Option<TaskId>> {
    let named = named.map(task::parse).transpose()?;
    if let Some(run) = known {
        return match (named, run.task) {
            (Some(named), own) if own != Some(named) => {
                let works = own.map_or("no task".to_owned(), |own| own.to_string());
                Err(
                    Error::usage(format!("`{}` works for {works} since its first launch", run.name))
                        .hint("leave `--task` out, or launch a copy of the fleet root"),
                )
            }
            _ => Ok(run.task),
        };
    }
    match (named, repo) {
        (Some(id), Some(repo)) => task::check_open(app, repo, id).map(|task| Some(task.id)),
        (Some(_), None) => Err(Error::usage("tasks belong to a repository, and this is none")
            .hint("run this in the repository of the task")),
        (None, Some(repo)) => {
            let own = task::of_caller(caller).and_then(|id| task::check_open(app, repo, id).ok());
            Ok(own.map(|task| task.id))
        }
        (None, None) => Ok(None),
    }
}

fn begin(app: &App, found: &Found, plan: &Plan, ground: Ground, cap: Option<Cap>) -> Result<String> {
    let run = Run {
        id: app.new_agent_id().to_string(),
        root: found.root.clone(),
        name: plan.name.clone(),
        plan_type: plan.type_name().to_owned(),
        repo: ground.repo.map(|repo| repo.common_dir),
        base: ground.base,
        task: ground.task,
        text: found.text.clone(),
        control: Control::Going,
        pause: None,
        finish: None,
        generation: 0,
        created_at: app.now(),
        ended_at: None,
    };
    // A mark without a record means nothing; a record without a mark would be a run that nobody finds.
    files::write_atomic(
        "launch.mark",
        &found.root.join(MARK),
        format!("{}\n", run.id).as_bytes(),
        0o644,
    )?;
    // A ceiling without a run means nothing; a run without its ceiling would spend too much.
    limit(app, &run.id, cap)?;
    app.store()?.run_add("launch.record", &run)?;
    note(
        app,
        &run.id,
        "launched",
        format!("{} from {}", plan.type_name(), run.root.display()),
        &[],
    )?;
    Ok(run.id)
}

fn limit(app: &App, run: &str, cap: Option<Cap>) -> Result<()> {
    match cap {
        Some(_) => app
            .store()?
            .set_cap("budget.launch", &Scope::Run(run.to_owned()), cap, app.now()),
        None => Ok(()),
    }
}

/// Goes on with a run that was launched before: in one word, how.
fn go_on(app: &App, run: &Run, found: &Found, plan: &Plan) -> Result<&'static str> {
    if run.plan_type != plan.type_name() {
        return Err(Error::refused(format!(
            "this fleet root was launched as a {} plan, and is a {} plan now",
            run.plan_type,
            plan.type_name()
        ))
        .hint("put the new plan into a folder of its own"));
    }
    let changed = run.text != found.text || run.root != found.root;
    match (run.finish, run.control) {
        (None, Control::Going) if runs::is_driven(app, &run.id) && !changed => return Ok("runs already"),
        (Some(Finish::Done), _) if !changed => return Ok("is done already"),
        _ => {}
    }
    let mut changes = vec![Change::Plan(found.text.clone(), found.root.clone())];
    if run.finish.is_some() {
        changes.push(Change::Reopen);
    }
    changes.extend(forgive(app, run, plan, run.finish.is_some())?);
    changes.push(Change::Control(Control::Going, None));
    let how = if changed {
        "goes on, with the plan as it is now"
    } else {
        "goes on"
    };
    note(app, &run.id, "launched", how, &changes)?;
    Ok("goes on")
}

/// What a run forgives when somebody asks to go on: what waits for a person, an open question, and with `failures`
/// everything that failed.
pub(crate) fn forgive(app: &App, run: &Run, plan: &Plan, failures: bool) -> Result<Vec<Change>> {
    let store = app.store()?;
    let rounds = store.rounds(&run.id)?;
    let steps = store.steps(&run.id)?;
    let boot = process::boot_id();
    let seen = fleet_core::run::record::seen(plan, run.control, &steps, &rounds, &boot, process::since_boot());
    let mut changes: Vec<Change> = seen
        .forgiven(failures)
        .into_iter()
        .map(|key| Change::Forgive(StepName::of(plan, key)))
        .collect();
    let asks = |number: &u32| matches!(run.pause, Some(Pause::Escalated { round }) if round == *number);
    changes.extend(rounds.into_iter().filter(|round| asks(&round.round)).map(|mut round| {
        round.answered = true;
        Change::Round(round)
    }));
    Ok(changes)
}

/// Records `changes` and what happened.
pub(crate) fn note(app: &App, run: &str, event: &str, about: impl Into<String>, changes: &[Change]) -> Result<()> {
    let mut changes = changes.to_vec();
    changes.push(Change::Event(Event {
        at: app.now(),
        event: event.to_owned(),
        worker: None,
        about: about.into(),
    }));
    let turn = Turn {
        changes: &changes,
        reservations: &[],
    };
    app.store()?.run_turn("launch.turn", run, None, &turn, &|_| false)?;
    Ok(())
}

/// Wakes the driver of a run, or starts one, and waits until it is at work or has been.
pub(crate) fn bring_up(app: &App, caller: &Caller, id: &str) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(30);
    const STEP: Duration = Duration::from_millis(5);
    /// What a killed driver was about to start may hold its lock for a moment: then nothing was started.
    const AGAIN: Duration = Duration::from_millis(500);
    let before = app.store()?.run(id)?.map_or(0, |run| run.generation);
    runs::wake(app, caller, id)?;
    let deadline = Instant::now() + PATIENCE;
    let mut again = Instant::now() + AGAIN;
    loop {
        let run = app.store()?.run(id)?;
        let worked =
            run.is_none_or(|run| run.finish.is_some() || run.generation > before || run.control == Control::Paused);
        if worked || runs::is_driven(app, id) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let log = app.home.run_dir(id).join("driver.log");
            return Err(Error::unavailable("the driver of the run did not begin")
                .hint(format!("see why: `cat {}`", word(&log.to_string_lossy()))));
        }
        if Instant::now() > again {
            runs::wake(app, caller, id)?;
            again = Instant::now() + AGAIN;
        }
        // It has nothing yet that could be waited for.
        client::wait_any(&[], Instant::now() + STEP)?;
    }
}

/// The workers in the order in which they could be started.
fn planned(plan: &Plan) -> Vec<Planned> {
    if let Shape::Autoresearch(research) = &plan.shape {
        return vec![Planned {
            id: plan.worker_id(0).to_owned(),
            layer: 1,
            provider: research.choice.provider.clone(),
            model: research.choice.model.clone(),
            budget_usd: research.budget.dollars(),
            branch: None,
        }];
    }
    let layers = plan.layers();
    let mut steps: Vec<Planned> = plan
        .workers
        .iter()
        .zip(&layers)
        .map(|(worker, layer)| Planned {
            id: worker.id.clone(),
            layer: layer + 1,
            provider: worker.choice.provider.clone(),
            model: worker.choice.model.clone(),
            budget_usd: worker.budget.dollars(),
            branch: worker.branch.clone(),
        })
        .collect();
    steps.sort_by_key(|step| step.layer);
    steps
}

impl Show for Launched {
    fn show(&self, page: &mut Page) {
        if self.how == "refused" || self.check.warnings > 0 {
            self.check.show(page);
        }
        if self.how == "dry run" {
            let rows = self.steps.iter().map(|step| {
                vec![
                    plain(step.layer.to_string()),
                    span(Label::Name, &step.id),
                    plain(match &step.model {
                        Some(model) => format!("{} {model}", step.provider),
                        None => step.provider.clone(),
                    }),
                    plain(
                        fleet_core::money::Usd::new(step.budget_usd)
                            .unwrap_or_default()
                            .to_string(),
                    ),
                    plain(step.branch.clone().unwrap_or_default()),
                ]
            });
            page.table(&["STEP", "WORKER", "RUN BY", "AT MOST", "BRANCH"], rows.collect());
            page.line(format!(
                "{} would be started; nothing was",
                plural(self.steps.len(), "worker")
            ));
            if let Some(forecast) = &self.forecast {
                page.line(format!("expected: {}", forecast.describe()));
            }
            page.hint(format!(
                "start it: `fleet launch {}`",
                word(&self.check.root.to_string_lossy())
            ));
        }
        let Some(run) = self.run.as_ref().filter(|_| self.how != "dry run") else {
            return;
        };
        page.spans(vec![
            span(Label::Name, &run.name),
            plain(format!(
                " {} ({}, {})",
                self.how,
                run.plan_type,
                plural(run.workers.len(), "worker")
            )),
        ]);
        match self.how.as_str() {
            "is done already" => {
                let root = word(&run.root.to_string_lossy());
                let worker = run.workers.first().map_or("", |worker| worker.id.as_str());
                match run.plan_type() {
                    Some(PlanType::Autoresearch) => page.hint(format!("see what came of it: `fleet status {root}`")),
                    _ => page.hint(format!(
                        "run a worker again, such as the first: `fleet relaunch {worker} --run {root}`"
                    )),
                }
            }
            _ => page.hint(format!(
                "see how it stands: `fleet status {}`",
                word(&run.root.to_string_lossy())
            )),
        }
    }

    fn failed(&self) -> Option<Kind> {
        self.check.failed()
    }
}
