//! Interrupting a turn: the harness's own key, until the program is back at its prompt with nothing in its draft.
//!
//! Some programs put a prompt that was interrupted early back into the draft, where it would be glued to the next one.
//! What fleet itself had sent is cleared from there; what a person has typed is left.
//!
//! A program without a terminal is told to end its turn where it listens, else and later it is sent SIGINT, once; its run
//! is over when it has ended.

use std::time::{Duration, Instant};

use fleet_core::agent::{Reason, State};
use fleet_core::fact::{Fact, Source};
use fleet_core::{Error, Result};
use serde_json::{Value, json};

use super::{Running, Supervisor};

/// How long the key is given before it is pressed again.
const AGAIN: Duration = Duration::from_millis(600);
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a program without a terminal may take to end its turn and itself, when it was told to.
const ABORTS_IN: Duration = Duration::from_secs(5);

/// An interruption under way.
#[derive(Debug)]
pub(super) struct Interrupt {
    connection: u64,
    request: Value,
    begun: Instant,
    next_key: Instant,
    cleared: bool,
}

impl Interrupt {
    pub(super) fn deadline(&self) -> Instant {
        self.next_key.min(self.begun + PATIENCE)
    }
}

impl Supervisor {
    /// Begins to interrupt. Errors: nothing tells when it has stopped, another interruption is under way, the program
    /// does not run.
    pub(super) fn asked_to_interrupt(&mut self, connection: u64, request: Value) -> Result<()> {
        if !self.spec.headless && (self.spec.interrupt.is_empty() || self.signs.is_blind()) {
            return Err(
                Error::refused(format!("nobody knows the key that interrupts `{}`", self.spec.harness))
                    .hint("press it yourself: `fleet attach`"),
            );
        }
        if self.interrupt.is_some() {
            return Err(Error::conflict("somebody else is interrupting the agent"));
        }
        if !matches!(self.running, Running::Child { .. }) || self.stop.is_some() {
            return Err(Error::refused("the agent's program does not run"));
        }
        let now = Instant::now();
        self.interrupt = Some(Interrupt {
            connection,
            request,
            begun: now,
            next_key: now,
            cleared: false,
        });
        self.step_interrupt(now);
        Ok(())
    }

    pub(super) fn step_interrupt(&mut self, now: Instant) {
        let Some(interrupt) = &self.interrupt else { return };
        let (begun, due, cleared) = (interrupt.begun, now >= interrupt.next_key, interrupt.cleared);
        let state = self.state();
        if self.spec.headless && state.is_live() && due && now < begun + PATIENCE {
            self.interrupt_run(now, begun + PATIENCE);
            return;
        }
        if self.spec.headless && !state.is_live() {
            return self.end_interrupt(Ok(state));
        }
        if !state.is_live() || now >= begun + PATIENCE {
            let error = Error::failed(format!("the agent is {state} after it was interrupted"));
            self.end_interrupt(Err(error));
            return;
        }
        // A prompt that is being written is no turn yet.
        if !due || self.delivery.is_some() {
            return;
        }
        match state {
            State::Ready | State::Idle | State::Waiting(Reason::Limit | Reason::Login) => {
                let own = self.keys_at.is_none() && !self.spec.clear.is_empty();
                if own && !cleared && !self.signs.is_empty(&self.look()) {
                    let key = self.spec.clear.clone().into_bytes();
                    self.press(&key, now, true);
                } else {
                    self.end_interrupt(Ok(state));
                }
            }
            State::Working | State::Waiting(_) => {
                self.record(Source::Request, Fact::Interrupted);
                let key = self.spec.interrupt.clone().into_bytes();
                self.entered_at = None;
                self.press(&key, now, cleared);
            }
            _ => self.press(&[], now, cleared),
        }
    }

    fn interrupt_run(&mut self, now: Instant, until: Instant) {
        let told = self.abort_turn();
        if let Running::Child { pid } = self.running {
            self.record(Source::Request, Fact::Interrupted);
            if !told {
                self.interrupt_headless(pid);
            }
        }
        if let Some(interrupt) = &mut self.interrupt {
            interrupt.next_key = if told { now + ABORTS_IN } else { until };
        }
    }

    fn press(&mut self, keys: &[u8], now: Instant, cleared: bool) {
        self.unsent.extend_from_slice(keys);
        self.flush_input();
        self.dirty_since.get_or_insert(now);
        if let Some(interrupt) = &mut self.interrupt {
            interrupt.next_key = now + AGAIN;
            interrupt.cleared = cleared;
        }
    }

    fn end_interrupt(&mut self, result: Result<State>) {
        let Some(interrupt) = self.interrupt.take() else { return };
        let key = interrupt.connection;
        match result {
            Ok(state) => self.answer(key, &interrupt.request, json!({ "state": state.to_string() })),
            Err(error) => self.send(key, &json!({ "id": interrupt.request, "error": error })),
        }
    }
}
