//! Prompts: when the program takes one, and how one gets there. The delivery itself is
//! [`crate::supervise::prompt`].

use std::time::Instant;

use fleet_core::agent::{Reason, State};
use fleet_core::fact::{Fact, Receipt, Source};
use fleet_core::{Error, Result};
use serde_json::Value;

use super::{KEYS_SETTLE, LONGEST_START, LOOK, QUIET_START, Running, SETTLE, STAYS, Supervisor, Waiter, to_json};
use crate::harness::sign::{Look as ScreenLook, Sign};
use crate::supervise::child::Terminal;
use crate::supervise::prompt::{Action, Delivery, Look, check_text};
use crate::supervise::wire::{Outcome, Prompted};

impl Supervisor {
    /// Without a `ready` rule: whether the first prompt still waits for the program to come up.
    pub(super) fn waits_for_quiet(&self) -> bool {
        self.signs.is_blind()
            && self.first_pending
            && !self.spec.headless
            && matches!(self.running, Running::Child { .. })
            && self.delivery.is_none()
            && self.stop.is_none()
            && !self.standing().queue.is_empty()
    }

    /// When what a person has typed is on the screen, if the program reads; none if nobody has typed lately.
    pub(super) fn keys_settle_at(&self) -> Option<Instant> {
        self.keys_at.map(|at| at + KEYS_SETTLE)
    }

    /// Whether all that a person has typed can be seen. What the program has not read is on no screen.
    fn keys_are_settled(&self, now: Instant) -> bool {
        self.keys_settle_at().is_none_or(|at| {
            now >= at && self.unsent.is_empty() && self.terminal.as_ref().map_or(0, Terminal::pending) == 0
        })
    }

    pub(super) fn quiet_at(&self) -> Instant {
        let latest = self.started_at + LONGEST_START;
        self.last_output
            .filter(|last| *last >= self.started_at)
            .map_or(latest, |last| (last + QUIET_START).min(latest))
    }

    /// Reads the screen by the harness's rules, once output has settled.
    pub(super) fn look_at_screen(&mut self, now: Instant) {
        let Some(since) = self.dirty_since else { return };
        let quiet = self.last_output.is_none_or(|last| now >= last + SETTLE);
        if !quiet && now < since + LOOK {
            return;
        }
        self.dirty_since = if quiet { None } else { Some(now) };
        if self.signs.is_blind() || !matches!(self.running, Running::Child { .. }) {
            return;
        }
        let look = self.look();
        let read = self.signs.read(&look);
        let (sign, rule) = read.map_or((None, ""), |(sign, rule)| (Some(sign), rule));
        let rule = rule.to_owned();
        self.sign = sign;
        if self.holds_against(sign, now) {
            return;
        }
        match sign {
            Some(Sign::Prompt) => {
                let cooked = self.terminal.as_ref().is_some_and(Terminal::is_cooked);
                self.prompt_modes = Some((self.screen.modes().bracketed_paste, cooked));
                self.prompt_line = Some(look.cursor_line);
                self.seems_at_rest(None, rule, quiet, now);
            }
            // These are messages of an ended turn, and stay where they are until the next one has begun.
            Some(Sign::Asks(reason @ (Reason::Limit | Reason::Login))) => {
                self.seems_at_rest(Some(reason), rule, quiet, now);
            }
            Some(Sign::Asks(reason)) => {
                self.forget_rest();
                if self.standing().asked != Some(reason) {
                    self.record(Source::Screen, Fact::Asked { reason, rule });
                }
            }
            Some(Sign::Works | Sign::Loads) => {
                self.forget_rest();
                self.seems_busy(Some(rule));
            }
            None => {
                self.matched_since = None;
                // A person's draft behind the same prompt is no work.
                let drafts = self
                    .prompt_line
                    .as_ref()
                    .is_some_and(|prompt| !prompt.is_empty() && look.cursor_line.starts_with(prompt.as_str()));
                if !drafts && self.signs.shows_work_in().is_none() && self.standing().at_prompt == Some(true) {
                    self.seems_busy(None);
                }
            }
        }
    }

    /// The program is at its prompt, or `asked` there for something that only a person can give.
    fn seems_at_rest(&mut self, asked: Option<Reason>, rule: String, quiet: bool, now: Instant) {
        // A program that never falls silent (a clock, views that come and go) is at its prompt when it stays there.
        let matched = *self.matched_since.get_or_insert(now);
        if self.delivery.is_some() || !(quiet || now >= matched + STAYS) {
            return;
        }
        // Some programs show their prompt before they begin with the one they were started with.
        if std::mem::take(&mut self.first_turn_unseen) {
            self.entered_at = Some(now);
        }
        // Between Enter and the first sign of work the screen is that of before.
        if let (Some(entered), Some(shows_in)) = (self.entered_at, self.signs.shows_work_in())
            && now < entered + shows_in
        {
            self.look_again = Some(entered + shows_in);
            return;
        }
        if let Some(until) = self.mid_turn_until(matched, now) {
            self.look_again = Some(until);
            return;
        }
        self.entered_at = None;
        let standing = self.standing();
        match asked {
            Some(reason) if standing.asked != Some(reason) => {
                self.record(Source::Screen, Fact::Asked { reason, rule });
            }
            None if standing.at_prompt != Some(true) => {
                self.record(Source::Screen, Fact::Ready { rule: Some(rule) });
            }
            _ => {}
        }
    }

    fn seems_busy(&mut self, rule: Option<String>) {
        // While a prompt is typed the draft is ours; `Busy` then means that Enter was pressed.
        let typing = self.delivery.as_ref().is_some_and(|delivery| !delivery.entered());
        let standing = self.standing();
        if !typing && (standing.at_prompt != Some(false) || standing.asked.is_some()) {
            self.record(Source::Screen, Fact::Busy { rule });
        }
    }

    fn forget_rest(&mut self) {
        self.matched_since = None;
        self.first_turn_unseen = false;
        self.entered_at = None;
        self.look_again = None;
    }

    pub(super) fn look(&self) -> ScreenLook {
        let mut rows = self.screen.text();
        let used = rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1);
        rows.truncate(used);
        ScreenLook {
            cursor_line: self.screen.cursor_line(),
            before_cursor: self.screen.before_cursor(),
            typed_row: self.screen.typed_row(),
            title: self.screen.title().map(str::to_owned),
            rows,
        }
    }

    /// Whether the program would take a prompt now, in its terminal.
    pub(super) fn takes_prompt(&self, now: Instant) -> bool {
        if self.spec.headless
            || self.delivery.is_some()
            || self.interrupt.is_some()
            || self.stop.is_some()
            || self.spending.holds_prompts()
            || !matches!(self.running, Running::Child { .. })
        {
            return false;
        }
        // What the program has not been given yet would be another message in front of it.
        if !self.keys_are_settled(now) || !self.unsent.is_empty() {
            return false;
        }
        if self.signs.is_blind() {
            return !self.first_pending || now >= self.quiet_at();
        }
        let standing = self.standing();
        let rests = standing.at_prompt == Some(true) || matches!(standing.asked, Some(Reason::Limit | Reason::Login));
        if !rests {
            return false;
        }
        let look = self.look();
        let sign = self.signs.read(&look).map(|(sign, _)| sign);
        let open = matches!(sign, Some(Sign::Prompt | Sign::Asks(Reason::Limit | Reason::Login)));
        open && self.signs.is_empty(&look)
    }

    /// Starts the next queued prompt if the program takes one.
    pub(super) fn begin_delivery(&mut self, now: Instant) {
        if self.keys_are_settled(now) {
            self.keys_at = None;
        } else if self.keys_settle_at().is_some_and(|at| now >= at) {
            // That the program has read is no event: looked for again.
            self.keys_at = Some(now);
        }
        while let Some((id, text)) = self.standing().queue.first().cloned() {
            if !self.takes_prompt(now) {
                return;
            }
            self.first_pending = false;
            if !self.type_prompt(id, &text, now) {
                return;
            }
        }
    }

    /// Begins a delivery, or refuses a text that cannot be one. False, and nothing is written, if the journal cannot
    /// say so: after a crash the prompt would be written again.
    pub(super) fn type_prompt(&mut self, id: String, text: &str, now: Instant) -> bool {
        let cooked = self.terminal.as_ref().is_some_and(Terminal::is_cooked);
        let bracketed = self.screen.modes().bracketed_paste;
        match Delivery::start(id.clone(), text, bracketed, cooked) {
            Err(error) => self.finish_prompt(&id, Outcome::Refused, &reason(error)),
            Ok((delivery, bytes)) => {
                if !self.record(Source::Request, Fact::PromptTyped { id }) {
                    return false;
                }
                self.unsent.extend_from_slice(&bytes);
                self.written = 0;
                self.delivery = Some(delivery);
                self.flush_input();
                self.step_delivery(now);
            }
        }
        true
    }

    pub(super) fn step_delivery(&mut self, now: Instant) {
        if self.delivery.is_none() {
            return;
        }
        let screen = self.look();
        let draft = self.signs.draft(&screen);
        let works = self.signs.shows_work_in().is_some();
        let sign = self.signs.read(&screen).map(|(sign, _)| sign);
        let Some(delivery) = &mut self.delivery else { return };
        let look = Look {
            draft: draft.as_deref(),
            folded: draft.as_deref().is_some_and(|draft| self.signs.is_folded(draft)),
            pending: self.terminal.as_ref().map_or(0, Terminal::pending),
            cooked: self.terminal.as_ref().is_some_and(Terminal::is_cooked),
            unsent: !self.unsent.is_empty(),
            written: self.written,
            last_output: self.last_output,
            works: works.then_some(sign == Some(Sign::Works)),
            loads: sign == Some(Sign::Loads),
            asks: matches!(sign, Some(Sign::Asks(Reason::Permission | Reason::Question))),
        };
        let (id, length) = (delivery.id.clone(), delivery.length);
        match delivery.step(look, now) {
            None => {}
            Some(Action::Enter) => drop(self.press_enter(&id)),
            Some(Action::Abandoned(why)) => {
                let pressed = self.press_enter(&id);
                if pressed {
                    self.finish_prompt(&id, Outcome::Unverified, why);
                }
            }
            Some(Action::TakenBack(why)) => {
                self.unsent.drain(..length);
                self.finish_prompt(&id, Outcome::Refused, why);
            }
            Some(Action::Delivered) => self.finish_prompt(&id, Outcome::Delivered, "the text left the draft"),
            Some(Action::Unverified(_)) if self.prompt_is_written() => {}
            Some(Action::Unverified(why)) => self.finish_prompt(&id, Outcome::Unverified, why),
        }
    }

    /// Presses Enter behind the prompt `id`. False, and the prompt is ended, if the journal cannot say so.
    fn press_enter(&mut self, id: &str) -> bool {
        self.entered_at = Some(Instant::now());
        if !self.record(Source::Request, Fact::Busy { rule: None }) {
            let why = "the agent's journal cannot be written, so Enter was not pressed";
            self.finish_prompt(id, Outcome::Unverified, why);
            return false;
        }
        self.unsent.push(b'\r');
        self.flush_input();
        true
    }

    /// Records the end of a prompt and answers everyone who waits for it.
    pub(super) fn finish_prompt(&mut self, id: &str, outcome: Outcome, why: &str) {
        let id = id.to_owned();
        let fact = match outcome {
            Outcome::Delivered => Fact::PromptDelivered {
                id: id.clone(),
                by: Receipt::Screen,
            },
            Outcome::Unverified => Fact::PromptUnverified {
                id: id.clone(),
                why: why.to_owned(),
            },
            Outcome::Refused | Outcome::Queued => Fact::PromptRefused {
                id: id.clone(),
                why: why.to_owned(),
            },
        };
        self.record(Source::Screen, fact);
        let delivery = self.delivery.take();
        self.reports.unheard = delivery.as_ref().filter(|each| each.entered()).map(Delivery::mark);
        // What is no command of the program's some programs put back, where the next prompt would be glued to it.
        let put_back = delivery.is_some_and(|delivery| delivery.entered() && delivery.is_command());
        if put_back && self.keys_at.is_none() && self.held_input.is_empty() && !self.signs.is_empty(&self.look()) {
            self.unsent.extend_from_slice(self.spec.clear.as_bytes());
        }
        self.prompt_ended(
            id,
            Prompted {
                outcome,
                why: why.to_owned(),
            },
        );
    }

    /// Answers everyone who waits for the prompt `id`, and lets through what a person typed meanwhile.
    pub(super) fn prompt_ended(&mut self, id: String, prompted: Prompted) {
        // The program may be back at its prompt already: look again.
        self.dirty_since.get_or_insert_with(Instant::now);
        let held = std::mem::take(&mut self.held_input);
        if !held.is_empty() {
            self.keys_at = Some(Instant::now());
        }
        self.unsent.extend_from_slice(&held);
        self.flush_input();
        let (done, rest) = self
            .waiters
            .drain(..)
            .partition(|each| each.prompt.as_ref() == Some(&id));
        self.waiters = rest;
        let done: Vec<Waiter> = done;
        for waiter in done {
            self.answer(waiter.connection, &waiter.request, to_json(&prompted));
        }
        self.remember(id, prompted);
    }

    /// Keeps an outcome for those who ask again.
    fn remember(&mut self, id: String, prompted: Prompted) {
        self.outcomes.push((id, prompted));
        if self.outcomes.len() > 64 {
            self.outcomes.remove(0);
        }
    }

    pub(super) fn asked_to_prompt(&mut self, key: u64, request: Value, body: &Value) -> Result<()> {
        let id = body["prompt"]
            .as_str()
            .ok_or_else(|| Error::usage("`prompt` wants the id of the request"))?
            .to_owned();
        let text = check_text(body["text"].as_str().unwrap_or_default())?;
        let past_queue = body["past_queue"].as_bool().unwrap_or(false);
        if let Some((_, prompted)) = self.outcomes.iter().find(|(each, _)| *each == id) {
            let prompted = to_json(prompted);
            self.answer(key, &request, prompted);
            return Ok(());
        }
        if self.spec.headless && !self.takes_later_prompts() {
            let error = Error::refused(match self.is_talked_to() {
                true => "the agent's run is ending",
                false => "the agent runs without a terminal and has read its only prompt",
            });
            return Err(match self.spec.stream {
                Some(_) => error.hint(format!(
                    "when its run has ended: `fleet resume {} --prompt TEXT`",
                    fleet_core::name::word(&self.spec.branch)
                )),
                None => error.hint(format!(
                    "start another: `fleet create BRANCH --agent {} --prompt TEXT`",
                    self.spec.harness
                )),
            });
        }
        if self.stop.is_some() || self.standing().exited.is_some() {
            return Err(Error::refused("the agent is ending").hint(format!(
                "revive it: `fleet resume {}`",
                fleet_core::name::word(&self.spec.branch)
            )));
        }
        let waiting = self.standing().queue.iter().any(|(each, _)| *each == id);
        let in_flight = self.delivery.as_ref().is_some_and(|each| each.id == id) || self.is_unanswered(&id);
        let now = Instant::now();
        if !waiting && !in_flight {
            if self.standing().queue.is_empty() && self.takes_prompt(now) {
                self.first_pending = false;
                self.waiters.push(Waiter {
                    connection: key,
                    request,
                    prompt: Some(id.clone()),
                });
                if !self.type_prompt(id, &text, now) {
                    self.waiters.pop();
                    return Err(unwritable());
                }
                return Ok(());
            }
            // Better refused now than after it was called queued. A program may change its modes while it works,
            // so those that it last had at its prompt count.
            if let Some((bracketed, cooked)) = self.prompt_modes
                && let Err(error) = Delivery::check(&text, bracketed, cooked)
            {
                let why = reason(error);
                self.record(
                    Source::Request,
                    Fact::PromptRefused {
                        id: id.clone(),
                        why: why.clone(),
                    },
                );
                let outcome = Outcome::Refused;
                let prompted = Prompted { outcome, why };
                self.answer(key, &request, to_json(&prompted));
                self.remember(id, prompted);
                return Ok(());
            }
            if !self.record(Source::Request, Fact::PromptQueued { id: id.clone(), text }) {
                return Err(unwritable());
            }
        }
        if past_queue || in_flight {
            self.waiters.push(Waiter {
                connection: key,
                request,
                prompt: Some(id),
            });
        } else {
            let why = match self.state() {
                State::Ready | State::Idle => "somebody types to the agent, and their text comes first".to_owned(),
                state => format!("the agent is {state}"),
            };
            self.answer(
                key,
                &request,
                to_json(&Prompted {
                    outcome: Outcome::Queued,
                    why,
                }),
            );
        }
        self.begin_delivery(now);
        Ok(())
    }
}

fn unwritable() -> Error {
    Error::failed("the agent's journal cannot be written, so the prompt was not taken")
        .hint("make room on the disk: `fleet clean`")
}

/// The message of an error with its hint on a line of its own.
fn reason(error: Error) -> String {
    match error.hint {
        Some(hint) => format!("{}\n{hint}", error.message),
        None => error.message,
    }
}
