//! One look at all processes.

use super::{Identity, boot_id, stat, this_boot};
use crate::parallel;

/// A process as one look at `/proc/PID/stat` showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's number.
    pub ppid: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// Its state letter, as in proc_pid_stat(5): `R`, `S`, `D`, `T`, `Z` and more.
    pub state: char,
    /// When it started, in clock ticks since the boot.
    pub start: u64,
    /// Processor time it has used, in clock ticks.
    pub cpu_ticks: u64,
    /// Memory that is resident, in pages.
    pub rss_pages: u64,
    /// How many threads it has.
    pub threads: u64,
    /// Its command name, cut to 15 bytes by the kernel.
    pub name: String,
}

/// All processes of the machine at one moment, in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub struct Table {
    processes: Vec<Process>,
    /// Indexes into `processes`, ordered by parent.
    by_parent: Vec<usize>,
    /// Clock ticks since the boot when the look began.
    pub(super) at_ticks: u64,
}

impl Process {
    /// Who it is, for ever.
    pub fn identity(&self) -> Identity {
        Identity {
            boot: boot_id(),
            pid: self.pid,
            start: self.start,
        }
    }

    /// Whether it runs. One whose main thread ended while others go on still does, though its letter is `Z`.
    pub fn is_running(&self) -> bool {
        match self.state {
            'X' | 'x' => false,
            'Z' => self.threads > 1,
            _ => true,
        }
    }

    /// Reads a line of the form of proc_pid_stat(5). The name may hold spaces and parentheses.
    pub(super) fn parse(line: &[u8]) -> Option<Process> {
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let pid = std::str::from_utf8(&line[..open]).ok()?.trim().parse().ok()?;
        let name = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
        let rest = std::str::from_utf8(&line[close + 1..]).ok()?;
        // The page counts fields from 1, and the state, the first of these, is its field 3.
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let ppid = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let user: u64 = fields.nth(7)?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let threads = fields.nth(4)?.parse().ok()?;
        let start = fields.nth(1)?.parse().ok()?;
        let rss_pages = fields.nth(1)?.parse().unwrap_or(0);
        Some(Process {
            pid,
            ppid,
            group,
            session,
            state,
            start,
            cpu_ticks: user + system,
            rss_pages,
            threads,
            name,
        })
    }
}

impl Table {
    /// Looks at every process once. What starts or ends meanwhile may be missed or still be in it.
    pub fn read() -> Table {
        let at_ticks = super::usage::ticks_since_boot();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids: Vec<u32> = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        // The kernel writes each line anew when it is read, which takes its time.
        let threads = parallel::shares(pids.len(), 50);
        let processes = parallel::map(pids, threads, stat);
        let processes = processes.into_iter().flatten().collect();
        Table::of(processes, at_ticks)
    }

    pub(super) fn of(mut processes: Vec<Process>, at_ticks: u64) -> Table {
        processes.sort_unstable_by_key(|process| process.pid);
        let mut by_parent: Vec<usize> = (0..processes.len()).collect();
        by_parent.sort_by_key(|index| processes[*index].ppid);
        Table {
            processes,
            by_parent,
            at_ticks,
        }
    }

    /// Every process, zombies included.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter()
    }

    /// The process with that number.
    pub fn get(&self, pid: u32) -> Option<&Process> {
        let index = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        self.processes.get(index)
    }

    /// The process of that identity, if it is in the table.
    pub fn find(&self, identity: &Identity) -> Option<&Process> {
        self.get(identity.pid)
            .filter(|process| process.start == identity.start && identity.boot == this_boot())
    }

    /// The processes whose parent is `pid`, zombies included.
    pub fn children(&self, pid: u32) -> impl Iterator<Item = &Process> {
        let parent = |index: &usize| self.processes[*index].ppid;
        let from = self.by_parent.partition_point(|index| parent(index) < pid);
        self.by_parent[from..]
            .iter()
            .take_while(move |index| parent(index) == pid)
            .map(|index| &self.processes[*index])
    }

    /// Children, their children and so on, parents before children; zombies included, `pid` not.
    pub fn descendants(&self, pid: u32) -> Vec<&Process> {
        self.descendants_where(pid, |_| true)
    }

    /// Descendants of `pid` without the subtrees whose first process `enter` rejects.
    pub(super) fn descendants_where(&self, pid: u32, mut enter: impl FnMut(&Process) -> bool) -> Vec<&Process> {
        let mut found: Vec<&Process> = self.children(pid).filter(|child| enter(child)).collect();
        let mut next = 0;
        while let Some(process) = found.get(next) {
            let children = self
                .children(process.pid)
                .filter(|child| child.pid != pid && enter(child));
            let children: Vec<&Process> = children.collect();
            found.extend(children);
            next += 1;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Script;
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_read_whole() {
        let line = b"42 (a) b (c) S 1 2 3 0 -1 0 0 0 0 0 7 5 0 0 20 0 4 0 9876 1000 321 0 0\n";
        let process = Process::parse(line).expect("read");
        let numbers = (
            process.pid,
            process.ppid,
            process.group,
            process.session,
            process.threads,
        );
        assert_eq!(numbers, (42, 1, 2, 3, 4));
        assert_eq!((process.start, process.cpu_ticks, process.rss_pages), (9876, 12, 321));
        assert_eq!(process.name, "a) b (c");
        assert_eq!(process.state, 'S');
        assert_eq!(Process::parse(b"42 (cut"), None);
    }

    #[test]
    fn a_zombie_with_living_threads_runs() {
        let line = |state: char, threads: u8| {
            format!("1 (x) {state} 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 1 0 0").into_bytes()
        };
        assert!(Process::parse(&line('Z', 2)).expect("read").is_running());
        assert!(!Process::parse(&line('Z', 1)).expect("read").is_running());
        assert!(Process::parse(&line('T', 1)).expect("read").is_running());
    }

    #[test]
    fn the_table_knows_children_and_their_children() {
        let text = "sleep 1000 & echo a=$!; (sleep 1000 & echo b=$!; wait) & echo c=$!; wait";
        let script = Script::start(text, &[], &["a", "b", "c"]);
        let table = Table::read();
        let (a, b, c) = (script.pid_of("a"), script.pid_of("b"), script.pid_of("c"));
        let mut children: Vec<u32> = table.children(script.pid()).map(|process| process.pid).collect();
        children.sort_unstable();
        assert_eq!(children, [a, c]);
        let descendants: Vec<u32> = table
            .descendants(script.pid())
            .iter()
            .map(|process| process.pid)
            .collect();
        assert!(descendants.contains(&b) && descendants.len() == 3, "{descendants:?}");
        let own = table.get(std::process::id()).expect("this process is in it");
        assert!(own.rss_pages > 0 && own.threads > 0);
        assert_eq!(table.find(&own.identity()), Some(own));
    }
}
