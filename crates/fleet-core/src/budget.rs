//! Ceilings: what may be spent, what of it is taken, and what follows when it is used up.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::money::Usd;

/// What a ceiling is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All agents of this user, from midnight to midnight, UTC.
    Day,
    /// All agents of this user, from Monday to Sunday, UTC.
    Week,
    /// One run of a plan, by its id.
    Run(String),
    /// One worker of a run, by the run's id and its own; in a plan of rounds in each.
    Worker(String, String),
    /// One round of a run, by the run's id and its number: all workers together.
    Iteration(String, u32),
    /// One agent, by its id.
    Agent(String),
    /// One task, by its id.
    Task(String),
}

/// The most that may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cap {
    /// How much.
    pub ceiling: Usd,
    /// What happens when it is reached: `true` ends what runs at once, `false` lets the turn end and asks.
    pub hard: bool,
}

/// How much of a ceiling is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Less than 80 %.
    #[default]
    Within,
    /// 80 % or more.
    Near,
    /// All of it.
    Reached,
}

/// What is told of a ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// 80 % of it are spent.
    Near,
    /// All of it is spent.
    Reached,
    /// A run has paused, because what comes next does not fit into it.
    Paused,
    /// A run has ended for the same reason.
    Ended,
}

/// What an agent may use before its supervisor steps in. What is none has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<Usd>,
    /// Calls of tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<u64>,
    /// Turns: prompts that the program took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
    /// Turns of the model: once for each prompt, and once after results of tools. Counted without a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_turns: Option<u64>,
    /// Sub-agents that were sent out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatches: Option<u64>,
    /// What happens when one is reached; see [`Cap::hard`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hard: bool,
    /// Whether a cost that nobody knows reaches the limit of money.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub known: bool,
}

/// What an agent has used, counted as [`Limits`] are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Used {
    /// Money, as far as it is known.
    pub usd: Usd,
    /// How many entries of the account have no known cost.
    pub unknown: u64,
    /// Calls of tools.
    pub tool_calls: u64,
    /// Turns.
    pub turns: u64,
    /// Turns of the model.
    #[serde(default)]
    pub model_turns: u64,
    /// Sub-agents that were sent out.
    pub dispatches: u64,
}

/// One of the things that are limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// Money.
    Usd,
    /// Calls of tools.
    ToolCalls,
    /// Turns.
    Turns,
    /// Turns of the model.
    ModelTurns,
    /// Sub-agents that were sent out.
    Dispatches,
}

/// The share of a ceiling from which on it is [`Level::Near`], in percent.
pub const NEAR: u64 = 80;

impl Level {
    /// How much `taken` is of `ceiling`. A ceiling of nothing is reached by nothing.
    pub fn of(taken: u64, ceiling: u64) -> Level {
        let (taken, ceiling) = (u128::from(taken), u128::from(ceiling));
        match () {
            () if taken >= ceiling => Level::Reached,
            () if taken * 100 >= ceiling * u128::from(NEAR) => Level::Near,
            () => Level::Within,
        }
    }
}

impl Limits {
    /// Whether anything is limited.
    pub fn any(&self) -> bool {
        self.usd.is_some()
            || self.tool_calls.is_some()
            || self.turns.is_some()
            || self.model_turns.is_some()
            || self.dispatches.is_some()
    }

    /// The limit that is nearest to its end, and how near.
    pub fn level(&self, used: &Used) -> (Level, Option<Rung>) {
        let usd = self.usd.map(|usd| match self.known && used.unknown > 0 {
            true => Level::Reached,
            false => Level::of(used.usd.micros(), usd.micros()),
        });
        let count = |limit: Option<u64>, used: u64| limit.map(|limit| Level::of(used, limit));
        let rungs = [
            (usd, Rung::Usd),
            (count(self.tool_calls, used.tool_calls), Rung::ToolCalls),
            (count(self.turns, used.turns), Rung::Turns),
            (count(self.model_turns, used.model_turns), Rung::ModelTurns),
            (count(self.dispatches, used.dispatches), Rung::Dispatches),
        ];
        let levels = rungs.into_iter().filter_map(|(level, rung)| Some((level?, rung)));
        // Of two that are as near, the first counts.
        levels
            .rev()
            .max_by_key(|(level, _)| *level)
            .map_or((Level::Within, None), |(level, rung)| match level {
                Level::Within => (level, None),
                _ => (level, Some(rung)),
            })
    }

    /// What is reached, in words: `2.10 of 2.00 USD`.
    pub fn describe(&self, used: &Used, rung: Rung) -> String {
        let count = |used: u64, limit: Option<u64>, what| format!("{used} of {} {what}", limit.unwrap_or_default());
        match rung {
            Rung::Usd if used.unknown > 0 && self.known => "what a reply cost is not known".to_owned(),
            Rung::Usd => {
                let spent = used.usd.to_string();
                let spent = spent.trim_end_matches(" USD");
                format!("{spent} of {}", self.usd.unwrap_or_default())
            }
            Rung::ToolCalls => count(used.tool_calls, self.tool_calls, "tool calls"),
            Rung::Turns => count(used.turns, self.turns, "turns"),
            Rung::ModelTurns => count(used.model_turns, self.model_turns, "turns of the model"),
            Rung::Dispatches => count(used.dispatches, self.dispatches, "dispatches"),
        }
    }
}

impl Scope {
    /// When that begins anew: the next midnight, or the next Monday; none where it is for a whole life.
    pub fn until(&self, now: Time) -> Option<Time> {
        let days = match self {
            Scope::Day => 1,
            Scope::Week => 7,
            _ => return None,
        };
        Some(Time(self.since(now)?.0 + days * 86_400_000))
    }

    /// The beginning of the time that the ceiling is for; none where it is for a whole life.
    pub fn since(&self, now: Time) -> Option<Time> {
        let today = now.day();
        let first = match self {
            Scope::Day => today,
            Scope::Week => {
                let past = i64::from(today.weekday().to_monday_zero_offset());
                today.checked_sub(past.days()).unwrap_or(today)
            }
            Scope::Run(_) | Scope::Worker(..) | Scope::Iteration(..) | Scope::Agent(_) | Scope::Task(_) => return None,
        };
        let begin = first.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(Time(begin.timestamp().as_millisecond()))
    }
}

impl fmt::Display for Scope {
    /// As it is stored: `day`, `run:ID`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Day => f.write_str("day"),
            Scope::Week => f.write_str("week"),
            Scope::Run(id) => write!(f, "run:{id}"),
            Scope::Worker(run, worker) => write!(f, "worker:{run}:{worker}"),
            Scope::Iteration(run, round) => write!(f, "iteration:{run}:{round}"),
            Scope::Agent(id) => write!(f, "agent:{id}"),
            Scope::Task(id) => write!(f, "task:{id}"),
        }
    }
}

impl FromStr for Scope {
    type Err = ();

    /// As it is stored; see [`Scope`]'s `Display`.
    fn from_str(text: &str) -> Result<Scope, ()> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let two = || rest.split_once(':').ok_or(());
        Ok(match kind {
            "day" => Scope::Day,
            "week" => Scope::Week,
            "run" => Scope::Run(rest.to_owned()),
            "agent" => Scope::Agent(rest.to_owned()),
            "task" => Scope::Task(rest.to_owned()),
            "worker" => two().map(|(run, worker)| Scope::Worker(run.to_owned(), worker.to_owned()))?,
            "iteration" => {
                let (run, round) = two()?;
                Scope::Iteration(run.to_owned(), round.parse().map_err(drop)?)
            }
            _ => return Err(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_ceiling_is_read_as_it_is_stored() {
        let (run, worker) = ("r1".to_owned(), "a:b".to_owned());
        for scope in [
            Scope::Day,
            Scope::Week,
            Scope::Run(run.clone()),
            Scope::Worker(run.clone(), worker),
            Scope::Iteration(run, 3),
            Scope::Agent("x".into()),
            Scope::Task("t".into()),
        ] {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        for bad in ["", "month", "iteration:r1", "iteration:r1:x", "worker:r1"] {
            assert_eq!(bad.parse::<Scope>(), Err(()), "{bad}");
        }
    }

    fn at(text: &str) -> Time {
        text.parse().expect("a time")
    }

    #[test]
    fn four_fifths_are_near_and_all_is_reached() {
        for (taken, ceiling, level) in [
            (0, 10, Level::Within),
            (79, 100, Level::Within),
            (80, 100, Level::Near),
            (99, 100, Level::Near),
            (100, 100, Level::Reached),
            (0, 0, Level::Reached),
            (u64::MAX, u64::MAX, Level::Reached),
        ] {
            assert_eq!(Level::of(taken, ceiling), level, "{taken} of {ceiling}");
        }
    }

    #[test]
    fn the_limit_that_is_nearest_to_its_end_is_told() {
        let limits = Limits {
            usd: Usd::new(2.0),
            tool_calls: Some(10),
            ..Limits::default()
        };
        let used = |usd, tool_calls| Used {
            usd: Usd::new(usd).expect("an amount"),
            tool_calls,
            ..Used::default()
        };
        assert_eq!(limits.level(&used(1.0, 1)), (Level::Within, None));
        assert_eq!(limits.level(&used(1.7, 1)), (Level::Near, Some(Rung::Usd)));
        assert_eq!(limits.level(&used(1.7, 10)), (Level::Reached, Some(Rung::ToolCalls)));
        assert_eq!(limits.describe(&used(2.1, 1), Rung::Usd), "2.10 of 2.00 USD");
        assert_eq!(limits.describe(&used(0.0, 10), Rung::ToolCalls), "10 of 10 tool calls");
    }

    #[test]
    fn an_unknown_cost_reaches_a_limit_only_where_every_cost_has_to_be_known() {
        let used = Used {
            unknown: 1,
            ..Used::default()
        };
        let limits = |known| Limits {
            usd: Usd::new(5.0),
            known,
            ..Limits::default()
        };
        assert_eq!(limits(true).level(&used), (Level::Reached, Some(Rung::Usd)));
        assert_eq!(limits(false).level(&used), (Level::Within, None));
    }

    #[test]
    fn a_day_begins_at_midnight_and_a_week_on_monday_in_utc() {
        let now = at("2026-11-21T17:30:00Z");
        assert_eq!(Scope::Day.since(now), Some(at("2026-11-21T00:00:00Z")));
        assert_eq!(Scope::Week.since(now), Some(at("2026-11-16T00:00:00Z")));
        let monday = at("2026-11-16T00:00:00Z");
        assert_eq!(Scope::Week.since(monday), Some(monday));
        assert_eq!(Scope::Run("r".into()).since(now), None);
        assert_eq!(Scope::Day.until(now), Some(at("2026-11-22T00:00:00Z")));
        assert_eq!(Scope::Week.until(now), Some(at("2026-11-23T00:00:00Z")));
        assert_eq!(Scope::Week.until(monday), Some(at("2026-11-23T00:00:00Z")));
        // Over the end of a month and of a year.
        assert_eq!(
            Scope::Day.until(at("2026-12-31T23:59:59Z")),
            Some(at("2027-01-01T00:00:00Z"))
        );
        assert_eq!(Scope::Run("r".into()).until(now), None);
    }
}
