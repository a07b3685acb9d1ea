//! `run`: pipelines with the real binary and a stand-in for the agent; what stages are told, and what holds them.

use std::fs;
use std::path::PathBuf;

use fleet_testkit::{Cmd, Finished, wait_until};
use serde_json::Value;

use crate::drive::LONG;
use crate::runs::stage::{Stage, events};

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const OVER_BUDGET: i32 = 6;
const BAD_BLOCK: i32 = 65;

/// What every stage does: it reports that it is done.
const REPORTS: &str = "Add a cart.\n!report completed";

/// A stage with a repository in it.
struct Shop {
    stage: Stage,
    repo: PathBuf,
}

impl Shop {
    fn new() -> Shop {
        let stage = Stage::new();
        let repo = stage.env.repo("shop", 1);
        Shop { stage, repo }
    }

    fn with(file: &str) -> Shop {
        let shop = Shop::new();
        fs::write(shop.repo.join("vibe.yaml"), file).expect("written");
        shop
    }

    fn fleet(&self, args: &[&str]) -> Cmd {
        self.stage.fleet(args).cwd(&self.repo)
    }

    /// Runs a pipeline with this prompt to its end.
    fn run(&self, args: &[&str], prompt: &str) -> Finished {
        self.fleet(&["run"]).args(args).args(["-p", prompt]).output()
    }

    /// The report in what a pipeline printed, which `report check` finds fine.
    #[track_caller]
    fn report(&self, done: &Finished) -> Value {
        let checked = self
            .fleet(&["report", "check", "--json"])
            .stdin(done.stdout.clone())
            .output();
        let answer: Value = checked.success().json();
        assert_eq!(answer["errors"], 0, "{answer}");
        answer["report"].clone()
    }

    /// What a stage was told the Nth time: arguments, prompt, variables.
    #[track_caller]
    fn told(&self, stage: &str, time: usize) -> String {
        let path = format!("{}.told/{stage}-{time}", self.stage.ledger.display());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    #[track_caller]
    fn status(&self, job: &str) -> Value {
        let answer: Value = self.fleet(&["status", job, "--json"]).output().success().json();
        answer["runs"][0].clone()
    }

    /// The contract that a stage was told.
    #[track_caller]
    fn contract(&self, stage: &str, time: usize) -> Value {
        let told = self.told(stage, time);
        let prompt = told.split("== FLEET_TASK").next().expect("a prompt");
        let answer: Value = self
            .fleet(&["contract", "check", "--json"])
            .stdin(prompt)
            .output()
            .success()
            .json();
        assert_eq!(answer["warnings"], 0, "{answer}");
        answer["contract"].clone()
    }
}

fn job(report: &Value) -> String {
    report["job_id"].as_str().expect("a job").to_owned()
}

fn status(report: &Value) -> &str {
    report["execution"]["status"].as_str().expect("a status")
}

#[test]
fn stages_work_on_one_branch_under_contracts_and_the_report_is_the_sum_of_its_parts() {
    let shop = Shop::new();
    let prompt = format!("{REPORTS}\n!at implement write cart.txt full\n!at implement commit Add the cart");
    let args = [
        "--pipeline",
        "feature",
        "--budget",
        "5",
        "--intensity",
        "thorough",
        "--digs",
        "3",
    ];
    let done = shop
        .run(&args, &format!("{prompt}\n!at review say verdict: lgtm"))
        .success();
    let report = shop.report(&done);
    assert_eq!(status(&report), "completed");
    assert_eq!(report["execution"]["total_cost_usd"], 0.04);
    let activity = &report["fleet_activity"];
    assert_eq!(
        (&activity["tasks_created"], &activity["tasks_completed"]),
        (&4.into(), &4.into())
    );
    assert_eq!(activity["officer_dispatches"], 4);
    assert_eq!(
        activity["follow_ups"].as_array().map(Vec::len),
        Some(1),
        "each title once"
    );
    let tasks = activity["tasks"].as_array().expect("tasks");
    let costs: f64 = tasks.iter().filter_map(|task| task["cost_usd"].as_f64()).sum();
    assert!((costs - 0.04).abs() < 1e-9, "{tasks:?}");
    assert_eq!(tasks[1]["commits"].as_array().map(Vec::len), Some(1), "{tasks:?}");
    assert_eq!(report["budget_utilization"]["recommendation"], "within_budget");
    assert_eq!(
        shop.stage.paid(),
        ["paid plan 1", "paid implement 1", "paid review 1", "paid validate 1"]
    );

    let contract = shop.contract("implement", 1);
    assert_eq!(
        (contract["stage"].as_str(), contract["pipeline"].as_str()),
        (Some("implement"), Some("feature"))
    );
    assert_eq!(
        (
            &contract["budget"]["ceiling_usd"],
            &contract["budget"]["max_crew_dispatches"]
        ),
        (&4.99.into(), &3.into())
    );
    let prior = &contract["context"]["prior_stages"];
    assert_eq!(
        (&prior[0]["stage"], &prior[0]["summary"]),
        (&"plan".into(), &"I am done.".into())
    );
    assert_eq!(prior[0]["cost_usd"], 0.01);
    let branch = format!("feature-{}", job(&report));
    let shown = shop
        .stage
        .env
        .git(&shop.repo, ["show", &format!("{branch}:cart.txt")])
        .success()
        .stdout;
    assert_eq!(shown.trim(), "full");
    assert!(
        !shop.repo.join("cart.txt").exists(),
        "the checkout of the person is left alone"
    );
}

#[test]
fn a_check_that_fails_sends_its_stage_back_with_what_it_printed() {
    let shop = Shop::with(
        "checks:\n  steps:\n    - {name: there, command: 'echo looked; test -f ok.txt'}\n  max_retries: 2\n",
    );
    let done = shop
        .run(
            &["--intensity", "quick"],
            "Do it.\n!at validate then 1 write ok.txt yes",
        )
        .success();
    assert_eq!(status(&shop.report(&done)), "completed");
    assert_eq!(
        shop.stage.paid(),
        ["paid plan 1", "paid implement 1", "paid validate 1", "paid validate 1"]
    );
    let told = shop.told("validate", 2);
    assert!(
        told.contains("looked") && told.contains("check failed: there (exit code 1)"),
        "{told}"
    );
}

#[test]
fn a_failed_stage_is_where_a_job_goes_on() {
    let shop = Shop::with("pipelines: {two: {stages: [{name: plan}, {name: implement, on_failure: fail}]}}");
    let done = shop.run(&["--pipeline", "two"], "Do it.\n!at implement first 1 fail 400");
    let report = shop.report(&done.fails(FAILED));
    assert_eq!(status(&report), "failed");
    assert_eq!(report["fleet_activity"]["tasks_completed"], 1);
    let again = shop.fleet(&["run", "--job", &job(&report)]).output().success();
    assert_eq!(status(&shop.report(&again)), "completed");
    assert_eq!(
        shop.stage.paid(),
        ["paid plan 1", "paid implement 1", "resumed implement 1"]
    );
    let once_more = shop.fleet(&["run", "--job", &job(&report)]).output().success();
    assert!(once_more.stdout.contains("is done already"), "{once_more}");
    assert_eq!(shop.stage.paid().len(), 3);
}

#[test]
fn a_conversation_that_the_program_has_lost_begins_anew_and_has_cost_nothing() {
    let shop = Shop::with("pipelines: {one: {stages: [{name: plan}]}}");
    let prompt = "Do it.\n!first 1 forget\n!first 1 fail 400";
    let report = shop.report(&shop.run(&["--pipeline", "one"], prompt).fails(FAILED));
    let again = shop.report(&shop.fleet(&["run", "--job", &job(&report)]).output().success());
    assert_eq!(
        (status(&again), &again["execution"]["total_cost_usd"]),
        ("completed", &0.02.into())
    );
    assert_eq!(shop.stage.paid(), ["paid plan 1", "paid plan 1"]);
}

#[test]
fn a_stage_whose_failure_is_a_warning_leaves_the_pipeline_partial() {
    let shop = Shop::with("pipelines: {two: {stages: [{name: plan, on_failure: warn}, {name: implement}]}}");
    let done = shop
        .run(&["--pipeline", "two"], "Do it.\n!at plan fail 400")
        .fails(FAILED);
    let report = shop.report(&done);
    assert_eq!(status(&report), "partial");
    assert_eq!(report["fleet_activity"]["tasks_completed"], 1);
}

#[test]
fn a_report_that_says_failed_is_a_failure_and_one_that_is_not_believed_is_an_event() {
    let shop = Shop::new();
    let prompt = "Do it.\n!at plan report completed\n!at implement first 1 report failed\n!at implement then 1 report completed\n\
                  !at validate report completed";
    let done = shop.run(&["--intensity", "quick"], prompt);
    let report = shop.report(&done.success());
    assert_eq!(
        shop.stage
            .paid()
            .iter()
            .filter(|line| line.contains("implement"))
            .count(),
        2
    );
    assert!(shop.told("implement", 2).contains("its report says `failed`"));
    let happened = events(&shop.status(&job(&report)));
    assert!(
        !happened.iter().any(|event| event.starts_with("report:")),
        "{happened:?}"
    );

    let done = shop
        .run(
            &["--intensity", "quick"],
            "Do it.\n!say <!-- FLEET_SESSION_REPORT\\njob_id: mine\\n-->",
        )
        .success();
    let happened = events(&shop.status(&job(&shop.report(&done))));
    assert!(
        happened
            .iter()
            .any(|event| event.starts_with("report: it is not believed")),
        "{happened:?}"
    );
}

#[test]
fn a_review_that_is_not_content_sends_the_work_back() {
    let shop = Shop::new();
    let prompt = format!(
        "{REPORTS}\n!at review first 1 say Mend the cart.\\nverdict: iterate\n!at review then 1 say verdict: lgtm"
    );
    let done = shop.run(&["--intensity", "thorough"], &prompt).success();
    assert_eq!(status(&shop.report(&done)), "completed");
    let paid = shop.stage.paid();
    assert_eq!(
        paid,
        [
            "paid plan 1",
            "paid implement 1",
            "paid review 1",
            "paid implement 1",
            "paid review 1",
            "paid validate 1"
        ]
    );
    assert!(shop.told("implement", 2).contains("Mend the cart."));
}

#[test]
fn a_hard_ceiling_is_told_to_the_program_ends_the_pipeline_and_can_be_raised() {
    let shop = Shop::new();
    let prompt = format!("{REPORTS}\n!at plan cost 0.06");
    let done = shop
        .run(&["--budget", "0.05", "--hard", "--intensity", "quick"], &prompt)
        .fails(OVER_BUDGET);
    assert!(shop.told("plan", 1).contains("--max-budget-usd 0.05"));
    let report = shop.report(&done);
    assert_eq!(status(&report), "over_budget");
    assert_eq!(report["budget_utilization"]["recommendation"], "raise_ceiling");
    assert_eq!(shop.stage.paid(), ["paid plan 1"]);
    let more = shop
        .fleet(&["run", "--job", &job(&report), "--budget", "1"])
        .output()
        .success();
    assert_eq!(status(&shop.report(&more)), "completed");
    assert_eq!(
        shop.stage.paid().iter().filter(|line| line.contains(" plan ")).count(),
        1
    );
}

#[test]
fn a_soft_ceiling_lets_the_turn_end_and_starts_no_other_stage() {
    let shop = Shop::new();
    let prompt = format!("{REPORTS}\n!at plan cost 0.06");
    let done = shop
        .run(&["--budget", "0.05", "--intensity", "quick"], &prompt)
        .fails(OVER_BUDGET);
    assert!(!shop.told("plan", 1).contains("--max-budget-usd"));
    let report = shop.report(&done);
    assert_eq!(
        (status(&report), &report["execution"]["total_cost_usd"]),
        ("over_budget", &0.06.into())
    );
    assert_eq!(shop.stage.paid(), ["paid plan 1"]);
    assert_eq!(shop.status(&job(&report))["state"], "paused");
}

#[test]
fn calls_of_tools_are_counted_over_all_stages_and_held() {
    let shop = Shop::new();
    let prompt = "Do it.\n!at plan call Read 2\n!at implement call Read 9\n!at implement sleep 60000";
    let done = shop.run(
        &[
            "--max-tool-calls",
            "3",
            "--budget",
            "5",
            "--hard",
            "--intensity",
            "quick",
        ],
        prompt,
    );
    let report = shop.report(&done.fails(OVER_BUDGET));
    assert_eq!(status(&report), "over_budget");
    assert_eq!(shop.contract("implement", 1)["budget"]["max_tool_calls"], 1);
    assert_eq!(shop.stage.paid().len(), 2);
}

#[test]
fn turns_are_told_to_the_program_and_no_stage_starts_without_one() {
    let shop = Shop::new();
    let done = shop.run(
        &["--max-turns", "3", "--intensity", "quick"],
        "Do it.\n!at plan call Read 2\n!at implement call Read 1",
    );
    assert_eq!(status(&shop.report(&done.fails(OVER_BUDGET))), "over_budget");
    assert!(shop.told("plan", 1).contains("--max-turns 3"));
    assert!(shop.told("implement", 1).contains("--max-turns 1"));
    assert_eq!(shop.stage.paid(), ["paid plan 1", "paid implement 1"]);
}

#[test]
fn digs_are_how_often_sub_agents_may_be_sent_and_without_any_there_are_none() {
    let shop = Shop::new();
    let prompt = "Do it.\n!at implement call Task 2\n!at implement sleep 60000";
    let done = shop
        .run(&["--digs", "1", "--intensity", "quick"], prompt)
        .fails(OVER_BUDGET);
    let report = shop.report(&done);
    assert_eq!(
        (status(&report), &report["fleet_activity"]["crew_dispatches"]),
        ("over_budget", &2.into())
    );
    assert!(shop.told("implement", 1).contains("Agent"), "sub-agents are offered");

    let shop = Shop::new();
    let _ = shop.run(&["--digs", "0", "--intensity", "quick"], REPORTS).success();
    let args = shop.told("implement", 1);
    assert!(!args.lines().next().expect("arguments").contains("Agent"), "{args}");
}

#[test]
fn the_intensity_chooses_the_model() {
    for (intensity, model) in [("quick", "haiku"), ("exhaustive", "opus")] {
        let shop = Shop::new();
        let _ = shop
            .run(
                &["--intensity", intensity],
                &format!("{REPORTS}\n!at review say verdict: lgtm"),
            )
            .success();
        assert!(shop.told("plan", 1).contains(&format!("--model {model}")));
        assert_eq!(
            shop.stage.paid().iter().any(|line| line.contains("review")),
            intensity != "quick"
        );
    }
}

#[test]
fn a_contract_in_the_prompt_is_obeyed_and_flags_and_surroundings_only_narrow_it() {
    let shop = Shop::new();
    let block = |job: &str, ceiling: &str| {
        format!(
            "<!-- VIBE_SESSION_CONTRACT\njob_id: {job}\nbudget:\n  ceiling_usd: {ceiling}\n  intensity: quick\n  hard_ceiling: true\n-->\n"
        )
    };
    let prompt = format!("{}{REPORTS}", block("VB-20260404-042", "2"));
    let done = shop.run(&["--budget", "9"], &prompt).success();
    let report = shop.report(&done);
    assert_eq!(job(&report), "VB-20260404-042");
    assert_eq!(shop.contract("plan", 1)["budget"]["ceiling_usd"], 2.0);
    assert_eq!(shop.contract("plan", 1)["budget"]["hard_ceiling"], true);

    let around = block("OUTER-1", "0.5");
    let mut run = shop
        .fleet(&["run", "-p"])
        .arg(format!("{}{REPORTS}", block("INNER-1", "2")));
    run = run.env("FLEET_CONTRACT", around);
    assert_eq!(job(&shop.report(&run.output().success())), "INNER-1");
    assert_eq!(shop.contract("plan", 2)["budget"]["ceiling_usd"], 0.5);
    // What a stage starts itself is told of the stage's own contract.
    let told = shop.told("implement", 2);
    let own = told.split("== FLEET_CONTRACT").nth(1).expect("a variable");
    assert!(own.contains("ceiling_usd: 0.49"), "{own}");
}

#[test]
fn a_contract_that_cannot_be_obeyed_starts_nothing() {
    let shop = Shop::new();
    let block = |line: &str| format!("<!-- VIBE_SESSION_CONTRACT\njob_id: x\nbudget:\n  {line}\n-->\nDo it.");
    for line in [
        "ceiling_usd: 0",
        "ceiling_usd: .nan",
        "ceiling_usd: 1e308",
        "ceiling_usd: -5",
        "intensity: much",
    ] {
        let _ = shop.run(&[], &block(line)).fails(BAD_BLOCK);
        let _ = shop
            .fleet(&["run", "-p", "x"])
            .env("FLEET_CONTRACT", block(line))
            .output()
            .fails(BAD_BLOCK);
    }
    let _ = shop.run(&[], &block("ceiling_usd: 5")[..40]).fails(BAD_BLOCK);
    for budget in ["0", "-5", "NaN", "1e308", "inf"] {
        let _ = shop.run(&[&format!("--budget={budget}")], "x").fails(USAGE);
    }
    assert!(shop.stage.paid().is_empty());
    let runs: Value = shop.fleet(&["status", "--all", "--json"]).output().success().json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(0), "{runs}");
    shop.stage.env.assert_nothing_left();
}

#[test]
fn the_protocol_is_off_unless_the_file_says_otherwise() {
    let shop = Shop::with("checks: {steps: []}");
    let done = shop.run(&["--intensity", "quick"], "Do it.\n!say I looked.").success();
    assert!(done.stderr.contains("stages get no contract"), "{done}");
    let told = shop.told("implement", 1);
    let prompt = told.split("== FLEET_TASK").next().expect("a prompt");
    assert!(!prompt.contains("<!--"), "{prompt}");
    assert!(
        prompt.contains("## What the stage `plan` answered\n\nI looked."),
        "{prompt}"
    );
    assert!(told.contains("== FLEET_TASK \n"), "{told}");

    let shop = Shop::with("fleet: {enabled: true, budget_protocol: true, task_sync: true}");
    let report = shop.report(&shop.run(&["--intensity", "quick", "--budget", "5"], REPORTS).success());
    let task = format!("{}-implement", job(&report));
    assert_eq!(report["fleet_activity"]["tasks"][1]["id"], task);
    let list: Value = shop.fleet(&["task", "list", "--json"]).output().success().json();
    let tasks = list["tasks"].as_array().expect("tasks").clone();
    let named = |external: &str| {
        tasks
            .iter()
            .find(|each| each["external"] == external)
            .unwrap_or_else(|| panic!("no {external}: {list}"))
            .clone()
    };
    let (whole, own) = (named(&job(&report)), named(&task));
    let own_id = own["id"].as_str().expect("an id");
    assert!(shop.told("implement", 1).contains(&format!("== FLEET_TASK {own_id}\n")));
    assert_eq!(
        (&own["parent"], &own["status"], &own["crew"]),
        (&whole["id"], &"completed".into(), &"implement".into())
    );
    assert_eq!(whole["status"], "completed");
    let stages = report["fleet_activity"]["tasks"].as_array().map_or(0, Vec::len);
    // Each of the stages leaves the same thing to do: that is one task.
    let promoted = tasks.iter().filter(|each| each["title"] == "Tidy up").count();
    assert_eq!((promoted, tasks.len()), (1, stages + 2), "{list}");
    let cost: Value = shop
        .fleet(&["task", "show", own_id, "--json"])
        .output()
        .success()
        .json();
    let used = cost["own_cost"]["usd"].as_f64();
    assert!(
        used.is_some_and(|used| used > 0.0),
        "what the stage used is counted there: {cost}"
    );
    assert_eq!(shop.contract("implement", 1)["stage"], "implement");
}

#[test]
fn agents_and_plans_that_are_started_under_a_contract_are_within_it() {
    let shop = Shop::new();
    let block = |lines: &str| format!("<!-- VIBE_SESSION_CONTRACT\njob_id: x\nbudget:\n{lines}-->");
    let start = |contract: String, args: &[&str]| shop.fleet(args).env("FLEET_CONTRACT", contract).output();
    let one = ["create", "a", "--headless", "-p", "Do it.\n!call Read 9\n!sleep 60000"];
    let _ = start(block("  ceiling_usd: -5\n"), &one).fails(BAD_BLOCK);
    let three = ["fanout", "3", "b", "--headless", "-p", "Do it."];
    let refused = start(block("  ceiling_usd: 5\n  max_crew_dispatches: 2\n"), &three).fails(OVER_BUDGET);
    assert!(
        refused
            .stderr
            .contains("allows 2 dispatches, and 3 agents would be started"),
        "{refused}"
    );
    assert!(shop.stage.paid().is_empty());

    let limits = "  ceiling_usd: 0.5\n  max_tool_calls: 3\n  hard_ceiling: true\n";
    let _ = start(block(limits), &one).success();
    let ended = wait_until(LONG, "its end", || {
        let list: Value = shop.fleet(&["list", "--json"]).output().success().json();
        Some(list["agents"][0].clone()).filter(|agent| !agent["outcome"].is_null())
    });
    assert_eq!(ended["outcome"], "budget", "{ended}");
    assert!(
        shop.told("?", 1).contains("max_tool_calls: 3"),
        "and so would what it starts itself"
    );

    shop.stage.dag(&[("w", &[], "!cost 0.01")]);
    let root = shop.stage.root.display().to_string();
    let _ = start(block("  ceiling_usd: 0.25\n  hard_ceiling: true\n"), &["launch", &root]).fails(FAILED);
    let run = shop.stage.status();
    assert_eq!(
        (&run["state"], &run["cap_usd"]),
        (&"over budget".into(), &0.25.into()),
        "{run}"
    );
}

#[test]
fn a_pipeline_within_a_stage_is_in_the_report_around_it_and_each_request_finds_what_is_left() {
    let file = "pipelines:\n  outer: {stages: [{name: plan}, {name: implement}]}\n  inner: {stages: [{name: docs, \
                prompt: Write it down.}]}\nfleet: {enabled: true, budget_protocol: true}\n";
    let shop = Shop::with(file);
    let _ = shop.stage.env.git(&shop.repo, ["add", "vibe.yaml"]).success();
    let _ = shop
        .stage
        .env
        .git(&shop.repo, ["commit", "--quiet", "-m", "stages"])
        .success();
    let fleet = fleet_testkit::binary("fleet").display().to_string();
    let inner = |flags: &str| {
        let prompt = "$(printf 'Docs.\\n!at docs cost 0.3')";
        format!("!at implement run {fleet} run --pipeline inner {flags} -p \"{prompt}\" >>\"$HOME/inner\" 2>&1")
    };
    let (one, two) = (inner(""), inner("--budget 9"));
    let prompt = format!("Do it.\n!at plan cost 0.1\n!at implement cost 0.2\n{one}\n{two}");
    let done = shop.run(&["--pipeline", "outer", "--budget", "2", "--digs", "5"], &prompt);
    let said = fs::read_to_string(shop.stage.env.home().join("inner")).unwrap_or_default();
    let report = shop.report(&done.success());
    let tasks = &report["fleet_activity"]["tasks"];
    assert_eq!(
        (
            &report["execution"]["total_cost_usd"],
            &tasks[0]["cost_usd"],
            &tasks[1]["cost_usd"]
        ),
        (&0.9.into(), &0.1.into(), &0.8.into()),
        "{report:#}\n{said}"
    );
    assert_eq!(report["budget_utilization"]["cost_pct"], 45.0);
    let ceiling = |time| shop.contract("docs", time)["budget"]["ceiling_usd"].clone();
    assert_eq!((ceiling(1), ceiling(2)), (1.9.into(), 1.6.into()), "{said}");
    let digs = &shop.contract("docs", 2)["budget"]["max_crew_dispatches"];
    assert_eq!(digs, 0, "the first one has had all");
}

#[test]
fn what_an_earlier_request_has_of_a_contract_a_later_one_has_not() {
    let shop = Shop::new();
    let contract = "<!-- VIBE_SESSION_CONTRACT\njob_id: x\nbudget:\n  ceiling_usd: 1\n  max_tool_calls: 10\n-->";
    let create = |args: &[&str]| {
        let create = shop.fleet(&["create"]).args(args);
        create.env("FLEET_CONTRACT", contract).output()
    };
    let first = ["a", "--headless", "--budget", "0.6", "-p", "!cost 0.25\n!sleep 3000"];
    let _ = create(&first).success();
    // Of the money the rest is free, of the calls nothing: the first one has taken all that it may need.
    let _ = create(&["b", "--headless", "-p", "!cost 0.1", "--wait", "exited"]).success();
    let told = shop.told("?", 2);
    assert!(
        told.contains("ceiling_usd: 0.4") && told.contains("max_tool_calls: 0"),
        "{told}"
    );
    let _ = shop.fleet(&["wait", "a", "--until", "exited"]).output().success();
    // What the ones before have not used is free again.
    let _ = create(&["c", "--headless", "-p", "!cost 0.1\n!sleep 60000"]).success();
    wait_until(LONG, "what it was told", || {
        let path = format!("{}.told/?-3", shop.stage.ledger.display());
        let told = fs::read_to_string(path).ok()?;
        told.contains("ceiling_usd: 0.65").then_some(())
    });
    let refused = create(&["d", "--headless", "-p", "!cost 0.1"]).fails(OVER_BUDGET);
    let words = "the contract of job x has no money left";
    assert!(refused.stderr.contains(words), "{refused}");
    let _ = shop.fleet(&["kill", "*", "--force"]).output().success();
}

#[test]
fn a_file_with_mistakes_starts_nothing() {
    let shop = Shop::with("pipelines: {a: {stages: [{name: plan, gate: [none]}]}}");
    let done = shop.run(&["--pipeline", "a"], "x").fails(BAD_BLOCK);
    assert!(done.stderr.contains("there is no check `none` (C051)"), "{done}");
    let shop = Shop::with("fleet: {}");
    let done = shop.run(&["--pipeline", "featur"], "x").fails(USAGE);
    assert!(done.stderr.contains("did you mean `feature`?"), "{done}");
    assert!(shop.stage.paid().is_empty());
}

#[test]
fn a_start_that_is_cut_off_is_asked_for_again_and_nothing_is_paid_for_twice() {
    let shop = Shop::with("pipelines: {one: {stages: [{name: plan}]}}");
    for (number, site) in ["run.folder", "run.mark", "run.cap", "run.record"]
        .into_iter()
        .enumerate()
    {
        for when in ["before", "after"] {
            let job = format!("J-{number}-{when}");
            let run = || {
                shop.fleet(&[
                    "run",
                    "--pipeline",
                    "one",
                    "--budget",
                    "1",
                    "--job",
                    &job,
                    "-p",
                    "Do it.",
                ])
            };
            let cut = run().env("FLEET_FAULT", format!("{site}:{when}")).output();
            assert!(!cut.status.success(), "{site}: {cut}");
            let report = shop.report(&run().output().success());
            assert_eq!(
                (status(&report), &report["execution"]["total_cost_usd"]),
                ("completed", &0.01.into()),
                "{site}"
            );
            assert_eq!(
                report["budget_utilization"]["cost_pct"], 1.0,
                "it is never without its ceiling"
            );
        }
    }
    assert_eq!(shop.stage.paid().len(), 8);
}

#[test]
fn what_came_of_stages_is_recorded_also_when_the_driver_is_killed_over_it() {
    for point in [
        "run.task-report:before",
        "run.task-report:after",
        "run.task-end:before",
        "run.task-end:after",
    ] {
        let shop = Shop::with("fleet: {enabled: true, budget_protocol: true, task_sync: true}");
        let run = || shop.fleet(&["run", "--job", "J-1", "--intensity", "quick", "-p", REPORTS]);
        let hit = shop.stage.env.root().join("hit");
        let first = run()
            .arg("--detach")
            .env("FLEET_FAULT", point)
            .env("FLEET_FAULT_HIT", &hit);
        let _ = first.output();
        wait_until(LONG, point, || hit.exists().then_some(()));
        let _ = run().output();
        let list: Value = shop.fleet(&["task", "list", "--json"]).output().success().json();
        let tasks = list["tasks"].as_array().expect("tasks");
        let part = |each: &&Value| {
            each["external"]
                .as_str()
                .is_some_and(|external| external.starts_with("J-1"))
        };
        let standings: Vec<&Value> = tasks.iter().filter(part).map(|each| &each["status"]).collect();
        assert!(
            standings.len() >= 3 && standings.iter().all(|each| *each == "completed"),
            "{point}: {list}"
        );
        assert_eq!(
            tasks.iter().filter(|each| each["title"] == "Tidy up").count(),
            1,
            "{point}: {list}"
        );
        let paid = shop.stage.paid();
        assert_eq!(
            paid.len(),
            standings.len() - 1,
            "{point}: no stage was paid for twice: {paid:?}"
        );
    }
}

#[test]
fn a_driver_that_is_killed_has_a_successor_and_no_stage_is_done_twice() {
    let shop = Shop::new();
    let args = ["run", "--detach", "--job", "J-1", "--intensity", "quick", "-p"];
    let _ = shop
        .fleet(&args)
        .arg(format!("{REPORTS}\n!at implement sleep 1500"))
        .output()
        .success();
    shop.stage.wait_noted("paid implement 1");
    let drives = |process: &fleet_testkit::scan::Process| process.argv.iter().any(|arg| arg == "__drive");
    let drivers = shop.stage.env.own_processes();
    for driver in drivers.iter().filter(|process| drives(process)) {
        fleet_testkit::kill_process(driver.pid);
    }
    let report = shop.report(&shop.fleet(&["run", "--job", "J-1"]).output().success());
    assert_eq!(status(&report), "completed");
    assert_eq!(
        shop.stage.paid(),
        ["paid plan 1", "paid implement 1", "paid validate 1"]
    );
}

#[test]
fn a_job_that_is_paused_starts_no_stage_until_it_is_resumed() {
    let shop = Shop::new();
    let args = ["run", "--detach", "--job", "J-1", "--intensity", "quick", "-p"];
    let _ = shop
        .fleet(&args)
        .arg(format!("{REPORTS}\n!at plan sleep 500"))
        .output()
        .success();
    shop.stage.wait_noted("paid plan 1");
    let _ = shop.fleet(&["pause", "J-1"]).output().success();
    shop.stage.wait_noted("done plan 1");
    let waiting = wait_until(LONG, "the end of the stage", || {
        Some(shop.status("J-1")).filter(|run| run["workers"][0]["state"] == "done")
    });
    assert_eq!(
        (&waiting["state"], &waiting["type"]),
        (&"paused".into(), &"pipeline".into())
    );
    assert_eq!(shop.stage.paid(), ["paid plan 1"]);
    let _ = shop.fleet(&["resume", "--run", "J-1"]).output().success();
    wait_until(LONG, "the end", || {
        Some(()).filter(|()| shop.status("J-1")["state"] == "done")
    });
}

#[test]
fn a_job_that_is_stopped_is_cancelled_and_goes_on() {
    let shop = Shop::new();
    let args = ["run", "--detach", "--job", "J-1", "--intensity", "quick", "-p"];
    let _ = shop
        .fleet(&args)
        .arg(format!("{REPORTS}\n!at plan first 1 sleep 60000"))
        .output()
        .success();
    shop.stage.wait_noted("paid plan 1");
    let stopped = shop.fleet(&["stop", "J-1"]).output().success();
    assert!(stopped.stderr.contains("fleet run --job J-1"), "{stopped}");
    let done = shop.fleet(&["run", "--job", "J-1", "--json"]).output().success();
    let answer: Value = done.json();
    assert_eq!(status(&answer["report"]), "completed");
    assert_eq!(
        shop.stage.paid(),
        ["paid plan 1", "resumed plan 1", "paid implement 1", "paid validate 1"]
    );
}
