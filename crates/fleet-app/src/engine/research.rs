//! The rounds of an autoresearch plan: change, measure, keep or discard. A discarded change stays as the ref
//! `refs/fleet/run/RUN/round-N`.

use std::path::{Path, PathBuf};

use fleet_core::plan::Research;
use fleet_core::run::record::{RoundRecord, Run};
use fleet_core::{Error, Result};
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

/// The ref that stands for the branch that the rounds of `run` change.
fn branch_ref(run: &Run) -> String {
    format!("refs/fleet/branch/{}", run.id)
}

/// The commit that a round begins from; `before` is that of the round before. What somebody else has changed since is
/// committed first.
pub(super) fn begin(run: &Run, research: &Research, before: Option<&str>) -> Result<String> {
    let folder = workdir(&run.root, research);
    let except = except(&run.root, &folder, research);
    let checkout = Checkout {
        folder: &folder,
        except: &except,
    };
    before.map_or(Ok(()), |before| checkout.require_has(before))?;
    checkout.remember_branch(&branch_ref(run))?;
    checkout.commit("Changes from outside, found before a round of fleet")?;
    checkout.head()
}

/// Commits what the agent of a round left uncommitted, so that what is measured is what is kept.
pub(super) fn commit(run: &Run, research: &Research, round: u32, base: Option<&str>) -> Result<()> {
    let folder = workdir(&run.root, research);
    let except = except(&run.root, &folder, research);
    let checkout = Checkout {
        folder: &folder,
        except: &except,
    };
    base.map_or(Ok(()), |base| checkout.require_has(base))?;
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
            commit(run, research, number, round.base.as_deref())?;
            let head = checkout.head()?;
            checkout.hold(&name, &head)?;
            head
        }
    };
    let change = match &round.base {
        Some(base) => bring_home(&checkout, &branch_ref(run), base, change, keep)?,
        None => change,
    };
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

/// Leaves the branch of the run at the change that is kept, or at `base`, whatever the agent did to branches and history.
/// The change as it is kept: where `base` is not in its history its files become one commit upon `base`.
fn bring_home(checkout: &Checkout<'_>, branch: &str, base: &str, change: String, keep: bool) -> Result<String> {
    checkout.back_on_branch(branch)?;
    if !keep {
        checkout.back_to(base)?;
        return Ok(change);
    }
    let change = match checkout.is_after(&change, base)? {
        true => change,
        false => checkout.graft(&change, base)?,
    };
    if checkout.head().ok().as_ref() != Some(&change) {
        checkout.back_to(&change)?;
    }
    Ok(change)
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
    files::write_cache("drive.results-file", path, text.as_bytes(), 0o644)
}
