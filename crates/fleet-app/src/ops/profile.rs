//! `profile`: what work is expected to cost and take.

use clap::Args;
use fleet_core::Result;
use fleet_core::profile::{self as rules, Class, ENOUGH, Outlook};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Page, Show};
use crate::profile::{describe_cold, duration, money};

/// Forecast what a piece of work costs and takes, with the error of such forecasts so far
///
/// Learned from the tasks and the workers of runs that have finished on this machine. Before 30 have, there is none.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The kind of work: that of a task, or the type of a plan
    #[arg(long, value_name = "WORD")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The harness
    #[arg(short, long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The model
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How thorough
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intensity: Option<String>,
}

/// What is expected.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Profiled {
    /// How much work has finished.
    pub finished: usize,
    /// How much is needed before anything is forecast.
    pub needed: usize,
    /// The forecast; none before that.
    pub outlook: Option<Outlook>,
}

impl Operation for Profile {
    const NAME: &'static str = "profile";
    const EFFECT: Effect = Effect::Read;
    type Output = Profiled;

    fn run(self, app: &App, _caller: &Caller) -> Result<Profiled> {
        let samples = app.store()?.finished_work()?;
        let class = Class {
            kind: self.kind,
            harness: self.agent,
            model: self.model,
            intensity: self.intensity,
        };
        Ok(Profiled {
            finished: samples.len(),
            needed: ENOUGH,
            outlook: rules::outlook(&samples, &class).ok(),
        })
    }
}

impl Show for Profiled {
    fn show(&self, page: &mut Page) {
        let Some(outlook) = &self.outlook else {
            page.line(describe_cold(rules::Cold {
                finished: self.finished,
                needed: self.needed,
            }));
            return;
        };
        let samples = outlook.seconds.map_or(0, |forecast| forecast.samples);
        page.line(format!(
            "{} (from {samples} that have finished)",
            outlook.class.describe()
        ));
        page.line(match &outlook.cost_usd {
            Some(cost) => format!("cost  {}", money(cost)),
            None => "cost  unknown: too few of a known cost have finished".to_owned(),
        });
        page.line(match &outlook.seconds {
            Some(time) => format!("time  {}", duration(time)),
            None => "time  unknown".to_owned(),
        });
        for (what, forecast) in [("cost", &outlook.cost_usd), ("time", &outlook.seconds)] {
            if let Some(forecast) = forecast {
                page.line(format!(
                    "{:.0} % of the {what}s lay within their interval, and {} % should",
                    forecast.error.within_percent,
                    rules::WITHIN
                ));
            }
        }
    }
}
