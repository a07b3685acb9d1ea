//! A fleet root with a plan, and a stand-in for Claude Code on the PATH.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use fleet_testkit::{Cmd, TestEnv, binary, wait_until};
use serde_json::{Value, json};

use crate::drive::LONG;

/// A private HOME, a fleet root `root` in it, and where the stand-in notes what would have been paid for.
pub(crate) struct Stage {
    pub(crate) env: TestEnv,
    pub(crate) root: PathBuf,
    pub(crate) ledger: PathBuf,
    path: String,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// The same with more settings.
    pub(crate) fn with(settings: &str) -> Self {
        let env = TestEnv::new();
        env.write_config(&format!("claude_flags = \"\"\n{settings}\n"));
        let bin = env.root().join("bin");
        fs::create_dir_all(&bin).expect("a folder");
        std::os::unix::fs::symlink(binary("worker"), bin.join("claude")).expect("a link");
        let root = env.root().join("root");
        fs::create_dir_all(&root).expect("a folder");
        Self {
            path: format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()),
            ledger: env.root().join("ledger"),
            root,
            env,
        }
    }

    /// A run of `fleet` in the folder of everything.
    pub(crate) fn fleet<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        self.env
            .fleet(args)
            .cwd(self.env.root())
            .env("PATH", &self.path)
            .env("WORKER_LEDGER", &self.ledger)
            .timeout(LONG)
    }

    #[track_caller]
    pub(crate) fn answer<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        self.fleet(args).arg("--json").output().success().json()
    }

    /// Writes the plan and the workers' prompts.
    pub(crate) fn plan(&self, plan: &Value, prompts: &[(&str, &str)]) {
        let mut plan = plan.clone();
        if plan["config"].is_null() {
            plan["config"] = json!({});
        }
        if plan["config"].get("retry_delay_seconds").is_none() {
            plan["config"]["retry_delay_seconds"] = json!(0.05);
        }
        self.write("fleet.json", &serde_json::to_string_pretty(&plan).expect("JSON"));
        for (id, prompt) in prompts {
            self.write(&format!("workers/{id}/prompt.md"), &format!("Do {id}.\n{prompt}\n"));
        }
    }

    /// A dag of workers: id, what it waits for, prompt.
    pub(crate) fn dag(&self, workers: &[(&str, &[&str], &str)]) {
        let rows: Vec<Value> = workers
            .iter()
            .map(|(id, after, _)| json!({"id": id, "type": "code-run", "depends_on": after}))
            .collect();
        let prompts: Vec<(&str, &str)> = workers.iter().map(|(id, _, prompt)| (*id, *prompt)).collect();
        self.plan(&json!({"fleet_name": "try", "type": "dag", "workers": rows}), &prompts);
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> String {
        let path = self.root.join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.read(path)).expect("JSON")
    }

    /// The run of the root, as `status` tells of it.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.answer(["status", "root"])["runs"][0].clone()
    }

    /// What was begun and would have been paid for, in order.
    pub(crate) fn paid(&self) -> Vec<String> {
        let begun = |line: &String| !line.starts_with("done ");
        self.noted().into_iter().filter(begun).collect()
    }

    /// Everything that the stand-in noted.
    pub(crate) fn noted(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.ledger).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the stand-in has noted `line`.
    #[track_caller]
    pub(crate) fn wait_noted(&self, line: &str) {
        wait_until(LONG, line, || {
            self.noted().iter().any(|each| each == line).then_some(())
        });
    }

    /// Waits until the run is in `state`; its record.
    #[track_caller]
    pub(crate) fn wait_state(&self, state: &str) -> Value {
        wait_until(LONG, state, || Some(self.status()).filter(|run| run["state"] == state))
    }
}

/// The workers of a run, each with its state.
pub(crate) fn states(run: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let workers = run["workers"].as_array().expect("workers");
    workers
        .iter()
        .map(|worker| format!("{} {}", text(&worker["id"]), text(&worker["state"])))
        .collect()
}

/// What happened in a run: event and sentence.
pub(crate) fn events(run: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = run["events"].as_array().expect("events");
    events
        .iter()
        .map(|event| format!("{}: {}", text(&event["event"]), text(&event["about"])))
        .collect()
}
