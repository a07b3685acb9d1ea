//! What is to be done next for a run. Pure: the same knowledge and the same moment give the same actions.

use std::collections::BTreeMap;

use super::graph::{LEAST, Next, Stand, aborts, piece, stands};
use super::stages::{self, StageStand, is_used_up, walk};
use super::verdict::Said;
use super::{Control, Finish, How, Key, Part, Pause, Seen, Step, Tick, Why, Window};
use crate::Time;
use crate::budget::Cap;
use crate::money::Usd;
use crate::pipeline::{GATE_TIMEOUT, Pipeline};
use crate::plan::word::Direction;
use crate::plan::{Plan, Research, Rounds, Shape};

/// One thing to do. Each is named by what it is about, and doing it again changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Begin this round.
    OpenRound(u32),
    /// Start a step.
    Start {
        /// Its name.
        key: Key,
        /// What is reserved for it.
        hold: Usd,
        /// Whether it goes on with the conversation of the try before, or with the reviewer's where it asks.
        goes_on: bool,
    },
    /// End a step that runs.
    End {
        /// Its name.
        key: Key,
        /// Why.
        why: Why,
    },
    /// Look what the review of this round says; the second time after the reviewer was asked again.
    ReadVerdict {
        /// The round.
        round: u32,
        /// Whether it was asked again.
        asked: bool,
    },
    /// Keep or discard the change of this round.
    Settle {
        /// The round.
        round: u32,
        /// Whether it is kept.
        keep: bool,
    },
    /// Start nothing more until a person says so, or the time has come that the reason names.
    Pause(Pause),
    /// The time has come: the pause is over.
    GoOn,
    /// The run is over.
    Finish(Finish),
}

/// What is to be done, and when to look again if nothing happens before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// In the order in which they are to be done.
    pub actions: Vec<Action>,
    /// The next moment at which something is due by time alone.
    pub wake: Option<Tick>,
}

impl Decision {
    /// Whether the run pauses or ends because a ceiling does not reach.
    pub fn is_short(&self) -> bool {
        let is_short = |action: &Action| match action {
            Action::Pause(why) => why.is_for_money(),
            Action::Finish(finish) => *finish == Finish::OverBudget,
            _ => false,
        };
        self.actions.iter().any(is_short)
    }
}

/// What is reserved for a session of a pipeline that has no ceiling.
const UNCAPPED: Usd = Usd::from_micros(1_000_000);

/// What the reviewer may spend to say its verdict after all.
const ASK: Usd = Usd::from_micros(250_000);

/// What is to be done for a run of `plan` of which this was `seen`.
pub fn decide(plan: &Plan, seen: &Seen, now: Tick) -> Decision {
    let mut decider = Decider {
        plan,
        seen,
        now,
        free: (plan.max_concurrent as usize).saturating_sub(seen.running().count()),
        committed: seen.committed(),
        begun: BTreeMap::new(),
        last_start: seen.last_start,
        too_dear: false,
        waits_for_money: false,
        windows: seen.windows.clone(),
        room_at: None,
        refused: refused(plan, seen),
        decision: Decision::default(),
    };
    decider.watch();
    match seen.control {
        Control::Stopping => decider.stop(),
        Control::Paused => decider.pause_is_over(),
        Control::Going => match &plan.shape {
            Shape::Worktree | Shape::Dag => decider.graph(),
            Shape::Iterative(rounds) => decider.iterate(rounds),
            Shape::Autoresearch(research) => decider.research(research),
            Shape::Pipeline(pipeline) => decider.pipeline(pipeline),
        },
    }
    decider.decision
}

struct Decider<'a> {
    plan: &'a Plan,
    seen: &'a Seen,
    now: Tick,
    /// How many more may run at once.
    free: usize,
    committed: Usd,
    /// What this decision reserves, by rounds.
    begun: BTreeMap<u32, Usd>,
    last_start: Option<Tick>,
    /// Whether something was not started because the budget does not reach.
    too_dear: bool,
    /// Whether something was not started because somebody has to allow more first.
    waits_for_money: bool,
    /// What may still be reserved of ceilings that are not the run's own.
    windows: Vec<Window>,
    /// When there is room for what did not fit into one of these.
    room_at: Option<Time>,
    /// Until when the service of a provider refuses this account.
    refused: BTreeMap<&'a str, Tick>,
    decision: Decision,
}

/// Until when which provider's service refuses this account.
fn refused<'a>(plan: &'a Plan, seen: &Seen) -> BTreeMap<&'a str, Tick> {
    let mut refused = BTreeMap::new();
    for step in seen.all().filter(|step| !step.forgiven) {
        if let Some(until) = step.ended.as_ref().and_then(|ended| ended.until) {
            let latest: &mut Tick = refused.entry(provider(plan, step.key.worker)).or_default();
            *latest = until.max(*latest);
        }
    }
    refused
}

fn provider(plan: &Plan, worker: usize) -> &str {
    match (&plan.shape, plan.workers.get(worker)) {
        (Shape::Autoresearch(research), _) => &research.choice.provider,
        (_, Some(worker)) => &worker.choice.provider,
        (_, None) => "",
    }
}

impl Decider<'_> {
    fn act(&mut self, action: Action) {
        self.decision.actions.push(action);
    }

    fn wake_at(&mut self, at: Tick) {
        let first = self.decision.wake.map_or(at, |wake| wake.min(at));
        self.decision.wake = Some(first);
    }

    /// Ends what takes too long or gives no sign of life.
    fn watch(&mut self) {
        for step in self.seen.running() {
            let limit = limit(self.plan, step).map(|limit| (step.began.saturating_add(limit), Why::Timeout));
            let quiet = self.plan.stall_ms.filter(|_| step.key.part != Part::Measure);
            let quiet = quiet.map(|quiet| (step.alive.saturating_add(quiet), Why::Stall));
            let due = [limit, quiet].into_iter().flatten().min_by_key(|(at, _)| *at);
            match (step.ending, due) {
                (Some(why), _) => self.act(Action::End { key: step.key, why }),
                (None, Some((at, why))) if at <= self.now => self.act(Action::End { key: step.key, why }),
                (None, Some((at, _))) => self.wake_at(at),
                (None, None) => {}
            }
        }
    }

    /// Ends a pause whose time has come.
    fn pause_is_over(&mut self) {
        match self.seen.again {
            Some(at) if at <= self.now => self.act(Action::GoOn),
            Some(at) => self.wake_at(at),
            None => {}
        }
    }

    fn stop(&mut self) {
        let running: Vec<&Step> = self.seen.running().collect();
        if running.is_empty() {
            return self.act(Action::Finish(Finish::Stopped));
        }
        for step in running.into_iter().filter(|step| step.ending.is_none()) {
            let action = Action::End {
                key: step.key,
                why: Why::Stop,
            };
            // It may have run out of time at the same moment.
            self.decision
                .actions
                .retain(|each| !matches!(each, Action::End { key, .. } if *key == step.key));
            self.act(action);
        }
    }

    /// Starts a try, if there is room and money for it. False: nothing that comes behind it may be started either.
    fn start(&mut self, worker: usize, round: u32, part: Part, next: Next) -> bool {
        if self.free == 0 {
            return false;
        }
        let not_before = next.not_before.max(self.refused_until(worker));
        if not_before > self.now {
            self.wake_at(not_before);
            return true;
        }
        if !self.can_pay(next.hold, round) {
            return true;
        }
        let since = self
            .last_start
            .map(|last| last.saturating_add(self.plan.launch_delay_ms));
        if let Some(at) = since.filter(|at| *at > self.now && self.plan.launch_delay_ms > 0) {
            self.wake_at(at);
            return false;
        }
        self.free -= 1;
        self.committed = self.committed + next.hold;
        let begun = self.begun.entry(round).or_default();
        *begun = *begun + next.hold;
        for window in &mut self.windows {
            window.left = window.left.less(next.hold);
        }
        self.last_start = Some(self.now);
        self.act(Action::Start {
            key: Key {
                worker,
                round,
                part,
                attempt: next.attempt,
            },
            hold: next.hold,
            goes_on: next.goes_on,
        });
        true
    }

    /// Until when the service of `worker`'s provider refuses this account: it would refuse others, too.
    fn refused_until(&self, worker: usize) -> Tick {
        let provider = provider(self.plan, worker);
        self.refused.get(provider).copied().unwrap_or(0)
    }

    /// Whether what the run may spend, in this `round` and in all, reaches for `more`; notes which limit it is that does not.
    fn can_pay(&mut self, more: Usd, round: u32) -> bool {
        let begun = self.begun.get(&round).copied().unwrap_or_default();
        let in_round = self.seen.committed_in(round) + begun;
        // What a round of an autoresearch plan may spend is what its one worker is given.
        let of_round = self.seen.iteration(self.plan, round);
        let of_round = of_round.filter(|_| matches!(self.plan.shape, Shape::Iterative(_)));
        match of_round.filter(|cap| in_round + more > cap.ceiling) {
            Some(cap) if cap.hard => {
                self.too_dear = true;
                return false;
            }
            Some(_) => {
                self.waits_for_money = true;
                return false;
            }
            None => {}
        }
        let own = self.plan.cap.map(|ceiling| Cap { ceiling, hard: true });
        let ceiling = self.seen.ceiling.or(own);
        match ceiling.filter(|cap| self.committed + more > cap.ceiling) {
            Some(cap) if cap.hard => self.too_dear = true,
            Some(_) => self.waits_for_money = true,
            None => return self.has_room(more),
        }
        false
    }

    /// Whether `more` may be spent by the ceilings that are not the run's own; notes when it may be, where time alone brings
    /// that.
    fn has_room(&mut self, more: Usd) -> bool {
        let short = || self.windows.iter().filter(|window| more > window.left);
        if short().next().is_none() {
            return true;
        }
        // Whoever is asked by a pipeline wants to hear of it at once.
        let waits = !matches!(self.plan.shape, Shape::Pipeline(_)) && short().all(|window| more <= window.ceiling);
        // The last of them decides, and one of them may never come.
        let all: Option<Vec<Time>> = short().map(|window| window.until).collect();
        let until = all.and_then(|all| all.into_iter().max()).filter(|_| waits);
        self.room_at = self.room_at.into_iter().chain(until).min();
        self.waits_for_money = true;
        false
    }

    /// What follows when the money does not reach for what comes next.
    fn stop_for_money(&mut self) {
        let action = match (self.room_at, self.waits_for_money && !self.too_dear) {
            (Some(until), _) => Action::Pause(Pause::Room { until }),
            (None, true) => Action::Pause(Pause::Budget),
            (None, false) => Action::Finish(Finish::OverBudget),
        };
        self.act(action);
    }

    /// Starts what may be started of one round, and gives how its workers stand.
    fn round(&mut self, round: u32) -> Vec<Stand> {
        let stands = stands(self.plan, self.seen, round);
        let held = stands.iter().position(|stand| matches!(stand, Stand::Held(_)));
        if let Some(worker) = held {
            self.act(Action::Pause(Pause::Blocked { worker }));
            return stands;
        }
        if aborts(self.plan, &stands) {
            return stands;
        }
        for (worker, stand) in stands.iter().enumerate() {
            if let Stand::Ready(next) = stand
                && !self.start(worker, round, Part::Work, *next)
            {
                break;
            }
        }
        stands
    }

    /// Whether nothing runs, nothing was started, and nothing is due later by time alone.
    fn rests(&self) -> bool {
        self.decision.actions.is_empty() && self.decision.wake.is_none() && self.seen.running().next().is_none()
    }

    /// Ends a round in which nothing more can be done.
    fn end_round(&mut self, stands: &[Stand]) {
        match () {
            () if stands.iter().all(|stand| stand.is_done()) => self.act(Action::Finish(Finish::Done)),
            () if self.too_dear || self.waits_for_money => self.stop_for_money(),
            () => self.act(Action::Finish(Finish::Failed)),
        }
    }

    fn graph(&mut self) {
        let stands = self.round(1);
        if self.rests() {
            self.end_round(&stands);
        }
    }

    fn iterate(&mut self, rounds: &Rounds) {
        let Some(round) = self.seen.last_round() else {
            return self.act(Action::OpenRound(1));
        };
        let stands = self.round(round);
        if !stands.get(rounds.reviewer).is_some_and(|stand| stand.is_done()) {
            if self.rests() {
                self.end_round(&stands);
            }
            return;
        }
        if !self.decision.actions.is_empty() {
            return;
        }
        let known = self.seen.rounds.get(&round).cloned().unwrap_or_default();
        match (known.verdict, known.said()) {
            (None, _) => self.act(Action::ReadVerdict { round, asked: false }),
            (Some(_), None) => self.ask(rounds.reviewer, round),
            (Some(_), Some(said)) => self.next_round(rounds, round, said, known.answered),
        }
    }

    /// Asks the reviewer once more for its verdict, which is cheap where its conversation can be gone on with.
    fn ask(&mut self, reviewer: usize, round: u32) {
        let attempts = self.seen.attempts(reviewer, round, Part::Ask);
        let work = self.seen.attempts(reviewer, round, Part::Work).last();
        let resumable = work
            .and_then(|step| step.ended.as_ref())
            .is_some_and(|ended| ended.resumable);
        let may_spend = self
            .plan
            .workers
            .get(reviewer)
            .map_or(ASK, |worker| worker.budget.min(ASK));
        let over = match attempts.last() {
            None => !resumable,
            Some(last) => !last.runs() && !last.forgiven,
        };
        if over {
            return self.act(Action::ReadVerdict { round, asked: true });
        }
        if attempts.last().is_some_and(Step::runs) {
            return;
        }
        let next = Next {
            attempt: self.seen.first_attempt(reviewer, round, Part::Ask) + attempts.len() as u32,
            goes_on: true,
            not_before: 0,
            hold: may_spend,
        };
        self.start(reviewer, round, Part::Ask, next);
        if self.room_at.is_some() {
            self.stop_for_money();
        } else if self.too_dear || self.waits_for_money {
            self.act(Action::ReadVerdict { round, asked: true });
        }
    }

    fn next_round(&mut self, rounds: &Rounds, round: u32, said: Said, answered: bool) {
        if self.seen.accepted_in_a_row(round) >= rounds.lgtm_count {
            return self.act(Action::Finish(Finish::Done));
        }
        if said == Said::Escalate && !answered {
            return self.act(Action::Pause(Pause::Escalated { round }));
        }
        if round >= rounds.max_iterations {
            return self.act(Action::Finish(Finish::NotAccepted));
        }
        // Half a round is money for nothing: without its review nobody knows what it was worth.
        let whole: Usd = self.plan.workers.iter().map(|worker| worker.budget).sum();
        let of_round = self.seen.iteration(self.plan, round + 1);
        let whole = of_round.map_or(whole, |cap| cap.ceiling.min(whole));
        if !self.can_pay(whole, round + 1) {
            return self.stop_for_money();
        }
        self.act(Action::OpenRound(round + 1));
    }

    fn pipeline(&mut self, pipeline: &Pipeline) {
        let ceiling = self.seen.ceiling.map(|cap| cap.ceiling).or(self.plan.cap);
        let own = ceiling.map(|ceiling| ceiling.less(self.committed));
        // A session may spend what is left, of whatever that is.
        let of_task = self.seen.windows.iter().filter(|window| window.until.is_none());
        let left = own.into_iter().chain(of_task.map(|window| window.left)).min();
        let walk = walk(self.plan, pipeline, self.seen, left.unwrap_or(UNCAPPED));
        let Some((place, stage)) = walk.stages.iter().copied().enumerate().next_back() else {
            return self.act(Action::Finish(Finish::Done));
        };
        match (walk.next, stage.stand) {
            (stages::Next::Done, _) => self.act(Action::Finish(Finish::Done)),
            (stages::Next::Failed, _) => self.act(Action::Finish(Finish::Failed)),
            (stages::Next::Open, Stand::Ready(next)) => self.stage(pipeline, place, stage, next),
            (stages::Next::Open, Stand::Held(_)) => self.act(Action::Pause(Pause::Blocked { worker: place })),
            (stages::Next::Open, Stand::Over(_)) => self.stage_again(pipeline, place, stage, left),
            (stages::Next::Open, Stand::Runs | Stand::Waits(_) | Stand::Skipped(_)) => {}
        }
    }

    /// Starts a session of a stage or its gate, where the budget reaches.
    fn stage(&mut self, pipeline: &Pipeline, place: usize, stage: StageStand, next: Next) {
        // The commands of a gate cost nothing: they run whatever was spent.
        if stage.part == Part::Measure {
            if next.not_before > self.now {
                return self.wake_at(next.not_before);
            }
            return self.act(Action::Start {
                key: Key {
                    worker: place,
                    round: stage.go,
                    part: Part::Measure,
                    attempt: next.attempt,
                },
                hold: Usd::default(),
                goes_on: false,
            });
        }
        if is_used_up(&pipeline.contract.budget, &self.seen.used) {
            return self.act(Action::Finish(Finish::OverBudget));
        }
        if !self.can_pay(next.hold.max(LEAST), stage.go) {
            return self.stop_for_money();
        }
        self.start(place, stage.go, stage.part, next);
    }

    /// A session ended at what it might spend. It goes on where there is more by now.
    fn stage_again(&mut self, pipeline: &Pipeline, place: usize, stage: StageStand, left: Option<Usd>) {
        /// A program that ends at once at a limit of its own would do so for ever.
        const TIMES: usize = 3;
        let tries = self.seen.attempts(place, stage.go, Part::Work);
        let ended = |step: &&Step| step.ended.as_ref().is_some_and(|ended| ended.how == How::OverBudget);
        let often = tries.iter().filter(ended).filter(|step| !step.forgiven).count() >= TIMES;
        let (Some(left), Some(last), false) = (left, tries.last(), often) else {
            return self.act(Action::Finish(Finish::OverBudget));
        };
        let hold = last.hold;
        // A rest of a few cents is no reason to begin again.
        if left < Usd::from_micros(hold.micros() / 20) {
            self.can_pay(hold.max(LEAST), stage.go);
            return self.stop_for_money();
        }
        let next = Next {
            attempt: last.key.attempt + 1,
            goes_on: last.ended.as_ref().is_some_and(|ended| ended.resumable),
            not_before: 0,
            hold: left,
        };
        self.stage(pipeline, place, stage, next);
    }

    fn research(&mut self, research: &Research) {
        let Some(round) = self.seen.last_round() else {
            return match self.measure(0) {
                Measured::Open => {}
                Measured::Failed => self.act(Action::Finish(Finish::Failed)),
                Measured::At(_) => self.act(Action::OpenRound(1)),
            };
        };
        if self.seen.rounds.get(&round).and_then(|round| round.kept).is_some() {
            if round >= research.max_iterations {
                return self.act(Action::Finish(Finish::Done));
            }
            if !self.can_pay(self.budget_of(research, round + 1), round + 1) {
                return self.stop_for_money();
            }
            return self.act(Action::OpenRound(round + 1));
        }
        match piece(
            self.plan,
            self.seen,
            (0, round, Part::Work),
            self.budget_of(research, round),
        ) {
            Stand::Ready(next) => {
                self.start(0, round, Part::Work, next);
                if self.too_dear || self.waits_for_money {
                    self.stop_for_money();
                }
            }
            Stand::Held(_) => self.act(Action::Pause(Pause::Blocked { worker: 0 })),
            Stand::Over(how) if how.is_done() || how == How::OverBudget => match self.measure(round) {
                Measured::Open => {}
                Measured::Failed => self.act(Action::Settle { round, keep: false }),
                Measured::At(metric) => {
                    let keep = self
                        .seen
                        .best(research)
                        .is_none_or(|best| is_better(research.direction, metric, best));
                    self.act(Action::Settle { round, keep });
                }
            },
            Stand::Over(_) | Stand::Skipped(_) | Stand::Waits(_) => self.act(Action::Settle { round, keep: false }),
            Stand::Runs => {}
        }
    }

    fn budget_of(&self, research: &Research, round: u32) -> Usd {
        let cap = self.seen.iteration(self.plan, round);
        cap.map_or(research.budget, |cap| cap.ceiling)
    }

    fn measure(&mut self, round: u32) -> Measured {
        match piece(self.plan, self.seen, (0, round, Part::Measure), Usd::default()) {
            Stand::Ready(next) => {
                self.start(0, round, Part::Measure, next);
                Measured::Open
            }
            Stand::Runs => Measured::Open,
            Stand::Held(_) => {
                self.act(Action::Pause(Pause::Blocked { worker: 0 }));
                Measured::Open
            }
            _ => match self.seen.metric(round) {
                Some(metric) => Measured::At(metric),
                None => Measured::Failed,
            },
        }
    }
}

enum Measured {
    Open,
    Failed,
    At(f64),
}

/// How long a step may take, in milliseconds.
fn limit(plan: &Plan, step: &Step) -> Option<u64> {
    match (&plan.shape, step.key.part) {
        (Shape::Autoresearch(research), Part::Measure) => Some(research.eval_timeout_ms),
        (Shape::Autoresearch(research), _) => research.timeout_ms,
        (Shape::Pipeline(_), Part::Measure) => Some(GATE_TIMEOUT),
        _ => plan.workers.get(step.key.worker)?.timeout_ms,
    }
}

fn is_better(direction: Direction, metric: f64, than: f64) -> bool {
    match direction {
        Direction::Minimize => metric < than,
        Direction::Maximize => metric > than,
    }
}

impl Seen {
    /// What was measured in `round`, where that worked.
    pub fn metric(&self, round: u32) -> Option<f64> {
        let last = self.attempts(0, round, Part::Measure).last()?;
        let ended = last.ended.as_ref().filter(|ended| ended.how.is_done())?;
        ended.metric.filter(|metric| metric.is_finite())
    }

    /// The best that was measured of what was kept, the state before the first round included.
    pub fn best(&self, research: &Research) -> Option<f64> {
        let kept = self
            .rounds
            .iter()
            .filter(|(_, round)| round.kept == Some(true))
            .map(|(round, _)| *round);
        let metrics = std::iter::once(0).chain(kept).filter_map(|round| self.metric(round));
        metrics.reduce(|best, metric| match is_better(research.direction, metric, best) {
            true => metric,
            false => best,
        })
    }

    /// How many of the last rounds brought nothing.
    pub fn rounds_without_progress(&self) -> u32 {
        let settled = self.rounds.values().rev().filter_map(|round| round.kept);
        settled.take_while(|kept| !kept).count() as u32
    }
}
