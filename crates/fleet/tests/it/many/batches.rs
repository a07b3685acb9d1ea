//! `fanout` and `multi`: names first, a partial failure keeps the rest, a batch has a name of its own.

use fleet_testkit::TestEnv;
use serde_json::Value;

use crate::drive::{agent, answer, fleet, listed, listed_by, refusal, text, worktree};

fn branches(list: &Value) -> Vec<String> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|each| text(&each["branch"]))
        .collect()
}

/// Whether `id` is `<prefix>-` and eight hexadecimal digits.
fn is_random_batch(id: &str, prefix: &str) -> bool {
    let digits = id.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    digits.is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[test]
fn a_fanout_names_its_branches_and_gives_each_the_prompt() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 5);
    let made = answer(
        &env,
        &repo,
        [
            "fanout",
            "3",
            "race",
            "-p",
            "print hello",
            "--wait",
            "idle",
            "--timeout",
            "60",
        ],
    );
    assert_eq!(made["batch_id"], "race");
    assert_eq!(branches(&made["agents"]), ["race-A1", "race-A2", "race-A3"]);
    assert_eq!(made["failed"], Value::Array(Vec::new()));
    let received = env.received();
    assert_eq!(received.len(), 3, "{received:?}");
    assert!(received.iter().all(|each| each.text == "print hello"));

    let unnamed = answer(&env, &repo, ["fanout", "2"]);
    let batch = text(&unnamed["batch_id"]);
    assert!(is_random_batch(&batch, "fanout"), "{batch}");
    assert_eq!(
        branches(&unnamed["agents"]),
        [format!("{batch}-A1"), format!("{batch}-A2")]
    );

    let killed = answer(&env, &repo, ["kill", "--batch", "race", "--force"]);
    assert_eq!(branches(&killed["agents"]), ["race-A1", "race-A2", "race-A3"]);
    assert_eq!(listed_by(&env, "batch_id"), [batch.as_str(), batch.as_str()]);
    let _ = answer(&env, &repo, ["kill", "--batch", &batch, "--force"]);
    env.assert_nothing_left();
}

#[test]
fn a_fanout_checks_every_name_before_it_makes_anything() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 5);
    let _ = env.git(&repo, ["branch", "race-A3"]).success();
    let said = refusal(&env, &repo, ["fanout", "3", "race"], 4);
    assert!(text(&said["error"]["message"]).contains("race-A3"), "{said}");
    for bad in ["bad..name", "-x", "a b"] {
        let said = fleet(&env, &repo, ["fanout", "2", "--json", "--", bad])
            .output()
            .fails(2);
        assert!(
            said.stderr.contains("error:") && said.stderr.contains("hint:"),
            "{said}"
        );
    }
    assert!(listed(&env).is_empty());
    let all = env.git(&repo, ["branch", "--format=%(refname:short)"]).success().stdout;
    assert_eq!(all, "main\nrace-A3\n");
    env.assert_nothing_left();
}

#[test]
fn a_fanout_that_fails_in_part_keeps_the_rest_and_names_the_failed() {
    let env = TestEnv::new();
    // The user's own setup line fails on one branch only.
    env.config_with_scripted(
        "setup_commands = [\"case \\\"$(git branch --show-current)\\\" in *-A2) echo no luck; exit 7;; esac\"]\n",
    );
    let repo = env.repo("repo", 5);
    let made = refusal(&env, &repo, ["fanout", "3", "part"], 1);
    assert_eq!(branches(&made["agents"]), ["part-A1", "part-A3"]);
    assert_eq!(branches(&made["failed"]), ["part-A2"]);
    let error = &made["failed"][0]["error"];
    assert!(text(&error["detail"]).contains("no luck"), "{error}");
    assert_eq!(listed_by(&env, "branch"), ["part-A1", "part-A3"]);
    let all = env.git(&repo, ["branch", "--format=%(refname:short)"]).success().stdout;
    assert_eq!(all, "main\npart-A1\npart-A3\n", "the failed one left no branch");
    assert!(!env.fleet_home().join("worktrees/part-A2").exists());

    let page = fleet(&env, &repo, ["kill", "--batch", "part", "--force"])
        .output()
        .success();
    assert!(
        page.stdout.contains("part-A1") && page.stdout.contains("part-A3"),
        "{page}"
    );
    env.assert_nothing_left();
}

#[test]
fn a_fanout_whose_failures_are_shown_on_a_page_names_them_too() {
    let env = TestEnv::new();
    env.config_with_scripted(
        "setup_commands = [\"case \\\"$(git branch --show-current)\\\" in *-A1) echo no luck; exit 7;; esac\"]\n",
    );
    let repo = env.repo("repo", 5);
    let page = fleet(&env, &repo, ["fanout", "2", "part"]).output().fails(1);
    let all = format!("{}{}", page.stdout, page.stderr);
    for word in [
        "started part-A2",
        "not started part-A1",
        "no luck",
        "1 agent started, 1 not",
    ] {
        assert!(all.contains(word), "`{word}` is missing: {page}");
    }
    let _ = answer(&env, &repo, ["kill", "part-*", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn a_prefix_is_refused_while_a_live_batch_has_it() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 5);
    let _ = answer(&env, &repo, ["fanout", "1", "twice"]);
    let said = refusal(&env, &repo, ["fanout", "3", "twice"], 4);
    assert!(text(&said["error"]["message"]).contains("twice"), "{said}");
    assert!(said["error"]["hint"].is_string(), "{said}");
    assert_eq!(listed_by(&env, "branch"), ["twice-A1"]);
    let _ = answer(&env, &repo, ["kill", "--batch", "twice", "--delete-branch", "--force"]);
    let again = answer(&env, &repo, ["fanout", "1", "twice"]);
    assert_eq!(branches(&again["agents"]), ["twice-A1"]);
    let _ = answer(&env, &repo, ["kill", "--batch", "twice", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn harnesses_are_dealt_round() {
    let env = TestEnv::new();
    let agent = fleet_testkit::binary("scripted-agent");
    let agent = agent.display();
    env.config_with_scripted(&format!(
        "[harness.other]\ncommand = [\"{agent}\"]\nprompt = \"argv\"\nready = \"^> ?$\"\n"
    ));
    let repo = env.repo("repo", 5);
    let made = answer(&env, &repo, ["fanout", "5", "deal", "-a", "scripted,other"]);
    let harnesses: Vec<String> = made["agents"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|each| text(&each["agent"]))
        .collect();
    assert_eq!(harnesses, ["scripted", "other", "scripted", "other", "scripted"]);
    let said = refusal(&env, &repo, ["fanout", "2", "bad", "-a", "scripted,othr"], 2);
    assert!(text(&said["error"]["hint"]).contains("other"), "{said}");
    let _ = answer(&env, &repo, ["kill", "--batch", "deal", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn multi_gives_each_branch_its_own_prompt() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 5);
    let made = answer(
        &env,
        &repo,
        [
            "multi",
            "left:write who.txt left",
            "feature/right:print a:b",
            "--wait",
            "idle",
            "--timeout",
            "60",
        ],
    );
    assert!(is_random_batch(&text(&made["batch_id"]), "multi"), "{made}");
    assert_eq!(branches(&made["agents"]), ["left", "feature/right"]);
    let folder = worktree(&agent(&env, "left"));
    assert_eq!(
        std::fs::read_to_string(folder.join("who.txt")).expect("written"),
        "left\n"
    );
    let mut texts: Vec<String> = env.received().into_iter().map(|each| each.text).collect();
    texts.sort();
    assert_eq!(texts, ["print a:b", "write who.txt left"]);
    let _ = answer(&env, &repo, ["kill", "--batch", &text(&made["batch_id"]), "--force"]);
    env.assert_nothing_left();
}

#[test]
fn multi_reads_a_file_or_standard_input() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 5);
    let tasks = "# what there is to do\n\none:print 1\n  two:print 2\n";
    std::fs::write(env.root().join("tasks.txt"), tasks).expect("written");
    let made = answer(&env, &repo, ["multi", "--file", "../tasks.txt", "zero:print 0"]);
    let mut made = branches(&made["agents"]);
    made.sort();
    assert_eq!(made, ["one", "two", "zero"]);
    let made: Value = fleet(&env, &repo, ["multi", "--file", "-", "--json"])
        .stdin("three:print 3\n")
        .output()
        .success()
        .json();
    assert_eq!(branches(&made["agents"]), ["three"]);
    let _ = answer(&env, &repo, ["kill", "*", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn multi_checks_every_task_before_it_makes_anything() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 5);
    for (tasks, code) in [
        (["good:print 1", "no-prompt"], 2),
        (["good:print 1", "empty: "], 2),
        (["good:print 1", "a..b:print 2"], 2),
        (["good:print 1", "good:print 2"], 4),
        (["good:print 1", "main:print 2"], 4),
    ] {
        let said = refusal(&env, &repo, ["multi", tasks[0], tasks[1]], code);
        assert!(said["error"]["hint"].is_string(), "{said}");
    }
    let _ = refusal(&env, &repo, ["multi", "--file", "missing.txt"], 2);
    assert!(listed(&env).is_empty());
    assert_eq!(
        env.git(&repo, ["branch", "--format=%(refname:short)"]).success().stdout,
        "main\n"
    );
    env.assert_nothing_left();
}

#[test]
fn a_single_agent_is_in_the_batch_of_its_day() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 5);
    let record = answer(&env, &repo, ["create", "alone"]);
    let batch = text(&record["batch_id"]);
    let made = text(&record["agents"][0]["created_at"]);
    // Both are UTC, taken in one call; only midnight can fall between them.
    let day = batch.strip_prefix("manual-").expect("manual-YYYY-MM-DD");
    assert_eq!(day.len(), 10, "{batch}");
    assert!(made.starts_with(day), "{batch} and {made}");
    let _ = answer(&env, &repo, ["create", "beside"]);
    let grouped = fleet(&env, &repo, ["list", "--grouped"]).output().success();
    assert!(grouped.stdout.contains(&format!("{batch}: 2 agents")), "{grouped}");
    let _ = answer(&env, &repo, ["kill", "--batch", &batch, "--force"]);
    env.assert_nothing_left();
}
