//! The report of a session: what it did and spent.
//!
//! It comes as a block `FLEET_SESSION_REPORT` in what a session answers. What a model says it cost is `reported`, and
//! never the truth; a report whose numbers contradict each other is refused. What is not known is left out, and never 0.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::block::keys::{Amount, Keys};
use crate::block::rule::{Checked, Findings, Rule};
use crate::block::tree::Tree;
use crate::block::{self, Mark};
use crate::contract::Contract;
use crate::money::Usd;
use crate::plan::rule::quoted;
use crate::plan::word::words;
use crate::{Error, Result};

/// What a session did and spent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The job, as the contract names it.
    #[schemars(length(min = 1, max = 128))]
    pub job_id: String,
    /// How it went.
    pub execution: Execution,
    /// What was done.
    #[serde(default)]
    pub fleet_activity: Activity,
    /// What became of the budget; left out where there was no ceiling, or the cost is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_utilization: Option<Utilization>,
}

/// How a session went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Execution {
    /// How it ended.
    pub status: Status,
    /// What it cost in US dollars; left out where some of that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_cost_usd: Option<Usd>,
    /// What is known of its cost, where that is not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_cost_usd: Option<Usd>,
    /// How many tools were called; left out where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_tool_calls: Option<u32>,
}

/// What was done in a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Activity {
    /// How many tasks were created.
    #[serde(default)]
    pub tasks_created: u32,
    /// How many of them were completed.
    #[serde(default)]
    pub tasks_completed: u32,
    /// How often work was given to another agent or sub-agent.
    #[serde(default)]
    pub crew_dispatches: u32,
    /// How often one of those asked a specialist.
    #[serde(default)]
    pub officer_dispatches: u32,
    /// The tasks, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskLine>,
    /// What is left to do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow_ups: Vec<FollowUp>,
}

/// A task of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskLine {
    /// Its id, such as `TASK-20260404-001`.
    #[schemars(length(min = 1, max = 128))]
    pub id: String,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crew: Option<String>,
    /// What it cost in US dollars; left out where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Usd>,
    /// Its commits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<String>,
}

/// What is left to do after a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FollowUp {
    /// What, in a line.
    pub title: String,
    /// How much it matters; `medium` if it says nothing.
    #[serde(default)]
    pub priority: Priority,
}

/// What became of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Utilization {
    /// How much of the ceiling was spent, in per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cost_pct: Option<f64>,
    /// What to make of it.
    pub recommendation: Recommendation,
}

words! {
    /// How a session ended.
    Status {
        /// Everything is done.
        Completed = "completed",
        /// Some of it is done.
        Partial = "partial",
        /// It did not succeed.
        Failed = "failed",
        /// It has ended at its ceiling.
        OverBudget = "over_budget",
        /// Somebody ended it.
        Cancelled = "cancelled",
    }
}

words! {
    /// What to make of what was spent.
    Recommendation {
        /// Less than 80 % was spent.
        WithinBudget = "within_budget",
        /// 80 % or more was spent.
        NearCeiling = "near_ceiling",
        /// More than 100 % was spent.
        OverBudget = "over_budget",
        /// It ended at the ceiling, and stages are undone.
        RaiseCeiling = "raise_ceiling",
    }
}

words! {
    /// How much something matters.
    Priority {
        /// Some day.
        Low = "low",
        /// In its turn.
        Medium = "medium",
        /// Soon.
        High = "high",
        /// At once.
        Critical = "critical",
    }
}

#[expect(clippy::derivable_impls, reason = "the words are made by a macro")]
impl Default for Priority {
    fn default() -> Self {
        Priority::Medium
    }
}

/// What a report is compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// The job that it must be of; none for any.
    pub job_id: Option<String>,
    /// The ceiling that `cost_pct` is a part of; none where nobody knows.
    pub ceiling: Option<Usd>,
}

impl From<&Contract> for Expected {
    fn from(contract: &Contract) -> Self {
        Self {
            job_id: Some(contract.job_id.clone()),
            ceiling: contract.budget.ceiling_usd,
        }
    }
}

impl Utilization {
    /// What became of `ceiling` when `spent` was spent, and whether the session ended there with stages undone.
    pub fn of(spent: Usd, ceiling: Usd, is_undone: bool) -> Utilization {
        let share = share(spent, ceiling);
        let recommendation = match share {
            _ if is_undone => Recommendation::RaiseCeiling,
            _ if spent > ceiling => Recommendation::OverBudget,
            share if share >= NEAR => Recommendation::NearCeiling,
            _ => Recommendation::WithinBudget,
        };
        Utilization {
            cost_pct: Some((share * 10.0).round() / 10.0),
            recommendation,
        }
    }
}

/// From here on a ceiling is near, in per cent.
const NEAR: f64 = 80.0;

/// How far a share may be from the one that follows from the numbers: both were rounded to a tenth.
const ROUNDING: f64 = 0.1;

/// How far two sums in dollars may be apart that are the same to the cent.
const CENT: Usd = Usd::from_micros(10_000);

/// The report in `text`, and everything that is wrong with it.
pub fn read(text: &str, expected: &Expected) -> Checked<Report> {
    let mut findings = Findings::default();
    if block::is_there(text, Mark::CONTRACT) {
        findings.add(Rule::NotObeyed, 0, "", "there is a contract in what a session answered");
    }
    let node = block::find(text, Mark::REPORT, &mut findings);
    let report = node.and_then(|node| {
        let mut keys = Keys::of(&node, "", &mut findings)?;
        if !block::is_readable(&mut keys, &mut findings) {
            return None;
        }
        let mut places = Places::default();
        let report = report(keys, &mut places, &mut findings)?;
        compare(&report, expected, &places, &mut findings);
        Some(report)
    });
    findings.close(text, report)
}

/// The report as a block. Error: it breaks a rule, its numbers contradict each other, or it is too long for a block.
pub fn write(report: &Report) -> Result<String> {
    let text = block::write(Mark::REPORT, &tree(report));
    let back = read(&text, &Expected::default());
    match back.value.as_ref() {
        Some(value) if value == report => Ok(text),
        _ => {
            let fault = back.fault().unwrap_or_else(|| "it reads back as another".to_owned());
            Err(Error::failed(format!("the report cannot be written: {fault}")))
        }
    }
}

/// The JSON Schema of what stands in the block.
pub fn schema() -> serde_json::Value {
    block::schema_of::<Report>(&example())
}

/// The report of the documentation.
pub fn example() -> Report {
    let task = |number: u32, crew: &str, cost: f64, commits: &[&str]| TaskLine {
        id: format!("TASK-20260404-{number:03}"),
        crew: Some(crew.to_owned()),
        cost_usd: Usd::new(cost),
        commits: commits.iter().map(|commit| (*commit).to_owned()).collect(),
    };
    Report {
        job_id: "VB-20260404-042".to_owned(),
        execution: Execution {
            status: Status::Completed,
            total_cost_usd: Usd::new(3.87),
            known_cost_usd: None,
            total_tool_calls: Some(156),
        },
        fleet_activity: Activity {
            tasks_created: 2,
            tasks_completed: 2,
            crew_dispatches: 2,
            officer_dispatches: 3,
            tasks: vec![task(1, "api", 1.85, &["def5678"]), task(2, "tests", 2.02, &["0a1b2c3"])],
            follow_ups: vec![FollowUp {
                title: "Redis connection pooling".to_owned(),
                priority: Priority::Medium,
            }],
        },
        budget_utilization: Some(Utilization {
            cost_pct: Some(77.4),
            recommendation: Recommendation::WithinBudget,
        }),
    }
}

/// Where the values stand that are compared.
#[derive(Default)]
struct Places {
    job_id: usize,
    execution: usize,
    activity: usize,
    tasks: Vec<usize>,
    utilization: usize,
}

fn report(mut keys: Keys<'_>, places: &mut Places, findings: &mut Findings) -> Option<Report> {
    places.job_id = keys.place("job_id");
    places.execution = keys.place("execution");
    places.activity = keys.place("fleet_activity");
    places.utilization = keys.place("budget_utilization");
    let job_id = keys.name("job_id", findings);
    let job_id = keys.require("job_id", job_id, findings);
    let inner = keys.map("execution", findings);
    let execution = keys
        .require("execution", inner, findings)
        .and_then(|keys| execution(keys, findings));
    let activity = keys.map("fleet_activity", findings);
    let activity = activity
        .map(|keys| activity_of(keys, places, findings))
        .unwrap_or_default();
    let utilization = keys.map("budget_utilization", findings);
    let budget_utilization = utilization.and_then(|keys| utilization_of(keys, findings));
    keys.end(findings);
    Some(Report {
        job_id: job_id?,
        execution: execution?,
        fleet_activity: activity,
        budget_utilization,
    })
}

fn execution(mut keys: Keys<'_>, findings: &mut Findings) -> Option<Execution> {
    let status = keys.word("status", findings);
    let status = keys.require("status", status, findings);
    let total_cost_usd = keys.money("total_cost_usd", Amount::AnyCost, findings);
    let known_cost_usd = keys.money("known_cost_usd", Amount::AnyCost, findings);
    let total_tool_calls = keys.count("total_tool_calls", 0..=u32::MAX, findings);
    keys.end(findings);
    Some(Execution {
        status: status?,
        total_cost_usd,
        known_cost_usd,
        total_tool_calls,
    })
}

fn activity_of(mut keys: Keys<'_>, places: &mut Places, findings: &mut Findings) -> Activity {
    let mut count = |key| keys.count(key, 0..=u32::MAX, findings);
    let tasks_completed = count("tasks_completed").unwrap_or_default();
    let tasks_created = count("tasks_created");
    let crew_dispatches = count("crew_dispatches").unwrap_or_default();
    let officer_dispatches = count("officer_dispatches").unwrap_or_default();
    let mut tasks = Vec::new();
    for (path, node) in keys.list("tasks", findings) {
        let Some(mut keys) = Keys::of(node, &path, findings) else {
            continue;
        };
        let id = keys.name("id", findings);
        let id = keys.require("id", id, findings);
        let crew = keys.text("crew", findings);
        let cost_usd = keys.money("cost_usd", Amount::AnyCost, findings);
        let commits = keys.texts("commits", findings);
        keys.end(findings);
        if let Some(id) = id {
            places.tasks.push(node.at);
            tasks.push(TaskLine {
                id,
                crew,
                cost_usd,
                commits,
            });
        }
    }
    let follow_ups = keys
        .list("follow_ups", findings)
        .into_iter()
        .filter_map(|(path, node)| {
            let mut keys = Keys::of(node, &path, findings)?;
            let title = keys.text("title", findings);
            let title = keys.require("title", title, findings);
            let priority = keys.word("priority", findings).unwrap_or_default();
            keys.end(findings);
            Some(FollowUp {
                title: title?,
                priority,
            })
        });
    let follow_ups = follow_ups.collect();
    keys.end(findings);
    Activity {
        // Who lists tasks and does not count them has created them all the same.
        tasks_created: tasks_created.unwrap_or(tasks.len() as u32),
        tasks_completed,
        crew_dispatches,
        officer_dispatches,
        tasks,
        follow_ups,
    }
}

fn utilization_of(mut keys: Keys<'_>, findings: &mut Findings) -> Option<Utilization> {
    let cost_pct = keys.share("cost_pct", findings);
    let recommendation = keys.word("recommendation", findings);
    let recommendation = keys.require("recommendation", recommendation, findings);
    keys.end(findings);
    Some(Utilization {
        cost_pct,
        recommendation: recommendation?,
    })
}

/// Compares the numbers of a report with each other and with what was expected.
fn compare(report: &Report, expected: &Expected, places: &Places, findings: &mut Findings) {
    if let Some(job) = expected.job_id.as_ref().filter(|job| **job != report.job_id) {
        let message = format!(
            "the report is of {}, and {} was asked for",
            quoted(&report.job_id),
            quoted(job)
        );
        findings.add(Rule::OtherJob, places.job_id, "job_id", message);
    }
    compare_tasks(&report.fleet_activity, places, findings);
    compare_costs(report, places, findings);
    let Some(utilization) = &report.budget_utilization else {
        return;
    };
    let path = "budget_utilization";
    let real = expected
        .ceiling
        .zip(report.execution.total_cost_usd)
        .map(|(ceiling, spent)| share(spent, ceiling));
    if let (Some(real), Some(said)) = (real, utilization.cost_pct)
        && (real - said).abs() > ROUNDING
    {
        let message = format!("{said} % is said, and the numbers make {real:.1} %");
        findings.add(
            Rule::WrongShare,
            places.utilization,
            format!("{path}.cost_pct"),
            message,
        );
    }
    let advice = utilization.recommendation;
    if let Some(said) = utilization.cost_pct.filter(|said| !advice.fits(*said)) {
        let message = format!("`{}` does not fit {said} %", advice.as_str());
        findings.add(
            Rule::WrongAdvice,
            places.utilization,
            format!("{path}.recommendation"),
            message,
        );
    }
}

fn compare_tasks(activity: &Activity, places: &Places, findings: &mut Findings) {
    let Activity {
        tasks_created: created,
        tasks_completed: completed,
        tasks,
        ..
    } = activity;
    let path = "fleet_activity";
    if completed > created {
        let message = format!("{completed} tasks are completed, and {created} were created");
        findings.add(
            Rule::TooManyTasks,
            places.activity,
            format!("{path}.tasks_completed"),
            message,
        );
    }
    if tasks.len() > *created as usize {
        let message = format!("{} tasks are listed, and {created} were created", tasks.len());
        findings.add(Rule::TooManyTasks, places.activity, format!("{path}.tasks"), message);
    }
    let mut seen = std::collections::BTreeSet::new();
    for (place, (task, at)) in tasks.iter().zip(&places.tasks).enumerate() {
        if !seen.insert(&task.id) {
            let message = format!("the task {} is listed twice", quoted(&task.id));
            findings.add(Rule::DuplicateTask, *at, format!("{path}.tasks[{place}].id"), message);
        }
    }
}

fn compare_costs(report: &Report, places: &Places, findings: &mut Findings) {
    let Execution {
        total_cost_usd,
        known_cost_usd,
        ..
    } = report.execution;
    let activity = &report.fleet_activity;
    let path = "execution.total_cost_usd";
    let listed: Usd = activity.tasks.iter().filter_map(|task| task.cost_usd).sum();
    let Some(total) = total_cost_usd else {
        // What is said of a cost that is wrong is enough.
        if !findings.has_errors() {
            findings.add(Rule::UnknownCost, places.execution, path, "the cost is not known");
        }
        return;
    };
    if known_cost_usd.is_some_and(|known| known > total + CENT) {
        let message = format!("{total} in all, and more than that is known");
        findings.add(Rule::TasksExceed, places.execution, path, message);
    }
    if listed > total + CENT {
        let message = format!("the tasks cost {listed}, and the whole {total}");
        findings.add(Rule::TasksExceed, places.execution, path, message);
    }
    let all_known = activity.tasks.iter().all(|task| task.cost_usd.is_some());
    let all_listed = !activity.tasks.is_empty() && activity.tasks.len() == activity.tasks_created as usize;
    if all_known && all_listed && listed + CENT < total {
        let message = format!("the tasks cost {listed}, and the whole {total}");
        findings.add(Rule::TasksFallShort, places.execution, path, message);
    }
}

impl Recommendation {
    /// Whether it is what `share` per cent make of a budget.
    fn fits(self, share: f64) -> bool {
        match self {
            Recommendation::WithinBudget => share < NEAR + ROUNDING,
            Recommendation::NearCeiling => (NEAR - ROUNDING..=100.0 + ROUNDING).contains(&share),
            Recommendation::OverBudget => share >= 100.0,
            Recommendation::RaiseCeiling => true,
        }
    }
}

/// What `spent` is of `ceiling`, in per cent.
fn share(spent: Usd, ceiling: Usd) -> f64 {
    spent.micros() as f64 * 100.0 / ceiling.micros() as f64
}

fn tree(report: &Report) -> Tree {
    let execution = Tree::map()
        .with("status", Some(Tree::text(report.execution.status.as_str())))
        .with("total_cost_usd", report.execution.total_cost_usd.map(Tree::money))
        .with("known_cost_usd", report.execution.known_cost_usd.map(Tree::money))
        .with("total_tool_calls", report.execution.total_tool_calls.map(Tree::count));
    let activity = &report.fleet_activity;
    let task = |task: &TaskLine| {
        Tree::map()
            .with("id", Some(Tree::text(&task.id)))
            .with("crew", task.crew.as_deref().map(Tree::text))
            .with("cost_usd", task.cost_usd.map(Tree::money))
            .with(
                "commits",
                (!task.commits.is_empty()).then(|| Tree::texts(&task.commits)),
            )
    };
    let follow_up = |left: &FollowUp| {
        Tree::map()
            .with("title", Some(Tree::text(&left.title)))
            .with("priority", Some(Tree::text(left.priority.as_str())))
    };
    let list = |items: Vec<Tree>| (!items.is_empty()).then_some(Tree::List(items));
    let fleet_activity = Tree::map()
        .with("tasks_created", Some(Tree::count(activity.tasks_created)))
        .with("tasks_completed", Some(Tree::count(activity.tasks_completed)))
        .with("crew_dispatches", Some(Tree::count(activity.crew_dispatches)))
        .with("officer_dispatches", Some(Tree::count(activity.officer_dispatches)))
        .with("tasks", list(activity.tasks.iter().map(task).collect()))
        .with("follow_ups", list(activity.follow_ups.iter().map(follow_up).collect()));
    let utilization = report.budget_utilization.map(|utilization| {
        Tree::map()
            .with("cost_pct", utilization.cost_pct.map(|share| Tree::decimal(share, 1)))
            .with("recommendation", Some(Tree::text(utilization.recommendation.as_str())))
    });
    Tree::map()
        .with("job_id", Some(Tree::text(&report.job_id)))
        .with("execution", Some(execution))
        .with("fleet_activity", Some(fleet_activity))
        .with("budget_utilization", utilization)
}

#[cfg(test)]
mod tests;
