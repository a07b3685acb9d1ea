//! `task list`: how tasks stand, and what they cost so far.

use clap::Args;
use fleet_core::time::age;
use fleet_core::{Result, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Priced, standing, status};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::task::{self, Costs};

/// List the tasks of this repository, with their cost
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Those of all repositories
    #[arg(long)]
    #[serde(default)]
    pub all: bool,
    /// Only those that stand so: open, running, completed, partial, failed, over_budget, cancelled
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Only this one and its parts
    #[arg(long, value_name = "TASK")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// Tasks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tasks {
    /// Oldest first.
    pub tasks: Vec<Priced>,
    /// For ages.
    #[serde(skip, default = "zero")]
    #[schemars(skip)]
    now: Time,
}

fn zero() -> Time {
    Time(0)
}

impl Operation for List {
    const NAME: &'static str = "task.list";
    const EFFECT: Effect = Effect::Read;
    type Output = Tasks;

    fn run(self, app: &App, caller: &Caller) -> Result<Tasks> {
        let wanted = self.status.as_deref().map(standing).transpose()?;
        let root = self.parent.as_deref().map(task::parse).transpose()?;
        if let Some(root) = root {
            let _ = task::require_task(app, root)?;
        }
        let repo = match self.all {
            true => None,
            false => Some(task::key(&task::repo(app, caller)?)?),
        };
        let costs = Costs::now(app)?;
        let mut tasks = app.store()?.tasks(repo.as_deref())?;
        tasks.retain(|task| {
            wanted.is_none_or(|wanted| task.status == wanted)
                && root.is_none_or(|root| task::is_part_of(&costs.tasks, task.id, root))
        });
        let tasks = tasks.into_iter().map(|task| Priced::of(task, &costs)).collect();
        Ok(Tasks { tasks, now: app.now() })
    }
}

impl Show for Tasks {
    fn show(&self, page: &mut Page) {
        if self.tasks.is_empty() {
            page.line("no tasks");
            page.hint("record one: `fleet task create TITLE`");
            return;
        }
        let rows = self.tasks.iter().map(|each| {
            let task = &each.task;
            vec![
                span(Label::Name, task.id.to_string()),
                status(task.status),
                plain(task.crew.clone().unwrap_or_else(|| "-".to_owned())),
                plain(task.kind.clone()),
                plain(each.shown()),
                plain(age(self.now.since(task.created_at))),
                plain(task.title.clone()),
            ]
        });
        page.table(
            &["id", "status", "crew", "kind", "cost", "age", "title"],
            rows.collect(),
        );
    }
}
