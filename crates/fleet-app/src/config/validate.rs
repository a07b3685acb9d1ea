//! What settings that read well can still have wrong with them: files and programs that are not there.

use std::path::Path;

use fleet_core::nearest::nearest;
use fleet_host::exec::find_program;
use fleet_host::harness::BUILTIN;
use fleet_host::{files, git};
use nix::unistd::{AccessFlags, access};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_copy;
use super::{Config, PromptWay, canonical_harness};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// An agent could not be started, or a setting would have no effect.
    Error,
    /// It works, but perhaps not as meant.
    Warning,
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// The key it is about.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Looks at the world that `config` speaks of: the main checkout `repo` (without one, nothing of it is checked) and
/// the programs on `path`, the value of a `PATH` variable.
pub fn validate(config: &Config, repo: Option<&Path>, path: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    check_repo_root(config, &mut findings);
    check_worktree_root(config, repo, &mut findings);
    check_harnesses(config, path, &mut findings);
    for (key, argv) in [
        ("on_waiting", &config.on_waiting),
        ("on_idle", &config.on_idle),
        ("on_exit", &config.on_exit),
    ] {
        if let Some(program) = argv.as_ref().and_then(|argv| argv.first())
            && find_program(program, path).is_none()
        {
            findings.push(error(key, format!("`{program}` is not installed or not on PATH"), None));
        }
    }
    for file in &config.credential_files {
        if let Some(Err(refused)) = repo.map(|root| check_copy(root, file)) {
            findings.push(error("credential_files", refused.message, refused.hint));
        }
    }
    findings
}

fn check_repo_root(config: &Config, findings: &mut Vec<Finding>) {
    let Some(root) = &config.repo_root else { return };
    if let Err(refused) = git::discover(root) {
        findings.push(error(
            "repo_root",
            refused.message,
            Some("name the folder of a git repository".to_owned()),
        ));
    }
}

fn check_worktree_root(config: &Config, repo: Option<&Path>, findings: &mut Vec<Finding>) {
    let root = &config.worktree_root;
    let shown = root.display();
    let Some(existing) = files::existing_ancestor(root) else {
        return;
    };
    if !existing.is_dir() {
        findings.push(error(
            "worktree_root",
            format!("{} is no directory", existing.display()),
            None,
        ));
    } else if let Err(why) = access(&existing, AccessFlags::W_OK | AccessFlags::X_OK) {
        let hint = format!("see who owns it: `ls -ld {}`", existing.display());
        let message = format!("cannot write in {}: {}", existing.display(), why.desc().to_lowercase());
        findings.push(error("worktree_root", message, Some(hint)));
    }
    if let Some(kind) = files::network_file_system(root) {
        findings.push(warning(
            "worktree_root",
            format!("{shown} is on {kind}, where git is slow"),
            None,
        ));
    }
    if repo.is_some_and(|repo| root.starts_with(repo)) {
        let message = format!("{shown} is inside the repository, where worktrees count as its untracked files");
        findings.push(warning(
            "worktree_root",
            message,
            Some("choose a folder outside of it".to_owned()),
        ));
    }
}

fn check_harnesses(config: &Config, path: &str, findings: &mut Vec<Finding>) {
    let default = canonical_harness(&config.default_agent);
    for (name, own) in &config.harness {
        if own.prompt == PromptWay::Stdin && own.ready.is_some() {
            let message =
                format!("`ready` of `[harness.{name}]` has no effect, because it reads its prompt from stdin");
            findings.push(warning("harness", message, None));
        }
        if own.resume.iter().any(|arg| arg.contains("{id}")) {
            let message = format!("`resume` of `[harness.{name}]` has `{{id}}`, which only built-in harnesses know");
            findings.push(error(
                "harness",
                message,
                Some("write arguments that need no id".to_owned()),
            ));
        }
        let Some(program) = own.command.first() else { continue };
        if find_program(program, path).is_none() {
            let level = if name == default { Level::Error } else { Level::Warning };
            findings.push(not_installed(
                level,
                &format!("harness.{name}"),
                program,
                own.install.as_deref(),
            ));
        }
    }
    if config.harness.contains_key(default) {
        return;
    }
    let Some(builtin) = super::builtin_harness(config, default) else {
        let known = || BUILTIN.into_iter().chain(config.harness.keys().map(String::as_str));
        let hint = match nearest(default, known(), 1).first() {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", known().collect::<Vec<_>>().join(", ")),
        };
        findings.push(error(
            "default_agent",
            format!("there is no harness `{default}`"),
            Some(hint),
        ));
        return;
    };
    if let Some(program) = builtin.command.first()
        && find_program(program, path).is_none()
    {
        findings.push(not_installed(
            Level::Error,
            "default_agent",
            program,
            builtin.install.as_deref(),
        ));
    }
}

fn not_installed(level: Level, key: &str, program: &str, install: Option<&str>) -> Finding {
    Finding {
        level,
        key: key.to_owned(),
        message: format!("`{program}` is not installed or not on PATH"),
        hint: install.map(|install| format!("install it: `{install}`")),
    }
}

fn error(key: &str, message: String, hint: Option<String>) -> Finding {
    Finding {
        level: Level::Error,
        key: key.to_owned(),
        message,
        hint,
    }
}

fn warning(key: &str, message: String, hint: Option<String>) -> Finding {
    Finding {
        level: Level::Warning,
        key: key.to_owned(),
        message,
        hint,
    }
}
