//! `task cost`: what was spent, grouped, as a table, as bars, and as CSV.

use std::collections::HashSet;

use clap::Args;
use fleet_core::task::TaskId;
use fleet_core::task::cost::{By, Cost, group};
use fleet_core::{Error, Result, Time};
use fleet_store::Account;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::budgets::unknown::{Unknown, hint_of_prices};
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::task::{self, Costs};

/// Show what was spent: by task, crew, agent, batch, run, day, model or repository
///
/// All of fleet's account is in it, or with TASK that task with all of its parts. Every way of grouping has the same sum.
/// What nobody knows is said to be unknown and is in no sum; `~` stands before a sum with estimates in it.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostOf {
    /// Only this task and its parts
    #[arg(value_name = "TASK")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What to group by: task, crew, agent, batch, run, day (UTC), model, repo
    #[arg(long, default_value = "task")]
    #[serde(default = "by_task")]
    pub by: String,
    /// Only what was spent in this repository
    #[arg(long)]
    #[serde(default)]
    pub here: bool,
    /// Only what was spent since this day (UTC), such as 2026-11-21, or in so many days before now
    #[arg(long, value_name = "DAY|DAYS")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Draw a bar for each group
    #[arg(long, conflicts_with = "csv")]
    #[serde(default)]
    pub chart: bool,
    /// Print CSV, amounts in US dollars; what is not known is empty
    #[arg(long)]
    #[serde(default)]
    pub csv: bool,
}

fn by_task() -> String {
    By::Task.as_str().to_owned()
}

/// One group.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GroupCost {
    /// What all of it shares; none for what has nothing of the kind, such as no task.
    pub name: Option<String>,
    /// What it cost.
    pub cost: Cost,
    /// Its part of everything that is known, in percent; none where that is nothing.
    pub share_percent: Option<f64>,
}

/// What was spent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Spent {
    /// What it is grouped by.
    pub by: By,
    /// The dearest group first; days in their order.
    pub groups: Vec<GroupCost>,
    /// All of it.
    pub total: Cost,
    /// Models that have no price, where that is why a cost is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpriced: Vec<String>,
    /// Whether a cost is not known for another reason: nobody has told what was used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_untold: bool,
    /// How it is to be shown.
    #[serde(skip)]
    #[schemars(skip)]
    form: Form,
}

#[derive(Clone, Copy, Debug, Default)]
enum Form {
    #[default]
    Table,
    Chart,
    Csv,
}

impl Operation for CostOf {
    const NAME: &'static str = "task.cost";
    const EFFECT: Effect = Effect::Read;
    type Output = Spent;

    fn run(self, app: &App, caller: &Caller) -> Result<Spent> {
        let by: By = self.by.parse()?;
        let since = self.since.as_deref().map(|text| since(text, app.now())).transpose()?;
        let here = match self.here {
            true => Some(task::key(&task::repo(app, caller)?)?),
            false => None,
        };
        let root = self.id.as_deref().map(task::parse).transpose()?;
        if let Some(root) = root {
            let _ = task::require_task(app, root)?;
        }
        let costs = Costs::now(app)?;
        let is_meant = |each: &&Account| {
            since.is_none_or(|since| each.entry.at >= since)
                && here.as_ref().is_none_or(|here| each.repo == *here)
                && root
                    .is_none_or(|root| task::task_of(each).is_some_and(|id| task::is_part_of(&costs.tasks, id, root)))
        };
        let entries: Vec<&Account> = costs.entries.iter().filter(is_meant).collect();
        let repos: HashSet<&str> = entries.iter().map(|each| each.repo.as_str()).collect();
        let named = entries
            .iter()
            .map(|each| (name(&costs, by, each, repos.len() > 1), &each.entry));
        let (mut groups, sum) = group(named);
        if by == By::Day {
            groups.sort_by(|a, b| a.name.cmp(&b.name));
        }
        let share = |micros: u64| match sum.cost.micros() {
            0 => None,
            all => Some((micros as f64 * 1000.0 / all as f64).round() / 10.0),
        };
        let mut unknown = Unknown::default();
        if sum.unknown > 0 {
            let prices = app.prices().ok();
            unknown.add(prices.as_ref(), entries.iter().map(|each| &each.entry), Self::NAME);
        }
        Ok(Spent {
            by,
            unpriced: unknown.unpriced.into_iter().collect(),
            is_untold: !unknown.untold.is_empty(),
            groups: groups
                .into_iter()
                .map(|each| GroupCost {
                    name: each.name,
                    cost: Cost::from(&each.total),
                    share_percent: share(each.total.cost.micros()),
                })
                .collect(),
            total: Cost::from(&sum),
            form: match (self.chart, self.csv) {
                (true, _) => Form::Chart,
                (_, true) => Form::Csv,
                _ => Form::Table,
            },
        })
    }
}

/// The group of an entry.
fn name(costs: &Costs, by: By, each: &Account, several_repos: bool) -> Option<String> {
    let id: Option<TaskId> = task::task_of(each);
    let folder = each.repo.trim_end_matches("/.git");
    match by {
        By::Task => id.map(|id| id.to_string()),
        By::Crew => id.and_then(|id| costs.tasks.get(&id)?.crew.clone()),
        By::Agent if several_repos => Some(format!(
            "{}/{}",
            folder.rsplit('/').next().unwrap_or(folder),
            each.branch
        )),
        By::Agent => Some(each.branch.clone()),
        By::Batch => Some(each.batch.clone()),
        By::Run => each.run.clone(),
        By::Day => Some(each.entry.at.date()),
        By::Model => each.entry.model.clone(),
        By::Repo => Some(folder.to_owned()),
    }
}

/// The moment that `--since` means.
fn since(text: &str, now: Time) -> Result<Time> {
    let days: Option<u32> = text.parse().ok().filter(|days| *days <= 36_500);
    let day = || format!("{text}T00:00:00Z").parse().ok();
    days.map(|days| now.days_before(days)).or_else(day).ok_or_else(|| {
        Error::usage(format!("`--since {text}` is no day")).hint("give a day such as 2026-11-21, or a number of days")
    })
}

impl Spent {
    fn label(&self, name: Option<&String>) -> String {
        match name {
            Some(name) => name.clone(),
            None => format!("(no {})", self.by.as_str()),
        }
    }

    fn table(&self, page: &mut Page) {
        let share = |percent: Option<f64>| percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1} %"));
        let row = |name: String, label, cost: &Cost, percent: Option<f64>| {
            let tokens = cost.tokens;
            vec![
                span(label, name),
                plain(cost.to_string()),
                plain(share(percent)),
                plain((tokens.input + tokens.cached + tokens.cache_write).to_string()),
                plain(tokens.output.to_string()),
            ]
        };
        let mut rows: Vec<_> = self
            .groups
            .iter()
            .map(|each| {
                row(
                    self.label(each.name.as_ref()),
                    Label::Name,
                    &each.cost,
                    each.share_percent,
                )
            })
            .collect();
        rows.push(row("all".to_owned(), Label::Heading, &self.total, None));
        page.table(&[self.by.as_str(), "cost", "share", "tokens read", "written"], rows);
    }

    fn chart(&self, page: &mut Page) {
        const WIDTH: u64 = 40;
        let most = self
            .groups
            .iter()
            .filter_map(|each| each.cost.usd)
            .max()
            .map_or(0, |usd| usd.micros());
        let rows = self.groups.iter().map(|each| {
            let part = each.cost.usd.map_or(0, |usd| usd.micros());
            // What costs anything has a bar that can be seen.
            let length = match (part, most) {
                (0, _) | (_, 0) => 0,
                (part, most) => (u128::from(part) * u128::from(WIDTH)).div_ceil(u128::from(most)) as usize,
            };
            vec![
                span(Label::Name, self.label(each.name.as_ref())),
                plain(format!("{:<width$}", "█".repeat(length), width = WIDTH as usize)),
                plain(each.cost.to_string()),
            ]
        });
        let mut rows: Vec<_> = rows.collect();
        rows.push(vec![
            span(Label::Heading, "all"),
            plain(String::new()),
            plain(self.total.to_string()),
        ]);
        page.table(&[self.by.as_str(), "", "cost"], rows);
    }

    fn csv(&self) -> String {
        let mut text = format!(
            "{},cost_usd,complete,unknown_entries,estimated_entries,input_tokens,cached_tokens,cache_write_tokens,\
             output_tokens\n",
            self.by.as_str()
        );
        for each in &self.groups {
            let cost = &each.cost;
            let usd = cost
                .usd
                .map(|usd| format!("{}.{:06}", usd.micros() / 1_000_000, usd.micros() % 1_000_000));
            let tokens = cost.tokens;
            text.push_str(&format!(
                "{},{},{},{},{},{},{},{},{}\n",
                field(each.name.as_deref().unwrap_or_default()),
                usd.unwrap_or_default(),
                cost.complete,
                cost.unknown_entries,
                cost.estimated_entries,
                tokens.input,
                tokens.cached,
                tokens.cache_write,
                tokens.output,
            ));
        }
        text
    }
}

/// A field of CSV (RFC 4180). One that a spreadsheet would take for a formula begins with an apostrophe.
fn field(text: &str) -> String {
    let text = match text.starts_with(['=', '+', '-', '@', '\t']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

impl Show for Spent {
    fn show(&self, page: &mut Page) {
        match self.form {
            Form::Csv => return page.raw(self.csv()),
            _ if self.groups.is_empty() => return page.line("nothing was spent that fleet knows of"),
            Form::Table => self.table(page),
            Form::Chart => self.chart(page),
        }
        if let Some(hint) = hint_of_prices(&self.unpriced) {
            page.hint(hint);
        }
        if self.is_untold {
            let whose = "`fleet task cost --by agent` tells whose it is";
            page.hint(format!("nobody has told what some of it used: {whose}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_csv_is_quoted_where_it_must_be_and_never_a_formula() {
        for (text, wanted) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=1+1", "'=1+1"),
            ("-2", "'-2"),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(field(text), wanted);
        }
    }

    #[test]
    fn a_day_or_a_number_of_days_is_a_moment_and_nothing_else_is() {
        let now = Time(1_795_000_000_000);
        assert_eq!(since("0", now).expect("now"), now);
        assert_eq!(since("1", now).expect("a day").0, now.0 - 86_400_000);
        assert_eq!(since("1970-01-02", now).expect("a date"), Time(86_400_000));
        for bad in ["", "yesterday", "-1", "2026-13-01", "99999999"] {
            assert!(since(bad, now).is_err(), "{bad}");
        }
    }
}
