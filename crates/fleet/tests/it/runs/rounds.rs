//! Plans with rounds: a reviewer that has to accept, and a number that is to get better.

use serde_json::{Value, json};

use super::stage::{Stage, events, states};

pub(super) fn iterative(stage: &Stage, stop: &Value, builder: &str, reviewer: &str) {
    let plan = json!({"fleet_name": "loop", "type": "iterative", "stop_when": stop, "workers": [
        {"id": "build", "type": "code-run"}, {"id": "judge", "type": "reviewer", "depends_on": ["build"]}]});
    let recipe = "Write your verdict to `iterations/<N>/review.md` with one of `verdict: lgtm`, `verdict: iterate`, \
                  `verdict: escalate`.";
    stage.plan(
        &plan,
        &[("build", builder), ("judge", &format!("{reviewer}\n{recipe}"))],
    );
}

#[test]
fn rounds_go_on_until_the_reviewer_accepts_and_the_builder_reads_what_it_said() {
    let stage = Stage::new();
    iterative(
        &stage,
        &json!({"max_iterations": 5, "reviewer_lgtm_count": 1}),
        "",
        "!verdict iterate iterate lgtm",
    );
    let done = stage.fleet(["launch", "root"]).output().success();
    assert!(done.stdout.contains("verdict: round 3: lgtm"), "{done}");
    let run = stage.status();
    assert_eq!((&run["state"], &run["round"]), (&json!("done"), &json!(3)));
    let verdicts: Vec<&str> = run["rounds"]
        .as_array()
        .expect("rounds")
        .iter()
        .filter_map(|round| round["verdict"].as_str())
        .collect();
    assert_eq!(verdicts, ["iterate", "iterate", "lgtm"]);
    assert_eq!(stage.paid().len(), 6);
    assert_eq!(
        stage.paid()[4],
        "paid build 3",
        "the third round is told to be the third"
    );
    assert!(
        stage
            .read("iterations/2/workers/build/session.jsonl")
            .contains("result")
    );
    assert_eq!(
        stage.read("workers/build/session.jsonl"),
        stage.read("iterations/3/workers/build/session.jsonl")
    );
}

#[test]
fn acceptance_has_to_come_in_a_row() {
    let stage = Stage::new();
    let stop = json!({"max_iterations": 5, "reviewer_lgtm_count": 2});
    iterative(&stage, &stop, "", "!verdict lgtm iterate lgtm lgtm");
    let _ = stage.fleet(["launch", "root"]).output().success();
    assert_eq!(stage.status()["round"], 4);
}

#[test]
fn the_last_round_ends_a_run_that_was_not_accepted() {
    let stage = Stage::new();
    iterative(
        &stage,
        &json!({"max_iterations": 2, "reviewer_lgtm_count": 1}),
        "",
        "!verdict iterate",
    );
    let done = stage.fleet(["launch", "root"]).output().fails(1);
    assert!(done.stdout.contains("finished: not accepted"), "{done}");
}

#[test]
fn a_missing_verdict_is_asked_for_once_more_in_the_same_conversation() {
    let stage = Stage::new();
    iterative(
        &stage,
        &json!({"max_iterations": 3, "reviewer_lgtm_count": 1}),
        "",
        "!verdict none\n!answer lgtm",
    );
    let _ = stage.fleet(["launch", "root"]).output().success();
    assert_eq!(stage.paid(), ["paid build 1", "paid judge 1", "asked judge 1"]);
}

#[test]
fn a_verdict_that_stays_unclear_counts_as_iterate() {
    let stage = Stage::new();
    iterative(
        &stage,
        &json!({"max_iterations": 2, "reviewer_lgtm_count": 1}),
        "",
        "!verdict two none\n!answer none",
    );
    let _ = stage.fleet(["launch", "root"]).output().fails(1);
    let run = stage.status();
    assert_eq!((&run["state"], &run["round"]), (&json!("not accepted"), &json!(2)));
    assert!(
        events(&run).iter().any(|event| event.contains("it counts as iterate")),
        "{run}"
    );
}

#[test]
fn escalate_waits_for_a_person_and_resume_goes_on() {
    let stage = Stage::new();
    iterative(
        &stage,
        &json!({"max_iterations": 3, "reviewer_lgtm_count": 1}),
        "",
        "!verdict escalate lgtm",
    );
    let done = stage.fleet(["launch", "root"]).output().fails(1);
    assert!(
        done.stdout
            .contains("paused: the reviewer asks for a person in round 1"),
        "{done}"
    );
    let run = stage.status();
    assert_eq!(
        (&run["state"], run["about"].as_str()),
        (&json!("paused"), Some("the reviewer asks for a person in round 1"))
    );
    let _ = stage.fleet(["resume", "root"]).output().success();
    let run = stage.wait_state("done");
    assert_eq!(run["round"], 2);
}

#[test]
fn the_stop_rule_may_be_changed_while_the_run_goes_on() {
    let stage = Stage::new();
    let stop = json!({"max_iterations": 50, "reviewer_lgtm_count": 1});
    iterative(&stage, &stop, "!sleep 300", "!verdict iterate");
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("paid build 2");
    let text = stage.read("fleet.json").replace("50", "2");
    stage.write("fleet.json", &text);
    let run = stage.wait_state("not accepted");
    assert_eq!(run["round"], 2);
    assert!(
        events(&run)
            .iter()
            .any(|event| event.contains("fleet.json was changed")),
        "{run}"
    );
}

#[test]
fn a_builder_that_failed_ends_the_round_without_a_review() {
    let stage = Stage::new();
    iterative(
        &stage,
        &json!({"max_iterations": 3, "reviewer_lgtm_count": 1}),
        "!fail 400",
        "!verdict lgtm",
    );
    let _ = stage.fleet(["launch", "root"]).output().fails(1);
    assert_eq!(states(&stage.status()), ["build failed", "judge skipped"]);
    assert_eq!(stage.paid(), ["paid build 1"]);
}

pub(super) fn research(stage: &Stage, rounds: u32, prompt: &str) {
    let work = stage.root.join("work");
    std::fs::create_dir_all(&work).expect("a folder");
    let git = |args: &[&str]| drop(stage.env.git(&work, args.iter().copied()).success());
    git(&["init", "--quiet", "-b", "main"]);
    std::fs::write(work.join("score"), "10\n").expect("written");
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "start"]);
    let plan = json!({"fleet_name": "search", "type": "autoresearch", "stop_when": {"max_iterations": rounds},
        "problem": {"workdir": "work", "eval_command": "echo \"score: $(tail -1 score)\"", "metric_regex": "score: ([0-9.]+)"},
        "search": {"plateau_threshold": 2}});
    stage.plan(&plan, &[]);
    stage.write("program.md", prompt);
}

#[test]
fn what_makes_the_number_better_is_kept_and_what_does_not_is_taken_back() {
    let stage = Stage::new();
    // Rounds 1 and 3 are better than what was there, round 2 is worse.
    research(&stage, 3, "Make it less.\n!append score $(nothing)\n!commit a change\n");
    stage.write(
        "program.md",
        "Make it less.\n!round 1 append score 8\n!round 2 append score 9\n!round 3 append score 5\n!commit a change\n",
    );
    let done = stage.fleet(["launch", "root"]).output().success();
    assert!(done.stdout.contains("settled: round 1: 8, kept"), "{done}");
    assert!(done.stdout.contains("settled: round 2: 9, taken back"), "{done}");
    assert_eq!(stage.read("work/score"), "10\n8\n5\n");
    let results = stage.read("work/results.tsv");
    let rows: Vec<Vec<&str>> = results
        .lines()
        .skip(1)
        .map(|line| line.split('\t').skip(1).collect())
        .collect();
    assert_eq!(
        rows,
        [
            ["8", "keep", "round 1: a change"],
            ["9", "discard", "round 2: a change"],
            ["5", "keep", "round 3: a change"]
        ]
    );
    let held = stage
        .env
        .git(
            &stage.root.join("work"),
            ["for-each-ref", "--format=%(refname)", "refs/fleet/run"],
        )
        .success();
    assert_eq!(
        held.stdout.lines().count(),
        3,
        "a change that was taken back is still there: {held}"
    );
    assert_eq!(stage.status()["rounds"][1]["kept"], false);
}

#[test]
fn a_measurement_without_a_number_is_a_crash_and_a_baseline_without_one_ends_the_run() {
    let stage = Stage::new();
    research(&stage, 1, "Break it.\n!write score broken\n");
    let _ = stage.fleet(["launch", "root"]).output().success();
    assert!(stage.read("work/results.tsv").contains("\t-\tcrash\t"));
    assert_eq!(stage.read("work/score"), "10\n");
    let other = Stage::new();
    research(&other, 1, "Make it less.\n");
    let text = other.read("fleet.json").replace("score: $(tail -1 score)", "nothing");
    other.write("fleet.json", &text);
    let done = other.fleet(["launch", "root"]).output().fails(1);
    assert!(done.stdout.contains("its output has no number"), "{done}");
    assert!(other.paid().is_empty(), "nothing is paid for before the state is known");
}

#[test]
fn a_workdir_with_changes_or_without_a_commit_is_refused() {
    let stage = Stage::new();
    research(&stage, 1, "Make it less.\n");
    std::fs::write(stage.root.join("work/new"), "x").expect("written");
    let done = stage.fleet(["launch", "root"]).output().fails(2);
    assert!(done.stderr.contains("has changes that are in no commit"), "{done}");
    std::fs::remove_dir_all(stage.root.join("work/.git")).expect("removed");
    let done = stage.fleet(["launch", "root"]).output().fails(2);
    assert!(done.stderr.contains("git init"), "{done}");
}
