//! A repository with a fleet whose agents are scripted, and short words for what the tests do with it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use fleet_core::id::AgentId;
use fleet_host::home::Home;
use fleet_testkit::{Cmd, Finished, TestEnv, binary, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// For everything that must happen; a busy machine may take its time.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// One repository and its fleet.
pub(crate) struct Stage {
    pub(crate) env: TestEnv,
    pub(crate) repo: PathBuf,
}

impl Stage {
    /// A fleet whose default harness is the scripted agent with `args`.
    pub(crate) fn scripted(args: &[&str]) -> Self {
        let stage = Self::bare();
        stage.env.config_with_scripted_args("", args);
        stage
    }

    /// A fleet whose default harness is `command`.
    pub(crate) fn with_harness(command: &[&str], ready: Option<&str>) -> Self {
        let stage = Self::bare();
        let ready = ready
            .map(|rule| format!("ready = {}\n", quoted(rule)))
            .unwrap_or_default();
        let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
        stage.env.write_config(&format!(
            "default_agent = \"own\"\n[harness.own]\ncommand = [{}]\nprompt = \"paste\"\n{ready}",
            words.join(", ")
        ));
        stage
    }

    /// A fleet whose default harness is the scripted agent with `args`, and no `ready` rule.
    pub(crate) fn without_rule(args: &[&str]) -> Self {
        let stage = Self::bare();
        let (agent, log) = (binary("scripted-agent"), stage.env.receive_log());
        let words = [agent.to_string_lossy(), "--receive-log".into(), log.to_string_lossy()];
        let words: Vec<String> = words
            .iter()
            .map(|word| quoted(word))
            .chain(args.iter().map(|word| quoted(word)))
            .collect();
        stage.env.write_config(&format!(
            "default_agent = \"own\"\n[harness.own]\ncommand = [{}]\nprompt = \"paste\"\n",
            words.join(", ")
        ));
        stage
    }

    /// A fleet whose default harness is the scripted agent without a terminal.
    pub(crate) fn headless(args: &[&str]) -> Self {
        let stage = Self::without_rule(&[&["--stdin"], args].concat());
        let path = stage.env.fleet_home().join("config.toml");
        let config = fs::read_to_string(&path).expect("the configuration just written");
        stage.env.write_config(&config.replace("\"paste\"", "\"stdin\""));
        stage
    }

    fn bare() -> Self {
        let env = TestEnv::new();
        let repo = env.repo("shop", 2);
        Self { env, repo }
    }

    /// A run of `fleet` in the repository.
    pub(crate) fn fleet(&self, args: &[&str]) -> Cmd {
        self.env.fleet(args).cwd(&self.repo).timeout(LONG)
    }

    /// Starts an agent and waits until it is ready.
    #[track_caller]
    pub(crate) fn create(&self, branch: &str) {
        let _ = self.fleet(&["create", branch, "--wait", "ready"]).output().success();
    }

    /// Starts an agent and does not wait.
    #[track_caller]
    pub(crate) fn create_now(&self, branch: &str) {
        let _ = self.fleet(&["create", branch]).output().success();
    }

    /// Sends a prompt; JSON is asked for.
    pub(crate) fn prompt(&self, branch: &str, text: &str) -> Finished {
        self.fleet(&["prompt", branch, "--json", "-m", text]).output()
    }

    /// What `explain` says of an agent.
    #[track_caller]
    pub(crate) fn explain(&self, branch: &str) -> Value {
        self.fleet(&["explain", branch, "--json"]).output().success().json()
    }

    /// Its program's process id.
    #[track_caller]
    pub(crate) fn program(&self, branch: &str) -> u32 {
        number(&self.explain(branch)["agent"]["pid"])
    }

    /// Its supervisor's process id.
    #[track_caller]
    pub(crate) fn supervisor(&self, branch: &str) -> u32 {
        parent(self.program(branch)).expect("a running program has a supervisor")
    }

    /// Its id.
    #[track_caller]
    pub(crate) fn id(&self, branch: &str) -> AgentId {
        serde_json::from_value(self.explain(branch)["agent"]["id"].clone()).expect("an id")
    }

    /// Its supervisor's socket.
    #[track_caller]
    pub(crate) fn socket(&self, branch: &str) -> PathBuf {
        let home = Home::at(self.env.fleet_home());
        home.runtime_dir(None)
            .expect("a runtime folder")
            .socket(&self.id(branch))
    }

    /// The folder of its journal and output.
    #[track_caller]
    pub(crate) fn folder(&self, branch: &str) -> PathBuf {
        Home::at(self.env.fleet_home()).agent_dir(&self.id(branch))
    }

    /// The texts that the agents have really received.
    pub(crate) fn received(&self) -> Vec<String> {
        self.env.received().into_iter().map(|each| each.text).collect()
    }

    /// Waits until exactly `texts` were received, in this order.
    #[track_caller]
    pub(crate) fn wait_received(&self, texts: &[&str]) {
        wait_until(LONG, &format!("the receive log to hold {texts:?}"), || {
            (self.received().len() >= texts.len()).then_some(())
        });
        assert_eq!(self.received(), texts);
    }

    /// Waits for a state.
    #[track_caller]
    pub(crate) fn wait_state(&self, branch: &str, state: &str) {
        let _ = self
            .fleet(&["wait", branch, "--until", state, "--timeout", "60"])
            .output()
            .success();
    }

    /// Ends all agents and proves that nothing is left.
    #[track_caller]
    pub(crate) fn end(&self) {
        let killed = self.fleet(&["kill", "*", "--force", "--delete-branch"]).output();
        // 3: a test has ended the last one itself.
        assert!(matches!(killed.status.code(), Some(0 | 3)), "{killed}");
        wait_until(LONG, "the end of everything", || {
            self.env.leftovers().is_empty().then_some(())
        });
        self.env.assert_nothing_left();
    }
}

/// What became of the only prompt of an answer.
#[track_caller]
pub(crate) fn outcome(finished: &Finished) -> String {
    let answer: Value = finished.json();
    answer["sent"][0]["outcome"].as_str().expect("an outcome").to_owned()
}

/// Sends SIGKILL.
pub(crate) fn kill_hard(pid: u32) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
}

/// The parent of a process; none when it has ended.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Runs a command of fleet's own tmux server.
#[track_caller]
pub(crate) fn tmux(stage: &Stage, branch: &str, verb: &[&str]) -> Finished {
    let (socket, _) = session(stage, branch);
    let args: Vec<&str> = ["-S", &socket].into_iter().chain(verb.iter().copied()).collect();
    stage.env.program("tmux", args).output()
}

/// The socket of fleet's tmux server and the target of an agent's session there.
#[track_caller]
pub(crate) fn session(stage: &Stage, branch: &str) -> (String, String) {
    let line = stage.fleet(&["attach", branch, "--print"]).output().success().stdout;
    let words: Vec<String> = line
        .split_whitespace()
        .map(|word| word.trim_matches('\'').to_owned())
        .collect();
    let after = |flag: &str| {
        words
            .iter()
            .position(|word| word == flag)
            .map(|at| words[at + 1].clone())
    };
    (after("-S").expect("a socket"), after("-t").expect("a session"))
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON, and TOML")
}

#[track_caller]
fn number(value: &Value) -> u32 {
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .expect("a number")
}
