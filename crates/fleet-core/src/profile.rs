//! Forecasts of cost and time, learned from finished work, with their error.
//!
//! Costs and times of tasks are positive and skewed: many small ones and few large ones. So their logarithms are taken
//! as normal, `ln x ~ N(m, s²)`, with `m` and `s` estimated from `n` samples (`s` with `n - 1`).
//!
//! - Expected value: `exp(m + s²/2)`, the mean of the log-normal distribution (Aitchison and Brown, *The Lognormal
//!   Distribution*, 1957, §2.3).
//! - Interval for the next one: `exp(m ± t·s·√(1 + 1/n))`, the prediction interval of a normal sample taken back from
//!   logarithms, with Student's `t` of `n - 1` degrees of freedom (Hahn and Meeker, *Statistical Intervals*, 1991, §4.7).
//!   `t` comes from the normal quantile by the expansion 26.7.5 of Abramowitz and Stegun, *Handbook of Mathematical
//!   Functions*, 1964, which is within 0.1 % for the sample sizes used here.
//! - Sums, for several workers: a log-normal distribution with the mean and variance of the sum (Fenton, *The Sum of
//!   Log-Normal Probability Distributions in Scatter Transmission Systems*, 1960).
//! - Error: each sample is forecast from all others, and compared with what it really was. The median of
//!   `|actual − expected| / actual` and the share of actual values within their interval are shown (leave-one-out:
//!   Stone, *Cross-Validatory Choice and Assessment of Statistical Predictions*, 1974).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::money::Usd;

/// So much work has to have finished before anything is forecast.
pub const ENOUGH: usize = 30;

/// The least samples of one kind; with fewer a coarser class is taken.
pub const LEAST: usize = 8;

/// How much of what comes should lie within the interval, in percent.
pub const WITHIN: u32 = 80;

/// The normal quantile that belongs to [`WITHIN`]: a tenth lies above it.
const Z: f64 = 1.281_551_565_544_6;

/// What a piece of work is like. What is none is not known, or not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Class {
    /// The kind of work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The harness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness: Option<String>,
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How thorough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intensity: Option<String>,
}

/// One piece of finished work.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What it was like.
    pub class: Class,
    /// What it cost; none where that is not known.
    pub cost: Option<Usd>,
    /// How long it took.
    pub seconds: f64,
}

/// What is expected of a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Forecast {
    /// The expected value.
    pub expected: f64,
    /// The lower end of the interval that four of five should lie in.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
    /// How wrong it has been so far.
    pub error: Fault,
    /// How many samples it stands on.
    pub samples: usize,
}

/// How wrong a forecast would have been: each sample, forecast from all others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// The median of `|actual − expected| / actual`, in percent.
    pub median_percent: f64,
    /// How many of the actual values lay within their interval, in percent. 80 is what should be.
    pub within_percent: f64,
}

/// What is expected of one piece of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outlook {
    /// The class that the samples share: that which was asked for, or a coarser one.
    pub class: Class,
    /// Its cost in US dollars; none where the cost of too few is known.
    pub cost_usd: Option<Forecast>,
    /// Its time in seconds.
    pub seconds: Option<Forecast>,
}

/// Why nothing is forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cold {
    /// How much work has finished.
    pub finished: usize,
    /// How much is needed.
    pub needed: usize,
}

impl Class {
    /// This one and those that are coarser, the finest first.
    fn and_coarser(&self) -> Vec<Class> {
        let mut all = vec![self.clone()];
        let mut next = self.clone();
        for drop in [
            |class: &mut Class| class.intensity = None,
            |class: &mut Class| class.model = None,
            |class: &mut Class| class.harness = None,
            |class: &mut Class| class.kind = None,
        ] {
            drop(&mut next);
            if all.last() != Some(&next) {
                all.push(next.clone());
            }
        }
        all
    }

    /// Whether `other` is of it.
    fn has(&self, other: &Class) -> bool {
        let fits = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        fits(&self.kind, &other.kind)
            && fits(&self.harness, &other.harness)
            && fits(&self.model, &other.model)
            && fits(&self.intensity, &other.intensity)
    }

    /// In words: `review with claude opus, thorough`.
    pub fn describe(&self) -> String {
        let mut text = self.kind.clone().unwrap_or_else(|| "work of any kind".to_owned());
        let with: Vec<&str> = [&self.harness, &self.model]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if !with.is_empty() {
            text = format!("{text} with {}", with.join(" "));
        }
        match &self.intensity {
            Some(intensity) => format!("{text}, {intensity}"),
            None => text,
        }
    }
}

/// What is expected of a piece of work of `class`.
///
/// # Errors
/// Too little work has finished.
pub fn outlook(samples: &[Sample], class: &Class) -> Result<Outlook, Cold> {
    if samples.len() < ENOUGH {
        return Err(Cold {
            finished: samples.len(),
            needed: ENOUGH,
        });
    }
    for each in class.and_coarser() {
        let of_class = || samples.iter().filter(|sample| each.has(&sample.class));
        // A cost of nothing has no logarithm, and says nothing of those that cost something.
        let costs: Vec<f64> = of_class()
            .filter_map(|sample| sample.cost)
            .map(Usd::dollars)
            .filter(|cost| *cost > 0.0)
            .collect();
        let times: Vec<f64> = of_class()
            .map(|sample| sample.seconds)
            .filter(|time| *time > 0.0)
            .collect();
        let is_last = each == Class::default();
        if costs.len() >= LEAST && times.len() >= LEAST || is_last {
            return Ok(Outlook {
                class: each,
                cost_usd: forecast(&costs),
                seconds: forecast(&times),
            });
        }
    }
    Ok(Outlook {
        class: Class::default(),
        cost_usd: None,
        seconds: None,
    })
}

/// What is expected of the next of `values`, which are above 0. None: there are fewer than [`LEAST`].
pub fn forecast(values: &[f64]) -> Option<Forecast> {
    if values.len() < LEAST {
        return None;
    }
    let logs: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let normal = Normal::of(&logs);
    let (low, high) = normal.interval();
    let mut errors = Vec::with_capacity(logs.len());
    let mut within = 0;
    for (index, log) in logs.iter().enumerate() {
        let others: Vec<f64> = logs
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .map(|(_, log)| *log)
            .collect();
        let rest = Normal::of(&others);
        let (low, high) = rest.interval();
        let actual = log.exp();
        errors.push((rest.expected() - actual).abs() / actual);
        within += usize::from((low..=high).contains(&actual));
    }
    Some(Forecast {
        expected: normal.expected(),
        low,
        high,
        error: Fault {
            median_percent: 100.0 * median(&mut errors),
            within_percent: 100.0 * within as f64 / logs.len() as f64,
        },
        samples: values.len(),
    })
}

/// What is expected of the sum of all `parts`. None: there is none. Its error is that of the part that is wrong most.
pub fn sum(parts: &[Forecast]) -> Option<Forecast> {
    let worst = parts
        .iter()
        .max_by(|a, b| a.error.median_percent.total_cmp(&b.error.median_percent))?;
    if let [one] = parts {
        return Some(*one);
    }
    let mean: f64 = parts.iter().map(|part| part.expected).sum();
    let variance: f64 = parts.iter().map(Forecast::variance).sum();
    let sigma = (variance / (mean * mean)).ln_1p().sqrt();
    let mu = mean.ln() - sigma * sigma / 2.0;
    Some(Forecast {
        expected: mean,
        low: (mu - Z * sigma).exp(),
        high: (mu + Z * sigma).exp(),
        error: worst.error,
        samples: parts.iter().map(|part| part.samples).min().unwrap_or_default(),
    })
}

impl Forecast {
    /// The variance of the log-normal distribution with this interval and expected value.
    fn variance(&self) -> f64 {
        let sigma = (self.high / self.low).ln() / (2.0 * Z);
        self.expected * self.expected * (sigma * sigma).exp_m1()
    }
}

/// A normal distribution that was estimated.
struct Normal {
    mean: f64,
    deviation: f64,
    count: usize,
}

impl Normal {
    /// From at least two values.
    fn of(values: &[f64]) -> Normal {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Normal {
            mean,
            deviation: (squares / (count - 1.0)).sqrt(),
            count: values.len(),
        }
    }

    fn expected(&self) -> f64 {
        (self.mean + self.deviation.powi(2) / 2.0).exp()
    }

    fn interval(&self) -> (f64, f64) {
        let count = self.count as f64;
        let reach = student(count - 1.0) * self.deviation * (1.0 + 1.0 / count).sqrt();
        ((self.mean - reach).exp(), (self.mean + reach).exp())
    }
}

/// The quantile of Student's distribution that a tenth lies above.
fn student(freedom: f64) -> f64 {
    let z = Z;
    let terms = [
        z,
        (z.powi(3) + z) / 4.0,
        (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
        (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
    ];
    terms.iter().rev().fold(0.0, |sum, term| sum / freedom + term)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(is: f64, wanted: f64, within: f64) {
        assert!((is - wanted).abs() <= within * wanted.abs(), "{is} is not {wanted}");
    }

    /// Values that are log-normal: the same each time.
    fn seeded(count: usize, mean: f64, deviation: f64, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        };
        let normal = |a: f64, b: f64| (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        (0..count)
            .map(|_| (mean + deviation * normal(uniform(), uniform())).exp())
            .collect()
    }

    fn sample(kind: &str, harness: &str, cost: f64) -> Sample {
        Sample {
            class: Class {
                kind: Some(kind.to_owned()),
                harness: Some(harness.to_owned()),
                ..Class::default()
            },
            cost: Usd::new(cost),
            seconds: 60.0,
        }
    }

    #[test]
    fn students_quantile_is_that_of_the_tables() {
        for (freedom, wanted) in [(7.0, 1.415), (10.0, 1.372), (29.0, 1.311), (1e6, 1.2816)] {
            close(student(freedom), wanted, 0.001);
        }
    }

    #[test]
    fn of_many_values_the_forecast_is_the_distribution_that_made_them() {
        let forecast = forecast(&seeded(4000, 0.5, 0.7, 1)).expect("enough");
        close(forecast.expected, (0.5_f64 + 0.245).exp(), 0.04);
        close(forecast.low, (0.5_f64 - 1.2816 * 0.7).exp(), 0.05);
        close(forecast.high, (0.5_f64 + 1.2816 * 0.7).exp(), 0.05);
        close(forecast.error.within_percent, 80.0, 0.03);
    }

    #[test]
    fn the_error_that_is_shown_is_the_one_that_each_sample_had() {
        let values = seeded(40, 0.0, 0.5, 7);
        let forecast = forecast(&values).expect("enough");
        // Once more, by the words of the documentation.
        let mut errors = Vec::new();
        let mut within = 0;
        for (index, actual) in values.iter().enumerate() {
            let mut others = values.clone();
            others.remove(index);
            let logs: Vec<f64> = others.iter().map(|value| value.ln()).collect();
            let n = logs.len() as f64;
            let m = logs.iter().sum::<f64>() / n;
            let s = (logs.iter().map(|log| (log - m) * (log - m)).sum::<f64>() / (n - 1.0)).sqrt();
            errors.push(((m + s * s / 2.0).exp() - actual).abs() / actual);
            // Student's quantile of 38 degrees of freedom, from a table.
            let reach = 1.304_2 * s * (1.0 + 1.0 / n).sqrt();
            within += usize::from((actual.ln() - m).abs() <= reach);
        }
        errors.sort_by(f64::total_cmp);
        close(forecast.error.median_percent, 50.0 * (errors[19] + errors[20]), 1e-9);
        close(forecast.error.within_percent, within as f64 * 2.5, 1e-9);
    }

    #[test]
    fn a_cold_start_says_so_and_one_sample_more_ends_it() {
        let mut samples = vec![sample("crew", "claude", 1.0); 29];
        let cold = outlook(&samples, &Class::default()).expect_err("too few");
        assert_eq!((cold.finished, cold.needed), (29, ENOUGH));
        samples.push(sample("crew", "claude", 1.0));
        assert!(outlook(&samples, &Class::default()).is_ok_and(|outlook| outlook.cost_usd.is_some()));
    }

    #[test]
    fn the_finest_class_with_enough_samples_is_taken() {
        let mut samples = vec![sample("review", "claude", 1.0); 10];
        samples.extend(vec![sample("review", "codex", 3.0); 5]);
        samples.extend(vec![sample("crew", "claude", 9.0); 20]);
        let asked = |kind: &str, harness: &str| {
            let outlook = outlook(&samples, &sample(kind, harness, 0.0).class).expect("enough");
            (outlook.class.describe(), outlook.cost_usd.expect("known").samples)
        };
        assert_eq!(asked("review", "claude"), ("review with claude".to_owned(), 10));
        assert_eq!(asked("review", "codex"), ("review".to_owned(), 15));
        assert_eq!(asked("plan", "pi"), ("work of any kind".to_owned(), 35));
    }

    #[test]
    fn costs_that_are_not_known_are_left_out_and_not_0() {
        let mut samples = vec![sample("crew", "claude", 2.0); 20];
        samples.extend(vec![
            Sample {
                cost: None,
                ..sample("crew", "claude", 0.0)
            };
            20
        ]);
        let outlook = outlook(&samples, &Class::default()).expect("enough");
        let cost = outlook.cost_usd.expect("known of twenty");
        close(cost.expected, 2.0, 1e-9);
        assert_eq!((cost.samples, outlook.seconds.map(|time| time.samples)), (20, Some(40)));
        samples.truncate(0);
        samples.extend(vec![
            Sample {
                cost: None,
                ..sample("crew", "claude", 0.0)
            };
            40
        ]);
        let unknown = super::outlook(&samples, &Class::default()).expect("enough");
        assert!(unknown.cost_usd.is_none() && unknown.seconds.is_some());
    }

    #[test]
    fn a_sum_has_the_mean_and_the_spread_of_its_parts() {
        let part = forecast(&seeded(400, 0.0, 0.8, 3)).expect("enough");
        let sum = sum(&[part; 10]).expect("parts");
        close(sum.expected, 10.0 * part.expected, 1e-9);
        // Ten together are steadier than one.
        assert!(sum.high / sum.low < part.high / part.low);
        // What really comes of sums of ten lies within as often as is said.
        let values = seeded(20_000, 0.0, 0.8, 99);
        let sums = values.chunks(10).map(|ten| ten.iter().sum::<f64>());
        let within = sums.filter(|each| (sum.low..=sum.high).contains(each)).count();
        close(within as f64 / 2000.0, 0.8, 0.12);
    }
}
