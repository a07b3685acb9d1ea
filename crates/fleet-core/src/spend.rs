//! The account: what was used, what that cost, and how far the number can be relied on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::money::Usd;
use crate::price::Prices;
use crate::usage::{Basis, Tokens, Usage};

/// What counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// The program's own stream or session file.
    Transcript,
    /// The proxy between the program and its service.
    Proxy,
}

/// How far a cost can be relied on, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Counted by fleet: whole replies at the prices of the table.
    Measured,
    /// The program's own figure, because the table has no price of the model.
    Reported,
    /// Something of it is not known, such as the end of a stream that was cut, or how long each of several requests was.
    Estimated,
    /// Nobody knows.
    Unknown,
}

/// One entry of an agent's account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spend {
    /// What counted.
    pub meter: Meter,
    /// Its number among what this meter counted of the agent: the sequence in its journal, or the number of the request.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// The model; none where nobody says.
    pub model: Option<String>,
    /// The tokens.
    pub tokens: Tokens,
    /// What they cost; none where that is unknown.
    pub cost: Option<Usd>,
    /// How far the cost can be relied on.
    pub certainty: Certainty,
    /// What the program itself says that they cost; none where it says nothing.
    pub reported: Option<Usd>,
    /// The task that they belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

/// A sum of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Total {
    /// The sum of all costs that are known.
    pub cost: Usd,
    /// How many entries have no known cost.
    pub unknown: u64,
    /// How many entries are estimates.
    pub estimated: u64,
    /// The tokens of all entries.
    pub tokens: Tokens,
}

/// What the program's own account of `usage` comes to at `at`, by `prices` where they know the model.
pub fn priced(prices: &Prices, usage: &Usage, at: Time) -> (Option<Usd>, Certainty) {
    let by_table = usage
        .model
        .as_deref()
        .and_then(|model| prices.cost_of_several(model, at, usage.tokens));
    let reported = usage.cost_usd.and_then(Usd::new);
    match (by_table, reported, usage.basis) {
        (Some((cost, true)), _, Basis::Reported) => (Some(cost), Certainty::Measured),
        (Some((cost, _)), _, _) => (Some(cost), Certainty::Estimated),
        (None, Some(cost), Basis::Reported) => (Some(cost), Certainty::Reported),
        (None, Some(cost), _) => (Some(cost), Certainty::Estimated),
        (None, None, _) => (None, Certainty::Unknown),
    }
}

/// What one request comes to at `at` whose reply was counted by the proxy. `model` is what the reply calls it, `asked` what
/// the request did; `whole` whether the service came to its final account.
pub fn priced_request(
    prices: &Prices,
    (model, asked): (Option<&str>, Option<&str>),
    at: Time,
    tokens: Tokens,
    whole: bool,
) -> (Option<Usd>, Certainty) {
    let cost = [model, asked]
        .into_iter()
        .flatten()
        .find_map(|model| prices.cost(model, at, tokens));
    match (cost, whole) {
        (Some(_), true) => (cost, Certainty::Measured),
        (Some(_), false) => (cost, Certainty::Estimated),
        (None, _) => (None, Certainty::Unknown),
    }
}

impl Total {
    /// Adds one entry.
    pub fn add(&mut self, entry: &Spend) {
        self.tokens += entry.tokens;
        match entry.cost {
            Some(cost) => self.cost = self.cost + cost,
            None => self.unknown += 1,
        }
        if entry.certainty == Certainty::Estimated {
            self.estimated += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(model: &str, input: u64, cost_usd: Option<f64>, basis: Basis) -> Usage {
        Usage {
            model: Some(model.to_owned()),
            tokens: Tokens {
                input,
                ..Tokens::default()
            },
            cost_usd,
            source: "test".to_owned(),
            basis,
        }
    }

    #[test]
    fn the_table_comes_before_the_programs_own_figure_and_no_price_is_unknown() {
        let prices = Prices::builtin();
        let now = Time(1_795_000_000_000);
        for (usage, cost, certainty) in [
            (
                usage("gpt-5.4", 1000, Some(9.0), Basis::Reported),
                Some(2500),
                Certainty::Measured,
            ),
            (
                usage("gpt-5.4", 1000, None, Basis::Partial),
                Some(2500),
                Certainty::Estimated,
            ),
            (
                usage("gpt-5.4", 400_000, None, Basis::Reported),
                Some(2_000_000),
                Certainty::Estimated,
            ),
            (
                usage("no-such", 1000, Some(0.25), Basis::Reported),
                Some(250_000),
                Certainty::Reported,
            ),
            (usage("no-such", 1000, None, Basis::Reported), None, Certainty::Unknown),
        ] {
            let known = priced(&prices, &usage, now);
            assert_eq!(known, (cost.map(Usd::from_micros), certainty), "{usage:?}");
        }
    }

    #[test]
    fn a_request_has_the_price_of_its_model_and_a_cut_reply_is_an_estimate() {
        let prices = Prices::builtin();
        let tokens = usage("", 1000, None, Basis::Reported).tokens;
        let cost =
            |model, asked, whole| priced_request(&prices, (model, asked), Time(1_795_000_000_000), tokens, whole);
        let known = Some(Usd::from_micros(2500));
        assert_eq!(cost(Some("gpt-5.4"), None, true), (known, Certainty::Measured));
        assert_eq!(
            cost(Some("no-such"), Some("gpt-5.4"), true),
            (known, Certainty::Measured)
        );
        assert_eq!(cost(None, Some("gpt-5.4"), false), (known, Certainty::Estimated));
        assert_eq!(cost(None, None, true), (None, Certainty::Unknown));
    }
}
