//! `report check`: whether a report is one that fleet would believe as far as a report is believed.

use clap::Args;
use fleet_core::block::rule::Finding;
use fleet_core::money::Usd;
use fleet_core::name::plural;
use fleet_core::report::{self, Expected, Report};
use fleet_core::{Error, Kind, Result, contract};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contract::{require_text, show_verdict};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::{Operation, ReadText};
use crate::page::{Page, Show};

/// Check a report: everything that is wrong with the block FLEET_SESSION_REPORT in a text
///
/// The numbers are compared with each other, and with the contract or the job where one is named. Reads the texts alone and
/// starts nothing. Each finding has a code, which docs/reference/contract-rules.md explains. A report with errors exits with
/// 65; warnings alone exit with 0.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The text with the block, such as what a session answered; @FILE reads it from a file, - or no text from
    /// standard input
    pub text: Option<String>,
    /// The text with the contract that the report answers; @FILE reads it from a file
    #[arg(long, value_name = "TEXT", conflicts_with = "job_id")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<String>,
    /// The job that the report must be of
    #[arg(long, value_name = "ID")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Verdict {
    /// The report; none while it has errors.
    pub report: Option<Report>,
    /// How many findings keep it from being believed.
    pub errors: usize,
    /// How many do not.
    pub warnings: usize,
    /// All of them, in the order of the text.
    pub findings: Vec<Finding>,
}

impl Operation for Check {
    const NAME: &'static str = "report.check";
    const EFFECT: Effect = Effect::Read;
    type Output = Verdict;

    fn read_local(&mut self, read: &ReadText<'_>) -> Result<()> {
        self.text = Some(read(self.text.as_deref().unwrap_or("-"))?);
        self.contract = self.contract.take().map(|contract| read(&contract)).transpose()?;
        Ok(())
    }

    fn run(self, _app: &App, _caller: &Caller) -> Result<Verdict> {
        let text = require_text(self.text, "report")?;
        let expected = match &self.contract {
            Some(text) => expected(text)?,
            None => Expected {
                job_id: self.job_id,
                ceiling: None,
            },
        };
        let checked = report::read(&text, &expected);
        let (errors, warnings) = checked.count();
        Ok(Verdict {
            report: checked.value,
            errors,
            warnings,
            findings: checked.findings,
        })
    }
}

/// What the contract in `text` lets a report say. Error: it has errors itself.
fn expected(text: &str) -> Result<Expected> {
    let checked = contract::read(text);
    match &checked.value {
        Some(contract) => Ok(Expected::from(contract)),
        None => {
            let fault = checked.fault().unwrap_or_default();
            Err(Error::usage(format!("the contract has errors: {fault}"))
                .hint("see all of them: `fleet contract check @FILE`"))
        }
    }
}

impl Show for Verdict {
    fn show(&self, page: &mut Page) {
        let about = self.report.as_ref().map(about).unwrap_or_default();
        show_verdict(&self.findings, (self.errors, self.warnings), "the report", &about, page);
    }

    fn failed(&self) -> Option<Kind> {
        (self.errors > 0).then_some(Kind::Plan)
    }
}

fn about(report: &Report) -> String {
    let cost = report.execution.total_cost_usd;
    let cost = cost.map_or("at an unknown cost".to_owned(), |cost: Usd| format!("for {cost}"));
    let activity = &report.fleet_activity;
    let tasks = plural(activity.tasks_created as usize, "task");
    format!(
        "job {}, {} {cost}, {} of {tasks} completed",
        report.job_id,
        report.execution.status.as_str(),
        activity.tasks_completed
    )
}
