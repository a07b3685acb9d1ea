//! `task create`: a record before the work.

use clap::Args;
use fleet_core::money::Usd;
use fleet_core::task::{self as rules, Task};
use fleet_core::{Error, Result};
use fleet_store::NewTask;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{plain_word, priority};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::task;

/// Record a task before it is given out, and print its id
///
/// A captain makes one for each crew before it dispatches it: to an agent with `fleet create --task`, to a sub-agent by a
/// line `fleet_task_id: ID` in its prompt. Within an agent that works for a task, the new one is a part of that.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// What is to be done, in a line
    pub title: String,
    /// Who is to do it, such as `api` or `security`
    #[arg(long, value_name = "NAME")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crew: Option<String>,
    /// What kind of work it is: `crew`, `officer` for a specialist that only reads, or a word of your own [default: crew]
    #[arg(long, value_name = "WORD")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How much it matters: low, medium, high, critical
    #[arg(long, value_name = "WORD")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// The task that it is a part of [default: the one that the caller works for]
    #[arg(long, value_name = "TASK")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its share of the money in US dollars; the shares of all parts stay within that of the whole
    #[arg(long, value_name = "USD")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<f64>,
    /// The model that it is meant for
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How thorough it is to be: quick, standard, thorough, exhaustive
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intensity: Option<String>,
    /// How another program calls it; asked for again under the same name, the same task is the answer
    #[arg(long, value_name = "NAME")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<String>,
}

/// The new task.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// Its record.
    pub task: Task,
}

impl Operation for Create {
    const NAME: &'static str = "task.create";
    const EFFECT: Effect = Effect::Write;
    type Output = Created;

    fn run(self, app: &App, caller: &Caller) -> Result<Created> {
        let repo = task::repo(app, caller)?;
        let title = rules::title(&self.title)
            .ok_or_else(|| Error::usage("the title says nothing").hint("say in a line what is to be done"))?;
        let ceiling = self.ceiling.map(ceiling).transpose()?;
        let word = |flag, text: Option<String>| text.map(|text| plain_word(flag, &text)).transpose();
        let new = NewTask {
            title,
            kind: word("--kind", self.kind)?.unwrap_or_else(|| "crew".to_owned()),
            crew: word("--crew", self.crew)?,
            priority: self.priority.as_deref().map(priority).transpose()?,
            parent: self.parent.as_deref().map(task::parse).transpose()?,
            model: self.model,
            intensity: self.intensity.as_deref().map(intensity).transpose()?,
            ceiling,
            external: self.external.map(external).transpose()?,
            ..NewTask::default()
        };
        Ok(Created {
            task: task::create(app, caller, &repo, new)?,
        })
    }
}

/// How another program calls a task. Error: it is no name.
fn external(name: String) -> Result<String> {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    match (1..=128).contains(&name.chars().count()) && !name.contains(odd) {
        true => Ok(name),
        false => Err(Error::usage("`--external` is no name").hint("give 1 to 128 characters without blanks")),
    }
}

/// An amount that a task may cost. Error: it is none.
fn ceiling(amount: f64) -> Result<Usd> {
    Usd::new(amount).filter(|usd| !usd.is_zero()).ok_or_else(|| {
        Error::usage(format!("`--ceiling {amount}` is no amount that may be spent"))
            .hint("give US dollars above 0, such as `--ceiling 2.50`")
    })
}

/// A word for how thorough. Error: it is none.
pub(crate) fn intensity(text: &str) -> Result<String> {
    const WORDS: [&str; 4] = ["quick", "standard", "thorough", "exhaustive"];
    match WORDS.contains(&text) {
        true => Ok(text.to_owned()),
        false => {
            Err(Error::usage(format!("`{text}` is no intensity")).hint(format!("the words are {}", WORDS.join(", "))))
        }
    }
}

impl Show for Created {
    fn show(&self, page: &mut Page) {
        let id = self.task.id;
        page.spans(vec![
            span(Label::Name, id.to_string()),
            plain(format!(": {}", self.task.title)),
        ]);
        page.hint(format!(
            "give it to an agent: `fleet create BRANCH --task {id} -p PROMPT`; or write `fleet_task_id: {id}` into the \
             prompt of a sub-agent"
        ));
    }
}
