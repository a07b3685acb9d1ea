//! Money, exactly.

use std::iter::Sum;
use std::ops::{Add, Mul};

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

    /// What is left of it when `other` is taken away; nothing where that is more.
    pub const fn less(self, other: Usd) -> Usd {
        Usd(self.0.saturating_sub(other.0))
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn cents_are_shown_and_more_where_there_is_more() {
        let shown = |amount: f64| Usd::new(amount).expect("an amount").to_string();
        assert_eq!(shown(6.0), "6.00 USD");
        assert_eq!(shown(0.5), "0.50 USD");
        assert_eq!(shown(0.025), "0.025 USD");
    }
}
