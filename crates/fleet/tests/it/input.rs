//! Bad input: each with a clear error, a hint that works, and nothing half done.

mod home;
mod output;
mod secrets;
mod settings;
mod start;
mod targets;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_testkit::{Cmd, Finished, TestEnv, binary, wait_until};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// A home with the scripted harness and a repository with one commit.
fn scene(extra: &str) -> (TestEnv, PathBuf) {
    let env = TestEnv::new();
    env.config_with_scripted(extra);
    let repo = env.repo("repo", 2);
    (env, repo)
}

/// A run of fleet in `dir` with time enough for a busy machine.
fn fleet(env: &TestEnv, dir: &Path, args: &[&str]) -> Cmd {
    env.fleet(args).cwd(dir).timeout(PATIENCE)
}

/// What an error said.
struct Said {
    message: String,
    hint: String,
    whole: Finished,
}

/// Expects exit code `code` and an error in the form of DESIGN §14: nothing on standard output, a message in lower
/// case without a full stop, and a hint.
#[track_caller]
fn refused(done: Finished, code: i32) -> Said {
    let done = done.fails(code);
    assert_eq!(done.stdout, "", "an error is no answer: {done}");
    let line = |start: &str| {
        done.stderr
            .lines()
            .find_map(|line| line.strip_prefix(start))
            .map(str::to_owned)
    };
    let message = line("error: ").unwrap_or_else(|| panic!("no error in {done}"));
    let hint = line("hint: ").unwrap_or_else(|| panic!("no hint in {done}"));
    let upper = message.starts_with(char::is_uppercase) && !message.starts_with("FLEET_");
    assert!(!message.ends_with('.') && !upper, "style of {done}");
    Said {
        message,
        hint,
        whole: done,
    }
}

impl Said {
    #[track_caller]
    fn says(self, words: &str) -> Self {
        assert!(
            self.message.contains(words),
            "no {words:?} in the message of {}",
            self.whole
        );
        self
    }

    #[track_caller]
    fn hints(self, words: &str) -> Self {
        assert!(self.hint.contains(words), "no {words:?} in the hint of {}", self.whole);
        self
    }

    /// Output of another program, as quoted.
    #[track_caller]
    fn shows(self, words: &str) -> Self {
        let quoted = self
            .whole
            .stderr
            .lines()
            .any(|line| line.starts_with("  | ") && line.contains(words));
        assert!(quoted, "{words:?} is not shown by {}", self.whole);
        self
    }

    /// The first text in backticks of the hint that is a command.
    #[track_caller]
    fn command(&self) -> String {
        let parts = self.hint.split('`').skip(1).step_by(2);
        let mut commands = parts.filter(|part| part.contains(' '));
        commands
            .next()
            .map(str::to_owned)
            .unwrap_or_else(|| panic!("no command in the hint of {}", self.whole))
    }

    /// Pastes the command of the hint into a shell in `dir` after `fill` has been done to it.
    fn paste(&self, env: &TestEnv, dir: &Path, fill: impl Fn(String) -> String) -> Finished {
        paste(env, dir, &fill(self.command()))
    }
}

/// Runs a line as a user would, with `fleet` on the path and an editor that changes nothing.
fn paste(env: &TestEnv, dir: &Path, line: &str) -> Finished {
    let program = binary("fleet");
    let folder = program.parent().expect("a folder");
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", folder.display());
    env.program("/bin/sh", ["-c", line])
        .cwd(dir)
        .env("PATH", path)
        .env("EDITOR", "true")
        .timeout(PATIENCE)
        .output()
}

/// Everything of a repository and a fleet that a refused call must not change.
#[derive(Debug, PartialEq)]
struct World {
    refs: String,
    worktrees: String,
    agents: Vec<Value>,
    folders: Vec<String>,
}

fn world(env: &TestEnv, repo: &Path) -> World {
    let agents: Value = fleet(env, env.root(), &["list", "--all", "--json"])
        .output()
        .success()
        .json();
    let mut agents = agents["agents"].as_array().cloned().expect("a list");
    for agent in &mut agents {
        let agent = agent.as_object_mut().expect("a record");
        agent.retain(|key, _| ["branch", "id", "phase", "pid", "session", "worktree"].contains(&key.as_str()));
    }
    let mut folders: Vec<String> = Vec::new();
    for folder in ["agents", "worktrees", "trash"] {
        let entries = fs::read_dir(env.fleet_home().join(folder))
            .into_iter()
            .flatten()
            .flatten();
        folders.extend(entries.map(|entry| format!("{folder}/{}", entry.file_name().display())));
    }
    folders.sort();
    World {
        refs: env.git(repo, ["for-each-ref"]).success().stdout,
        worktrees: env.git(repo, ["worktree", "list", "--porcelain"]).success().stdout,
        agents,
        folders,
    }
}

/// Runs `act` and expects that it leaves the world as it was, and no process.
#[track_caller]
fn changes_nothing(env: &TestEnv, repo: &Path, act: impl FnOnce()) {
    let before = world(env, repo);
    act();
    assert_eq!(world(env, repo), before);
    if before.agents.iter().all(|agent| agent["phase"] == "ended") {
        env.assert_nothing_left();
    }
}

/// A folder with links to exactly these programs, to be all of `PATH`.
fn only(env: &TestEnv, programs: &[&str]) -> PathBuf {
    let folder = env.root().join(format!("bin-{}", programs.join("-")));
    fs::create_dir_all(&folder).expect("the root can hold a folder");
    for program in programs {
        let places = ["/usr/local/bin", "/usr/bin", "/bin"];
        let path = places
            .iter()
            .map(|place| Path::new(place).join(program))
            .find(|path| path.exists());
        let path = path.unwrap_or_else(|| panic!("{program} is installed"));
        let _ = symlink(path, folder.join(program));
    }
    folder
}

/// Writes a shell script.
fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("made executable");
}

/// Ends all agents that live.
#[track_caller]
fn kill_all(env: &TestEnv) {
    let _ = fleet(env, env.root(), &["kill", "*", "--force"]).output().success();
    wait_until(PATIENCE, "the end of everything", || {
        env.leftovers().is_empty().then_some(())
    });
}
