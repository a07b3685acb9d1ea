//! `vibe.yaml`: the checks of a repository, its pipelines, and what their stages are told of fleet.
//!
//! Unknown keys are warnings: the file belongs to more programs than this one.

use std::collections::BTreeSet;

use super::{Check, OnFailure, Pipeline, Protocol, Stage};
use crate::block::keys::Keys;
use crate::block::rule::{Checked, Findings, Rule};
use crate::contract::Contract;
use crate::plan::rule::{near, quoted};
use crate::plan::word::WorkerType;
use crate::yaml::{self, FaultKind};
use crate::{Error, Result};

/// What a `vibe.yaml` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VibeFile {
    /// The commands that have to succeed.
    pub checks: Vec<Check>,
    /// How often a stage is gone through again when they do not.
    pub max_retries: u32,
    /// The pipelines, by name.
    pub pipelines: Vec<(String, Vec<StageLine>)>,
    /// What stages are told of fleet.
    pub fleet: Protocol,
}

/// A stage as a file names it.
#[derive(Clone, Debug, PartialEq)]
pub struct StageLine {
    name: String,
    prompt: Option<String>,
    worker_type: Option<WorkerType>,
    gate: Option<Vec<String>>,
    on_failure: Option<OnFailure>,
    max_retries: Option<u32>,
    reviews: Option<String>,
}

/// What is to be run, beside what the file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Which pipeline.
    pub pipeline: String,
    /// What it is to do.
    pub prompt: String,
    /// What it may spend, and for which job.
    pub contract: Contract,
    /// The harness of every stage.
    pub provider: String,
    /// The branch that the stages work on.
    pub branch: String,
}

/// The pipeline that there is without a file.
pub const BUILT_IN: &str = "feature";

/// How often a stage is gone through again where no file says so; vibe's own number where one has checks.
const RETRIES: u32 = 2;
const RETRIES_OF_CHECKS: u32 = 10;
/// The most stages, and the most retries that a file may ask for.
const MOST: u32 = 100;

const PLAN: &str = "Read the repository as far as the task needs it, and change nothing. Answer with a plan: which files \
                    are to be changed and how, what can go wrong, and how somebody sees that it is done.";
const IMPLEMENT: &str = "Do the task, by the plan where there is one. Write the tests that show it, run them, and commit \
                         your work.";
const REVIEW: &str = "Review what was changed on this branch for this task: whether it does what was asked, whether its \
                      tests could fail, and whether it breaks something. Change nothing. Say in one line of your answer \
                      `verdict: lgtm` if it can stay as it is, or else `verdict: iterate`, with what is to be mended below.";
const VALIDATE: &str = "See whether the task is done: build the project, run its tests, and try what was asked for. Mend \
                        what is small, and commit it. Say what does not hold.";

impl VibeFile {
    /// What holds where there is no file: one pipeline whose stages are told everything, and no checks.
    pub fn built_in() -> VibeFile {
        VibeFile {
            max_retries: RETRIES,
            fleet: Protocol {
                enabled: true,
                budget_protocol: true,
                task_sync: false,
            },
            ..VibeFile::default()
        }
    }

    /// The file in `text`, and everything that is wrong with it.
    pub fn read(text: &str) -> Checked<VibeFile> {
        let mut findings = Findings::default();
        let file = match yaml::read(text) {
            Ok(node) if node.is_null() => Some(VibeFile {
                max_retries: RETRIES_OF_CHECKS,
                ..VibeFile::default()
            }),
            Ok(node) => Keys::of(&node, "", &mut findings).map(|keys| file(keys, &mut findings)),
            Err(fault) => {
                let rule = match fault.kind {
                    FaultKind::Syntax => Rule::Syntax,
                    FaultKind::Tab => Rule::Tab,
                    FaultKind::Reference => Rule::Reference,
                    FaultKind::TooLarge => Rule::TooLarge,
                    FaultKind::DuplicateKey => Rule::DuplicateKey,
                };
                findings.add(rule, fault.at, "", fault.message);
                None
            }
        };
        findings.close(text, file)
    }

    /// The names of its pipelines, the one that is always there included.
    pub fn names(&self) -> Vec<&str> {
        let own = self.pipelines.iter().map(|(name, _)| name.as_str());
        let mut names: Vec<&str> = own.collect();
        if !names.contains(&BUILT_IN) {
            names.push(BUILT_IN);
        }
        names
    }

    /// The pipeline that `order` asks for. Error: there is none of this name.
    pub fn pipeline(&self, order: Order) -> Result<Pipeline> {
        let own = self.pipelines.iter().find(|(name, _)| *name == order.pipeline);
        let lines = match own {
            Some((_, lines)) => lines.clone(),
            None if order.pipeline == BUILT_IN => usual(),
            None => {
                let names = self.names();
                let error = Error::usage(format!("there is no pipeline {}", quoted(&order.pipeline)));
                return Err(match near(&order.pipeline, &names) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint(format!("the pipelines are {}", names.join(", "))),
                });
            }
        };
        let rounds = order.contract.budget.intensity.row().review_rounds;
        // Who is to look so seldom that it is never is left out.
        let lines: Vec<StageLine> = lines
            .into_iter()
            .filter(|line| line.reviews.is_none() || rounds > 0)
            .collect();
        let last = lines.len().saturating_sub(1);
        let may_dispatch = order.contract.budget.max_crew_dispatches.is_some_and(|most| most > 0);
        let stage = |(place, line): (usize, &StageLine)| {
            let gate = match &line.gate {
                Some(names) => names.iter().filter_map(|name| self.check(name)).collect(),
                None if place == last => self.checks.clone(),
                None => Vec::new(),
            };
            let reviews = line.reviews.as_ref();
            let on_failure = match (line.on_failure, reviews, gate.is_empty()) {
                (Some(on_failure), ..) => on_failure,
                (None, Some(_), _) => OnFailure::Warn,
                (None, None, false) => OnFailure::Retry,
                (None, None, true) => OnFailure::Fail,
            };
            Stage {
                prompt: line.prompt.clone().unwrap_or_else(|| told(&line.name).to_owned()),
                worker_type: line.worker_type.unwrap_or(match (line.name.as_str(), may_dispatch) {
                    ("plan", _) => WorkerType::ReadOnly,
                    (_, true) => WorkerType::Reviewer,
                    (_, false) => WorkerType::CodeRun,
                }),
                gate,
                on_failure,
                max_retries: line.max_retries.unwrap_or(self.max_retries),
                reviews: reviews.and_then(|name| lines[..place].iter().position(|each| each.name == *name)),
                rounds,
                name: line.name.clone(),
            }
        };
        Ok(Pipeline {
            stages: lines.iter().enumerate().map(stage).collect(),
            name: order.pipeline,
            prompt: order.prompt,
            contract: order.contract,
            fleet: self.fleet,
            provider: order.provider,
            branch: order.branch,
        })
    }

    fn check(&self, name: &str) -> Option<Check> {
        self.checks.iter().find(|check| check.name == name).cloned()
    }
}

/// The stages of the built-in pipeline.
fn usual() -> Vec<StageLine> {
    let line = |name: &str, on_failure| StageLine {
        name: name.to_owned(),
        prompt: None,
        worker_type: None,
        gate: None,
        on_failure: Some(on_failure),
        max_retries: None,
        reviews: None,
    };
    vec![
        line("plan", OnFailure::Fail),
        line("implement", OnFailure::Retry),
        StageLine {
            reviews: Some("implement".to_owned()),
            ..line("review", OnFailure::Warn)
        },
        line("validate", OnFailure::Retry),
    ]
}

/// What a stage of this name is told where the file says nothing.
fn told(name: &str) -> &'static str {
    match name {
        "plan" => PLAN,
        "implement" => IMPLEMENT,
        "review" => REVIEW,
        "validate" => VALIDATE,
        _ => "",
    }
}

fn file(mut keys: Keys<'_>, findings: &mut Findings) -> VibeFile {
    let mut checks = Vec::new();
    let mut max_retries = RETRIES_OF_CHECKS;
    if let Some(mut keys) = keys.map("checks", findings) {
        checks = steps(&mut keys, findings);
        if keys.value("max_retries").is_some() {
            max_retries = keys.count("max_retries", 0..=MOST, findings).unwrap_or_default();
        }
        keys.end(findings);
    }
    let names: Vec<&str> = checks.iter().map(|check: &Check| check.name.as_str()).collect();
    let mut pipelines = Vec::new();
    for (name, at, keys) in keys.maps("pipelines", findings) {
        if let Some(fault) = name_fault(&name) {
            let path = format!("pipelines.{name}");
            findings.add(Rule::BadText, at, path, format!("{} {fault}", quoted(&name)));
        }
        pipelines.push((name, stages(keys, &names, findings)));
    }
    let fleet = keys.map("fleet", findings).map(|mut keys| {
        let fleet = Protocol {
            enabled: keys.flag("enabled", findings).unwrap_or_default(),
            budget_protocol: keys.flag("budget_protocol", findings).unwrap_or_default(),
            task_sync: keys.flag("task_sync", findings).unwrap_or_default(),
        };
        keys.end(findings);
        fleet
    });
    keys.end(findings);
    VibeFile {
        checks,
        max_retries,
        pipelines,
        fleet: fleet.unwrap_or_default(),
    }
}

fn steps(keys: &mut Keys<'_>, findings: &mut Findings) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for (path, node) in keys.list("steps", findings) {
        let Some(mut keys) = Keys::of(node, &path, findings) else {
            continue;
        };
        let name = keys.text("name", findings);
        let name = keys.require("name", name, findings);
        let command = keys.text("command", findings);
        let command = keys.require("command", command, findings);
        keys.end(findings);
        if let Some(name) = name
            .as_ref()
            .filter(|name| checks.iter().any(|each| each.name == **name))
        {
            let message = format!("two checks are called {}", quoted(name));
            findings.add(Rule::DoubledName, node.at, format!("{path}.name"), message);
        }
        checks.extend(name.zip(command).map(|(name, command)| Check { name, command }));
    }
    checks
}

fn stages(mut keys: Keys<'_>, checks: &[&str], findings: &mut Findings) -> Vec<StageLine> {
    let mut lines: Vec<StageLine> = Vec::new();
    let mut seen = BTreeSet::new();
    let list = keys.list("stages", findings);
    if list.is_empty() || list.len() > MOST as usize {
        let (at, path) = (keys.place("stages"), keys.path("stages"));
        findings.add(Rule::BadStages, at, path, format!("there are {} stages", list.len()));
    }
    for (path, node) in list {
        let Some(mut keys) = Keys::of(node, &path, findings) else {
            continue;
        };
        let name = keys.text("name", findings);
        let Some(name) = keys.require("name", name, findings) else {
            continue;
        };
        if let Some(fault) = name_fault(&name) {
            findings.add(
                Rule::BadText,
                node.at,
                format!("{path}.name"),
                format!("{} {fault}", quoted(&name)),
            );
        }
        if !seen.insert(name.clone()) {
            let message = format!("two stages are called {}", quoted(&name));
            findings.add(Rule::DoubledName, node.at, format!("{path}.name"), message);
        }
        let prompt = keys.text("prompt", findings);
        if prompt.as_ref().is_none_or(|prompt| prompt.trim().is_empty()) && told(&name).is_empty() {
            let message = format!("nobody knows what the stage {} is to do", quoted(&name));
            findings.add(Rule::MissingKey, node.at, format!("{path}.prompt"), message);
        }
        let gate = keys.value("gate").is_some().then(|| keys.texts("gate", findings));
        for unknown in gate.iter().flatten().filter(|name| !checks.contains(&name.as_str())) {
            let message = format!("there is no check {}", quoted(unknown));
            let finding = findings.add(Rule::UnknownName, node.at, format!("{path}.gate"), message);
            if let Some(near) = near(unknown, checks) {
                finding.hint = format!("did you mean `{near}`?");
            }
        }
        let reviews = keys.text("reviews", findings);
        if let Some(unknown) = reviews
            .as_ref()
            .filter(|name| lines.iter().all(|each| each.name != **name))
        {
            let message = format!("no stage before this one is called {}", quoted(unknown));
            findings.add(Rule::UnknownName, node.at, format!("{path}.reviews"), message);
        }
        let has = |keys: &mut Keys<'_>, key| keys.value(key).is_some();
        let worker_type = has(&mut keys, "type").then(|| keys.word("type", findings)).flatten();
        let on_failure = has(&mut keys, "on_failure")
            .then(|| keys.word("on_failure", findings))
            .flatten();
        let max_retries = has(&mut keys, "max_retries")
            .then(|| keys.count("max_retries", 0..=MOST, findings))
            .flatten();
        keys.end(findings);
        lines.push(StageLine {
            name,
            prompt,
            worker_type,
            gate,
            on_failure,
            max_retries,
            reviews,
        });
    }
    keys.end(findings);
    lines
}

/// Why something cannot be called `name`: it names files, branches and tasks.
pub fn name_fault(name: &str) -> Option<&'static str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let branch = !name.contains("..") && !name.ends_with('.') && !name.ends_with(".lock");
    match name.len() {
        0 => Some("is empty"),
        129.. => Some("is longer than 128 characters"),
        _ if !begins || !branch || !name.chars().all(fits) => {
            Some("is no name: letters, digits, `-`, `_` and `.` may stand there, a letter or digit first")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
