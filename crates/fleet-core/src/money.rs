//! Money, exactly.

use std::borrow::Cow;
use std::iter::Sum;
use std::ops::{Add, Mul};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of US dollars, in millionths: so sums are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(u64);

impl Usd {
    /// The largest amount that a plan may name.
    pub const MAX: f64 = 1_000_000.0;

    /// `amount` dollars, rounded to a millionth. None: it is negative, no number, or above [`Usd::MAX`].
    pub fn new(amount: f64) -> Option<Self> {
        (0.0..=Self::MAX)
            .contains(&amount)
            .then(|| Self((amount * 1e6).round() as u64))
    }

    /// In millionths of a dollar.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// This many millionths of a dollar.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// In dollars, for what takes a floating-point number; sums are made of [`Usd`] alone.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// What is left of it when `other` is taken away; nothing where that is more.
    pub const fn less(self, other: Usd) -> Usd {
        Usd(self.0.saturating_sub(other.0))
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// An amount that somebody gave and that is none, as they can read it: `1e308`, not 309 digits.
pub fn written(amount: f64) -> String {
    match amount.abs() < 1e12 {
        true => amount.to_string(),
        false => format!("{amount:?}"),
    }
}

impl Add for Usd {
    type Output = Usd;

    fn add(self, other: Usd) -> Usd {
        Usd(self.0.saturating_add(other.0))
    }
}

impl Mul<u32> for Usd {
    type Output = Usd;

    fn mul(self, times: u32) -> Usd {
        Usd(self.0.saturating_mul(u64::from(times)))
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Usd>>(amounts: I) -> Usd {
        amounts.fold(Usd::default(), Add::add)
    }
}

impl std::fmt::Display for Usd {
    /// `1.50 USD`; more digits only where there are any.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if rest % 10_000 == 0 {
            return write!(f, "{whole}.{:02} USD", rest / 10_000);
        }
        let digits = format!("{rest:06}");
        write!(f, "{whole}.{} USD", digits.trim_end_matches('0'))
    }
}

/// As a number of dollars.
impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.dollars())
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = f64::deserialize(deserializer)?;
        Usd::new(amount).ok_or_else(|| D::Error::custom(format!("{} is no amount of US dollars", written(amount))))
    }
}

impl JsonSchema for Usd {
    fn schema_name() -> Cow<'static, str> {
        "Usd".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number", "minimum": 0, "maximum": Usd::MAX})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_as_it_was_written_to_the_millionth() {
        for micros in [0, 1, 10_001, 123_456_789, 999_999_999_999] {
            let text = serde_json::to_string(&Usd::from_micros(micros)).expect("json");
            let back: Usd = serde_json::from_str(&text).expect("an amount");
            assert_eq!(back.micros(), micros, "{text}");
        }
        assert!(serde_json::from_str::<Usd>("-5").is_err());
    }

    #[test]
    fn sums_are_exact() {
        let tenths: Usd = (0..3).filter_map(|_| Usd::new(0.1)).sum();
        assert_eq!(Some(tenths), Usd::new(0.3));
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for bad in [-0.01, f64::NAN, f64::INFINITY, 2e6] {
            assert_eq!(Usd::new(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_amount_is_written_so_that_it_can_be_read() {
        let all = [
            (-5.0, "-5"),
            (0.0, "0"),
            (1e308, "1e308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ];
        for (amount, text) in all {
            assert_eq!(written(amount), text);
        }
    }

    #[test]
    fn cents_are_shown_and_more_where_there_is_more() {
        let shown = |amount: f64| Usd::new(amount).expect("an amount").to_string();
        assert_eq!(shown(6.0), "6.00 USD");
        assert_eq!(shown(0.5), "0.50 USD");
        assert_eq!(shown(0.025), "0.025 USD");
    }
}
