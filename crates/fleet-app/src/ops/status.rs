//! `status`: how runs stand.

use clap::Args;
use fleet_core::Result;
use fleet_core::name::{plural, word};
use fleet_core::time::age;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::runs;
use crate::runs::view::{self, RunRecord};

/// Show how a run stands: a line for each worker, what it has cost, and what happened last
///
/// Without a fleet root: every run that goes on, and with --all those that are over.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// A fleet root, its fleet.json, or the name or id of a run
    #[arg(value_name = "ROOT")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Runs that are over, too
    #[arg(long)]
    #[serde(default)]
    pub all: bool,
    /// As a report in Markdown, with everything that happened
    #[arg(long, requires = "run")]
    #[serde(default)]
    pub report: bool,
}

/// How runs stand.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// The runs, newest first; one where one was named.
    pub runs: Vec<RunRecord>,
    /// Whether one was named.
    #[serde(skip)]
    #[schemars(skip)]
    one: bool,
    #[serde(skip)]
    #[schemars(skip)]
    report: bool,
    /// How many agents live outside of runs.
    pub agents: usize,
}

impl Operation for Status {
    const NAME: &'static str = "status";
    const EFFECT: Effect = Effect::Read;
    type Output = Standing;

    fn run(self, app: &App, caller: &Caller) -> Result<Standing> {
        if let Some(target) = &self.run {
            let run = runs::find(app, caller, Some(target))?;
            let mut record = view::record(app, &run)?;
            view::look_ahead(app, &run, &mut record);
            if self.report {
                let events = app.store()?.run_events(&run.id, 0)?;
                record.events = events.into_iter().map(|(_, event)| event.into()).collect();
            }
            return Ok(Standing {
                runs: vec![record],
                one: true,
                report: self.report,
                agents: 0,
            });
        }
        let store = app.store()?;
        let wanted = store.runs()?.into_iter().filter(|run| self.all || run.finish.is_none());
        let runs: Result<Vec<RunRecord>> = wanted.map(|run| view::record(app, &run)).collect();
        let runs = runs?;
        let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        let live = store.agents_live()?;
        let agents = live
            .iter()
            .filter(|agent| !names.contains(&agent.batch_id.as_str()))
            .count();
        Ok(Standing {
            runs,
            one: false,
            report: false,
            agents,
        })
    }
}

impl Show for Standing {
    fn show(&self, page: &mut Page) {
        if let (true, Some(run)) = (self.one, self.runs.first()) {
            return match self.report {
                true => page.raw(markdown(run)),
                false => show_one(run, page),
            };
        }
        if self.runs.is_empty() {
            page.line("no run goes on");
            page.hint("start one: `fleet launch ROOT`; to see those that are over: `fleet status --all`".to_owned());
        } else {
            let rows = self.runs.iter().map(|run| {
                vec![
                    span(Label::Name, &run.name),
                    run.state_span(),
                    plain(run.counts()),
                    plain(run.spent()),
                    plain(run.root.display().to_string()),
                ]
            });
            page.table(&["RUN", "STATE", "WORKERS", "SPENT", "FLEET ROOT"], rows.collect());
        }
        if self.agents > 0 {
            page.line(format!(
                "{} outside of runs: `fleet list`",
                plural(self.agents, "agent")
            ));
        }
    }
}

fn show_one(run: &RunRecord, page: &mut Page) {
    run.show(page);
    let root = run.root.to_string_lossy();
    let root = word(&root);
    match (run.state.as_str(), run.plan_type.as_str()) {
        ("paused", _) => page.hint(format!("go on: `fleet resume {root}`")),
        ("unattended" | "stopped" | "failed" | "over budget", _) => page.hint(format!("go on: `fleet launch {root}`")),
        ("done", "worktree") => page.hint(format!("land the branches: `fleet merge {root} --dry-run`")),
        _ => {}
    }
}

fn markdown(run: &RunRecord) -> String {
    let mut text = format!("# {}\n\n", run.name);
    let mut line = |name: &str, value: String| text.push_str(&format!("- {name}: {value}\n"));
    line("type", run.plan_type.clone());
    line("state", run.state.clone());
    if let Some(about) = &run.about {
        line("about", about.clone());
    }
    line("spent", run.spent());
    line("launched", run.created_at.to_string());
    if let Some(ended) = run.ended_at {
        line("ended", format!("{ended}, after {}", age(ended.since(run.created_at))));
    }
    line("fleet root", run.root.display().to_string());
    text.push_str("\n| worker | state | tries | time | cost (USD) | branch | about |\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for worker in &run.workers {
        let cost = match worker.spent_unknown {
            true => "unknown".to_owned(),
            false => format!("{:.2}", worker.spent_usd),
        };
        text.push_str(&format!(
            "| {} | {} | {} | {} | {cost} | {} | {} |\n",
            worker.id,
            worker.state.as_str(),
            worker.attempts,
            worker.seconds.map(|seconds| age(seconds * 1000)).unwrap_or_default(),
            worker.branch.clone().unwrap_or_default(),
            worker.about.replace('|', "\\|"),
        ));
    }
    if !run.rounds.is_empty() {
        text.push_str("\n| round | verdict | metric | kept |\n| --- | --- | --- | --- |\n");
        for round in &run.rounds {
            text.push_str(&format!(
                "| {} | {} | {} | {} |\n",
                round.round,
                round.verdict.clone().unwrap_or_default(),
                round.metric.map(|metric| metric.to_string()).unwrap_or_default(),
                round
                    .kept
                    .map(|kept| if kept { "yes" } else { "no" })
                    .unwrap_or_default(),
            ));
        }
    }
    for conflict in &run.conflicts {
        text.push_str(&format!(
            "\n- in conflict: {} and {}, in {}",
            conflict.a,
            conflict.b,
            conflict.files.join(", ")
        ));
    }
    for each in &run.undeclared {
        text.push_str(&format!(
            "\n- not declared: {} changes {}",
            each.worker,
            each.files.join(", ")
        ));
    }
    text.push_str("\n## What happened\n\n");
    for event in &run.events {
        let worker = event
            .worker
            .as_ref()
            .map(|worker| format!(" {worker}"))
            .unwrap_or_default();
        text.push_str(&format!("- {}{worker} {}: {}\n", event.at, event.event, event.about));
    }
    text
}
