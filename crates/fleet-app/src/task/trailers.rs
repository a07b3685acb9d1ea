//! The trailer `Fleet-Task:` in the commits of an agent that works for a task, whatever its model thinks of.
//!
//! git is given a folder of hooks of fleet's own, for the agent's process alone and by its environment: no setting and no
//! file of the user's is touched. Each hook in it runs the repository's own of the same name, from wherever that has it.
//! `--no-verify` leaves out the same of those as ever. Where git heeds none of this, the commits are seen all the same
//! ([`super::made`]).

use std::path::{Path, PathBuf};

use fleet_core::Result;
use fleet_host::{files, git};

use crate::app::App;

/// What stands in each hook.
const SCRIPT: &str = include_str!("hook.sh");

/// The hooks that git runs in a checkout. Those of a repository that is pushed to run without our environment.
const USUAL: [&str; 16] = [
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "commit-msg",
    "post-commit",
    "pre-rebase",
    "post-checkout",
    "post-merge",
    "pre-push",
    "pre-auto-gc",
    "post-rewrite",
    "sendemail-validate",
    "push-to-checkout",
];

/// Those that git runs many times for one command: they are there only for a repository that has one.
const OFTEN: [&str; 2] = ["reference-transaction", "post-index-change"];

/// The variables that make git use the hooks, for a program in `worktree` with the environment `env`.
///
/// # Errors
/// The hooks cannot be written.
pub(crate) fn variables(app: &App, worktree: &Path, env: &[(String, String)]) -> Result<Vec<(String, String)>> {
    let theirs = git::hooks(worktree);
    let often = OFTEN
        .iter()
        .any(|name| theirs.as_ref().is_some_and(|folder| folder.join(name).exists()));
    let names: Vec<&str> = match often {
        true => USUAL.iter().chain(&OFTEN).copied().collect(),
        false => USUAL.to_vec(),
    };
    let folder = root(app).join(if often { "every" } else { "usual" });
    files::create_private_dir("task.hooks", &folder)?;
    for name in names {
        let path = folder.join(name);
        if std::fs::read(&path).ok().as_deref() != Some(SCRIPT.as_bytes()) {
            files::write_cache("task.hook", &path, SCRIPT.as_bytes(), 0o755)?;
        }
    }
    let value = |name: &str| {
        env.iter()
            .rfind(|(each, _)| each == name)
            .map(|(_, value)| value.clone())
    };
    let count: usize = value(COUNT).and_then(|count| count.parse().ok()).unwrap_or(0);
    Ok(vec![
        (format!("GIT_CONFIG_KEY_{count}"), KEY.to_owned()),
        (format!("GIT_CONFIG_VALUE_{count}"), folder.display().to_string()),
        (COUNT.to_owned(), (count + 1).to_string()),
    ])
}

/// Takes out of `env` what [`variables`] has put into the environment of the agent that is asking: another agent has a task of
/// its own, or none.
pub(crate) fn forget(app: &App, env: &mut Vec<(String, String)>) {
    let value = |env: &[(String, String)], name: &str| {
        let found = env.iter().rfind(|(each, _)| each == name);
        found.map(|(_, value)| value.clone())
    };
    while let Some(last) = value(env, COUNT)
        .and_then(|count| count.parse::<usize>().ok())
        .and_then(|count| count.checked_sub(1))
    {
        let (key, path) = (format!("GIT_CONFIG_KEY_{last}"), format!("GIT_CONFIG_VALUE_{last}"));
        let ours = value(env, &key).as_deref() == Some(KEY)
            && value(env, &path).is_some_and(|path| Path::new(&path).starts_with(root(app)));
        if !ours {
            return;
        }
        env.retain(|(name, _)| *name != key && *name != path && name != COUNT);
        if last > 0 {
            env.push((COUNT.to_owned(), last.to_string()));
        }
    }
}

const COUNT: &str = "GIT_CONFIG_COUNT";
const KEY: &str = "core.hooksPath";

fn root(app: &App) -> PathBuf {
    app.home.root().join("hooks")
}
