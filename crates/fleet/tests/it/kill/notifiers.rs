//! The notifiers of the config: an argv, once per transition, JSON on standard input, ten seconds to live.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use fleet_testkit::{TestEnv, wait_until};
use serde_json::Value;

use crate::drive::{LONG, agent, answer, create, fleet, journal, text, turn, wait_for_prompt};

/// A program that appends its arguments and its standard input to a file of one line a run.
fn recorder(env: &TestEnv) -> PathBuf {
    let script = env.root().join("notifier");
    let log = log_of(env);
    let text = format!(
        "#!/bin/sh\nbody=$(cat)\nprintf '{{\"arg\":\"%s\",\"body\":%s}}\\n' \"$1\" \"$body\" >> {}\n",
        log.display()
    );
    fs::write(&script, text).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("set");
    script
}

fn log_of(env: &TestEnv) -> PathBuf {
    env.root().join("notified")
}

fn notified(env: &TestEnv) -> Vec<Value> {
    let text = fs::read_to_string(log_of(env)).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON on standard input"))
        .collect()
}

#[test]
fn notifiers_run_exactly_once_per_transition() {
    let env = TestEnv::new();
    let script = recorder(&env);
    let script = script.display();
    env.config_with_scripted(&format!(
        "on_idle = [\"{script}\", \"a word; $HOME\"]\non_exit = [\"{script}\", \"exit\"]\n"
    ));
    let repo = env.repo("repo", 3);
    let record = create(&env, &repo, "told");
    turn(&env, &repo, "told", "print one");
    turn(&env, &repo, "told", "print two");
    wait_until(LONG, "two notices", || (notified(&env).len() >= 2).then_some(()));
    let _ = answer(&env, &repo, ["kill", "told"]);
    // The kill has waited for the notifier of the end as well.
    let told = notified(&env);
    let hooks: Vec<String> = told.iter().map(|each| text(&each["body"]["hook"])).collect();
    assert_eq!(hooks, ["on_idle", "on_idle", "on_exit"], "{told:?}");
    for each in &told {
        let body = &each["body"];
        assert_eq!(body["agent"], record["id"], "{each}");
        assert_eq!(body["branch"], "told", "{each}");
        assert_eq!(body["harness"], "scripted", "{each}");
        assert_eq!(body["worktree"], record["worktree"], "{each}");
        assert!(body["at"].is_string() && body["previous"].is_string(), "{each}");
    }
    assert_eq!(told[0]["arg"], "a word; $HOME", "an argv, never a shell line");
    assert_eq!(told[0]["body"]["state"], "idle");
    assert!(text(&told[2]["body"]["state"]).starts_with("exited("), "{told:?}");
    env.assert_nothing_left();
}

#[test]
fn the_end_of_a_program_is_told_once_and_a_resume_tells_of_its_own() {
    let env = TestEnv::new();
    let script = recorder(&env);
    env.config_with_scripted(&format!("on_exit = [\"{}\"]\n", script.display()));
    let repo = env.repo("repo", 3);
    let _ = create(&env, &repo, "ends");
    // Its receipt may be lost with the program, and then the prompt is honestly unverified.
    let _ = fleet(&env, &repo, ["prompt", "ends", "exit 3"]).output();
    wait_until(LONG, "the notice", || (!notified(&env).is_empty()).then_some(()));
    assert_eq!(notified(&env)[0]["body"]["state"], "exited(3)");
    let _ = answer(&env, &repo, ["resume", "ends"]);
    wait_for_prompt(&env, "ends");
    assert_eq!(notified(&env).len(), 1);
    let _ = answer(&env, &repo, ["kill", "ends"]);
    assert_eq!(notified(&env).len(), 2);
    env.assert_nothing_left();
}

#[test]
fn a_notifier_that_hangs_is_killed_with_what_it_started_and_troubles_nobody() {
    let env = TestEnv::new();
    let script = env.root().join("hangs");
    fs::write(&script, "#!/bin/sh\nsleep 4242 &\nsleep 4242\n").expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("set");
    env.config_with_scripted(&format!("on_idle = [\"{}\"]\n", script.display()));
    let repo = env.repo("repo", 3);
    let record = create(&env, &repo, "busy");
    turn(&env, &repo, "busy", "print one");
    let sleepers = || {
        let all = env.own_processes().into_iter();
        all.filter(|process| process.argv == ["sleep", "4242"]).count()
    };
    wait_until(LONG, "the notifier", || (sleepers() == 2).then_some(()));
    // The agent goes on meanwhile.
    turn(&env, &repo, "busy", "print two");
    wait_until(Duration::from_secs(40), "the end of both notifiers", || {
        (sleepers() == 0).then_some(())
    });
    let id = text(&record["id"]);
    wait_until(LONG, "their ends in the journal", || {
        let ends: Vec<Value> = journal(&env, &id)
            .into_iter()
            .filter(|entry| entry["fact"] == "notified")
            .collect();
        assert!(
            ends.iter().all(|end| end["hook"] == "on_idle" && end["code"].is_null()),
            "{ends:?}"
        );
        (ends.len() == 2).then_some(())
    });
    assert_eq!(agent(&env, "busy")["pid"], record["pid"]);
    let _ = answer(&env, &repo, ["kill", "busy"]);
    env.assert_nothing_left();
}

#[test]
fn a_notifier_that_is_not_there_troubles_nobody() {
    let env = TestEnv::new();
    env.config_with_scripted("on_idle = [\"no-such-notifier\"]\non_exit = [\"/bin/false\"]\n");
    let repo = env.repo("repo", 3);
    let _ = create(&env, &repo, "calm");
    turn(&env, &repo, "calm", "print one");
    let _ = answer(&env, &repo, ["kill", "calm"]);
    env.assert_nothing_left();
}
