//! `contract check`: whether a contract is one that fleet would obey.

use clap::Args;
use fleet_core::block::rule::Finding;
use fleet_core::contract::{self, Contract};
use fleet_core::name::plural;
use fleet_core::{Error, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::show_findings;
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::{Operation, ReadText};
use crate::page::{Label, Page, Show, plain, span};

/// Check a contract: everything that is wrong with the block VIBE_SESSION_CONTRACT in a text
///
/// Reads the text alone and starts nothing. Each finding has a code, which docs/reference/contract-rules.md explains. A
/// contract with errors exits with 65; warnings alone exit with 0.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The text with the block, such as a prompt; @FILE reads it from a file, - or no text from standard input
    pub text: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Verdict {
    /// The contract; none while it has errors.
    pub contract: Option<Contract>,
    /// How many findings keep it from being obeyed.
    pub errors: usize,
    /// How many do not.
    pub warnings: usize,
    /// All of them, in the order of the text.
    pub findings: Vec<Finding>,
}

impl Operation for Check {
    const NAME: &'static str = "contract.check";
    const EFFECT: Effect = Effect::Read;
    type Output = Verdict;

    fn read_local(&mut self, read: &ReadText<'_>) -> Result<()> {
        self.text = Some(read(self.text.as_deref().unwrap_or("-"))?);
        Ok(())
    }

    fn run(self, _app: &App, _caller: &Caller) -> Result<Verdict> {
        let text = require_text(self.text, "contract")?;
        let checked = contract::read(&text);
        let (errors, warnings) = checked.count();
        Ok(Verdict {
            contract: checked.value,
            errors,
            warnings,
            findings: checked.findings,
        })
    }
}

impl Show for Verdict {
    fn show(&self, page: &mut Page) {
        let about = self.contract.as_ref().map(about).unwrap_or_default();
        show_verdict(
            &self.findings,
            (self.errors, self.warnings),
            "the contract",
            &about,
            page,
        );
    }

    fn failed(&self) -> Option<Kind> {
        (self.errors > 0).then_some(Kind::Plan)
    }
}

/// The text that a surface without standard input has to give.
pub(super) fn require_text(text: Option<String>, what: &str) -> Result<String> {
    text.ok_or_else(|| Error::usage("there is no text").hint(format!("give the text with the {what} as `text`")))
}

/// The findings and what they come to; `about` says what was read where nothing is an error.
pub(super) fn show_verdict(
    findings: &[Finding],
    (errors, warnings): (usize, usize),
    whole: &str,
    about: &str,
    page: &mut Page,
) {
    show_findings(findings, whole, page);
    let warned = plural(warnings, "warning");
    match (errors, warnings) {
        (0, 0) => page.spans(vec![span(Label::Good, "fine"), plain(format!(": {about}"))]),
        (0, _) => page.line(format!("no errors, {warned}: {about}")),
        (errors, 0) => page.line(format!("{}: {whole} is not taken", plural(errors, "error"))),
        (errors, _) => page.line(format!("{}, {warned}: {whole} is not taken", plural(errors, "error"))),
    }
}

fn about(contract: &Contract) -> String {
    let budget = &contract.budget;
    let ceiling = match (budget.ceiling_usd, budget.hard_ceiling) {
        (Some(ceiling), true) => format!("at most {ceiling}, hard"),
        (Some(ceiling), false) => format!("at most {ceiling}"),
        (None, _) => "no ceiling".to_owned(),
    };
    let limit = |limit: Option<u32>, what: &str| limit.map(|limit| plural(limit as usize, what));
    let limits = [
        limit(budget.max_tool_calls, "tool call"),
        limit(budget.max_turns, "turn"),
        budget.max_crew_dispatches.map(|most| match most {
            1 => "1 dispatch".to_owned(),
            most => format!("{most} dispatches"),
        }),
    ];
    let mut parts = vec![format!("job {}", contract.job_id), ceiling];
    parts.extend(limits.into_iter().flatten());
    parts.push(budget.intensity.as_str().to_owned());
    parts.join(", ")
}
