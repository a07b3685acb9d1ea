//! What a supervisor keeps to when its caller, its disk, its program or a client of its socket is difficult.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_host::supervise::client::Client;
use fleet_host::supervise::wire;
use fleet_testkit::{Cmd, Finished, TestEnv, binary, pause, wait_until};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(90);

/// A default harness that runs `script` in a shell; `rest` are further lines of its table.
fn shell_harness(env: &TestEnv, script: &str, rest: &str) {
    let script = json!(script);
    env.write_config(&format!(
        "default_agent = \"own\"\nkill_grace_ms = 600\n[harness.own]\ncommand = [\"/bin/sh\", \"-c\", {script}]\n{rest}\n"
    ));
}

fn fleet(env: &TestEnv, cwd: &Path, args: &[&str]) -> Cmd {
    env.fleet(args).cwd(cwd).timeout(LONG)
}

#[track_caller]
fn answer(env: &TestEnv, cwd: &Path, args: &[&str]) -> Value {
    fleet(env, cwd, args).arg("--json").output().success().json()
}

/// `fleet create one` from a shell that has run `before`.
#[track_caller]
fn create_after(env: &TestEnv, repo: &Path, before: &str) -> Finished {
    let line = format!("{before}; exec \"$0\" create one");
    env.program("/bin/sh", ["-c", &line])
        .arg(binary("fleet"))
        .cwd(repo)
        .timeout(LONG)
        .output()
        .success()
}

/// The only agent.
#[track_caller]
fn agent(env: &TestEnv) -> Value {
    answer(env, env.root(), &["list"])["agents"][0].clone()
}

fn id(agent: &Value) -> String {
    agent["id"].as_str().expect("an id").to_owned()
}

fn socket(env: &TestEnv, id: &str) -> PathBuf {
    env.fleet_home().join("run").join(format!("{id}.sock"))
}

/// Every line of the journal, each of which must be an entry.
#[track_caller]
fn journal(env: &TestEnv, id: &str) -> Vec<Value> {
    let text = fs::read_to_string(env.fleet_home().join("agents").join(id).join("journal")).expect("a journal");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no entry: {line}")))
        .collect()
}

#[track_caller]
fn supervisor(env: &TestEnv, id: &str) -> u64 {
    journal(env, id)[0]["supervisor"].as_u64().expect("a process id")
}

/// Processor time that a process has used, in clock ticks.
#[track_caller]
fn ticks(pid: u64) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that runs");
    let rest = stat.rsplit(')').next().expect("fields");
    let fields: Vec<u64> = rest.split_whitespace().map(|each| each.parse().unwrap_or(0)).collect();
    fields[11] + fields[12]
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_program_gets_its_callers_mask_and_no_ignored_signal() {
    let env = TestEnv::new();
    let seen = env.root().join("seen");
    let script = format!(
        "{{ umask; grep SigIgn /proc/self/status; grep SigBlk /proc/self/status; echo end; }} > {}; exec sleep 1000",
        seen.display()
    );
    shell_harness(&env, &script, "prompt = \"paste\"");
    let repo = env.repo("repo", 1);
    let _ = create_after(&env, &repo, "umask 027; trap '' QUIT USR1");
    let seen = wait_until(LONG, "what the program sees", || {
        Some(lines(&seen)).filter(|lines| lines.len() == 4)
    });
    assert_eq!(seen[0], "0027");
    for set in &seen[1..3] {
        let (_, digits) = set.split_once('\t').expect("a name and a number");
        let signals = u64::from_str_radix(digits, 16).expect("hexadecimal");
        // Above 31 are those that the C library keeps to itself.
        assert_eq!(signals & 0x7fff_ffff, 0, "{seen:?}");
    }
    let journal = env.fleet_home().join("agents").join(id(&agent(&env))).join("journal");
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(journal).expect("a journal"));
    assert_eq!(mode & 0o777, 0o600, "what is fleet's own stays private");
    let _ = answer(&env, &repo, &["kill", "one"]);
    env.assert_nothing_left();
}

#[test]
fn a_program_that_cleans_up_aloud_is_asked_to_terminate_once() {
    let env = TestEnv::new();
    let asked = env.root().join("asked");
    let script = format!(
        "trap '' INT; trap 'echo asked >> {}' TERM; while :; do echo busy; sleep 0.02; done",
        asked.display()
    );
    shell_harness(&env, &script, "prompt = \"paste\"");
    let repo = env.repo("repo", 1);
    let _ = answer(&env, &repo, &["create", "one"]);
    let _ = answer(&env, &repo, &["kill", "one"]);
    assert_eq!(lines(&asked), ["asked"]);
    env.assert_nothing_left();
}

#[test]
fn a_program_without_a_terminal_is_interrupted_first() {
    let env = TestEnv::new();
    let (up, ended) = (env.root().join("up"), env.root().join("ended"));
    let script = format!(
        "trap 'echo interrupted >> {0}; exit 0' INT; trap 'echo terminated >> {0}; exit 0' TERM
         touch {1}; while :; do sleep 0.02; done",
        ended.display(),
        up.display()
    );
    shell_harness(&env, &script, "prompt = \"stdin\"");
    let repo = env.repo("repo", 1);
    let _ = answer(&env, &repo, &["create", "one", "--prompt", "go"]);
    wait_until(LONG, "the program", || up.exists().then_some(()));
    let _ = answer(&env, &repo, &["kill", "one"]);
    assert_eq!(lines(&ended), ["interrupted"]);
    env.assert_nothing_left();
}

#[test]
fn a_program_with_a_mark_of_fleets_own_is_ended_all_the_same() {
    let env = TestEnv::new();
    env.write_config(
        "default_agent = \"own\"\nkill_grace_ms = 200\n[harness.own]\n\
         command = [\"/usr/bin/env\", \"FLEET_ROLE=notifier\", \"sleep\", \"1000\"]\nprompt = \"paste\"\n",
    );
    let repo = env.repo("repo", 1);
    let refused = fleet(&env, &repo, &["create", "one", "--env", "FLEET_ROLE=notifier"]).output();
    assert!(refused.fails(2).stderr.contains("fleet's own"));
    let _ = answer(&env, &repo, &["create", "one"]);
    let _ = fleet(&env, &repo, &["kill", "one"])
        .timeout(Duration::from_secs(20))
        .output()
        .success();
    env.assert_nothing_left();
}

#[test]
fn a_limit_on_the_size_of_files_ends_no_supervisor() {
    let env = TestEnv::new();
    let wrote = env.root().join("wrote");
    let script = format!(
        "head -c 4000000 /dev/zero | tr '\\0' x; touch {}; exec sleep 1000",
        wrote.display()
    );
    shell_harness(&env, &script, "prompt = \"paste\"");
    let repo = env.repo("repo", 1);
    let _ = create_after(&env, &repo, "ulimit -f 4096");
    wait_until(LONG, "the output", || wrote.exists().then_some(()));
    assert_eq!(agent(&env)["state"], "working");
    let _ = answer(&env, &repo, &["kill", "one"]);
    env.assert_nothing_left();
}

#[test]
fn a_supervisor_without_a_free_descriptor_sleeps_and_listens_again_when_there_is_one() {
    let env = TestEnv::new();
    shell_harness(&env, "exec sleep 1000", "prompt = \"paste\"");
    let repo = env.repo("repo", 1);
    let _ = create_after(&env, &repo, "ulimit -n 64");
    let id = id(&agent(&env));
    let pid = supervisor(&env, &id);
    let callers: Vec<UnixStream> = (0..80)
        .map(|_| UnixStream::connect(socket(&env, &id)).expect("a place in the line"))
        .collect();
    let descriptors = || fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    wait_until(LONG, "all descriptors taken", || (descriptors() >= 64).then_some(()));
    let before = ticks(pid);
    pause(Duration::from_secs(1));
    let used = ticks(pid) - before;
    assert!(used < 20, "{used} ticks in a second of nothing");
    drop(callers);
    let mut client = Client::connect(&socket(&env, &id)).expect("answered again");
    assert_eq!(client.status().expect("a status").state, "working");
    let _ = answer(&env, &repo, &["kill", "one"]);
    env.assert_nothing_left();
}

#[test]
fn what_is_typed_at_a_program_that_does_not_read_fills_no_memory() {
    let env = TestEnv::new();
    let up = env.root().join("up");
    // In line mode the kernel drops what is too much.
    let script = format!("stty raw -echo; touch {}; exec sleep 1000", up.display());
    shell_harness(&env, &script, "prompt = \"paste\"");
    let repo = env.repo("repo", 1);
    let _ = answer(&env, &repo, &["create", "one"]);
    wait_until(LONG, "the program", || up.exists().then_some(()));
    let id = id(&agent(&env));
    let mut view = UnixStream::connect(socket(&env, &id)).expect("connected");
    view.set_write_timeout(Some(Duration::from_secs(3))).expect("set");
    let keys = wire::encode(wire::kind::INPUT, &[b'x'; 60_000]);
    let mut taken = 0;
    while taken < 64_000_000 {
        match view.write(&keys[taken % keys.len()..]) {
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    assert!(taken < 16_000_000, "{taken} bytes were taken");
    let mut other = Client::connect(&socket(&env, &id)).expect("others are served");
    assert_eq!(other.status().expect("a status").state, "working");
    drop(view);
    let _ = answer(&env, &repo, &["kill", "one", "--force"]);
    env.assert_nothing_left();
}

#[test]
fn a_prompt_is_not_pasted_behind_keys_that_the_program_has_not_read() {
    let env = TestEnv::new();
    let script = "stty raw -echo; printf '> '; exec sleep 1000";
    shell_harness(&env, script, "prompt = \"paste\"\nready = \"^> ?$\"");
    let repo = env.repo("repo", 1);
    let _ = answer(&env, &repo, &["create", "one", "--wait", "ready", "--timeout", "60"]);
    let id = id(&agent(&env));
    let mut person = Client::connect(&socket(&env, &id)).expect("connected");
    let _ = person.view(50, 160).expect("a view");
    person.input(b"ab").expect("typed");
    // Longer than a person's keys usually take to show.
    pause(Duration::from_millis(600));
    let sent = answer(&env, &repo, &["prompt", "one", "fix the login"]);
    assert_eq!(sent["sent"][0]["outcome"], "queued", "{sent}");
    pause(Duration::from_millis(600));
    let facts = journal(&env, &id);
    assert!(facts.iter().all(|entry| entry["fact"] != "prompt_typed"), "{facts:?}");
    let _ = answer(&env, &repo, &["kill", "one"]);
    env.assert_nothing_left();
}

#[test]
fn a_prompt_that_the_journal_cannot_hold_is_not_called_queued_and_spoils_no_other() {
    let env = TestEnv::new();
    shell_harness(&env, "exec sleep 1000", "prompt = \"paste\"\nready = \"^> ?$\"");
    let repo = env.repo("repo", 1);
    let _ = answer(&env, &repo, &["create", "one"]);
    let id = id(&agent(&env));
    let pid = supervisor(&env, &id).to_string();
    let limit = |soft: &str| {
        let limit = format!("--fsize={soft}:");
        let _ = env
            .program("/usr/bin/prlimit", ["--pid", &pid, &limit])
            .output()
            .success();
    };
    // A full disk cuts a line in its middle, as this limit does.
    let size = fs::metadata(env.fleet_home().join("agents").join(&id).join("journal"))
        .expect("a journal")
        .len();
    limit(&(size + 100).to_string());
    let lost = fleet(&env, &repo, &["prompt", "one", &"long ".repeat(100)]).output();
    assert!(!lost.status.success(), "{lost}");
    assert!(lost.stderr.contains("journal cannot be written"), "{lost}");
    limit("unlimited");
    let kept = answer(&env, &repo, &["prompt", "one", "kept"]);
    assert_eq!(kept["sent"][0]["outcome"], "queued", "{kept}");
    let facts = journal(&env, &id);
    let queued: Vec<&Value> = facts.iter().filter(|entry| entry["fact"] == "prompt_queued").collect();
    assert_eq!(queued.len(), 1, "{queued:?}");
    assert_eq!(queued[0]["text"], "kept");
    let _ = answer(&env, &repo, &["kill", "one"]);
    env.assert_nothing_left();
}
