//! `relaunch`: starts one worker of a run over.

use clap::Args;
use fleet_core::name::word;
use fleet_core::plan::Shape;
use fleet_core::run::Control;
use fleet_core::run::record::StepName;
use fleet_core::{Error, Result};
use fleet_store::Change;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::launch::{bring_up, note};
use super::pause::{Asked, answer};
use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::runs;

/// Start one worker of a run over: its task from the beginning, whatever came of it before
///
/// What it cost before still counts. In an iterative plan the reviewer of the round judges again.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Relaunch {
    /// The worker's id in the plan
    pub worker: String,
    /// A fleet root, or the name or id of a run [default: the fleet root around the current directory]
    #[arg(long, value_name = "ROOT")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

impl Operation for Relaunch {
    const NAME: &'static str = "relaunch";
    const EFFECT: Effect = Effect::Write;
    type Output = Asked;

    fn run(self, app: &App, caller: &Caller) -> Result<Asked> {
        let run = runs::find(app, caller, self.run.as_deref())?;
        let plan = runs::plan_of(app, &run)?;
        runs::place_of(&run, &plan, &self.worker)?;
        if matches!(plan.shape, Shape::Autoresearch(_)) {
            return Err(
                Error::usage("the rounds of an autoresearch plan follow each other: none can be started over").hint(
                    format!(
                        "go on with the next one: `fleet launch {}`",
                        word(&run.root.to_string_lossy())
                    ),
                ),
            );
        }
        let store = app.store()?;
        let steps = store.steps(&run.id)?;
        let mut rounds = store.rounds(&run.id)?;
        let round = rounds.last().map_or(1, |round| round.round);
        let mut workers = vec![self.worker.clone()];
        if let Shape::Iterative(shape) = &plan.shape {
            let reviewer = plan.worker_id(shape.reviewer).to_owned();
            if reviewer != self.worker {
                workers.push(reviewer);
            }
        }
        let mut changes = Vec::new();
        for worker in &workers {
            let runs_now = |name: &StepName| name.worker == *worker && name.round == round;
            if steps.iter().any(|step| runs_now(&step.name) && step.ended.is_none()) {
                return Err(Error::conflict(format!("`{worker}` runs now"))
                    .hint(format!("end it first: `fleet kill {}/{worker}`", run.name)));
            }
            changes.push(Change::Forget {
                worker: worker.clone(),
                round,
            });
        }
        if let Some(last) = rounds.last_mut() {
            (last.verdict, last.asked, last.answered) = (None, None, false);
            changes.push(Change::Round(last.clone()));
        }
        if run.finish.is_some() {
            changes.push(Change::Reopen);
        }
        changes.extend(super::launch::forgive(app, &run, &plan, run.finish.is_some())?);
        changes.push(Change::Control(Control::Going, None));
        note(app, &run.id, "relaunched", self.worker.clone(), &changes)?;
        bring_up(app, caller, &run.id)?;
        answer(app, &run, "started over")
    }
}
