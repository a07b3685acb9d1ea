//! The rounds of an autoresearch plan: change, measure, keep or discard. A discarded change stays as the ref
//! `refs/fleet/run/RUN/round-N`.

use std::path::{Path, PathBuf};

use fleet_core::plan::Research;
use fleet_core::run::record::{RoundRecord, Run};
use fleet_core::{Error, Result, fault};
use fleet_host::files;
use fleet_host::git::rounds::Checkout;

use crate::runs::MARK;

/// What became of a round.
pub(super) struct Settled {
    /// Its change, where there was one.
    pub(super) commit: Option<String>,
    /// A sentence.
    pub(super) about: String,
}

/// Where the rounds work.
pub(crate) fn workdir(root: &Path, research: &Research) -> PathBuf {
    research
        .workdir
        .as_ref()
        .map_or_else(|| root.to_owned(), |path| root.join(path))
}

/// The files in `folder` that are fleet's own, or the list of results.
fn except(root: &Path, folder: &Path, research: &Research) -> Vec<String> {
    let mut except = vec![research.results_file.clone()];
    if let Ok(inside) = root.strip_prefix(folder) {
        let own = [
            crate::plan::FILE,
            &research.program,
            MARK,
            "workers",
            "logs",
            "iterations",
        ];
        except.extend(own.iter().map(|name| inside.join(name).display().to_string()));
    }
    except
}

/// Refuses a folder in which changes could not be taken back without loss.
pub(crate) fn check(root: &Path, research: &Research) -> Result<()> {
    let folder = workdir(root, research);
    let except = except(root, &folder, research);
    let checkout = Checkout {
        folder: &folder,
        except: &except,
    };
    let shown = fleet_core::name::word(&folder.to_string_lossy());
    checkout.head().map_err(|error| {
        Error::usage(format!("{} is in no git repository with a commit", folder.display()))
            .hint(format!(
                "each round is a commit: `cd {shown} && git init && git add . && git commit -m start`"
            ))
            .detail(error.detail.unwrap_or_default())
    })?;
    let changes = checkout.changes()?;
    if changes.is_empty() {
        return Ok(());
    }
    Err(
        Error::usage(format!("{} has changes that are in no commit", folder.display()))
            .hint(format!("commit them first: `cd {shown} && git add -A && git commit`"))
            .detail(changes.join("\n")),
    )
}

/// The commit that a round begins from. What somebody else has changed since the last one is committed first.
pub(super) fn begin(run: &Run, research: &Research) -> Result<String> {
    let folder = workdir(&run.root, research);
    let except = except(&run.root, &folder, research);
    let checkout = Checkout {
        folder: &folder,
        except: &except,
    };
    checkout.commit("Changes from outside, found before a round of fleet")?;
    checkout.head()
}

/// Commits what the agent of a round left uncommitted, so that what is measured is what is kept.
pub(super) fn commit(run: &Run, research: &Research, round: u32) -> Result<()> {
    let folder = workdir(&run.root, research);
    let except = except(&run.root, &folder, research);
    let checkout = Checkout {
        folder: &folder,
        except: &except,
    };
    checkout.commit(&format!("Round {round} of fleet"))
}

/// Keeps or takes back the change of `round`, and adds its line to the list of results. May be done again.
pub(super) fn settle(
    run: &Run,
    research: &Research,
    kept: &Path,
    round: &RoundRecord,
    metric: Option<f64>,
    keep: bool,
) -> Result<Settled> {
    let folder = workdir(&run.root, research);
    let except = except(&run.root, &folder, research);
    let checkout = Checkout {
        folder: &folder,
        except: &except,
    };
    let number = round.round;
    let name = format!("refs/fleet/run/{}/round-{number}", run.id);
    let change = match checkout.held(&name)? {
        Some(change) => change,
        None => {
            commit(run, research, number)?;
            let head = checkout.head()?;
            checkout.hold(&name, &head)?;
            head
        }
    };
    if let Some(base) = round.base.as_ref().filter(|_| !keep) {
        checkout.back_to(base)?;
    }
    let changed = round.base.as_ref() != Some(&change);
    let subject = match changed {
        true => checkout.subject(&change)?,
        false => "no change".to_owned(),
    };
    let status = match (keep, metric) {
        (true, _) => "keep",
        (false, Some(_)) => "discard",
        (false, None) => "crash",
    };
    let shown = metric.map_or_else(|| "-".to_owned(), |metric| metric.to_string());
    let line = format!(
        "{}\t{shown}\t{status}\tround {number}: {}",
        &change[..change.len().min(10)],
        subject.replace('\t', " ")
    );
    add_result(&folder.join(&research.results_file), kept, &line, number)?;
    let about = match keep {
        true => format!("round {number}: {shown}, kept"),
        false => format!("round {number}: {shown}, taken back; it stays as {name}"),
    };
    Ok(Settled {
        commit: changed.then_some(change),
        about,
    })
}

/// Adds a line to the list of results. The list that counts is `kept`, in the run's own folder: an agent may commit the
/// one in its workspace, and then it goes where the change goes.
fn add_result(path: &Path, kept: &Path, line: &str, round: u32) -> Result<()> {
    let mut text = std::fs::read_to_string(kept).unwrap_or_default();
    if text.is_empty() {
        "commit\tmetric\tstatus\tdescription\n".clone_into(&mut text);
    }
    let mark = format!("\tround {round}: ");
    if !text.lines().any(|line| line.contains(&mark)) {
        text.push_str(line);
        text.push('\n');
        files::write_atomic("drive.results", kept, text.as_bytes(), 0o600)?;
    }
    fault::guard("drive.results-file", || std::fs::write(path, text))
        .map_err(|error| files::io_error("write", path, &error))
}
