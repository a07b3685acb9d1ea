//! Every process of an agent ends with it, and no other.

use fleet_testkit::scan::{self, Process};
use fleet_testkit::{TestEnv, binary, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::drive::{
    LONG, agent, answer, create, fleet, listed, listed_by, refusal, supervisor, text, tmux, turn, worktree,
};

/// The three ways in which real tools detach their helpers.
const WAYS: [&str; 3] = ["setsid", "nohup", "double"];

/// The detached helpers of this environment that run.
fn helpers(env: &TestEnv) -> Vec<Process> {
    let all = env.own_processes().into_iter();
    // A helper that detaches by another in the middle has that one for a moment.
    all.filter(|process| process.argv.iter().any(|arg| arg == "--helper"))
        .collect()
}

/// Kills a process that is not ours to wait for, and waits until it is gone.
fn kill_hard(pid: u32) {
    let raw = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    kill(raw, Signal::SIGKILL).expect("it runs");
    wait_until(LONG, "the end of a killed process", || {
        Process::read(pid).is_none().then_some(())
    });
}

/// An agent with a helper of each kind; its record.
fn with_helpers(env: &TestEnv, repo: &std::path::Path, branch: &str) -> Value {
    let record = create(env, repo, branch);
    for way in WAYS {
        turn(env, repo, branch, &format!("spawn {way} 600000"));
    }
    wait_until(LONG, "three helpers", || (helpers(env).len() == 3).then_some(()));
    record
}

fn assert_helpers_gone(env: &TestEnv) {
    let left = helpers(env);
    assert!(left.is_empty(), "left running: {left:?}");
}

#[test]
fn detached_helpers_are_gone_after_a_kill() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    for force in [false, true] {
        let _ = with_helpers(&env, &repo, "helped");
        let mut args = vec!["kill", "helped", "--delete-branch"];
        args.extend(force.then_some("--force"));
        let killed = answer(&env, &repo, args);
        assert_helpers_gone(&env);
        let swept = killed["agents"][0]["ended"]["swept"].as_array().expect("a list").len();
        assert!(swept >= 3, "the kill names what it swept: {killed}");
        env.assert_nothing_left();
    }
}

#[test]
fn detached_helpers_are_gone_after_a_kill_also_when_the_supervisor_was_killed_first() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let record = with_helpers(&env, &repo, "helped");
    let beside = create(&env, &repo, "beside");
    kill_hard(supervisor(&env, &text(&record["id"])));
    assert_eq!(agent(&env, "helped")["state"], "lost");
    let _ = answer(&env, &repo, ["kill", "helped"]);
    assert_helpers_gone(&env);
    assert_eq!(listed_by(&env, "branch"), ["beside"]);
    turn(&env, &repo, "beside", "print alive");
    assert_eq!(agent(&env, "beside")["pid"], beside["pid"]);
    let _ = answer(&env, &repo, ["kill", "beside"]);
    env.assert_nothing_left();
}

#[test]
fn detached_helpers_are_gone_after_a_kill_also_when_the_tmux_server_was_killed_first() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let _ = with_helpers(&env, &repo, "helped");
    let server = tmux(&env, &repo, "helped", &["display-message", "-p", "#{pid}"]).success();
    kill_hard(server.stdout.trim().parse().expect("a process id"));
    assert_eq!(helpers(&env).len(), 3, "tmux is only a view");
    let _ = answer(&env, &repo, ["kill", "helped"]);
    assert_helpers_gone(&env);
    env.assert_nothing_left();
}

#[test]
fn helpers_of_a_lost_agent_are_gone_after_a_repair_too() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let record = with_helpers(&env, &repo, "helped");
    kill_hard(supervisor(&env, &text(&record["id"])));
    let listing = answer(&env, &repo, ["list", "--repair"]);
    assert_helpers_gone(&env);
    assert!(listing["repaired"].to_string().contains("helped"), "{listing}");
    assert_eq!(
        listing["agents"][0]["state"], "lost",
        "the agent itself stays: it can be resumed"
    );
    let _ = answer(&env, &repo, ["kill", "helped"]);
    env.assert_nothing_left();
}

#[test]
fn a_program_that_ignores_every_polite_signal_ends_all_the_same() {
    let env = TestEnv::new();
    env.config_with_scripted_args("kill_grace_ms = 200\n", &["--ignore-term"]);
    let repo = env.repo("repo", 3);
    let _ = create(&env, &repo, "stubborn");
    let _ = answer(&env, &repo, ["kill", "stubborn"]);
    env.assert_nothing_left();
}

#[test]
fn a_process_of_the_user_in_the_worktree_is_named_and_left() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    for lost in [false, true] {
        let record = create(&env, &repo, "visited");
        let mut by_hand = env.program("/bin/sleep", ["600"]).cwd(worktree(&record)).spawn();
        if lost {
            kill_hard(supervisor(&env, &text(&record["id"])));
        }
        let killed = answer(&env, &repo, ["kill", "visited", "--delete-branch"]);
        let left = &killed["agents"][0]["ended"]["left"];
        assert_eq!(left.as_array().map(Vec::len), Some(1), "{killed}");
        assert_eq!(left[0]["pid"], by_hand.pid(), "{killed}");
        assert_eq!(left[0]["name"], "sleep", "{killed}");
        assert!(by_hand.is_running(), "it is none of the agent's");
        by_hand.kill();
        env.assert_nothing_left();
    }
}

#[test]
fn the_page_of_a_kill_names_the_process_it_has_left() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let record = create(&env, &repo, "visited");
    let by_hand = env.program("/bin/sleep", ["600"]).cwd(worktree(&record)).spawn();
    let page = fleet(&env, &repo, ["kill", "visited"]).output().success();
    let said = format!("{}{}", page.stdout, page.stderr);
    assert!(said.contains(&format!("{} (sleep)", by_hand.pid())), "{page}");
    drop(by_hand);
    env.assert_nothing_left();
}

#[test]
fn an_agent_that_an_agent_has_started_outlives_it() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    for lost in [false, true] {
        let parent = create(&env, &repo, "parent");
        // The tmux server is the parent's child as well when the parent is the first to need one.
        let _ = tmux(&env, &repo, "parent", &["kill-server"]).success();
        turn(
            &env,
            &repo,
            "parent",
            &format!("run {} create child", binary("fleet").display()),
        );
        let child = agent(&env, "child");
        if lost {
            kill_hard(supervisor(&env, &text(&parent["id"])));
        }
        let _ = answer(&env, &repo, ["kill", "parent", "--force", "--delete-branch"]);
        assert_eq!(listed_by(&env, "branch"), ["child"]);
        turn(&env, &repo, "child", "write child.txt alive");
        assert!(worktree(&child).join("child.txt").exists());
        assert_eq!(agent(&env, "child")["pid"], child["pid"]);
        let sessions = tmux(&env, &repo, "child", &["list-sessions"]).success();
        assert!(
            sessions.stdout.contains("child") && !sessions.stdout.contains("parent"),
            "{sessions}"
        );
        let _ = answer(&env, &repo, ["kill", "child", "--force", "--delete-branch"]);
        env.assert_nothing_left();
    }
}

#[test]
fn an_agent_cannot_end_itself() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let record = create(&env, &repo, "suicidal");
    turn(
        &env,
        &repo,
        "suicidal",
        &format!("run {} kill suicidal", binary("fleet").display()),
    );
    assert_eq!(agent(&env, "suicidal")["pid"], record["pid"]);
    let logs = fleet(&env, &repo, ["logs", "suicidal"]).output().success();
    assert!(logs.stdout.contains("is the agent that asks"), "{logs}");
    let _ = answer(&env, &repo, ["kill", "suicidal"]);
    env.assert_nothing_left();
}

#[test]
fn two_kills_at_once_end_it_once_and_say_so() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let record = create(&env, &repo, "twice");
    std::fs::write(worktree(&record).join("work.txt"), "work\n").expect("written");
    let running: Vec<_> = (0..4)
        .map(|_| fleet(&env, &repo, ["kill", "twice", "--json"]).spawn())
        .collect();
    let ended: Vec<_> = running.into_iter().map(|each| each.wait(LONG)).collect();
    let won: Vec<_> = ended.iter().filter(|each| each.status.success()).collect();
    assert_eq!(won.len(), 1, "{ended:?}");
    let salvage = &won[0].json::<Value>()["agents"][0]["ended"]["salvage"];
    assert!(salvage["reference"].is_string(), "{salvage}");
    for lost in ended.iter().filter(|each| !each.status.success()) {
        let kind = lost.json::<Value>()["error"]["kind"].clone();
        assert!(kind == "conflict" || kind == "not_found", "{lost}");
    }
    assert!(listed(&env).is_empty());
    assert_eq!(
        answer(&env, &repo, ["salvage", "list"])["salvages"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    env.assert_nothing_left();
}

#[test]
fn when_tmux_is_killed_no_agent_dies_and_attaching_works_again() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let records = [create(&env, &repo, "one"), create(&env, &repo, "two")];
    let _ = tmux(&env, &repo, "one", &["kill-server"]).success();
    for record in &records {
        let branch = text(&record["branch"]);
        turn(&env, &repo, &branch, "write after.txt tmux");
        assert!(worktree(record).join("after.txt").exists());
        assert_eq!(agent(&env, &branch)["pid"], record["pid"]);
    }
    // Only the command is printed; the session is there again all the same, and shows the agent.
    let name = text(&records[0]["session"]);
    let _ = tmux(&env, &repo, "one", &["has-session", "-t", &format!("={name}")]).success();
    wait_until(LONG, "the agent's screen in its pane", || {
        let pane = tmux(&env, &repo, "one", &["capture-pane", "-p", "-t", &format!("={name}:")]);
        pane.stdout.contains("after.txt").then_some(())
    });
    let repaired = answer(&env, &repo, ["list", "--repair"]);
    assert!(
        repaired["repaired"].to_string().contains("opened the tmux session"),
        "{repaired}"
    );
    let sessions = tmux(&env, &repo, "one", &["list-sessions"]).success();
    assert!(sessions.stdout.contains(&text(&records[1]["session"])), "{sessions}");
    let _ = answer(&env, &repo, ["kill", "one", "two", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn the_user_s_own_tmux_is_never_touched() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let socket = env.root().join("own");
    let own = |args: &[&str]| env.program("tmux", ["-S", &socket.to_string_lossy()]).args(args);
    let _ = own(&["-f", "/dev/null", "new-session", "-d", "-s", "ai_mine", "sleep 600"])
        .output()
        .success();
    // From inside that session, as a user would.
    let inside = fleet(&env, &repo, ["create", "mine"]).env("TMUX", format!("{},1,0", socket.display()));
    let _ = inside.output().success();
    let killed = fleet(&env, &repo, ["kill", "mine"]).env("TMUX", format!("{},1,0", socket.display()));
    let _ = killed.output().success();
    let left = own(&["list-sessions", "-F", "#{session_name}"]).output().success();
    assert_eq!(left.stdout, "ai_mine\n");
    let _ = own(&["kill-server"]).output().success();
    env.assert_nothing_left();
}

#[test]
fn an_agent_whose_program_has_ended_by_itself_is_killed_like_any_other() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 3);
    let made = answer(
        &env,
        &repo,
        [
            "create",
            "done",
            "-p",
            "spawn setsid 600000\nexit 0",
            "--wait",
            "exited",
        ],
    );
    assert_eq!(made["agents"][0]["state"], "exited(0)");
    wait_until(LONG, "the end of what it had left running", || {
        helpers(&env).is_empty().then_some(())
    });
    let said = refusal(&env, &repo, ["prompt", "done", "hello"], 5);
    assert!(text(&said["error"]["hint"]).contains("fleet resume done"), "{said}");
    let _ = answer(&env, &repo, ["kill", "done"]);
    env.assert_nothing_left();
    let left = scan::linked_worktrees(&repo);
    assert!(left.is_empty(), "{left:?}");
}
