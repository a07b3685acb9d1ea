//! Runs that work for a task: what their workers reserve and spend comes out of its ceiling.

use std::path::PathBuf;

use fleet_testkit::{Cmd, wait_until};
use serde_json::{Value, json};

use super::told::Hook;
use crate::drive::LONG;
use crate::runs::stage::{Stage, events, states};

/// A fleet root with three workers that cost 0.60 USD of at most 1, one after the other, and a repository with a task.
struct Within {
    stage: Stage,
    repo: PathBuf,
    task: String,
}

impl Within {
    fn new(ceiling: &str) -> Within {
        let stage = super::three();
        stage.env.config_with_scripted("claude_flags = \"\"");
        let repo = stage.env.repo("repo", 2);
        let made = stage
            .fleet(["task", "create", "The work", "--ceiling", ceiling, "--json"])
            .cwd(&repo);
        let made: Value = made.output().success().json();
        let task = made["task"]["id"].as_str().expect("an id").to_owned();
        Within { stage, repo, task }
    }

    fn fleet(&self, args: &[&str]) -> Cmd {
        self.stage.fleet(args).cwd(&self.repo)
    }

    fn root(&self) -> String {
        self.stage.root.display().to_string()
    }

    #[track_caller]
    fn answer(&self, args: &[&str]) -> Value {
        self.fleet(args).args(["--json"]).output().success().json()
    }

    #[track_caller]
    fn line(&self, what: &str) -> Value {
        let shown = self.answer(&["budget", "show"]);
        let mut lines = shown["lines"].as_array().expect("lines").iter();
        let found = lines.find(|line| line["what"] == what);
        found.unwrap_or_else(|| panic!("no {what}: {shown}")).clone()
    }
}

#[test]
fn a_run_that_is_launched_for_a_task_stays_within_its_ceiling_and_goes_on_when_that_is_raised() {
    let within = Within::new("2");
    let hook = Hook::new(&within.stage.env);
    let (root, task) = (within.root(), within.task.as_str());
    // What an agent that works for the task launches belongs to it.
    let launch = within.fleet(&["launch", &root, "--detach"]).env("FLEET_TASK", task);
    let _ = launch.output().success();
    let run = within.stage.wait_state("paused");
    assert_eq!(
        (states(&run), &run["task"]),
        (vec!["a done".into(), "b done".into(), "c pending".into()], &json!(task))
    );
    let about = format!("paused: of the ceiling of {task} 0.80 USD are left");
    assert!(events(&run).contains(&about), "{run:#}");
    let line = within.line(task);
    assert_eq!(
        (&line["spent_usd"], &line["reserved_usd"], &line["left_usd"]),
        (&json!(1.2), &json!(0.0), &json!(0.8)),
        "{line}"
    );
    let cost = within.answer(&["task", "cost", task]);
    assert_eq!(cost["total"]["usd"], json!(1.2), "{cost}");

    let raised = within.answer(&["budget", "raise", task, "+0.2"]);
    assert_eq!(raised["changed"][0]["how"], "goes on", "{raised}");
    let run = within.stage.wait_state("done");
    assert_eq!((&run["spent_usd"], within.stage.paid().len()), (&json!(1.8), 3));
    let told = hook.wait("task", 1);
    assert_eq!(told[0]["about"], "1.80 of 2.20 USD", "{told:?}");
    let other = within.answer(&["task", "create", "Another"])["task"]["id"].clone();
    let other = other.as_str().expect("an id");
    let refused = within.fleet(&["launch", &root, "--task", other]).output().fails(2);
    assert!(
        refused
            .stderr
            .contains(&format!("works for {task} since its first launch")),
        "{refused}"
    );
}

#[test]
fn what_a_captain_has_left_is_lent_to_the_run_that_it_launches_and_comes_back() {
    let within = Within::new("3");
    let (root, task) = (within.root(), within.task.as_str());
    within.stage.write(
        "workers/a/prompt.md",
        "!run until [ -e go ]; do sleep 0.1; done\n!cost 0.6\n",
    );
    let _ = within
        .fleet(&["create", "captain", "--task", task, "--wait", "ready"])
        .output()
        .success();
    assert_eq!(within.line("captain")["ceiling_usd"], json!(3.0));
    let _ = within
        .fleet(&["launch", &root, "--task", task, "--detach"])
        .output()
        .success();
    within.stage.wait_noted("paid a 1");
    // The first worker has reserved 1 USD.
    assert_eq!(within.line("captain")["ceiling_usd"], json!(2.0));
    assert_eq!(within.answer(&["explain", "captain"])["agent"]["state"], "ready");
    let line = within.line(task);
    assert_eq!((&line["reserved_usd"], &line["left_usd"]), (&json!(3.0), &json!(0.0)));
    within.stage.write("go", "");
    within.stage.wait_state("done");
    wait_until(LONG, "what is left to come back", || {
        (within.line("captain")["ceiling_usd"] == json!(1.2)).then_some(())
    });
    let line = within.line(task);
    assert_eq!(
        (&line["spent_usd"], &line["left_usd"]),
        (&json!(1.8), &json!(0.0)),
        "{line}"
    );
    let _ = within.fleet(&["kill", "captain", "--force"]).output().success();
    within.stage.env.assert_nothing_left();
}

#[test]
fn a_run_goes_on_when_the_captain_is_over_that_launched_it_and_a_folder_outside_of_a_repository_is_no_way_out() {
    let within = Within::new("2.2");
    let task = within.task.as_str();
    within.stage.write(
        "workers/b/prompt.md",
        "!run until [ -e go ]; do sleep 0.1; done\n!cost 0.6\n",
    );
    let create = [
        "create",
        "captain",
        "--headless",
        "--agent",
        "claude",
        "--task",
        task,
        "--budget",
        "1",
    ];
    // It launches from where there is no repository.
    let prompt = format!(
        "!run cd {0} && {1} launch . --detach\n!run until [ -e {0}/go ]; do sleep 0.1; done\n!cost 0.1",
        within.root(),
        fleet_testkit::binary("fleet").display()
    );
    let _ = within.fleet(&create).args(["--prompt", &prompt]).output().success();
    within.stage.wait_noted("paid a 1");
    // Of 2.20 USD the captain has reserved 1, and a worker would reserve 1 of what is left after the first.
    let run = within.stage.wait_state("paused");
    assert_eq!(
        (states(&run), &run["task"]),
        (
            vec!["a done".into(), "b pending".into(), "c pending".into()],
            &json!(task)
        )
    );
    let about = run["about"].as_str().expect("a sentence");
    assert!(
        about.contains(&format!("`fleet budget raise {task} +5` allows more")),
        "{about}"
    );
    within.stage.write("go", "");
    // The captain leaves 0.90 of its 1, so that there is room for one more.
    within.stage.wait_noted("paid b 1");
    within.stage.wait_state("paused");
    let line = within.line(task);
    assert_eq!(
        (&line["spent_usd"], &line["left_usd"]),
        (&json!(1.3), &json!(0.9)),
        "{line}"
    );
}

#[test]
fn without_its_ceiling_a_task_lets_the_run_go_on_that_waits_for_it() {
    let within = Within::new("1.5");
    let (root, task) = (within.root(), within.task.as_str());
    let _ = within
        .fleet(&["launch", &root, "--task", task, "--detach"])
        .output()
        .success();
    let run = within.stage.wait_state("paused");
    assert_eq!(states(&run), ["a done", "b pending", "c pending"]);
    let _ = within.fleet(&["budget", "set", task, "none"]).output().success();
    within.stage.wait_state("done");
    let cost = within.answer(&["task", "cost", task]);
    assert_eq!(cost["total"]["usd"], json!(1.8), "{cost}");
}

#[test]
fn a_run_pauses_where_a_captain_cannot_be_told_to_give_up_what_it_has() {
    let within = Within::new("3");
    let (root, task) = (within.root(), within.task.as_str());
    let _ = within
        .fleet(&["create", "captain", "--task", task, "--wait", "ready"])
        .output()
        .success();
    let explained = within.answer(&["explain", "captain"]);
    let id = explained["agent"]["id"].as_str().expect("an id").to_owned();
    let all = within.stage.env.own_processes();
    let its = all.iter().find(|process| process.argv.contains(&id));
    let supervisor = its.expect("a supervisor").pid;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(supervisor).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("it lives");
    let _ = within
        .fleet(&["launch", &root, "--task", task, "--detach"])
        .output()
        .success();
    let run = within.stage.wait_state("paused");
    assert_eq!(states(&run), ["a pending", "b pending", "c pending"]);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).expect("it lives");
    let _ = within.fleet(&["launch", &root, "--detach"]).output().success();
    within.stage.wait_state("done");
    let _ = within.fleet(&["kill", "captain", "--force"]).output().success();
}

#[test]
fn a_run_that_is_given_a_task_of_nobody_is_refused_and_one_outside_of_any_repository_works_for_none() {
    let within = Within::new("2");
    let root = within.root();
    let refused = within.fleet(&["launch", &root, "--task", "TASK-20200101-001"]).output();
    let refused = refused.fails(3);
    assert!(refused.stderr.contains("there is no task"), "{refused}");
    let refused = within.fleet(&["launch", &root, "--task", "login"]).output().fails(2);
    assert!(refused.stderr.contains("is no id of a task"), "{refused}");
    let outside = within.stage.fleet(["launch", "root", "--task", &within.task]);
    let refused = outside.output().fails(2);
    assert!(refused.stderr.contains("tasks belong to a repository"), "{refused}");
    assert!(within.stage.paid().is_empty());
    let _ = within
        .fleet(&["task", "end", &within.task, "--status", "completed"])
        .output()
        .success();
    let ended = within.fleet(&["launch", &root, "--task", &within.task]).output();
    assert!(!ended.status.success() && ended.stderr.contains("has ended"), "{ended}");
    let _ = within
        .stage
        .fleet(["launch", "root"])
        .env("FLEET_TASK", &within.task)
        .output()
        .success();
    assert_eq!(within.stage.status()["task"], json!(null));
}
