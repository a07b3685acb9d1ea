//! A supervisor that is killed: what its program has spent is found in the program's own files, and the rest of what was
//! reserved is free again.

use std::path::Path;

use fleet_testkit::{Cmd, wait_until};
use serde_json::json;

use super::line;
use crate::drive::LONG;
use crate::prompts::stage::{kill_hard, parent};
use crate::runs::stage::Stage;

/// A worker of at most 1 USD that is answered twice, for 0.20 and 0.10 USD, and then waits the first time it is run.
fn stage(prices: bool) -> Stage {
    let stage = Stage::new();
    let table = "version = 1\n[[price]]\nmodels = [\"m-1\"]\ninput = 1\noutput = 1\n";
    if prices {
        std::fs::write(stage.env.fleet_home().join("prices.toml"), table).expect("written");
    }
    let plan = json!({"fleet_name": "night", "type": "dag", "config": {"retry_delay_seconds": 0.1},
        "workers": [{"id": "a", "type": "code-run", "max_budget_usd": 1}]});
    stage.plan(
        &plan,
        &[(
            "a",
            "!first 1 reply 200000\n!first 1 reply 100000\n!first 1 hang\n!cost 0.3",
        )],
    );
    stage
}

/// Starts the run, waits until its worker was answered, and kills the worker's supervisor.
fn launch_and_kill(stage: &Stage) {
    let _ = launch(stage).output().success();
    kill_after_two_replies(stage, &stage.env.home().join(".claude"));
}

fn launch(stage: &Stage) -> Cmd {
    stage.fleet(["launch", "root", "--detach", "--budget", "2"])
}

/// Kills the supervisor of the worker, once its program has written two replies below its `own` folder.
fn kill_after_two_replies(stage: &Stage, own: &Path) {
    let replies = || -> usize {
        let folder = own.join("projects/-stand-in");
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let lines = |path: std::path::PathBuf| std::fs::read_to_string(path).map_or(0, |text| text.lines().count());
        files.map(|file| lines(file.path())).sum()
    };
    wait_until(LONG, "two replies", || (replies() == 2).then_some(()));
    kill_worker(stage);
}

/// Kills the supervisor of the one worker.
fn kill_worker(stage: &Stage) {
    let program = wait_until(LONG, "the program", || {
        let agents = stage.answer(["list", "--all"]);
        agents["agents"][0]["pid"].as_u64()
    });
    kill_hard(parent(u32::try_from(program).expect("a pid")).expect("a supervisor"));
}

#[test]
fn what_a_killed_supervisor_did_not_count_is_found_and_the_rest_of_the_budget_is_spent_on_the_work() {
    let stage = stage(true);
    launch_and_kill(&stage);
    let run = stage.wait_state("done");
    assert_eq!(stage.paid(), ["paid a 1", "resumed a 1"]);
    // Two replies of 0.30 together, and the request that was under way is as dear as the dearest; then 0.30 more.
    assert_eq!(
        (&run["spent_usd"], &run["estimated_usd"], &run["spent_unknown"]),
        (&json!(0.8), &json!(0.5), &json!(false)),
        "{run:#}"
    );
    let day = line(&stage, "day");
    assert_eq!(
        (&day["spent_usd"], &day["estimated_usd"], &day["unknown"]),
        (&json!(0.3), &json!(0.5), &json!(0)),
        "{day}"
    );
    let shown = stage.fleet(["budget", "show"]).output().success();
    assert!(
        shown.stdout.contains("the day: 0.50 USD of it are estimated"),
        "{shown}"
    );
    let shown = stage.fleet(["status", "root"]).output().success();
    assert!(
        shown.stdout.contains("0.80 USD (0.50 USD of it estimated) of 2.00 USD"),
        "{shown}"
    );
}

#[test]
fn what_a_killed_supervisor_did_not_count_is_found_where_its_program_was_told_to_keep_it() {
    let stage = stage(true);
    let own = stage.env.root().join("elsewhere");
    let _ = launch(&stage).env("CLAUDE_CONFIG_DIR", &own).output().success();
    kill_after_two_replies(&stage, &own);
    let run = stage.wait_state("done");
    assert_eq!(
        (&run["spent_usd"], &run["estimated_usd"], &run["spent_unknown"]),
        (&json!(0.8), &json!(0.5), &json!(false)),
        "{run:#}"
    );
}

#[test]
fn a_killed_supervisor_is_no_reason_to_say_that_a_model_has_no_price() {
    let stage = stage(true);
    let plan = json!({"fleet_name": "night", "type": "dag", "config": {"retry_delay_seconds": 0.1},
        "workers": [{"id": "a", "type": "code-run", "max_budget_usd": 1}]});
    stage.plan(&plan, &[("a", "!hang")]);
    let _ = launch(&stage).output().success();
    stage.wait_noted("paid a 1");
    kill_worker(&stage);
    stage.wait_noted("resumed a 1");
    let shown = wait_until(LONG, "the unknown", || {
        let shown = stage.fleet(["budget", "show"]).output().success();
        shown.stdout.contains("and unknown").then_some(shown)
    });
    assert!(
        shown
            .stderr
            .contains("hint: nobody has told what some of it used; whose it is: `fleet status night`")
            && !shown.stderr.contains("price"),
        "{shown}"
    );
    let status = stage.fleet(["status", "night"]).output().success();
    assert!(status.stdout.contains("unknown"), "{status}");
    let _ = stage.fleet(["stop", "root"]).output().success();
}

#[test]
fn where_nobody_knows_what_a_killed_supervisor_did_not_count_all_that_was_reserved_is_charged() {
    // Its replies have no price.
    let stage = stage(false);
    launch_and_kill(&stage);
    let run = stage.wait_state("done");
    assert_eq!(
        (&run["spent_usd"], &run["estimated_usd"], &run["spent_unknown"]),
        (&json!(0.3), &json!(null), &json!(true)),
        "{run:#}"
    );
    let day = line(&stage, "day");
    assert_eq!(
        (&day["spent_usd"], &day["estimated_usd"]),
        (&json!(0.3), &json!(1.0)),
        "{day}"
    );
}
