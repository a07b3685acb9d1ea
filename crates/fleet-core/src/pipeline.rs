//! Pipelines: stages that follow each other on one branch, each a session of its own with a share of one budget.
//!
//! - `file` reads a `vibe.yaml`, `resolve` makes of it, of a contract and of what a person said the [`Pipeline`] that is run.
//! - A pipeline becomes a [`Plan`] of the shape [`Shape::Pipeline`]; what is done next is decided in `run::stages`.
//! - [`told`] is what a stage is told, and what is read of what it answered.

pub mod file;
pub mod told;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::Contract;
use crate::intensity::Intensity;
use crate::plan::word::{OnDepFailure, WorkerType, words};
use crate::plan::{ModelChoice, Plan, Shape, Worker};
use crate::{Error, Result};

/// A pipeline that is run, everything filled in. It is stored with its run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// What it is called.
    pub name: String,
    /// What it is to do, in the words of whoever started it.
    pub prompt: String,
    /// What it may spend as a whole, and for which job.
    pub contract: Contract,
    /// What its stages are told of fleet.
    pub fleet: Protocol,
    /// The harness of every stage.
    pub provider: String,
    /// The branch that the stages work on.
    pub branch: String,
    /// Its stages, in order.
    pub stages: Vec<Stage>,
}

/// What the stages of a pipeline are told of fleet. Each is off where a file does not say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Protocol {
    /// Whether stages know of fleet at all; without it the others are off, too.
    #[serde(default)]
    pub enabled: bool,
    /// Whether each stage gets a contract and is asked for a report.
    #[serde(default)]
    pub budget_protocol: bool,
    /// Whether a record of a task is kept for each stage.
    #[serde(default)]
    pub task_sync: bool,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// What it is told to do.
    pub prompt: String,
    /// What its session may do.
    pub worker_type: WorkerType,
    /// The commands that have to succeed after it.
    pub gate: Vec<Check>,
    /// What follows when it does not succeed.
    pub on_failure: OnFailure,
    /// How often it is gone through again, where that is what follows.
    pub max_retries: u32,
    /// Where it is a review: the place of the stage that goes again when it is not content.
    pub reviews: Option<usize>,
    /// Where it is a review: how often it looks, at most.
    pub rounds: u32,
}

/// A command that has to succeed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is called.
    pub name: String,
    /// A line for the shell, the user's own.
    pub command: String,
}

words! {
    /// What follows when a stage does not succeed.
    OnFailure {
        /// The pipeline ends.
        Fail = "fail",
        /// The stage is gone through again, and told what was wrong.
        Retry = "retry",
        /// The pipeline goes on, and is not completed but partial.
        Warn = "warn",
    }
}

/// How long the commands of a gate may take, in milliseconds.
pub const GATE_TIMEOUT: u64 = 30 * 60_000;

/// The type of the runs of pipelines, as it is stored.
pub const TYPE: &str = "pipeline";

impl Protocol {
    /// Whether stages get contracts and are asked for reports.
    pub const fn has_contracts(self) -> bool {
        self.enabled && self.budget_protocol
    }

    /// Whether tasks are recorded.
    pub const fn has_tasks(self) -> bool {
        self.enabled && self.task_sync
    }
}

impl Pipeline {
    /// The pipeline in the text that [`Pipeline::to_text`] made.
    pub fn from_text(text: &str) -> Result<Pipeline> {
        serde_json::from_str(text)
            .map_err(|error| Error::internal(format!("the recorded pipeline cannot be read: {error}")))
    }

    /// The pipeline as it is stored.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| Error::internal(format!("pipeline: {error}")))
    }

    /// The id of the task that the stage at `place` is: it follows the job's.
    pub fn task_id(&self, place: usize) -> String {
        let name = self.stages.get(place).map_or("", |stage| stage.name.as_str());
        format!("{}-{name}", self.contract.job_id)
    }

    /// The plan that runs it.
    pub fn into_plan(self) -> Plan {
        /// Outside trouble of a session, such as a service without room, is met so often with another try.
        const TRIES: u32 = 2;
        const DELAY: u64 = 5_000;
        const STALL: u64 = 30 * 60_000;
        let choice = choice(&self.provider, self.contract.budget.intensity);
        let worker = |(place, stage): (usize, &Stage)| Worker {
            id: stage.name.clone(),
            worker_type: stage.worker_type,
            task: None,
            choice: choice.clone(),
            budget: self.contract.budget.ceiling_usd.unwrap_or_default(),
            timeout_ms: None,
            depends_on: place.checked_sub(1).into_iter().collect(),
            on_dep_failure: OnDepFailure::Skip,
            branch: Some(self.branch.clone()),
            target_files: Vec::new(),
        };
        Plan {
            name: self.contract.job_id.clone(),
            id: self.contract.job_id.clone(),
            max_concurrent: 1,
            launch_delay_ms: 0,
            max_retries: TRIES,
            retry_delay_ms: DELAY,
            stall_ms: Some(STALL),
            cap: None,
            workers: self.stages.iter().enumerate().map(worker).collect(),
            shape: Shape::Pipeline(Box::new(self)),
        }
    }
}

/// What runs the stages: the harness, with what the intensity chooses for it.
fn choice(provider: &str, intensity: Intensity) -> ModelChoice {
    let chosen = intensity.choice(provider);
    ModelChoice {
        provider: provider.to_owned(),
        model: chosen.and_then(|choice| choice.model.clone()),
        fallback: None,
        effort: chosen.and_then(|choice| choice.effort),
        sandbox: None,
    }
}
