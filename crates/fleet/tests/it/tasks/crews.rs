//! Sub-agents of programs, each with a record of its own, and what of their session's account is theirs.

use fleet_core::money::Usd;
use fleet_testkit::wait_until;
use serde_json::{Value, json};

use super::stage::Stage;
use crate::drive::LONG;

/// One dollar for a thousand tokens, whether they are read or written.
const PRICES: &str = "version = 1\n[[price]]\nmodels = [\"stand-in\"]\ninput = 1000\noutput = 1000\n";

fn micros(value: &Value) -> u64 {
    let usd: Usd = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{value}: {error}"));
    usd.micros()
}

impl Stage {
    fn with_prices() -> Stage {
        let stage = Stage::new();
        std::fs::write(stage.env.fleet_home().join("prices.toml"), PRICES).expect("written");
        stage
    }

    /// The parts of `whole` when there are `count` of them and each has ended.
    #[track_caller]
    fn parts(&self, whole: &str, count: usize) -> Vec<Value> {
        wait_until(LONG, "the records of the sub-agents", || {
            let mut parts = self.tasks();
            parts.retain(|task| task["parent"] == whole);
            let over = parts.iter().all(|task| task["ended_at"].is_string());
            (parts.len() == count && over).then_some(parts)
        })
    }
}

#[test]
fn every_sub_agent_has_a_record_of_its_own_with_its_part_of_the_account() {
    let stage = Stage::with_prices();
    let whole = stage.task(&["The whole"]);
    stage.run(
        "captain",
        &whole,
        "!crew general-purpose 300 40 Index the shop\n!crew Explore 60 4 Look around\n!crew general-purpose 7 0 Say nothing",
    );
    let parts = stage.parts(&whole, 3);
    let told = |part: &Value| {
        let text = |key: &str| part[key].as_str().unwrap_or("-").to_owned();
        (text("title"), text("crew"), text("kind"), text("status"))
    };
    let wanted = |title: &str, crew: &str, kind: &str| {
        let status = "completed".to_owned();
        (title.to_owned(), crew.to_owned(), kind.to_owned(), status)
    };
    assert_eq!(
        parts.iter().map(told).collect::<Vec<_>>(),
        [
            wanted("Index the shop", "general-purpose", "crew"),
            wanted("Look around", "Explore", "officer"),
            wanted("Say nothing", "general-purpose", "crew"),
        ]
    );
    assert_eq!(micros(&parts[0]["cost"]["usd"]), 340_000);
    assert_eq!(micros(&parts[1]["cost"]["usd"]), 64_000);
    // What is not told apart is unknown, and in the account of its session.
    assert_eq!(
        (&parts[2]["cost"]["usd"], &parts[2]["cost_within"]),
        (&Value::Null, &json!(whole))
    );
    let own = 7_000 + 15_000;
    let shown = stage.answer(["task", "show", &whole]);
    assert_eq!(micros(&shown["own_cost"]["usd"]), own);
    assert_eq!(micros(&shown["cost"]["usd"]), own + 340_000 + 64_000);
    assert_eq!(shown["parts"].as_array().map(Vec::len), Some(3));
    for by in ["task", "crew", "agent", "batch", "day", "model"] {
        let cost = stage.answer(["task", "cost", "--by", by]);
        let groups = cost["groups"].as_array().expect("groups");
        let sum: u64 = groups.iter().map(|group| micros(&group["cost"]["usd"])).sum();
        assert_eq!((sum, micros(&cost["total"]["usd"])), (426_000, 426_000), "{by}: {cost}");
    }
    let id = parts[2]["id"].as_str().expect("an id");
    let words = stage.fleet(["task", "show", id]).output().success().stdout;
    assert!(
        words.contains(&format!("cost         unknown (part of {whole})\n")),
        "{words}"
    );
    assert!(words.contains("sub-agent of captain\n"), "{words}");
    let yaml = stage.read(&format!(".fleet/tasks/{id}/task.yaml"));
    assert!(
        yaml.contains("cost: unknown\n") && yaml.contains(&format!("cost_within: {whole}\n")),
        "{yaml}"
    );
    // The same journal read again tells of nothing new.
    let _ = stage.fleet(["list", "--repair"]).output().success();
    let _ = stage.fleet(["kill", "captain", "--force"]).output().success();
    assert_eq!(stage.tasks().len(), 4);
    assert_eq!(micros(&stage.answer(["task", "cost"])["total"]["usd"]), 426_000);
    stage.end();
}

#[test]
fn a_sub_agent_whose_prompt_names_a_task_works_for_that_and_one_that_never_answered_is_cancelled() {
    let stage = Stage::with_prices();
    let whole = stage.task(&["The whole"]);
    let part = stage.task(&["The index", "--crew", "api", "--parent", &whole]);
    let prompt = format!("!crew general-purpose 90 10 fleet_task_id: {part}\n!lose Plan Think about it");
    stage.run("captain", &whole, &prompt);
    let tasks = wait_until(LONG, "the records of the sub-agents", || {
        let tasks = stage.tasks();
        let cancelled = tasks.iter().any(|task| task["status"] == "cancelled");
        (tasks.len() == 3 && cancelled).then_some(tasks)
    });
    let named = tasks.iter().find(|task| task["id"] == part).expect("the part");
    // It ends with its report.
    assert_eq!(
        (&named["status"], micros(&named["cost"]["usd"])),
        (&json!("running"), 100_000)
    );
    let lost = tasks
        .iter()
        .find(|task| task["status"] == "cancelled")
        .expect("the lost one");
    assert_eq!(
        (&lost["title"], &lost["kind"], &lost["crew"], &lost["parent"]),
        (
            &json!("Think about it"),
            &json!("officer"),
            &json!("Plan"),
            &json!(whole)
        )
    );
    // An agent without a task has no crew but one that works for a task.
    let prompt = format!("!crew general-purpose 9 1 Nobody's\n!crew general-purpose 9 1 fleet_task_id: {part}");
    let create = ["create", "alone", "--headless", "-p", &prompt, "--wait", "exited"];
    let _ = stage.fleet(create).output().success();
    let _ = stage.fleet(["kill", "*", "--force"]).output().success();
    assert_eq!(stage.tasks().len(), 3);
    assert_eq!(micros(&stage.answer(["task", "show", &part])["cost"]["usd"]), 110_000);
    stage.end();
}
