//! `task end`: the end of a task of which no report came.

use clap::Args;
use fleet_core::task::Task;
use fleet_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{standing, status};
use crate::app::App;
use crate::budgets;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::task;

/// End a task of which no report came
///
/// Its agents are not touched: end those with `fleet kill`.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// Its id
    #[arg(value_name = "TASK")]
    pub id: String,
    /// How it ended: completed, partial, failed, over_budget, cancelled
    #[arg(long, default_value = "cancelled")]
    #[serde(default = "cancelled")]
    pub status: String,
}

fn cancelled() -> String {
    "cancelled".to_owned()
}

/// The task that was ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// Its record.
    pub task: Task,
}

impl Operation for End {
    const NAME: &'static str = "task.end";
    const EFFECT: Effect = Effect::Write;
    type Output = Ended;

    fn run(self, app: &App, _caller: &Caller) -> Result<Ended> {
        let to = standing(&self.status)?;
        if !to.is_final() {
            return Err(Error::usage(format!("`{}` is no end", to.as_str()))
                .hint("one of completed, partial, failed, over_budget, cancelled"));
        }
        let id = task::parse(&self.id)?;
        let record = task::require_task(app, id)?;
        if !app.store()?.task_end("task.end", id, to, app.now())? {
            return Err(
                Error::conflict(format!("the task {id} has ended already: {}", record.status.as_str()))
                    .hint(format!("see it: `fleet task show {id}`")),
            );
        }
        task::publish(app, &task::repo_of(&record), id)?;
        budgets::end_part(app, id)?;
        Ok(Ended {
            task: task::require_task(app, id)?,
        })
    }
}

impl Show for Ended {
    fn show(&self, page: &mut Page) {
        page.spans(vec![
            span(Label::Name, self.task.id.to_string()),
            plain(": "),
            status(self.task.status),
        ]);
    }
}
