//! Landing the branches of agents: what is tried, in which order, what is left out, and that nothing is forced.

mod gates;
mod landing;
mod refused;
mod trials;

use std::fs;
use std::path::{Path, PathBuf};

use fleet_testkit::TestEnv;
use serde_json::Value;

use crate::drive::{answer, fleet, text};

/// A repository with agents that have ended their program and whose worktrees are still there.
pub(crate) struct Stage {
    pub(crate) env: TestEnv,
    pub(crate) repo: PathBuf,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let env = TestEnv::new();
        env.config_with_scripted("");
        let repo = env.repo("repo", 2);
        fs::write(
            repo.join("list.txt"),
            "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n",
        )
        .expect("written");
        env.commit_all(&repo, "a list");
        Stage { env, repo }
    }

    /// An agent on `branch` with these files committed.
    pub(crate) fn agent(&self, branch: &str, files: &[(&str, &str)]) -> PathBuf {
        let made = answer(&self.env, &self.repo, ["create", branch]);
        let worktree: PathBuf = text(&made["agents"][0]["worktree"]).into();
        self.commit(&worktree, branch, files);
        worktree
    }

    /// Writes and commits files in a checkout.
    pub(crate) fn commit(&self, folder: &Path, message: &str, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        if !files.is_empty() {
            self.env.commit_all(folder, message);
        }
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.env.git(&self.repo, args).success().stdout.trim().to_owned()
    }

    pub(crate) fn main(&self) -> String {
        self.git(&["rev-parse", "main"])
    }

    /// Lands, and must succeed.
    pub(crate) fn merge(&self, args: &[&str]) -> Value {
        answer(&self.env, &self.repo, [&["merge"], args].concat())
    }

    /// Lands, and must end with this exit code; the answer or the error.
    pub(crate) fn merge_fails(&self, args: &[&str], code: i32) -> Value {
        let run = fleet(&self.env, &self.repo, [&["merge"], args].concat());
        run.arg("--json").output().fails(code).json()
    }

    /// Ends all agents and looks that nothing is left.
    pub(crate) fn end(self) {
        // There may be none any more.
        let _ = fleet(&self.env, &self.repo, ["kill", "*", "--force"]).output();
        self.env.assert_nothing_left();
    }
}

/// `name fate` of each branch of an answer, in its order.
pub(crate) fn fates(answer: &Value) -> Vec<String> {
    let branches = answer["branches"]
        .as_array()
        .unwrap_or_else(|| panic!("branches: {answer}"));
    branches
        .iter()
        .map(|branch| format!("{} {}", text(&branch["name"]), text(&branch["fate"])))
        .collect()
}

/// `file kind with` of each file that keeps `name` from being merged.
pub(crate) fn clashes(answer: &Value, name: &str) -> Vec<String> {
    let branches = answer["branches"].as_array().expect("branches");
    let branch = branches
        .iter()
        .find(|branch| branch["name"] == name)
        .expect("the branch");
    let clashes = branch["clashes"].as_array().cloned().unwrap_or_default();
    clashes
        .iter()
        .map(|clash| {
            let with: Vec<String> = clash["with"].as_array().expect("names").iter().map(text).collect();
            format!("{} {} {}", text(&clash["file"]), text(&clash["kind"]), with.join("+"))
        })
        .collect()
}
