//! Ending processes, and everything they start meanwhile.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;

use super::{Identity, handle, is_running};
use crate::{exec, sys};

/// How long a process may take to end after SIGKILL before it is given up; one that hangs in the kernel can
/// take for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long killed processes are waited for before `find` is asked again: one that hangs must not hide what the
/// others have started.
const ROUND: Duration = Duration::from_millis(250);

/// How many processes are ended at a time, well below the usual limit of 1024 descriptors.
const AT_ONCE: usize = 256;

/// Ends all that `find` finds, until it finds no more: politely first (SIGTERM, and SIGCONT for stopped ones),
/// by SIGKILL once `grace` has passed. The numbers of those that ended, in order.
///
/// `find` is asked again each time the known ones are gone, because a process may have started others. It
/// gives up on what still runs 5 s after the grace; ask `find` once more to learn whether something is left.
pub fn end_all(mut find: impl FnMut() -> Vec<Identity>, grace: Duration) -> Vec<u32> {
    let kill_at = Instant::now() + grace;
    let give_up_at = kill_at + PATIENCE;
    let mut told: BTreeSet<Identity> = BTreeSet::new();
    let mut not_ours: BTreeSet<Identity> = BTreeSet::new();
    loop {
        let polite = Instant::now() < kill_at;
        let mut awaited = Vec::new();
        let mut found = find();
        found.retain(|identity| !not_ours.contains(identity));
        found.truncate(AT_ONCE);
        for identity in found {
            let Some(pidfd) = handle(&identity) else {
                continue;
            };
            let is_new = !told.contains(&identity);
            if tell(&pidfd, polite, is_new) {
                told.insert(identity);
                awaited.push(pidfd);
            } else if is_running(&identity) {
                not_ours.insert(identity);
            }
        }
        if awaited.is_empty() || Instant::now() >= give_up_at {
            break;
        }
        wait_for_all(awaited, if polite { kill_at } else { Instant::now() + ROUND });
    }
    told.into_iter()
        .filter(|identity| !is_running(identity))
        .map(|identity| identity.pid)
        .collect()
}

/// Whether the process could be signalled.
fn tell(pidfd: &OwnedFd, polite: bool, is_new: bool) -> bool {
    let send = |signal| sys::pidfd_signal(pidfd.as_fd(), signal).is_ok();
    match (polite, is_new) {
        (false, _) => send(Signal::SIGKILL),
        // A second SIGTERM makes some programs skip their clean-up.
        (true, false) => true,
        (true, true) => send(Signal::SIGTERM) && send(Signal::SIGCONT),
    }
}

/// Waits until every one of these has ended, or until `deadline`.
fn wait_for_all(mut pidfds: Vec<OwnedFd>, deadline: Instant) {
    while !pidfds.is_empty() && Instant::now() < deadline {
        let mut fds: Vec<PollFd> = pidfds
            .iter()
            .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN))
            .collect();
        match poll(&mut fds, exec::until(Some(deadline))) {
            Ok(0) => return,
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return,
        }
        let ended: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        drop(fds);
        let mut ended = ended.into_iter();
        pidfds.retain(|_| !ended.next().unwrap_or(false));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Script;
    use super::super::{Process, Table};
    use super::*;

    fn tree_of(pid: u32) -> impl FnMut() -> Vec<Identity> {
        let root = Identity::of(pid).expect("running");
        move || {
            let table = Table::read();
            let own = table.find(&root).into_iter();
            own.chain(table.descendants(root.pid)).map(Process::identity).collect()
        }
    }

    #[test]
    fn a_polite_end_does_not_wait_for_the_grace() {
        let script = Script::start("sleep 1000 & echo a=$!; wait", &[], &["a"]);
        let begun = Instant::now();
        let ended = end_all(tree_of(script.pid()), Duration::from_secs(60));
        assert!(
            ended.contains(&script.pid()) && ended.contains(&script.pid_of("a")),
            "{ended:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_ignores_the_request_is_killed_after_the_grace() {
        let script = Script::start(
            "trap '' TERM; echo self=$$; while :; do sleep 1000; done",
            &[],
            &["self"],
        );
        let ended = end_all(tree_of(script.pid()), Duration::from_millis(50));
        assert!(ended.contains(&script.pid()));
        assert!(Identity::of(script.pid()).is_none_or(|identity| !is_running(&identity)));
    }

    #[test]
    fn a_stopped_process_hears_the_request() {
        let script = Script::start("echo self=$$; exec sleep 1000", &[], &["self"]);
        let identity = Identity::of(script.pid()).expect("running");
        assert!(super::super::signal(&identity, Signal::SIGSTOP));
        let begun = Instant::now();
        let ended = end_all(|| vec![identity.clone()], Duration::from_secs(60));
        assert_eq!(ended, [script.pid()]);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_child_started_by_the_clean_up_is_ended_too() {
        let text = "trap 'sleep 1000 & wait $!' TERM; sleep 1000 & echo self=$$; wait; wait";
        let script = Script::start(text, &[], &["self"]);
        let group = script.pid();
        let in_group = || {
            let table = Table::read();
            table
                .iter()
                .filter(|process| process.group == group)
                .map(Process::identity)
                .collect()
        };
        let ended = end_all(in_group, Duration::from_millis(300));
        assert!(
            ended.len() >= 3,
            "the script, its sleep and the sleep of its clean-up: {ended:?}"
        );
        let table = Table::read();
        assert!(
            !table
                .iter()
                .any(|process| process.group == group && process.is_running())
        );
    }

    #[test]
    fn nothing_to_end_takes_no_time() {
        let begun = Instant::now();
        assert!(end_all(Vec::new, Duration::from_secs(60)).is_empty());
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
