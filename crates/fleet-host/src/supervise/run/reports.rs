//! What the program tells of itself, by the operation `report`: receipts, questions, its conversation, what it used.
//!
//! Its word is taken at once, and the screen stays the judge. A turn that begins is a receipt, or work that no screen
//! shows yet. A question holds for a moment against a screen that has not drawn it, trouble (a limit, a login) until work
//! is seen. That a turn is over is told by the screen alone: programs leave it out, and people press Escape.
//!
//! Nothing of an event is kept but what [`Heard`] holds, and of a prompt's text only whether it was ours.

use std::time::{Duration, Instant};

use fleet_core::agent::Reason;
use fleet_core::fact::{Fact, Receipt, Source, Used};
use fleet_core::usage::{Basis, Tokens, Usage};
use fleet_core::{Error, Result};
use serde_json::{Value, json};

use super::{Running, Supervisor};
use crate::harness::heard::{Heard, MAX_EVENT};
use crate::harness::sign::Sign;
use crate::harness::{BUILTIN, heard};
use crate::supervise::prompt::mark;
use crate::supervise::wire::{Outcome, Prompted};
use crate::sys;

/// A question that the program told of is on the screen by then.
const DRAWN: Duration = Duration::from_millis(1500);
/// In the middle of a turn of which the program tells both ends, its prompt counts when it has stood for so long: for a
/// moment it is seen between work and a question.
const STANDS: Duration = Duration::from_millis(700);
/// Handling an event larger than this leaves memory that is given back at once.
const LARGE: usize = 64 * 1024;

/// What is remembered of what was told.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// What the program said that a person is asked for, and when.
    hold: Option<(Reason, Instant)>,
    /// Whether the program has told of the end of a turn, so that it tells of others too.
    tells_ends: bool,
    /// Whether it has told of anything.
    pub(super) heard: bool,
    /// Whether the program told that a turn began, and nothing has ended it.
    turn_is_open: bool,
    /// Mark of a prompt that ended by the screen: the word of it may still come, and is no receipt of the next one.
    pub(super) unheard: Option<u64>,
    /// What the program's life had cost when it was last recorded, and what it says now.
    cost: (f64, Option<(f64, &'static str)>),
}

/// Whether a name that a program gave may be kept and shown.
pub(super) fn is_plain(name: &str) -> bool {
    const LONGEST: usize = 200;
    !name.is_empty() && name.len() <= LONGEST && !name.contains(char::is_control)
}

impl Supervisor {
    /// Takes in one event of `size` bytes, and answers.
    pub(super) fn asked_to_report(&mut self, key: u64, body: &Value, size: usize) {
        let request = &body["id"];
        match self.take_report(body, size) {
            Ok(()) => self.answer(key, request, json!({})),
            Err(error) => self.send(key, &json!({ "id": request, "error": super::to_json(&error) })),
        }
        if size > LARGE {
            sys::trim_heap();
        }
    }

    fn take_report(&mut self, body: &Value, size: usize) -> Result<()> {
        // The rest of the request is small.
        if size > MAX_EVENT + 1024 {
            return Err(Error::usage(format!(
                "the report has {size} bytes; the most is {MAX_EVENT}"
            )));
        }
        let name = body["harness"].as_str().unwrap_or_default();
        if !BUILTIN.contains(&name) {
            return Err(Error::usage(
                "`harness` wants the name of a harness that ships with fleet",
            ));
        }
        if !matches!(self.running, Running::Child { .. }) {
            return Ok(());
        }
        for heard in heard(name, &body["event"]) {
            self.take_word(name, heard);
        }
        Ok(())
    }

    fn take_word(&mut self, name: &str, heard: Heard) {
        let now = Instant::now();
        self.reports.heard = true;
        match heard {
            // All else is in its stream.
            Heard::UsedBelow(usage) => self.told_usage(usage),
            Heard::BrokeOff => self.reply_broke_off(),
            Heard::Untold => self.something_is_untold(),
            _ if self.stream.is_some() => {}
            Heard::TurnBegan { text, by } => self.turn_began(text.as_deref(), by, now),
            Heard::TranscriptGrew => {
                self.transcripts.turn_ended(now);
                self.read_transcripts(now);
            }
            Heard::CameBack { id } => {
                if self.transcripts.has_sub_agent(&id) {
                    self.sub_agent_back(id, true);
                }
            }
            Heard::TurnEnded => {
                self.reports.tells_ends = true;
                self.reports.turn_is_open = false;
                self.transcripts.turn_ended(now);
                self.record_cost();
                self.read_transcripts(now);
                self.dirty_since.get_or_insert(now);
            }
            // Where no screen is read nothing would tell that it is over; where one asks it knows what for.
            Heard::Asked { .. } if self.signs.is_blind() || self.asks_on_screen() => {}
            Heard::Asked { reason, by } => {
                self.reports.hold = Some((reason, now));
                if self.standing().asked != Some(reason) {
                    let rule = by.to_owned();
                    self.record(Source::Program, Fact::Asked { reason, rule });
                }
                self.dirty_since.get_or_insert(now);
            }
            Heard::Answered { by } => {
                self.reports.hold = None;
                if self.standing().asked.is_some() && !self.asks_on_screen() {
                    let rule = Some(by.to_owned());
                    self.record(Source::Program, Fact::Busy { rule });
                }
                self.dirty_since.get_or_insert(now);
            }
            Heard::Conversation { id } => self.told_conversation(id),
            Heard::Transcript { path } => self.transcripts.add(name, path),
            Heard::Used(usage) => self.told_usage(usage),
            Heard::CostSoFar { usd, source } => {
                self.reports.cost.1 = Some((usd, source));
                if self.standing().at_prompt == Some(true) {
                    self.record_cost();
                }
            }
        }
    }

    pub(super) fn told_conversation(&mut self, id: String) {
        // It is shown, and becomes an argument of the program.
        let fit = is_plain(&id) && !id.starts_with('-') && !id.contains(char::is_whitespace);
        if fit && self.standing().conversation.as_ref() != Some(&id) {
            self.record(Source::Program, Fact::Conversation { id });
        }
    }

    pub(super) fn told_usage(&mut self, mut usage: Usage) {
        usage.model = usage.model.filter(|model| is_plain(model));
        self.record_used(usage);
    }

    /// A transcript has a turn that began with a text of this mark.
    pub(super) fn written_turn(&mut self, mark: u64, by: &'static str) {
        let delivery = self.delivery.as_ref().filter(|delivery| delivery.entered());
        if delivery.is_some_and(|delivery| delivery.mark() == mark) {
            self.told_of_prompt(by);
        }
    }

    /// The receipt of the prompt under way, or somebody else's turn.
    fn turn_began(&mut self, text: Option<&str>, by: &'static str, now: Instant) {
        self.reports.turn_is_open = self.reports.tells_ends;
        let unheard = self.reports.unheard.take();
        if unheard.is_some() && unheard == text.map(mark) {
            return;
        }
        if let Some(delivery) = &self.delivery {
            let ours = delivery.entered() && text.is_some_and(|text| delivery.is_text(text));
            if ours {
                self.told_of_prompt(by);
            }
            // Until its end the state is that of the prompt.
            return;
        }
        self.first_turn_unseen = false;
        let (at_prompt, asked) = (self.standing().at_prompt, self.standing().asked);
        if self.signs.is_blind() || self.asks_on_screen() || (at_prompt == Some(false) && asked.is_none()) {
            return;
        }
        // As after Enter: until work is seen the screen is that of before.
        self.matched_since = None;
        self.entered_at = Some(now);
        let rule = Some(by.to_owned());
        self.record(Source::Program, Fact::Busy { rule });
        self.dirty_since.get_or_insert(now);
    }

    /// The program has taken the prompt under way.
    fn told_of_prompt(&mut self, by: &'static str) {
        let Some(delivery) = self.delivery.take() else { return };
        let id = delivery.id;
        let receipt = Fact::PromptDelivered {
            id: id.clone(),
            by: Receipt::Program,
        };
        self.record(Source::Program, receipt);
        let prompted = Prompted {
            outcome: Outcome::Delivered,
            why: format!("the program has begun with it: {by}"),
        };
        self.prompt_ended(id, prompted);
    }

    fn asks_on_screen(&self) -> bool {
        matches!(self.sign, Some(Sign::Asks(Reason::Permission | Reason::Question)))
    }

    /// Whether what the program said holds against what the screen says now.
    pub(super) fn holds_against(&mut self, sign: Option<Sign>, now: Instant) -> bool {
        let Some((reason, since)) = self.reports.hold else {
            return false;
        };
        let trouble = matches!(reason, Reason::Limit | Reason::Login);
        let fresh = now < since + DRAWN;
        let holds = match sign {
            Some(Sign::Asks(_)) => false,
            Some(Sign::Works | Sign::Loads) => fresh,
            Some(Sign::Prompt) => fresh || trouble,
            None => return false,
        };
        match holds {
            true if fresh => self.look_again = Some(since + DRAWN),
            true => {}
            false => self.reports.hold = None,
        }
        holds
    }

    /// Until when a prompt that is seen since `matched` is in the middle of a turn; none if it is not.
    pub(super) fn mid_turn_until(&self, matched: Instant, now: Instant) -> Option<Instant> {
        let until = matched + STANDS;
        (self.reports.turn_is_open && now < until).then_some(until)
    }

    /// The key that ends a turn or a dialog was pressed, of which some programs tell nothing.
    pub(super) fn turn_may_be_over(&mut self) {
        self.reports.turn_is_open = false;
        self.reports.hold = None;
    }

    /// What follows for what was told from a fact that is about to be recorded.
    pub(super) fn follow(&mut self, fact: &Fact) {
        if matches!(fact, Fact::Busy { .. } | Fact::Ready { .. }) {
            self.reports.hold = None;
        }
        if matches!(fact, Fact::Interrupted | Fact::Ready { .. }) {
            self.turn_may_be_over();
        }
        if matches!(fact, Fact::Ready { .. } | Fact::Asked { .. } | Fact::Stopping { .. }) {
            self.find_transcripts();
            self.transcripts.turn_ended(Instant::now());
        }
        if matches!(fact, Fact::Started { .. }) {
            self.reports = Reports::default();
        }
    }

    /// Records what was spent since it was last recorded. A sum that went back was begun anew.
    pub(super) fn record_cost(&mut self) {
        let (before, Some((usd, source))) = self.reports.cost else {
            return;
        };
        self.reports.cost = (usd, None);
        let spent = if usd < before { usd } else { usd - before };
        if spent > 0.0 {
            let usage = Usage {
                model: None,
                tokens: Tokens::default(),
                cost_usd: Some(spent),
                source: source.to_owned(),
                basis: Basis::Reported,
            };
            // What it is the cost of is counted from the transcripts.
            self.record_priced(Used {
                beside: true,
                ..Used::unpriced(usage)
            });
        }
    }
}
