//! `task promote`: a follow-up becomes a task, or a request to another project.

use std::path::PathBuf;

use clap::Args;
use fleet_core::task::{FollowUp, Task, title_key};
use fleet_core::{Error, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{plain_word, priority};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::task;

/// Make tasks of what is left to do after a task, each title once
///
/// With --to it becomes a request to another project instead: a file in .fleet/federation/outbox.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// The task that named it
    #[arg(value_name = "TASK")]
    pub id: String,
    /// Which of its follow-ups: numbers as `follow-ups` shows them, or titles
    #[arg(required_unless_present = "all")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follow_ups: Vec<String>,
    /// All that are no tasks yet
    #[arg(long, conflicts_with = "follow_ups")]
    #[serde(default)]
    pub all: bool,
    /// How much it matters: low, medium, high, critical [default: as its crew says]
    #[arg(long, value_name = "WORD")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// Ask this project for it, in place of making a task
    #[arg(long, value_name = "NAME")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What was made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Promoted {
    /// The new tasks.
    pub tasks: Vec<Task>,
    /// The requests that were written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<PathBuf>,
    /// What was made a task or a request before, and is not made again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
}

impl Operation for Promote {
    const NAME: &'static str = "task.promote";
    const EFFECT: Effect = Effect::Write;
    type Output = Promoted;

    fn run(self, app: &App, caller: &Caller) -> Result<Promoted> {
        let from = task::require_task(app, task::parse(&self.id)?)?;
        let to = self.to.as_deref().map(|name| plain_word("--to", name)).transpose()?;
        let priority = self.priority.as_deref().map(priority).transpose()?;
        let wanted: Vec<&FollowUp> = match self.all {
            true => from.follow_ups.iter().collect(),
            false => self
                .follow_ups
                .iter()
                .map(|named| find(&from, named))
                .collect::<Result<_>>()?,
        };
        let mut done = Promoted {
            tasks: Vec::new(),
            requests: Vec::new(),
            before: Vec::new(),
        };
        for each in wanted {
            let made = match &to {
                Some(to) => {
                    let asked = FollowUp {
                        priority: priority.unwrap_or(each.priority),
                        ..each.clone()
                    };
                    task::outbox::ask(app, &from, &asked, to).map(|path| done.requests.push(path))
                }
                None => task::promote(app, caller, &from, each, priority).map(|task| done.tasks.push(task)),
            };
            match made {
                Err(error) if error.kind == Kind::Conflict => done.before.push(error.message),
                other => other?,
            }
        }
        Ok(done)
    }
}

/// The follow-up that `named` means. Error: there is none.
fn find<'a>(from: &'a Task, named: &str) -> Result<&'a FollowUp> {
    let by_number = named
        .parse()
        .ok()
        .and_then(|number: usize| from.follow_ups.get(number.checked_sub(1)?));
    let key = title_key(named);
    let by_title = || from.follow_ups.iter().find(|each| title_key(&each.title) == key);
    by_number.or_else(by_title).ok_or_else(|| {
        Error::not_found(format!("{} has no follow-up `{named}`", from.id))
            .hint(format!("see what it has: `fleet task follow-ups {}`", from.id))
    })
}

impl Show for Promoted {
    fn show(&self, page: &mut Page) {
        for task in &self.tasks {
            page.spans(vec![
                span(Label::Name, task.id.to_string()),
                plain(format!(": {}", task.title)),
            ]);
        }
        for path in &self.requests {
            page.line(format!("written {}", path.display()));
        }
        for before in &self.before {
            page.warning(before.clone());
        }
        if self.tasks.is_empty() && self.requests.is_empty() {
            page.line("nothing new was made");
        }
    }
}
