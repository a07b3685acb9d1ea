//! Checks in the worktrees of agents, and which of them is the best.

use std::fs;
use std::path::PathBuf;

use fleet_testkit::TestEnv;
use serde_json::Value;

use crate::drive::{answer, fleet, listed_by, refusal, text};

/// A repository with a batch of agents, `t-A1` and on.
struct Stage {
    env: TestEnv,
    repo: PathBuf,
    batch: String,
}

impl Stage {
    fn new(count: usize) -> Stage {
        let env = TestEnv::new();
        env.config_with_scripted("");
        let repo = env.repo("repo", 2);
        let made = answer(&env, &repo, ["fanout", &count.to_string(), "t"]);
        let batch = text(&made["batch_id"]);
        Stage { env, repo, batch }
    }

    fn worktree(&self, number: usize) -> PathBuf {
        self.env.fleet_home().join(format!("worktrees/t-A{number}"))
    }

    fn write(&self, number: usize, file: &str, content: &str) {
        fs::write(self.worktree(number).join(file), content).expect("written");
    }

    fn end(self) {
        let _ = fleet(&self.env, &self.repo, ["kill", "*", "--force"]).output();
        self.env.assert_nothing_left();
    }
}

/// `branch passed` in the order of the answer.
fn places(answer: &Value) -> Vec<String> {
    let agents = answer["agents"]
        .as_array()
        .unwrap_or_else(|| panic!("agents: {answer}"));
    agents
        .iter()
        .map(|agent| format!("{} {}", text(&agent["branch"]), agent["passed"]))
        .collect()
}

/// Prints a summary as cargo does, from the file `tests` of the worktree, and ends with the code in the file `code`.
const CHECK: &str = "n=$(cat tests 2>/dev/null || echo 0); \
    echo \"test result: ok. $n passed; $(cat failed 2>/dev/null || echo 0) failed; 0 ignored\"; \
    touch dropped-by-the-check; exit $(cat code 2>/dev/null || echo 0)";

#[test]
fn the_check_decides_then_the_tests_then_the_size_and_doing_nothing_wins_nothing() {
    let stage = Stage::new(5);
    // 1 does nothing, and so passes; 2 fails; 3 passes 9 tests; 4 passes 7 with the smaller change; 5 as 4, larger.
    stage.write(2, "code", "1\n");
    stage.write(2, "tests", "50\n");
    stage.write(2, "failed", "1\n");
    stage.write(3, "tests", "9\n");
    stage.write(3, "large.txt", &"line\n".repeat(300));
    stage.write(4, "tests", "7\n");
    stage.write(5, "tests", "7\n");
    stage.write(5, "more.txt", "1\n2\n3\n");
    let _ = stage.env.git(&stage.worktree(5), ["add", "--all"]).success();
    let _ = stage
        .env
        .git(&stage.worktree(5), ["commit", "--quiet", "-m", "done"])
        .success();
    let ranked = answer(
        &stage.env,
        &stage.repo,
        ["rank", &stage.batch, "--check", CHECK, "--jobs", "3"],
    );
    let wanted = ["t-A3 true", "t-A4 true", "t-A5 true", "t-A1 true", "t-A2 false"];
    assert_eq!(places(&ranked), wanted, "{ranked}");
    assert_eq!(ranked["best"], "t-A3");
    assert_eq!(ranked["because"], "more tests pass");
    let best = &ranked["agents"][0];
    assert_eq!(best["tests"]["passed"], 9);
    assert_eq!(
        (best["files"].as_u64(), best["added"].as_u64()),
        (Some(2), Some(301)),
        "{best}"
    );
    assert_eq!(best["cost_usd"], Value::Null, "what is not known is not 0");
    assert_eq!(
        ranked["agents"][3]["files"], 0,
        "what a check leaves is no work: {ranked}"
    );
    assert_eq!(ranked["agents"][4]["exit_code"], 1);
    assert!(text(&ranked["agents"][4]["output"]).contains("1 failed"), "{ranked}");
    let page = fleet(&stage.env, &stage.repo, ["rank", "t-A*", "--check", "true"])
        .output()
        .success();
    assert!(
        page.stdout
            .lines()
            .nth(1)
            .is_some_and(|line| line.starts_with("best  t-A4")),
        "{page}"
    );
    assert!(page.stdout.contains("the best is `t-A4`: the smaller change"), "{page}");
    // Nor does it keep a branch from being merged.
    let merged = answer(&stage.env, &stage.repo, ["merge", "t-A5"]);
    assert_eq!(merged["branches"][0]["fate"], "landed", "{merged}");
    stage.end();
}

#[test]
fn the_others_end_when_only_the_best_is_kept_and_their_work_is_saved() {
    let stage = Stage::new(3);
    stage.write(1, "good.txt", "x\n");
    stage.write(2, "bad.txt", "unsaved\n");
    let check = "test ! -e bad.txt";
    let ranked = answer(
        &stage.env,
        &stage.repo,
        ["rank", "--batch", &stage.batch, "--check", check, "--keep-best"],
    );
    assert_eq!(ranked["best"], "t-A1");
    assert_eq!(listed_by(&stage.env, "branch"), ["t-A1"]);
    let ended = ranked["ended"].as_array().expect("the others");
    assert_eq!(ended.len(), 2, "{ranked}");
    let saved: Vec<&Value> = ended
        .iter()
        .filter(|each| each["ended"]["salvage"]["id"].is_string())
        .collect();
    assert_eq!(saved.len(), 1, "{ranked}");
    assert_eq!(saved[0]["branch"], "t-A2");
    for branch in ["t-A2", "t-A3"] {
        assert!(
            !stage
                .env
                .git(&stage.repo, ["branch", "--list", branch])
                .success()
                .stdout
                .is_empty()
        );
    }
    stage.end();
}

#[test]
fn nobody_is_ended_when_nobody_is_the_best() {
    let stage = Stage::new(2);
    let args = |check: &'static str| ["rank", "t-*", "--check", check, "--keep-best"];
    // Both pass, and both did nothing.
    let refused = refusal(&stage.env, &stage.repo, args("true"), 5);
    assert!(
        text(&refused["error"]["message"]).contains("changed nothing"),
        "{refused}"
    );
    stage.write(1, "a.txt", "x\n");
    stage.write(2, "a.txt", "x\n");
    let refused = refusal(&stage.env, &stage.repo, args("echo broken; exit 3"), 5);
    assert!(
        text(&refused["error"]["message"]).contains("passed nowhere"),
        "{refused}"
    );
    assert!(text(&refused["error"]["detail"]).contains("broken"), "{refused}");
    assert_eq!(listed_by(&stage.env, "branch"), ["t-A1", "t-A2"]);
    let failed = fleet(&stage.env, &stage.repo, ["rank", "t-*", "--check", "exit 3"])
        .output()
        .fails(1);
    assert!(failed.stdout.contains("no change passed the check"), "{failed}");
    stage.end();
}

#[test]
fn a_check_that_takes_too_long_has_failed_and_leaves_nothing_running() {
    let stage = Stage::new(2);
    stage.write(1, "a.txt", "x\n");
    stage.write(2, "slow", "x\n");
    let check = "if test -e slow; then (setsid sleep 1000 &); sleep 1000; fi";
    let ranked = answer(
        &stage.env,
        &stage.repo,
        ["rank", "t-*", "--check", check, "--timeout", "1"],
    );
    assert_eq!(places(&ranked), ["t-A1 true", "t-A2 false"]);
    assert_eq!(ranked["agents"][1]["exit_code"], Value::Null);
    assert_eq!(ranked["because"], "it alone passed the check");
    stage.end();
}

#[test]
fn what_cannot_be_ranked_is_refused() {
    let stage = Stage::new(1);
    let _ = refusal(&stage.env, &stage.repo, ["rank", "t-A1", "--check", " "], 2);
    let _ = refusal(&stage.env, &stage.repo, ["rank", "none", "--check", "true"], 3);
    let _ = refusal(&stage.env, &stage.repo, ["rank", "--check", "true"], 2);
    let _ = fleet(&stage.env, &stage.repo, ["create", "here", "--here"])
        .output()
        .success();
    let refused = refusal(&stage.env, &stage.repo, ["rank", "here", "--check", "true"], 5);
    assert!(
        text(&refused["error"]["message"]).contains("a directory of yours"),
        "{refused}"
    );
    stage.end();
}
