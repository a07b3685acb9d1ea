//! What the program uses, what that costs, and what follows when it has used what it may.
//!
//! A supervisor knows the limits of its own agent alone. It is given them at the start and told of changes over its
//! socket; it counts from what the program tells. At 80 % and at the end of a limit it says so. Then
//!
//! - a hard limit ends everything of the agent at once: a polite signal makes some programs ask their service once more;
//! - a soft one ends a run without a terminal politely, and elsewhere interrupts the turn and holds every prompt back
//!   until the limit is raised.

use std::time::Duration;

use fleet_core::budget::{Level, Limits, Rung, Used as Taken};
use fleet_core::fact::{Fact, Source, Used};
use fleet_core::money::Usd;
use fleet_core::price::Prices;
use fleet_core::spend::{self, Certainty};
use fleet_core::usage::{Basis, Usage};
use fleet_core::{Error, Result};
use serde_json::{Value, json};

use super::{Running, Supervisor, now};
use crate::harness;

/// No program tries one request more often than this.
const MOST_LOST: u64 = 20;

/// The store takes in what an agent spends when that is so much of its own limit: the agents of one ceiling spend little
/// more than that share of it before it is known how near its end it is.
const SHARE_UNTAKEN: u64 = 20;
/// The same for an agent without a limit of its own.
const MOST_UNTAKEN: Usd = Usd::from_micros(100_000);

/// What is counted, and against what.
#[derive(Debug, Default)]
pub(super) struct Spending {
    limits: Limits,
    taken: Taken,
    /// What was told last.
    level: Level,
    /// Read when the first reply is counted: most supervisors are idle, and small.
    prices: Option<Prices>,
    /// A turn is to be interrupted, because a soft limit is reached.
    interrupts: bool,
    /// The program is ended for a limit: what was used of what.
    ends: Option<String>,
    /// How many replies broke off since the program last told what it used: what they have cost it leaves out.
    broke_off: u64,
    /// Something else was used since then that it leaves out.
    untold: bool,
    /// What was spent since the store was last asked to take in the journal.
    untaken: Usd,
}

impl Spending {
    pub(super) fn new(limits: Limits, taken: Taken) -> Spending {
        Spending {
            limits,
            taken,
            ..Spending::default()
        }
    }

    /// Whether no prompt may be given to the program.
    pub(super) fn holds_prompts(&self) -> bool {
        self.level == Level::Reached
    }
}

impl Supervisor {
    /// Records what was used since this was last called for the same source.
    pub(super) fn record_used(&mut self, mut usage: Usage) {
        usage.model = usage.model.or_else(|| self.spec.model.clone());
        let is_incomplete = self.make_up_for_lost(&usage);
        let (cost, certainty) = self.priced(&usage, is_incomplete);
        self.record_priced_as(usage, cost, certainty, None);
    }

    /// Records an estimate of the replies that broke off since the program last told what it used, by `usage`, which it
    /// tells now. Whether something of that is missing all the same.
    pub(super) fn make_up_for_lost(&mut self, usage: &Usage) -> bool {
        let mut lost = std::mem::take(&mut self.spending.broke_off);
        let is_untold = std::mem::take(&mut self.spending.untold) || self.is_known_to_leave_out();
        if harness::tells_each_reply(&self.spec.harness) {
            // It has asked for the same once more.
            for _ in 0..std::mem::take(&mut lost).min(MOST_LOST) {
                let again = Usage {
                    basis: Basis::Estimated,
                    ..usage.clone()
                };
                let (cost, certainty) = self.priced(&again, false);
                self.record_priced_as(again, cost, certainty, None);
            }
        }
        is_untold || lost > 0
    }

    /// What `usage` comes to, which was told now. Where something of it is missing that is an estimate.
    pub(super) fn priced(&mut self, usage: &Usage, is_incomplete: bool) -> (Option<Usd>, Certainty) {
        let (cost, mut certainty) = spend::priced(self.prices(), usage, now());
        if is_incomplete && cost.is_some() {
            certainty = certainty.max(Certainty::Estimated);
        }
        (cost, certainty)
    }

    /// Whether the program's stream leaves something out that it was to tell otherwise, and does not.
    fn is_known_to_leave_out(&self) -> bool {
        self.stream.is_some() && !self.reports.heard && harness::leaves_out(&self.spec.harness)
    }

    /// Records what was used and priced already.
    pub(super) fn record_priced(&mut self, mut used: Used) {
        // The proxy has counted it already.
        used.beside |= used.request.is_none() && self.link.has_counted();
        if !used.beside {
            match used.cost {
                Some(cost) => {
                    self.spending.taken.usd = self.spending.taken.usd + cost;
                    self.spending.untaken = self.spending.untaken + cost;
                }
                None => self.spending.taken.unknown += 1,
            }
        }
        self.record(Source::Program, Fact::Used(used));
        let limit = self.spending.limits.usd;
        let most = limit.map_or(MOST_UNTAKEN, |limit| Usd::from_micros(limit.micros() / SHARE_UNTAKEN));
        if self.is_taken_in() && self.spending.untaken > most {
            self.start_recorder();
        }
    }

    /// Whether the store is to take in the journal now: the agent works for a task, or has spent something and a ceiling is
    /// above it.
    pub(super) fn is_taken_in(&self) -> bool {
        let has_ceiling = self.spending.limits.any() || self.spec.driver.is_some();
        self.spec.task.is_some() || has_ceiling && !self.spending.untaken.is_zero()
    }

    /// Has the store take in what the journal says. A failure is made good by whoever reads the journal next.
    pub(super) fn start_recorder(&mut self) {
        self.spending.untaken = Usd::default();
        if let Some(recorder) = &self.spec.recorder {
            let _ = recorder.start();
        }
    }

    /// What a fact adds to what was taken.
    pub(super) fn count(&mut self, fact: &Fact) {
        if matches!(fact, Fact::PromptDelivered { .. }) {
            self.spending.taken.turns += 1;
        }
    }

    /// The program asks again because of `why`. After a refusal nothing is missing in what it tells.
    pub(super) fn asks_again(&mut self, why: &str) {
        let is_status = |word: &str| word.parse::<u16>().is_ok_and(|number| (400..600).contains(&number));
        let mut words = why.split(|letter: char| !letter.is_ascii_alphanumeric());
        if !words.any(is_status) {
            self.reply_broke_off();
        }
    }

    /// What the program tells next that it used leaves out what a reply that broke off has cost.
    pub(super) fn reply_broke_off(&mut self) {
        self.spending.broke_off += 1;
    }

    /// What the program tells next that it used leaves out something that it tells nowhere.
    pub(super) fn something_is_untold(&mut self) {
        self.spending.untold = true;
    }

    /// Why no other request may go to the program's service: its limit of money is used up.
    pub(super) fn refusal(&self) -> Option<String> {
        let Spending { limits, taken, .. } = &self.spending;
        match limits.level(taken) {
            (Level::Reached, Some(Rung::Usd)) => Some(limits.describe(taken, Rung::Usd)),
            _ => None,
        }
    }

    /// Whether its limit of money ends the agent at once.
    pub(super) fn has_hard_ceiling(&self) -> bool {
        let limits = &self.spending.limits;
        limits.hard && limits.known && limits.usd.is_some()
    }

    /// Why the program is ended, if it is for a limit.
    pub(super) fn ended_by_limit(&self) -> Option<&str> {
        self.spending.ends.as_deref()
    }

    /// The prices in use.
    pub(super) fn prices(&mut self) -> &Prices {
        let own = &self.spec.prices;
        self.spending.prices.get_or_insert_with(|| {
            let own = own.as_deref().and_then(|text| Prices::parse(text, "prices").ok());
            Prices::builtin().with(own.unwrap_or_default())
        })
    }

    /// The program has called a tool.
    pub(super) fn tool_called(&mut self, is_dispatch: bool) {
        self.spending.taken.tool_calls += 1;
        self.spending.taken.dispatches += u64::from(is_dispatch);
    }

    /// The model has its turn.
    pub(super) fn model_turned(&mut self) {
        self.spending.taken.model_turns += 1;
    }

    /// Acts when a limit is near or reached that was not before.
    fn heed_limits(&mut self) {
        let Spending {
            limits, taken, level, ..
        } = &self.spending;
        let (reached, Some(rung)) = limits.level(taken) else {
            return;
        };
        if reached <= *level {
            return;
        }
        let (about, hard) = (limits.describe(taken, rung), limits.hard);
        self.spending.level = reached;
        self.record(
            Source::Supervisor,
            Fact::Budget {
                level: reached,
                rung,
                about: about.clone(),
            },
        );
        self.tell_of_budget(reached, rung, &about);
        if reached < Level::Reached || self.stop.is_some() || !matches!(self.running, Running::Child { .. }) {
            return;
        }
        match (rung, hard, self.spec.headless) {
            // The last turn that is allowed may end.
            (Rung::Turns, ..) => {}
            (_, true, _) => {
                self.spending.ends = Some(about);
                self.begin_stop(true, Duration::ZERO);
            }
            (_, false, true) => {
                self.spending.ends = Some(about);
                self.begin_stop(false, Duration::from_millis(self.spec.grace_ms));
            }
            (_, false, false) => self.spending.interrupts = true,
        }
    }

    /// Does what a limit that was reached wants, once it can be done.
    pub(super) fn step_budget(&mut self) {
        self.heed_limits();
        if !self.spending.interrupts || self.interrupt.is_some() || self.delivery.is_some() {
            return;
        }
        self.spending.interrupts = false;
        if self.standing().at_prompt == Some(true) {
            return;
        }
        // Nobody waits for the answer. A program that cannot be interrupted ends its turn, and begins no other.
        let _ = self.asked_to_interrupt(0, Value::Null);
    }

    /// Other limits from now on. What was held back goes on where there is room again.
    pub(super) fn asked_to_limit(&mut self, body: &Value) -> Result<Value> {
        let limits: Limits = serde_json::from_value(body["limits"].clone())
            .map_err(|error| Error::usage(format!("`limits` is no set of limits: {error}")))?;
        // More money is no leave to call more tools.
        let counts = self.spending.limits;
        let limits = Limits {
            tool_calls: limits.tool_calls.or(counts.tool_calls),
            model_turns: limits.model_turns.or(counts.model_turns),
            dispatches: limits.dispatches.or(counts.dispatches),
            ..limits
        };
        let held = self.spending.level == Level::Reached;
        self.spending.limits = limits;
        let (level, _) = limits.level(&self.spending.taken);
        // A limit that is near again is told of again, and one that is reached by being lowered acts like any other.
        self.spending.level = if held && level == Level::Reached {
            level
        } else {
            Level::Within
        };
        self.record(Source::Request, Fact::Limited { limits });
        let goes_on = held && level != Level::Reached;
        Ok(json!({ "level": level, "used": self.spending.taken, "goes_on": goes_on }))
    }

    fn tell_of_budget(&mut self, level: Level, rung: Rung, about: &str) {
        let Some(argv) = self.spec.on_budget.clone() else {
            return;
        };
        let body = json!({
            "hook": "on_budget", "scope": "agent", "what": self.spec.branch, "agent": self.spec.agent,
            "branch": self.spec.branch, "harness": self.spec.harness, "worktree": self.spec.cwd, "level": level, "rung": rung, "about": about, "used": self.spending.taken,
            "limits": self.spending.limits, "at": now(),
        });
        if let Some(notifier) = super::Notifier::start("on_budget", &argv, &self.notifier_env, &body) {
            self.notifiers.push(notifier);
        }
    }
}

/// Adds `usage` of one reply, which costs this much, to the sums of its model and source.
pub(super) fn add(sums: &mut Vec<Used>, used: Used) {
    let same = |sum: &&mut Used| {
        sum.usage.model == used.usage.model
            && sum.usage.source == used.usage.source
            && sum.certainty == used.certainty
            && sum.task == used.task
            && sum.crew == used.crew
    };
    match sums.iter_mut().find(same) {
        Some(sum) => {
            sum.usage.tokens += used.usage.tokens;
            sum.upto = sum.upto.max(used.upto);
            sum.cost = sum.cost.zip(used.cost).map(|(sum, more)| sum + more);
        }
        None => sums.push(used),
    }
}
