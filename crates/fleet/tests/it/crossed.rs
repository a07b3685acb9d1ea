//! Verbs that meet each other, places that are unusual, words that must hold.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_testkit::{Background, Cmd, TestEnv, binary, kill_process, scan, wait_until};
use nix::sys::stat::Mode;
use serde_json::Value;

const LONG: Duration = Duration::from_secs(60);

fn fleet(env: &TestEnv, cwd: &Path, args: &[&str]) -> Cmd {
    env.fleet(args).cwd(cwd).timeout(LONG)
}

fn listed(env: &TestEnv) -> Vec<Value> {
    let listing: Value = fleet(env, env.root(), &["list", "--all", "--json"])
        .output()
        .success()
        .json();
    listing["agents"].as_array().expect("agents").clone()
}

fn agent(env: &TestEnv, branch: &str) -> Value {
    let agents = listed(env);
    let found = agents.into_iter().find(|agent| agent["branch"] == branch);
    found.expect("it is listed")
}

fn id(env: &TestEnv, branch: &str) -> String {
    agent(env, branch)["id"].as_str().expect("an id").to_owned()
}

fn journal(env: &TestEnv, id: &str) -> PathBuf {
    env.fleet_home().join("agents").join(id).join("journal")
}

/// Ends the program of an agent, and waits until its supervisor has gone too.
fn end_program(env: &TestEnv, branch: &str) {
    let pid = agent(env, branch)["pid"].as_u64().expect("it runs");
    kill_process(u32::try_from(pid).expect("a process id"));
    wait_until(LONG, "the end of its program", || {
        let state = agent(env, branch)["state"].clone();
        state.as_str()?.starts_with("exited").then_some(())
    });
    let id = id(env, branch);
    wait_until(LONG, "the end of its supervisor", || {
        scan::processes(|process| process.argv.get(1..3) == Some(&["__supervise".to_owned(), id.clone()][..]))
            .is_empty()
            .then_some(())
    });
}

fn wait_for_line(file: &Path, text: &str) {
    wait_until(LONG, text, || {
        fs::read_to_string(file).ok()?.contains(text).then_some(())
    });
}

fn running(background: Background) -> fleet_testkit::Finished {
    background.wait(LONG)
}

#[test]
fn a_kill_ends_an_agent_that_is_being_started_and_the_start_does_not_call_it_started() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 1);
    let (in_hook, go) = (env.root().join("in-hook"), env.root().join("go"));
    let hook = repo.join(".git/hooks/post-checkout");
    // It stands still until the test lets it go on.
    nix::unistd::mkfifo(&go, Mode::S_IRWXU).expect("made");
    let script = format!(
        "#!/bin/sh\n: > '{}'\nread line < '{}'\n",
        in_hook.display(),
        go.display()
    );
    fs::create_dir_all(hook.parent().expect("a folder")).expect("made");
    fs::write(&hook, script).expect("written");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).expect("set");

    let create = fleet(&env, &repo, &["create", "x"]).spawn();
    wait_until(LONG, "the checkout", || in_hook.exists().then_some(()));
    let kill = fleet(&env, &repo, &["kill", "x"]).spawn();
    wait_until(LONG, "the kill to begin", || {
        (agent(&env, "x")["phase"] == "ending").then_some(())
    });
    fs::write(&go, "go\n").expect("the hook reads");

    let kill = running(kill).success();
    assert!(kill.stdout.contains("ended x"), "{kill}");
    let create = running(create);
    assert!(!create.status.success(), "{create}");
    assert!(!create.stdout.contains("started x"), "{create}");
    let repaired = fleet(&env, &repo, &["list", "--repair"]).output().success();
    assert!(repaired.stdout.contains("nothing to repair"), "{repaired}");
    env.assert_nothing_left();
}

#[test]
fn a_resume_does_not_revive_an_agent_that_was_ended_after_it_was_named() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 1);
    let here = env.root().join("here");
    fs::create_dir(&here).expect("made");
    let _ = fleet(&env, &repo, &["create", "first"]).output().success();
    let _ = fleet(&env, &here, &["create", "second", "--here"]).output().success();
    end_program(&env, "first");
    end_program(&env, "second");

    // The resume reads the journal of the first one while the second one is ended.
    let path = journal(&env, &id(&env, "first"));
    let entries = fs::read(&path).expect("read");
    fs::remove_file(&path).expect("removed");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).expect("made");
    let resume = fleet(&env, &here, &["resume", "first", "second"]).spawn();
    let mut opened = fs::File::options().write(true).open(&path).expect("the resume reads");
    let _ = fleet(&env, &here, &["kill", "second"]).output().success();
    fs::remove_file(&path).expect("removed");
    fs::write(&path, &entries).expect("written");
    opened.write_all(&entries).expect("the resume reads");
    drop(opened);

    let resume = running(resume).fails(1);
    assert!(resume.stdout.contains("resumed repo/first"), "{resume}");
    assert!(resume.stdout.contains("not resumed here/second"), "{resume}");
    assert_eq!(agent(&env, "second")["phase"], "ended");
    let _ = fleet(&env, &repo, &["kill", "first"]).output().success();
    env.assert_nothing_left();
}

#[test]
fn a_resume_of_a_program_that_fails_at_once_is_no_success() {
    let env = TestEnv::new();
    let alive = env.root().join("alive");
    let script = format!(
        "test -e '{}' && exec sleep 1000; echo no such conversation; exit 3",
        alive.display()
    );
    env.write_config(&format!(
        "default_agent = \"own\"\n[harness.own]\ncommand = [\"sh\", \"-c\", {script:?}]\nprompt = \"paste\"\n"
    ));
    let repo = env.repo("repo", 1);
    fs::write(&alive, "").expect("written");
    let _ = fleet(&env, &repo, &["create", "x"]).output().success();
    fs::remove_file(&alive).expect("removed");
    end_program(&env, "x");

    let resume = fleet(&env, &repo, &["resume", "x"]).output();
    // It may still be on its way to its end; but then it is not said to have ended.
    assert!(!resume.stdout.contains("exited"), "{resume}");
    if !resume.status.success() {
        assert!(resume.stderr.contains("ended at once with exit code 3"), "{resume}");
        assert!(resume.stderr.contains("no such conversation"), "{resume}");
    }
    let _ = fleet(&env, &repo, &["kill", "x"]).output().success();
    env.assert_nothing_left();
}

#[test]
fn a_restart_does_without_a_socket_that_somebody_removed() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 1);
    let _ = fleet(&env, &repo, &["create", "x"]).output().success();
    let before = agent(&env, "x");
    let name = format!("{}.sock", before["id"].as_str().expect("an id"));
    let sockets = scan::live_sockets(env.root());
    let socket = sockets.iter().find(|path| path.ends_with(&name)).expect("its socket");
    fs::remove_file(socket).expect("removed");
    let _ = fleet(&env, &repo, &["restart", "x"]).output().success();
    let after = agent(&env, "x");
    assert_ne!(before["pid"], after["pid"]);
    let _ = fleet(&env, &repo, &["prompt", "x", "hello", "--wait"])
        .output()
        .success();
    let _ = fleet(&env, &repo, &["kill", "x"]).output().success();
    env.assert_nothing_left();
}

#[test]
fn an_agent_that_restarts_itself_is_refused_and_lives_on() {
    let env = TestEnv::new();
    let said = env.root().join("said");
    let script = format!(
        "'{}' restart me > '{1}.new' 2>&1; echo code $? >> '{1}.new'; mv '{1}.new' '{1}'; exec sleep 1000",
        binary("fleet").display(),
        said.display()
    );
    env.write_config(&format!(
        "default_agent = \"own\"\n[harness.own]\ncommand = [\"sh\", \"-c\", {script:?}]\nprompt = \"paste\"\n"
    ));
    let repo = env.repo("repo", 1);
    let _ = fleet(&env, &repo, &["create", "me"]).output().success();
    wait_for_line(&said, "code ");
    let text = fs::read_to_string(&said).expect("read");
    assert!(text.contains("is the agent that asks"), "{text}");
    assert_eq!(agent(&env, "me")["state"], "working");
    let _ = fleet(&env, &repo, &["kill", "me"]).output().success();
    env.assert_nothing_left();
}

#[test]
fn ignored_files_are_kept_when_the_kill_that_was_to_keep_them_is_cut_off() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 1);
    fs::write(repo.join(".gitignore"), "*.bin\n").expect("written");
    env.commit_all(&repo, "ignore");
    let _ = fleet(&env, &repo, &["create", "x"]).output().success();
    let id = id(&env, "x");
    fs::write(env.fleet_home().join("worktrees/x/model.bin"), "weights").expect("written");
    let cut = fleet(&env, &repo, &["kill", "x", "--salvage-ignored"])
        .env("FLEET_FAULT", "end.begin:after")
        .output();
    assert!(!cut.status.success(), "{cut}");
    let _ = fleet(&env, &repo, &["list", "--repair"]).output().success();
    let kept = env.fleet_home().join("trash").join(id).join("worktree/model.bin");
    assert_eq!(fs::read_to_string(kept).expect("kept"), "weights");
    env.assert_nothing_left();
}

#[test]
fn credential_files_of_a_bare_repository_are_refused_before_anything_is_made() {
    let env = TestEnv::new();
    env.config_with_scripted("credential_files = [\".env\"]");
    let _ = env.repo("repo", 1);
    let bare = env.root().join("bare.git");
    let _ = env
        .git(env.root(), ["clone", "--quiet", "--bare", "repo", "bare.git"])
        .success();
    let refused = fleet(&env, &bare, &["create", "x"]).output().fails(78);
    assert!(refused.stderr.contains("no main checkout"), "{refused}");
    let branches = env.git(&bare, ["branch", "--list", "x"]).success();
    assert_eq!(branches.stdout, "");
    assert!(listed(&env).is_empty());
    env.assert_nothing_left();
}

#[test]
fn a_hint_works_when_pasted_whatever_the_name_and_a_label_is_never_a_pattern() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    for label in ["my docs", "a[1]", "it's $(id)"] {
        let here = env.root().join("here");
        let _ = fs::create_dir(&here);
        let created = fleet(&env, &here, &["create", label, "--here"]).output().success();
        let command = created.stderr.split('`').nth(1).expect("a command").to_owned();
        let words = env
            .program("sh", ["-c", &format!("printf '%s\\n' {command}")])
            .output()
            .success();
        assert_eq!(words.stdout, format!("fleet\nattach\n{label}\n"), "{created}");
        let _ = fleet(&env, &here, &["kill", label]).output().success();
    }
    env.assert_nothing_left();
}

#[test]
fn a_listing_reads_no_whole_journal() {
    let env = TestEnv::new();
    env.config_with_scripted("");
    let repo = env.repo("repo", 1);
    let _ = fleet(&env, &repo, &["create", "x", "--wait", "ready"])
        .output()
        .success();
    let before = agent(&env, "x");
    assert!(
        before["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0),
        "{before}"
    );

    // A journal whose beginning is lost: a reader of the whole would not find its launch any more.
    let path = journal(&env, before["id"].as_str().expect("an id"));
    let text = fs::read_to_string(&path).expect("read");
    let last = text.lines().last().expect("a line");
    fs::write(&path, format!("{last}\n")).expect("written");
    let after = agent(&env, "x");
    assert_eq!(after["processes"], before["processes"]);
    fs::write(&path, text).expect("written");
    let _ = fleet(&env, &repo, &["kill", "x"]).output().success();
    env.assert_nothing_left();
}
