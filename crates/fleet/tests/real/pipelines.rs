//! A pipeline with the real program: a contract in, a report out, stopped by its ceiling, raised, and finished.

use fleet_testkit::Finished;
use fleet_testkit::clis::Cli;
use fleet_testkit::model::{Pattern, Rule, Script, ToolCall, Turn, Usage, When};
use serde_json::Value;

use crate::world::World;

const JOB: &str = "VB-20260404-042";

fn rule(pattern: &str, turns: Vec<Turn>) -> Rule {
    Rule {
        when: When {
            regex: Some(Pattern::parse(pattern).expect("an expression")),
            ..When::default()
        },
        turns,
    }
}

fn report() -> Turn {
    Turn::say(format!(
        "It is done.\n\n<!-- FLEET_SESSION_REPORT\nversion: 1\njob_id: {JOB}\nexecution:\n  status: completed\n-->\n"
    ))
}

/// A turn that costs as much as so many thousand tokens of output.
fn dear(turn: Turn, thousands: u64) -> Turn {
    Turn {
        usage: Usage {
            input: 100,
            output: thousands * 1000,
            ..Usage::default()
        },
        ..turn
    }
}

fn call(call: ToolCall) -> Turn {
    Turn::call(call)
}

/// The report in what a pipeline printed, as `report check` takes it for this contract.
#[track_caller]
fn checked(world: &World, contract: &str, done: &Finished) -> Value {
    let run = world.fleet(["report", "check", "--json", "--contract", contract]);
    let answer: Value = run.stdin(done.stdout.clone()).output().success().json();
    answer["report"].clone()
}

#[test]
fn claude_works_through_a_pipeline_under_a_contract_that_ends_it_is_raised_and_holds() {
    let write = ToolCall::Write {
        path: "cart.txt".to_owned(),
        content: "cart\n".to_owned(),
    };
    let commit = ToolCall::Shell("git add cart.txt && git commit -qm cart".to_owned());
    let rules = vec![
        rule("stage `plan`", vec![report()]),
        // Haiku: 5 USD for a million tokens of output.
        rule(
            "stage `implement`",
            vec![dear(call(write.clone()), 80), call(commit.clone()), report()],
        ),
        rule("Your work was interrupted", vec![call(write), call(commit), report()]),
        rule("stage `validate`", vec![report()]),
    ];
    let world = World::with_script(
        Cli::Claude,
        Script {
            rules,
            ..Script::default()
        },
    );
    let contract = format!(
        "<!-- VIBE_SESSION_CONTRACT\nversion: 1\njob_id: {JOB}\nbudget:\n  ceiling_usd: 0.30\n  intensity: quick\n  \
         hard_ceiling: true\n-->\n"
    );
    let prompt = format!("{contract}\nAdd the cart.");
    let done = world.fleet(["run", "-p", &prompt]).output();
    assert_eq!(done.status.code(), Some(6), "{done}\n{}", world.endpoint().overview());
    let ended = checked(&world, &contract, &done);
    assert_eq!(ended["execution"]["status"], "over_budget", "{ended:#}");
    assert_eq!(ended["budget_utilization"]["recommendation"], "raise_ceiling");

    let asked = world.endpoint().conversation();
    let first = asked
        .iter()
        .find(|request| request.prompt().contains("stage `implement`"));
    let told = first.expect("it was asked").prompt().to_owned();
    let read = fleet_core::contract::carried(&told)
        .and_then(|checked| checked.value)
        .expect("a contract");
    assert_eq!((read.job_id.as_str(), read.stage.as_deref()), (JOB, Some("implement")));
    assert_eq!(read.context.prior_stages[0].summary, "It is done.");

    let raised = world.fleet(["run", "--job", JOB, "--budget", "5"]).output();
    assert!(raised.status.success(), "{raised}\n{}", world.endpoint().overview());
    let larger = contract.replace("0.30", "5.00");
    let finished = checked(&world, &larger, &raised);
    assert_eq!(finished["execution"]["status"], "completed", "{finished:#}");
    assert_eq!(finished["fleet_activity"]["tasks_completed"], 3);
    let shown = world.git(["show", &format!("feature-{JOB}:cart.txt")]);
    assert_eq!(shown.stdout.trim(), "cart");
    world.end();
}
