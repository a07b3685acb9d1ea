use super::*;
use crate::budget::Cap;
use crate::contract;
use crate::intensity::Intensity;
use crate::pipeline::Check;
use crate::pipeline::file::{Order, VibeFile};
use crate::run::{Action, Control, Ended, Finish, Key, Pause, Seen, Step, decide};

const USD: u64 = 1_000_000;

/// The built-in pipeline at this intensity, with a check at its end.
fn pipeline(intensity: Intensity) -> Pipeline {
    let mut contract = contract::example();
    contract.budget.intensity = intensity;
    let order = Order {
        pipeline: "feature".to_owned(),
        prompt: "Add a cart.".to_owned(),
        contract,
        provider: "claude".to_owned(),
        branch: "b".to_owned(),
    };
    let mut file = VibeFile::built_in();
    file.checks.push(Check {
        name: "tests".to_owned(),
        command: "true".to_owned(),
    });
    file.pipeline(order).expect("a pipeline")
}

fn seen(ceiling: u64, hard: bool) -> Seen {
    Seen {
        ceiling: Some(Cap {
            ceiling: Usd::from_micros(ceiling),
            hard,
        }),
        ..Seen::default()
    }
}

/// What is done next, with names for the stages.
fn next(pipeline: &Pipeline, seen: &Seen) -> String {
    let plan = pipeline.clone().into_plan();
    let actions = decide(&plan, seen, 1_000_000).actions;
    let said = |action: &Action| match action {
        Action::Start { key, hold, goes_on } => {
            let part = if key.part == Part::Measure { " gate" } else { "" };
            let again = if *goes_on { " again" } else { "" };
            format!("{}{part} {}{again} {hold}", plan.worker_id(key.worker), key.round)
        }
        other => format!("{other:?}"),
    };
    actions.iter().map(said).collect::<Vec<_>>().join("; ")
}

/// Notes that the stage at `place` ended in its go.
fn end(seen: &mut Seen, place: usize, go: u32, part: Part, how: How, text: &str, cost: Option<u64>) {
    let attempt = seen.attempts(place, go, part).len() as u32 + 1;
    let at = seen.all().count() as u64 + 1;
    seen.put(Step {
        key: Key {
            worker: place,
            round: go,
            part,
            attempt,
        },
        hold: Usd::from_micros(USD),
        began: at,
        alive: at,
        ending: None,
        ended: Some(Ended {
            at,
            how,
            text: text.to_owned(),
            cost: cost.map(Usd::from_micros),
            resumable: true,
            metric: None,
            until: None,
        }),
        forgiven: false,
    });
}

fn done(seen: &mut Seen, place: usize, go: u32) {
    end(seen, place, go, Part::Work, How::Done, "", Some(USD / 10));
}

#[test]
fn stages_follow_each_other_with_what_is_left() {
    let (pipeline, mut seen) = (pipeline(Intensity::Standard), seen(5 * USD, false));
    assert_eq!(next(&pipeline, &seen), "plan 1 5.00 USD");
    done(&mut seen, 0, 1);
    assert_eq!(next(&pipeline, &seen), "implement 1 4.90 USD");
    done(&mut seen, 1, 1);
    assert_eq!(next(&pipeline, &seen), "review 1 4.80 USD");
    done(&mut seen, 2, 1);
    assert_eq!(next(&pipeline, &seen), "validate 1 4.70 USD");
    done(&mut seen, 3, 1);
    assert_eq!(next(&pipeline, &seen), "validate gate 1 0.00 USD");
    end(&mut seen, 3, 1, Part::Measure, How::Done, "", Some(0));
    assert_eq!(next(&pipeline, &seen), "Finish(Done)");
    let plan = pipeline.clone().into_plan();
    assert!(
        stood(&plan, &pipeline, &seen)
            .iter()
            .all(|stage| stage.is_good && !stage.is_open)
    );
}

#[test]
fn a_quick_pipeline_has_no_review() {
    let (pipeline, mut seen) = (pipeline(Intensity::Quick), seen(5 * USD, false));
    done(&mut seen, 0, 1);
    done(&mut seen, 1, 1);
    assert_eq!(next(&pipeline, &seen), "validate 1 4.80 USD");
}

#[test]
fn a_review_that_is_not_content_sends_the_work_back_as_often_as_it_may() {
    let (pipeline, mut seen) = (pipeline(Intensity::Thorough), seen(5 * USD, false));
    done(&mut seen, 0, 1);
    done(&mut seen, 1, 1);
    end(&mut seen, 2, 1, Part::Work, How::Done, ITERATE, Some(USD / 10));
    assert_eq!(next(&pipeline, &seen), "implement 2 4.70 USD");
    done(&mut seen, 1, 2);
    assert_eq!(next(&pipeline, &seen), "review 2 4.60 USD");
    end(&mut seen, 2, 2, Part::Work, How::Done, ITERATE, Some(USD / 10));
    assert_eq!(next(&pipeline, &seen), "validate 1 4.50 USD", "two reviews at most");
    let plan = pipeline.clone().into_plan();
    assert!(!stood(&plan, &pipeline, &seen)[2].is_good, "it goes on with a warning");
}

#[test]
fn a_gate_that_fails_sends_its_stage_back_until_its_retries_are_used() {
    let (mut pipeline, mut seen) = (pipeline(Intensity::Quick), seen(5 * USD, false));
    pipeline.stages[2].max_retries = 1;
    done(&mut seen, 0, 1);
    done(&mut seen, 1, 1);
    done(&mut seen, 2, 1);
    end(&mut seen, 2, 1, Part::Measure, How::Failed, "exit code 1", Some(0));
    assert_eq!(next(&pipeline, &seen), "validate 2 4.70 USD");
    done(&mut seen, 2, 2);
    end(&mut seen, 2, 2, Part::Measure, How::Failed, "exit code 1", Some(0));
    assert_eq!(next(&pipeline, &seen), "Finish(Failed)");
    // Asked to go on, the stage itself is gone through again, and that does not count.
    for key in seen.forgiven(true) {
        seen.step_mut(key).expect("a step").forgiven = true;
    }
    assert_eq!(next(&pipeline, &seen), "validate 3 4.60 USD");
    pipeline.stages[2].on_failure = OnFailure::Warn;
    for step in seen.steps.values_mut().flatten() {
        step.forgiven = false;
    }
    assert_eq!(next(&pipeline, &seen), "Finish(Done)");
}

#[test]
fn a_stage_that_fails_ends_the_pipeline_and_is_where_it_goes_on() {
    let (pipeline, mut seen) = (pipeline(Intensity::Quick), seen(5 * USD, false));
    end(&mut seen, 0, 1, Part::Work, How::Failed, "no", Some(USD / 10));
    assert_eq!(next(&pipeline, &seen), "Finish(Failed)");
    for key in seen.forgiven(true) {
        seen.step_mut(key).expect("a step").forgiven = true;
    }
    assert_eq!(next(&pipeline, &seen), "plan 1 again 4.90 USD");
}

#[test]
fn at_the_ceiling_a_hard_one_ends_and_a_soft_one_asks_and_more_money_goes_on() {
    let pipeline = pipeline(Intensity::Quick);
    for (hard, wanted) in [(true, "Finish(OverBudget)"), (false, "Pause(Budget)")] {
        let mut seen = seen(5 * USD, hard);
        end(&mut seen, 0, 1, Part::Work, How::Done, "", Some(5 * USD));
        assert_eq!(next(&pipeline, &seen), wanted);
        let mut seen = self::seen(USD, hard);
        end(
            &mut seen,
            0,
            1,
            Part::Work,
            How::OverBudget,
            "1.02 of 1.00 USD",
            Some(102 * USD / 100),
        );
        assert_eq!(next(&pipeline, &seen), wanted);
        seen.ceiling = Some(Cap {
            ceiling: Usd::from_micros(3 * USD),
            hard,
        });
        assert_eq!(
            next(&pipeline, &seen),
            "plan 1 again 1.98 USD",
            "in the same conversation"
        );
    }
}

#[test]
fn a_cost_that_nobody_knows_takes_all_that_was_reserved() {
    let (pipeline, mut seen) = (pipeline(Intensity::Quick), seen(USD, true));
    end(&mut seen, 0, 1, Part::Work, How::Done, "", None);
    assert_eq!(next(&pipeline, &seen), "Finish(OverBudget)");
}

#[test]
fn turns_tool_calls_and_dispatches_that_are_used_up_end_it() {
    let pipeline = pipeline(Intensity::Quick);
    for (used, wanted) in [
        ((199, 59, 3), "implement 1 4.90 USD"),
        ((200, 0, 0), "Finish(OverBudget)"),
        ((0, 60, 0), "Finish(OverBudget)"),
        ((0, 0, 4), "Finish(OverBudget)"),
    ] {
        let mut seen = seen(5 * USD, false);
        done(&mut seen, 0, 1);
        (seen.used.tool_calls, seen.used.turns, seen.used.dispatches) = used;
        assert_eq!(next(&pipeline, &seen), wanted, "{used:?}");
    }
}

#[test]
fn a_login_that_is_missing_waits_for_a_person() {
    let (pipeline, mut seen) = (pipeline(Intensity::Quick), seen(5 * USD, false));
    end(&mut seen, 0, 1, Part::Work, How::Blocked, "no login", Some(0));
    assert_eq!(
        next(&pipeline, &seen),
        format!("{:?}", Action::Pause(Pause::Blocked { worker: 0 }))
    );
    seen.control = Control::Stopping;
    assert_eq!(next(&pipeline, &seen), format!("{:?}", Action::Finish(Finish::Stopped)));
}
