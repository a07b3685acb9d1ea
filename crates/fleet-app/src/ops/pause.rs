//! `pause` and `stop`: what people want of a run.

use std::time::{Duration, Instant};

use clap::Args;
use fleet_core::name::word;
use fleet_core::run::{Control, Finish, record::Run};
use fleet_core::{Error, Kind, Result};
use fleet_host::supervise::client;
use fleet_store::Change;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::launch::note;
use super::started::seconds;
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::runs;
use crate::runs::view::{self, RunRecord};

/// Let a run start nothing more; what runs goes on to its end
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// A fleet root, or the name or id of a run [default: the fleet root around the current directory]
    #[arg(value_name = "ROOT")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// End a run: its workers are ended, their work stays, and `launch` goes on with it
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// A fleet root, or the name or id of a run [default: the fleet root around the current directory]
    #[arg(value_name = "ROOT")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Give up waiting for the end after this many seconds
    #[arg(long, value_name = "SECONDS")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
}

/// A run after something was asked of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// What was done, in a word: `paused`, `goes on`, `stopped`, `started over`; `is over: …` where it ended by itself.
    pub how: String,
    /// The run.
    pub run: RunRecord,
}

impl Operation for Pause {
    const NAME: &'static str = "pause";
    const EFFECT: Effect = Effect::Write;
    type Output = Asked;

    fn run(self, app: &App, caller: &Caller) -> Result<Asked> {
        let run = runs::find(app, caller, self.run.as_deref())?;
        refuse_over(&run)?;
        if run.control == Control::Stopping {
            return Err(Error::conflict(format!("`{}` is being stopped", run.name)));
        }
        note(
            app,
            &run.id,
            "paused",
            "by a person",
            &[Change::Control(Control::Paused, None)],
        )?;
        runs::wake(app, caller, &run.id)?;
        answer(app, &run, "paused")
    }
}

impl Operation for Stop {
    const NAME: &'static str = "stop";
    const EFFECT: Effect = Effect::Write;
    type Output = Asked;

    fn run(self, app: &App, caller: &Caller) -> Result<Asked> {
        const STEP: Duration = Duration::from_millis(20);
        const PATIENCE: Duration = Duration::from_secs(120);
        let limit = seconds(self.timeout)?.unwrap_or(PATIENCE);
        let run = runs::find(app, caller, self.run.as_deref())?;
        refuse_over(&run)?;
        note(
            app,
            &run.id,
            "stopping",
            "by a person",
            &[Change::Control(Control::Stopping, None)],
        )?;
        runs::wake(app, caller, &run.id)?;
        let deadline = Instant::now() + limit;
        loop {
            let now = app.store()?.run(&run.id)?;
            match now.map(|run| run.finish) {
                None | Some(Some(Finish::Stopped)) => return answer(app, &run, "stopped"),
                // It came to its end at that very moment.
                Some(Some(other)) => return answer(app, &run, &format!("is over: {}", other.as_str())),
                Some(None) => {}
            }
            if Instant::now() > deadline {
                return Err(
                    Error::new(Kind::Timeout, format!("`{}` is still being stopped", run.name)).hint(format!(
                        "see what runs: `fleet status {}`",
                        word(&run.root.to_string_lossy())
                    )),
                );
            }
            client::wait_any(&[], Instant::now() + STEP)?;
        }
    }
}

/// Goes on with a run that has paused.
pub(crate) fn go_on(app: &App, caller: &Caller, run: &Run) -> Result<Asked> {
    refuse_over(run)?;
    let plan = runs::plan_of(app, run)?;
    let mut changes = super::launch::forgive(app, run, &plan, false)?;
    changes.push(Change::Control(Control::Going, None));
    note(app, &run.id, "resumed", "by a person", &changes)?;
    super::launch::bring_up(app, caller, &run.id)?;
    answer(app, run, "goes on")
}

pub(crate) fn answer(app: &App, run: &Run, how: &str) -> Result<Asked> {
    let run = app
        .store()?
        .run(&run.id)?
        .ok_or_else(|| Error::internal("the run is not recorded"))?;
    Ok(Asked {
        how: how.to_owned(),
        run: view::record(app, &run)?,
    })
}

fn refuse_over(run: &Run) -> Result<()> {
    match run.finish {
        None => Ok(()),
        Some(finish) => {
            let root = run.root.to_string_lossy();
            let root = word(&root);
            Err(
                Error::conflict(format!("`{}` is over: {}", run.name, finish.as_str())).hint(match finish {
                    Finish::Done => format!("see what came of it: `fleet status {root}`"),
                    _ => format!("go on with it: `fleet launch {root}`"),
                }),
            )
        }
    }
}

impl Show for Asked {
    fn show(&self, page: &mut Page) {
        page.spans(vec![span(Label::Name, &self.run.name), plain(format!(" {}", self.how))]);
        page.line(self.run.counts());
        let root = self.run.root.to_string_lossy();
        let root = word(&root);
        match self.how.as_str() {
            "paused" => page.hint(format!("go on: `fleet resume {root}`")),
            "stopped" => page.hint(format!("go on: `fleet launch {root}`")),
            _ => page.hint(format!("see how it stands: `fleet status {root}`")),
        }
    }
}
