//! Many processes start agents at the same moment.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use fleet_testkit::{Background, Finished, TestEnv};
use serde_json::Value;

use crate::drive::{answer, fleet, listed, listed_by, text};

/// For all of them together, beside other load.
const ALL_OF_THEM: Duration = Duration::from_secs(240);

/// Starts every one of `branches` from a process of its own, all at once.
fn create_all(env: &TestEnv, repo: &Path, branches: &[String]) -> Vec<Finished> {
    let start = |branch: &String| fleet(env, repo, ["create", branch.as_str(), "--json"]).spawn();
    let running: Vec<Background> = branches.iter().map(start).collect();
    running.into_iter().map(|each| each.wait(ALL_OF_THEM)).collect()
}

fn kill_all(env: &TestEnv) {
    let killed: Value = fleet(env, env.root(), ["kill", "*", "--force", "--delete-branch", "--json"])
        .timeout(ALL_OF_THEM)
        .output()
        .success()
        .json();
    for each in killed["agents"].as_array().expect("a list") {
        assert!(each["error"].is_null(), "{each}");
    }
}

#[test]
fn a_hundred_creates_from_a_hundred_processes_lose_none() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 20);
    let mut branches: Vec<String> = (0..100).map(|n| format!("many-{n:03}")).collect();
    for finished in create_all(&env, &repo, &branches) {
        let _ = finished.success();
    }
    branches.sort();
    assert_eq!(listed_by(&env, "branch"), branches);
    let alive = listed(&env)
        .iter()
        .filter(|row| row["processes"].as_u64() >= Some(2))
        .count();
    assert_eq!(alive, 100, "each has its supervisor and its program");

    let state: Value = serde_json::from_slice(&std::fs::read(env.fleet_home().join("state.json")).expect("state.json"))
        .expect("state.json is JSON");
    let recorded: BTreeSet<String> = state
        .as_array()
        .expect("a list")
        .iter()
        .map(|each| text(&each["branch"]))
        .collect();
    assert_eq!(recorded, branches.into_iter().collect());

    let sessions = listed_by(&env, "session").into_iter().collect::<BTreeSet<_>>();
    assert_eq!(sessions.len(), 100, "each has a session name of its own");

    kill_all(&env);
    assert!(listed(&env).is_empty());
    env.assert_nothing_left();
}

#[test]
fn twenty_at_once_in_one_repository_fail_in_no_round() {
    let full = std::env::var_os("FLEET_TEST_FULL").is_some();
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 20);
    for round in 0..if full { 50 } else { 3 } {
        let branches: Vec<String> = (0..20).map(|n| format!("round-{round}-{n:02}")).collect();
        for finished in create_all(&env, &repo, &branches) {
            let _ = finished.success();
        }
        assert_eq!(listed_by(&env, "branch"), branches, "round {round}");
        kill_all(&env);
        assert!(listed(&env).is_empty(), "round {round}");
        let left = env.git(&repo, ["branch", "--list", "round-*"]).success().stdout;
        assert_eq!(left, "", "round {round}");
    }
    env.assert_nothing_left();
}

#[test]
fn fifty_agents_that_start_together_share_no_port() {
    let env = TestEnv::new();
    env.config_with_scripted_args("port_block = 10\n", &["--env-report", "env.json"]);
    let repo = env.repo("repo", 5);
    std::fs::write(repo.join(".gitignore"), "env.json\n").expect("written");
    env.commit_all(&repo, "ignore the report");
    // Two processes of 25 each: the blocks are dealt across processes, too.
    let start = |prefix: &str| fleet(&env, &repo, ["fanout", "25", prefix, "--json"]).spawn();
    let running = [start("left"), start("right")];
    let mut told: Vec<u64> = Vec::new();
    for each in running {
        let made: Value = each.wait(ALL_OF_THEM).success().json();
        for agent in made["agents"].as_array().expect("a list") {
            let port = agent["port_base"].as_u64().expect("a port");
            let report = Path::new(&text(&agent["worktree"])).join("env.json");
            let report = fleet_testkit::wait_until(Duration::from_secs(60), "the agent's report", || {
                serde_json::from_slice::<Value>(&std::fs::read(&report).ok()?).ok()
            });
            assert_eq!(report["fleet"]["FLEET_PORT_BASE"], port.to_string(), "{agent}");
            assert_eq!(report["fleet"]["FLEET_BRANCH"], agent["branch"]);
            assert_eq!(report["fleet"]["FLEET_AGENT"], agent["id"]);
            told.push(port);
        }
    }
    told.sort_unstable();
    assert_eq!(told.len(), 50);
    for pair in told.windows(2) {
        assert!(pair[1] - pair[0] >= 10, "two blocks overlap: {told:?}");
    }
    kill_all(&env);
    env.assert_nothing_left();
}

#[test]
fn two_creates_of_one_branch_at_once_make_one_agent() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 5);
    let same: Vec<String> = (0..8).map(|_| "same".to_owned()).collect();
    let ended = create_all(&env, &repo, &same);
    let made = ended.iter().filter(|each| each.status.success()).count();
    assert_eq!(made, 1, "{ended:?}");
    for refused in ended.into_iter().filter(|each| !each.status.success()) {
        let said: Value = refused.fails(4).json();
        assert_eq!(said["error"]["kind"], "conflict", "{said}");
    }
    assert_eq!(listed_by(&env, "branch"), ["same"]);
    kill_all(&env);
    env.assert_nothing_left();
}

#[test]
fn the_same_branch_in_two_repositories_is_two_agents_that_never_mix() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let (one, two) = (env.repo("one", 5), env.repo("two", 5));
    let start = |repo: &Path| {
        fleet(
            &env,
            repo,
            ["create", "same", "--wait", "ready", "--timeout", "60", "--json"],
        )
        .spawn()
    };
    let running = [start(&one), start(&two)];
    let made: Vec<Value> = running
        .into_iter()
        .map(|each| each.wait(ALL_OF_THEM).success().json())
        .collect();
    for field in ["id", "worktree", "session", "port_base"] {
        assert_ne!(made[0]["agents"][0][field], made[1]["agents"][0][field], "{field}");
    }
    crate::drive::turn(&env, &one, "same", "write who.txt one");
    crate::drive::turn(&env, &two, "same", "write who.txt two");
    crate::drive::turn(&env, env.root(), "two/same", "append who.txt again");
    let written = |made: &Value| {
        let folder = text(&made["agents"][0]["worktree"]);
        std::fs::read_to_string(Path::new(&folder).join("who.txt")).expect("its file")
    };
    assert_eq!(
        (written(&made[0]).as_str(), written(&made[1]).as_str()),
        ("one\n", "two\nagain\n")
    );

    // From outside both repositories the bare name is ambiguous, and nobody gets the prompt.
    let said = crate::drive::refusal(&env, env.root(), ["prompt", "same", "hello"], 2);
    let message = text(&said["error"]["message"]);
    assert!(
        message.contains("one/same") && message.contains("two/same"),
        "{message}"
    );
    assert_eq!(env.received().len(), 3);

    let _ = answer(&env, &one, ["kill", "same", "--force"]);
    assert_eq!(listed_by(&env, "repo_name"), ["two"]);
    let _ = answer(&env, &two, ["kill", "same", "--force"]);
    env.assert_nothing_left();
}
