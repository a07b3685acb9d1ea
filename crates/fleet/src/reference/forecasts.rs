//! The page about the error of forecasts: what would have been shown, beside what came of work that finished afterwards.

use std::fmt::Write;

use fleet_core::profile::{Forecast, WITHIN, forecast};

/// How many histories each row is the mean of.
const HISTORIES: u64 = 40;
/// How many pieces of work come after each history.
const AFTER: usize = 500;

/// What the cost of work is distributed like.
enum Shape {
    /// Its logarithm is normal, with this deviation.
    LogNormal(f64),
    /// Seven of ten are small, three are ten times that; each with a deviation of 0.3.
    TwoSizes,
    /// Anything from a half to one and a half is as likely.
    Even,
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

pub(super) fn page() -> String {
    let mut text = format!(
        "# Error of forecasts\n\nMade by `cargo xtask gen` from seeded costs: each row is the mean of {HISTORIES} histories of finished \
         work, with {AFTER} pieces of work after each. *Shown* is what fleet says of itself, by leaving one out; *came* is what was \
         true of the work that came after. {WITHIN} % should lie within the interval. How it is computed: \
         [tasks](../tasks.md#forecasts).\n\n\
         | costs | finished | error shown | error that came | within, shown | within, came |\n| --- | --- | --- | --- | --- | --- |\n"
    );
    for (name, shape) in [
        ("log-normal, s = 0.3", Shape::LogNormal(0.3)),
        ("log-normal, s = 0.6", Shape::LogNormal(0.6)),
        ("log-normal, s = 1.0", Shape::LogNormal(1.0)),
        ("two sizes, one ten times the other", Shape::TwoSizes),
        ("even between 0.5 and 1.5", Shape::Even),
    ] {
        for finished in [30, 100, 300] {
            let [error, came, within, lay] = row(&shape, finished);
            let _ = writeln!(
                text,
                "| {name} | {finished} | {error:.0} % | {came:.0} % | {within:.0} % | {lay:.0} % |"
            );
        }
    }
    text.push_str(
        "\nWhere costs are not what the forecast takes them for (two sizes), the error is large, and it is shown to be. Telling the kinds \
         of work apart makes it small: the samples of one kind are of one size.\n",
    );
    text
}

/// The error that is shown and that came, and how much lay within the interval, shown and came; in percent.
fn row(shape: &Shape, finished: usize) -> [f64; 4] {
    let mut sums = [0.0; 4];
    for history in 0..HISTORIES {
        let mut dice = Dice(history * 1_000_003 + finished as u64);
        let values: Vec<f64> = (0..finished).map(|_| shape.draw(&mut dice)).collect();
        let Some(shown) = forecast(&values) else { continue };
        let after: Vec<f64> = (0..AFTER).map(|_| shape.draw(&mut dice)).collect();
        let [came, lay] = came(&shown, &after);
        for (sum, value) in sums
            .iter_mut()
            .zip([shown.error.median_percent, came, shown.error.within_percent, lay])
        {
            *sum += value;
        }
    }
    sums.map(|sum| sum / HISTORIES as f64)
}

fn came(shown: &Forecast, after: &[f64]) -> [f64; 2] {
    let mut errors: Vec<f64> = after
        .iter()
        .map(|actual| 100.0 * (actual - shown.expected).abs() / actual)
        .collect();
    errors.sort_by(f64::total_cmp);
    let within = after
        .iter()
        .filter(|actual| (shown.low..=shown.high).contains(actual))
        .count();
    [errors[errors.len() / 2], 100.0 * within as f64 / after.len() as f64]
}

impl Shape {
    fn draw(&self, dice: &mut Dice) -> f64 {
        match self {
            Shape::LogNormal(deviation) => (deviation * dice.normal()).exp(),
            Shape::TwoSizes => {
                let size = if dice.uniform() < 0.7 { 0.1_f64 } else { 1.0 };
                size * (0.3 * dice.normal()).exp()
            }
            Shape::Even => 0.5 + dice.uniform(),
        }
    }
}

impl Dice {
    /// Above 0 and below 1: a linear congruential generator (Knuth, *The Art of Computer Programming* 2, §3.3.4).
    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Of mean 0 and deviation 1, from two uniform numbers (Box and Muller, 1958).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_comes_where_costs_are_log_normal() {
        for deviation in [0.3, 0.6, 1.0] {
            let [error, came, within, lay] = row(&Shape::LogNormal(deviation), 100);
            assert!((error - came).abs() < 0.1 * came, "{error} and {came}");
            assert!(
                (within - 80.0).abs() < 3.0 && (lay - 80.0).abs() < 3.0,
                "{within} and {lay}"
            );
        }
    }

    #[test]
    fn an_error_that_comes_of_two_sizes_is_shown() {
        let [error, came, ..] = row(&Shape::TwoSizes, 100);
        assert!(came > 50.0 && (error - came).abs() < 0.3 * came, "{error} and {came}");
    }
}
