//! How much the trash holds: what `kill` kept of workspaces that git could not hold.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use fleet_host::files;

use crate::app::App;
use crate::config::Config;
use crate::page::bytes;

/// Name of the trash beside worktrees that are on another file system than the home.
pub(crate) const BESIDE: &str = ".fleet-trash";

/// The folders with entries of the trash: the home's, the one beside the worktrees that `config` places, and those
/// that saved work is recorded in, for that setting may have been another one.
pub(crate) fn folders(app: &App, config: Option<&Config>) -> BTreeSet<PathBuf> {
    let recorded = app.store().and_then(|store| store.salvage_list()).unwrap_or_default();
    let beside = config.map(|config| config.worktree_root.join(BESIDE));
    recorded
        .into_iter()
        .filter_map(|salvage| Some(salvage.trash?.parent()?.to_owned()))
        .chain(beside)
        .chain([app.home.trash()])
        .collect()
}

/// Bytes on disk of all entries of the trash. The folders that hold them do not count: an empty trash is 0.
pub(crate) fn usage(app: &App, config: Option<&Config>) -> u64 {
    let entries = folders(app, config)
        .into_iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()));
    entries.map(|entry| files::disk_usage(&entry)).sum()
}

/// A line for the user when the trash holds more than its budget: the one of `config`, or that of unreadable settings.
pub(crate) fn warning(used: u64, config: Option<&Config>) -> Option<String> {
    const BUDGET_MB: u64 = 2048;
    let budget = config.map_or(BUDGET_MB, |config| config.trash_budget_mb) * 1_000_000;
    (used > budget).then(|| {
        format!(
            "the trash holds {}, more than its budget of {}",
            bytes(used),
            bytes(budget)
        )
    })
}
