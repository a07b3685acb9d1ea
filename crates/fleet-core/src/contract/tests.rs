use proptest::prelude::*;

use super::*;

/// The contract of seed 000, as it stands there.
const SEED: &str = "<!-- VIBE_SESSION_CONTRACT
job_id: VB-20260404-042
pipeline: feature
stage: implement
budget:
  ceiling_usd: 5.00
  max_tool_calls: 200
  max_turns: 60
  max_crew_dispatches: 3
  intensity: thorough
  hard_ceiling: false
context:
  prior_stages:
    - stage: plan
      summary: \"Identified 3 files, 2 crews needed\"
      cost_usd: 0.85
-->
";

fn codes(text: &str) -> Vec<&'static str> {
    read(text).findings.into_iter().map(|finding| finding.code).collect()
}

fn with_budget(line: &str) -> String {
    format!("<!-- VIBE_SESSION_CONTRACT\njob_id: x\nbudget:\n  {line}\n-->")
}

#[test]
fn the_contract_of_the_protocol_is_read_word_for_word() {
    let checked = read(SEED);
    assert_eq!(checked.findings, []);
    assert_eq!(checked.value, Some(example()));
}

#[test]
fn what_is_written_is_the_protocol_with_a_version() {
    let text = write(&example()).expect("a block");
    let wanted = SEED.replace("CONTRACT\n", "CONTRACT\nversion: 1\n");
    assert_eq!(text, wanted);
}

#[test]
fn every_limit_of_the_budget_has_its_range() {
    for (line, wanted) in [
        ("ceiling_usd: 5", vec![]),
        ("ceiling_usd: '5'", vec!["C026"]),
        ("ceiling_usd: 0", vec!["C024"]),
        ("ceiling_usd: 0.0000001", vec!["C024"]),
        ("ceiling_usd: -5", vec!["C024"]),
        ("ceiling_usd: .nan", vec!["C024"]),
        ("ceiling_usd: NaN", vec!["C024"]),
        ("ceiling_usd: .inf", vec!["C024"]),
        ("ceiling_usd: 1e308", vec!["C024"]),
        ("ceiling_usd: 1000000.01", vec!["C024"]),
        ("ceiling_usd:", vec!["C023"]),
        ("ceiling_usd: unknown", vec!["C023"]),
        ("ceiling_usd: $5", vec!["C023"]),
        ("ceiling_usd: [5]", vec!["C023"]),
        ("max_turns: 60", vec!["C030"]),
        ("hard_ceiling: true", vec!["C030", "C031"]),
        ("celing_usd: 5", vec!["C030", "C021"]),
    ] {
        assert_eq!(codes(&with_budget(line)), wanted, "{line}");
    }
    for (line, wanted) in [
        ("max_tool_calls: 0", vec![]),
        ("max_tool_calls: -1", vec!["C024"]),
        ("max_tool_calls: 1.5", vec!["C024"]),
        ("max_tool_calls: 1e300", vec!["C024"]),
        ("max_tool_calls:", vec!["C023"]),
        ("max_turns: 0", vec!["C024"]),
        ("max_turns: many", vec!["C023"]),
        ("max_crew_dispatches: 0", vec![]),
        ("max_crew_dispatches: 4294967296", vec!["C024"]),
        ("intensity: exhaustive", vec![]),
        ("intensity: thorogh", vec!["C025"]),
        ("intensity: [quick]", vec!["C023"]),
        ("hard_ceiling: True", vec![]),
        ("hard_ceiling: yes", vec!["C023"]),
    ] {
        assert_eq!(
            codes(&with_budget(&format!("ceiling_usd: 5\n  {line}"))),
            wanted,
            "{line}"
        );
    }
}

#[test]
fn a_mistyped_word_or_key_is_told_with_the_nearest() {
    let hint = |line: &str| {
        read(&with_budget(line))
            .findings
            .into_iter()
            .last()
            .map(|last| last.hint)
    };
    assert!(hint("ceiling_usd: 5\n  intensity: thorogh").is_some_and(|hint| hint.contains("did you mean `thorough`")));
    assert!(hint("ceiling_us: 5").is_some_and(|hint| hint.contains("did you mean `ceiling_usd`")));
}

#[test]
fn versions_jobs_and_shapes_are_checked() {
    let block = |body: &str| format!("<!-- VIBE_SESSION_CONTRACT\n{body}\n-->");
    for (body, wanted) in [
        ("version: 1\njob_id: x", vec!["C030"]),
        ("version: 2\njob_id: x\nnew: [1]", vec!["C020"]),
        ("version: 0\njob_id: x", vec!["C024"]),
        ("version: one\njob_id: x", vec!["C023"]),
        ("pipeline: feature", vec!["C022", "C030"]),
        ("job_id: ~", vec!["C022", "C030"]),
        ("job_id: a b", vec!["C030", "C027"]),
        ("job_id: 20260404", vec!["C030"]),
        ("job_id: x\nbudget: 5", vec!["C023"]),
        ("job_id: x\ncontext: {prior_stages: [plan]}", vec!["C030", "C023"]),
        (
            "job_id: x\ncontext: {prior_stages: [{summary: y, cost_usd: -1}]}",
            vec!["C030", "C022", "C024"],
        ),
        (
            "job_id: x\ncontext: {prior_stages: [{stage: y, cost_usd: unknown}]}",
            vec!["C030"],
        ),
        ("- job_id: x", vec!["C023"]),
        ("just text", vec!["C023"]),
        ("", vec!["C023"]),
    ] {
        assert_eq!(codes(&block(body)), wanted, "{body}");
    }
}

#[test]
fn a_contract_with_an_error_is_none() {
    assert_eq!(read(&with_budget("ceiling_usd: -5")).value, None);
    assert!(read(&with_budget("celing_usd: 5")).value.is_some());
}

#[test]
fn a_prompt_carries_one_or_it_does_not() {
    assert_eq!(carried("write a test"), None);
    assert!(carried(&format!("{SEED}\nwrite a test")).is_some_and(|checked| checked.value.is_some()));
    assert!(carried("<!-- VIBE_SESSION_CONTRACT\njob_id: x").is_some_and(|checked| checked.value.is_none()));
}

#[test]
fn what_cannot_be_read_is_not_written() {
    let mut contract = example();
    contract.job_id = "two words".to_owned();
    assert!(write(&contract).is_err());
    let mut contract = example();
    contract.context.prior_stages[0].summary = "x".repeat(70_000);
    assert!(write(&contract).expect_err("too long").message.contains("C006"));
}

#[test]
fn our_own_jobs_have_the_date_and_a_number() {
    let now = "2026-11-21T23:59:59Z".parse().expect("a time");
    assert_eq!(own_job_id(now, 7), "FL-20261121-007");
    assert_eq!(own_job_id(now, 1234), "FL-20261121-1234");
}

#[test]
fn the_schema_takes_what_is_read_and_no_more_keys_than_are_known() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let mut value = serde_json::to_value(example()).expect("json");
    assert!(validator.is_valid(&value));
    value["budget"]["ceiling_usd"] = serde_json::json!(0);
    assert!(!validator.is_valid(&value));
    // Every key of the schema is one that the reader asks for.
    let keys = |schema: &serde_json::Value| -> Vec<String> {
        schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| format!("{key}: ~"))
            .collect()
    };
    let defs = ["Budget", "Context"].map(|name| keys(&schema["$defs"][name]).join("\n  "));
    let body = format!("{}\n", keys(&schema).join("\n"))
        .replace("budget: ~", &format!("budget:\n  {}", defs[0]))
        .replace("context: ~", &format!("context:\n  {}", defs[1]));
    assert!(
        !codes(&format!("<!-- VIBE_SESSION_CONTRACT\n{body}-->")).contains(&"C021"),
        "{body}"
    );
}

fn texts() -> impl Strategy<Value = String> {
    "\\PC{0,40}|[a-z<>!\\-\"\\\\ :#\\n\\t\\r`]{0,40}"
}

fn contracts() -> impl Strategy<Value = Contract> {
    let money = (1u64..1_000_000_000_000).prop_map(Usd::from_micros);
    let prior =
        (texts(), texts(), proptest::option::of(money.clone())).prop_map(|(stage, summary, cost_usd)| PriorStage {
            stage,
            summary,
            cost_usd,
        });
    let budget = (
        proptest::option::of(money),
        any::<Option<u32>>(),
        proptest::option::of(1u32..),
        any::<Option<u32>>(),
        0usize..4,
        any::<bool>(),
    );
    let budget = budget.prop_map(
        |(ceiling_usd, max_tool_calls, max_turns, max_crew_dispatches, intensity, hard)| Budget {
            ceiling_usd,
            max_tool_calls,
            max_turns,
            max_crew_dispatches,
            intensity: Intensity::ALL[intensity],
            hard_ceiling: hard,
        },
    );
    let parts = (
        "[A-Za-z0-9._:/<>-]{1,40}",
        proptest::option::of(texts()),
        proptest::option::of(texts()),
        budget,
        proptest::collection::vec(prior, 0..4),
    );
    parts.prop_map(|(job_id, pipeline, stage, budget, prior_stages)| Contract {
        job_id,
        pipeline,
        stage,
        budget,
        context: Context { prior_stages },
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_as_it_was_wherever_it_stands(contract in contracts(), before in "[a-z `\\n]{0,20}") {
        let text = write(&contract).expect("a block");
        prop_assert_eq!(text.matches("-->").count(), 1);
        let checked = read(&format!("{before}\n{text}and more"));
        prop_assert_eq!(checked.value, Some(contract));
    }

    #[test]
    fn no_contract_is_too_odd(body in "((job_id|budget|ceiling_usd|context|prior_stages|version)(: |:\\n  )?|[ \\n0-9a-z\\[\\]{},~.\"'-]){0,40}") {
        let _ = codes(&format!("<!-- VIBE_SESSION_CONTRACT\n{body}\n-->"));
    }
}
