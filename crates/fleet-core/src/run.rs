//! A run: one execution of a plan. What was observed of it goes in, what is to be done next comes out.
//!
//! - [`Seen`] is everything that is known of a run: its steps, its rounds, and what people asked for.
//! - [`decide()`] is the one place that chooses. It is pure; doing what it says twice is doing it once, because each
//!   thing it can ask for has a name ([`Key`], a round) that is recorded with it.
//! - [`judge()`] says what the end of an agent means for a step, [`verdict`] what a review says.
//! - [`standing`] is the same knowledge for people.
//!
//! Time is counted in [`Tick`]s: milliseconds of a clock that nobody can set, so that a jump of the wall clock ends
//! nothing and starts nothing.

pub mod decide;
pub mod judge;
pub mod record;
pub mod stages;
pub mod standing;
pub mod verdict;

mod graph;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::budget::{Cap, Scope, Used};
use crate::money::Usd;
use crate::plan::{Plan, Shape};
pub use decide::{Action, Decision, decide};
pub use judge::{How, judge};

/// Milliseconds since the machine was started.
pub type Tick = u64;

/// What a step of a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Its task.
    Work,
    /// The reviewer is asked once more for the verdict that it did not give.
    Ask,
    /// The command of an autoresearch plan that measures.
    Measure,
}

/// The name of one step: it is recorded before anything is started, so that nothing is started twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The place of the worker in the plan. An autoresearch plan has one, whose name is [`RESEARCH`].
    pub worker: usize,
    /// Which round, from 1; 0 is the measurement before the first.
    pub round: u32,
    /// What it is.
    pub part: Part,
    /// Which try, from 1.
    pub attempt: u32,
}

/// The name of the one worker of an autoresearch plan.
pub const RESEARCH: &str = "research";

/// One try at a piece of work, and the agent that makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its name.
    pub key: Key,
    /// What was reserved for it.
    pub hold: Usd,
    /// When it was started.
    pub began: Tick,
    /// When it last gave a sign of life.
    pub alive: Tick,
    /// Why it was told to end; none while nobody did.
    pub ending: Option<Why>,
    /// How it ended; none while it runs.
    pub ended: Option<Ended>,
    /// Whether its failure counts no more, because somebody asked to go on.
    pub forgiven: bool,
}

/// The end of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// When.
    pub at: Tick,
    /// How.
    pub how: How,
    /// What was said about it.
    pub text: String,
    /// What it cost; none where nobody knows.
    pub cost: Option<Usd>,
    /// Whether its conversation can be gone on with.
    pub resumable: bool,
    /// What it measured.
    pub metric: Option<f64>,
    /// When its service answers again, where that refused it until then: nothing of that provider is started before.
    pub until: Option<Tick>,
}

/// Why the engine ends a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It took longer than it may.
    Timeout,
    /// It gave no sign of life.
    Stall,
    /// Somebody stopped the run.
    Stop,
    /// Somebody wants the worker started over.
    Relaunch,
}

/// One round of a plan that has rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// What the review said; none while nobody has looked.
    pub verdict: Option<verdict::Said>,
    /// What it said after the reviewer was asked once more; none while nobody has looked again.
    pub asked: Option<verdict::Said>,
    /// Whether a person has answered its `escalate`.
    pub answered: bool,
    /// Whether the change was kept; none while that is open.
    pub kept: Option<bool>,
}

/// What people want of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// It goes on.
    #[default]
    Going,
    /// Nothing is started; what runs goes on.
    Paused,
    /// What runs is ended.
    Stopping,
}

/// Everything that is known of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// What people want.
    pub control: Control,
    /// The tries at each piece of work, in order. Those that were started over are in [`Seen::spent_before`] alone.
    pub steps: BTreeMap<(usize, u32, Part), Vec<Step>>,
    /// The rounds that were begun.
    pub rounds: BTreeMap<u32, Round>,
    /// What steps cost that count no more because their worker was started over.
    pub spent_before: Usd,
    /// The same by rounds.
    pub spent_before_in: BTreeMap<u32, Usd>,
    /// How many tries at each piece of work count no more because their worker was started over.
    pub forgotten: BTreeMap<(usize, u32, Part), u32>,
    /// What somebody allows the run to spend, in place of what its plan says.
    pub ceiling: Option<Cap>,
    /// What somebody allows a round to spend, in place of what the plan says.
    pub iterations: BTreeMap<u32, Cap>,
    /// The ceilings that are not its own.
    pub windows: Vec<Window>,
    /// When a pause until there is room again is over.
    pub again: Option<Tick>,
    /// What the sessions of a pipeline that are over have used, money apart.
    pub used: Used,
    /// When the last step was started.
    pub last_start: Option<Tick>,
}

/// A ceiling that is not the run's own: that of a day or a week, for all agents together, or of the task that it works for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Whose ceiling it is.
    pub scope: Scope,
    /// What may be reserved of it.
    pub left: Usd,
    /// What may be spent; of a day or a week in each.
    pub ceiling: Usd,
    /// When the next day or week begins; none where time alone brings nothing.
    pub until: Option<Time>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// Every worker is done, the reviewer has accepted, or all rounds were measured.
    Done,
    /// Some worker failed, or was not started because of it.
    Failed,
    /// The rounds are used up and the reviewer has not accepted.
    NotAccepted,
    /// The budget is used up before everything is done.
    OverBudget,
    /// Somebody stopped it.
    Stopped,
}

impl Finish {
    /// As it is stored and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Finish::Done => "done",
            Finish::Failed => "failed",
            Finish::NotAccepted => "not accepted",
            Finish::OverBudget => "over budget",
            Finish::Stopped => "stopped",
        }
    }
}

/// Why a run pauses by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pause {
    /// The reviewer of this round asks for a person.
    Escalated {
        /// The round.
        round: u32,
    },
    /// The fleet root is not where it was: it was moved or deleted.
    RootGone,
    /// What the run may spend does not reach for what is to be started next.
    Budget,
    /// What all agents together may spend is used up until then. It goes on by itself.
    Room {
        /// When there is room again.
        until: Time,
    },
    /// Something that is none of the workers' failed, such as git or the configuration, and would fail again.
    Stuck,
    /// A program has no login or no credit, or somebody ended the worker: nothing fares better before a person has looked.
    Blocked {
        /// The place of the worker that met it.
        worker: usize,
    },
}

impl Pause {
    /// Whether more money would end it.
    pub const fn is_for_money(self) -> bool {
        matches!(self, Pause::Budget | Pause::Room { .. })
    }
}

impl Step {
    /// What it takes of the run's budget: what it cost, or what was reserved while that is not known.
    pub fn takes(&self) -> Usd {
        let known = self.ended.as_ref().and_then(|ended| ended.cost);
        known.unwrap_or(self.hold)
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.ended.is_none()
    }
}

impl Round {
    /// The verdict that holds. One that is missing after the reviewer was asked again counts as `iterate`.
    pub fn said(&self) -> Option<verdict::Said> {
        match (self.verdict?, self.asked) {
            (said, _) if said.is_clear() => Some(said),
            (_, Some(said)) if said.is_clear() => Some(said),
            (_, Some(_)) => Some(verdict::Said::Iterate),
            (_, None) => None,
        }
    }
}

impl Seen {
    /// Adds a step, or replaces what was known of it.
    pub fn put(&mut self, step: Step) {
        self.last_start = self.last_start.max(Some(step.began));
        let Key {
            worker,
            round,
            part,
            attempt,
        } = step.key;
        let attempts = self.steps.entry((worker, round, part)).or_default();
        match attempts.iter_mut().find(|each| each.key.attempt == attempt) {
            Some(known) => *known = step,
            None => {
                attempts.push(step);
                attempts.sort_by_key(|each| each.key.attempt);
            }
        }
    }

    /// The step called `key`.
    pub fn step(&self, key: Key) -> Option<&Step> {
        let attempts = self.steps.get(&(key.worker, key.round, key.part))?;
        attempts.iter().find(|each| each.key.attempt == key.attempt)
    }

    /// The same, to change it.
    pub fn step_mut(&mut self, key: Key) -> Option<&mut Step> {
        let attempts = self.steps.get_mut(&(key.worker, key.round, key.part))?;
        attempts.iter_mut().find(|each| each.key.attempt == key.attempt)
    }

    /// The tries at a piece of work.
    pub fn attempts(&self, worker: usize, round: u32, part: Part) -> &[Step] {
        self.steps.get(&(worker, round, part)).map_or(&[], Vec::as_slice)
    }

    /// The number of the first try at a piece of work that counts.
    pub fn first_attempt(&self, worker: usize, round: u32, part: Part) -> u32 {
        self.forgotten.get(&(worker, round, part)).map_or(1, |tried| tried + 1)
    }

    /// Every step, in no order that means anything.
    pub fn all(&self) -> impl Iterator<Item = &Step> {
        self.steps.values().flatten()
    }

    /// The steps that run.
    pub fn running(&self) -> impl Iterator<Item = &Step> {
        self.all().filter(|step| step.runs())
    }

    /// What the run has spent and what is reserved for the steps that run.
    pub fn committed(&self) -> Usd {
        self.spent_before + self.all().map(Step::takes).sum()
    }

    /// What of that is for `round`.
    pub fn committed_in(&self, round: u32) -> Usd {
        let before = self.spent_before_in.get(&round).copied().unwrap_or_default();
        let own = self.all().filter(|step| step.key.round == round);
        before + own.map(Step::takes).sum()
    }

    /// What was spent in `round`, or in all of them, with what is charged for steps of which nobody knows what they cost.
    /// `so_far` is what one that runs has spent.
    pub fn spent(&self, round: Option<u32>, so_far: impl Fn(Key) -> Usd) -> Usd {
        let before = match round {
            Some(round) => self.spent_before_in.get(&round).copied().unwrap_or_default(),
            None => self.spent_before,
        };
        let own = self
            .all()
            .filter(|step| round.is_none_or(|round| step.key.round == round));
        let spent = |step: &Step| match step.runs() {
            true => so_far(step.key),
            false => step.takes(),
        };
        before + own.map(spent).sum()
    }

    /// What all workers may spend together in `round`; none where nobody says it.
    pub fn iteration(&self, plan: &Plan, round: u32) -> Option<Cap> {
        let of_plan = match &plan.shape {
            Shape::Iterative(rounds) => rounds.budget,
            Shape::Autoresearch(research) => Some(research.budget),
            Shape::Worktree | Shape::Dag | Shape::Pipeline(_) => return None,
        };
        let of_plan = of_plan.map(|ceiling| Cap { ceiling, hard: true });
        self.iterations.get(&round).copied().or(of_plan)
    }

    /// What the tries at the piece of work of `key` cost that came before it, as far as that is known.
    pub fn spent_on(&self, key: Key) -> Usd {
        let before = self
            .attempts(key.worker, key.round, key.part)
            .iter()
            .filter(|step| step.key.attempt < key.attempt);
        before.filter_map(|step| step.ended.as_ref()?.cost).sum()
    }

    /// The last round that was begun.
    pub fn last_round(&self) -> Option<u32> {
        self.rounds.keys().next_back().copied()
    }

    /// How many reviews in a row up to and with `round` said `lgtm`.
    pub fn accepted_in_a_row(&self, round: u32) -> u32 {
        let said_yes = |round: &u32| {
            let said = self.rounds.get(round).and_then(Round::said);
            said == Some(verdict::Said::Lgtm)
        };
        (1..=round).rev().take_while(said_yes).count() as u32
    }
}

impl Plan {
    /// The name of the worker at `place`.
    pub fn worker_id(&self, place: usize) -> &str {
        self.workers.get(place).map_or(RESEARCH, |worker| worker.id.as_str())
    }

    /// The place of the worker called `id`.
    pub fn place_of(&self, id: &str) -> Option<usize> {
        match self.shape {
            Shape::Autoresearch(_) => (id == RESEARCH).then_some(0),
            _ => self.workers.iter().position(|worker| worker.id == id),
        }
    }

    /// How many workers it has; an autoresearch plan has one.
    pub fn places(&self) -> usize {
        self.workers.len().max(1)
    }
}

impl Seen {
    /// The steps whose failure counts no more when somebody asks to go on: those that wait for a person, and with
    /// `failures` every one that did not get done.
    pub fn forgiven(&self, failures: bool) -> Vec<Key> {
        let of = |step: &&Step| {
            let how = step.ended.as_ref().map(|ended| ended.how);
            !step.forgiven && how.is_some_and(|how| how.waits_for_a_person() || failures && !how.is_done())
        };
        self.all().filter(of).map(|step| step.key).collect()
    }
}
