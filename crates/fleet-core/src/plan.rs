//! Plans: a `fleet.json`, read and checked before anything is started.
//!
//! [`read`] takes the text, [`Draft::check`] what was found on the disk around it. Both only note what is wrong, all of
//! it, so that one look is enough. A [`Plan`] exists only where nothing was an error; the run stands on it alone.
//!
//! - [`rule`] is the table of rules, [`word`] the words that a plan may use, [`file`] the keys, `models.json` the models.
//! - `json` and `read` get from text to keys, `check` from keys to findings.
//! - [`glob`] decides whether two patterns mean the same file, `overlap` which to compare; `graph` finds cycles;
//!   [`prompt`] tells what a prompt orders.
//! - [`author`] goes the other way, from answers to a plan and its prompts; [`skill`] tells agents how that is done.

pub mod author;
pub mod file;
pub mod glob;
pub mod model;
pub mod prompt;
pub mod rule;
pub mod skill;
pub mod word;

mod check;
mod graph;
mod json;
mod overlap;
mod read;
mod resolve;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use self::file::FleetFile;
use self::json::Node;
pub(crate) use self::json::positions;
use self::model::Act;
use self::prompt::Prompt;
use self::rule::{Finding, Findings, Found, Level, Rule};
use self::word::{Direction, Effort, OnDepFailure, PlanType, Sandbox, WorkerType};
use crate::money::Usd;
use crate::pipeline::{self, Pipeline};

/// A plan without errors, every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What it is called.
    pub name: String,
    /// What tells its runs apart.
    pub id: String,
    /// Its graph, rounds and stop rule.
    pub shape: Shape,
    /// How many workers run at once.
    pub max_concurrent: u32,
    /// Milliseconds between two starts.
    pub launch_delay_ms: u64,
    /// How often a worker is tried again that failed for a reason outside of it.
    pub max_retries: u32,
    /// Milliseconds before the first of these; each next one waits four times as long.
    pub retry_delay_ms: u64,
    /// After so many milliseconds without a sign of life a worker is ended; none for never.
    pub stall_ms: Option<u64>,
    /// What the whole run may spend.
    pub cap: Option<Usd>,
    /// Its workers, in the order of the file.
    pub workers: Vec<Worker>,
}

/// What the four types differ in.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Each worker in a worktree of its own.
    Worktree,
    /// Workers that wait for each other.
    Dag,
    /// Rounds of builders and a reviewer.
    Iterative(Rounds),
    /// Rounds of change and measurement.
    Autoresearch(Box<Research>),
    /// Stages that follow each other, one worker for each.
    Pipeline(Box<Pipeline>),
}

/// The rounds of an iterative plan. It changes while a run goes on, so it is read again for each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// The most rounds.
    pub max_iterations: u32,
    /// So many verdicts `lgtm` in a row end it.
    pub lgtm_count: u32,
    /// The place of the reviewer among the workers. It waits for all others.
    pub reviewer: usize,
    /// What each round may spend; none for what its workers may.
    pub budget: Option<Usd>,
}

/// What an autoresearch plan does.
#[derive(Clone, Debug, PartialEq)]
pub struct Research {
    /// The model of each round.
    pub choice: ModelChoice,
    /// What each round may spend.
    pub budget: Usd,
    /// How long each round may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How many turns each round may take.
    pub max_turns: Option<u32>,
    /// The most rounds.
    pub max_iterations: u32,
    /// Where it works; none for the fleet root.
    pub workdir: Option<String>,
    /// The command that measures.
    pub eval_command: String,
    /// How long it may take, in milliseconds.
    pub eval_timeout_ms: u64,
    /// The number's pattern in its output.
    pub metric_regex: String,
    /// Which way is better.
    pub direction: Direction,
    /// Where the rounds are listed.
    pub results_file: String,
    /// The prompt of each round.
    pub program: String,
    /// After so many rounds without progress it looks into the web; none for never.
    pub plateau: Option<u32>,
}

/// One worker of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    /// Its name, and of its folder below workers/.
    pub id: String,
    /// What it may do.
    pub worker_type: WorkerType,
    /// A label for people.
    pub task: Option<String>,
    /// What runs it.
    pub choice: ModelChoice,
    /// What it may spend; in an iterative plan in each round.
    pub budget: Usd,
    /// How long it may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// The places of the workers that it waits for, ascending.
    pub depends_on: Vec<usize>,
    /// What becomes of it when one of those failed.
    pub on_dep_failure: OnDepFailure,
    /// Its branch, in a worktree plan.
    pub branch: Option<String>,
    /// The files it declared, as it wrote them, in a worktree plan.
    pub target_files: Vec<String>,
}

/// What runs a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelChoice {
    /// The harness.
    pub provider: String,
    /// The model; none where the program chooses.
    pub model: Option<String>,
    /// The model to go on with when that is overloaded.
    pub fallback: Option<String>,
    /// How long it thinks.
    pub effort: Option<Effort>,
    /// The boundary around it.
    pub sandbox: Option<Sandbox>,
}

/// A plan's text, read but not yet compared with the world.
#[derive(Debug)]
pub struct Draft<'a> {
    text: &'a str,
    root: Option<Node>,
    file: Option<FleetFile>,
    findings: Findings,
}

/// What a plan speaks of and does not hold itself.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The absolute paths that name the fleet root, the real one first.
    pub roots: Vec<String>,
    /// Why nothing can be written there; none where it can.
    pub read_only: Option<String>,
    /// For each of [`Draft::prompts`], in the same order, what was found.
    pub prompts: Vec<Prompt>,
    /// What was found at [`Draft::program`].
    pub program: Option<Prompt>,
    /// Whether the folder [`Draft::workdir`] is there.
    pub has_workdir: bool,
    /// The names of the user's own harnesses.
    pub harnesses: Vec<String>,
    /// Whether models that nobody knows are let through.
    pub allow_unknown_model: bool,
}

/// What a check came to.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The plan, where there is no error.
    pub plan: Option<Plan>,
    /// What was found, in the order of the text.
    pub findings: Vec<Finding>,
    /// What the plan calls itself, if it could be read.
    pub name: Option<String>,
    /// Its type, if it could be read.
    pub plan_type: Option<PlanType>,
    /// How many workers it names.
    pub workers: usize,
    /// What the commands of its workers can do beyond their types.
    pub reach: Vec<Reach>,
}

/// What workers of a type are kept from with the tools of their program, and not with the commands that they may run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reach {
    /// The program.
    pub provider: String,
    /// The type.
    #[serde(rename = "type")]
    pub worker_type: WorkerType,
    /// What their commands can do all the same.
    pub acts: Vec<Act>,
    /// How many workers it is about.
    pub count: usize,
    /// Their ids, for people: the first few.
    pub workers: String,
}

/// Reads the text of a `fleet.json`.
pub fn read(text: &str) -> Draft<'_> {
    let mut findings = Findings::default();
    let root = json::read(text, &mut findings);
    let file = root.as_ref().and_then(|root| read::file(root, &mut findings));
    Draft {
        text,
        root,
        file,
        findings,
    }
}

impl Draft<'_> {
    /// The workers whose prompts are wanted, by the id that names their folder.
    pub fn prompts(&self) -> impl Iterator<Item = &str> {
        let has_workers = |file: &&FleetFile| file.plan_type != Some(PlanType::Autoresearch);
        let workers = self.file.iter().filter(has_workers).flat_map(|file| &file.workers);
        workers
            .filter_map(|worker| worker.id.as_deref())
            .filter(|id| check::id_fault(id).is_none())
    }

    /// The path of the prompt of an autoresearch plan.
    pub fn program(&self) -> Option<&str> {
        let file = self
            .file
            .as_ref()
            .filter(|file| file.plan_type == Some(PlanType::Autoresearch))?;
        let named = file.problem.as_ref().and_then(|problem| problem.program_md.as_deref());
        Some(named.unwrap_or(resolve::PROGRAM))
    }

    /// The folder that an autoresearch plan works in, where it names one.
    pub fn workdir(&self) -> Option<&str> {
        self.file.as_ref()?.problem.as_ref()?.workdir.as_deref()
    }

    /// Whether the text alone has errors: nothing around it is looked at.
    pub fn has_errors(&self) -> bool {
        self.findings.has_errors()
    }

    /// The plan, as far as it was checked before: with what it says, and nothing compared. None: the text is none.
    pub fn plan(&self) -> Option<Plan> {
        self.file.as_ref().and_then(resolve::plan)
    }

    /// Compares the plan with itself and with what is around it.
    pub fn check(mut self, around: &Surroundings) -> Checked {
        if let Some(file) = &self.file {
            check::file(file, around, &mut self.findings);
        }
        let mut found = self.findings.into_list();
        if let Some(root) = &self.root {
            for each in &mut found {
                each.at.get_or_insert_with(|| read::locate(root, &each.finding.path));
            }
        }
        let findings = placed(self.text, said_once(found));
        let fine = findings.iter().all(|finding| finding.level != Level::Error);
        Checked {
            plan: self.file.as_ref().filter(|_| fine).and_then(resolve::plan),
            findings,
            name: self.file.as_ref().and_then(|file| file.fleet_name.clone()),
            plan_type: self.file.as_ref().and_then(|file| file.plan_type),
            reach: self.file.as_ref().map(check::reach).unwrap_or_default(),
            workers: self.file.map_or(0, |file| file.workers.len()),
        }
    }
}

impl Surroundings {
    /// The fleet root's real path.
    fn root(&self) -> &str {
        self.roots.first().map_or("the fleet root", String::as_str)
    }
}

impl Plan {
    /// The name of its type, as its runs are recorded.
    pub fn type_name(&self) -> &'static str {
        match self.shape {
            Shape::Worktree => PlanType::Worktree.as_str(),
            Shape::Dag => PlanType::Dag.as_str(),
            Shape::Iterative(_) => PlanType::Iterative.as_str(),
            Shape::Autoresearch(_) => PlanType::Autoresearch.as_str(),
            Shape::Pipeline(_) => pipeline::TYPE,
        }
    }

    /// The most that its run may spend: what its workers may, round by round, or its cap where that is less.
    pub fn most(&self) -> Usd {
        let workers: Usd = self.workers.iter().map(|worker| worker.budget).sum();
        let whole = match &self.shape {
            Shape::Worktree | Shape::Dag => workers,
            Shape::Iterative(rounds) => {
                let round = rounds.budget.map_or(workers, |budget| budget.min(workers));
                round * rounds.max_iterations
            }
            Shape::Autoresearch(research) => research.budget * research.max_iterations,
            Shape::Pipeline(pipeline) => pipeline.contract.budget.ceiling_usd.unwrap_or(workers),
        };
        self.cap.map_or(whole, |cap| cap.min(whole))
    }
}

/// Without "is missing" where it is there, but wrong, and without more about a value that is of the wrong type.
fn said_once(mut found: Vec<Found>) -> Vec<Found> {
    let missing = [Rule::Missing, Rule::NoWorkers].map(|rule| rule.row().code);
    let wrong_type = Rule::WrongType.row().code;
    let paths = |wanted: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
        let chosen = found.iter().filter(|each| wanted(each.finding.code));
        chosen.map(|each| each.finding.path.clone()).collect()
    };
    let (wrong, present) = (
        paths(&|code| code == wrong_type),
        paths(&|code| !missing.contains(&code)),
    );
    found.retain(|each| {
        let Finding { code, path, .. } = &each.finding;
        match path.as_str() {
            // The whole text: more than one thing may be wrong with it.
            "" => true,
            path if missing.contains(code) => !present.contains(path),
            path => *code == wrong_type || !wrong.contains(path),
        }
    });
    found
}

/// In the order of the text, each with its line and column.
fn placed(text: &str, mut found: Vec<Found>) -> Vec<Finding> {
    found.sort_by(|a, b| {
        let key = |each: &Found| (each.at, each.finding.code);
        key(a).cmp(&key(b)).then_with(|| a.finding.path.cmp(&b.finding.path))
    });
    let places = json::positions(text, found.iter().filter_map(|each| each.at));
    let mut places = places.into_iter();
    let place = |each: Found| {
        let mut finding = each.finding;
        if each.at.is_some()
            && let Some((line, column)) = places.next()
        {
            (finding.line, finding.column) = (Some(line), Some(column));
        }
        finding
    };
    found.into_iter().map(place).collect()
}
