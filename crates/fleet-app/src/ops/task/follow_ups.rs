//! `task follow-ups`: what is left to do.

use clap::Args;
use fleet_core::Result;
use fleet_core::report::Priority;
use fleet_core::task::{FollowUp, TaskId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::task;

/// List what crews say is left to do after their tasks
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowUps {
    /// Only those of this task
    #[arg(value_name = "TASK")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Those too that are tasks by now
    #[arg(long)]
    #[serde(default)]
    pub all: bool,
}

/// One of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Left {
    /// The task that named it.
    pub task: TaskId,
    /// Its number there, from 1.
    pub number: usize,
    /// It.
    #[serde(flatten)]
    pub follow_up: FollowUp,
}

/// All of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AllLeft {
    /// What matters most first.
    pub follow_ups: Vec<Left>,
}

impl Operation for FollowUps {
    const NAME: &'static str = "task.follow-ups";
    const EFFECT: Effect = Effect::Read;
    type Output = AllLeft;

    fn run(self, app: &App, caller: &Caller) -> Result<AllLeft> {
        let tasks = match &self.id {
            Some(id) => vec![task::require_task(app, task::parse(id)?)?],
            None => app.store()?.tasks(Some(&task::key(&task::repo(app, caller)?)?))?,
        };
        let named = tasks.into_iter().flat_map(|task| {
            let of_task = task.follow_ups.into_iter().enumerate();
            of_task.map(move |(place, follow_up)| Left {
                task: task.id,
                number: place + 1,
                follow_up,
            })
        });
        let mut follow_ups: Vec<Left> = named
            .filter(|each| self.all || each.follow_up.promoted.is_none())
            .collect();
        follow_ups.sort_by_key(|each| urgency(each.follow_up.priority));
        Ok(AllLeft { follow_ups })
    }
}

/// What matters most first.
fn urgency(priority: Priority) -> u8 {
    match priority {
        Priority::Critical => 0,
        Priority::High => 1,
        Priority::Medium => 2,
        Priority::Low => 3,
    }
}

impl Show for AllLeft {
    fn show(&self, page: &mut Page) {
        let Some(first) = self.follow_ups.first() else {
            page.line("nothing is left to do");
            return;
        };
        let rows = self.follow_ups.iter().map(|each| {
            let promoted = each
                .follow_up
                .promoted
                .map_or_else(|| "-".to_owned(), |id| id.to_string());
            vec![
                span(Label::Name, each.task.to_string()),
                plain(each.number.to_string()),
                plain(each.follow_up.priority.as_str()),
                plain(promoted),
                plain(each.follow_up.title.clone()),
            ]
        });
        page.table(&["after", "no.", "priority", "task", "title"], rows.collect());
        page.hint(format!(
            "make a task of one: `fleet task promote {} {}`",
            first.task, first.number
        ));
    }
}
