//! `task show`: everything that is known of one task.

use std::path::PathBuf;

use clap::Args;
use fleet_core::Result;
use fleet_core::agent::{Agent, Phase};
use fleet_core::budget::Scope;
use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::task::{Event, Task, TaskId, file};
use fleet_host::git::Repo;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Priced, status};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, plain, span};
use crate::record::AgentRecord;
use crate::task::{self, Costs};

/// Show a task: its parts and their cost, its commits, what is left to do, and what happened
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// Its id
    #[arg(value_name = "TASK")]
    pub id: String,
}

/// An agent that was started for a task.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Worker {
    /// Its id.
    pub id: AgentId,
    /// Its branch.
    pub branch: String,
    /// Its state; none where it has been ended.
    pub state: Option<String>,
}

/// Everything that is known of a task.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Details {
    /// The task and what it cost.
    #[serde(flatten)]
    pub task: Priced,
    /// The tasks that it was divided into.
    pub parts: Vec<Priced>,
    /// The agents that were started for it.
    pub agents: Vec<Worker>,
    /// The branch of the agent whose sub-agent worked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// What happened to it, oldest first.
    pub events: Vec<Event>,
    /// What of its ceiling is reserved for its agents, or promised to its parts, in USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_usd: Option<Usd>,
    /// What is left of its ceiling, in USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_usd: Option<Usd>,
    /// The folder with its files; none for a repository without a checkout.
    pub folder: Option<PathBuf>,
}

impl Operation for Show {
    const NAME: &'static str = "task.show";
    const EFFECT: Effect = Effect::Read;
    type Output = Details;

    fn run(self, app: &App, _caller: &Caller) -> Result<Details> {
        let id = task::parse(&self.id)?;
        let record = task::require_task(app, id)?;
        let costs = Costs::now(app)?;
        let mut parts: Vec<Task> = costs
            .tasks
            .values()
            .filter(|each| each.parent == Some(id))
            .cloned()
            .collect();
        parts.sort_by_key(|part| part.id);
        let room = app.store()?.room(&Scope::Task(id.to_string()), app.now())?;
        let root = Repo::of(record.repo.as_ref()).main_root;
        Ok(Details {
            agents: task::agents_of(app, id)?
                .iter()
                .map(|agent| worker(app, agent))
                .collect(),
            sender: sender(app, &record)?,
            events: app.store()?.task_events(&record.repo, Some(id))?,
            reserved_usd: room.map(|room| room.held),
            left_usd: room.map(|room| room.left()),
            folder: root.map(|root| root.join(file::folder(id))),
            parts: parts.into_iter().map(|part| Priced::of(part, &costs)).collect(),
            task: Priced::of(record, &costs),
        })
    }
}

fn sender(app: &App, task: &Task) -> Result<Option<String>> {
    let agent = task
        .sub_agent_of
        .as_ref()
        .map(|id| app.store()?.agent(id))
        .transpose()?;
    Ok(agent.flatten().map(|agent| agent.branch))
}

fn worker(app: &App, agent: &Agent) -> Worker {
    let is_over = agent.phase == Phase::Ended;
    Worker {
        id: agent.id.clone(),
        branch: agent.branch.clone(),
        state: (!is_over).then(|| AgentRecord::of(app, agent).state),
    }
}

impl crate::page::Show for Details {
    fn show(&self, page: &mut Page) {
        let task = &self.task.task;
        page.spans(vec![
            span(Label::Name, task.id.to_string()),
            plain(": "),
            status(task.status),
            plain(format!(", {}", task.title)),
        ]);
        let id = |id: Option<TaskId>| id.map(|id| id.to_string());
        let ended = task.ended_at.map(|at| at.to_string());
        let own = (self.task.own_cost != self.task.cost).then(|| self.task.own_cost.to_string());
        let then = if task.hard { "stops" } else { "pauses" };
        let left = self.left_usd.unwrap_or_default();
        let ceiling = task
            .ceiling
            .map(|usd| format!("{usd}, {left} are left; then it {then}"));
        let agent = |each: &Worker| format!("{} ({})", each.branch, each.state.as_deref().unwrap_or("ended"));
        let sender = task
            .sub_agent_of
            .as_ref()
            .map(|agent| self.sender.clone().unwrap_or_else(|| agent.to_string()));
        let agents = (!self.agents.is_empty()).then(|| self.agents.iter().map(agent).collect::<Vec<_>>().join(", "));
        let commits = (!task.commits.is_empty()).then(|| task.commits.join(", "));
        for (name, value) in [
            ("cost", Some(self.task.own_words())),
            ("own cost", own),
            ("reported", task.reported.map(|usd| usd.to_string())),
            ("ceiling", ceiling),
            ("crew", task.crew.clone()),
            ("kind", Some(task.kind.clone())),
            ("priority", task.priority.map(|priority| priority.as_str().to_owned())),
            ("part of", id(task.parent)),
            ("follow-up of", id(task.promoted_from)),
            ("known as", task.external.clone()),
            ("sub-agent of", sender),
            ("harness", task.harness.clone()),
            ("model", task.model.clone()),
            ("intensity", task.intensity.clone()),
            ("agents", agents),
            ("commits", commits),
            ("created", Some(task.created_at.to_string())),
            ("ended", ended),
            ("files", self.folder.as_ref().map(|folder| folder.display().to_string())),
        ] {
            if let Some(value) = value {
                page.line(format!("{name:13}{value}"));
            }
        }
        if !self.parts.is_empty() {
            let rows = self.parts.iter().map(|part| {
                vec![
                    span(Label::Name, part.task.id.to_string()),
                    status(part.task.status),
                    plain(part.task.crew.clone().unwrap_or_else(|| "-".to_owned())),
                    plain(part.shown()),
                    plain(part.task.title.clone()),
                ]
            });
            page.table(&["part", "status", "crew", "cost", "title"], rows.collect());
        }
        for (number, each) in task.follow_ups.iter().enumerate() {
            let promoted = each.promoted.map(|id| format!(" → {id}")).unwrap_or_default();
            let priority = each.priority.as_str();
            page.line(format!(
                "follow-up {}: {} ({priority}){promoted}",
                number + 1,
                each.title
            ));
        }
        for event in &self.events {
            page.line(format!("{} {}: {}", event.at, event.event, event.about));
        }
        if task.follow_ups.iter().any(|each| each.promoted.is_none()) {
            page.hint(format!(
                "make a task of a follow-up: `fleet task promote {} 1`",
                task.id
            ));
        }
    }
}
