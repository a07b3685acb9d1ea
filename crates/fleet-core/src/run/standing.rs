//! How the workers of a run stand, for people and for files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::graph::{Stand, piece, stands};
use super::{Control, Finish, How, Part, Seen, Step, Tick, stages};
use crate::money::Usd;
use crate::plan::{Plan, Shape};

/// How one worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It waits for another worker.
    Waiting,
    /// It could run, and waits for room, money or its next try.
    Pending,
    /// It runs.
    Running,
    /// Its work is done.
    Done,
    /// It failed, for good.
    Failed,
    /// It took longer than it may.
    TimedOut,
    /// It has spent what it may.
    OverBudget,
    /// It was not started, because a worker that it waits for is not done.
    Skipped,
    /// A person has to do something before it can go on.
    Blocked,
    /// Somebody ended it.
    Stopped,
}

impl Word {
    /// As it is stored and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Word::Waiting => "waiting",
            Word::Pending => "pending",
            Word::Running => "running",
            Word::Done => "done",
            Word::Failed => "failed",
            Word::TimedOut => "timed-out",
            Word::OverBudget => "over-budget",
            Word::Skipped => "skipped",
            Word::Blocked => "blocked",
            Word::Stopped => "stopped",
        }
    }
}

/// One worker in the round that a run is in.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its place in the plan.
    pub worker: usize,
    /// How it stands.
    pub word: Word,
    /// What there is to say about it; empty where there is nothing.
    pub about: String,
    /// How often it was tried in this round.
    pub attempts: u32,
    /// When its last try began, and when that ended.
    pub time: Option<(Tick, Option<Tick>)>,
    /// What it has cost in all rounds, as far as is known.
    pub spent: Usd,
    /// Whether some of its cost is not known.
    pub unknown: bool,
}

/// How every worker of a run of `plan` stands, by place. `finish` is how the run ended, if it has.
pub fn lines(plan: &Plan, seen: &Seen, finish: Option<Finish>, now: Tick) -> Vec<Line> {
    if let Shape::Pipeline(pipeline) = &plan.shape {
        let line = |(worker, stage): (usize, stages::StageStand)| {
            let line = line(plan, seen, stage.go, worker, stage.stand, finish, now);
            Line {
                about: stages::about(seen, worker, &stage).unwrap_or(line.about),
                ..line
            }
        };
        let all = stages::lines(plan, pipeline, seen);
        return all.into_iter().enumerate().map(line).collect();
    }
    let round = match plan.shape {
        Shape::Worktree | Shape::Dag | Shape::Pipeline(_) => 1,
        Shape::Iterative(_) | Shape::Autoresearch(_) => seen.last_round().unwrap_or(1),
    };
    let all = match &plan.shape {
        Shape::Autoresearch(research) => {
            let budget = seen.iteration(plan, round).map_or(research.budget, |cap| cap.ceiling);
            vec![piece(plan, seen, (0, round, Part::Work), budget)]
        }
        _ => stands(plan, seen, round),
    };
    let line = |(worker, stand): (usize, Stand)| line(plan, seen, round, worker, stand, finish, now);
    all.into_iter().enumerate().map(line).collect()
}

fn line(plan: &Plan, seen: &Seen, round: u32, worker: usize, stand: Stand, finish: Option<Finish>, now: Tick) -> Line {
    let attempts = seen.attempts(worker, round, Part::Work);
    let last = attempts.last();
    let said = last.and_then(|step| step.ended.as_ref());
    let text = |how: How| match said.map(|ended| ended.text.as_str()) {
        None | Some("") => how.as_str().to_owned(),
        Some(text) => text.to_owned(),
    };
    let (word, about) = match stand {
        Stand::Waits(on) => (Word::Waiting, format!("for {}", plan.worker_id(on))),
        Stand::Skipped(on) => (Word::Skipped, format!("{} is not done", plan.worker_id(on))),
        Stand::Runs => (Word::Running, running(seen, worker, round)),
        Stand::Held(How::Stopped) => (Word::Stopped, String::new()),
        Stand::Held(how) => (Word::Blocked, text(how)),
        Stand::Over(How::Done) => (Word::Done, String::new()),
        Stand::Over(How::DoneDenied) => (Word::Done, "a tool was denied".to_owned()),
        Stand::Over(How::TimedOut) => (Word::TimedOut, text(How::TimedOut)),
        Stand::Over(How::OverBudget) => (Word::OverBudget, text(How::OverBudget)),
        Stand::Over(how) => (Word::Failed, text(how)),
        Stand::Ready(next) => {
            let again = said.filter(|_| next.attempt > 1).map(|ended| {
                let wait = next.not_before.saturating_sub(now) / 1000;
                format!("{}; try {} in {wait} s", text(ended.how), next.attempt)
            });
            let about = match (finish, seen.control) {
                (Some(Finish::OverBudget), _) => "the budget does not reach".to_owned(),
                (Some(_), _) => "was not started".to_owned(),
                (None, Control::Paused) => "paused".to_owned(),
                (None, _) => again.unwrap_or_default(),
            };
            (Word::Pending, about)
        }
    };
    let own = || seen.all().filter(|step| step.key.worker == worker);
    let cost = |step: &Step| step.ended.as_ref().map(|ended| ended.cost);
    Line {
        worker,
        word,
        about,
        attempts: attempts.len() as u32,
        time: last.map(|step| (step.began, step.ended.as_ref().map(|ended| ended.at))),
        spent: own().filter_map(|step| cost(step).flatten()).sum(),
        unknown: own().any(|step| cost(step) == Some(None)),
    }
}

fn running(seen: &Seen, worker: usize, round: u32) -> String {
    let step = seen.attempts(worker, round, Part::Work).last();
    match step {
        Some(step) if step.ending.is_some() => "is being ended".to_owned(),
        Some(step) if step.key.attempt > 1 => format!("try {}", step.key.attempt),
        _ => String::new(),
    }
}
