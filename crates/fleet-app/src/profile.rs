//! What a start is expected to cost and take, learned from what has finished; [`fleet_core::profile`] has the maths.

use fleet_core::Result;
use fleet_core::profile::{self as rules, Class, Cold, ENOUGH, Forecast, Sample};
use fleet_core::time::age;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::Caller;

/// What several pieces of work are expected to need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expected {
    /// How many pieces.
    pub pieces: usize,
    /// What all of them cost together in US dollars; none where the cost of too few like them is known.
    pub cost_usd: Option<Forecast>,
    /// How long the longest of them takes, in seconds.
    pub seconds: Option<Forecast>,
}

/// What a piece of work of each of `classes` is expected to need, or why nothing is.
pub fn expected(app: &App, classes: &[Class]) -> Result<std::result::Result<Expected, Cold>> {
    let samples = app.store()?.finished_work()?;
    Ok(of(&samples, classes))
}

fn of(samples: &[Sample], classes: &[Class]) -> std::result::Result<Expected, Cold> {
    let mut costs: Vec<Forecast> = Vec::new();
    let mut times: Vec<Forecast> = Vec::new();
    let mut known: Vec<(&Class, rules::Outlook)> = Vec::new();
    for class in classes {
        let outlook = match known.iter().find(|(each, _)| *each == class) {
            Some((_, outlook)) => outlook.clone(),
            None => rules::outlook(samples, class)?,
        };
        costs.extend(outlook.cost_usd);
        times.extend(outlook.seconds);
        known.push((class, outlook));
    }
    // A sum of some of them would be no forecast of all.
    let all_known = costs.len() == classes.len();
    Ok(Expected {
        pieces: classes.len(),
        cost_usd: rules::sum(&costs).filter(|_| all_known),
        seconds: times.into_iter().max_by(|a, b| a.expected.total_cmp(&b.expected)),
    })
}

/// Tells `caller` what the work of `classes` is expected to need, before it is started. That nothing is known yet is told
/// where `cold` asks for it, on a terminal.
pub(crate) fn tell(app: &App, caller: &Caller, classes: &[Class], cold: bool) -> Result<()> {
    match expected(app, classes)? {
        Ok(expected) => (caller.progress)(&format!("forecast: {}", expected.describe())),
        Err(few) if cold => (caller.progress)(&describe_cold(few)),
        Err(_) => {}
    }
    Ok(())
}

/// Why nothing is forecast, in words.
pub fn describe_cold(cold: Cold) -> String {
    format!(
        "no forecast yet: {} of {ENOUGH} pieces of work have finished",
        cold.finished.min(ENOUGH)
    )
}

impl Expected {
    /// In a line: what, from what to what, and how wrong such forecasts were.
    pub fn describe(&self) -> String {
        let cost = match &self.cost_usd {
            Some(cost) => money(cost),
            None => "cost unknown".to_owned(),
        };
        let time = match &self.seconds {
            Some(time) => duration(time),
            None => "time unknown".to_owned(),
        };
        let each = if self.pieces > 1 { " for the longest" } else { "" };
        format!("{cost}; {time}{each}")
    }
}

/// A forecast of money in words.
pub fn money(forecast: &Forecast) -> String {
    let usd = |amount: f64| format!("{amount:.2}");
    words(
        forecast,
        format!("{} USD", usd(forecast.expected)),
        usd(forecast.low),
        usd(forecast.high),
    )
}

/// A forecast of time in words.
pub fn duration(forecast: &Forecast) -> String {
    let time = |seconds: f64| age((seconds * 1000.0) as u64);
    words(
        forecast,
        time(forecast.expected),
        time(forecast.low),
        time(forecast.high),
    )
}

fn words(forecast: &Forecast, expected: String, low: String, high: String) -> String {
    format!(
        "{expected} ({low} to {high}; off by {:.0} % in the median of {})",
        forecast.error.median_percent, forecast.samples
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_core::money::Usd;

    fn sample(kind: &str, cost: Option<f64>) -> Sample {
        Sample {
            class: Class {
                kind: Some(kind.to_owned()),
                ..Class::default()
            },
            cost: cost.and_then(Usd::new),
            seconds: 90.0,
        }
    }

    #[test]
    fn several_pieces_cost_their_sum_and_take_as_long_as_the_longest() {
        let samples: Vec<Sample> = (0..30).map(|_| sample("crew", Some(0.5))).collect();
        let class = samples[0].class.clone();
        let two = of(&samples, &[class.clone(), class]).expect("enough");
        let cost = two.cost_usd.as_ref().expect("known");
        assert!((cost.expected - 1.0).abs() < 1e-9);
        assert_eq!(
            two.describe(),
            "1.00 USD (1.00 to 1.00; off by 0 % in the median of 30); 1m (1m to 1m; off by 0 % in the median of 30) for the longest"
        );
    }

    #[test]
    fn a_cost_that_nobody_knows_is_unknown_and_a_cold_start_says_so() {
        let samples: Vec<Sample> = (0..30).map(|_| sample("crew", None)).collect();
        let one = of(&samples, &[Class::default()]).expect("enough");
        assert!(one.cost_usd.is_none() && one.describe().starts_with("cost unknown; "));
        let cold = of(&samples[..3], &[Class::default()]).expect_err("too few");
        assert_eq!(
            describe_cold(cold),
            "no forecast yet: 3 of 30 pieces of work have finished"
        );
    }
}
