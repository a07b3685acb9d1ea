//! The end of an agent: asked for, or found. The steps are [`crate::supervise::stop`].

use std::time::{Duration, Instant};

use fleet_core::fact::{Fact, Source};
use serde_json::json;

use super::{Running, Supervisor, to_json};
use crate::process::{self, Identity};
use crate::supervise::stop::{Step, Stop};
use crate::supervise::wire::{Outcome, Prompted, Stopped};

impl Supervisor {
    pub(super) fn begin_stop(&mut self, force: bool, grace: Duration) {
        let now = Instant::now();
        match &mut self.stop {
            Some(stop) if force => stop.force(now),
            Some(_) => {}
            None => {
                self.record(Source::Request, Fact::Stopping { force });
                let stop = Stop::begin(force, grace, now);
                if stop.step == Step::Interrupt {
                    self.interrupt();
                }
                self.stop = Some(stop);
                if matches!(self.running, Running::Nothing) && self.standing().exited.is_none() {
                    self.record(Source::Process, Fact::Exited { code: 0 });
                }
            }
        }
        self.press_stop(now);
    }

    /// What Ctrl-C does: typed, or without a terminal as the signal to the program's group.
    fn interrupt(&mut self) {
        match self.running {
            Running::Child { pid } if self.spec.headless => self.interrupt_headless(pid),
            _ if self.terminal.is_some() => {
                self.unsent.push(0x03);
                self.flush_input();
            }
            _ => {}
        }
    }

    pub(super) fn begin_sweep(&mut self) {
        let now = Instant::now();
        self.stop = Some(Stop::begin_sweep(
            Duration::from_millis(self.spec.grace_ms.min(1000)),
            now,
        ));
        self.press_stop(now);
    }

    /// Signals what is left of the agent; when nothing is, the end is complete.
    pub(super) fn press_stop(&mut self, now: Instant) {
        let Some(stop) = &mut self.stop else { return };
        let child = match self.running {
            Running::Nothing => None,
            Running::Setup { pid, .. } | Running::Child { pid } => Some(pid),
        };
        // The polite first step concerns the program alone; the rest begins when it has gone.
        if stop.step == Step::Interrupt && child.is_some() {
            return;
        }
        let notifiers: Vec<u32> = self.notifiers.iter().map(|each| each.pid).collect();
        let mut left: Vec<Identity> = match process::has_children() {
            false => Vec::new(),
            true => process::descendants_of_agent(&process::Table::read(), std::process::id()),
        };
        left.retain(|each| !notifiers.contains(&each.pid) && !stop.is_not_ours(each));
        // It is ours whatever its environment says.
        if let Some(child) = child.filter(|child| left.iter().all(|each| each.pid != *child)) {
            left.extend(Identity::of(child));
        }
        if stop.step == Step::Interrupt && child.is_none() {
            stop.deadline = now;
            stop.tick(now);
        }
        if !left.is_empty() || child.is_some() {
            stop.signal(&left, child);
            let sent = stop.sent().filter(|_| child.is_some());
            self.note_sent(sent);
            return;
        }
        let swept = stop.swept().to_vec();
        self.stop = None;
        if !swept.is_empty() {
            self.record(Source::Process, Fact::Swept { pids: swept.clone() });
        }
        self.say_goodbye(swept);
    }

    /// Answers those who asked for the end, refuses what waits, and sends the views home.
    pub(super) fn say_goodbye(&mut self, swept: Vec<u32>) {
        self.read_output();
        let stopped = to_json(&Stopped {
            code: self.standing().exited,
            swept,
        });
        for waiter in std::mem::take(&mut self.waiters) {
            match &waiter.prompt {
                None => self.answer(waiter.connection, &waiter.request, stopped.clone()),
                Some(id) => {
                    let queued = self.standing().queue.iter().any(|(each, _)| each == id);
                    let (outcome, why) = if queued {
                        (
                            Outcome::Queued,
                            "the agent ended; it is delivered when the agent is resumed",
                        )
                    } else {
                        (Outcome::Unverified, "the agent ended")
                    };
                    let prompted = Prompted {
                        outcome,
                        why: why.to_owned(),
                    };
                    self.answer(waiter.connection, &waiter.request, to_json(&prompted));
                }
            }
        }
        let event = json!({ "ended": { "state": self.state().to_string() } });
        for connection in self.connections.iter_mut().filter(|each| each.view.is_some()) {
            connection.send(&event);
        }
    }
}
