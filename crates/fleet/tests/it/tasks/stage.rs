//! A repository, and a stand-in for Claude Code that says what it costs.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use fleet_core::Kind;
use fleet_testkit::{Cmd, TestEnv, binary};
use serde_json::Value;

use crate::drive::LONG;

/// A report of the task `TASK`.
pub(crate) const GOOD: &str = "fleet_task_id: TASK\ncrew: api\nstatus: completed\ncost_usd: 1.85\n";

pub(crate) struct Stage {
    pub(crate) env: TestEnv,
    pub(crate) repo: PathBuf,
    path: String,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let env = TestEnv::new();
        env.write_config("default_agent = \"claude\"\nclaude_flags = \"\"\n");
        let repo = env.repo("repo", 2);
        let bin = env.root().join("bin");
        fs::create_dir_all(&bin).expect("a folder");
        std::os::unix::fs::symlink(binary("worker"), bin.join("claude")).expect("a link");
        std::os::unix::fs::symlink(binary("fleet"), bin.join("fleet")).expect("a link");
        Self {
            path: format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()),
            env,
            repo,
        }
    }

    /// A run of `fleet` in the repository.
    pub(crate) fn fleet<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        let run = self.env.fleet(args).cwd(&self.repo).timeout(LONG);
        run.env("PATH", &self.path)
            .env("WORKER_LEDGER", self.env.root().join("ledger"))
    }

    /// A run of a program in the repository, with fleet on its PATH.
    pub(crate) fn program(&self, program: PathBuf) -> Cmd {
        let run = self.env.program(program, [] as [&str; 0]).cwd(&self.repo).timeout(LONG);
        run.env("PATH", &self.path)
    }

    #[track_caller]
    pub(crate) fn answer<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        self.fleet(args).arg("--json").output().success().json()
    }

    #[track_caller]
    pub(crate) fn refusal<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, kind: Kind) -> Value {
        let done = self.fleet(args).arg("--json").output();
        done.fails(i32::from(kind.exit_code())).json()
    }

    /// Records a task; its id.
    #[track_caller]
    pub(crate) fn task(&self, args: &[&str]) -> String {
        let made = self.answer([&["task", "create"], args].concat());
        made["task"]["id"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn tasks(&self) -> Vec<Value> {
        self.answer(["task", "list"])["tasks"]
            .as_array()
            .expect("a list")
            .clone()
    }

    /// Runs an agent to its end that works for a task.
    #[track_caller]
    pub(crate) fn run(&self, branch: &str, task: &str, prompt: &str) {
        let create = [
            "create",
            branch,
            "--headless",
            "--task",
            task,
            "-p",
            prompt,
            "--wait",
            "exited",
        ];
        let _ = self.fleet(create).output().success();
    }

    /// Reports with this in the block.
    #[track_caller]
    pub(crate) fn report(&self, body: &str) -> Value {
        self.tell(&block(body)).output().success().json()
    }

    /// `task report` of a text, on standard input.
    pub(crate) fn tell(&self, text: &str) -> Cmd {
        self.fleet(["task", "report", "-", "--json"]).stdin(text)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        let path = self.repo.join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn end(self) {
        let _ = self.fleet(["kill", "*", "--force"]).output();
        self.env.assert_nothing_left();
    }
}

/// A message of a crew with this in its block.
pub(crate) fn block(body: &str) -> String {
    format!("All done.\n\n<!-- FLEET_REPORT\n{body}-->\n")
}
