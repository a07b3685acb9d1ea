//! `check`: whether a plan could be started, before anything is.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use fleet_core::name::plural;
use fleet_core::plan::model::Act;
use fleet_core::plan::rule::{Finding, Level};
use fleet_core::plan::word::PlanType;
use fleet_core::plan::{Plan, Reach, Shape};
use fleet_core::spend::Meter;
use fleet_core::{Kind, Result, plan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::config::MeterChoice;
use crate::meter;
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::plan::{Found, find, surroundings};

/// How many findings a person is shown. A program gets all of them.
const SHOWN: usize = 100;

/// Check a plan: everything that is wrong with it, before anything is started
///
/// Reads `fleet.json` and the prompts, starts nothing and costs nothing. Each finding has a code, which
/// docs/reference/plan-rules.md explains. A plan with errors exits with 65; warnings alone exit with 0.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// A fleet root, or its fleet.json
    #[arg(value_name = "ROOT|fleet.json")]
    pub plan: String,
    /// Let models through that nobody knows, with a warning
    #[arg(long)]
    #[serde(default)]
    pub allow_unknown_model: bool,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Verdict {
    /// The fleet root, absolute.
    pub root: PathBuf,
    /// What the plan calls itself, if it could be read.
    pub name: Option<String>,
    /// Its type, if it could be read.
    #[serde(rename = "type")]
    pub plan_type: Option<PlanType>,
    /// How many workers it names.
    pub workers: usize,
    /// The most that a run of it may spend, in USD; none while it has errors.
    pub most_usd: Option<f64>,
    /// How many findings keep it from being started.
    pub errors: usize,
    /// How many do not.
    pub warnings: usize,
    /// All of them, in the order of the file.
    pub findings: Vec<Finding>,
    /// What workers are kept from by the tools of their program, and not by the commands that they may run.
    pub reach: Vec<Reach>,
    /// What counts what workers use, for each harness.
    pub meters: Vec<MeterOf>,
    /// Which harnesses cannot be pointed at the meter, where the settings want it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmetered: Vec<Unmetered>,
}

/// What counts what workers of a harness use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MeterOf {
    /// The harness.
    pub provider: String,
    /// What counts.
    pub meter: Meter,
    /// Why it is not the proxy, where the settings leave that open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether the settings describe the harness: what fleet does not know is never the proxy's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
}

/// A harness that cannot be pointed at the meter.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Unmetered {
    /// The harness.
    pub provider: String,
    /// Why.
    pub why: String,
}

impl Verdict {
    fn show_meters(&self, page: &mut Page) {
        let all = self.meters.iter().filter(|each| !each.own);
        for (provider, why) in all.filter_map(|each| Some((&each.provider, each.why.as_ref()?))) {
            let message = format!(" `{provider}` is counted by what it tells, not by the proxy: {why}");
            page.spans(vec![span(Label::Dim, "note:"), plain(message)]);
        }
    }

    fn show_unmetered(&self, page: &mut Page) {
        for each in &self.unmetered {
            let message = format!(" `{}` cannot be pointed at the meter: {}", each.provider, each.why);
            page.spans(vec![span(Label::Dim, "note:"), plain(message)]);
        }
        if !self.unmetered.is_empty() {
            page.spans(vec![span(Label::Dim, "  hint: "), plain(meter::WITHOUT)]);
        }
    }

    fn show_reach(&self, page: &mut Page) {
        for reach in &self.reach {
            let acts: Vec<&str> = reach.acts.iter().map(|act| act.as_str()).collect();
            let message = format!(
                " `{}` keeps a worker of type `{}` from {}, but not the commands that it runs: {}",
                reach.provider,
                reach.worker_type.as_str(),
                acts.join(" and "),
                reach.workers
            );
            page.spans(vec![span(Label::Dim, "note:"), plain(message)]);
        }
        if self.reach.iter().any(|reach| reach.acts.contains(&Act::Leave)) {
            let hint = "`\"sandbox\": \"bwrap\"` keeps what they change in their folders";
            page.spans(vec![span(Label::Dim, "  hint: "), plain(hint)]);
        }
    }
}

impl Operation for Check {
    const NAME: &'static str = "check";
    const EFFECT: Effect = Effect::Read;
    type Output = Verdict;

    fn run(self, app: &App, caller: &Caller) -> Result<Verdict> {
        let found = find(caller, &self.plan)?;
        look(app, caller, &found, self.allow_unknown_model).map(|(verdict, _)| verdict)
    }
}

/// What a check of the plan in `found` comes to, and the plan where it has no errors.
pub(crate) fn look(
    app: &App,
    caller: &Caller,
    found: &Found,
    allow_unknown_model: bool,
) -> Result<(Verdict, Option<Plan>)> {
    let draft = plan::read(&found.text);
    let mut around = surroundings(app, caller, found, &draft)?;
    around.allow_unknown_model = allow_unknown_model;
    let checked = draft.check(&around);
    let errors = checked.findings.iter().filter(|finding| finding.level == Level::Error);
    let errors = errors.count();
    let (meters, unmetered) = match &checked.plan {
        Some(plan) => meters(app, caller, plan)?,
        None => Default::default(),
    };
    let verdict = Verdict {
        root: found.root.clone(),
        name: checked.name,
        plan_type: checked.plan_type,
        workers: checked.workers,
        most_usd: checked.plan.as_ref().map(|plan| plan.most().dollars()),
        errors,
        warnings: checked.findings.len() - errors,
        findings: checked.findings,
        reach: checked.reach,
        meters,
        unmetered,
    };
    Ok((verdict, checked.plan))
}

/// What counts for each harness of `plan`, and which cannot be pointed at the meter though the settings want it.
fn meters(app: &App, caller: &Caller, plan: &Plan) -> Result<(Vec<MeterOf>, Vec<Unmetered>)> {
    let config = app.config(caller, app.repo(caller).ok().as_ref())?;
    let research = match &plan.shape {
        Shape::Autoresearch(research) => Some(&research.choice),
        _ => None,
    };
    let choices = plan.workers.iter().map(|worker| &worker.choice).chain(research);
    let providers: BTreeSet<&str> = choices.map(|choice| choice.provider.as_str()).collect();
    let (mut meters, mut unmetered) = (Vec::new(), Vec::new());
    for provider in providers {
        let harness = app.harness(&config, provider)?;
        let expected = meter::expected(app, caller, &config, &harness);
        let own = config.harness.contains_key(&harness.name);
        let provider = provider.to_owned();
        let (meter, why) = match (expected.why, config.meter) {
            (None, _) if expected.proxy => (Meter::Proxy, None),
            (Some(why), MeterChoice::Proxy) if !own => {
                unmetered.push(Unmetered { provider, why });
                continue;
            }
            (why, _) => (Meter::Transcript, why),
        };
        meters.push(MeterOf {
            provider,
            meter,
            why,
            own,
        });
    }
    Ok((meters, unmetered))
}

impl Show for Verdict {
    fn show(&self, page: &mut Page) {
        show_findings(&self.findings, crate::plan::FILE, page);
        if self.errors == 0 {
            self.show_reach(page);
            self.show_meters(page);
            self.show_unmetered(page);
        }
        let warnings = plural(self.warnings, "warning");
        let about = || {
            let plan_type = self.plan_type.map_or("a plan", PlanType::as_str);
            let most = self.most_usd.and_then(fleet_core::money::Usd::new).unwrap_or_default();
            match plan_type {
                "autoresearch" => format!("{plan_type}, at most {most}"),
                _ => format!("{plan_type}, {}, at most {most}", plural(self.workers, "worker")),
            }
        };
        match (self.errors, self.warnings) {
            (0, 0) => page.spans(vec![span(Label::Good, "fine"), plain(format!(": {}", about()))]),
            (0, _) => page.line(format!("no errors, {warnings}: {}", about())),
            (errors, 0) => page.line(format!("{}: the plan cannot be started", plural(errors, "error"))),
            (errors, _) => page.line(format!(
                "{}, {warnings}: the plan cannot be started",
                plural(errors, "error")
            )),
        }
    }

    fn failed(&self) -> Option<Kind> {
        (self.errors > 0).then_some(Kind::Plan)
    }
}

/// The findings, each with what would be right; one about the whole is about `whole`.
pub(super) fn show_findings(findings: &[Finding], whole: &str, page: &mut Page) {
    for finding in findings.iter().take(SHOWN) {
        let label = match finding.level {
            Level::Error => Label::Bad,
            Level::Warning => Label::Warn,
        };
        let path = match finding.path.as_str() {
            "" => whole,
            path => path,
        };
        let mut line = vec![
            span(label, format!("{}[{}]", finding.level.as_str(), finding.code)),
            plain(format!(" {path}: {}", finding.message)),
        ];
        if let (Some(at), Some(column)) = (finding.line, finding.column) {
            line.push(span(Label::Dim, format!(" (line {at}, column {column})")));
        }
        page.spans(line);
        page.spans(vec![span(Label::Dim, "  hint: "), plain(&finding.hint)]);
    }
    if findings.len() > SHOWN {
        let more = findings.len() - SHOWN;
        page.line(format!("… and {more} more: `--json` has all of them"));
    }
}
