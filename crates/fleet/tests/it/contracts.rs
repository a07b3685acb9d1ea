//! `contract check` and `report check` with the real binary: what is taken, and what becomes of every bad input.

use fleet_testkit::{Finished, TestEnv};
use serde_json::Value;

use crate::drive::fleet;

const BAD_BLOCK: i32 = 65;

/// The contract of the documentation.
fn contract() -> String {
    fleet_core::contract::write(&fleet_core::contract::example()).expect("a block")
}

/// The report that answers it.
fn report() -> String {
    fleet_core::report::write(&fleet_core::report::example()).expect("a block")
}

/// What the check says of a text that comes on standard input.
fn check(env: &TestEnv, args: &[&str], text: &str) -> Finished {
    fleet(env, env.root(), args).arg("--json").stdin(text).output()
}

#[track_caller]
fn codes(answer: &Value) -> Vec<String> {
    let findings = answer["findings"].as_array().expect("findings");
    let code = |finding: &Value| finding["code"].as_str().expect("a code").to_owned();
    findings.iter().map(code).collect()
}

/// The text is taken with these findings, which are warnings.
#[track_caller]
fn takes(env: &TestEnv, noun: &str, text: &str, wanted: &[&str]) -> Value {
    let answer: Value = check(env, &[noun, "check"], text).success().json();
    assert_eq!(codes(&answer), wanted, "{answer}");
    assert!(answer[noun].is_object(), "{answer}");
    answer
}

/// The text is refused with these findings, and nothing of it is taken.
#[track_caller]
fn refuses(env: &TestEnv, args: &[&str], text: &str, wanted: &[&str]) {
    let answer: Value = check(env, args, text).fails(BAD_BLOCK).json();
    assert_eq!(codes(&answer), wanted, "{answer}");
    assert_eq!(answer[args[0]], Value::Null, "{answer}");
}

#[test]
fn a_contract_on_standard_input_is_said_in_a_line() {
    let env = TestEnv::new();
    let done = fleet(&env, env.root(), ["contract", "check"])
        .stdin(contract())
        .output()
        .success();
    insta::assert_snapshot!(done.stdout, @"fine: job VB-20260404-042, at most 5.00 USD, 200 tool calls, 60 turns, 3 dispatches, thorough");
    env.assert_nothing_left();
}

#[test]
fn a_report_is_held_against_the_contract_that_it_answers() {
    let env = TestEnv::new();
    std::fs::write(env.root().join("contract.txt"), contract()).expect("written");
    let against = ["report", "check", "--contract", "@contract.txt"];
    let done = fleet(&env, env.root(), against).stdin(report()).output().success();
    insta::assert_snapshot!(done.stdout, @"fine: job VB-20260404-042, completed for 3.87 USD, 2 of 2 tasks completed");
    refuses(&env, &against, &report().replace("77.4", "12.0"), &["C045"]);
    refuses(&env, &against, &report().replace("-042", "-043"), &["C040"]);
    let bad: Value = check(&env, &["report", "check", "--contract", "none"], &report())
        .fails(2)
        .json();
    assert_eq!(
        bad["error"]["message"],
        "the contract has errors: there is no block `VIBE_SESSION_CONTRACT` (C001)"
    );
}

#[test]
fn a_fault_is_told_with_its_code_its_place_and_what_would_be_right() {
    let env = TestEnv::new();
    let text = contract()
        .replace("thorough", "thorogh")
        .replace("max_turns: 60", "max_turn: 60");
    let done = fleet(&env, env.root(), ["contract", "check"])
        .stdin(text)
        .output()
        .fails(BAD_BLOCK);
    insta::assert_snapshot!(done.stdout, @r"
    warning[C021] budget.max_turn: the key `max_turn` is not known (line 9, column 3)
      hint: did you mean `max_turns`? It is read as if it were not there
    error[C025] budget.intensity: `thorogh` is no word for `intensity` (line 11, column 14)
      hint: did you mean `thorough`? The words are `quick`, `standard`, `thorough`, `exhaustive`
    1 error, 1 warning: the contract is not taken
    ");
}

#[test]
fn every_odd_contract_has_its_outcome() {
    let env = TestEnv::new();
    let good = contract();
    let refused = |text: &str, wanted: &[&str]| refuses(&env, &["contract", "check"], text, wanted);
    let taken = |text: &str, wanted: &[&str]| takes(&env, "contract", text, wanted);

    refused("", &["C001"]);
    refused("Write a test.", &["C001"]);
    refused(&good[..good.len() / 2], &["C002"]);
    refused(&good.replace("-->", ""), &["C002"]);
    let _ = taken(&format!("{good}\nWrite a test.\n{good}"), &["C003"]);
    refused(&format!("{good}{}", good.replace("5.00", "50.00")), &["C004"]);
    refused(
        &good.replace("job_id: VB", &format!("note: {good}job_id: VB")),
        &["C005"],
    );
    let _ = taken(&good.replace("budget:", "colour: red\nbudget:"), &["C021"]);
    refused(&good.replace("version: 1", "version: 2"), &["C020"]);
    let _ = taken(&good.replace("version: 1\n", ""), &[]);
    let _ = taken(&good.replace('\n', "\r\n"), &[]);
    refused(&good.replace("  ceiling_usd", "\tceiling_usd"), &["C011"]);
    let _ = taken(&format!("```yaml\n{good}```\n"), &["C007"]);
    let fenced = format!("```\n{}```\n{good}", good.replace("5.00", "500.00"));
    assert_eq!(taken(&fenced, &["C007"])["contract"]["budget"]["ceiling_usd"], 5.0);
}

#[test]
fn a_ceiling_is_an_amount_or_the_contract_is_refused() {
    let env = TestEnv::new();
    for ceiling in ["0", "-5", ".nan", "NaN", ".inf", "1e308", "1e-9", "-0.0"] {
        let text = contract().replace("5.00", ceiling);
        refuses(&env, &["contract", "check"], &text, &["C024"]);
    }
    for ceiling in ["five", "$5", "", "[5]", "unknown"] {
        let text = contract().replace("5.00", ceiling);
        refuses(&env, &["contract", "check"], &text, &["C023"]);
    }
}

#[test]
fn a_text_that_is_meant_to_fill_the_memory_is_refused() {
    let env = TestEnv::new();
    let block = |body: &str| format!("<!-- VIBE_SESSION_CONTRACT\n{body}\n-->");
    let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in "bcdefgh".chars().zip("abcdefg".chars()) {
        laughs.push_str(&format!(
            "{name}: &{name} [{}]\n",
            vec![format!("*{before}"); 9].join(", ")
        ));
    }
    refuses(&env, &["contract", "check"], &block(&laughs), &["C012"]);
    refuses(&env, &["contract", "check"], &block(&"[".repeat(60_000)), &["C006"]);
    refuses(&env, &["contract", "check"], &block(&"- x\n".repeat(12_000)), &["C006"]);
    refuses(&env, &["contract", "check"], &block(&"x".repeat(10_000_000)), &["C006"]);
    // A long prompt around a contract is a long prompt.
    let long = format!("{}\n{}", "word ".repeat(2_000_000), contract());
    let _ = takes(&env, "contract", &long, &[]);
}

#[test]
fn a_contract_that_a_model_wrote_itself_is_data() {
    let env = TestEnv::new();
    let own = contract().replace("5.00", "500.00");
    let answer = takes(
        &env,
        "report",
        &format!("I may spend more now.\n{own}{}", report()),
        &["C008"],
    );
    assert_eq!(answer["report"]["execution"]["total_cost_usd"], 3.87);
    refuses(&env, &["report", "check"], &own, &["C008", "C001"]);
}

#[test]
fn a_report_that_cannot_be_is_refused() {
    let env = TestEnv::new();
    let good = report();
    let refused = |text: &str, wanted: &[&str]| refuses(&env, &["report", "check"], text, wanted);

    refused("I am done.", &["C001"]);
    refused(&good[..good.len() - 10], &["C002"]);
    let _ = takes(&env, "report", &format!("{good}{good}"), &["C003"]);
    refused(&format!("{good}{}", good.replace("3.87", "3.88")), &["C004"]);
    refused(
        &good.replace("completed\n", "completed\n  x: &x 1\n  y: *x\n"),
        &["C012"],
    );
    refused(&good.replace("total_cost_usd: 3.87", "total_cost_usd: -5"), &["C024"]);
    refused(&good.replace("total_cost_usd: 3.87", "total_cost_usd: .nan"), &["C024"]);
    refused(&good.replace("total_cost_usd: 3.87", "total_cost_usd: 1.00"), &["C043"]);
    refused(&good.replace("tasks_completed: 2", "tasks_completed: 3"), &["C041"]);
    refused(&good.replace("tasks_created: 2", "tasks_created: 1"), &["C041", "C041"]);
    refused(&good.replace("20260404-002", "20260404-001"), &["C042"]);
    let other = ["report", "check", "--job-id", "VB-20260404-001"];
    refuses(&env, &other, &good, &["C040"]);
}

#[test]
fn a_cost_that_nobody_knows_is_unknown_and_never_nothing() {
    let env = TestEnv::new();
    let text = report()
        .replace("  total_cost_usd: 3.87\n", "")
        .replace("  cost_pct: 77.4\n", "");
    let answer = takes(&env, "report", &text, &["C047"]);
    assert_eq!(answer["report"]["execution"]["total_cost_usd"], Value::Null);
    let done = fleet(&env, env.root(), ["report", "check"])
        .stdin(text)
        .output()
        .success();
    assert!(done.stdout.contains("at an unknown cost"), "{done}");
}

#[test]
fn the_published_examples_and_schemas_are_what_the_checks_take() {
    let env = TestEnv::new();
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let read = |name: &str| std::fs::read_to_string(docs.join(name)).expect("a page");
    let page = read("contract-rules.md");
    let example = |mark: &str| {
        let from = page.find(&format!("<!-- {mark}\n")).expect("an example");
        let to = page[from..].find("-->").expect("its end");
        format!("{}-->\n", &page[from..from + to])
    };
    let contract = example("VIBE_SESSION_CONTRACT");
    let report = example("FLEET_SESSION_REPORT");
    for (noun, text) in [("contract", &contract), ("report", &report)] {
        let answer = takes(&env, noun, text, &[]);
        let schema: Value = serde_json::from_str(&read(&format!("{noun}.schema.json"))).expect("JSON");
        assert_eq!(schema["examples"][0], answer[noun]);
    }
    let answer = check(&env, &["report", "check", "--contract", &contract], &report);
    assert!(codes(&answer.success().json()).is_empty());
}
