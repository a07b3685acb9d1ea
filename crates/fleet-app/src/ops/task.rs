//! `task`: units of paid work, from being given out to what is left to do after them.

pub mod blame;
pub mod cost;
pub mod create;
pub mod end;
pub mod follow_ups;
pub mod list;
pub mod promote;
pub mod report;
pub mod show;

pub use blame::Blame;
pub use cost::CostOf;
pub use create::Create;
pub use end::End;
pub use follow_ups::FollowUps;
pub use list::List;
pub use promote::Promote;
pub use report::Report;
pub use show::Show;

use fleet_core::name::word;
use fleet_core::report::Priority;
use fleet_core::task::cost::{Cost, Node};
use fleet_core::task::{Standing, Task, TaskId};
use fleet_core::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::page::{Label, Span, span};
use crate::task::Costs;

/// A task and what it cost.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Priced {
    /// The record.
    #[serde(flatten)]
    pub task: Task,
    /// What it cost by fleet's account, with all of its parts.
    pub cost: Cost,
    /// What of that is its own.
    pub own_cost: Cost,
    /// The task in whose cost it is, where a sub-agent worked for it and its program does not tell what that has used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_within: Option<TaskId>,
}

impl Priced {
    fn of(task: Task, costs: &Costs) -> Priced {
        let Node { own, whole } = costs.of(task.id);
        Priced {
            cost_within: costs.within(&task),
            task,
            cost: Cost::from(&whole),
            own_cost: Cost::from(&own),
        }
    }

    /// Its cost in words, and behind it what its crew says where the account has nothing.
    fn shown(&self) -> String {
        match (self.cost.usd, self.task.reported) {
            (None, Some(reported)) => format!("{} (reported {reported})", self.own_words()),
            _ => self.own_words(),
        }
    }

    /// Its cost in words, and where it is counted if not here.
    fn own_words(&self) -> String {
        match self.cost_within {
            Some(whole) => format!("unknown (part of {whole})"),
            None => self.cost.to_string(),
        }
    }
}

fn status(standing: Standing) -> Span {
    let label = match standing {
        Standing::Open | Standing::Cancelled => Label::Dim,
        Standing::Running => Label::Plain,
        Standing::Completed => Label::Good,
        Standing::Partial | Standing::OverBudget => Label::Warn,
        Standing::Failed => Label::Bad,
    };
    span(label, standing.as_str())
}

/// A word that a person gives, such as the kind of work. Error: it is none.
fn plain_word(flag: &str, text: &str) -> Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=40).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(Error::usage(format!("{} is no word for `{flag}`", word(text)))
        .hint("take letters, digits, `-`, `_` and `.`, at most 40"))
}

/// How much something matters, as it is typed. Error: it is no such word.
fn priority(text: &str) -> Result<Priority> {
    let all = [Priority::Low, Priority::Medium, Priority::High, Priority::Critical];
    all.into_iter().find(|each| each.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|each| each.as_str()).collect();
        Error::usage(format!("{} is no priority", word(text))).hint(format!("the words are {}", names.join(", ")))
    })
}

/// How a task stands, as it is typed. Error: it is no such word.
fn standing(text: &str) -> Result<Standing> {
    let all = Standing::ALL;
    all.iter().copied().find(|each| each.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|each| each.as_str()).collect();
        Error::usage(format!("no task stands at {}", word(text))).hint(format!("the words are {}", names.join(", ")))
    })
}
