//! `plan`: from answers to a fleet root on the disk, without a model.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::BoolishValueParser;
use fleet_core::money::Usd;
use fleet_core::plan::author::tree::{Choice, Decision, decide};
use fleet_core::plan::author::{self, Spec, WorkerSpec, Written, missing};
use fleet_core::plan::rule::{Finding, Level};
use fleet_core::plan::word::{Direction, Effort, PlanType, Size, WorkerType};
use fleet_core::plan::{self, Checked};
use fleet_core::{Error, Kind, Result, name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::{Operation, ReadText};
use crate::ops::check;
use crate::page::{Label, Page, Show, plain, span};
use crate::plan::{FILE, read_spec, root_of, surroundings_of, write_root};

/// Write a plan: choose its type, and make its fleet root with fleet.json and all prompts
///
/// Without a model: what is not said by flags or `--from` is asked for on a terminal. Nothing is written where one session
/// is enough, where no type fits, or where `fleet check` would find an error. docs/plans.md has an example of each way.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// The fleet root to make; fleet-{YYYYMMDD-HHMMSS}-{name} in the current directory if it is not named
    #[arg(value_name = "ROOT")]
    pub root: Option<String>,
    /// A file that says all of this; a flag wins over it
    #[arg(long, value_name = "spec.toml")]
    pub from: Option<PathBuf>,
    /// Show the plan and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// What the fleet is called; the name of the repository if it is not said
    #[arg(long)]
    pub name: Option<String>,
    /// The type of the plan, where it is known: see `fleet types`
    #[arg(id = "type", long = "type", value_name = "worktree|dag|iterative|autoresearch", value_parser = word::<PlanType>)]
    #[serde(rename = "type")]
    pub plan_type: Option<PlanType>,
    /// One agent can do all of it in a single session: then there is no plan
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    pub one_session: Option<bool>,
    /// It splits into parts that have no file in common
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    pub independent: Option<bool>,
    /// It is done when a reviewer says so, round after round
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    pub reviewed: Option<bool>,
    /// One part needs what another made
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    pub ordered: Option<bool>,
    /// One number is to get better, and a command measures it quickly
    #[arg(long, value_name = "yes|no", num_args = 0..=1, require_equals = true, default_missing_value = "yes", value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    pub measured: Option<bool>,
    /// A worker: `parser type=code-run files=src/parser/** size=feature after=x: Teach the parser tabs`; may be repeated.
    /// Keys are type, files, after, branch, size, budget, provider, model, effort
    #[arg(long = "worker", value_name = "ID [KEY=VALUE]…: TASK")]
    pub workers: Vec<WorkerSpec>,
    /// The provider of all workers; `claude` if it is not said
    #[arg(long)]
    pub provider: Option<String>,
    /// Their model; the provider's default if it is not said
    #[arg(long)]
    pub model: Option<String>,
    /// How long their model thinks; `codex` and `pi` only
    #[arg(long, value_name = "low|medium|high", value_parser = word::<Effort>)]
    pub reasoning_effort: Option<Effort>,
    /// How large a task is where its worker does not say it, and what its budget is then: edit 0.50, function 2, feature 5,
    /// module 10 USD
    #[arg(long, value_name = "edit|function|feature|module", value_parser = word::<Size>)]
    pub size: Option<Size>,
    /// How many workers run at once; 3 if it is not said
    #[arg(long, value_name = "COUNT")]
    pub max_concurrent: Option<u32>,
    /// What the whole run may spend, in USD; no limit if it is not said
    #[arg(long, value_name = "USD", value_parser = amount)]
    pub max_budget_fleet: Option<f64>,
    /// Iterative: what the reviewer has to look at; `@FILE` reads it
    #[arg(long, value_name = "TEXT")]
    pub review: Option<String>,
    /// Iterative and autoresearch: the most rounds; 10 and 20 if it is not said
    #[arg(long, value_name = "COUNT")]
    pub max_iterations: Option<u32>,
    /// Iterative: so many verdicts `lgtm` in a row end it; 1 if it is not said
    #[arg(long, value_name = "COUNT")]
    pub reviewer_lgtm_count: Option<u32>,
    /// Autoresearch: what is to get better, and what may be tried; `@FILE` reads it
    #[arg(long, value_name = "TEXT")]
    pub goal: Option<String>,
    /// Autoresearch: the command that measures it; fleet runs it after each round
    #[arg(long, value_name = "COMMAND")]
    pub eval_command: Option<String>,
    /// Autoresearch: a regular expression with a group around the number in the command's output
    #[arg(long, value_name = "REGEX")]
    pub metric_regex: Option<String>,
    /// Autoresearch: which way is better, minimize (if it is not said) or maximize
    #[arg(long, value_name = "minimize|maximize", value_parser = word::<Direction>)]
    pub metric_direction: Option<Direction>,
    /// Autoresearch: where it works; the repository's top if it is not said
    #[arg(long, value_name = "FOLDER")]
    pub workdir: Option<String>,
    /// Autoresearch: the files that may be changed; all below the folder if it is not said
    #[arg(long, value_name = "GLOB", value_delimiter = ' ')]
    pub files: Vec<String>,
    /// Let models through that nobody knows, with a warning
    #[arg(long)]
    pub allow_unknown_model: bool,
}

/// A worker of the plan.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// What it may do.
    #[serde(rename = "type")]
    pub worker_type: WorkerType,
    /// Its provider.
    pub provider: String,
    /// Its model; none where the program chooses.
    pub model: Option<String>,
    /// What it may spend, in USD; in an iterative plan in each round.
    pub budget_usd: f64,
    /// Where what it hands in goes: files of the repository, or of the fleet root. None: it is its last message.
    pub writes: Vec<String>,
    /// What it does, in a line.
    pub task: String,
}

/// The plan, or why there is none.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Planned {
    /// Why no plan is needed, or none fits.
    pub stop: Option<String>,
    /// Its type; none without a plan.
    #[serde(rename = "type")]
    pub plan_type: Option<PlanType>,
    /// Why this type.
    pub why: Option<String>,
    /// The types that fit, where more than one does.
    pub fitting: Vec<PlanType>,
    /// Its fleet root, absolute; none without a plan.
    pub root: Option<PathBuf>,
    /// Whether it was written.
    pub written: bool,
    /// Its files, from the fleet root.
    pub files: Vec<String>,
    /// Its workers.
    pub workers: Vec<Row>,
    /// The most that a run of it may spend, in USD; none while it has errors.
    pub most_usd: Option<f64>,
    /// The commands that start it, in their order.
    pub launch: Vec<String>,
    /// The command that shows how it goes.
    pub status: Option<String>,
    /// What `fleet check` says of it. With an error in it nothing was written.
    pub findings: Vec<Finding>,
}

impl Operation for Plan {
    const NAME: &'static str = "plan";
    const EFFECT: Effect = Effect::Write;
    type Output = Planned;

    fn effect(&self) -> Effect {
        if self.dry_run { Effect::Read } else { Effect::Write }
    }

    fn read_local(&mut self, read: &ReadText<'_>) -> Result<()> {
        let tasks = self.workers.iter_mut().map(|worker| &mut worker.task);
        let texts = [&mut self.review, &mut self.goal].into_iter().flatten();
        for text in tasks.chain(texts) {
            *text = read(text)?;
        }
        Ok(())
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Planned> {
        let (dry_run, allow_unknown_model) = (self.dry_run, self.allow_unknown_model);
        let spec = self.spec(caller)?;
        let choice = match decide(&spec) {
            Decision::Stop(stop) => return Ok(Planned::none(stop.sentence())),
            Decision::Unanswered(_) => return Err(incomplete(&spec)),
            Decision::Take(_) if !missing(&spec).is_empty() => return Err(incomplete(&spec)),
            Decision::Take(choice) => choice,
        };
        let base = base(app, caller);
        let name = spec.name.clone().unwrap_or_else(|| author::default_name(&base));
        let root = match &spec.root {
            Some(root) => root_of(caller, root)?,
            None => root_of(caller, &author::default_root(app.now(), &name))?,
        };
        let written = author::write(&spec, &choice, &base)?;
        let draft = plan::read(&written.text);
        let mut around = surroundings_of(app, caller, &root, &draft, &written.prompts)?;
        around.allow_unknown_model = allow_unknown_model;
        let mut planned = Planned::of(choice, root, &written, draft.check(&around));
        if !dry_run && planned.failed().is_none() {
            if let Some(root) = &planned.root {
                write_root(app, root, &written)?;
            }
            planned.written = true;
        }
        Ok(planned)
    }
}

impl Plan {
    /// What the flags and the file say together; a flag wins.
    pub fn spec(&self, caller: &Caller) -> Result<Spec> {
        let internal = |error: serde_json::Error| Error::internal(format!("the answers are no JSON: {error}"));
        let mut all = match &self.from {
            None => Map::new(),
            Some(path) => match serde_json::to_value(read_spec(&caller.cwd.join(path))?).map_err(internal)? {
                Value::Object(map) => map,
                _ => Map::new(),
            },
        };
        if let Value::Object(flags) = serde_json::to_value(self).map_err(internal)? {
            let own = ["from", "dry_run", "allow_unknown_model"];
            let is_said = |key: &str, value: &Value| {
                !own.contains(&key) && !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty())
            };
            all.extend(flags.into_iter().filter(|(key, value)| is_said(key, value)));
        }
        serde_json::from_value(Value::Object(all)).map_err(internal)
    }
}

/// The repository's top, where relative paths of a plan start: that of the checkout the caller stands in, else the
/// directory itself.
pub fn base(app: &App, caller: &Caller) -> String {
    let top = fleet_host::git::discover(&caller.cwd).ok().and_then(|_| {
        caller
            .cwd
            .ancestors()
            .find(|each| each.join(".git").exists())
            .map(Path::to_owned)
    });
    let top = top.or_else(|| app.repo(caller).ok().and_then(|repo| repo.main_root));
    top.unwrap_or_else(|| caller.cwd.clone()).display().to_string()
}

fn incomplete(spec: &Spec) -> Error {
    let open = missing(spec).join("; ");
    Error::usage(format!("to write a plan, say {open}")).hint(
        "say it by flags (`fleet plan --help`) or in a file with `--from spec.toml` (docs/reference/plan-spec.md), or run \
         `fleet plan` in a terminal, which asks",
    )
}

fn amount(text: &str) -> std::result::Result<f64, String> {
    let amount = text.parse().ok().filter(|amount| Usd::new(*amount).is_some());
    amount.ok_or_else(|| "write an amount in USD, such as `1.50`".to_owned())
}

/// A word of a plan, for the command line.
fn word<W: serde::de::DeserializeOwned>(text: &str) -> std::result::Result<W, String> {
    serde_json::from_value(Value::from(text)).map_err(|error| error.to_string())
}

impl Planned {
    fn none(sentence: &str) -> Planned {
        Planned {
            stop: Some(sentence.to_owned()),
            plan_type: None,
            why: None,
            fitting: Vec::new(),
            root: None,
            written: false,
            files: Vec::new(),
            workers: Vec::new(),
            most_usd: None,
            launch: Vec::new(),
            status: None,
            findings: Vec::new(),
        }
    }

    fn of(choice: Choice, root: PathBuf, written: &Written, checked: Checked) -> Planned {
        let dollars = |amount: Usd| amount.dollars();
        let shown = name::word(&root.display().to_string());
        let launch = format!("fleet launch {shown}");
        let dry_run = (choice.plan_type == PlanType::Worktree).then(|| format!("{launch} --dry-run"));
        let workers = checked.plan.iter().flat_map(|plan| &plan.workers).map(|worker| Row {
            id: worker.id.clone(),
            worker_type: worker.worker_type,
            provider: worker.choice.provider.clone(),
            model: worker.choice.model.clone(),
            budget_usd: dollars(worker.budget),
            writes: written.destination(&worker.id).to_vec(),
            task: worker.task.clone().unwrap_or_default(),
        });
        let files = written.prompts.iter().map(|(path, _)| path.clone());
        // Its text is on no disk yet, so a line of it says nothing.
        let findings = checked.findings.into_iter().map(|finding| Finding {
            line: None,
            column: None,
            ..finding
        });
        Planned {
            stop: None,
            plan_type: Some(choice.plan_type),
            why: Some(choice.why),
            fitting: choice.fitting,
            written: false,
            files: std::iter::once(FILE.to_owned()).chain(files).collect(),
            workers: workers.collect(),
            most_usd: checked.plan.as_ref().map(|plan| dollars(plan.most())),
            launch: dry_run.into_iter().chain([launch]).collect(),
            status: Some(format!("fleet status {shown}")),
            root: Some(root),
            findings: findings.collect(),
        }
    }
}

impl Show for Planned {
    fn show(&self, page: &mut Page) {
        if let Some(sentence) = &self.stop {
            page.line(sentence);
            return;
        }
        let (Some(plan_type), Some(root)) = (self.plan_type, &self.root) else {
            return;
        };
        let why = self.why.as_deref().unwrap_or_default();
        page.spans(vec![span(Label::Name, plan_type.as_str()), plain(format!(": {why}"))]);
        let rows = self.workers.iter().map(|worker| {
            let model = worker
                .model
                .as_deref()
                .map(|model| format!(" {model}"))
                .unwrap_or_default();
            vec![
                span(Label::Name, &worker.id),
                plain(worker.worker_type.as_str()),
                plain(format!("{}{model}", worker.provider)),
                plain(Usd::new(worker.budget_usd).unwrap_or_default().to_string()),
                plain(match worker.writes.as_slice() {
                    [] => "its last message".to_owned(),
                    [one] => one.clone(),
                    [first, more @ ..] => format!("{first} and {} more", more.len()),
                }),
                plain(&worker.task),
            ]
        });
        if !self.workers.is_empty() {
            page.line("");
            page.table(&["ID", "TYPE", "MODEL", "BUDGET", "WRITES", "TASK"], rows.collect());
        }
        if !self.findings.is_empty() {
            page.line("");
            check::show_findings(&self.findings, crate::plan::FILE, page);
        }
        let errors = self
            .findings
            .iter()
            .filter(|finding| finding.level == Level::Error)
            .count();
        if errors > 0 {
            let errors = name::plural(errors, "error");
            page.line(format!(
                "{errors}: the plan could not be started, and nothing was written"
            ));
            return;
        }
        page.line("");
        let most = self.most_usd.and_then(Usd::new).unwrap_or_default();
        let root = root.display();
        if !self.written {
            page.line(format!(
                "not written, it would be {root}; a run may spend at most {most}"
            ));
            return;
        }
        page.line(format!("written to {root}; a run may spend at most {most}"));
        let commands = self.launch.iter().map(|command| ("launch:", command));
        for (label, command) in commands.chain(self.status.iter().map(|command| ("status:", command))) {
            page.spans(vec![plain(format!("{label}  ")), span(Label::Name, command)]);
        }
    }

    fn failed(&self) -> Option<Kind> {
        let has_errors = self.findings.iter().any(|finding| finding.level == Level::Error);
        has_errors.then_some(Kind::Plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(schema: schemars::Schema) -> Vec<String> {
        let value = schema.to_value();
        let properties = value["properties"].as_object().expect("an object");
        properties.keys().cloned().collect()
    }

    #[test]
    fn every_key_of_a_spec_is_an_argument_and_the_other_way_round() {
        let mut spec = keys(schemars::schema_for!(Spec));
        spec.extend(["from", "dry_run", "allow_unknown_model"].map(str::to_owned));
        spec.sort();
        let mut arguments = keys(schemars::schema_for!(Plan));
        arguments.sort();
        assert_eq!(arguments, spec);
    }
}
