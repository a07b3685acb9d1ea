//! What is checked before anything is made.

use fleet_core::{Error, Kind, Result};
use fleet_host::git::{self, Repo};
use fleet_host::harness::Harness;

use super::{Options, Wanted};
use crate::app::App;
use crate::caller::Caller;
use crate::child::program_path;
use crate::config::{self, Config};

/// The harnesses that `--agent x,y` names, each installed.
pub(super) fn deal(app: &App, caller: &Caller, config: &Config, options: &Options) -> Result<Vec<Harness>> {
    let names = options.agent.as_deref().unwrap_or(&config.default_agent);
    let mut harnesses = Vec::new();
    for each in names.split(',').map(str::trim) {
        let harness = app.harness_for(config, each, options.headless)?;
        program_path(&harness.command, caller).map_err(|error| match &harness.install {
            Some(install) => Error {
                hint: Some(format!("install it: `{install}`")),
                ..error
            },
            None => error.hint(format!(
                "correct `command` of `[harness.{}]`: `fleet config edit`",
                harness.name
            )),
        })?;
        harnesses.push(harness);
    }
    Ok(harnesses)
}

pub(super) fn check_label(label: &str) -> Result<()> {
    let bad = label.is_empty() || label.starts_with('-') || label.chars().any(|c| c.is_control()) || label.len() > 200;
    match bad {
        true => {
            Err(Error::usage(format!("`{label}` is no label")).hint("use letters, digits and dashes, such as `docs`"))
        }
        false => Ok(()),
    }
}

/// Refuses branches that exist (or, with `--existing`, that do not, or are checked out).
pub(super) fn check_branches(repo: &Repo, options: &Options, wanted: &[Wanted]) -> Result<()> {
    for each in wanted {
        git::check_new_branch(repo, &each.branch, options.existing)?;
        let below = format!("{}/", each.branch);
        if let Some(other) = wanted.iter().find(|other| other.branch.starts_with(&below)) {
            let message = format!("`{}` and `{}` cannot both be branches", each.branch, other.branch);
            return Err(Error::conflict(message).hint("git keeps branches as files and folders; rename one of them"));
        }
    }
    Ok(())
}

/// Refuses credential files that are missing, no files, or links out of the repository.
pub(super) fn check_copies(repo: &Repo, config: &Config) -> Result<()> {
    let Some(root) = &repo.main_root else {
        return match config.credential_files.first() {
            None => Ok(()),
            Some(path) => Err(Error::new(
                Kind::Config,
                format!(
                    "credential file `{path}`: {} has no main checkout to copy it from",
                    repo.name
                ),
            )
            .hint("empty `credential_files` for it: `fleet config edit`")),
        };
    };
    for path in &config.credential_files {
        config::check_copy(root, path)
            .map_err(|error| error.hint("correct `credential_files`: `fleet config edit`"))?;
    }
    Ok(())
}
