//! The hold on the meter, and what the meter tells of the program's requests.
//!
//! Each request that costs has a number and is *open* from its admission to its account. The states of the hold:
//!
//! - held: a connection to the meter's socket, on which nothing is said;
//! - lost: the connection has closed, so the meter has ended. What is open is settled by an estimate, for nobody will
//!   tell of it any more, and the meter is started again: the program cannot reach its service meanwhile, and works on;
//! - over: the program has ended. The meter sees its connections close, and settles; for a moment that is waited for.
//!
//! Deliberately not decided here: what a request may cost (`spending`), and what the bytes of a reply mean (the meter).

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use fleet_core::fact::{Fact, Source, Used};
use fleet_core::spend::{self, Meter, Spend};
use fleet_core::usage::{Basis, Tokens, Usage};
use fleet_core::{Error, Result};
use serde_json::Value;

use super::reports::is_plain;
use super::{Running, Supervisor, now, to_json};
use crate::supervise::meter::{Answer, Ceiling, Reply, Request};

/// A meter that cannot be started is tried again after so long.
const AGAIN: Duration = Duration::from_secs(2);
/// The accounts of requests that were open when the program ended have come by then.
const SETTLED: Duration = Duration::from_secs(3);

/// The hold on the meter.
#[derive(Debug, Default)]
pub(super) struct Link {
    stream: Option<UnixStream>,
    /// When to start the meter again.
    retry: Option<Instant>,
    /// When what is open is settled without the meter.
    settle_by: Option<Instant>,
    /// Whether it was told that the meter is not there.
    told: bool,
    /// The number of the last request.
    last: u64,
    /// The requests that have no account yet.
    open: BTreeMap<u64, Open>,
    /// Whether a request has come through the meter since the program was started.
    counted: bool,
    /// Why the last request got no answer, and that is recorded.
    unanswered: Option<String>,
}

/// What is known of a request without an account.
#[derive(Debug, Default)]
struct Open {
    /// Whether the service has it: before that it costs nothing.
    sent: bool,
    model: Option<String>,
    expected: Tokens,
}

impl Link {
    /// The numbers of requests are unique in an agent's life.
    pub(super) fn new(generation: u32) -> Link {
        Link {
            last: u64::from(generation) << 32,
            ..Link::default()
        }
    }

    /// Whether the meter counts what the program uses.
    pub(super) fn has_counted(&self) -> bool {
        self.counted
    }

    /// Whether every request has its account.
    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// What to poll.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retry.into_iter().chain(self.settle_by).min()
    }
}

impl Supervisor {
    /// Takes hold of the meter, where the program is to reach its service through it.
    pub(super) fn join_meter(&mut self) -> Result<()> {
        if let Some(why) = self.spec.unmetered.take() {
            let about = format!("what it uses is counted by what it tells: {why}");
            self.record(Source::Supervisor, Fact::Meter { there: false, about });
        }
        let Some(metered) = &self.spec.metered else {
            return Ok(());
        };
        let stream = metered.meter.join()?;
        stream
            .set_nonblocking(true)
            .map_err(|error| Error::internal(format!("socket: {error}")))?;
        self.link.stream = Some(stream);
        Ok(())
    }

    /// The meter has closed the connection: it says nothing on it.
    pub(super) fn meter_spoke(&mut self) {
        let Some(stream) = &mut self.link.stream else { return };
        match stream.read(&mut [0; 64]) {
            Ok(1..) => return,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Ok(0) | Err(_) => {}
        }
        self.link.stream = None;
        self.settle_open();
        if self.needs_meter() {
            self.link.retry = Some(Instant::now());
        }
    }

    /// Starts the meter again, and settles what it will not tell of any more, when that is due.
    pub(super) fn step_link(&mut self, now: Instant) {
        if self.link.retry.is_some_and(|at| now >= at) {
            self.link.retry = None;
            if self.needs_meter() {
                self.rejoin_meter(now);
            }
        }
        if self.standing().exited.is_none() || self.link.is_settled() {
            self.link.settle_by = None;
            return;
        }
        let by = *self.link.settle_by.get_or_insert(now + SETTLED);
        if now >= by {
            self.settle_open();
            self.link.settle_by = None;
        }
    }

    /// Takes in what the meter asks or tells.
    pub(super) fn asked_by_meter(&mut self, body: &Value) -> Result<Value> {
        let request: Request = serde_json::from_value(body.clone())
            .map_err(|error| Error::usage(format!("that is nothing a meter says: {error}")))?;
        let answer = match request {
            Request::Admit {
                token,
                route,
                costs,
                model,
                ceiling,
            } => self.admitted(&token, &route, costs.then_some((model, ceiling))),
            Request::Sent {
                number,
                model,
                expected,
            } => {
                if let Some(open) = self.link.open.get_mut(&number) {
                    *open = Open {
                        sent: true,
                        model,
                        expected,
                    };
                }
                Answer::Noted { spend: None }
            }
            Request::Ended { number, reply } => {
                let is_open = self.link.open.remove(&number).is_some();
                let reply = reply.filter(|_| is_open);
                if reply.is_some() {
                    self.link.unanswered = None;
                }
                Answer::Noted {
                    spend: reply.map(|reply| self.record_request(number, reply)),
                }
            }
            Request::Unanswered { about } => {
                self.went_unanswered(about);
                Answer::Noted { spend: None }
            }
            Request::Limited { until } => {
                self.record(Source::Program, Fact::Quota { until });
                Answer::Noted { spend: None }
            }
        };
        Ok(to_json(&answer))
    }

    /// Whether a request may go on. `costs` is there for one that does: the model that it asks for, and how the ceilings
    /// of all agents stand.
    fn admitted(&mut self, token: &str, route: &str, costs: Option<(Option<String>, Ceiling)>) -> Answer {
        let Some(metered) = self.spec.metered.as_ref().filter(|metered| metered.token == token) else {
            return Answer::Stranger;
        };
        let Some(upstream) = metered.routes.get(route).cloned() else {
            return Answer::Stranger;
        };
        if let Some((model, ceiling)) = costs {
            if !matches!(self.running, Running::Child { .. }) || self.stop.is_some() {
                return Answer::Refused("fleet is ending this agent".to_owned());
            }
            if let Some(about) = self.why_refused(model.as_deref(), ceiling) {
                self.went_unanswered(about.clone());
                return Answer::Refused(about);
            }
            self.link.last += 1;
            self.link.counted = true;
            self.link.open.insert(self.link.last, Open::default());
        }
        Answer::Pass {
            upstream,
            number: self.link.last,
        }
    }

    /// Why no request to `model` may go on, in words; none where it may.
    fn why_refused(&mut self, model: Option<&str>, ceiling: Ceiling) -> Option<String> {
        let is_hard = match ceiling {
            Ceiling::UsedUp(about) => return Some(about),
            Ceiling::Room => true,
            Ceiling::None => false,
        };
        if let Some(about) = self.refusal() {
            return Some(format!(
                "fleet refuses another request, because the budget is used up: {about}; `fleet budget raise` allows more"
            ));
        }
        if !is_hard && !self.has_hard_ceiling() {
            return None;
        }
        // Money is never taken to be nothing: what has no price would pass a ceiling that is to hold.
        match model {
            Some(model) if self.prices().knows(model, now()) => None,
            Some(model) => Some(format!(
                "fleet refuses this request: nobody knows what `{}` costs, so no hard ceiling can hold; give its price in \
                 `prices.toml` of fleet's home, as `fleet budget prices --example` shows, then `fleet restart`",
                if is_plain(model) { model } else { "this model" },
            )),
            None => Some(
                "fleet refuses this request: it names no model, so nobody knows what it costs, and no hard ceiling can hold"
                    .to_owned(),
            ),
        }
    }

    /// Records why a request got no answer of its service, once for all that follow for the same reason.
    fn went_unanswered(&mut self, about: String) {
        if self.link.unanswered.as_ref() != Some(&about) {
            self.link.unanswered = Some(about.clone());
            self.record(Source::Program, Fact::Meter { there: true, about });
        }
    }

    /// Whether the program runs and cannot reach its service without the meter.
    fn needs_meter(&self) -> bool {
        self.spec.metered.is_some() && self.stop.is_none() && self.standing().exited.is_none()
    }

    fn rejoin_meter(&mut self, now: Instant) {
        let (there, about) = match self.join_meter() {
            Ok(()) => (true, "the meter had ended, and runs again".to_owned()),
            Err(error) => (false, error.message),
        };
        if !there {
            self.link.retry = Some(now + AGAIN);
        }
        if there || !self.link.told {
            self.record(Source::Supervisor, Fact::Meter { there, about });
        }
        self.link.told = !there;
    }

    /// Nobody will tell what the open requests used. Those that the service has are estimated.
    fn settle_open(&mut self) {
        for (number, open) in std::mem::take(&mut self.link.open) {
            if open.sent {
                let reply = Reply {
                    asked: open.model,
                    model: None,
                    tokens: open.expected,
                    whole: false,
                };
                self.record_request(number, reply);
            }
        }
    }

    /// Records what a request used, and gives its entry of the account.
    fn record_request(&mut self, number: u64, reply: Reply) -> Spend {
        let Reply {
            asked,
            model,
            tokens,
            whole,
        } = reply;
        let names = (model.as_deref(), asked.as_deref());
        let at = now();
        let (cost, certainty) = spend::priced_request(self.prices(), names, at, tokens, whole);
        let spend = Spend {
            meter: Meter::Proxy,
            seq: number,
            at,
            model: model.or(asked).filter(|model| is_plain(model)),
            tokens,
            cost,
            certainty,
            reported: None,
            task: self.spec.task.clone(),
        };
        self.record_priced(Used {
            crew: None,
            usage: Usage {
                model: spend.model.clone(),
                tokens,
                cost_usd: None,
                source: "proxy".to_owned(),
                basis: if whole { Basis::Reported } else { Basis::Estimated },
            },
            cost,
            certainty: Some(certainty),
            task: spend.task.clone(),
            beside: false,
            request: Some(number),
            upto: None,
        });
        spend
    }
}
