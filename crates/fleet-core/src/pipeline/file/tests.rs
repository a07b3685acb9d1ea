use super::*;
use crate::contract;
use crate::intensity::Intensity;

const FILE: &str = "checks:
  steps:
    - name: tests
      command: cargo test
    - {name: format, command: cargo fmt --check}
  max_retries: 3
pipelines:
  small:
    stages:
      - name: write
        prompt: Write it.
        gate: [format]
        on_failure: retry
        max_retries: 1
      - name: look
        prompt: Look at it.
        reviews: write
fleet:
  enabled: true
  budget_protocol: true
";

fn read(text: &str) -> VibeFile {
    let checked = VibeFile::read(text);
    assert_eq!(checked.findings, [], "{text}");
    checked.value.expect("a file")
}

fn codes(text: &str) -> Vec<&'static str> {
    let findings = VibeFile::read(text).findings;
    findings.into_iter().map(|finding| finding.code).collect()
}

fn order(pipeline: &str, intensity: Intensity) -> Order {
    let mut contract = contract::example();
    contract.budget.intensity = intensity;
    Order {
        pipeline: pipeline.to_owned(),
        prompt: "Do it.".to_owned(),
        contract,
        provider: "claude".to_owned(),
        branch: "b".to_owned(),
    }
}

#[test]
fn a_file_names_checks_pipelines_and_the_protocol() {
    let file = read(FILE);
    assert_eq!(file.names(), ["small", "feature"]);
    let small = file.pipeline(order("small", Intensity::Standard)).expect("a pipeline");
    let [write, look] = small.stages.as_slice() else {
        panic!("{:?}", small.stages)
    };
    assert_eq!(
        (write.gate.len(), write.gate[0].command.as_str()),
        (1, "cargo fmt --check")
    );
    assert_eq!((write.on_failure, write.max_retries), (OnFailure::Retry, 1));
    assert_eq!(
        (look.reviews, look.rounds, look.on_failure),
        (Some(0), 1, OnFailure::Warn)
    );
    assert_eq!(look.gate.len(), 2, "the last stage has every check");
    assert!(small.fleet.has_contracts() && !small.fleet.has_tasks());
}

#[test]
fn everything_of_fleet_is_off_where_a_file_does_not_say_otherwise() {
    for text in ["", "checks:\n  steps: []\n", "fleet:\n", "fleet: {}\n"] {
        assert_eq!(read(text).fleet, Protocol::default(), "{text}");
    }
    for (text, contracts, tasks) in [
        ("fleet: {enabled: true}", false, false),
        ("fleet: {budget_protocol: true, task_sync: true}", false, false),
        ("fleet: {enabled: true, budget_protocol: true}", true, false),
        ("fleet: {enabled: true, task_sync: true}", false, true),
    ] {
        let fleet = read(text).fleet;
        assert_eq!((fleet.has_contracts(), fleet.has_tasks()), (contracts, tasks), "{text}");
    }
    assert!(VibeFile::built_in().fleet.has_contracts());
}

#[test]
fn the_built_in_pipeline_takes_the_checks_of_the_file_at_its_end() {
    let feature = read(FILE)
        .pipeline(order("feature", Intensity::Standard))
        .expect("a pipeline");
    let names: Vec<&str> = feature.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["plan", "implement", "review", "validate"]);
    assert_eq!(
        feature.stages.iter().map(|stage| stage.gate.len()).collect::<Vec<_>>(),
        [0, 0, 0, 2]
    );
    assert_eq!(feature.stages[3].max_retries, 3);
    assert_eq!(feature.stages[2].reviews, Some(1));
    let quick = read(FILE)
        .pipeline(order("feature", Intensity::Quick))
        .expect("a pipeline");
    assert!(quick.stages.iter().all(|stage| stage.name != "review"));
}

#[test]
fn sub_agents_are_there_only_where_dispatches_are_allowed() {
    let types = |most| {
        let mut order = order("feature", Intensity::Quick);
        order.contract.budget.max_crew_dispatches = most;
        let stages = read("").pipeline(order).expect("a pipeline").stages;
        stages.iter().map(|stage| stage.worker_type).collect::<Vec<_>>()
    };
    let (plan, work, full) = (WorkerType::ReadOnly, WorkerType::CodeRun, WorkerType::Reviewer);
    assert_eq!(types(None), [plan, work, work]);
    assert_eq!(types(Some(0)), [plan, work, work]);
    assert_eq!(types(Some(3)), [plan, full, full]);
}

#[test]
fn the_intensity_chooses_the_model_and_the_effort() {
    let choice = |provider: &str, intensity| {
        let mut order = order("feature", intensity);
        order.provider = provider.to_owned();
        let plan = read("").pipeline(order).expect("a pipeline").into_plan();
        plan.workers[0].choice.clone()
    };
    assert_eq!(choice("claude", Intensity::Quick).model.as_deref(), Some("haiku"));
    assert_eq!(choice("claude", Intensity::Exhaustive).model.as_deref(), Some("opus"));
    assert!(choice("codex", Intensity::Thorough).effort.is_some());
    assert_eq!(choice("my-own", Intensity::Thorough).model, None);
}

#[test]
fn a_pipeline_reads_back_as_it_was_stored() {
    let pipeline = read(FILE)
        .pipeline(order("small", Intensity::Standard))
        .expect("a pipeline");
    let text = pipeline.to_text().expect("JSON");
    assert_eq!(Pipeline::from_text(&text).expect("a pipeline"), pipeline);
}

#[test]
fn each_mistake_has_its_code() {
    let stage = |line: &str| format!("pipelines:\n  a:\n    stages:\n      - {{{line}}}\n");
    for (text, wanted) in [
        (stage("name: plan"), vec![]),
        (stage("name: own"), vec!["C022"]),
        (stage("prompt: x"), vec!["C022"]),
        (stage("name: a b, prompt: x"), vec!["C027"]),
        (stage("name: ../x, prompt: x"), vec!["C027"]),
        (stage("name: plan, gate: [none]"), vec!["C051"]),
        (stage("name: plan, reviews: none"), vec!["C051"]),
        (stage("name: plan, on_failure: explode"), vec!["C025"]),
        (stage("name: plan, max_retries: -1"), vec!["C024"]),
        (stage("name: plan, typ: write"), vec!["C021"]),
        (format!("{}      - name: plan\n", stage("name: plan")), vec!["C050"]),
        ("pipelines:\n  a:\n    stages: []\n".to_owned(), vec!["C052"]),
        ("pipelines: [a]".to_owned(), vec!["C023"]),
        ("fleet: {enabled: yes}".to_owned(), vec!["C023"]),
        ("checks:\n  steps:\n    - name: x\n".to_owned(), vec!["C022"]),
        (
            "checks: {steps: [{name: x, command: y}, {name: x, command: z}]}".to_owned(),
            vec!["C050"],
        ),
        ("checks: {max_retries: .nan}".to_owned(), vec!["C024"]),
        ("checks:\n\tsteps: 1".to_owned(), vec!["C011"]),
        ("a: &x 1\nb: *x".to_owned(), vec!["C012"]),
        ("other: 1".to_owned(), vec!["C021"]),
        ("x".repeat(70_000), vec!["C006"]),
    ] {
        assert_eq!(codes(&text), wanted, "{}", &text[..text.len().min(200)]);
    }
}

#[test]
fn a_pipeline_that_is_none_is_told_with_the_nearest() {
    let error = read(FILE)
        .pipeline(order("smal", Intensity::Standard))
        .expect_err("none");
    assert_eq!(error.hint.as_deref(), Some("did you mean `small`?"));
    let error = read(FILE)
        .pipeline(order("other", Intensity::Standard))
        .expect_err("none");
    assert_eq!(error.hint.as_deref(), Some("the pipelines are small, feature"));
}
