//! How the stages of a pipeline stand, and which is next.
//!
//! A stage is gone through in *goes*: a session, and the commands of its gate. A go that does not succeed is followed by
//! what the stage says: the end, another go, or the next stage all the same. A review that is not content sends the stage
//! that it reviews, and itself, into another go. All of that follows from the steps alone, whose rounds are the goes.

use super::graph::{Stand, piece};
use super::{How, Part, Seen};
use crate::budget::Used;
use crate::contract::Budget;
use crate::money::Usd;
use crate::pipeline::{OnFailure, Pipeline};
use crate::plan::Plan;

/// How one stage stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StageStand {
    /// Which go it is in, from 1.
    pub(super) go: u32,
    /// What is open of that go.
    pub(super) part: Part,
    /// How that stands.
    pub(super) stand: Stand,
}

/// Where a pipeline is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// How each stage stands that was come to, by place.
    pub(super) stages: Vec<StageStand>,
    /// What comes next.
    pub(super) next: Next,
}

/// What comes next in a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The last stage that was come to is open.
    Open,
    /// The last stage that was come to did not succeed, and the pipeline ends.
    Failed,
    /// Nothing is left to do.
    Done,
}

/// What a review that is not content leaves as the text of its step.
pub const ITERATE: &str = "verdict: iterate";

/// How a go ended.
enum Go {
    Open(Part, Stand),
    Passed,
    Failed,
    /// It failed, and somebody asked to go on: it does not count.
    Forgiven,
    /// The review is not content.
    Iterate,
}

/// Goes through what was seen of the pipeline, from its beginning. `left` is what may be spent.
pub(super) fn walk(plan: &Plan, pipeline: &Pipeline, seen: &Seen, left: Usd) -> Walk {
    let count = pipeline.stages.len();
    let mut goes = vec![1_u32; count];
    let mut retries = vec![0_u32; count];
    let mut reviews = 0;
    let mut stages: Vec<StageStand> = Vec::new();
    let mut place = 0;
    while let Some(stage) = pipeline.stages.get(place) {
        let go = goes[place];
        let how = gone(plan, pipeline, seen, place, go, left);
        let (part, stand) = match &how {
            Go::Open(part, stand) => (*part, *stand),
            Go::Passed | Go::Iterate => (Part::Work, Stand::Over(How::Done)),
            Go::Failed | Go::Forgiven => (Part::Work, Stand::Over(end_of(seen, place, go))),
        };
        stages.truncate(place);
        stages.push(StageStand { go, part, stand });
        let end = |next| Walk {
            stages: stages.clone(),
            next,
        };
        match how {
            Go::Open(..) => return end(Next::Open),
            Go::Passed => place += 1,
            Go::Forgiven => goes[place] += 1,
            Go::Iterate => {
                reviews += 1;
                match stage.reviews.filter(|_| reviews < stage.rounds) {
                    Some(back) => {
                        goes[back..=place].iter_mut().for_each(|go| *go += 1);
                        place = back;
                    }
                    None if stage.on_failure == OnFailure::Fail => return end(Next::Failed),
                    None => place += 1,
                }
            }
            Go::Failed => match stage.on_failure {
                OnFailure::Warn => place += 1,
                OnFailure::Retry if retries[place] < stage.max_retries => {
                    retries[place] += 1;
                    goes[place] += 1;
                }
                OnFailure::Retry | OnFailure::Fail => return end(Next::Failed),
            },
        }
    }
    Walk {
        stages,
        next: Next::Done,
    }
}

/// How a go of the stage at `place` stands.
fn gone(plan: &Plan, pipeline: &Pipeline, seen: &Seen, place: usize, go: u32, left: Usd) -> Go {
    let spent: Usd = seen
        .attempts(place, go, Part::Work)
        .iter()
        .filter_map(|step| step.ended.as_ref()?.cost)
        .sum();
    // What is left is what is left for this try, whatever the tries before it have cost.
    let work = piece(plan, seen, (place, go, Part::Work), left + spent);
    match work {
        Stand::Over(how) if how.is_done() => {}
        Stand::Over(How::OverBudget) => return Go::Open(Part::Work, work),
        Stand::Over(_) | Stand::Skipped(_) => return Go::Failed,
        open => return Go::Open(Part::Work, open),
    }
    let stage = &pipeline.stages[place];
    if !stage.gate.is_empty() {
        let tries = seen.attempts(place, go, Part::Measure);
        let forgiven = tries.last().is_some_and(|step| step.forgiven);
        match piece(plan, seen, (place, go, Part::Measure), Usd::default()) {
            Stand::Over(how) if how.is_done() => {}
            // What somebody asks for again is the stage, not only its gate.
            Stand::Ready(_) if forgiven => return Go::Forgiven,
            Stand::Over(_) | Stand::Skipped(_) => return Go::Failed,
            open => return Go::Open(Part::Measure, open),
        }
    }
    match stage.reviews.is_some() && text(seen, place, go) == Some(ITERATE) {
        true => Go::Iterate,
        false => Go::Passed,
    }
}

/// How the last step of a go ended.
fn end_of(seen: &Seen, place: usize, go: u32) -> How {
    let of = |part| {
        seen.attempts(place, go, part)
            .last()
            .and_then(|step| step.ended.as_ref())
    };
    of(Part::Measure)
        .or_else(|| of(Part::Work))
        .map_or(How::Failed, |ended| ended.how)
}

/// How every stage stands, for people: those that were not come to wait, or are left out.
pub(super) fn lines(plan: &Plan, pipeline: &Pipeline, seen: &Seen) -> Vec<StageStand> {
    let walk = walk(plan, pipeline, seen, ALL);
    let mut lines = walk.stages;
    let last = lines.len().saturating_sub(1);
    let stand = match walk.next {
        Next::Failed => Stand::Skipped(last),
        Next::Open | Next::Done => Stand::Waits(last),
    };
    lines.resize(
        pipeline.stages.len(),
        StageStand {
            go: 1,
            part: Part::Work,
            stand,
        },
    );
    lines
}

/// What there is to say of a stage beyond how its session stands.
pub(super) fn about(seen: &Seen, place: usize, stage: &StageStand) -> Option<String> {
    let again = (stage.go > 1).then(|| format!("go {}", stage.go));
    match (stage.part, stage.stand) {
        (Part::Measure, Stand::Runs) => Some("its checks run".to_owned()),
        (_, Stand::Over(how)) if how.is_done() && text(seen, place, stage.go) == Some(ITERATE) => {
            Some("the review is not content".to_owned())
        }
        (_, Stand::Over(How::Failed)) if !seen.attempts(place, stage.go, Part::Measure).is_empty() => {
            Some("a check failed".to_owned())
        }
        (_, Stand::Runs) => again,
        _ => None,
    }
}

/// How a stage stands that was come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stood {
    /// Whether it succeeded; a review does when it is content.
    pub is_good: bool,
    /// Whether something of it is left to do.
    pub is_open: bool,
}

/// How the stages stand that were come to, by place.
pub fn stood(plan: &Plan, pipeline: &Pipeline, seen: &Seen) -> Vec<Stood> {
    let walk = walk(plan, pipeline, seen, ALL);
    let last = walk.stages.len().saturating_sub(1);
    let stages = walk.stages.iter().enumerate();
    let stood = |(place, stage): (usize, &StageStand)| {
        let is_open = place == last && walk.next == Next::Open;
        let good = matches!(stage.stand, Stand::Over(how) if how.is_done());
        Stood {
            is_open,
            is_good: good && !is_open && text(seen, place, stage.go) != Some(ITERATE),
        }
    };
    stages.map(stood).collect()
}

/// Whether a limit that is no money is used up, so that no other session may begin.
pub fn is_used_up(budget: &Budget, used: &Used) -> bool {
    let reached = |most: Option<u32>, used: u64, beyond: u64| most.is_some_and(|most| used >= u64::from(most) + beyond);
    // Without sub-agents, and without tools where none was allowed, a session can still say something.
    let tools = u64::from(budget.max_tool_calls == Some(0));
    reached(budget.max_turns, used.turns, 0)
        || reached(budget.max_tool_calls, used.tool_calls, tools)
        || reached(budget.max_crew_dispatches, used.dispatches, 1)
}

/// What the session of a go left as its text.
fn text(seen: &Seen, place: usize, go: u32) -> Option<&str> {
    let last = seen.attempts(place, go, Part::Work).last()?;
    Some(last.ended.as_ref()?.text.as_str())
}

/// More than any pipeline may spend: for whoever only looks.
const ALL: Usd = Usd::from_micros(u64::MAX / 4);

#[cfg(test)]
mod tests;
