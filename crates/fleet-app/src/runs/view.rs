//! A run as every surface shows it.

use std::path::PathBuf;

use fleet_core::budget::Scope;
use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::name::word;
use fleet_core::plan::word::{PlanType, WorkerType};
use fleet_core::plan::{Plan, Shape};
use fleet_core::run::record::{Event, RoundRecord, Run, StepRecord, seen};
use fleet_core::run::standing::{self, Word};
use fleet_core::run::{Control, Part, Pause, Seen};
use fleet_core::task::TaskId;
use fleet_core::time::age;
use fleet_core::{Result, Time};
use fleet_host::process;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{is_driven, plan_of};
use crate::app::App;
use crate::forecast;
use crate::merge::Conflict;
use crate::page::{Label, Page, Span, plain, span};

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// Its id.
    pub id: String,
    /// What the plan calls itself.
    pub name: String,
    /// The plan's type.
    #[serde(rename = "type")]
    pub plan_type: String,
    /// The fleet root.
    pub root: PathBuf,
    /// The task that it works for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// `running`, `paused`, `stopping`, `unattended`, `done`, `failed`, `not accepted`, `over budget` or `stopped`.
    pub state: String,
    /// Why it is so, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// When it goes on by itself, where it has paused until what all agents together may spend begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goes_on_at: Option<Time>,
    /// The round it is in, where its type has rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// What it has spent as far as is known, in USD.
    pub spent_usd: f64,
    /// Whether some of what it spent is not known.
    pub spent_unknown: bool,
    /// What of that is in no account and partly estimated, because supervisors were killed, in USD.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub estimated_usd: f64,
    /// What is reserved for the workers that run, in USD.
    pub reserved_usd: f64,
    /// The most that it may spend, in USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap_usd: Option<f64>,
    /// When it was first launched.
    pub created_at: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// How many seconds are left, if the workers to come take as long as those that are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_seconds: Option<u64>,
    /// Its workers, in the order of the plan.
    pub workers: Vec<WorkerRecord>,
    /// Its rounds, where its type has rounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<RoundView>,
    /// Which workers' branches are in each other's way as they are now, in no commit yet included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
    /// Files that workers change and had not declared, in a worktree plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undeclared: Vec<Undeclared>,
    /// What happened last, oldest first.
    pub events: Vec<EventView>,
}

/// Files that a worker changes and had not declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undeclared {
    /// The worker's id.
    pub worker: String,
    /// Their paths from the repository's top.
    pub files: Vec<String>,
}

/// A worker of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerRecord {
    /// Its id in the plan.
    pub id: String,
    /// What it may do.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub worker_type: Option<WorkerType>,
    /// How it stands.
    pub state: Word,
    /// What there is to say about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Its provider.
    pub provider: String,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its branch, in a worktree plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The agent of its last try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// How often it was tried, in the round that the run is in.
    pub attempts: u32,
    /// When its last try began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// How long that took, or takes so far, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// What it has spent in all rounds as far as is known, in USD.
    pub spent_usd: f64,
    /// Whether some of that is not known.
    pub spent_unknown: bool,
}

/// A round of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoundView {
    /// Its number.
    pub round: u32,
    /// What the reviewer said, in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<f64>,
    /// Whether its change was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
    /// Its change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// When.
    pub at: Time,
    /// What, in a word.
    pub event: String,
    /// The worker it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// A sentence.
    pub about: String,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        EventView {
            at: event.at,
            event: event.event,
            worker: event.worker,
            about: event.about,
        }
    }
}

fn is_nothing(amount: &f64) -> bool {
    *amount == 0.0
}

/// How many events a run shows.
const EVENTS: usize = 20;

/// What is known of `run` now, as [`fleet_core::run::decide()`] sees it, but for what all agents together may spend.
pub fn seen_now(app: &App, run: &Run, plan: &Plan) -> Result<Seen> {
    let store = app.store()?;
    let (steps, rounds) = (store.steps(&run.id)?, store.rounds(&run.id)?);
    let (boot, now) = (process::boot_id(), process::since_boot());
    Ok(Seen {
        ceiling: store.cap(&Scope::Run(run.id.clone()))?,
        iterations: super::iterations(app, &run.id)?,
        ..seen(plan, run.control, &steps, &rounds, &boot, now)
    })
}

/// The record of `run`, seen now.
pub fn record(app: &App, run: &Run) -> Result<RunRecord> {
    let store = app.store()?;
    let plan = plan_of(app, run)?;
    let steps = store.steps(&run.id)?;
    let rounds = store.rounds(&run.id)?;
    let now = process::since_boot();
    let seen = seen_now(app, run, &plan)?;
    let lines = standing::lines(&plan, &seen, run.finish, now);
    let worker = |line: standing::Line| worker(app, &plan, &steps, &seen, line);
    let workers: Vec<WorkerRecord> = lines.into_iter().map(worker).collect();
    let known = |step: &StepRecord| step.ended.as_ref().and_then(|end| end.cost);
    let spent: Usd = steps.iter().filter_map(known).sum();
    let reserved: Usd = seen.running().map(|step| step.hold).sum();
    let mut events = store.run_events(&run.id, 0)?;
    let events = events.split_off(events.len().saturating_sub(EVENTS));
    let paused = events.iter().rfind(|(_, event)| event.event == "paused");
    let (state, about) = state(app, run, &plan, paused.map(|(_, event)| event.about.as_str()));
    let cap = store
        .cap(&Scope::Run(run.id.clone()))?
        .map(|cap| cap.ceiling)
        .or(plan.cap);
    let has_rounds = matches!(plan.shape, Shape::Iterative(_) | Shape::Autoresearch(_));
    Ok(RunRecord {
        id: run.id.clone(),
        name: run.name.clone(),
        plan_type: run.plan_type.clone(),
        root: run.root.clone(),
        task: run.task,
        state,
        about,
        goes_on_at: match (run.control, run.pause) {
            (Control::Paused, Some(Pause::Room { until })) => Some(until),
            _ => None,
        },
        round: seen.last_round().filter(|_| has_rounds),
        spent_usd: usd(spent),
        estimated_usd: usd(steps
            .iter()
            .filter_map(|step| Some(step.ended.as_ref()?.estimated))
            .sum()),
        spent_unknown: steps
            .iter()
            .any(|step| step.ended.as_ref().is_some_and(|end| end.cost.is_none())),
        reserved_usd: usd(reserved),
        cap_usd: cap.map(usd),
        created_at: run.created_at,
        ended_at: run.ended_at,
        left_seconds: left(app, run, &plan, &steps, &workers),
        workers,
        rounds: rounds.iter().map(|round| round_view(&seen, round)).collect(),
        conflicts: Vec::new(),
        undeclared: Vec::new(),
        events: events.into_iter().map(|(_, event)| event.into()).collect(),
    })
}

/// Adds to the record of a worktree run which of its branches are in each other's way now, and which files nobody had
/// declared. Looked at on snapshots: no worktree, index or ref changes. What cannot be looked at is left out.
pub fn look_ahead(app: &App, run: &Run, record: &mut RunRecord) {
    let (Some(common), Ok(branches)) = (&run.repo, super::branches::of(app, run)) else {
        return;
    };
    let looked = forecast::look_ahead(common, &branches).unwrap_or_default();
    record.conflicts = looked.conflicts;
    record.undeclared = looked
        .undeclared
        .into_iter()
        .map(|(worker, files)| Undeclared { worker, files })
        .collect();
}

fn usd(amount: Usd) -> f64 {
    amount.dollars()
}

/// Its state, and what there is to say about it. `paused` is what was said when it last paused.
fn state(app: &App, run: &Run, plan: &Plan, paused: Option<&str>) -> (String, Option<String>) {
    if let Some(finish) = run.finish {
        return (finish.as_str().to_owned(), None);
    }
    let driven = is_driven(app, &run.id);
    match run.control {
        // Nobody is there who would notice when its time has come.
        Control::Paused if !driven && matches!(run.pause, Some(Pause::Room { .. })) => {
            let about = "nobody drives it: launch it again, and it goes on when there is room".to_owned();
            ("unattended".to_owned(), Some(about))
        }
        Control::Paused => {
            let about = match run.pause {
                Some(Pause::Escalated { round }) => format!("the reviewer asks for a person in round {round}"),
                Some(Pause::Stuck) => paused.unwrap_or("an act of its driver failed").to_owned(),
                Some(Pause::Room { until }) => {
                    let wait = age(until.since(app.now()));
                    format!(
                        "what all agents together may spend is used up; it goes on by itself at {until}, in {wait}, or when \
                         `fleet budget raise` allows more"
                    )
                }
                Some(Pause::Budget) => {
                    let missing = paused.unwrap_or("what it may spend does not reach");
                    // Which ceiling it is was said when it paused.
                    let task = missing.split_whitespace().find(|word| TaskId::parse(word).is_some());
                    let what = match task {
                        Some(task) => task.to_owned(),
                        None if missing.contains("of all agents") => "day".to_owned(),
                        None => word(&run.root.to_string_lossy()).to_string(),
                    };
                    format!("{missing}; `fleet budget raise {what} +5` allows more")
                }
                Some(Pause::RootGone) => "the fleet root was moved or deleted".to_owned(),
                Some(Pause::Blocked { worker }) => format!("{} cannot go on without you", plan.worker_id(worker)),
                None => String::new(),
            };
            ("paused".to_owned(), Some(about).filter(|about| !about.is_empty()))
        }
        _ if !driven => {
            let about = "nobody drives it: launch it again, and it goes on".to_owned();
            ("unattended".to_owned(), Some(about))
        }
        Control::Stopping => ("stopping".to_owned(), None),
        Control::Going => ("running".to_owned(), None),
    }
}

fn worker(app: &App, plan: &Plan, steps: &[StepRecord], seen: &Seen, line: standing::Line) -> WorkerRecord {
    let id = plan.worker_id(line.worker);
    let own = plan.workers.get(line.worker);
    let choice = match (&plan.shape, own) {
        (Shape::Autoresearch(research), _) => Some(&research.choice),
        (_, own) => own.map(|worker| &worker.choice),
    };
    let last = steps
        .iter()
        .filter(|step| step.name.worker == id && step.name.part == Part::Work && !step.forgotten)
        .filter(|step| seen.last_round().is_none_or(|round| step.name.round == round))
        .max_by_key(|step| (step.name.round, step.name.attempt));
    let ended_at = last.and_then(|step| step.ended.as_ref()).map(|end| end.ended_at);
    WorkerRecord {
        id: id.to_owned(),
        worker_type: own.map(|worker| worker.worker_type),
        state: line.word,
        about: line.about,
        provider: choice.map(|choice| choice.provider.clone()).unwrap_or_default(),
        model: choice.and_then(|choice| choice.model.clone()),
        branch: own.and_then(|worker| worker.branch.clone()),
        agent: last.map(|step| step.agent.clone()),
        attempts: line.attempts,
        started_at: last.map(|step| step.began_at),
        ended_at,
        seconds: last.map(|step| ended_at.unwrap_or_else(|| app.now()).since(step.began_at) / 1000),
        spent_usd: usd(line.spent),
        spent_unknown: line.unknown,
    }
}

fn round_view(seen: &Seen, round: &RoundRecord) -> RoundView {
    RoundView {
        round: round.round,
        verdict: seen
            .rounds
            .get(&round.round)
            .and_then(fleet_core::run::Round::said)
            .map(|said| said.as_str().to_owned()),
        metric: seen.metric(round.round),
        kept: round.kept,
        commit: round.commit.clone(),
    }
}

/// The rest of the time by the mean of what is done; nothing while nothing is, or while rounds may follow.
fn left(app: &App, run: &Run, plan: &Plan, steps: &[StepRecord], workers: &[WorkerRecord]) -> Option<u64> {
    if run.finish.is_some() || !matches!(plan.shape, Shape::Worktree | Shape::Dag) {
        return None;
    }
    let took = |step: &StepRecord| {
        let end = step.ended.as_ref().filter(|end| end.how.is_done())?;
        Some(end.ended_at.since(step.began_at))
    };
    let took: Vec<u64> = steps.iter().filter_map(took).collect();
    let mean = took.iter().sum::<u64>().checked_div(took.len() as u64)?;
    let now = app.now();
    let rest = |worker: &WorkerRecord| match (worker.state, worker.started_at) {
        (Word::Running, Some(began)) => mean.saturating_sub(now.since(began)),
        (Word::Waiting | Word::Pending, _) => mean,
        _ => 0,
    };
    let rest: u64 = workers.iter().map(rest).sum();
    let at_once = u64::from(plan.max_concurrent).min(workers.len() as u64).max(1);
    Some(rest / at_once / 1000)
}

impl RunRecord {
    /// Its type as a word of plans.
    pub fn plan_type(&self) -> Option<PlanType> {
        PlanType::ALL
            .iter()
            .copied()
            .find(|each| each.as_str() == self.plan_type)
    }

    /// What it has spent, for people: `1.20 USD of 5.00 USD`, with what is not known said.
    pub fn spent(&self) -> String {
        let known = Usd::new(self.spent_usd).unwrap_or_default();
        let more = if self.spent_unknown { " and more, unknown" } else { "" };
        let more = match Usd::new(self.estimated_usd).filter(|usd| !usd.is_zero()) {
            Some(estimated) => format!("{more} ({estimated} of it estimated)"),
            None => more.to_owned(),
        };
        match self.cap_usd.and_then(Usd::new) {
            Some(cap) => format!("{known}{more} of {cap}"),
            None => format!("{known}{more}"),
        }
    }

    /// How its workers stand, counted: `3 done, 1 running, 2 waiting`.
    pub fn counts(&self) -> String {
        let mut counts: std::collections::BTreeMap<Word, usize> = std::collections::BTreeMap::new();
        for worker in &self.workers {
            *counts.entry(worker.state).or_default() += 1;
        }
        let parts: Vec<String> = counts
            .iter()
            .map(|(word, count)| format!("{count} {}", word.as_str()))
            .collect();
        parts.join(", ")
    }

    /// Its state with its label.
    pub fn state_span(&self) -> Span {
        let label = match self.state.as_str() {
            "done" => Label::Good,
            "running" => Label::Plain,
            "paused" | "stopping" | "unattended" | "not accepted" | "stopped" => Label::Warn,
            _ => Label::Bad,
        };
        span(label, &self.state)
    }

    /// The run on one page.
    pub fn show(&self, page: &mut Page) {
        let round = self.round.map(|round| format!(", round {round}")).unwrap_or_default();
        let left = self.left_seconds.filter(|left| *left > 0);
        let left = left
            .map(|left| format!(", about {} left", age(left * 1000)))
            .unwrap_or_default();
        page.spans(vec![
            span(Label::Name, &self.name),
            plain(format!(" ({}{round}) is ", self.plan_type)),
            self.state_span(),
            plain(
                self.about
                    .as_ref()
                    .map(|about| format!(": {about}"))
                    .unwrap_or_default(),
            ),
        ]);
        page.line(format!("{}; {}{left}", self.counts(), self.spent()));
        let rows = self.workers.iter().map(|worker| {
            let seconds = worker.seconds.map(|seconds| age(seconds * 1000)).unwrap_or_default();
            let cost = match (worker.spent_unknown, worker.attempts) {
                (_, 0) => String::new(),
                (true, _) => "unknown".to_owned(),
                (false, _) => Usd::new(worker.spent_usd).unwrap_or_default().to_string(),
            };
            vec![
                span(Label::Name, &worker.id),
                word_span(worker.state),
                plain(seconds),
                plain(cost),
                plain(worker.branch.clone().unwrap_or_default()),
                plain(&worker.about),
            ]
        });
        page.table(&["WORKER", "STATE", "TIME", "COST", "BRANCH", ""], rows.collect());
        for conflict in &self.conflicts {
            page.spans(vec![
                span(Label::Warn, "in conflict: "),
                plain(format!(
                    "{} and {}, in {}",
                    conflict.a,
                    conflict.b,
                    conflict.files.join(", ")
                )),
            ]);
        }
        for each in &self.undeclared {
            page.spans(vec![
                span(Label::Warn, "not declared: "),
                plain(format!("{} changes {}", each.worker, each.files.join(", "))),
            ]);
        }
        for round in &self.rounds {
            let said = round.verdict.clone().or(round
                .kept
                .map(|kept| if kept { "kept" } else { "discarded" }.to_owned()));
            let metric = round.metric.map(|metric| format!(" {metric}")).unwrap_or_default();
            page.line(format!(
                "round {}:{metric} {}",
                round.round,
                said.unwrap_or_else(|| "goes on".to_owned())
            ));
        }
    }
}

/// A worker's state with its label.
pub fn word_span(word: Word) -> Span {
    let label = match word {
        Word::Done => Label::Good,
        Word::Failed | Word::TimedOut | Word::OverBudget => Label::Bad,
        Word::Skipped | Word::Blocked | Word::Stopped => Label::Warn,
        Word::Waiting | Word::Pending => Label::Dim,
        Word::Running => Label::Plain,
    };
    span(label, word.as_str())
}
