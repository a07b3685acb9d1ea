//! Each rule with a plan that breaks it and nothing else, and the same plan set right.

use super::prompt::Prompt;
use super::rule::{Level, Rule};
use super::word::{OnDepFailure, WorkerType};
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const PROMPT: &str = "Do it. When you are done, commit your changes on the current branch.";
const VERDICT: &str = "Judge it. Write your verdict to `iterations/<N>/review.md`, with one of\n- `verdict: lgtm`\n\
                       - `verdict: iterate`\n- `verdict: escalate`\n";

/// A plan and what is around it.
struct Scene {
    text: String,
    prompts: Vec<(&'static str, Prompt)>,
    around: fn(&mut Surroundings),
}

impl Scene {
    fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            prompts: Vec::new(),
            around: |_| {},
        }
    }

    fn told(mut self, id: &'static str, prompt: &str) -> Self {
        self.prompts.push((id, Prompt::read(prompt)));
        self
    }

    fn found(mut self, id: &'static str, prompt: Prompt) -> Self {
        self.prompts.push((id, prompt));
        self
    }

    fn around(mut self, around: fn(&mut Surroundings)) -> Self {
        self.around = around;
        self
    }

    fn check(&self) -> Checked {
        let draft = read(&self.text);
        let prompt = |id: &str| {
            let own = self.prompts.iter().find(|(known, _)| *known == id);
            own.map_or_else(
                || Prompt::read(if id == "judge" { VERDICT } else { PROMPT }),
                |(_, prompt)| prompt.clone(),
            )
        };
        let mut around = Surroundings {
            roots: vec!["/plans/x".to_owned()],
            prompts: draft.prompts().map(prompt).collect(),
            program: draft.program().map(|_| Prompt::read("Make it better.")),
            has_workdir: true,
            ..Surroundings::default()
        };
        (self.around)(&mut around);
        draft.check(&around)
    }

    fn findings(&self) -> Vec<(&'static str, String)> {
        let findings = self.check().findings.into_iter();
        findings.map(|finding| (finding.code, finding.path)).collect()
    }
}

fn plan(plan_type: &str, rest: &str, workers: &str) -> Scene {
    Scene::new(format!(
        "{{\"fleet_name\": \"x\", \"type\": \"{plan_type}\"{rest}, \"workers\": [{workers}]}}"
    ))
}

fn dag(workers: &str) -> Scene {
    plan("dag", "", workers)
}

fn worktree(workers: &str) -> Scene {
    plan("worktree", "", workers)
}

const STOP: &str = r#", "stop_when": {"max_iterations": 3, "reviewer_lgtm_count": 1}"#;
const A: &str = r#"{"id": "a", "type": "code-run"}"#;
const BUILDER: &str = r#"{"id": "a", "type": "code-run"}, "#;
const JUDGE: &str = r#"{"id": "judge", "type": "reviewer", "depends_on": ["a"]}"#;

fn iterative(rest: &str, workers: &str) -> Scene {
    plan("iterative", rest, workers)
}

fn config(config: &str) -> Scene {
    plan("dag", &format!(", \"config\": {{{config}}}"), A)
}

fn worker(more: &str) -> Scene {
    dag(&format!(r#"{{"id": "a", "type": "code-run"{more}}}"#))
}

/// A worker of a worktree plan.
fn branch(id: &str, branch: &str, files: &str) -> String {
    format!(r#"{{"id": "{id}", "branch": "{branch}", "target_files": [{files}]}}"#)
}

fn research(problem: &str) -> Scene {
    Scene::new(format!(
        r#"{{"type": "autoresearch", "problem": {{"eval_command": "./score", {problem}}}}}"#
    ))
}

/// A rule, where it is broken, the plan that breaks it, and the plan set right.
type Case = (Rule, &'static str, Scene, Scene);

#[rustfmt::skip]
fn text_cases() -> Vec<Case> {
    let good = || dag(A);
    let text = |from: &str, to: &str| Scene::new(dag(A).text.replacen(from, to, 1));
    vec![
        (Rule::Syntax, "", text("]}", "],}"), good()),
        (Rule::ByteOrderMark, "", text("{", "\u{feff}{"), good()),
        (Rule::Comment, "", text("{", "{ // why\n"), good()),
        (Rule::DuplicateKey, "", text("{", "{\"fleet_name\": \"y\", "), good()),
        (Rule::NotANumber, "", config(r#""max_budget_fleet": NaN"#), config(r#""max_budget_fleet": 9"#)),
        (Rule::TooDeep, "", Scene::new("[".repeat(99)), good()),
        (Rule::UnknownKey, "workers[0].modle", worker(r#", "modle": "opus""#), worker(r#", "model": "opus""#)),
        (Rule::WrongType, "workers[0].task", worker(r#", "task": 3"#), worker(r#", "task": "3""#)),
        (Rule::WrongType, "workers", text(&format!("[{A}]"), "{}"), good()),
        (Rule::WrongType, "workers[1]", dag(&format!("{A}, 3")), good()),
        (Rule::WrongType, "workers[0].task", worker(r#", "task": null"#), worker("")),
        (Rule::Missing, "type", Scene::new(format!(r#"{{"workers": [{A}]}}"#)), good()),
        (Rule::Missing, "workers[0].id", dag(r#"{"type": "code-run"}"#), good()),
        (Rule::Missing, "workers[0].type", dag(r#"{"id": "a"}"#), good()),
        (Rule::OutOfRange, "workers[0].max_budget_usd", worker(r#", "max_budget_usd": 0"#), worker(r#", "max_budget_usd": 0.25"#)),
        (Rule::OutOfRange, "workers[0].max_budget_usd", worker(r#", "max_budget_usd": -1"#), worker("")),
        (Rule::OutOfRange, "config.max_concurrent", config(r#""max_concurrent": 0"#), config(r#""max_concurrent": 1"#)),
        (Rule::OutOfRange, "config.max_concurrent", config(r#""max_concurrent": 1.5"#), config(r#""max_concurrent": 1000"#)),
        (Rule::OutOfRange, "config.launch_delay_seconds", config(r#""launch_delay_seconds": -1"#), config(r#""launch_delay_seconds": 0.5"#)),
        (Rule::UnknownWord, "type", text("dag", "dagg"), good()),
        (Rule::UnknownWord, "type", text("dag", ""), good()),
        (Rule::UnknownWord, "workers[0].type", dag(r#"{"id": "a", "type": "readonly"}"#), dag(r#"{"id": "a", "type": "read-only"}"#)),
        (Rule::OtherType, "workers[0].branch", worker(r#", "branch": "b""#), worker("")),
        (Rule::OtherType, "workers[0].depends_on",
            worktree(&format!("{}, {}", branch("a", "a", "\"a.rs\"").replace('}', r#", "depends_on": ["b"]}"#), branch("b", "b", "\"b.rs\""))),
            worktree(&format!("{}, {}", branch("a", "a", "\"a.rs\""), branch("b", "b", "\"b.rs\"")))),
        (Rule::OtherType, "stop_when", plan("dag", STOP, A), good()),
        (Rule::NoEffect, "config.record", config(r#""record": true"#), config("")),
        (Rule::NoEffect, "workers[0].sandbox", worker(r#", "sandbox": "read-only""#), worker(r#", "sandbox": "bwrap""#)),
    ]
}

#[rustfmt::skip]
fn name_cases() -> Vec<Case> {
    let id = |id: &str| dag(&format!(r#"{{"id": "{id}", "type": "code-run"}}"#));
    let two = |first: &str, second: &str| worktree(&format!("{}, {}", branch("a", first, "\"a.rs\""), branch("b", second, "\"b.rs\"")));
    let name = |name: &str| Scene::new(format!(r#"{{"fleet_name": "{name}", "type": "dag", "workers": [{A}]}}"#));
    let mut cases = vec![
        (Rule::DuplicateId, "workers[1].id", dag(&format!("{A}, {A}")), dag(&format!(r#"{A}, {{"id": "b", "type": "write"}}"#))),
        (Rule::BadName, "fleet_name", name("a fleet"), name("a-fleet")),
        (Rule::BadName, "fleet_name", name("../x"), name("x/y.z")),
        (Rule::BadBranch, "workers[0].branch", two("a..b", "b"), two("a.b", "b")),
        (Rule::BranchTaken, "workers[1].branch", two("a", "a"), two("a", "b")),
        (Rule::BranchTaken, "workers[1].branch", two("a", "a/b"), two("a", "ab")),
        (Rule::NoWorkers, "workers", dag(""), dag(A)),
    ];
    for bad in ["", "a/b", "..", "a..b", "a b", "-a", ".a", "ü", &"x".repeat(300)] {
        cases.push((Rule::BadId, "workers[0].id", id(bad), id("a.b-c_1")));
    }
    cases
}

#[rustfmt::skip]
fn graph_cases() -> Vec<Case> {
    let on = |id: &str, on: &str| format!(r#"{{"id": "{id}", "type": "code-run", "depends_on": [{on}]}}"#);
    let chain = || dag(&format!(r#"{}, {}"#, on("a", ""), on("b", "\"a\"")));
    let rounds = |stop: &str| iterative(stop, &format!("{BUILDER}{JUDGE}"));
    vec![
        (Rule::UnknownDependency, "workers[1].depends_on[0]", dag(&format!("{}, {}", on("a", ""), on("b", "\"c\""))), chain()),
        (Rule::UnknownDependency, "workers[0].depends_on[0]", dag(&on("a", "\"\"")), chain()),
        (Rule::SelfDependency, "workers[0].depends_on[0]", dag(&on("a", "\"a\"")), dag(&on("a", ""))),
        (Rule::Cycle, "workers[0].depends_on[0]", dag(&format!("{}, {}", on("a", "\"b\""), on("b", "\"a\""))), chain()),
        (Rule::RepeatedDependency, "workers[1].depends_on[1]", dag(&format!("{}, {}", on("a", ""), on("b", "\"a\", \"a\""))), chain()),
        (Rule::ReviewerCount, "workers", iterative(STOP, A), rounds(STOP)),
        (Rule::ReviewerCount, "workers[2].type",
            iterative(STOP, &format!(r#"{BUILDER}{JUDGE}, {{"id": "k", "type": "reviewer", "depends_on": ["a"]}}"#)).told("k", VERDICT), rounds(STOP)),
        (Rule::NoWorkers, "workers", iterative(STOP, r#"{"id": "judge", "type": "reviewer"}"#), rounds(STOP)),
        (Rule::ReviewerEarly, "workers[1].depends_on", iterative(STOP, &format!(r#"{BUILDER}{{"id": "judge", "type": "reviewer", "depends_on": []}}"#)), rounds(STOP)),
        (Rule::WaitsForReviewer, "workers[2].depends_on[0]",
            iterative(STOP, &format!(r#"{BUILDER}{JUDGE}, {{"id": "b", "type": "write", "depends_on": ["judge"]}}"#)), rounds(STOP)),
        (Rule::RoleDisagrees, "workers[0].role", iterative(STOP, &format!(r#"{}, {JUDGE}"#, A.replace('}', r#", "role": "reviewer"}"#))),
            iterative(STOP, &format!(r#"{}, {JUDGE}"#, A.replace('}', r#", "role": "builder"}"#)))),
        (Rule::Missing, "stop_when", rounds(""), rounds(STOP)),
        (Rule::Missing, "stop_when.max_iterations", rounds(r#", "stop_when": {"reviewer_lgtm_count": 1}"#), rounds(STOP)),
        (Rule::Missing, "stop_when.reviewer_lgtm_count", rounds(r#", "stop_when": {"max_iterations": 1}"#), rounds(STOP)),
        (Rule::UnreachableStop, "stop_when.reviewer_lgtm_count", rounds(r#", "stop_when": {"max_iterations": 2, "reviewer_lgtm_count": 3}"#), rounds(STOP)),
    ]
}

#[rustfmt::skip]
fn prompt_cases() -> Vec<Case> {
    let good = || dag(A);
    let read_only = || dag(r#"{"id": "a", "type": "read-only"}"#);
    let tree = || worktree(&branch("a", "a", "\"a.rs\""));
    let rounds = || iterative(STOP, &format!("{BUILDER}{JUDGE}"));
    vec![
        (Rule::PromptMissing, "workers[0]", good().found("a", Prompt::Missing), good()),
        (Rule::PromptUnreadable, "workers[0]", good().found("a", Prompt::Unreadable("no UTF-8".to_owned())), good()),
        (Rule::PromptEmpty, "workers[0]", good().told("a", "\n"), good()),
        (Rule::CannotSave, "workers[0]", read_only().told("a", "Read it. Save a summary to output/summary.md."), read_only().told("a", "Read it. Answer here.")),
        (Rule::TwoDestinations, "workers[0]", good().told("a", "Write docs/x.md. Save ALL output to $FLEET_ROOT/workers/a/output/."), good().told("a", "Write docs/x.md.")),
        (Rule::OutputInWorktree, "workers[0]", tree().told("a", "Save ALL output to output/ and commit it."), tree().told("a", "Write src/a.rs and commit it.")),
        (Rule::NoCommit, "workers[0]", tree().told("a", "Write src/a.rs."), tree()),
        (Rule::NoVerdictRecipe, "workers[1]", rounds().told("judge", "Judge it."), rounds()),
        (Rule::BeyondType, "workers[0]", read_only().told("a", "Search the web."), dag(r#"{"id": "a", "type": "research"}"#).told("a", "Search the web.")),
        (Rule::BeyondType, "workers[0]", dag(r#"{"id": "a", "type": "write"}"#).told("a", "Run the tests."), good().told("a", "Run the tests.")),
        (Rule::OtherRoot, "workers[0]", good().told("a", "Read /plans/old/workers/b/output/x.md."), good().told("a", "Read /plans/x/workers/b/output/x.md.")),
        (Rule::RootReadOnly, "", good().around(|around| around.read_only = Some("read-only file system".to_owned())), good()),
    ]
}

#[rustfmt::skip]
fn file_cases() -> Vec<Case> {
    let files = |files: &str| worktree(&branch("a", "a", files));
    let two = |one: &str, two: &str| worktree(&format!("{}, {}", branch("a", "a", one), branch("b", "b", two)));
    let many = |start: &str| {
        let workers: Vec<String> = (0..2_100).map(|n| branch(&format!("w{n}"), &format!("w{n}"), &format!("\"{start}f{n}.ts\""))).collect();
        worktree(&workers.join(","))
    };
    let metric = |metric: &str| research(&format!(r#""metric_regex": "{metric}""#));
    vec![
        (Rule::Missing, "workers[0].branch", worktree(r#"{"id": "a", "target_files": ["a.rs"]}"#), files("\"a.rs\"")),
        (Rule::Missing, "workers[0].target_files", worktree(r#"{"id": "a", "branch": "a"}"#), files("\"a.rs\"")),
        (Rule::Missing, "workers[0].target_files", files(""), files("\"a.rs\"")),
        (Rule::Overlap, "workers[1].target_files[0]", two("\"src/a*.ts\"", "\"src/*b.ts\""), two("\"src/a*.ts\"", "\"src/b*.ts\"")),
        (Rule::BadPattern, "workers[0].target_files[0]", files("\"src/{a\""), files("\"src/{a,b}\"")),
        (Rule::OutsidePattern, "workers[0].target_files[1]", files("\"a.rs\", \"../b.rs\""), files("\"a.rs\", \"x/../b.rs\"")),
        (Rule::TooManyPatterns, "workers", many("**/"), many("src/")),
        (Rule::CannotCommit, "workers[0].type", worktree(&branch("a", "a", "\"a.rs\"").replace('}', r#", "type": "write"}"#)), files("\"a.rs\"")),
        (Rule::BadMetric, "problem.metric_regex", metric("("), metric("([0-9.]+)")),
        (Rule::BadMetric, "problem.metric_regex", metric("[0-9.]+"), metric("score: ([0-9.]+)")),
        (Rule::Missing, "problem", Scene::new(r#"{"type": "autoresearch"}"#), metric("(.*)")),
        (Rule::Missing, "problem.metric_regex", Scene::new(r#"{"type": "autoresearch", "problem": {"eval_command": "x"}}"#), metric("(.*)")),
        (Rule::PathMissing, "problem.program_md", metric("(.*)").around(|around| around.program = Some(Prompt::Missing)), metric("(.*)")),
        (Rule::PathMissing, "problem.workdir", research(r#""metric_regex": "(.*)", "workdir": "x""#).around(|around| around.has_workdir = false), research(r#""metric_regex": "(.*)", "workdir": "x""#)),
    ]
}

#[rustfmt::skip]
fn spend_cases() -> Vec<Case> {
    let rounds = |more: &str| iterative(STOP, &format!(r#"{}, {JUDGE}"#, A.replace('}', &format!("{more}}}"))));
    let own = |around: &mut Surroundings| around.harnesses = vec!["mine".to_owned()];
    let pi = |worker_type: &str, more: &str| Scene::new(format!(r#"{{"type": "dag", "workers": [{{"id": "a", "type": "{worker_type}"{more}}}]}}"#));
    vec![
        (Rule::MaxTurns, "workers[0].max_turns", worker(r#", "max_turns": 0"#), worker("")),
        (Rule::BudgetPerIteration, "workers[0].max_budget_usd", rounds(r#", "max_budget_usd": 1"#), rounds(r#", "max_budget_per_iter": 1"#)),
        (Rule::Shortfall, "config.max_budget_fleet", plan("dag", r#", "config": {"max_budget_fleet": 1.5}"#, &format!(r#"{A}, {{"id": "b", "type": "write"}}"#)), config(r#""max_budget_fleet": 1.5"#)),
        (Rule::Shortfall, "stop_when.cost_cap_usd",
            iterative(r#", "stop_when": {"max_iterations": 3, "reviewer_lgtm_count": 1, "cost_cap_usd": 11.99}"#, &format!("{BUILDER}{JUDGE}")),
            iterative(r#", "stop_when": {"max_iterations": 3, "reviewer_lgtm_count": 1, "cost_cap_usd": 12}"#, &format!("{BUILDER}{JUDGE}"))),
        (Rule::Unaffordable, "config.max_budget_fleet", config(r#""max_budget_fleet": 0.99"#), config(r#""max_budget_fleet": 1"#)),
        (Rule::Unaffordable, "stop_when.cost_cap_usd",
            iterative(r#", "stop_when": {"max_iterations": 1, "reviewer_lgtm_count": 1, "cost_cap_usd": 3.99}"#, &format!("{BUILDER}{JUDGE}")),
            iterative(r#", "stop_when": {"max_iterations": 1, "reviewer_lgtm_count": 1, "cost_cap_usd": 4}"#, &format!("{BUILDER}{JUDGE}"))),
        (Rule::HighBudget, "workers[0].max_budget_usd", worker(r#", "max_budget_usd": 10.01"#), worker(r#", "max_budget_usd": 10"#)),
        (Rule::SoftBudget, "workers[0]", config(r#""provider": "codex""#), config(r#""provider": "claude""#)),
        (Rule::UnknownProvider, "config.provider", config(r#""provider": "cluade""#), config(r#""provider": "claude""#)),
        (Rule::UnknownProvider, "workers[0].provider", worker(r#", "provider": "mine""#), worker("").around(own)),
        (Rule::UnknownModel, "config.model", config(r#""model": "sonet""#), config(r#""model": "sonnet""#)),
        (Rule::ModelOfOther, "workers[0].model", worker(r#", "model": "gpt-5.4""#), worker(r#", "model": "claude-opus-4-6""#)),
        (Rule::NoEffort, "config.reasoning_effort", config(r#""reasoning_effort": "high""#), config(r#""reasoning_effort": """#)),
        (Rule::AllowedModel, "config.model", config(r#""model": "next""#).around(|around| around.allow_unknown_model = true), config(r#""model": "opus""#).around(|around| around.allow_unknown_model = true)),
        (Rule::NoFallback, "workers[0].fallback_model", pi("code-run", r#", "provider": "pi", "fallback_model": "haiku""#), pi("code-run", "")),
        (Rule::NotEnforced, "workers[0]", pi("write", r#", "provider": "codex""#), pi("write", r#", "provider": "claude""#)),
        (Rule::NotProvided, "workers[0]", pi("research", r#", "provider": "pi""#), pi("research", r#", "provider": "claude""#)),
    ]
}

fn cases() -> Vec<Case> {
    let mut cases = text_cases();
    cases.extend(name_cases());
    cases.extend(graph_cases());
    cases.extend(prompt_cases());
    cases.extend(file_cases());
    cases.extend(spend_cases());
    cases
}

#[test]
fn each_rule_is_found_where_it_is_broken_and_only_there() {
    /// Said beside every worker of a provider without a limit of its own.
    const BESIDE: [Rule; 3] = [Rule::NoFallback, Rule::NotEnforced, Rule::NotProvided];
    for (rule, path, bad, good) in cases() {
        let mut found = bad.findings();
        if BESIDE.contains(&rule) {
            found.retain(|(code, _)| *code != Rule::SoftBudget.row().code);
        }
        let said = rule::quoted(&bad.text);
        assert_eq!(found, [(rule.row().code, path.to_owned())], "{rule:?} of {said}");
        assert_eq!(
            good.findings(),
            [],
            "the good plan of {rule:?}: {}",
            rule::quoted(&good.text)
        );
        assert!(good.check().plan.is_some(), "{rule:?}");
        let is_error = rule.row().level == Level::Error;
        assert_eq!(bad.check().plan.is_none(), is_error, "{rule:?} of {said}");
    }
}

#[test]
fn each_rule_has_an_example() {
    let shown: Vec<Rule> = cases().into_iter().map(|(rule, ..)| rule).collect();
    let missing: Vec<&Rule> = Rule::ALL.iter().filter(|rule| !shown.contains(rule)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_the_schema_takes_and_refuses_is_what_the_check_does() {
    let schema = jsonschema::validator_for(&file::schema()).expect("a schema");
    let shape = [
        Rule::UnknownKey,
        Rule::WrongType,
        Rule::OutOfRange,
        Rule::UnknownWord,
        Rule::Missing,
        Rule::MaxTurns,
        Rule::BudgetPerIteration,
    ];
    for (rule, path, bad, good) in cases() {
        let good: serde_json::Value = serde_json::from_str(&good.text).expect("JSON");
        if let Err(error) = schema.validate(&good) {
            panic!("the good plan of {rule:?}: {error}\n{good:#}");
        }
        if shape.contains(&rule)
            && let Ok(bad) = serde_json::from_str::<serde_json::Value>(&bad.text)
            // An empty list and a rule between two keys are beyond it.
            && bad["workers"][0]["target_files"] != serde_json::json!([])
        {
            assert!(!schema.is_valid(&bad), "{rule:?} {path}: {bad:#}");
        }
    }
}

#[test]
fn every_key_of_the_schema_is_known_to_the_check() {
    let schema = file::schema();
    let object = |properties: &serde_json::Value| {
        let keys = properties.as_object().expect("properties").keys().cloned();
        keys.map(|key| format!("\"{key}\": {{}}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let of = |name: &str| object(&schema["$defs"][name]["properties"]);
    let mut top = object(&schema["properties"]);
    for (key, name, open, close) in [
        ("config", "ConfigFile", "{", "}"),
        ("workers", "WorkerFile", "[{", "}]"),
        ("stop_when", "StopFile", "{", "}"),
        ("problem", "ProblemFile", "{", "}"),
        ("search", "SearchFile", "{", "}"),
    ] {
        top = top.replace(
            &format!("\"{key}\": {{}}"),
            &format!("\"{key}\": {open}{}{close}", of(name)),
        );
    }
    let findings = Scene::new(format!("{{{top}}}")).check().findings;
    let unknown: Vec<_> = findings.iter().filter(|finding| finding.code == "P010").collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(findings.iter().any(|finding| finding.code == "P011"), "{findings:?}");
}

#[test]
fn defaults_are_filled_in() {
    let text = r#"{"type": "dag", "config": {"model": "opus"}, "workers": [
        {"id": "a", "type": "write"},
        {"id": "b", "type": "code-run", "provider": "codex", "reasoning_effort": "low", "max_budget_usd": 0.5},
        {"id": "c", "type": "write", "model": "haiku", "depends_on": ["b", "a"], "on_dep_failure": "run"}]}"#;
    let plan = Scene::new(text).check().plan.expect("a plan");
    assert_eq!(
        (plan.name.as_str(), plan.id.as_str(), plan.max_concurrent),
        ("fleet", "fleet", 5)
    );
    assert_eq!(plan.most(), Usd::new(2.5).expect("an amount"));
    let choice = |index: usize| {
        let choice = &plan.workers[index].choice;
        (
            choice.provider.as_str(),
            choice.model.as_deref(),
            choice.fallback.as_deref(),
        )
    };
    assert_eq!(choice(0), ("claude", Some("opus"), Some("haiku")));
    assert_eq!(choice(1), ("codex", Some("gpt-5.4"), None));
    assert_eq!(choice(2), ("claude", Some("haiku"), None));
    assert_eq!(plan.workers[2].depends_on, [0, 1]);
    assert_eq!(plan.workers[2].on_dep_failure, OnDepFailure::Run);

    let plan = worktree(&branch("a", "a", "\"a.rs\"")).check().plan.expect("a plan");
    assert_eq!(
        (plan.type_name(), plan.workers[0].worker_type),
        ("worktree", WorkerType::CodeRun)
    );

    let plan = iterative(STOP, &format!("{BUILDER}{JUDGE}"))
        .check()
        .plan
        .expect("a plan");
    let rounds = Rounds {
        max_iterations: 3,
        lgtm_count: 1,
        reviewer: 1,
        budget: None,
    };
    assert_eq!(
        (&plan.shape, plan.most()),
        (&Shape::Iterative(rounds), Usd::new(12.0).expect("an amount"))
    );

    let plan = research(r#""metric_regex": "(.*)""#).check().plan.expect("a plan");
    let Shape::Autoresearch(research) = &plan.shape else {
        panic!("{plan:?}");
    };
    assert_eq!(
        (research.max_iterations, research.plateau, research.program.as_str()),
        (50, Some(3), "program.md")
    );
}

#[test]
fn findings_have_their_places_in_the_text_and_its_order() {
    let text = "{\n  \"type\": \"dag\",\n  \"workers\": [\n    {\"id\": \"a\", \"type\": \"write\", \"depends_on\": [\"x\"]},\n    {\"id\": \"a\", \"typ\": \"write\"}\n  ]\n}";
    let findings = Scene::new(text).check().findings;
    let places: Vec<_> = findings
        .iter()
        .map(|finding| (finding.code, finding.line, finding.column))
        .collect();
    assert_eq!(
        places,
        [
            ("P031", Some(4), Some(49)),
            ("P012", Some(5), Some(5)),
            ("P021", Some(5), Some(12)),
            ("P010", Some(5), Some(17)),
        ]
    );
}

#[test]
fn a_key_that_is_there_and_wrong_is_not_missing_as_well() {
    let codes = |scene: Scene| scene.findings().into_iter().map(|(code, _)| code).collect::<Vec<_>>();
    assert_eq!(codes(dag(r#"{"id": "a", "type": 3}"#)), ["P011"]);
    assert_eq!(
        codes(worktree(r#"{"id": "a", "branch": 3, "target_files": 4}"#)),
        ["P011", "P011"]
    );
    assert_eq!(
        codes(iterative(r#", "stop_when": 3"#, &format!("{BUILDER}{JUDGE}"))),
        ["P011"]
    );
}

/// Every place of a value below this one, as a JSON pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| places(value, &format!("{at}/{key}"), found)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(n, value)| places(value, &format!("{at}/{n}"), found)),
        _ => {}
    }
}

proptest! {
    /// What runs a plan relies on it.
    #[test]
    fn there_is_a_plan_exactly_where_there_is_no_error(
        base in 0..4usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..12usize), 0..3),
    ) {
        let bases = [
            worktree(&format!("{}, {}", branch("a", "a", "\"a.rs\""), branch("b", "b", "\"b/**\""))),
            plan("dag", r#", "config": {"provider": "codex", "max_budget_fleet": 9}"#, &format!(r#"{BUILDER}{{"id": "b", "type": "write", "depends_on": ["a"]}}"#)),
            iterative(STOP, &format!("{BUILDER}{JUDGE}")),
            research(r#""metric_regex": "(.*)""#),
        ];
        let mut value: Value = serde_json::from_str(&bases[base].text).expect("JSON");
        for (place, kind) in changes {
            let mut found = Vec::new();
            places(&value, "", &mut found);
            let odd = [json!(null), json!(""), json!("a"), json!("x y"), json!(0), json!(-1), json!(1.5), json!(1e9), json!([]), json!({}), json!(true), json!(["a"])];
            if let Some(at) = value.pointer_mut(place.get(&found).as_str()) {
                *at = odd[kind].clone();
            }
        }
        let checked = Scene::new(value.to_string()).check();
        let errors = checked.findings.iter().filter(|finding| finding.level == Level::Error).count();
        prop_assert_eq!(checked.plan.is_some(), errors == 0, "{} {:?}", value, checked.findings);
    }
}

/// As many workers as nobody has.
const MANY: usize = 100_000;

fn many(worker: impl Fn(usize) -> String) -> String {
    (0..MANY).map(worker).collect::<Vec<_>>().join(",")
}

fn in_a_chain(n: usize) -> String {
    match n {
        0 => r#"{"id": "w0", "type": "write"}"#.to_owned(),
        n => format!(r#"{{"id": "w{n}", "type": "write", "depends_on": ["w{}"]}}"#, n - 1),
    }
}

#[test]
fn a_hundred_thousand_workers_in_a_chain_are_fine() {
    let checked = dag(&many(in_a_chain)).check();
    assert_eq!(checked.findings, []);
    assert_eq!(checked.plan.expect("a plan").workers.len(), MANY);
}

#[test]
fn a_hundred_thousand_workers_in_a_ring_are_one_cycle() {
    let first = format!(r#"{{"id": "w0", "type": "write", "depends_on": ["w{}"]}}"#, MANY - 1);
    let ring = many(in_a_chain).replacen(&in_a_chain(0), &first, 1);
    let findings = dag(&ring).check().findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].message.ends_with("-> (99988 more) -> w0"), "{findings:?}");
}

#[test]
fn a_hundred_thousand_workers_with_five_mistakes_each_are_all_told() {
    let bad = |n: usize| format!(r#"{{"id": "w{n} ", "typ": 3, "depends_on": ["nobody{n}"], "max_budget_usd": -1}}"#);
    assert_eq!(dag(&many(bad)).findings().len(), 5 * MANY);
}

#[test]
fn a_hundred_thousand_workers_with_folders_of_their_own_do_not_overlap() {
    let own = |n: usize| branch(&format!("w{n}"), &format!("b/w{n}"), &format!("\"packages/p{n}/**\""));
    assert_eq!(worktree(&many(own)).findings(), []);
}

#[test]
fn a_hundred_thousand_unknown_keys_are_all_told() {
    assert_eq!(config(&many(|n| format!("\"unknown{n}\": {n}"))).findings().len(), MANY);
}
