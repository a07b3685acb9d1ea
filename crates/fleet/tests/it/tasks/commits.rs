//! Whose lines are whose without anybody's word: commits that were seen, and what became of them.

use std::fs;
use std::path::Path;

use fleet_testkit::wait_until;
use serde_json::{Value, json};

use super::stage::Stage;
use crate::drive::LONG;

impl Stage {
    /// The commits of a task, when there are `count` of them.
    #[track_caller]
    pub(super) fn commits(&self, task: &str, count: usize) -> Vec<String> {
        wait_until(LONG, "the commits of the task", || {
            let commits = self.answer(["task", "show", task])["commits"].as_array().cloned()?;
            let commits: Vec<String> = commits.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect();
            (commits.len() == count).then_some(commits)
        })
    }

    pub(super) fn git<const N: usize>(&self, folder: &Path, args: [&str; N]) -> String {
        // At the time that it is: of what is older than every task nobody asks what it changes.
        let done = self
            .env
            .program("git", args)
            .cwd(folder)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output();
        done.success().stdout.trim().to_owned()
    }

    /// The tasks of the lines of a file of the main checkout, with how many.
    #[track_caller]
    pub(super) fn blamed(&self, file: &str) -> Vec<(Value, u64)> {
        let blamed = self.answer(["task", "blame", file]);
        let rows = blamed["tasks"].as_array().expect("tasks").iter();
        rows.map(|row| (row["task"].clone(), row["lines"].as_u64().unwrap_or(0)))
            .collect()
    }

    pub(super) fn worktree(&self, branch: &str) -> std::path::PathBuf {
        let agents = self.answer(["list", "--all"]);
        let found = agents["agents"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|agent| agent["branch"] == branch);
        found.expect("the agent")["worktree"].as_str().expect("a path").into()
    }
}

#[test]
fn commits_are_seen_without_a_word_of_the_agent_and_known_again_after_a_rebase_and_a_squash() {
    let stage = Stage::new();
    let (one, two) = (stage.task(&["One"]), stage.task(&["Two"]));
    stage.run("one", &one, "!write a.txt first\\nsecond\n!commit add a");
    let commits = stage.commits(&one, 1);
    assert_eq!(commits, [stage.git(&stage.worktree("one"), ["rev-parse", "HEAD"])]);
    stage.run(
        "two",
        &two,
        "!write b.txt one\n!commit add b\n!append b.txt two\n!append b.txt three\n!commit more of b",
    );
    let _ = stage.commits(&two, 2);

    // Somebody else's work, then both branches on top of it: one rebased, one squashed.
    fs::write(stage.repo.join("c.txt"), "nobody's\n").expect("written");
    let _ = stage.git(&stage.repo, ["add", "c.txt"]);
    let _ = stage.git(&stage.repo, ["commit", "--quiet", "-m", "by hand"]);
    let _ = stage.git(&stage.repo, ["cherry-pick", "one"]);
    let _ = stage.git(&stage.repo, ["merge", "--quiet", "--squash", "two"]);
    let _ = stage.git(&stage.repo, ["commit", "--quiet", "-m", "all of two"]);
    // Where nobody has put a trailer, only what was changed tells.
    for (file, task, lines) in [
        ("a.txt", json!(one), 2),
        ("b.txt", json!(two), 3),
        ("c.txt", Value::Null, 1),
    ] {
        assert_eq!(stage.blamed(file), [(task, lines)], "{file}");
    }
    // It outlives the worktree and the branch.
    let _ = stage
        .fleet(["kill", "*", "--force", "--delete-branch"])
        .output()
        .success();
    assert_eq!(stage.commits(&one, 1), commits);
    assert_eq!(stage.blamed("b.txt"), [(json!(two), 3)]);
    stage.end();
}

#[test]
fn what_an_agent_pulls_in_is_not_its_work_and_a_report_adds_to_what_was_seen() {
    let stage = Stage::new();
    let id = stage.task(&["One"]);
    let by_hand = |text: &str| {
        fs::write(stage.repo.join("c.txt"), text).expect("written");
        let _ = stage.git(&stage.repo, ["add", "c.txt"]);
        let _ = stage.git(&stage.repo, ["commit", "--quiet", "-m", "by hand"]);
        stage.git(&stage.repo, ["rev-parse", "HEAD"])
    };
    let main = stage.git(&stage.repo, ["branch", "--show-current"]);
    let first = by_hand("1\n");
    let create = ["create", "one", "--headless", "--task", &id, "-p"];
    // The first is pulled in whole, and the second is worked upon.
    let prompt = format!(
        "!write a.txt mine\n!commit mine\n!run git -C '{repo}' commit --quiet --allow-empty -m theirs\n\
         !run git rebase --quiet {main}\n!write a.txt mine again\n!commit again\n!run git reset --quiet --hard HEAD~1",
        repo = stage.repo.display()
    );
    let _ = stage
        .fleet(create)
        .arg(&prompt)
        .args(["--wait", "exited"])
        .output()
        .success();
    let seen = stage.commits(&id, 1);
    // What it threw away is none either.
    assert_eq!(seen, [stage.git(&stage.worktree("one"), ["rev-parse", "HEAD"])]);
    let report = format!(
        "fleet_task_id: {id}\nstatus: completed\ncommits: [{first}, {}]\n",
        seen[0]
    );
    let _ = stage.report(&report);
    assert_eq!(stage.commits(&id, 2), [seen[0].clone(), first]);
    stage.end();
}

/// The trailers of the last commit in a folder.
fn trailers(stage: &Stage, folder: &Path) -> String {
    stage.git(folder, ["log", "-1", "--format=%(trailers:only,unfold)"])
}

#[test]
fn each_commit_of_an_agent_names_its_task_and_every_hook_of_the_repository_runs() {
    let stage = Stage::new();
    let id = stage.task(&["One"]);
    let named = format!("Fleet-Task: {id}");
    // Hooks as husky has them: in a folder of the checkout that the repository's own settings name.
    let hooks = stage.repo.join(".husky");
    fs::create_dir(&hooks).expect("a folder");
    for name in [
        "pre-commit",
        "prepare-commit-msg",
        "commit-msg",
        "post-commit",
        "pre-push",
        "reference-transaction",
    ] {
        let text = "#!/bin/sh\necho \"${0##*/}\" >> \"$HOME/ran\"\ncase $0 in */commit-msg) ! grep -q forbidden \"$1\";; esac\n";
        let path = hooks.join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    }
    let _ = stage.git(&stage.repo, ["add", ".husky"]);
    let _ = stage.git(&stage.repo, ["commit", "--quiet", "-m", "hooks"]);
    let _ = stage.git(&stage.repo, ["config", "core.hooksPath", ".husky"]);
    let settings = fs::read_to_string(stage.repo.join(".git/config")).expect("settings");

    stage.run("one", &id, "!write a.txt one\n!commit add a");
    let worktree = stage.worktree("one");
    assert_eq!(trailers(&stage, &worktree), named);
    let ran = fs::read_to_string(stage.env.home().join("ran")).expect("hooks ran");
    for name in [
        "pre-commit",
        "prepare-commit-msg",
        "commit-msg",
        "post-commit",
        "reference-transaction",
    ] {
        assert!(ran.lines().any(|line| line == name), "{name}: {ran}");
    }
    let count = |text: &str, name: &str| text.lines().filter(|line| *line == name).count();
    assert_eq!(count(&ran, "commit-msg"), 1, "{ran}");

    // What a hook refuses is refused; what goes past the hooks has its trailer all the same; one that is there stays.
    let other = "Fleet-Task: TASK-20200101-001";
    let prompt = format!(
        "!write b.txt one\n!commit forbidden\n!run git commit --quiet --no-verify -m 'forbidden, all the same'\n\
         !run git log -1 --format=%B >../past\n!write c.txt one\n!run git add c.txt\n\
         !run git commit --quiet -m 'not mine' -m '{other}'\n!run git log -1 --format=%B >../theirs\n\
         !run GIT_EDITOR=true git commit --quiet --allow-empty; git log -1 --format=%B >../empty\n\
         !run git push --quiet . HEAD:refs/heads/pushed\n!run git commit --quiet --amend --allow-empty -m 'amended'"
    );
    stage.run("two", &id, &prompt);
    let told = |name: &str| {
        let path = stage.worktree("two").parent().expect("a folder").join(name);
        fs::read_to_string(path).expect("a message").trim().to_owned()
    };
    assert_eq!(told("past"), format!("forbidden, all the same\n\n{named}"));
    assert_eq!(told("theirs"), format!("not mine\n\n{other}"));
    assert_eq!(told("empty"), told("theirs"), "a commit without a message is none");
    assert_eq!(trailers(&stage, &stage.worktree("two")), named);
    let ran = fs::read_to_string(stage.env.home().join("ran")).expect("hooks ran");
    assert_eq!(count(&ran, "pre-push"), 1, "{ran}");

    // Nothing of the user's was touched, and an agent without a task is left alone.
    assert_eq!(
        fs::read_to_string(stage.repo.join(".git/config")).expect("settings"),
        settings
    );
    let prompt = "!run git config core.hooksPath >../path\n!write d.txt one\n!commit plain";
    let create = ["create", "three", "--headless", "-p", prompt, "--wait", "exited"];
    let _ = stage.fleet(create).output().success();
    assert_eq!(told("path"), ".husky");
    assert_eq!(trailers(&stage, &stage.worktree("three")), "");
    stage.end();
}

#[test]
fn hooks_in_the_usual_place_run_and_the_trailers_can_be_switched_off() {
    let stage = Stage::new();
    let id = stage.task(&["One"]);
    let hook = stage.repo.join(".git/hooks/pre-commit");
    fs::create_dir_all(hook.parent().expect("a folder")).expect("made");
    fs::write(&hook, "#!/bin/sh\ntouch \"$HOME/ran\"\n").expect("written");
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    // An agent that is started by it works for the same task, and is given the hooks once.
    let inner = "!run git config --get-all core.hooksPath >../told; true";
    let prompt =
        format!("!write a.txt one\n!commit add a\n!run fleet create inner --headless -p '{inner}' --wait exited");
    stage.run("one", &id, &prompt);
    let told = fs::read_to_string(stage.worktree("one").parent().expect("a folder").join("told"));
    let told = told.expect("what the inner agent was given");
    assert!(told.ends_with("/hooks/usual\n") && told.lines().count() == 1, "{told}");
    assert!(stage.env.home().join("ran").exists());
    assert_eq!(trailers(&stage, &stage.worktree("one")), format!("Fleet-Task: {id}"));

    stage
        .env
        .write_config("default_agent = \"claude\"\nclaude_flags = \"\"\ncommit_trailers = false\n");
    stage.run("two", &id, "!write b.txt one\n!commit add b");
    assert_eq!(trailers(&stage, &stage.worktree("two")), "");
    let _ = stage.commits(&id, 2);
    stage.end();
}

#[test]
fn a_setting_of_git_in_the_environment_is_never_run() {
    let stage = Stage::new();
    let id = stage.task(&["One"]);
    let bad = "$(touch $HOME/run) `touch $HOME/run`; touch $HOME/run; \"; touch $HOME/run; \"";
    // As somebody's own setting, before those of fleet.
    let _ = stage
        .fleet(["create", "one", "--headless", "--task", &id, "--wait", "exited"])
        .args(["--prompt", "!write a.txt one\n!commit add a"])
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "user.note")
        .env("GIT_CONFIG_VALUE_0", bad)
        .output()
        .success();
    assert_eq!(trailers(&stage, &stage.worktree("one")), format!("Fleet-Task: {id}"));
    assert!(!stage.env.home().join("run").exists());
    stage.end();
}

#[test]
fn what_fleet_merges_names_the_tasks_of_its_commits() {
    let stage = Stage::new();
    stage
        .env
        .write_config("default_agent = \"claude\"\nclaude_flags = \"\"\ncommit_trailers = false\n");
    let (one, two) = (stage.task(&["One"]), stage.task(&["Two"]));
    stage.run("one", &one, "!write a.txt one\n!commit add a");
    stage.run(
        "two",
        &two,
        "!write b.txt one\n!commit add b\n!append b.txt two\n!commit more of b",
    );
    let _ = (stage.commits(&one, 1), stage.commits(&two, 2));
    let _ = stage.fleet(["merge", "one"]).output().success();
    assert_eq!(trailers(&stage, &stage.repo), format!("Fleet-Task: {one}"));
    let _ = stage.fleet(["merge", "two", "--squash"]).output().success();
    let tip = stage.git(&stage.repo, ["rev-parse", "two"]);
    assert_eq!(
        trailers(&stage, &stage.repo),
        format!("Fleet-Task: {two}\nFleet-Tip: {tip}")
    );
    assert_eq!(stage.blamed("b.txt"), [(json!(two), 2)]);
    stage.end();
}
