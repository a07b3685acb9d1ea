use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use fleet_testkit::scan::Process;
use fleet_testkit::{TestEnv, binary, wait_until};

#[test]
fn a_repository_is_the_same_in_every_environment() {
    let head = |env: &TestEnv| {
        let repo = env.repo("repo", 120);
        env.git(&repo, ["rev-parse", "HEAD"]).success().stdout
    };
    let (one, other) = (TestEnv::new(), TestEnv::new());
    let id = head(&one);
    assert_eq!(id.trim().len(), 40);
    assert_eq!(id, head(&other));
    let branch = one
        .git(&one.root().join("repo"), ["symbolic-ref", "--short", "HEAD"])
        .success();
    assert_eq!(branch.stdout, "main\n");
}

#[test]
fn programs_see_only_the_private_environment() {
    let env = TestEnv::new();
    let seen = env
        .program("/usr/bin/env", [""; 0])
        .env("FLEET_X", "1")
        .output()
        .success()
        .stdout;
    let mut names: Vec<&str> = seen
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["FLEET_HOME", "FLEET_X", "HOME", "LANG", "PATH", "TERM"]);
    assert!(seen.contains(&format!("HOME={}\n", env.home().display())));
}

#[test]
fn the_configuration_names_the_scripted_agent_and_its_log() {
    let env = TestEnv::new();
    env.config_with_scripted_args("tmux_prefix = \"x-\"", &["--turn-ms", "5"]);
    let text = fs::read_to_string(env.fleet_home().join("config.toml")).unwrap();
    let command = format!(
        "command = [\"{}\", \"--receive-log\", \"{}\", \"--turn-ms\", \"5\"]",
        binary("scripted-agent").display(),
        env.receive_log().display()
    );
    assert!(
        text.starts_with("default_agent = \"scripted\"\ntmux_prefix = \"x-\"\n"),
        "{text}"
    );
    assert!(
        text.contains(&format!("[harness.scripted]\n{command}\nprompt = \"paste\"\n")),
        "{text}"
    );
}

#[test]
fn dropping_the_environment_ends_its_processes_and_removes_it() {
    let env = TestEnv::new();
    let root = env.root().to_path_buf();
    let child = env.program("/bin/sleep", ["600"]).spawn();
    let pid = child.pid();
    assert!(env.own_processes().iter().any(|process| process.pid == pid));
    drop(env);
    assert!(Process::read(pid).is_none(), "a zombie at most");
    assert!(!root.exists());
}

#[test]
fn a_clean_environment_passes_and_finds_nothing() {
    let env = TestEnv::new();
    env.repo("repo", 1);
    env.assert_nothing_left();
}

#[test]
fn everything_that_is_left_is_listed() {
    let env = TestEnv::new();
    let repo = env.repo("repo", 1);
    let _ = env
        .git(&repo, ["worktree", "add", "--quiet", "-b", "side", "../side"])
        .success();
    let socket = env.root().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    // By its directory only: its environment is another.
    let other = fleet_testkit::Cmd::new("/bin/sleep", env.root()).arg("600").spawn();
    let left = wait_until(Duration::from_secs(5), "the process to have become sleep", || {
        Some(env.leftovers()).filter(|left| left.iter().any(|line| line.contains("sleep 600")))
    });
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left[0].starts_with(&format!("process {}: ", other.pid())), "{left:?}");
    assert_eq!(left[1], format!("socket {}", socket.display()));
    assert_eq!(left[2], format!("worktree {}", env.root().join("side").display()));
}

#[test]
#[should_panic(expected = "left behind in /tmp/flt")]
fn what_is_left_fails_the_assertion() {
    let env = TestEnv::new();
    let _child = env.program("/bin/sleep", ["600"]).spawn();
    env.assert_nothing_left();
}

#[test]
#[should_panic(expected = "is not built")]
fn a_missing_program_is_named() {
    binary(Path::new("no-such-program").to_str().unwrap());
}
