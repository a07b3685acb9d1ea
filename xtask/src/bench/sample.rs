//! Numbers and their spread.

use serde::Serialize;

/// Measured values of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(Vec<f64>);

/// What is told of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    /// One in ten is below it.
    pub(crate) p10: f64,
    /// One in ten is above it.
    pub(crate) p90: f64,
    pub(crate) count: usize,
}

impl Sample {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        Self(values.into_iter().collect())
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The values of `self` less those of `other`, pair by pair.
    pub(crate) fn less(&self, other: &Sample) -> Sample {
        Sample::of(self.0.iter().zip(&other.0).map(|(a, b)| a - b))
    }

    /// The sums, pair by pair.
    pub(crate) fn plus(&self, other: &Sample) -> Sample {
        Sample::of(self.0.iter().zip(&other.0).map(|(a, b)| a + b))
    }

    /// None of nothing.
    pub(crate) fn summary(&self) -> Option<Summary> {
        Some(Summary {
            median: self.at(0.5)?,
            p10: self.at(0.1)?,
            p90: self.at(0.9)?,
            count: self.0.len(),
        })
    }

    /// The value that one in a hundred is above: a sample of one, or of nothing.
    pub(crate) fn worst_of_a_hundred(&self) -> Sample {
        Sample::of(self.at(0.99))
    }

    /// The value that this part of them is below, from 0 to 1.
    fn at(&self, part: f64) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let place = part * sorted.len().checked_sub(1)? as f64;
        let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        Some(low + (high - low) * place.fract())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle_and_the_spread_around_it() {
        let summary = Sample::of((0..=10).rev().map(f64::from)).summary().unwrap();
        assert_eq!(
            summary,
            Summary {
                median: 5.0,
                p10: 1.0,
                p90: 9.0,
                count: 11
            }
        );
        assert_eq!(Sample::of([1.0, 2.0]).summary().unwrap().median, 1.5);
        assert_eq!(Sample::default().summary(), None);
    }

    #[test]
    fn differences_and_sums_are_taken_pair_by_pair() {
        let (a, b) = (Sample::of([5.0, 9.0]), Sample::of([1.0, 2.0]));
        assert_eq!(a.less(&b).summary().unwrap().median, 5.5);
        assert_eq!(a.plus(&b).summary().unwrap().median, 8.5);
    }
}
