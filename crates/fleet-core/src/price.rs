//! What tokens cost: a table of prices by model and time.
//!
//! The table that fleet comes with is `price/builtin.toml`; the user's own `prices.toml` has the same shape, and what it
//! says of a model replaces all that the other says of it. A model that is in neither has no price: its cost is unknown,
//! never 0.

use std::collections::BTreeMap;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::money::Usd;
use crate::usage::Tokens;
use crate::{Error, Kind, Result, Time};

/// The version of the table's format.
pub const VERSION: u32 = 1;

/// The largest price for a million tokens that a table may name, in US dollars.
const DEAREST: f64 = 100_000.0;
/// Prices are held in thousandths of a millionth of a dollar for a million tokens, so that 0.075 is exact.
const PARTS: f64 = 1e9;

/// Prices by model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    /// The periods of each model, in order; they do not overlap.
    models: BTreeMap<String, Vec<Period>>,
}

/// A table as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    price: Vec<Row>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    models: Vec<String>,
    #[serde(default, deserialize_with = "day")]
    from: Option<Date>,
    #[serde(default, deserialize_with = "day")]
    until: Option<Date>,
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
    long: Option<LongRow>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LongRow {
    above: u64,
    input: f64,
    output: f64,
    cache_read: Option<f64>,
    cache_write: Option<f64>,
}

/// From when until when a model has these prices, in UTC; `until` is the first day that has others.
#[derive(Clone, Debug, PartialEq)]
struct Period {
    from: Option<Date>,
    until: Option<Date>,
    rates: Rates,
    /// The rates of a request whose whole input is larger than so many tokens.
    long: Option<(u64, Rates)>,
}

/// Prices of tokens, in parts ([`PARTS`]) of a dollar for a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rates {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write: u64,
}

/// A price as it is listed: in US dollars for a million tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    /// The model.
    pub model: String,
    /// Its first day, in UTC; none where it always held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The first day on which it holds no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// It is for requests whose input is larger than so many tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<u64>,
    /// Tokens that are read anew.
    pub input: f64,
    /// Tokens that are written, reasoning included.
    pub output: f64,
    /// Tokens that are read from the service's cache.
    pub cache_read: f64,
    /// Tokens that are written to it.
    pub cache_write: f64,
}

/// What a user's own table looks like.
pub const EXAMPLE: &str = "\
# US dollars for a million tokens. A price without cache_read and cache_write takes `input` for them.
version = 1

[[price]]
models = [\"my-model\", \"my-model-fast\"]
# The first day with this price, and the first without it, in UTC; leave them out where it always held.
from = 2026-01-01
input = 2.00
output = 8.00
cache_read = 0.20
cache_write = 2.50
# Prices of a request that reads more than so many tokens; leave it out where there are none.
long = { above = 200000, input = 4.00, output = 16.00, cache_read = 0.40, cache_write = 5.00 }
";

/// A day, written as TOML writes days or as text.
fn day<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Date>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Day(toml::value::Datetime),
        Text(String),
    }
    let text = match Written::deserialize(deserializer)? {
        Written::Day(day) => day.to_string(),
        Written::Text(text) => text,
    };
    let wrong = |_| D::Error::custom(format!("`{text}` is no day, such as 2026-01-31"));
    text.parse().map(Some).map_err(wrong)
}

impl Prices {
    /// The table that fleet comes with.
    pub fn builtin() -> Prices {
        const TEXT: &str = include_str!("price/builtin.toml");
        // A test reads it: it cannot be wrong here.
        Prices::parse(TEXT, "the table of fleet").unwrap_or_default()
    }

    /// Reads a table. `name` is what to call it in an error.
    ///
    /// # Errors
    /// `Config`: it is no such table, a price is negative or absurd, or the periods of a model overlap or leave a gap.
    pub fn parse(text: &str, name: &str) -> Result<Prices> {
        let wrong = |what: String| {
            Error::new(Kind::Config, format!("{name}: {what}"))
                .hint("`fleet budget prices --example` prints a table that is right")
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let place = error.span().map_or(String::new(), |span| {
                format!("line {}: ", text[..span.start.min(text.len())].lines().count().max(1))
            });
            wrong(format!("{place}{}", error.message()))
        })?;
        if file.version != VERSION {
            return Err(wrong(format!(
                "version {} is not known; this fleet reads version {VERSION}",
                file.version
            )));
        }
        let mut prices = Prices::default();
        for (index, row) in file.price.iter().enumerate() {
            let what = |what: &str| wrong(format!("price {}: {what}", index + 1));
            if row.models.is_empty() {
                return Err(what("`models` is empty"));
            }
            if row.from.zip(row.until).is_some_and(|(from, until)| from >= until) {
                return Err(what("`until` is not later than `from`"));
            }
            let rates = Rates::new(row.input, row.output, row.cache_read, row.cache_write);
            let rates = rates.map_err(|key| what(&format!("`{key}` is no price")))?;
            let long = match row.long {
                None => None,
                Some(long) => {
                    let rates = Rates::new(long.input, long.output, long.cache_read, long.cache_write);
                    Some((
                        long.above,
                        rates.map_err(|key| what(&format!("`long.{key}` is no price")))?,
                    ))
                }
            };
            for model in &row.models {
                prices.models.entry(model.clone()).or_default().push(Period {
                    from: row.from,
                    until: row.until,
                    rates,
                    long,
                });
            }
        }
        for (model, periods) in &mut prices.models {
            periods.sort_by_key(|period| period.from);
            for pair in periods.windows(2) {
                match (pair[0].until, pair[1].from) {
                    (Some(until), Some(from)) if until == from => {}
                    (Some(until), Some(from)) if until < from => {
                        return Err(wrong(format!("`{model}` has no price from {until} until {from}")));
                    }
                    (_, from) => {
                        let since = from.map_or("the beginning".to_owned(), |from| from.to_string());
                        return Err(wrong(format!("`{model}` has two prices at once, from {since} on")));
                    }
                }
            }
        }
        Ok(prices)
    }

    /// This table where `own` says nothing of a model, and `own` where it does.
    pub fn with(mut self, own: Prices) -> Prices {
        self.models.extend(own.models);
        self
    }

    /// Whether it has a price of `model` at `at`.
    pub fn knows(&self, model: &str, at: Time) -> bool {
        self.period(model, at).is_some()
    }

    /// What one request to `model` at `at` costs; none where there is no price. Rounded to a millionth of a dollar.
    pub fn cost(&self, model: &str, at: Time, tokens: Tokens) -> Option<Usd> {
        let period = self.period(model, at)?;
        let whole = tokens
            .input
            .saturating_add(tokens.cached)
            .saturating_add(tokens.cache_write);
        let rates = match period.long {
            Some((above, long)) if whole > above => long,
            _ => period.rates,
        };
        Some(rates.cost(tokens))
    }

    /// What several requests cost together, and whether that is exact: where they are longer together than one that has
    /// other rates, nobody knows which of them held, and the answer is the larger.
    pub fn cost_of_several(&self, model: &str, at: Time, tokens: Tokens) -> Option<(Usd, bool)> {
        let period = self.period(model, at)?;
        let whole = tokens
            .input
            .saturating_add(tokens.cached)
            .saturating_add(tokens.cache_write);
        match period.long {
            Some((above, long)) if whole > above => Some((long.cost(tokens).max(period.rates.cost(tokens)), false)),
            _ => Some((period.rates.cost(tokens), true)),
        }
    }

    /// The models that it knows, in order.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str)
    }

    /// Every price, by model and time.
    pub fn list(&self) -> impl Iterator<Item = Listed> {
        let dollars = |parts: u64| parts as f64 / PARTS;
        self.models.iter().flat_map(move |(model, periods)| {
            periods.iter().flat_map(move |period| {
                let listed = move |above: Option<u64>, rates: Rates| Listed {
                    model: model.clone(),
                    from: period.from.map(|day| day.to_string()),
                    until: period.until.map(|day| day.to_string()),
                    above,
                    input: dollars(rates.input),
                    output: dollars(rates.output),
                    cache_read: dollars(rates.cache_read),
                    cache_write: dollars(rates.cache_write),
                };
                let long = period.long.map(|(above, rates)| listed(Some(above), rates));
                std::iter::once(listed(None, period.rates)).chain(long)
            })
        })
    }

    fn period(&self, model: &str, at: Time) -> Option<&Period> {
        let day = at.day();
        let periods = names(model).find_map(|name| self.models.get(name))?;
        periods
            .iter()
            .find(|period| period.from.is_none_or(|from| from <= day) && period.until.is_none_or(|until| day < until))
    }
}

impl Rates {
    fn new(input: f64, output: f64, read: Option<f64>, write: Option<f64>) -> std::result::Result<Rates, &'static str> {
        let rate = |amount: f64, key| match (0.0..=DEAREST).contains(&amount) {
            true => Ok((amount * PARTS).round() as u64),
            false => Err(key),
        };
        Ok(Rates {
            input: rate(input, "input")?,
            output: rate(output, "output")?,
            // A cache never costs more to read than what it holds; to write, as much unless the maker says otherwise.
            cache_read: rate(read.unwrap_or(input), "cache_read")?,
            cache_write: rate(write.unwrap_or(input), "cache_write")?,
        })
    }

    fn cost(self, tokens: Tokens) -> Usd {
        let part = |rate: u64, count: u64| u128::from(rate) * u128::from(count);
        let parts = part(self.input, tokens.input)
            + part(self.output, tokens.output)
            + part(self.cache_read, tokens.cached)
            + part(self.cache_write, tokens.cache_write);
        // Parts of a dollar for a million, so: parts / PARTS / a million dollars, or parts / PARTS millionths.
        let scale = PARTS as u128;
        Usd::from_micros(u64::try_from((parts + scale / 2) / scale).unwrap_or(u64::MAX))
    }
}

/// The names under which a model may be listed, the most exact first: as it is, without a mark of its context such as
/// `[1m]`, without the provider before it, and without the day of its release behind it.
fn names(model: &str) -> impl Iterator<Item = &str> {
    let unmarked = model.split('[').next().unwrap_or(model);
    let bare = unmarked.rsplit('/').next().unwrap_or(unmarked);
    [model, unmarked, bare, undated(bare)].into_iter()
}

fn undated(name: &str) -> &str {
    let is_digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let compact = name.rsplit_once('-').filter(|(_, day)| is_digits(day, 8));
    let spaced = || {
        let (rest, day) = name.rsplit_once('-')?;
        let (rest, month) = rest.rsplit_once('-')?;
        let (rest, year) = rest.rsplit_once('-')?;
        (is_digits(year, 4) && is_digits(month, 2) && is_digits(day, 2)).then_some((rest, year))
    };
    compact.or_else(spaced).map_or(name, |(rest, _)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(input: u64, cached: u64, cache_write: u64, output: u64) -> Tokens {
        Tokens {
            input,
            cached,
            cache_write,
            output,
            reasoning: 0,
        }
    }

    fn at(text: &str) -> Time {
        text.parse().expect("a time")
    }

    const NOW: &str = "2026-11-21T00:00:00Z";

    #[test]
    fn the_table_that_fleet_comes_with_can_be_read() {
        let text = include_str!("price/builtin.toml");
        let prices = Prices::parse(text, "it").expect("a table");
        assert!(prices.models().count() > 20);
        for model in ["claude-sonnet-4-6", "gpt-5.4", "gemini-2.5-pro"] {
            assert!(prices.knows(model, at(NOW)), "{model}");
        }
    }

    #[test]
    fn a_reply_costs_what_the_program_itself_makes_of_it() {
        // Claude Code 2.1.197 says 0.018025 of this.
        let cost = Prices::builtin().cost("claude-opus-4-8[1m]", at(NOW), tokens(2700, 300, 300, 100));
        assert_eq!(cost, Some(Usd::from_micros(18_025)));
    }

    #[test]
    fn a_price_below_a_millionth_for_a_token_is_exact_in_the_sum() {
        let prices = Prices::parse(
            "version = 1\n[[price]]\nmodels = [\"m\"]\ninput = 0.075\noutput = 0.4",
            "it",
        );
        let prices = prices.expect("a table");
        assert_eq!(
            prices.cost("m", at(NOW), tokens(1_000_000, 0, 0, 0)),
            Some(Usd::from_micros(75_000))
        );
        assert_eq!(prices.cost("m", at(NOW), tokens(7, 0, 0, 0)), Some(Usd::from_micros(1)));
    }

    #[test]
    fn a_model_is_found_by_its_dated_and_its_qualified_name() {
        let prices = Prices::builtin();
        for name in [
            "claude-haiku-4-5",
            "claude-haiku-4-5-20251001",
            "anthropic/claude-haiku-4-5",
            "us/anthropic/claude-haiku-4-5-2025-10-01",
        ] {
            assert!(prices.knows(name, at(NOW)), "{name}");
        }
        assert_eq!(prices.cost("claude-haiku-9", at(NOW), tokens(1, 0, 0, 0)), None);
    }

    #[test]
    fn a_long_request_has_prices_of_its_own() {
        let prices = Prices::builtin();
        let short = prices.cost("gemini-2.5-pro", at(NOW), tokens(200_000, 0, 0, 0));
        let long = prices.cost("gemini-2.5-pro", at(NOW), tokens(150_000, 50_001, 0, 0));
        assert_eq!(short, Some(Usd::from_micros(250_000)));
        assert_eq!(long, Some(Usd::from_micros(375_000 + 12_500)));
    }

    #[test]
    fn a_price_holds_from_its_first_day_to_the_day_before_the_next() {
        let text = "version = 1\n[[price]]\nmodels = [\"m\"]\nuntil = \"2026-06-01\"\ninput = 1\noutput = 1\n\
                    [[price]]\nmodels = [\"m\"]\nfrom = \"2026-06-01\"\ninput = 2\noutput = 2";
        let prices = Prices::parse(text, "it").expect("a table");
        let million = tokens(1_000_000, 0, 0, 0);
        let cost = |time| prices.cost("m", at(time), million).map(Usd::micros);
        assert_eq!(cost("2026-05-31T23:59:59Z"), Some(1_000_000));
        assert_eq!(cost("2026-06-01T00:00:00Z"), Some(2_000_000));
    }

    #[test]
    fn before_its_first_day_a_price_is_unknown() {
        let text = "version = 1\n[[price]]\nmodels = [\"m\"]\nfrom = \"2026-06-01\"\ninput = 2\noutput = 2";
        let prices = Prices::parse(text, "it").expect("a table");
        assert!(!prices.knows("m", at("2026-05-31T00:00:00Z")));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_named() {
        let row = |more: &str| format!("[[price]]\nmodels = [\"m\"]\ninput = 1\noutput = 1\n{more}\n");
        let said = |text: String| Prices::parse(&text, "prices.toml").expect_err("an error").message;
        let v1 = "version = 1\n";
        for (text, wanted) in [
            ("version = 2".to_owned(), "version 2 is not known"),
            (format!("{v1}{}", row("cache_read = -1")), "`cache_read` is no price"),
            (format!("{v1}{}", row("cache_write = nan")), "`cache_write` is no price"),
            (format!("{v1}{}", row("per_image = 3")), "line 5: unknown field"),
            (format!("{v1}{}{}", row(""), row("")), "`m` has two prices at once"),
            (
                format!("{v1}{}{}", row("until = \"2026-01-01\""), row("from = \"2026-02-01\"")),
                "`m` has no price from 2026-01-01 until 2026-02-01",
            ),
            (
                format!("{v1}{}{}", row("until = \"2026-03-01\""), row("from = \"2026-02-01\"")),
                "`m` has two prices at once, from 2026-02-01 on",
            ),
            (
                format!("{v1}{}", row("from = \"2026-02-01\"\nuntil = \"2026-02-01\"")),
                "`until` is not later than `from`",
            ),
        ] {
            let message = said(text.clone());
            assert!(message.contains(wanted), "{text}\n{message}");
        }
    }

    #[test]
    fn the_users_own_row_replaces_the_model_and_no_other() {
        let own = Prices::parse(
            "version = 1\n[[price]]\nmodels = [\"gpt-5.4\"]\ninput = 1\noutput = 1",
            "own",
        );
        let prices = Prices::builtin().with(own.expect("a table"));
        let cost = |model| prices.cost(model, at(NOW), tokens(1_000_000, 0, 0, 0)).map(Usd::micros);
        assert_eq!(cost("gpt-5.4"), Some(1_000_000));
        assert_eq!(cost("gpt-5.4-mini"), Some(750_000));
    }
}
