//! How an agent ends: interrupt, wait, terminate, wait, kill; then every descendant that is left.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::process::{self, Identity};

/// How far an end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ctrl-C was typed.
    Interrupt,
    /// SIGTERM was sent.
    Terminate,
    /// SIGKILL was sent.
    Kill,
}

/// An end under way.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) step: Step,
    pub(crate) deadline: Instant,
    grace: Duration,
    /// Those that were asked to terminate: a second SIGTERM makes some programs skip their clean-up.
    asked: Vec<Identity>,
    swept: Vec<u32>,
    /// Those that may not be signalled: they run as another user. No end waits for them.
    not_ours: Vec<Identity>,
}

impl Stop {
    /// Begins an end, politely or not. The caller types the Ctrl-C of the first step.
    pub(crate) fn begin(force: bool, grace: Duration, now: Instant) -> Stop {
        let step = if force { Step::Kill } else { Step::Interrupt };
        let mut stop = Stop {
            step,
            deadline: now,
            grace,
            asked: Vec::new(),
            swept: Vec::new(),
            not_ours: Vec::new(),
        };
        stop.deadline = now + stop.wait();
        stop
    }

    /// Begins the sweep of what a child that ended by itself has left behind.
    pub(crate) fn begin_sweep(grace: Duration, now: Instant) -> Stop {
        let mut stop = Stop {
            step: Step::Terminate,
            deadline: now,
            grace,
            asked: Vec::new(),
            swept: Vec::new(),
            not_ours: Vec::new(),
        };
        stop.deadline = now + stop.wait();
        stop
    }

    /// Goes on to the next step if the time of this one is over.
    pub(crate) fn tick(&mut self, now: Instant) {
        if now < self.deadline {
            return;
        }
        self.step = match self.step {
            Step::Interrupt => Step::Terminate,
            Step::Terminate | Step::Kill => Step::Kill,
        };
        self.deadline = now + self.wait();
    }

    /// Signals all of `left`, as the step asks.
    pub(crate) fn signal(&mut self, left: &[Identity], child: Option<u32>) {
        let Some(signal) = self.sent() else { return };
        for identity in left {
            if signal == Signal::SIGTERM {
                if self.asked.contains(identity) {
                    continue;
                }
                self.asked.push(identity.clone());
            }
            if process::signal(identity, signal) {
                // A stopped process would not see SIGTERM.
                process::signal(identity, Signal::SIGCONT);
                if Some(identity.pid) != child && !self.swept.contains(&identity.pid) {
                    self.swept.push(identity.pid);
                }
            } else if Some(identity.pid) != child && process::is_running(identity) {
                self.not_ours.push(identity.clone());
            }
        }
    }

    /// The signal that this step sends.
    pub(crate) fn sent(&self) -> Option<Signal> {
        match self.step {
            Step::Interrupt => None,
            Step::Terminate => Some(Signal::SIGTERM),
            Step::Kill => Some(Signal::SIGKILL),
        }
    }

    /// Whether the process was found to be one that may not be signalled.
    pub(crate) fn is_not_ours(&self, identity: &Identity) -> bool {
        self.not_ours.contains(identity)
    }

    /// Skips the polite steps from now on.
    pub(crate) fn force(&mut self, now: Instant) {
        if self.step != Step::Kill {
            self.step = Step::Kill;
            self.deadline = now + self.wait();
        }
    }

    /// The processes other than the child that were signalled.
    pub(crate) fn swept(&self) -> &[u32] {
        &self.swept
    }

    fn wait(&self) -> Duration {
        match self.step {
            Step::Interrupt => self.grace / 2,
            Step::Terminate => self.grace / 2,
            // A killed process goes at once; this only paces the search for ones that were born meanwhile.
            Step::Kill => Duration::from_millis(20),
        }
    }
}
