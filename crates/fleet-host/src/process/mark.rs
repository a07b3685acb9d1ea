//! Whose a process is, read from the marks in its environment.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleet_core::id::AgentId;
use nix::poll::{PollFd, PollFlags, poll};

use super::{Identity, Process, Table};

/// All running descendants of the supervisor `root_pid` but the trees of fleet itself: a nested supervisor or the
/// tmux server that the agent happened to be the first to start, and without notifiers, the meter and the driver of a run
/// that it has launched (`FLEET_ROLE=supervisor`, `tmux`, `notifier`, `meter`, `recorder` and `driver`).
/// They serve other agents too. Only the environments of this one tree are read.
pub fn descendants_of_agent(table: &Table, root_pid: u32) -> Vec<Identity> {
    let is_agents = |process: &Process| !is_fleets_own(&environment(process.pid));
    let found = table.descendants_where(root_pid, is_agents);
    found
        .into_iter()
        .filter(|process| process.is_running())
        .map(Process::identity)
        .collect()
}

/// Whether this process has a child, living or not reaped yet. A subreaper without one has no descendants at all, so that
/// nobody has to look through all processes for them.
pub fn has_children() -> bool {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, flags) != Err(nix::errno::Errno::ECHILD)
}

/// Every process of this user that carries the mark `FLEET_AGENT=<id>` and no `FLEET_ROLE`, except this one;
/// zombies have no environment and are not found.
pub fn marked(id: &AgentId) -> Vec<Process> {
    let mark = format!("FLEET_AGENT={id}");
    let carries = |process: &&Process| {
        let environment = environment(process.pid);
        entries(&environment).any(|entry| entry == mark.as_bytes())
            && !entries(&environment).any(|entry| entry.starts_with(b"FLEET_ROLE="))
    };
    own_processes(&Table::read()).filter(carries).cloned().collect()
}

/// Every process of this user that was started with the variable `name` set to `value`, except this one.
pub fn with_variable(name: &str, value: &std::ffi::OsStr) -> Vec<Process> {
    let wanted = [name.as_bytes(), b"=", value.as_bytes()].concat();
    let carries = |process: &&Process| entries(&environment(process.pid)).any(|entry| entry == wanted);
    own_processes(&Table::read()).filter(carries).cloned().collect()
}

/// Number and name of every process of this user that works in `dir` or below, except this one.
pub fn working_in(dir: &Path) -> Vec<(u32, String)> {
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let inside = |process: &&Process| working_dir(process.pid).is_some_and(|cwd| cwd.starts_with(&dir));
    own_processes(&Table::read())
        .filter(inside)
        .map(|process| (process.pid, process.name.clone()))
        .collect()
}

/// Waits until no git of this user works in `dir` or names it in its arguments, `patience` at the longest: a git that
/// has outlived the fleet that started it goes on to its end.
pub fn wait_for_gits(dir: &Path, patience: Duration) {
    let deadline = Instant::now() + patience;
    let wanted = dir.as_os_str().as_bytes().to_owned();
    let about = |process: &&Process| {
        let names = || {
            let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|word| word == wanted)
        };
        process.name == "git" && (names() || working_dir(process.pid).is_some_and(|cwd| cwd.starts_with(dir)))
    };
    let found: Vec<Identity> = own_processes(&Table::read())
        .filter(about)
        .map(Process::identity)
        .collect();
    for pidfd in found.iter().filter_map(super::handle) {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, crate::exec::until(Some(deadline)));
    }
}

fn own_processes(table: &Table) -> impl Iterator<Item = &Process> {
    let user = nix::unistd::geteuid().as_raw();
    let ours = move |process: &&Process| {
        process.pid != std::process::id()
            && process.is_running()
            && fs::metadata(format!("/proc/{}", process.pid)).is_ok_and(|meta| meta.uid() == user)
    };
    table.iter().filter(ours)
}

/// The directory a process works in, also when that has been removed.
fn working_dir(pid: u32) -> Option<PathBuf> {
    let link = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    let bytes = link.as_os_str().as_bytes();
    let path = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
}

/// The environment a process was started with; empty when it may not be read.
fn environment(pid: u32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

fn entries(environment: &[u8]) -> impl Iterator<Item = &[u8]> {
    environment.split(|byte| *byte == 0)
}

fn is_fleets_own(environment: &[u8]) -> bool {
    const ROLES: [&[u8]; 6] = [
        b"FLEET_ROLE=supervisor",
        b"FLEET_ROLE=tmux",
        b"FLEET_ROLE=notifier",
        b"FLEET_ROLE=meter",
        b"FLEET_ROLE=recorder",
        b"FLEET_ROLE=driver",
    ];
    entries(environment).any(|entry| ROLES.contains(&entry))
}

/// Whether process `pid` is the supervisor of agent `id`, by its command line.
pub fn is_supervisor_of(pid: u32, id: &AgentId) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.get(1) == Some(&crate::supervise::launch::ARGUMENT.as_bytes())
        && words.get(2) == Some(&id.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::Script;
    use super::super::{end_all, is_running};
    use super::*;

    fn id(seed: u8) -> AgentId {
        let mut random = [seed; 10];
        random[..4].copy_from_slice(&std::process::id().to_le_bytes());
        AgentId::from_random(&random)
    }

    fn pids(processes: &[Process]) -> Vec<u32> {
        processes.iter().map(|process| process.pid).collect()
    }

    /// Starts a helper that leaves its session and its parent, as daemons do.
    const DETACHED: &str = "(setsid sh -c 'echo helper=$$; exec sleep 1000' &); echo self=$$; exec sleep 1000";

    #[test]
    fn a_mark_finds_a_detached_helper_and_only_whole_entries_count() {
        let id = id(1);
        let agent = Script::start(DETACHED, &[("FLEET_AGENT", id.as_str())], &["helper", "self"]);
        let longer = format!("{id}x");
        let plain = "echo self=$$; exec sleep 1000";
        let near = Script::start(plain, &[("FLEET_AGENT", &longer), ("X", id.as_str())], &["self"]);
        let role = [("FLEET_AGENT", id.as_str()), ("FLEET_ROLE", "supervisor")];
        let supervisor = Script::start(plain, &role, &["self"]);

        let mut expected = [agent.pid(), agent.pid_of("helper")];
        expected.sort_unstable();
        assert_eq!(pids(&marked(&id)), expected);

        let ended = end_all(
            || marked(&id).iter().map(Process::identity).collect(),
            Duration::from_secs(5),
        );
        assert_eq!(ended, expected);
        for other in [near.pid(), supervisor.pid()] {
            assert!(is_running(&Identity::of(other).expect("alive")));
        }
    }

    #[test]
    fn the_trees_of_fleet_itself_are_not_the_agents() {
        let text = "sleep 1000 & echo own=$!
            FLEET_ROLE=tmux sh -c 'echo tmux=$$; sleep 1000 & echo pane=$!; wait' &
            FLEET_ROLE=view sh -c 'echo view=$$; exec sleep 1000' & wait";
        let script = Script::start(text, &[], &["own", "tmux", "pane", "view"]);
        let found = descendants_of_agent(&Table::read(), script.pid());
        let found: Vec<u32> = found.iter().map(|identity| identity.pid).collect();
        assert!(
            found.contains(&script.pid_of("own")) && found.contains(&script.pid_of("view")),
            "{found:?}"
        );
        assert!(
            !found.contains(&script.pid_of("tmux")) && !found.contains(&script.pid_of("pane")),
            "{found:?}"
        );
    }

    #[test]
    fn who_works_in_a_directory_is_named_also_when_it_is_gone() {
        let dir = tempfile::tempdir().expect("dir");
        let below = dir.path().join("below");
        fs::create_dir(&below).expect("made");
        fs::create_dir(dir.path().join("below-not")).expect("made");
        let start = |folder: &str| {
            let folder = dir.path().join(folder).display().to_string();
            let text = "cd \"$WHERE\"; echo self=$$; exec sleep 1000";
            Script::start(text, &[("WHERE", &folder)], &["self"])
        };
        let inside = start("below");
        let _beside = start("below-not");
        let found: Vec<u32> = working_in(&below).into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(found, [inside.pid()]);
        fs::remove_dir(&below).expect("removed");
        let found: Vec<u32> = working_in(&below).into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(found, [inside.pid()]);
    }
}
