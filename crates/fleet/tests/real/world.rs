//! One agent program, pointed at a scripted endpoint, with a fleet and a repository around it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_testkit::clis::{self, Cli, Setup};
use fleet_testkit::model::{ModelServer, Request, Script};
use fleet_testkit::{Cmd, Finished, TestEnv, kill_process, poll_until, wait_until};
use serde_json::Value;

/// How long anything may take on a loaded machine.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// A HOME that was made for one program, with an endpoint of its own.
///
/// When it is dropped, whatever still runs in it is ended.
pub(crate) struct World {
    env: TestEnv,
    repo: PathBuf,
    endpoint: ModelServer,
    variables: Vec<(&'static str, String)>,
}

impl World {
    /// A world whose endpoint does what prompts ask: `say`, `run`, `write`, `wait`, `hang`, `fail`.
    #[track_caller]
    pub(crate) fn new(cli: Cli) -> Self {
        Self::with_script(cli, Script::default())
    }

    /// A world whose endpoint follows a script.
    #[track_caller]
    pub(crate) fn with_script(cli: Cli, script: Script) -> Self {
        cli.require();
        let env = TestEnv::new();
        let repo = env.repo("repo", 3);
        env.write_config(&config(cli, "claude_flags = \"\"\n"));
        let endpoint = ModelServer::start(script);
        let setup = Setup {
            home: env.home(),
            url: &endpoint.url(),
            // Fleet itself answers for the folders.
            trust: &[],
            edits: false,
        };
        let mut variables = clis::prepare(&setup).expect("a fresh HOME takes settings");
        // Codex wants its HOME outside of the folder for temporary files.
        let temporary = env.root().join("tmp");
        std::fs::create_dir(&temporary).expect("a fresh folder can hold another");
        variables.push(("TMPDIR", temporary.display().to_string()));
        variables.push(("PATH", clis::search_path()));
        Self {
            env,
            repo,
            endpoint,
            variables,
        }
    }

    /// Settings of fleet's in place of `claude_flags = ""`.
    pub(crate) fn configure(&self, cli: Cli, lines: &str) {
        self.env.write_config(&config(cli, lines));
    }

    /// The HOME of the program and of fleet, with what the program needs to find the endpoint.
    pub(crate) fn home(&self) -> &Path {
        self.env.home()
    }

    /// The main checkout.
    pub(crate) fn repo(&self) -> &Path {
        &self.repo
    }

    /// Where fleet keeps its things.
    pub(crate) fn fleet_home(&self) -> &Path {
        self.env.fleet_home()
    }

    /// The worktree of an agent.
    pub(crate) fn worktree(&self, branch: &str) -> PathBuf {
        self.fleet_home().join("worktrees").join(branch)
    }

    /// What answers the program.
    pub(crate) fn endpoint(&self) -> &ModelServer {
        &self.endpoint
    }

    /// Leaves OpenCode's folder of settings as OpenCode does when it has installed its package there: without that it
    /// would try at each start to which a plugin is given, and without a network in vain.
    pub(crate) fn settle_opencode(&self) {
        let folder = self.home().join(".config/opencode");
        let dependencies = serde_json::json!({"@opencode-ai/plugin": "*"});
        let lock = serde_json::json!({"lockfileVersion": 3, "packages": {"": {"dependencies": dependencies}}});
        std::fs::create_dir_all(folder.join("node_modules")).expect("HOME can be written");
        std::fs::write(folder.join("package-lock.json"), lock.to_string()).expect("HOME can be written");
    }

    /// Keeps the fleet, its configuration and its worktrees in `folder` instead of HOME.
    pub(crate) fn keep_fleet_in(&mut self, folder: &Path) {
        let configuration = self.env.fleet_home().join("config.toml");
        std::fs::copy(configuration, folder.join("config.toml")).expect("the folder can be written");
        self.variables.push(("FLEET_HOME", folder.display().to_string()));
    }

    /// The folder that holds everything, HOME and repository among it.
    pub(crate) fn root(&self) -> &Path {
        self.env.root()
    }

    /// A run of git in the main checkout.
    #[track_caller]
    pub(crate) fn git<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Finished {
        self.env.git(&self.repo, args).success()
    }

    /// The whole environment of the agent's program.
    pub(crate) fn environment(&self) -> BTreeMap<OsString, OsString> {
        let of_program = self.variables.iter().map(|(name, value)| (name.into(), value.into()));
        self.env.variables().into_iter().chain(of_program).collect()
    }

    /// A run of a program of the agent's, as if the agent ran it.
    pub(crate) fn program<'a>(&self, cli: Cli, args: impl IntoIterator<Item = &'a str>) -> Cmd {
        let variables = self.variables.iter().map(|(name, value)| (name.into(), value.into()));
        let run = self.env.program(clis::folder().join(cli.name()), args);
        run.envs(variables).cwd(&self.repo).timeout(LONG)
    }

    /// A run of `fleet` in the repository.
    pub(crate) fn fleet<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Cmd {
        let variables = self.variables.iter().map(|(name, value)| (name.into(), value.into()));
        self.env.fleet(args).envs(variables).cwd(&self.repo).timeout(LONG)
    }

    /// The answer of a verb with `--json`.
    #[track_caller]
    pub(crate) fn answer<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Value {
        self.fleet(args).arg("--json").output().success().json()
    }

    /// Creates an agent on `branch` and waits until its program takes prompts.
    #[track_caller]
    pub(crate) fn start(&self, branch: &str) {
        let _ = self.fleet(["create", branch]).output().success();
        self.wait_state(branch, "ready");
    }

    /// What `fleet list` says of the agent; null when it is not there.
    #[track_caller]
    pub(crate) fn agent(&self, branch: &str) -> Value {
        let list = self.answer(["list"]);
        let agents = list["agents"].as_array().cloned().unwrap_or_default();
        agents
            .into_iter()
            .find(|agent| agent["branch"] == branch)
            .unwrap_or_default()
    }

    /// Waits until `fleet list` gives this state; fails with the screen when it never does.
    #[track_caller]
    pub(crate) fn wait_state(&self, branch: &str, state: &str) {
        let mut seen = Value::Null;
        let reached = poll_until(LONG, || {
            seen = self.agent(branch)["state"].clone();
            (seen == state).then_some(())
        });
        assert!(reached.is_some(), "{branch} is {seen}, not {state}:\n{}", self.story());
    }

    /// What the agent's terminal shows, and a little of what it showed before.
    #[track_caller]
    pub(crate) fn screen(&self, branch: &str) -> String {
        self.fleet(["logs", branch, "-n", "60"]).output().success().stdout
    }

    /// The first request of a conversation for which `wanted` is true, as soon as there is one.
    #[track_caller]
    pub(crate) fn wait_request(&self, what: &str, wanted: impl Fn(&Request) -> bool) -> Request {
        let found = self
            .endpoint
            .find_request(LONG, |request| request.is_conversation() && wanted(request));
        match found {
            Some(request) => request,
            None => panic!("waited {LONG:?} in vain: {what}\n{}", self.story()),
        }
    }

    /// How often this text was typed in one conversation, as the endpoint was told. Blanks at its end do not count:
    /// the programs take them off.
    pub(crate) fn arrivals(&self, prompt: &str) -> usize {
        let times = |request: &Request| {
            let typed = request
                .prompts
                .iter()
                .filter(|typed| typed.trim_end() == prompt.trim_end());
            typed.count()
        };
        self.endpoint.conversation().iter().map(times).max().unwrap_or(0)
    }

    /// What the endpoint was asked and what every agent shows, for a test that fails.
    fn story(&self) -> String {
        let list = self.fleet(["list", "--json"]).output();
        let list: Value = serde_json::from_str(&list.stdout).unwrap_or_default();
        let agents = list["agents"].as_array().cloned().unwrap_or_default();
        let screens = agents
            .iter()
            .filter_map(|agent| agent["branch"].as_str())
            .map(|branch| {
                let screen = self.fleet(["logs", branch, "-n", "60"]).output().stdout;
                let facts = self.fleet(["explain", branch]).output().stdout;
                format!("--- {branch}\n{screen}\n{facts}")
            });
        let screens: String = screens.collect();
        format!("--- requests\n{}{screens}", self.endpoint.overview())
    }

    /// The power goes: every supervisor first, so that nobody can write a last word, then all the rest. From here on it
    /// is after the next boot, when process ids mean nothing any more.
    #[track_caller]
    pub(crate) fn cut_power(&mut self) {
        let supervisors = self.env.own_processes().into_iter();
        let supervisors = supervisors.filter(|process| process.has_env("FLEET_ROLE", "supervisor"));
        for process in supervisors.collect::<Vec<_>>() {
            kill_process(process.pid);
        }
        self.env.end_processes();
        wait_until(LONG, "the end of everything", || {
            self.env.own_processes().is_empty().then_some(())
        });
        self.variables.push(("FLEET_TEST_BOOT_ID", "the-boot-after".to_owned()));
    }

    /// The supervisors and drivers of this world: their process ids.
    pub(crate) fn own_pids(&self) -> Vec<u32> {
        let processes = self.env.own_processes().into_iter();
        let own = processes.filter(|process| {
            process.has_env("FLEET_ROLE", "supervisor") || process.argv.iter().any(|arg| arg == "__drive")
        });
        own.map(|process| process.pid).collect()
    }

    /// Kills every agent there may still be, and looks that nothing of them is left.
    #[track_caller]
    pub(crate) fn end_all(&self) {
        let _ = self.fleet(["kill", "*"]).output();
        self.env.assert_nothing_left();
    }

    /// Kills every agent, and looks that nothing of them is left. The endpoint stays, with its log.
    #[track_caller]
    pub(crate) fn end(&self) {
        let _ = self.fleet(["kill", "*", "--delete-branch"]).output().success();
        self.env.assert_nothing_left();
    }
}

fn config(cli: Cli, lines: &str) -> String {
    format!("default_agent = \"{}\"\n{lines}", cli.name())
}
