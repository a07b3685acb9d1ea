//! How each worker of one round stands: which has to wait, which may be started, and which are over.

use super::{How, Part, Seen, Step, Tick};
use crate::money::Usd;
use crate::plan::word::OnDepFailure;
use crate::plan::{Plan, Worker};

/// How one worker stands in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// It waits for the worker at this place.
    Waits(usize),
    /// Its next try may begin.
    Ready(Next),
    /// It runs.
    Runs,
    /// It ended so, and nothing is to be tried before somebody asks for it.
    Held(How),
    /// It is over.
    Over(How),
    /// It is not started, because the worker at this place is not done.
    Skipped(usize),
}

/// The next try at a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// Which try, from 1.
    pub(super) attempt: u32,
    /// Whether it goes on with the conversation of the one before.
    pub(super) goes_on: bool,
    /// Not before this moment.
    pub(super) not_before: Tick,
    /// What is reserved for it.
    pub(super) hold: Usd,
}

/// The least that a try is worth beginning with.
pub(super) const LEAST: Usd = Usd::from_micros(10_000);
/// The longest wait between two tries, in milliseconds.
const LONGEST_WAIT: u64 = 15 * 60_000;
/// The shortest wait after a service wanted fewer requests, in milliseconds.
const LIMIT_WAIT: u64 = 30_000;

impl Stand {
    /// Whether its work is done.
    pub(super) fn is_done(self) -> bool {
        matches!(self, Stand::Over(how) if how.is_done())
    }

    /// Whether nothing more will come of it by itself.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Stand::Over(_) | Stand::Skipped(_))
    }
}

/// How every worker stands in `round`, by place.
pub(super) fn stands(plan: &Plan, seen: &Seen, round: u32) -> Vec<Stand> {
    let mut stands: Vec<Option<Stand>> = vec![None; plan.workers.len()];
    // Depth first without recursion: a chain may have 100,000 links.
    let mut open: Vec<usize> = (0..plan.workers.len()).rev().collect();
    while let Some(place) = open.pop() {
        if stands[place].is_some() {
            continue;
        }
        let worker = &plan.workers[place];
        let unknown: Vec<usize> = worker
            .depends_on
            .iter()
            .copied()
            .filter(|each| stands[*each].is_none())
            .collect();
        if unknown.is_empty() {
            let blocker = blocker(worker, &stands);
            let tries = seen.attempts(place, round, Part::Work);
            stands[place] = Some(match (blocker, tries.is_empty()) {
                (Some(stand), true) => stand,
                _ => piece(plan, seen, (place, round, Part::Work), worker.budget),
            });
        } else {
            open.push(place);
            open.extend(unknown);
        }
    }
    stands.into_iter().map(|stand| stand.unwrap_or(Stand::Runs)).collect()
}

/// What keeps `worker` from being started.
fn blocker(worker: &Worker, stands: &[Option<Stand>]) -> Option<Stand> {
    let of = |place: &usize| stands[*place].unwrap_or(Stand::Runs);
    let undone = |place: &&usize| of(place).is_over() && !of(place).is_done();
    let failed = worker.depends_on.iter().find(undone).copied();
    let waits = worker.depends_on.iter().find(|place| !of(place).is_over()).copied();
    match (worker.on_dep_failure, failed, waits) {
        (OnDepFailure::Skip | OnDepFailure::Abort, Some(place), _) => Some(Stand::Skipped(place)),
        (_, _, Some(place)) => Some(Stand::Waits(place)),
        _ => None,
    }
}

/// Whether a worker that failed ends the whole run, because one that waits for it says so.
pub(super) fn aborts(plan: &Plan, stands: &[Stand]) -> bool {
    plan.workers
        .iter()
        .zip(stands)
        .any(|(worker, stand)| worker.on_dep_failure == OnDepFailure::Abort && matches!(stand, Stand::Skipped(_)))
}

/// How a piece of work stands that may spend `budget`.
pub(super) fn piece(plan: &Plan, seen: &Seen, (worker, round, part): (usize, u32, Part), budget: Usd) -> Stand {
    let attempts = seen.attempts(worker, round, part);
    let Some(last) = attempts.last() else {
        return Stand::Ready(Next {
            attempt: seen.first_attempt(worker, round, part),
            goes_on: false,
            not_before: 0,
            hold: budget,
        });
    };
    let Some(ended) = &last.ended else {
        return Stand::Runs;
    };
    if ended.how.is_done() {
        return Stand::Over(ended.how);
    }
    // That a service has no room for this account until some hour is nobody's failure.
    let refused = |step: &Step| step.ended.as_ref().is_some_and(|ended| ended.until.is_some());
    let failures = attempts.iter().filter(|step| !step.forgiven && !refused(step)).count() as u32;
    if !last.forgiven {
        if ended.how.waits_for_a_person() {
            return Stand::Held(ended.how);
        }
        if !ended.how.may_be_tried_again() || failures > plan.max_retries {
            return Stand::Over(ended.how);
        }
    }
    let spent: Usd = attempts
        .iter()
        .filter_map(|step| step.ended.as_ref().and_then(|ended| ended.cost))
        .sum();
    let hold = budget.less(spent);
    if hold < LEAST && !spent.is_zero() {
        return Stand::Over(How::OverBudget);
    }
    let wait = match (last.forgiven, ended.how) {
        (true, _) | (_, How::Lost) => 0,
        (_, how) => wait(plan, how, failures.max(1)),
    };
    let until = ended.until.filter(|_| !last.forgiven).unwrap_or(0);
    // A try that did not begin leaves the conversation of the one before as it was.
    let ran = attempts.iter().rev().filter_map(|step| step.ended.as_ref());
    let ran = ran.into_iter().find(|ended| ended.how != How::NotStarted);
    Stand::Ready(Next {
        attempt: last.key.attempt + 1,
        goes_on: ran.is_some_and(|ended| ended.resumable),
        not_before: (ended.at + wait).max(until),
        hold,
    })
}

/// Milliseconds before the next try, after so many failures.
fn wait(plan: &Plan, how: How, failures: u32) -> u64 {
    let first = match how {
        How::Limited => plan.retry_delay_ms.max(LIMIT_WAIT.min(plan.retry_delay_ms * 6)),
        _ => plan.retry_delay_ms,
    };
    let times = 4_u64.saturating_pow(failures.saturating_sub(1));
    first.saturating_mul(times).min(LONGEST_WAIT)
}

impl Plan {
    /// For each worker how many others have to be done one after the other before it.
    pub fn layers(&self) -> Vec<usize> {
        let mut layers: Vec<Option<usize>> = vec![None; self.workers.len()];
        let mut open: Vec<usize> = (0..self.workers.len()).rev().collect();
        while let Some(place) = open.pop() {
            let before = &self.workers[place].depends_on;
            let unknown: Vec<usize> = before.iter().copied().filter(|each| layers[*each].is_none()).collect();
            if layers[place].is_some() {
                continue;
            }
            if unknown.is_empty() {
                let deepest = before.iter().filter_map(|each| layers[*each]).max();
                layers[place] = Some(deepest.map_or(0, |layer| layer + 1));
            } else {
                open.push(place);
                open.extend(unknown);
            }
        }
        layers.into_iter().map(Option::unwrap_or_default).collect()
    }
}
