//! How much the trash holds: what `kill` kept of workspaces that git could not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use fleet_core::agent::Agent;
use fleet_host::files;
use serde::{Deserialize, Serialize};

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

/// The folders in which the workspace of `agent` can be on its way out: the home's, and the one beside it.
pub(crate) fn folders_of(app: &App, agent: &Agent) -> Vec<PathBuf> {
    let beside = agent.worktree.parent().map(|parent| parent.join(BESIDE));
    [app.home.trash()].into_iter().chain(beside).collect()
}

/// Bytes on disk of all entries of the trash, measured now. The folders that hold them do not count: an empty trash
/// is 0.
pub(crate) fn measured(app: &App, config: Option<&Config>) -> u64 {
    Sizes::default().of(entries(&folders(app, config)), &app.home.trash_sizes())
}

/// The same as last measured: only what came since then is measured, once.
pub(crate) fn remembered(app: &App) -> u64 {
    let file = app.home.trash_sizes();
    Sizes::read(&file).of(entries(&folders(app, None)), &file)
}

fn entries(folders: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let folders = folders.iter().filter_map(|folder| fs::read_dir(folder).ok());
    folders
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .collect()
}

/// What entries were found to hold: when the entry's folder had last changed, in nanoseconds of its file system's
/// clock, and the bytes. fleet changes an entry only by moving something into its folder, or by removing it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sizes(BTreeMap<PathBuf, (u64, u64)>);

impl Sizes {
    fn read(file: &Path) -> Sizes {
        let bytes = fs::read(file).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Bytes of `entries` together. What had to be measured is remembered in `file` for the next time.
    fn of(self, entries: Vec<PathBuf>, file: &Path) -> u64 {
        let mut now = Sizes::default();
        let mut sum = 0;
        for entry in entries {
            let Some((changed, settled)) = last_change(&entry) else {
                continue;
            };
            let known = self.0.get(&entry).filter(|(then, _)| *then == changed);
            let bytes = known.map_or_else(|| files::disk_usage(&entry), |(_, bytes)| *bytes);
            sum += bytes;
            if settled {
                now.0.insert(entry, (changed, bytes));
            }
        }
        if now != self {
            // A cache: when it cannot be written the next listing measures again, and that is all.
            let _ = serde_json::to_vec(&now).map(|bytes| files::write_atomic("list.trash", file, &bytes, 0o600));
        }
        sum
    }
}

/// When a folder was last changed, and whether that is so long ago that a change of now would show.
fn last_change(entry: &Path) -> Option<(u64, bool)> {
    /// Coarser than the clock of any file system.
    const TICK: Duration = Duration::from_secs(2);
    let changed = fs::symlink_metadata(entry).and_then(|meta| meta.modified()).ok()?;
    let settled = changed.elapsed().is_ok_and(|age| age >= TICK);
    let since = changed.duration_since(UNIX_EPOCH).ok()?;
    Some((u64::try_from(since.as_nanos()).ok()?, settled))
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn an_entry_is_measured_once_until_something_is_moved_into_it() {
        let dir = tempfile::tempdir().expect("dir");
        let (trash, file) = (dir.path().join("trash"), dir.path().join("sizes"));
        let entry = trash.join("a");
        fs::create_dir_all(entry.join("worktree")).expect("made");
        fs::write(entry.join("worktree/big"), vec![1; 100_000]).expect("written");
        let entries = || entries(&BTreeSet::from([trash.clone()]));
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let touch = |at: SystemTime| fs::File::open(&entry).and_then(|folder| folder.set_modified(at));

        assert!(Sizes::default().of(entries(), &file) >= 100_000);
        assert_eq!(
            Sizes::read(&file),
            Sizes::default(),
            "what changed just now may still change"
        );
        touch(long_ago).expect("aged");
        let first = Sizes::read(&file).of(entries(), &file);

        // Not what fleet does: it shows that nobody walks the entry again.
        fs::remove_file(entry.join("worktree/big")).expect("removed");
        assert_eq!(Sizes::read(&file).of(entries(), &file), first);
        assert!(
            Sizes::default().of(entries(), &file) < first,
            "measured when that is asked for"
        );

        touch(long_ago + Duration::from_nanos(1)).expect("changed");
        assert!(Sizes::read(&file).of(entries(), &file) < first);
        fs::remove_dir_all(&entry).expect("pruned");
        assert_eq!(Sizes::read(&file).of(entries(), &file), 0);
        assert_eq!(Sizes::read(&file), Sizes::default(), "and forgotten");
    }
}
