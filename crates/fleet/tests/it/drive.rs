//! Steps that several modules take with the real binary: run a verb, read its answer, find an agent.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_testkit::{Cmd, Finished, TestEnv, wait_until};
use serde_json::Value;

/// How long a verb may take beside other load. A verb that hangs is found all the same.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// A run of `fleet` in `cwd`.
pub(crate) fn fleet<S: AsRef<OsStr>>(env: &TestEnv, cwd: &Path, args: impl IntoIterator<Item = S>) -> Cmd {
    env.fleet(args).cwd(cwd).timeout(LONG)
}

/// The JSON answer of a verb that must succeed.
#[track_caller]
pub(crate) fn answer<S: AsRef<OsStr>>(env: &TestEnv, cwd: &Path, args: impl IntoIterator<Item = S>) -> Value {
    fleet(env, cwd, args).arg("--json").output().success().json()
}

/// The JSON answer of a verb that must fail with this exit code.
#[track_caller]
pub(crate) fn refusal<S: AsRef<OsStr>>(
    env: &TestEnv,
    cwd: &Path,
    args: impl IntoIterator<Item = S>,
    code: i32,
) -> Value {
    fleet(env, cwd, args).arg("--json").output().fails(code).json()
}

/// Starts the default harness on a new branch and waits until it takes a prompt; its record.
#[track_caller]
pub(crate) fn create(env: &TestEnv, repo: &Path, branch: &str) -> Value {
    let made = answer(env, repo, ["create", branch, "--wait", "ready", "--timeout", "60"]);
    made["agents"][0].clone()
}

/// Sends `text` and waits until its turn is over.
#[track_caller]
pub(crate) fn turn(env: &TestEnv, cwd: &Path, target: &str, text: &str) {
    let sent = answer(
        env,
        cwd,
        ["prompt", target, "--wait=idle", "--timeout", "60", "--message", text],
    );
    assert_eq!(sent["sent"][0]["outcome"], "delivered", "{sent}");
}

/// The live agents.
#[track_caller]
pub(crate) fn listed(env: &TestEnv) -> Vec<Value> {
    let listing = answer(env, env.root(), ["list"]);
    listing["agents"].as_array().expect("a list").clone()
}

/// Waits until the agent on `branch` takes a prompt, after a first start or a later one.
#[track_caller]
pub(crate) fn wait_for_prompt(env: &TestEnv, branch: &str) {
    wait_until(LONG, "an agent that takes a prompt", || {
        let state = text(&agent(env, branch)["state"]);
        (state == "ready" || state == "idle").then_some(())
    });
}

/// The values of `field` of the live agents, sorted.
#[track_caller]
pub(crate) fn listed_by(env: &TestEnv, field: &str) -> Vec<String> {
    let mut values: Vec<String> = listed(env).iter().map(|row| text(&row[field])).collect();
    values.sort();
    values
}

/// The live agent on `branch`.
#[track_caller]
pub(crate) fn agent(env: &TestEnv, branch: &str) -> Value {
    let rows = listed(env);
    let found = rows.iter().find(|row| row["branch"] == branch);
    found
        .unwrap_or_else(|| panic!("`{branch}` is not listed: {rows:?}"))
        .clone()
}

/// A string of an answer.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a string is wanted, not {value}"))
        .to_owned()
}

/// The worktree in a record.
#[track_caller]
pub(crate) fn worktree(record: &Value) -> PathBuf {
    text(&record["worktree"]).into()
}

/// The process id of the supervisor of the agent `id`, from the last launch in its journal.
#[track_caller]
pub(crate) fn supervisor(env: &TestEnv, id: &str) -> u32 {
    let launched = journal(env, id)
        .into_iter()
        .rev()
        .find(|entry| entry["fact"] == "launched");
    let pid = launched.expect("it was launched")["supervisor"].as_u64();
    u32::try_from(pid.expect("a number")).expect("a process id")
}

/// The whole lines of the journal of the agent `id`.
#[track_caller]
pub(crate) fn journal(env: &TestEnv, id: &str) -> Vec<Value> {
    let path = env.fleet_home().join("agents").join(id).join("journal");
    let text = std::fs::read_to_string(&path).expect("a journal");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).expect("an entry"))
        .collect()
}

/// A call of tmux about the server of the agents, at the socket that `attach --print` names.
#[track_caller]
pub(crate) fn tmux(env: &TestEnv, cwd: &Path, target: &str, args: &[&str]) -> Finished {
    let printed = fleet(env, cwd, ["attach", "--print", target]).output().success();
    let words: Vec<&str> = printed.stdout.split_whitespace().collect();
    let at = words
        .iter()
        .position(|word| *word == "-S")
        .expect("a socket of its own");
    env.program("tmux", ["-S", words[at + 1].trim_matches('\'')])
        .args(args)
        .output()
}
