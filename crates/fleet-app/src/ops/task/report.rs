//! `task report`: what crews say of their tasks.

use clap::Args;
use fleet_core::name::plural;
use fleet_core::{Error, Kind, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::ops::started::local_text;
use crate::page::{Label, Page, Show, plain, span};
use crate::task::{self, Heard, Reception, hook};

/// Store each block FLEET_REPORT of a text, such as the last message of a crew
///
/// A block names its task by `fleet_task_id`. What it says of cost is kept beside fleet's account and never taken for it.
/// A block that cannot be read, or is of somebody else's task, changes nothing and is noted.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The text; @FILE reads a file, - reads standard input
    #[arg(allow_hyphen_values = true)]
    pub text: String,
    /// The text is an event that Claude Code gives to a hook: JSON, with the message in it
    #[arg(long)]
    #[serde(default)]
    pub hook: bool,
}

/// What was heard.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// Its blocks, and the tasks of which it says that work has begun.
    #[serde(flatten)]
    pub heard: Heard,
    /// Whether a hook has asked: it has nobody to tell of a failure.
    #[serde(skip)]
    #[schemars(skip)]
    hook: bool,
}

impl Operation for Report {
    const NAME: &'static str = "task.report";
    const EFFECT: Effect = Effect::Write;
    type Output = Told;

    fn read_local(&mut self, read: &dyn Fn(&str) -> Result<String>) -> Result<()> {
        let mut text = Some(std::mem::take(&mut self.text));
        local_text(&mut text, read)?;
        self.text = text.unwrap_or_default();
        Ok(())
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Told> {
        let repo = task::repo(app, caller)?;
        let heard = match self.hook {
            true => {
                let event: Value = serde_json::from_str(&self.text)
                    .map_err(|error| Error::usage(format!("the event of a hook is no JSON: {error}")))?;
                hook::take(app, caller, &repo, &event)?
            }
            false => task::hear(app, caller, &repo, &self.text)?,
        };
        if heard.reports.is_empty() && !self.hook {
            return Err(Error::usage("there is no block `FLEET_REPORT` in the text")
                .hint("see what one looks like: docs/reference/tasks.md"));
        }
        Ok(Told { heard, hook: self.hook })
    }
}

impl Show for Told {
    fn show(&self, page: &mut Page) {
        for task in &self.heard.begun {
            page.spans(vec![span(Label::Name, task.to_string()), plain(": work has begun")]);
        }
        for each in &self.heard.reports {
            let (label, what) = match each.reception {
                Reception::Stored => (Label::Good, "stored"),
                Reception::Known => (Label::Dim, "known already"),
                Reception::Doubled => (Label::Warn, "doubled"),
                Reception::Refused => (Label::Bad, "refused"),
            };
            let name = each.task.map_or_else(|| "a report".to_owned(), |id| id.to_string());
            page.spans(vec![span(Label::Name, name), plain(": "), span(label, what)]);
            for note in &each.notes {
                page.warning(note.clone());
            }
        }
        let refused = self.heard.refused();
        if refused > 0 && !self.hook {
            page.hint(format!(
                "{} changed nothing: see docs/reference/tasks.md",
                plural(refused, "block")
            ));
        }
    }

    fn failed(&self) -> Option<Kind> {
        (!self.hook && self.heard.refused() > 0).then_some(Kind::Usage)
    }
}
