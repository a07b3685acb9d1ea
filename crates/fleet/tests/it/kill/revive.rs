//! Lost, resumed, restarted: agents come back where they were, with what they were given.

use std::fs;
use std::path::Path;

use fleet_testkit::scan::{self, Process};
use fleet_testkit::{Cmd, TestEnv, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::drive::{
    LONG, agent, answer, create, fleet, listed, refusal, supervisor, text, turn, wait_for_prompt, worktree,
};

/// The power goes: every supervisor first, so that nobody can write a last word, then all the rest.
fn power_cut(env: &TestEnv, ids: &[String]) {
    for id in ids {
        let pid = supervisor(env, id);
        kill(
            Pid::from_raw(i32::try_from(pid).expect("a process id")),
            Signal::SIGKILL,
        )
        .expect("it runs");
    }
    env.end_processes();
    wait_until(LONG, "the end of everything", || {
        scan::processes(|process| process.mentions(env.root()))
            .is_empty()
            .then_some(())
    });
}

/// The same after the next boot, when process ids mean nothing any more.
fn rebooted(env: &TestEnv, cwd: &Path, args: &[&str]) -> Cmd {
    fleet(env, cwd, args).env("FLEET_TEST_BOOT_ID", "the-boot-after")
}

#[track_caller]
fn rebooted_answer(env: &TestEnv, cwd: &Path, args: &[&str]) -> Value {
    rebooted(env, cwd, args).arg("--json").output().success().json()
}

/// Ends the agent `id` as a crash would: its supervisor and its program, without a word.
fn lose(env: &TestEnv, id: &str) {
    let record = listed(env)
        .into_iter()
        .find(|row| row["id"] == id)
        .expect("it is listed");
    let program = u32::try_from(record["pid"].as_u64().expect("it runs")).expect("a process id");
    for pid in [supervisor(env, id), program] {
        // The program may have ended by the loss of its terminal already.
        let _ = kill(
            Pid::from_raw(i32::try_from(pid).expect("a process id")),
            Signal::SIGKILL,
        );
        wait_until(LONG, "its end", || Process::read(pid).is_none().then_some(()));
    }
}

#[test]
fn after_a_reboot_every_agent_comes_back() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let (one, two) = (env.repo("one", 3), env.repo("two", 3));
    let _ = answer(
        &env,
        &one,
        ["fanout", "4", "drill", "--wait", "ready", "--timeout", "60"],
    );
    let _ = create(&env, &two, "drill-A1");
    let plain = env.root().join("plain");
    fs::create_dir(&plain).expect("made");
    let _ = answer(
        &env,
        &plain,
        ["create", "here", "--here", "--wait", "ready", "--timeout", "60"],
    );
    turn(&env, &one, "drill-A1", "write before.txt before");
    let before = listed(&env);
    let ids: Vec<String> = before.iter().map(|row| text(&row["id"])).collect();
    assert_eq!(ids.len(), 6);
    power_cut(&env, &ids);

    let lost = rebooted_answer(&env, env.root(), &["list"]);
    let rows = lost["agents"].as_array().expect("a list");
    assert_eq!(rows.len(), 6, "none is lost from the list: {lost}");
    assert!(rows.iter().all(|row| row["state"] == "lost"), "{lost}");
    let said: Value = rebooted(&env, &one, &["prompt", "drill-A1", "hello", "--json"])
        .output()
        .fails(5)
        .json();
    assert!(text(&said["error"]["hint"]).contains("fleet resume drill-A1"), "{said}");

    let resumed = rebooted_answer(&env, env.root(), &["resume", "--all"]);
    assert_eq!(resumed["agents"].as_array().map(Vec::len), Some(6), "{resumed}");
    assert_eq!(resumed["failed"], Value::Array(Vec::new()), "{resumed}");
    for id in &ids {
        let sent = rebooted_answer(
            &env,
            env.root(),
            &["prompt", id, "--wait=idle", "-m", "write after.txt after"],
        );
        assert_eq!(sent["sent"][0]["outcome"], "delivered", "{sent}");
    }
    for row in &before {
        assert_eq!(
            fs::read_to_string(worktree(row).join("after.txt")).expect("written"),
            "after\n"
        );
    }
    assert_eq!(
        fs::read_to_string(worktree(&before[0]).join("before.txt")).expect("kept"),
        "before\n"
    );
    let rows = rebooted_answer(&env, env.root(), &["list"]);
    for (old, new) in before.iter().zip(rows["agents"].as_array().expect("a list")) {
        for same in [
            "id",
            "branch",
            "worktree",
            "session",
            "batch_id",
            "port_base",
            "created_at",
        ] {
            assert_eq!(old[same], new[same], "{same}");
        }
        assert_ne!(old["pid"], new["pid"]);
        assert_eq!(new["generation"], 2, "{new}");
    }
    let again = rebooted(&env, env.root(), &["resume", "--all"]).output().success();
    assert!(again.stdout.contains("there is nothing to resume"), "{again}");

    let _ = rebooted_answer(&env, env.root(), &["kill", "*", "--force"]);
    fs::remove_dir_all(&plain).expect("removed");
    env.assert_nothing_left();
}

#[test]
fn a_prompt_that_waited_at_the_crash_is_delivered_after_the_resume() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let id = text(&create(&env, &repo, "queue")["id"]);
    let _ = answer(&env, &repo, ["prompt", "queue", "sleep 600000"]);
    let _ = answer(&env, &repo, ["wait", "queue", "--until", "working", "--timeout", "60"]);
    let queued = answer(&env, &repo, ["prompt", "queue", "write later.txt later"]);
    assert_eq!(queued["sent"][0]["outcome"], "queued", "{queued}");
    lose(&env, &id);
    let _ = answer(&env, &repo, ["resume", "queue"]);
    let file = worktree(&agent(&env, "queue")).join("later.txt");
    wait_until(LONG, "the queued prompt", || {
        fs::read_to_string(&file).ok().filter(|text| text == "later\n")
    });
    let texts: Vec<String> = env.received().into_iter().map(|each| each.text).collect();
    assert_eq!(texts, ["sleep 600000", "write later.txt later"], "each exactly once");
    let _ = answer(&env, &repo, ["kill", "queue", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn a_resume_sweeps_what_the_crash_has_left_running() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let id = text(&create(&env, &repo, "swept")["id"]);
    turn(&env, &repo, "swept", "spawn double 600000");
    let helpers = || {
        let all = env.own_processes().into_iter();
        all.filter(|process| process.argv.iter().any(|arg| arg == "--helper"))
            .count()
    };
    assert_eq!(helpers(), 1);
    lose(&env, &id);
    let _ = answer(&env, &repo, ["resume", "swept"]);
    assert_eq!(helpers(), 0);
    let _ = answer(&env, &repo, ["kill", "swept"]);
    env.assert_nothing_left();
}

#[test]
fn a_restart_goes_on_and_a_fresh_one_starts_anew() {
    let env = TestEnv::new();
    let agent_path = fleet_testkit::binary("scripted-agent");
    // A flag that changes nothing stands for a harness's way to go on with a conversation.
    env.write_config(&format!(
        "default_agent = \"scripted\"\n[harness.scripted]\ncommand = [\"{}\"]\nprompt = \"paste\"\n\
         ready = \"^> ?$\"\nresume = [\"--seed\", \"7\"]\n",
        agent_path.display()
    ));
    let repo = env.repo("repo", 3);
    let first = create(&env, &repo, "again");
    turn(&env, &repo, "again", "write kept.txt kept");
    let goes_on = |record: &Value| {
        let pid = u32::try_from(record["pid"].as_u64().expect("it runs")).expect("a process id");
        Process::read(pid).expect("it runs").argv.contains(&"--seed".to_owned())
    };
    assert!(!goes_on(&first));
    for (args, continued, generation) in [
        (&["restart", "again"][..], true, 2),
        (&["restart", "again", "--fresh"], false, 3),
        (&["restart", "again"], true, 4),
    ] {
        let before = agent(&env, "again");
        let restarted = answer(&env, &repo, args);
        assert_eq!(restarted["agents"].as_array().map(Vec::len), Some(1), "{restarted}");
        wait_for_prompt(&env, "again");
        let now = agent(&env, "again");
        assert_ne!(before["pid"], now["pid"]);
        assert_eq!(restarted["agents"][0]["pid"], now["pid"]);
        assert_eq!(
            (goes_on(&now), now["generation"].as_u64()),
            (continued, Some(generation)),
            "{args:?}"
        );
        assert_eq!(now["worktree"], first["worktree"]);
    }
    assert_eq!(
        fs::read_to_string(worktree(&first).join("kept.txt")).expect("kept"),
        "kept\n"
    );
    let said = refusal(&env, &repo, ["resume", "again"], 4);
    assert!(text(&said["error"]["hint"]).contains("fleet restart again"), "{said}");
    let _ = answer(&env, &repo, ["kill", "again"]);
    env.assert_nothing_left();
}

#[test]
fn an_agent_that_has_ended_or_is_lost_can_be_restarted_too() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let id = text(&create(&env, &repo, "phoenix")["id"]);
    // Its receipt may be lost with the program, and then the prompt is honestly unverified.
    let _ = fleet(&env, &repo, ["prompt", "phoenix", "exit 0"]).output();
    let _ = answer(&env, &repo, ["wait", "phoenix", "--until", "exited", "--timeout", "60"]);
    for lost in [false, true] {
        if lost {
            lose(&env, &id);
        }
        let _ = answer(&env, &repo, ["restart", "phoenix"]);
        wait_for_prompt(&env, "phoenix");
        turn(&env, &repo, "phoenix", "print alive");
    }
    let _ = answer(&env, &repo, ["kill", "phoenix"]);
    env.assert_nothing_left();
}

#[test]
fn a_variable_that_is_missing_at_the_resume_is_named_and_refused() {
    let env = TestEnv::new();
    env.config_with_scripted_args("", &["--env-report", "env.json"]);
    let repo = env.repo("repo", 3);
    fs::write(repo.join(".gitignore"), "env.json\n").expect("written");
    env.commit_all(&repo, "ignore the report");
    let args = [
        "create",
        "secret",
        "--env",
        "TOKEN_A",
        "--env",
        "TOKEN_B=b",
        "--wait",
        "ready",
        "--json",
    ];
    let made: Value = fleet(&env, &repo, args).env("TOKEN_A", "a").output().success().json();
    let record = made["agents"][0].clone();
    let id = text(&record["id"]);
    lose(&env, &id);

    let said = refusal(&env, &repo, ["resume", "secret"], 5);
    let message = text(&said["error"]["message"]);
    assert!(message.contains("TOKEN_A") && message.contains("TOKEN_B"), "{said}");
    assert!(text(&said["error"]["hint"]).contains("--env TOKEN_A="), "{said}");
    let all: Value = fleet(&env, &repo, ["resume", "--all", "--json"])
        .output()
        .fails(5)
        .json();
    assert!(all.to_string().contains("TOKEN_A"), "{all}");
    assert_eq!(agent(&env, "secret")["state"], "lost", "nothing half done");

    let resumed = fleet(&env, &repo, ["resume", "secret", "--env", "TOKEN_B=again"]).env("TOKEN_A", "a");
    let _ = resumed.output().success();
    let _ = answer(&env, &repo, ["wait", "secret", "--until", "ready", "--timeout", "60"]);
    let report: Value =
        serde_json::from_slice(&fs::read(worktree(&record).join("env.json")).expect("a report")).expect("JSON");
    for name in ["TOKEN_A", "TOKEN_B"] {
        assert!(
            report["names"].as_array().expect("a list").contains(&Value::from(name)),
            "{report}"
        );
    }
    turn(&env, &repo, "secret", "run sh -c env");
    let logs = fleet(&env, &repo, ["logs", "secret", "-n", "300"]).output().success();
    assert!(logs.stdout.contains("TOKEN_B=again"), "{logs}");
    let _ = answer(&env, &repo, ["kill", "secret"]);
    env.assert_nothing_left();
}

#[test]
fn an_agent_whose_worktree_was_removed_is_not_resumed_but_can_be_killed() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let record = create(&env, &repo, "gone");
    lose(&env, &text(&record["id"]));
    fs::remove_dir_all(worktree(&record)).expect("removed");
    let said = refusal(&env, &repo, ["resume", "gone"], 3);
    assert!(text(&said["error"]["hint"]).contains("fleet kill gone"), "{said}");
    let _ = answer(&env, &repo, ["kill", "gone"]);
    assert!(listed(&env).is_empty());
    env.assert_nothing_left();
}

#[test]
fn a_resume_waits_for_the_end_of_what_the_dead_program_has_left() {
    let env = TestEnv::new();
    env.config_with_scripted("on_exit = [\"sleep\", \"2\"]");
    let repo = env.repo("repo", 1);
    let record = create(&env, &repo, "slow");
    let pid = i32::try_from(record["pid"].as_i64().expect("it runs")).expect("a process id");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).expect("it lives");
    let _ = answer(&env, &repo, ["wait", "slow", "--until", "exited", "--timeout", "60"]);
    let resumed = answer(&env, &repo, ["resume", "slow"]);
    assert_eq!(resumed["agents"][0]["branch"], "slow", "{resumed}");
    let _ = answer(&env, &repo, ["kill", "slow"]);
    env.assert_nothing_left();
}
