//! A throw-away HOME with a fleet in it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::cmd::{Cmd, Finished};
use crate::received::{Received, read_received};
use crate::scan::{self, Process};
use crate::wait::{poll_until, wait_until};

/// The moment of every commit that the test kit makes.
const COMMIT_DATE: &str = "2026-01-02T03:04:05Z";

/// A private HOME under `/tmp` (short, so that sockets in it fit) with its own fleet home, git configuration and
/// repositories.
///
/// When it is dropped, every process that was started with this HOME is ended and the directory removed.
#[derive(Debug)]
pub struct TestEnv {
    // Removed when this is dropped.
    _dir: TempDir,
    home: PathBuf,
    fleet_home: PathBuf,
    repos: Mutex<Vec<PathBuf>>,
}

impl Default for TestEnv {
    fn default() -> Self {
        Self::new()
    }
}

impl TestEnv {
    /// An empty HOME with a git identity.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("flt")
            .tempdir_in("/tmp")
            .expect("/tmp can hold a directory");
        // Programs report real paths; /tmp may be a symlink.
        let root = dir
            .path()
            .canonicalize()
            .expect("a directory just made has a real path");
        let home = root.join("home");
        let fleet_home = home.join(".ai_fleet");
        fs::create_dir(&home).expect("a fresh directory can hold another");
        let identity = "[user]\n\tname = Test\n\temail = test@example.invalid\n[init]\n\tdefaultBranch = main\n";
        fs::write(home.join(".gitconfig"), identity).expect("a fresh directory can hold a file");
        Self {
            _dir: dir,
            home,
            fleet_home,
            repos: Mutex::default(),
        }
    }

    /// The directory that holds everything, HOME included.
    pub fn root(&self) -> &Path {
        self.home.parent().expect("home is below the root")
    }

    /// HOME.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// `$HOME/.ai_fleet`; not made in advance.
    pub fn fleet_home(&self) -> &Path {
        &self.fleet_home
    }

    /// The receive log that [`TestEnv::config_with_scripted`] tells the agents to write.
    pub fn receive_log(&self) -> PathBuf {
        self.root().join("received.jsonl")
    }

    /// What the scripted agents of this environment have received so far.
    pub fn received(&self) -> Vec<Received> {
        read_received(&self.receive_log())
    }

    /// Writes `config.toml`.
    pub fn write_config(&self, text: &str) {
        fs::create_dir_all(&self.fleet_home).expect("HOME can hold the fleet home");
        fs::write(self.fleet_home.join("config.toml"), text).expect("the fleet home can hold its configuration");
    }

    /// Writes a `config.toml` whose default harness is the scripted agent, prompted by paste. `extra` comes first,
    /// so that it may hold top-level keys as well as tables.
    pub fn config_with_scripted(&self, extra: &str) {
        self.config_with_scripted_args(extra, &[]);
    }

    /// The same with more arguments for the agent.
    pub fn config_with_scripted_args(&self, extra: &str, args: &[&str]) {
        let log = self.receive_log();
        let agent = binary("scripted-agent");
        let fixed = [agent.as_os_str(), OsStr::new("--receive-log"), log.as_os_str()];
        let words: Vec<String> = fixed
            .into_iter()
            .map(|word| word.to_string_lossy().into_owned())
            .chain(args.iter().map(|arg| (*arg).to_owned()))
            // A JSON string is a TOML string too.
            .map(|word| serde_json::to_string(&word).expect("a string is JSON"))
            .collect();
        self.write_config(&format!(
            "default_agent = \"scripted\"\n{extra}\n\n[harness.scripted]\ncommand = [{}]\nprompt = \"paste\"\n\
             ready = \"^> ?$\"\n",
            words.join(", ")
        ));
    }

    /// A git repository `<root>/<name>` on branch `main` with `files` small files in one commit, whose id depends
    /// on nothing else.
    pub fn repo(&self, name: &str, files: usize) -> PathBuf {
        let repo = self.root().join(name);
        fs::create_dir_all(&repo).expect("the root can hold a repository");
        let _ = self.git(&repo, ["init", "--quiet", "-b", "main"]).success();
        for n in 0..files {
            let dir = repo.join(format!("dir{}", n / 50));
            fs::create_dir_all(&dir).expect("a repository can hold directories");
            fs::write(dir.join(format!("file{n}.txt")), format!("file {n}\n")).expect("and files");
        }
        self.commit_all(&repo, "first");
        self.repos
            .lock()
            .expect("no test panics while it holds this")
            .push(repo.clone());
        repo
    }

    /// Commits everything in `repo`, an empty change too, at a fixed date.
    pub fn commit_all(&self, repo: &Path, message: &str) {
        let _ = self.git(repo, ["add", "--all"]).success();
        let _ = self
            .git(repo, ["commit", "--quiet", "--allow-empty", "-m", message])
            .success();
    }

    /// Runs git in `cwd`.
    pub fn git<S: AsRef<OsStr>>(&self, cwd: &Path, args: impl IntoIterator<Item = S>) -> Finished {
        self.program("git", args)
            .cwd(cwd)
            .env("GIT_AUTHOR_DATE", COMMIT_DATE)
            .env("GIT_COMMITTER_DATE", COMMIT_DATE)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
    }

    /// A run of `fleet` in the root.
    pub fn fleet<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        self.program(binary("fleet"), args)
    }

    /// A run of any program in the root with this environment.
    pub fn program<S: AsRef<OsStr>>(&self, program: impl AsRef<Path>, args: impl IntoIterator<Item = S>) -> Cmd {
        Cmd::new(program, self.root()).envs(self.variables()).args(args)
    }

    /// The whole environment that programs get here.
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        vec![
            ("PATH".into(), path),
            ("HOME".into(), self.home.clone().into()),
            ("FLEET_HOME".into(), self.fleet_home.clone().into()),
            ("LANG".into(), "C.UTF-8".into()),
            ("TERM".into(), "xterm-256color".into()),
        ]
    }

    /// The processes that were started with this HOME or fleet home, and tmux servers on sockets below the root
    /// (their environment may have been cleared).
    pub fn own_processes(&self) -> Vec<Process> {
        scan::processes(|process| self.owns(process))
    }

    /// Everything that a fleet without agents must not have left: processes of this environment or in or about its
    /// directory, sockets that answer, linked worktrees.
    pub fn leftovers(&self) -> Vec<String> {
        let processes = scan::processes(|process| self.owns(process) || process.mentions(self.root()));
        let sockets = scan::live_sockets(self.root());
        let repos = self.repos.lock().expect("no test panics while it holds this");
        let worktrees = repos.iter().flat_map(|repo| scan::linked_worktrees(repo));
        let mut left: Vec<String> = processes.iter().map(ToString::to_string).collect();
        left.extend(sockets.iter().map(|path| format!("socket {}", path.display())));
        left.extend(worktrees.map(|path| format!("worktree {}", path.display())));
        left
    }

    /// Fails with a list if anything is left. A supervisor answers a kill a moment before it is gone itself, so
    /// there is a second of grace.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let mut left = Vec::new();
        let clean = poll_until(Duration::from_secs(1), || {
            left = self.leftovers();
            left.is_empty().then_some(())
        });
        assert!(
            clean.is_some(),
            "left behind in {}:\n  {}",
            self.root().display(),
            left.join("\n  ")
        );
    }

    /// Kills every process of this environment with SIGKILL and waits until they are gone.
    pub fn end_processes(&self) {
        wait_until(
            Duration::from_secs(10),
            "the end of the environment's processes",
            || {
                let living = self.own_processes();
                for process in &living {
                    // Looked at once more right before the signal: ids are used again.
                    if Process::read(process.pid).is_some_and(|now| self.owns(&now)) {
                        let _ = kill(Pid::from_raw(i32::try_from(process.pid).ok()?), Signal::SIGKILL);
                    }
                }
                living.is_empty().then_some(())
            },
        );
    }

    fn owns(&self, process: &Process) -> bool {
        let tmux = process.argv.first().is_some_and(|program| program.ends_with("tmux"));
        process.has_env("HOME", &self.home)
            || process.has_env("FLEET_HOME", &self.fleet_home)
            || tmux && process.argv.iter().any(|arg| Path::new(arg).starts_with(self.root()))
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A second panic would abort the test run and hide the first.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.end_processes()));
        } else {
            self.end_processes();
        }
    }
}

/// Where cargo has put a program of this workspace: beside the running test's own directory.
#[track_caller]
pub fn binary(name: &str) -> PathBuf {
    let me = std::env::current_exe().expect("a program knows its own path");
    let dir = me.parent().expect("a program is in a directory");
    // Tests run from target/<profile>/deps, programs such as xtask from target/<profile>.
    let profile = if dir.ends_with("deps") {
        dir.parent().unwrap_or(dir)
    } else {
        dir
    };
    let path = profile.join(name);
    assert!(
        path.exists(),
        "{} is not built; run `cargo build --workspace --bins`",
        path.display()
    );
    path
}
