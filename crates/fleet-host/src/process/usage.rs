//! What an agent's processes use: memory now, processor time between two looks.

use std::collections::BTreeMap;
use std::path::Path;

use fleet_core::Result;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

use super::{Process, Table, boot_id, this_boot};
use crate::files;

/// What a tree of processes uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of the living ones since they started, in clock ticks.
    pub cpu_ticks: u64,
    /// Resident memory in bytes; pages that several share count for each.
    pub rss_bytes: u64,
    /// How many there are, zombies not counted.
    pub processes: u32,
}

/// Processor time as it stood at an earlier look, so that a listing can say what was used since the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageCache {
    /// The boot it is about; on another one it says nothing.
    boot: String,
    /// When that look was, in milliseconds since the boot (no change of the clock disturbs it).
    at_ms: u64,
    /// Clock ticks used, by `pid:start`.
    ticks: BTreeMap<String, u64>,
}

/// What the process `root` and its descendants use. Subtrees of `others` (other agents' supervisors, the tmux
/// server) are not counted.
pub fn usage(table: &Table, root: u32, others: &[u32]) -> Usage {
    let page = sysconf_number(SysconfVar::PAGE_SIZE, 4096);
    let add = |sum: Usage, process: &Process| Usage {
        cpu_ticks: sum.cpu_ticks + process.cpu_ticks,
        rss_bytes: sum.rss_bytes + process.rss_pages * page,
        processes: sum.processes + 1,
    };
    tree(table, root, others)
        .filter(|process| process.is_running())
        .fold(Usage::default(), add)
}

/// Percent of one processor that the tree of `root` has used since the look that `before` is about (so 200 is
/// two processors). Time of processes that ended meanwhile is not in it. None when no time has passed or
/// `before` is about another boot.
pub fn cpu_percent(table: &Table, root: u32, others: &[u32], before: &UsageCache) -> Option<f64> {
    let elapsed = table
        .at_ticks
        .checked_sub(before.at_ms * hertz() / 1000)
        .filter(|ticks| *ticks > 0)?;
    if before.boot != this_boot() {
        return None;
    }
    let began = table.at_ticks - elapsed;
    let used = |process: &Process| match before.ticks.get(&key(process)) {
        Some(earlier) => process.cpu_ticks.saturating_sub(*earlier),
        // All the time of a process that began after the earlier look fell after it; of one that was merely
        // not looked at, nothing is known.
        None if process.start >= began => process.cpu_ticks,
        None => 0,
    };
    let ticks: u64 = tree(table, root, others).map(used).sum();
    Some(ticks as f64 * 100.0 / elapsed as f64)
}

impl UsageCache {
    /// What to remember of `table`: the trees of `roots`.
    pub fn of(table: &Table, roots: &[u32]) -> UsageCache {
        let processes = roots.iter().flat_map(|root| tree(table, *root, &[]));
        let ticks = processes.map(|process| (key(process), process.cpu_ticks)).collect();
        UsageCache {
            boot: boot_id(),
            at_ms: table.at_ticks * 1000 / hertz(),
            ticks,
        }
    }

    /// The last one that was written; none when it is missing, broken or about another boot.
    pub fn read(path: &Path) -> Option<UsageCache> {
        let cache: UsageCache = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (cache.boot == this_boot()).then_some(cache)
    }

    /// Replaces the file at `path`. A caller that only lists may ignore the error.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_err(|error| fleet_core::Error::internal(error.to_string()))?;
        files::write_cache("usage.write-cache", path, &bytes, 0o600)
    }
}

/// Clock ticks since the boot, the unit and the origin of start times.
pub(super) fn ticks_since_boot() -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
        return 0;
    };
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec()).unwrap_or(0);
    seconds * hertz() + nanos * hertz() / 1_000_000_000
}

/// A number of clock ticks as a time.
pub(super) fn ticks(count: u64) -> std::time::Duration {
    std::time::Duration::from_millis(count * 1000 / hertz())
}

fn tree<'a>(table: &'a Table, root: u32, others: &'a [u32]) -> impl Iterator<Item = &'a Process> {
    let below = table.descendants_where(root, |process| !others.contains(&process.pid));
    table.get(root).into_iter().chain(below)
}

fn key(process: &Process) -> String {
    format!("{}:{}", process.pid, process.start)
}

fn hertz() -> u64 {
    sysconf_number(SysconfVar::CLK_TCK, 100)
}

fn sysconf_number(variable: SysconfVar, usual: u64) -> u64 {
    sysconf(variable)
        .ok()
        .flatten()
        .and_then(|value| u64::try_from(value).ok())
        .filter(|value| *value > 0)
        .unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, ppid: u32, start: u64, cpu_ticks: u64) -> Process {
        let name = "x".to_owned();
        Process {
            pid,
            ppid,
            group: 1,
            session: 1,
            state: 'S',
            start,
            cpu_ticks,
            rss_pages: 10,
            threads: 1,
            name,
        }
    }

    #[test]
    fn usage_sums_a_tree_without_the_trees_of_others() {
        let zombie = Process {
            state: 'Z',
            ..process(14, 10, 1, 50)
        };
        let processes = vec![
            process(10, 1, 1, 5),
            process(11, 10, 1, 7),
            process(12, 11, 1, 1),
            process(13, 10, 1, 90),
            zombie,
        ];
        let table = Table::of(processes, 1000);
        let page = sysconf_number(SysconfVar::PAGE_SIZE, 4096);
        assert_eq!(
            usage(&table, 10, &[13]),
            Usage {
                cpu_ticks: 13,
                rss_bytes: 30 * page,
                processes: 3
            }
        );
        assert_eq!(usage(&table, 99, &[]), Usage::default());
    }

    #[test]
    fn percent_counts_old_processes_by_difference_and_new_ones_whole() {
        let second = hertz();
        let earlier = Table::of(vec![process(10, 1, 1, 500), process(12, 10, 1, 70)], 10 * second);
        let before = UsageCache::of(&earlier, &[10]);
        let new = process(13, 10, 10 * second + 1, second / 2);
        let unseen = process(14, 10, 5, 100_000);
        let later = Table::of(vec![process(10, 1, 1, 500 + second), new, unseen], 11 * second);
        assert_eq!(cpu_percent(&later, 10, &[], &before), Some(150.0));
        assert_eq!(cpu_percent(&earlier, 10, &[], &before), None);
        assert_eq!(
            cpu_percent(
                &later,
                10,
                &[],
                &UsageCache {
                    boot: "another".to_owned(),
                    ..before
                }
            ),
            None
        );
    }

    #[test]
    fn a_cache_is_read_as_it_was_written_and_a_broken_one_not_at_all() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("usage.json");
        assert_eq!(UsageCache::read(&path), None);
        let cache = UsageCache::of(&Table::read(), &[std::process::id()]);
        cache.write(&path).expect("written");
        assert_eq!(UsageCache::read(&path), Some(cache.clone()));
        UsageCache {
            boot: "another".to_owned(),
            ..cache
        }
        .write(&path)
        .expect("written");
        assert_eq!(UsageCache::read(&path), None);
        std::fs::write(&path, "{").expect("written");
        assert_eq!(UsageCache::read(&path), None);
    }
}
