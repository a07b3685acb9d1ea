//! A run as it is stored: values without places in a plan, so that they outlive its changes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::verdict::Said;
use super::{Control, Ended, Finish, How, Key, Part, Pause, Round, Seen, Step, Tick, Why};
use crate::Time;
use crate::id::AgentId;
use crate::money::Usd;
use crate::plan::Plan;
use crate::task::TaskId;

/// One execution of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// The fleet root, absolute.
    pub root: PathBuf,
    /// What the plan calls itself.
    pub name: String,
    /// The plan's type, in its word.
    pub plan_type: String,
    /// Real path of the common git directory of the repository it works on; none for no repository.
    pub repo: Option<PathBuf>,
    /// The commit that worktrees start from.
    pub base: Option<String>,
    /// The task that it works for: what its workers reserve and spend counts there.
    pub task: Option<TaskId>,
    /// The plan's file, as it was last launched.
    pub text: String,
    /// What people want of it.
    pub control: Control,
    /// Why it has paused by itself.
    pub pause: Option<Pause>,
    /// How it ended.
    pub finish: Option<Finish>,
    /// How many drivers it has had.
    pub generation: u32,
    /// When it was first launched.
    pub created_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
}

/// The name of a step, by the worker's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepName {
    /// The worker's id.
    pub worker: String,
    /// Which round.
    pub round: u32,
    /// What it is.
    pub part: Part,
    /// Which try, from 1.
    pub attempt: u32,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// Its name.
    pub name: StepName,
    /// The agent that makes it.
    pub agent: AgentId,
    /// Which launch of that agent.
    pub generation: u32,
    /// What was reserved for it.
    pub hold: Usd,
    /// The boot that the ticks belong to.
    pub boot: String,
    /// When it was begun.
    pub began: Tick,
    /// The same by the wall clock.
    pub began_at: Time,
    /// Why it was told to end.
    pub ending: Option<Why>,
    /// How it ended.
    pub ended: Option<StepEnd>,
    /// Whether its failure counts no more.
    pub forgiven: bool,
    /// Whether its worker was started over since.
    pub forgotten: bool,
}

/// The end of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepEnd {
    /// How.
    pub how: How,
    /// What was said about it.
    pub text: String,
    /// What it cost; none where nobody knows.
    pub cost: Option<Usd>,
    /// What of that is in no account, because its supervisor was killed: by the program's own files, and an estimate.
    pub estimated: Usd,
    /// What it measured.
    pub metric: Option<f64>,
    /// Whether its conversation can be gone on with.
    pub resumable: bool,
    /// When.
    pub ended: Tick,
    /// The same by the wall clock.
    pub ended_at: Time,
    /// When its service answers again, by the wall clock, where that refused it until then.
    pub until: Option<Time>,
}

/// One round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoundRecord {
    /// Its number.
    pub round: u32,
    /// The commit before it.
    pub base: Option<String>,
    /// What the review said.
    pub verdict: Option<Said>,
    /// What it said after the reviewer was asked again.
    pub asked: Option<Said>,
    /// Whether a person has answered its `escalate`.
    pub answered: bool,
    /// Whether its change was kept.
    pub kept: Option<bool>,
    /// Its change.
    pub commit: Option<String>,
}

/// One thing that happened, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Time,
    /// What, in a word: `launched`, `started`, `ended`, `round`, `verdict`, `paused`, `finished`, …
    pub event: String,
    /// The worker it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// A sentence.
    pub about: String,
}

impl StepName {
    /// The name of the step `key` of `plan`.
    pub fn of(plan: &Plan, key: Key) -> StepName {
        StepName {
            worker: plan.worker_id(key.worker).to_owned(),
            round: key.round,
            part: key.part,
            attempt: key.attempt,
        }
    }

    /// Its key in `plan`; none where the plan has no such worker any more.
    pub fn key(&self, plan: &Plan) -> Option<Key> {
        Some(Key {
            worker: plan.place_of(&self.worker)?,
            round: self.round,
            part: self.part,
            attempt: self.attempt,
        })
    }
}

impl StepRecord {
    /// What it is to [`super::decide()`]. Ticks of another boot than `boot` mean nothing now: such a step began, or
    /// ended, at 0.
    fn step(&self, key: Key, boot: &str, now: Tick) -> Step {
        let tick = |tick: Tick| if self.boot == boot { tick.min(now) } else { 0 };
        let ended = self.ended.as_ref().map(|end| Ended {
            at: tick(end.ended),
            how: end.how,
            text: end.text.clone(),
            cost: end.cost,
            resumable: end.resumable,
            metric: end.metric,
            // After a boot nobody knows how long ago that was: the service says it again.
            until: end.until.map(|until| match self.boot == boot {
                true => tick(end.ended).saturating_add(u64::try_from(until.0 - end.ended_at.0).unwrap_or(0)),
                false => 0,
            }),
        });
        Step {
            key,
            hold: self.hold,
            began: tick(self.began),
            // Whoever looks now sees whether it lives.
            alive: now,
            ending: self.ending,
            ended,
            forgiven: self.forgiven,
        }
    }
}

/// What `plan`, `steps` and `rounds` amount to at `now` in the boot `boot`.
pub fn seen(
    plan: &Plan,
    control: Control,
    steps: &[StepRecord],
    rounds: &[RoundRecord],
    boot: &str,
    now: Tick,
) -> Seen {
    let mut seen = Seen {
        control,
        ..Seen::default()
    };
    let places: std::collections::BTreeMap<&str, usize> =
        (0..plan.places()).map(|place| (plan.worker_id(place), place)).collect();
    for record in steps {
        let place = places.get(record.name.worker.as_str()).copied();
        let Some(worker) = place.filter(|_| !record.forgotten) else {
            let cost = record.ended.as_ref().and_then(|end| end.cost);
            let cost = cost.unwrap_or(record.hold);
            seen.spent_before = seen.spent_before + cost;
            let in_round = seen.spent_before_in.entry(record.name.round).or_default();
            *in_round = *in_round + cost;
            if let Some(worker) = place {
                let tried = seen
                    .forgotten
                    .entry((worker, record.name.round, record.name.part))
                    .or_default();
                *tried = (*tried).max(record.name.attempt);
            }
            continue;
        };
        let key = Key {
            worker,
            round: record.name.round,
            part: record.name.part,
            attempt: record.name.attempt,
        };
        seen.put(record.step(key, boot, now));
    }
    for record in rounds {
        let round = Round {
            verdict: record.verdict,
            asked: record.asked,
            answered: record.answered,
            kept: record.kept,
        };
        seen.rounds.insert(record.round, round);
    }
    seen
}
