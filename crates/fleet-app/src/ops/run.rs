//! `run`: starts a pipeline, or goes on with one at the stage that failed.

use clap::Args;
use fleet_core::budget::{Cap, Scope};
use fleet_core::contract::{self, Budget, Contract};
use fleet_core::intensity::Intensity;
use fleet_core::money::{self, Usd};
use fleet_core::name::word;
use fleet_core::pipeline::file::{self, Order};
use fleet_core::pipeline::{self, Pipeline};
use fleet_core::report::{self, Report, Status};
use fleet_core::run::record::Run as RunOf;
use fleet_core::run::{Control, Finish};
use fleet_core::task::TaskId;
use fleet_core::{Error, Kind, Result};
use fleet_host::files;
use fleet_host::git::{self, Repo};
use fleet_host::lock::Lock;
use fleet_store::{Change, Given};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::launch::{bring_up, forgive, note, task_of};
use super::started::local_text;
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::{Operation, ReadText};
use crate::page::{Label, Page, Show, plain, span};
use crate::runs::view::{self, RunRecord};
use crate::runs::{self, MARK};
use crate::{child, grants, pipelines};

/// Run a pipeline: its stages one after the other on a branch of their own, within one budget
///
/// The stages come from `.vibe/vibe.yaml` or `vibe.yaml` of the repository; `feature` is always there: plan, implement,
/// review, validate. Without --detach it shows what happens until the end, prints the report, and exits by its status: 0
/// when all is done, 6 at the ceiling, else 1. A contract in the prompt or in FLEET_CONTRACT is obeyed; flags can only
/// narrow it. With --job it goes on with that job, at the stage that failed.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// What to do; @FILE reads it from a file, - from standard input
    #[arg(
        short,
        long,
        value_name = "TEXT",
        required_unless_present = "job",
        allow_hyphen_values = true
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Which pipeline [default: that of the contract, or feature]
    #[arg(long, value_name = "NAME")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The most that all stages together may spend, in USD
    #[arg(long, value_name = "USD")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// End a stage at once at the budget; otherwise it finishes its turn, and no other stage is started
    #[arg(long)]
    #[serde(default)]
    pub hard: bool,
    /// How thorough: quick, standard, thorough or exhaustive [default: standard]
    #[arg(long, value_name = "WORD", value_parser = intensity)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intensity: Option<Intensity>,
    /// How often stages may give work to sub-agents, all together; without it they have none
    #[arg(long, value_name = "COUNT")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digs: Option<u32>,
    /// The most calls of tools, all stages together
    #[arg(long, value_name = "COUNT")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tool_calls: Option<u32>,
    /// The most turns of the model, all stages together
    #[arg(long, value_name = "COUNT")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// The job's id; of a job that was begun: go on with it [default: that of the contract, or a new one]
    #[arg(long, value_name = "ID")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The harness of every stage [default: the one of the settings]
    #[arg(short, long, value_name = "NAME")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The branch of the job [default: the pipeline's name and the job's id]
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Where the branch starts: a commit, branch or tag [default: HEAD]
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The task that it works for: what its stages reserve and spend counts there [default: that of FLEET_TASK]
    #[arg(long, value_name = "TASK")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

/// What was started.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Started {
    /// `started`, `goes on`, `runs already` or `is done already`.
    pub how: String,
    /// The job.
    pub job_id: String,
    /// What it may spend.
    pub budget: Budget,
    /// The branch that its stages work on.
    pub branch: String,
    /// The run.
    pub run: RunRecord,
    /// Its report; none while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// What is odd.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Operation for Run {
    const NAME: &'static str = "run";
    const EFFECT: Effect = Effect::Write;
    type Output = Started;

    fn read_local(&mut self, read: &ReadText<'_>) -> Result<()> {
        local_text(&mut self.prompt, read)
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Started> {
        let own = pipelines::own_contract(caller, self.prompt.as_deref())?;
        let job = self
            .job
            .clone()
            .or_else(|| own.as_ref().and_then(|own| own.job.clone()));
        if let Some(job) = &job {
            check_name("job", job)?;
        }
        // Of two starts of one job at once the second goes on with the run of the first.
        let turn = Lock::take(&app.home.root().join("launch.lock"))?;
        let task = self.prompt.as_deref().map(pipelines::task);
        let known = job.as_deref().map(|job| pipelines::of_job(app, job, task.as_deref()));
        let known = known.transpose()?.flatten();
        let _grants = grants::turn(app)?;
        let given = known.as_ref().map(|run| Given::Run(run.id.clone()));
        let (own, key) = pipelines::beside_shares(app, caller, own, given.as_ref())?;
        let budget = self.budget(own.as_ref().map(|own| &own.contract))?;
        let (id, how, warnings) = match known {
            Some(run) => {
                task_of(app, caller, self.task.as_deref(), None, Some(&run))?;
                let how = self.go_on(app, &run, budget)?;
                (run.id, how, Vec::new())
            }
            None => {
                let own = own.map(|own| own.contract);
                let (id, warnings) = self.begin(app, caller, own, budget, job)?;
                (id, "started", warnings)
            }
        };
        pipelines::give_run(app, key, &id, &budget)?;
        drop(turn);
        if how != "is done already" {
            bring_up(app, caller, &id)?;
        }
        answer(app, &id, how, warnings)
    }
}

impl Run {
    /// What the job may spend: what the flags say, within what this caller is under itself.
    fn budget(&self, own: Option<&Contract>) -> Result<Budget> {
        let ceiling = |amount: f64| {
            Usd::new(amount).filter(|amount| !amount.is_zero()).ok_or_else(|| {
                let most = Usd::MAX;
                Error::usage(format!("a budget of {} USD is none", money::written(amount)))
                    .hint(format!("give a number of US dollars above 0, and at most {most}"))
            })
        };
        if self.max_turns == Some(0) {
            return Err(Error::usage("without a turn nothing can be done").hint("give `--max-turns` of at least 1"));
        }
        let budget = Budget {
            ceiling_usd: self.budget.map(ceiling).transpose()?,
            max_tool_calls: self.max_tool_calls,
            max_turns: self.max_turns,
            max_crew_dispatches: self.digs,
            intensity: self.intensity.unwrap_or_default(),
            hard_ceiling: self.hard,
        };
        Ok(match own {
            None => budget,
            Some(own) => {
                let intensity = self.intensity.unwrap_or(own.budget.intensity);
                pipelines::narrowed(Budget { intensity, ..budget }, &own.budget)
            }
        })
    }

    fn begin(
        &self,
        app: &App,
        caller: &Caller,
        own: Option<Contract>,
        budget: Budget,
        job: Option<String>,
    ) -> Result<(String, Vec<String>)> {
        let prompt = self.prompt.as_deref().map(pipelines::task).unwrap_or_default();
        if prompt.is_empty() {
            return Err(match job {
                Some(job) => Error::not_found(format!("there is no job `{job}` to go on with"))
                    .hint("to start it, say what it is to do: `--prompt TEXT`"),
                None => Error::usage("nothing is to be done").hint("say what: `--prompt TEXT`"),
            });
        }
        let repo = app.repo(caller)?;
        let config = app.config(caller, Some(&repo))?;
        let (file, path) = pipelines::file(&caller.cwd)?;
        let job = match job {
            Some(job) => job,
            None => next_job(app)?,
        };
        let named = own.as_ref().and_then(|own| own.pipeline.clone());
        // The contract of another program names its own pipeline, which need not be one of ours.
        let named = named.filter(|name| file.names().contains(&name.as_str()));
        let name = self.pipeline.clone().or(named);
        let name = name.unwrap_or_else(|| file::BUILT_IN.to_owned());
        // Another program may give one job stage by stage.
        let stage = own.as_ref().and_then(|own| own.stage.clone());
        let stage = stage.filter(|stage| file::name_fault(stage).is_none());
        let branch = self.branch.clone().unwrap_or_else(|| match stage {
            Some(stage) => format!("{name}-{job}-{stage}"),
            None => format!("{name}-{job}"),
        });
        let pipeline = file.pipeline(Order {
            contract: Contract {
                job_id: job,
                pipeline: Some(name.clone()),
                stage: None,
                budget,
                context: own.map(|own| own.context).unwrap_or_default(),
            },
            pipeline: name,
            prompt,
            provider: self.agent.clone().unwrap_or_else(|| config.default_agent.clone()),
            branch,
        })?;
        let harness = app.harness_for(&config, &pipeline.provider, true)?;
        let install = harness.install.clone();
        child::program_path(&harness.command, caller).map_err(|error| match install {
            Some(install) => error.hint(format!("install it: `{install}`")),
            None => error,
        })?;
        let base = git::resolve_base(&repo, self.base.as_deref())?;
        git::check_new_branch(&repo, &pipeline.branch, false)?;
        let warnings = warnings(&pipeline, path.as_deref());
        let task = task_of(app, caller, self.task.as_deref(), Some(&repo), None)?;
        Ok((record(app, &repo, base, task, pipeline)?, warnings))
    }

    /// Goes on with a job that was begun: what the flags say now holds from now on.
    fn go_on(&self, app: &App, run: &RunOf, asked: Budget) -> Result<&'static str> {
        let mut pipeline = pipelines::of_run(run)?;
        if run.finish == Some(Finish::Done) {
            return Ok("is done already");
        }
        if run.finish.is_none() && run.control == Control::Going && runs::is_driven(app, &run.id) {
            return Ok("runs already");
        }
        let whole = &mut pipeline.contract.budget;
        whole.ceiling_usd = asked.ceiling_usd.or(whole.ceiling_usd);
        whole.max_tool_calls = asked.max_tool_calls.or(whole.max_tool_calls);
        whole.max_turns = asked.max_turns.or(whole.max_turns);
        whole.max_crew_dispatches = asked.max_crew_dispatches.or(whole.max_crew_dispatches);
        if let Some(ceiling) = asked.ceiling_usd {
            let cap = Cap {
                ceiling,
                hard: whole.hard_ceiling,
            };
            app.store()?
                .set_cap("run.raise", &Scope::Run(run.id.clone()), Some(cap), app.now())?;
        }
        let text = pipeline.to_text()?;
        let plan = pipeline.into_plan();
        let mut changes = vec![Change::Plan(text, run.root.clone())];
        if run.finish.is_some() {
            changes.push(Change::Reopen);
        }
        changes.extend(forgive(app, run, &plan, run.finish.is_some())?);
        changes.push(Change::Control(Control::Going, None));
        note(app, &run.id, "launched", "goes on", &changes)?;
        Ok("goes on")
    }
}

/// Records a new run of `pipeline`: its folder, its ceiling, and then itself, so that it is never without a ceiling.
fn record(app: &App, repo: &Repo, base: String, task: Option<TaskId>, pipeline: Pipeline) -> Result<String> {
    let id = app.new_agent_id().to_string();
    let root = app.home.pipelines().join(&id);
    files::create_private_dir("run.folder", &root)?;
    let root = std::fs::canonicalize(&root).map_err(|error| files::io_error("find", &root, &error))?;
    let text = pipeline.to_text()?;
    files::write_atomic("run.mark", &root.join(MARK), format!("{id}\n").as_bytes(), 0o644)?;
    let budget = pipeline.contract.budget;
    let store = app.store()?;
    if let Some(ceiling) = budget.ceiling_usd {
        let cap = Cap {
            ceiling,
            hard: budget.hard_ceiling,
        };
        store.set_cap("run.cap", &Scope::Run(id.clone()), Some(cap), app.now())?;
    }
    let run = RunOf {
        id: id.clone(),
        root,
        name: pipeline.contract.job_id.clone(),
        plan_type: pipeline::TYPE.to_owned(),
        repo: Some(repo.common_dir.clone()),
        base: Some(base),
        task,
        text,
        control: Control::Going,
        pause: None,
        finish: None,
        generation: 0,
        created_at: app.now(),
        ended_at: None,
    };
    store.run_add("run.record", &run)?;
    let about = format!("pipeline {} on branch {}", pipeline.name, pipeline.branch);
    note(app, &id, "launched", about, &[])?;
    Ok(id)
}

/// What does not do what somebody could think.
fn warnings(pipeline: &Pipeline, file: Option<&std::path::Path>) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(file) = file.filter(|_| !pipeline.fleet.has_contracts()) {
        warnings.push(format!(
            "stages get no contract: {} does not say `fleet: {{enabled: true, budget_protocol: true}}`",
            file.display()
        ));
    }
    warnings
}

fn answer(app: &App, id: &str, how: &str, warnings: Vec<String>) -> Result<Started> {
    let run = app
        .store()?
        .run(id)?
        .ok_or_else(|| Error::internal("the run is not recorded"))?;
    let pipeline = pipelines::of_run(&run)?;
    Ok(Started {
        how: how.to_owned(),
        job_id: run.name.clone(),
        budget: pipeline.contract.budget,
        branch: pipeline.branch,
        report: pipelines::report(app, &run)?,
        run: view::record(app, &run)?,
        warnings,
    })
}

/// The first id of today that no job has.
fn next_job(app: &App) -> Result<String> {
    let runs = app.store()?.runs()?;
    let free = (1..).map(|number| contract::own_job_id(app.now(), number));
    let mut free = free.filter(|id| runs.iter().all(|run| run.name != *id));
    free.next()
        .ok_or_else(|| Error::internal("every job of today is taken"))
}

fn check_name(what: &str, name: &str) -> Result<()> {
    match file::name_fault(name) {
        None => Ok(()),
        Some(fault) => Err(Error::usage(format!("the {what} {} {fault}", word(name)))
            .hint("name it by letters, digits and `-`, such as `VB-20260404-042`")),
    }
}

fn intensity(text: &str) -> std::result::Result<Intensity, String> {
    let known = Intensity::ALL.iter().find(|each| each.as_str() == text);
    known.copied().ok_or_else(|| {
        let names: Vec<&str> = Intensity::ALL.iter().map(|each| each.as_str()).collect();
        format!("one of {}", names.join(", "))
    })
}

/// The report of `run`; none while it goes on.
pub fn report_of(app: &App, run: &RunOf) -> Result<Option<Report>> {
    pipelines::report(app, run)
}

/// The kind of failure that a report tells of; none where all is done.
pub fn failure(report: &Report) -> Option<Kind> {
    match report.execution.status {
        Status::Completed => None,
        Status::OverBudget => Some(Kind::OverBudget),
        Status::Partial | Status::Failed | Status::Cancelled => Some(Kind::Failed),
    }
}

/// The block of a report, and how to go on where something is left to do.
pub fn show_report(job: &str, found: &Report, page: &mut Page) -> Result<()> {
    page.raw(report::write(found)?);
    let job = word(job);
    match found.execution.status {
        Status::Completed => {}
        Status::OverBudget => page.hint(format!("go on with more: `fleet run --job {job} --budget USD`")),
        _ => page.hint(format!("go on where it ended: `fleet run --job {job}`")),
    }
    Ok(())
}

impl Show for Started {
    fn show(&self, page: &mut Page) {
        for warning in &self.warnings {
            page.warning(warning.clone());
        }
        let ceiling = self.budget.ceiling_usd;
        let ceiling = ceiling.map_or("no ceiling".to_owned(), |ceiling| format!("at most {ceiling}"));
        page.spans(vec![
            span(Label::Name, &self.job_id),
            plain(format!(
                " {}: branch {}, {ceiling}, {}",
                self.how,
                self.branch,
                self.budget.intensity.as_str()
            )),
        ]);
        if self.report.is_none() {
            page.hint(format!("see how it stands: `fleet status {}`", word(&self.job_id)));
        }
    }
}
