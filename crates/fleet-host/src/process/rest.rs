//! Whether a program that was just started has come to rest: it waits for something, instead of still loading or
//! already failing.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use super::stat;
use crate::{exec, sys};

/// A program that has slept through this long waits for something.
const REST: Duration = Duration::from_millis(4);
/// One that has worked for this long, in processor time, is past its start.
const WORKED: Duration = Duration::from_millis(300);

/// Looks at the programs `pids` until each of them rests, has worked for a while, or is gone, and gives those that
/// are gone. Waits no longer than `at_most`.
///
/// The end of a program is an event; that it rests is none, so it is looked at again and again, for so short a time.
pub fn settle(pids: &[u32], at_most: Duration) -> Vec<u32> {
    let deadline = Instant::now() + at_most;
    let mut gone = Vec::new();
    let mut waiting = Vec::with_capacity(pids.len());
    for pid in pids {
        match (sys::pidfd_open(*pid), Look::at(*pid)) {
            (Ok(handle), Some(look)) => waiting.push(Watched {
                pid: *pid,
                handle,
                look,
            }),
            _ => gone.push(*pid),
        }
    }
    while !waiting.is_empty() && Instant::now() < deadline {
        let next = waiting.iter().map(|each| each.look.at + REST).min();
        wait_for_an_end(&waiting, next.map_or(deadline, |next| next.min(deadline)));
        waiting.retain_mut(|each| {
            let Some(now) = Look::at(each.pid) else {
                gone.push(each.pid);
                return false;
            };
            let settled = now.worked >= WORKED || each.look.rested_until(&now);
            if now.at >= each.look.at + REST {
                each.look = now;
            }
            !settled
        });
    }
    gone
}

/// A program that is being waited for.
struct Watched {
    pid: u32,
    /// Readable when it has ended.
    handle: OwnedFd,
    look: Look,
}

/// Waits until one of `watched` ends, or until `next`.
fn wait_for_an_end(watched: &[Watched], next: Instant) {
    let mut fds: Vec<PollFd> = watched
        .iter()
        .map(|each| PollFd::new(each.handle.as_fd(), PollFlags::POLLIN))
        .collect();
    let _ = poll(&mut fds, exec::until(Some(next)));
}

/// What one look at a process showed.
#[derive(Debug)]
struct Look {
    at: Instant,
    asleep: bool,
    /// How often its main thread has been switched away from.
    switches: u64,
    worked: Duration,
}

impl Look {
    /// None when there is no such process, or only what its parent has to reap.
    fn at(pid: u32) -> Option<Look> {
        let process = stat(pid).filter(super::Process::is_running)?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().parse::<u64>().ok()
        };
        let switches = number("voluntary_ctxt_switches")? + number("nonvoluntary_ctxt_switches")?;
        Some(Look {
            at: Instant::now(),
            asleep: matches!(process.state, 'S' | 'T' | 't' | 'I'),
            switches,
            worked: super::usage::ticks(process.cpu_ticks),
        })
    }

    fn rested_until(&self, later: &Look) -> bool {
        let slept = self.asleep && later.asleep && self.switches == later.switches;
        slept && later.at >= self.at + REST
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Script;
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn script(text: &str) -> Script {
        Script::start(text, &[], &[])
    }

    #[test]
    fn a_program_that_waits_has_settled() {
        let waits = script("sleep 1000");
        let begun = Instant::now();
        assert_eq!(settle(&[waits.pid()], LONG), [0; 0]);
        assert!(begun.elapsed() < LONG);
    }

    #[test]
    fn a_program_that_fails_while_it_loads_is_gone() {
        let loads = script("i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; exit 3");
        let waits = script("sleep 1000");
        assert_eq!(settle(&[waits.pid(), loads.pid()], LONG), [loads.pid()]);
    }

    #[test]
    fn a_program_that_works_on_and_on_is_not_waited_for() {
        let works = script("while :; do :; done");
        let begun = Instant::now();
        assert_eq!(settle(&[works.pid()], LONG), [0; 0]);
        assert!(begun.elapsed() < LONG);
    }
}
