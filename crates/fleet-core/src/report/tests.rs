use proptest::prelude::*;

use super::*;

/// The report of seed 000, as it stands there.
const SEED: &str = "<!-- FLEET_SESSION_REPORT
job_id: VB-20260404-042
execution:
  status: completed
  total_cost_usd: 3.87
  total_tool_calls: 156
fleet_activity:
  tasks_created: 4
  tasks_completed: 4
  crew_dispatches: 2
  officer_dispatches: 3
  tasks:
    - id: TASK-20260404-001
      crew: api
      cost_usd: 1.85
      commits: [\"def5678\"]
  follow_ups:
    - title: \"Redis connection pooling\"
      priority: medium
budget_utilization:
  cost_pct: 77.4
  recommendation: within_budget
-->
";

fn codes(text: &str) -> Vec<&'static str> {
    codes_for(text, &Expected::default())
}

fn codes_for(text: &str, expected: &Expected) -> Vec<&'static str> {
    read(text, expected)
        .findings
        .into_iter()
        .map(|finding| finding.code)
        .collect()
}

fn expected() -> Expected {
    Expected::from(&crate::contract::example())
}

#[test]
fn the_report_of_the_protocol_is_read_word_for_word_and_fits_its_contract() {
    let checked = read(SEED, &expected());
    assert_eq!(checked.findings, []);
    let report = checked.value.expect("a report");
    assert_eq!(report.execution.total_cost_usd, Usd::new(3.87));
    assert_eq!(report.fleet_activity.tasks[0].commits, ["def5678"]);
    assert_eq!(report.budget_utilization, example().budget_utilization);
}

#[test]
fn the_example_is_fine() {
    let text = write(&example()).expect("a block");
    assert_eq!(codes_for(&text, &expected()), [""; 0]);
}

#[test]
fn numbers_that_contradict_each_other_are_found() {
    for (from, to, wanted) in [
        ("total_cost_usd: 3.87", "total_cost_usd: -5", vec!["C024"]),
        ("total_cost_usd: 3.87", "total_cost_usd: 1.00", vec!["C043", "C045"]),
        ("total_cost_usd: 3.87", "total_cost_usd: unknown", vec!["C047"]),
        ("  total_cost_usd: 3.87\n", "", vec!["C047"]),
        ("total_cost_usd: 3.87", "total_cost_usd: .nan", vec!["C024"]),
        ("total_tool_calls: 156", "total_tool_calls: -1", vec!["C024"]),
        ("tasks_completed: 4", "tasks_completed: 5", vec!["C041"]),
        (
            "tasks_created: 4\n  tasks_completed: 4",
            "tasks_created: 0\n  tasks_completed: 0",
            vec!["C041"],
        ),
        (
            "tasks_created: 4\n  tasks_completed: 4",
            "tasks_created: 1\n  tasks_completed: 1",
            vec!["C044"],
        ),
        ("cost_usd: 1.85", "cost_usd: -1.85", vec!["C024"]),
        (
            "commits: [\"def5678\"]",
            "commits: [\"def5678\"]\n    - id: TASK-20260404-001",
            vec!["C042"],
        ),
        ("cost_pct: 77.4", "cost_pct: 10", vec!["C045"]),
        ("cost_pct: 77.4", "cost_pct: -1", vec!["C024"]),
        ("cost_pct: 77.4", "cost_pct: 95", vec!["C045", "C046"]),
        ("within_budget", "raise_ceiling", vec![]),
        ("within_budget", "over_budget", vec!["C046"]),
        ("within_budget", "within_bugdet", vec!["C025"]),
        ("completed\n", "done\n", vec!["C025"]),
        ("VB-20260404-042", "VB-20260404-043", vec!["C040"]),
        ("priority: medium", "priority: urgent", vec!["C025"]),
        (
            "    - title: \"Redis connection pooling\"\n",
            "    - titel: x\n",
            vec!["C022", "C021"],
        ),
        ("execution:", "executed:", vec!["C022", "C021"]),
    ] {
        let text = SEED.replace(from, to);
        assert_ne!(text, SEED, "{from}");
        assert_eq!(codes_for(&text, &expected()), wanted, "{to}");
    }
}

#[test]
fn a_contract_in_what_a_session_answered_is_never_obeyed() {
    let contract = crate::contract::write(&crate::contract::example()).expect("a block");
    let checked = read(&format!("{contract}{SEED}"), &Expected::default());
    assert_eq!(checked.findings[0].code, "C008");
    assert!(checked.value.is_some());
    assert_eq!(codes(&contract), ["C008", "C001"]);
}

#[test]
fn a_budget_is_judged_by_its_share() {
    let usd = |dollars| Usd::new(dollars).expect("an amount");
    for (spent, undone, share, advice) in [
        (0.0, false, 0.0, Recommendation::WithinBudget),
        (3.87, false, 77.4, Recommendation::WithinBudget),
        (4.0, false, 80.0, Recommendation::NearCeiling),
        (5.0, false, 100.0, Recommendation::NearCeiling),
        (5.01, false, 100.2, Recommendation::OverBudget),
        (4.5, true, 90.0, Recommendation::RaiseCeiling),
    ] {
        let of = Utilization::of(usd(spent), usd(5.0), undone);
        assert_eq!(of.recommendation, advice, "{spent}");
        assert_eq!(of.cost_pct, Some(share));
        assert!(advice.fits(share), "{spent}");
    }
}

#[test]
fn what_contradicts_itself_is_not_written() {
    let mut report = example();
    report.fleet_activity.tasks_completed = 3;
    assert!(write(&report).expect_err("too many").message.contains("C041"));
}

#[test]
fn the_schema_takes_the_example_and_no_negative_cost() {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let mut value = serde_json::to_value(example()).expect("json");
    assert!(validator.is_valid(&value));
    value["execution"]["total_cost_usd"] = serde_json::json!(-5);
    assert!(!validator.is_valid(&value));
}

fn texts() -> impl Strategy<Value = String> {
    "\\PC{0,40}|[a-z<>!\\-\"\\\\ :#\\n\\t\\r`]{0,40}"
}

fn reports() -> impl Strategy<Value = Report> {
    let money = || proptest::option::of((0u64..1_000_000_000).prop_map(Usd::from_micros));
    let task = (
        proptest::option::of(texts()),
        money(),
        proptest::collection::vec(texts(), 0..3),
    );
    let follow_up = (texts(), 0usize..4);
    let parts = (
        0usize..5,
        proptest::collection::vec(task, 0..5),
        proptest::collection::vec(follow_up, 0..3),
        any::<Option<u32>>(),
        any::<bool>(),
        1u64..1_000_000_000,
    );
    parts.prop_map(|(status, tasks, follow_ups, tools, is_known, ceiling)| {
        let statuses = [
            Status::Completed,
            Status::Partial,
            Status::Failed,
            Status::OverBudget,
            Status::Cancelled,
        ];
        let priorities = [Priority::Low, Priority::Medium, Priority::High, Priority::Critical];
        let tasks: Vec<TaskLine> = tasks
            .into_iter()
            .enumerate()
            .map(|(place, (crew, cost_usd, commits))| TaskLine {
                id: format!("TASK-20260404-{place:03}"),
                crew,
                cost_usd,
                commits,
            })
            .collect();
        let sum: Usd = tasks.iter().filter_map(|task| task.cost_usd).sum();
        Report {
            job_id: "FL-20260404-001".to_owned(),
            execution: Execution {
                status: statuses[status],
                total_cost_usd: is_known.then_some(sum),
                known_cost_usd: (!is_known).then_some(sum),
                total_tool_calls: tools,
            },
            fleet_activity: Activity {
                tasks_created: tasks.len() as u32,
                tasks_completed: tasks.len() as u32 / 2,
                crew_dispatches: 1,
                officer_dispatches: 0,
                tasks,
                follow_ups: follow_ups
                    .into_iter()
                    .map(|(title, priority)| FollowUp {
                        title,
                        priority: priorities[priority],
                    })
                    .collect(),
            },
            budget_utilization: is_known.then(|| Utilization::of(sum, Usd::from_micros(ceiling), status == 3)),
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_as_it_was(report in reports()) {
        let text = write(&report).expect("a block");
        prop_assert_eq!(text.matches("-->").count(), 1);
        prop_assert_eq!(read(&text, &Expected::default()).value, Some(report));
    }

    #[test]
    fn random_bytes_are_no_report_and_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = codes(&text);
        let _ = codes(&format!("<!-- FLEET_SESSION_REPORT\n{text}\n-->"));
    }
}
