//! `plan` on a terminal: asks for what was not said, one line a question, with the default in brackets.
//!
//! Nothing is written before the last answer, so whoever leaves earlier leaves nothing behind. A wrong answer is asked for
//! again. The rules are those of the check; what no single answer shows is found by it afterwards.

use std::process::ExitCode;

use fleet_app::app::App;
use fleet_app::caller::Caller;
use fleet_app::op::dispatch;
use fleet_app::ops::plan::{Plan, base};
use fleet_app::plan::{root_of, show_spec};
use fleet_core::money::Usd;
use fleet_core::plan::author::tree::{Choice, Decision, Question, decide};
use fleet_core::plan::author::{self, ROUNDS, Spec, WorkerSpec, missing};
use fleet_core::plan::glob::{Pattern, Unusable};
use fleet_core::plan::model;
use fleet_core::plan::word::{Direction, PlanType, Size, WorkerType};
use fleet_core::{Error, Kind, Result};
use serde_json::Value;

use crate::{cli, ui};

/// A number of any kind, the first one in a line.
const NUMBER: &str = r"([0-9]+(?:\.[0-9]+)?)";

/// What stands for an empty answer.
const NONE: &str = "none";

/// Asks for what is missing in `input`, then runs `plan` with all of it.
pub(crate) fn plan(app: &App, caller: &Caller, mut input: Value, request: Option<&str>) -> Result<ExitCode> {
    let internal = |error: serde_json::Error| Error::internal(format!("the answers are no JSON: {error}"));
    let args: Plan = serde_json::from_value(input.clone()).map_err(internal)?;
    let mut spec = args.spec(caller)?;
    let was_asked = !missing(&spec).is_empty();
    if was_asked {
        let harnesses = app.config(caller, app.repo(caller).ok().as_ref())?.harness;
        let asked = Dialogue {
            app,
            caller,
            base: base(app, caller),
            harnesses: harnesses.into_keys().collect(),
            allow_unknown_model: args.allow_unknown_model,
        };
        asked.complete(&mut spec)?;
        input = serde_json::to_value(&spec).map_err(internal)?;
        input["dry_run"] = args.dry_run.into();
        input["allow_unknown_model"] = args.allow_unknown_model.into();
        ui::remark("");
    }
    let answers = || {
        ui::remark("\nThe answers, for `fleet plan --from FILE` once they are corrected:\n");
        ui::remark(&show_spec(&spec));
    };
    let done = dispatch(app, caller, "plan", input, request).inspect_err(|_| {
        if was_asked {
            answers();
        }
    })?;
    ui::page(&done.page);
    if was_asked && done.failed.is_some() {
        answers();
    }
    Ok(done
        .failed
        .map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}

/// One dialogue, and what it knows of the world.
struct Dialogue<'a> {
    app: &'a App,
    caller: &'a Caller,
    base: String,
    harnesses: Vec<String>,
    allow_unknown_model: bool,
}

impl Dialogue<'_> {
    fn complete(&self, spec: &mut Spec) -> Result<()> {
        ui::remark("Enter takes what stands in brackets, Ctrl-C leaves and writes nothing.\n");
        let Some(choice) = self.choose(spec)? else {
            return Ok(());
        };
        if spec.name.is_none() {
            let default = author::default_name(&self.base);
            spec.name = Some(ask("What is the fleet called?", &default, |text| {
                match name_fault(text) {
                    None => Ok(text.to_owned()),
                    Some(why) => Err(why),
                }
            })?);
        }
        if spec.root.is_none() {
            let name = spec.name.as_deref().unwrap_or_default();
            let default = self.caller.cwd.join(author::default_root(self.app.now(), name));
            let default = default.display().to_string();
            let question = "Where should I place the fleet root? (Press enter for default)";
            spec.root = Some(ask(question, &default, |text| {
                let text = if text == "default" { &default } else { text };
                let root = root_of(self.caller, text).map_err(|error| error.message)?;
                Ok(root.display().to_string())
            })?);
        }
        match choice.plan_type {
            PlanType::Autoresearch => self.research(spec),
            plan_type => {
                self.workers(spec, plan_type)?;
                if plan_type == PlanType::Iterative {
                    self.rounds(spec)?;
                }
                Ok(())
            }
        }
    }

    /// Walks the tree. None: there is no plan to write.
    fn choose(&self, spec: &mut Spec) -> Result<Option<Choice>> {
        for question in Question::ALL {
            if spec.plan_type.is_some() || question.answer(spec).is_some() {
                continue;
            }
            let answer = yes_no(question.ask(), false)?;
            question.set(spec, answer);
            if *question == Question::OneSession && answer {
                break;
            }
        }
        let Decision::Take(choice) = decide(spec) else {
            return Ok(None);
        };
        ui::remark(&format!(
            "\nThe type is {}: {}.\n",
            choice.plan_type.as_str(),
            choice.why
        ));
        Ok(Some(choice))
    }

    fn workers(&self, spec: &mut Spec, plan_type: PlanType) -> Result<()> {
        let given = spec.workers.len();
        for index in 0.. {
            if index >= given {
                if index > 0 && !yes_no("\nIs there another worker?", index == 1)? {
                    return Ok(());
                }
                spec.workers.push(WorkerSpec::default());
            } else if !is_open(&spec.workers[index], plan_type) {
                continue;
            }
            let worker = self.worker(spec, index, plan_type, index < given)?;
            spec.workers[index] = worker;
            if given > 0 && index + 1 == given {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Asks about the worker at `index`; about one that was given in part only what it needs.
    fn worker(&self, spec: &Spec, index: usize, plan_type: PlanType, is_given: bool) -> Result<WorkerSpec> {
        let mut worker = spec.workers[index].clone();
        let before = &spec.workers[..index];
        ui::remark(&format!("\nWorker {}", index + 1));
        if worker.id.is_empty() {
            worker.id = ask(
                "  Its id?",
                &format!("worker-{}", index + 1),
                |text| match author::id_fault(text) {
                    Some(why) => Err(why.to_owned()),
                    None if before.iter().any(|other| other.id == text) => {
                        Err("another worker has it already".to_owned())
                    }
                    None => Ok(text.to_owned()),
                },
            )?;
        }
        if worker.task.trim().is_empty() {
            worker.task = self.text("  What is it to do, in specific terms? (a text, or @FILE)")?;
        }
        if plan_type != PlanType::Worktree && worker.worker_type.is_none() {
            // An iterative plan has one reviewer, which is asked about by itself.
            let types: Vec<WorkerType> = WorkerType::ALL
                .iter()
                .copied()
                .filter(|each| plan_type != PlanType::Iterative || *each != WorkerType::Reviewer)
                .collect();
            let rows = types.iter().map(|each| (*each, each.as_str(), each.hands_in()));
            let chosen = choose("  What does it hand in?", rows.collect(), WorkerType::CodeRun)?;
            worker.worker_type = Some(chosen);
        }
        if worker.files.is_empty() {
            worker.files = match (plan_type, worker.worker_type) {
                (PlanType::Worktree, _) => {
                    let question = "  Which files will it change? (paths and globs, a blank between two)";
                    ask(question, &format!("{}/**", worker.id), |text| files(text, before))?
                }
                (_, Some(WorkerType::ReadOnly)) => Vec::new(),
                _ if is_given => Vec::new(),
                _ => {
                    let question =
                        "  Which files of the repository will it write? (none: it saves into a folder of its own)";
                    ask(question, NONE, |text| match text {
                        NONE => Ok(Vec::new()),
                        text => files(text, &[]),
                    })?
                }
            };
        }
        if is_given {
            return Ok(worker);
        }
        if plan_type != PlanType::Worktree && !before.is_empty() {
            let last = before.last().map_or(NONE, |other| other.id.as_str());
            let default = if plan_type == PlanType::Dag { last } else { NONE };
            let question = "  Which workers must be done before it starts? (ids, a blank between two, or none)";
            worker.after = ask(question, default, |text| ids(text, before))?;
        }
        let (size, budget) = self.size(spec, "  How large is the task?")?;
        (worker.size, worker.budget) = (Some(size), Some(budget));
        (worker.provider, worker.model) = self.model(spec, "  Which provider and model?")?;
        Ok(worker)
    }

    fn rounds(&self, spec: &mut Spec) -> Result<()> {
        let has_reviewer = spec
            .workers
            .iter()
            .any(|each| author::is_verdict(PlanType::Iterative, each));
        if spec.review.is_none() && !has_reviewer {
            ui::remark("\nReviewer");
            let usual = "the tasks, the tests and the checks";
            let review = ask("  What is it to look at?", usual, |text| Ok(text.to_owned()))?;
            spec.review = Some(review).filter(|review| review != usual);
        }
        if spec.max_iterations.is_none() {
            spec.max_iterations = Some(count("  How many rounds at most?", ROUNDS[0])?);
        }
        if spec.reviewer_lgtm_count.is_none() {
            let question = "  How many verdicts `lgtm` in a row end it?";
            spec.reviewer_lgtm_count = Some(count(question, 1)?);
        }
        Ok(())
    }

    fn research(&self, spec: &mut Spec) -> Result<()> {
        if is_blank(spec.goal.as_deref()) {
            spec.goal = Some(self.text("What is to get better, and what may be tried? (a text, or @FILE)")?);
        }
        if spec.workdir.is_none() {
            spec.workdir = Some(ask("In which folder?", &self.base, |text| {
                let folder = std::path::Path::new(&self.base).join(text);
                match folder.is_dir() {
                    true => Ok(folder.display().to_string()),
                    false => Err(format!("there is no folder {}", folder.display())),
                }
            })?);
        }
        if is_blank(spec.eval_command.as_deref()) {
            spec.eval_command = Some(self.text("Which command measures it?")?);
        }
        if is_blank(spec.metric_regex.as_deref()) {
            let question = "What finds the number in its output? (a regular expression with a group)";
            spec.metric_regex = Some(ask(question, NUMBER, |text| match author::metric_fault(text) {
                None => Ok(text.to_owned()),
                Some(why) => Err(why),
            })?);
        }
        if spec.metric_direction.is_none() {
            let rows = vec![
                (Direction::Minimize, "minimize", "less is better"),
                (Direction::Maximize, "maximize", "more is better"),
            ];
            spec.metric_direction = Some(choose("Which way is better?", rows, Direction::Minimize)?);
        }
        if spec.files.is_empty() {
            let question = "Which files may be changed? (paths and globs, or all)";
            spec.files = ask(question, "all", |text| match text {
                "all" => Ok(Vec::new()),
                text => files(text, &[]),
            })?;
        }
        if spec.max_iterations.is_none() {
            spec.max_iterations = Some(count("How many rounds at most?", ROUNDS[1])?);
        }
        if spec.size.is_none() {
            let rows = Size::ALL.iter().map(|size| (*size, size.as_str(), size.what()));
            spec.size = Some(choose("How large is a round?", rows.collect(), Size::Function)?);
        }
        if spec.provider.is_none() && spec.model.is_none() {
            (spec.provider, spec.model) = self.model(spec, "Which provider and model?")?;
        }
        Ok(())
    }

    /// A size, and the budget that it proposes or another one.
    fn size(&self, spec: &Spec, question: &str) -> Result<(Size, f64)> {
        let rows = Size::ALL.iter().map(|size| (*size, size.as_str(), size.what()));
        let size = choose(question, rows.collect(), spec.size.unwrap_or(Size::Function))?;
        let (from, to) = size.band();
        let question = format!("  What may it spend, in USD? ({from:.2} to {to:.2} for this size)");
        let budget = ask(&question, &format!("{:.2}", author::proposal(Some(size))), |text| {
            let amount: Option<f64> = text.parse().ok();
            let usable = amount.filter(|amount| Usd::new(*amount).is_some_and(|usd| !usd.is_zero()));
            usable.ok_or_else(|| format!("`{text}` is no amount above 0, such as `1.50`"))
        })?;
        Ok((size, budget))
    }

    /// A provider and a model where they are not the plan's.
    fn model(&self, spec: &Spec, question: &str) -> Result<(Option<String>, Option<String>)> {
        let of_plan = spec.provider.as_deref().unwrap_or("claude");
        let usual = spec
            .model
            .as_deref()
            .or_else(|| model::provider(of_plan).and_then(|known| known.default.as_deref()));
        let default = match usual {
            Some(model) => format!("{of_plan} {model}"),
            None => of_plan.to_owned(),
        };
        let is_provider =
            |word: &str| model::provider(word).is_some() || self.harnesses.iter().any(|each| each == word);
        ask(question, &default, |text| {
            if text == default {
                return Ok((None, None));
            }
            let words: Vec<&str> = text.split_whitespace().collect();
            let (provider, model) = match words.as_slice() {
                [one] if is_provider(one) => (*one, None),
                [one] => (of_plan, Some(*one)),
                [provider, model] if is_provider(provider) => (*provider, Some(*model)),
                [other, _] => return Err(format!("`{other}` is no provider: {}", self.providers())),
                _ => return Err("write a provider, a model, or both".to_owned()),
            };
            if let (Some(known), Some(model)) = (model::provider(provider), model)
                && let Some(why) = known.model_fault(model).filter(|_| !self.allow_unknown_model)
            {
                return Err(why);
            }
            let own = Some(provider.to_owned()).filter(|provider| provider != of_plan);
            Ok((own, model.map(str::to_owned)))
        })
    }

    fn providers(&self) -> String {
        let known = model::providers().iter().map(|known| known.name.as_str());
        let all: Vec<&str> = known.chain(self.harnesses.iter().map(String::as_str)).collect();
        all.join(", ")
    }

    /// A text that has no default.
    fn text(&self, question: &str) -> Result<String> {
        loop {
            let text = line(&format!("{question}: "))?;
            let text = match text.starts_with('@') {
                true => match cli::local_text(self.caller, &text) {
                    Ok(text) => text,
                    Err(error) => {
                        again(&error.message);
                        continue;
                    }
                },
                false => text,
            };
            if !text.trim().is_empty() {
                return Ok(text);
            }
            again("there has to be a text");
        }
    }
}

/// Whether a worker that was given lacks something.
fn is_open(worker: &WorkerSpec, plan_type: PlanType) -> bool {
    let wants = match plan_type {
        PlanType::Worktree => worker.files.is_empty(),
        _ => worker.worker_type.is_none(),
    };
    wants || worker.id.is_empty() || worker.task.trim().is_empty()
}

fn is_blank(text: Option<&str>) -> bool {
    text.is_none_or(|text| text.trim().is_empty())
}

/// The rule of the check for names, on one answer.
fn name_fault(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let is_usable = text.len() <= 100
        && text.chars().all(plain)
        && !text.split('/').any(|part| part.is_empty() || part.starts_with('.'));
    (!is_usable).then(|| "write letters, digits, `-`, `_` and `.`, such as `fix-parser`".to_owned())
}

/// Patterns that can be read and that no worker of `before` has.
fn files(text: &str, before: &[WorkerSpec]) -> Result<Vec<String>, String> {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    for word in &words {
        let pattern = Pattern::new(word).map_err(|fault| match fault {
            Unusable::Malformed(why) => format!("`{word}` cannot be read: {why}"),
            Unusable::Outside => format!("`{word}` is not in the repository"),
        })?;
        for other in before {
            for theirs in &other.files {
                let common = Pattern::new(theirs)
                    .ok()
                    .and_then(|theirs| pattern.common_path(&theirs));
                if let Some(path) = common {
                    return Err(format!("`{word}` and `{theirs}` of `{}` both match `{path}`", other.id));
                }
            }
        }
    }
    Ok(words)
}

fn ids(text: &str, before: &[WorkerSpec]) -> Result<Vec<String>, String> {
    if text == NONE {
        return Ok(Vec::new());
    }
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    words
        .map(|word| match before.iter().any(|other| other.id == word) {
            true => Ok(word.to_owned()),
            false => {
                let known: Vec<&str> = before.iter().map(|other| other.id.as_str()).collect();
                Err(format!(
                    "there is no worker `{word}`; so far there are {}",
                    known.join(", ")
                ))
            }
        })
        .collect()
}

fn yes_no(question: &str, default: bool) -> Result<bool> {
    ask(question, if default { "yes" } else { "no" }, |text| {
        match text.to_lowercase().as_str() {
            "y" | "yes" => Ok(true),
            "n" | "no" => Ok(false),
            _ => Err("write yes or no".to_owned()),
        }
    })
}

fn count(question: &str, default: u32) -> Result<u32> {
    ask(question, &default.to_string(), |text| {
        let count = text.parse().ok().filter(|count| (1..=10_000).contains(count));
        count.ok_or_else(|| "write a number from 1 to 10000".to_owned())
    })
}

/// One of several words, by the word or by its number in the list.
fn choose<T: Copy + PartialEq>(question: &str, rows: Vec<(T, &str, &str)>, default: T) -> Result<T> {
    ui::remark(question);
    for (index, (_, word, meaning)) in rows.iter().enumerate() {
        ui::remark(&format!("    {} {word}: {meaning}", index + 1));
    }
    let usual = rows
        .iter()
        .find(|(value, ..)| *value == default)
        .map_or("", |row| row.1);
    ask("   ", usual, |text| {
        let by_number = text
            .parse::<usize>()
            .ok()
            .and_then(|number| rows.get(number.checked_sub(1)?));
        let found = by_number.or_else(|| rows.iter().find(|(_, word, _)| *word == text));
        let chosen = found.map(|(value, ..)| *value);
        chosen.ok_or_else(|| format!("write a number from 1 to {}, or one of the words", rows.len()))
    })
}

/// Asks until the answer can be read. An empty one is the default.
fn ask<T>(question: &str, default: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<T> {
    loop {
        let text = line(&format!("{question} [{default}]: "))?;
        let text = text.trim();
        match read(if text.is_empty() { default } else { text }) {
            Ok(value) => return Ok(value),
            Err(why) => again(&why),
        }
    }
}

fn again(why: &str) {
    ui::remark(&format!("    {why}"));
}

/// One line. Error: there is no more input.
fn line(question: &str) -> Result<String> {
    let answer = ui::ask(question).map_err(|error| Error::usage(format!("the answer cannot be read: {error}")))?;
    answer.ok_or_else(|| Error::new(Kind::Refused, "the dialogue was left, and nothing was written"))
}
