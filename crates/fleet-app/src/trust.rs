//! What agent programs ask before they work: answered before they start, or refused before anything is made.
//!
//! How each is answered is data of its harness ([`fleet_host::harness::trust`]); here is when. A No that the user has
//! given is never overruled. An answer that cannot be given is a warning: the program asks, and the agent waits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fleet_core::agent::Agent;
use fleet_core::id::AgentId;
use fleet_core::name::plural;
use fleet_core::{Error, Result};
use fleet_host::git;
use fleet_host::harness::Harness;
use fleet_host::harness::trust::added::{self, Added};
use fleet_host::harness::trust::{self, Env, Trust};
use fleet_host::process;

use crate::app::App;
use crate::caller::Caller;
use crate::config::Config;

/// One launch whose program is to ask nothing.
pub(crate) struct Asker<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) trust: Trust,
    pub(crate) argv: &'a mut Vec<String>,
    pub(crate) env: &'a mut Env,
}

/// Refuses a program that would refuse to run as root a moment later.
pub(crate) fn check_root(config: &Config, harness: &Harness, env: &Env) -> Result<()> {
    if config.root_bypass || !is_refused(harness.trust, &harness.command, env) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "`{}` does not run as root with its permissions bypassed",
        harness.name
    ))
    .hint(
        "run fleet as another user; or, where root can do no harm, set `root_bypass = true`; or ask for permissions \
         with `claude_flags = \"\"`: `fleet config edit`",
    ))
}

/// Answers for all of one request at once: twenty agents change a user's file once. `main` is the main checkout.
pub(crate) fn answer(app: &App, caller: &Caller, config: &Config, main: Option<&Path>, askers: &mut [Asker<'_>]) {
    let mut files: BTreeMap<PathBuf, Vec<_>> = BTreeMap::new();
    for asker in askers {
        if config.root_bypass && is_refused(asker.trust, asker.argv, asker.env) {
            asker.env.push(("IS_SANDBOX".to_owned(), "1".to_owned()));
        }
        let folders = trust::folders(&asker.agent.worktree, main);
        if !config.trust_worktrees || has_said_no(app, asker.trust, asker.env, &folders) {
            continue;
        }
        let read = |path: &Path| std::fs::read_to_string(asker.agent.worktree.join(path)).ok();
        trust::answer(asker.trust, asker.argv, asker.env, &folders, &read);
        // Without a terminal nobody is asked.
        if !asker.agent.headless {
            let answers = trust::answers_in_file(asker.trust, asker.env, &folders);
            let file = trust::claude_file(asker.env, &app.user_home);
            files.entry(file).or_default().push((asker.agent.id.clone(), answers));
        }
    }
    for (file, wanted) in files {
        if let Err(error) = added::add(&app.home, &file, &wanted) {
            (caller.progress)(&format!(
                "warning: the agent may ask whether its folder is trusted: {}",
                error.message
            ));
        }
    }
}

/// The main checkout of the repository that `agent` works in.
pub(crate) fn main_of(agent: &Agent) -> Option<PathBuf> {
    git::discover(&agent.worktree).ok().and_then(|repo| repo.main_root)
}

/// Removes the keys that only this agent needed; gives what the user should know.
pub(crate) fn forget(app: &App, id: &AgentId) -> Vec<String> {
    match added::remove(&app.home, |each| each == id) {
        Ok(removed) => removed.failed.into_iter().map(still_there).collect(),
        Err(error) => vec![still_there(error)],
    }
}

/// Removes the keys of all agents but `live`; gives a line for each file that was changed, and why others were not.
pub(crate) fn repair(app: &App, live: &[Agent]) -> (Vec<String>, Vec<String>) {
    let live: BTreeSet<&AgentId> = live.iter().map(|agent| &agent.id).collect();
    match added::remove(&app.home, |id| !live.contains(id)) {
        Ok(removed) => {
            let done = by_file(&removed.keys).into_iter().map(|(file, keys)| {
                let count = plural(keys.len(), "key");
                format!("removed {count} of agents that are gone from {}", file.display())
            });
            (done.collect(), removed.failed.into_iter().map(still_there).collect())
        }
        Err(error) => (Vec::new(), vec![still_there(error)]),
    }
}

/// Keys by the file that they are in.
pub(crate) fn by_file(keys: &[Added]) -> BTreeMap<&Path, Vec<&Added>> {
    let mut files: BTreeMap<&Path, Vec<&Added>> = BTreeMap::new();
    for key in keys {
        files.entry(&key.file).or_default().push(key);
    }
    files
}

fn still_there(error: Error) -> String {
    format!("keys that fleet added are still in a file of yours: {}", error.message)
}

/// Whether Claude Code would refuse to run like this.
fn is_refused(trust: Trust, argv: &[String], env: &Env) -> bool {
    trust == Trust::Claude && trust::bypasses(argv) && process::is_root() && !trust::says_sandbox(env)
}

/// Whether the user's own files of the program say No to one of `folders`.
fn has_said_no(app: &App, trust: Trust, env: &Env, folders: &[PathBuf]) -> bool {
    let set = |name: &str| {
        trust::value_of(env, name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let home = set("HOME").unwrap_or_else(|| app.user_home.clone());
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let mut folders = folders.iter().filter_map(|folder| folder.to_str());
    match trust {
        Trust::Unasked | Trust::Claude => false,
        Trust::Codex => {
            let file = set("CODEX_HOME")
                .unwrap_or_else(|| home.join(".codex"))
                .join("config.toml");
            let settings: toml::Table = read(file).parse().unwrap_or_default();
            let level = |folder: &str| settings.get("projects")?.get(folder)?.get("trust_level")?.as_str();
            folders.any(|folder| level(folder) == Some("untrusted"))
        }
        Trust::Gemini => {
            let file = set("GEMINI_CLI_TRUSTED_FOLDERS_PATH");
            let file = file.unwrap_or_else(|| home.join(".gemini/trustedFolders.json"));
            let trusted: BTreeMap<String, String> = serde_json::from_str(&read(file)).unwrap_or_default();
            folders.any(|folder| trusted.get(folder).is_some_and(|word| word == "DO_NOT_TRUST"))
        }
    }
}
