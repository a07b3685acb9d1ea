//! `budget`: what may be spent, by whom, and what of it is left.

use std::collections::HashMap;

use clap::Args;
use fleet_core::budget::{Cap, Level, Notice, Scope};
use fleet_core::money::Usd;
use fleet_core::name::{plural, word};
use fleet_core::plan::Plan;
use fleet_core::price::Listed;
use fleet_core::run::record::Run;
use fleet_core::task::{Task, TaskId};
use fleet_core::{Error, Result, Time};
use fleet_store::Of;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::budgets::change::{Changed, GO_ON, Height, Target, Wish};
use crate::budgets::unknown::{Unknown, hint_of_prices};
use crate::budgets::{self, ALL};
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, plain, span};
use crate::runs::{self, view};
use crate::task;

/// The command that shows whose costs are not known.
const BY_AGENT: &str = "fleet task cost --by agent";

/// Show every ceiling: what of it is spent, reserved and left
///
/// Reserved is what those may still spend that run now. A ceiling that pauses interrupts what reaches it; one that stops
/// ends it at once.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Show {}

/// Set the ceiling of a day, a week, a run, a task or an agent
///
/// A day is from midnight to midnight, a week from Monday on, both UTC and for all agents of this user: every launch
/// reserves what it may spend, and what does not fit is not started. The ceiling of a task holds for all agents that work
/// for it and for its parts.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// What for and how much: `TARGET USD`, or with --per `USD` alone; `none` takes the ceiling away
    #[arg(value_name = "[TARGET] USD", num_args = 1..=2, required = true, allow_negative_numbers = true)]
    pub words: Vec<String>,
    /// For all agents: day or week
    #[arg(long, value_name = "day|week", value_parser = ["day", "week"])]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<String>,
    /// The worker of the run that is meant
    #[arg(long, value_name = "WORKER", conflicts_with = "per")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The round of the run that is meant, from 1: all of its workers together
    #[arg(long, value_name = "N", conflicts_with_all = ["worker", "per"])]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<u32>,
    /// Stop at the ceiling: everything that reaches it is ended at once
    #[arg(long, conflicts_with = "soft")]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hard: bool,
    /// Pause at the ceiling and ask
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub soft: bool,
}

/// Raise a ceiling: what waits for it goes on, in the same conversation
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Raise {
    /// `day`, `week`, a fleet root, the name of a run, a task, or an agent
    pub target: String,
    /// The new ceiling in US dollars, or with a + how much is added: `10`, `+5`
    #[arg(value_name = "USD", allow_negative_numbers = true)]
    pub usd: String,
    /// The worker of the run that is meant
    #[arg(long, value_name = "WORKER")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The round of the run that is meant, from 1: all of its workers together
    #[arg(long, value_name = "N", conflicts_with = "worker")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<u32>,
    /// What to tell an agent that was interrupted or ended [default: to go on where it stopped]
    #[arg(short, long, allow_hyphen_values = true, conflicts_with = "quiet")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Tell an agent nothing: it waits for its next prompt
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
}

/// Print the prices in use, in US dollars for a million tokens
///
/// Yours, in prices.toml of fleet's home, come before those that fleet has. A model without a price costs an unknown
/// amount, never nothing.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Models, or parts of their names
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Print what to put into prices.toml for a model of your own
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub example: bool,
}

/// The ceilings.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ceilings {
    /// Each with what is taken of it. The day and the week are there without a ceiling, too.
    pub lines: Vec<Line>,
    /// Models that have no price, where that is why a cost is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpriced: Vec<String>,
    /// Commands that show whose cost is not known for another reason: nobody has told what was used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untold: Vec<String>,
}

/// A ceiling and what is taken of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// What it is for: `day`, `week`, a run, `RUN/round N`, a task, or a branch.
    pub what: String,
    /// `day`, `week`, `run`, `iteration`, `task` or `agent`.
    pub kind: String,
    /// The ceiling in USD; none where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling_usd: Option<Usd>,
    /// Whether everything ends when it is reached; otherwise it pauses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hard: bool,
    /// What is spent, as far as it is known, in USD.
    pub spent_usd: Usd,
    /// How many replies have no known cost.
    pub unknown: u64,
    /// What is reserved beyond that, in USD.
    pub reserved_usd: Usd,
    /// What of all that is charged for launches whose account is not whole, as where a supervisor was killed, in USD: by
    /// the program's own files and an estimate, or all that was reserved.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub estimated_usd: Usd,
    /// What is left, in USD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_usd: Option<Usd>,
    /// When it begins anew: the next midnight, or the next Monday, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// How near the end it is.
    pub level: Level,
    /// Since when it has been that near, where that was told: to the hook `on_budget`, and as an event of a run or a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Time>,
}

/// Ceilings that were changed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// Each of them.
    pub changed: Vec<Changed>,
    /// What has no ceiling any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

/// Prices.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// Each model, once for each time it has other prices.
    pub prices: Vec<Listed>,
    /// What to write into `prices.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

impl Operation for Show {
    const NAME: &'static str = "budget.show";
    const EFFECT: Effect = Effect::Read;
    type Output = Ceilings;

    fn run(self, app: &App, _: &Caller) -> Result<Ceilings> {
        let store = app.store()?;
        budgets::settle(app)?;
        let mut lines = Vec::new();
        let mut unknown = Unknown::default();
        for scope in ALL {
            let of = Of {
                since: scope.since(app.now()),
                ..Of::default()
            };
            let spent = store.spent(&of)?;
            if spent.unknown > 0 {
                add_unknown(app, &mut unknown, &of, BY_AGENT)?;
            }
            let room = store.room(&scope, app.now())?;
            let held = room.map(|room| room.held).unwrap_or_default();
            let cap = room.map(|room| room.cap);
            let name = scope.to_string();
            let line = Line {
                until: scope.until(app.now()),
                estimated_usd: store.charged_since(scope.since(app.now()))?,
                ..line(name.clone(), &name, cap, spent.cost, spent.unknown, held)
            };
            lines.push(told(app, &scope, line)?);
        }
        for run in store.runs()?.into_iter().filter(|run| run.finish.is_none()) {
            let plan = runs::plan_of(app, &run)?;
            let own = plan.cap.map(|ceiling| Cap { ceiling, hard: true });
            let scope = Scope::Run(run.id.clone());
            let cap = store.cap(&scope)?.or(own);
            let record = view::record(app, &run)?;
            let usd = |amount: f64| Usd::new(amount).unwrap_or_default();
            let (spent, held) = (usd(record.spent_usd), usd(record.reserved_usd));
            if record.spent_unknown {
                let show = format!("fleet status {}", word(&run.name));
                let of = Of {
                    run: Some(run.id.to_string()),
                    ..Of::default()
                };
                // What a killed supervisor did not count is in no account.
                if !add_unknown(app, &mut unknown, &of, &show)? {
                    unknown.untold.insert(show);
                }
            }
            let some = u64::from(record.spent_unknown);
            let line = Line {
                estimated_usd: usd(record.estimated_usd),
                ..line(run.name.clone(), "run", cap, spent, some, held)
            };
            lines.push(told(app, &scope, line)?);
            lines.extend(of_round(app, &run, &plan)?);
        }
        let holds = store.holds()?;
        for agent in store.agents_live()? {
            let Some(cap) = store.cap(&Scope::Agent(agent.id.to_string()))? else {
                continue;
            };
            crate::end::fold(app, &agent);
            let of = Of {
                agent: Some(agent.id.clone()),
                ..Of::default()
            };
            let spent = store.spent(&of)?;
            if spent.unknown > 0 {
                add_unknown(app, &mut unknown, &of, BY_AGENT)?;
            }
            let runs = holds.iter().any(|hold| hold.agent == agent.id);
            let charged = store.charged(&agent.id)?;
            let held = if runs { cap.ceiling.less(spent.cost) } else { charged };
            lines.push(Line {
                estimated_usd: charged,
                ..line(
                    agent.branch.clone(),
                    "agent",
                    Some(cap),
                    spent.cost,
                    spent.unknown,
                    held,
                )
            });
        }
        let tasks: HashMap<TaskId, Task> = store.tasks(None)?.into_iter().map(|task| (task.id, task)).collect();
        let mut open: Vec<&Task> = tasks.values().filter(|task| !task.status.is_final()).collect();
        open.sort_by_key(|task| task.id);
        for task in open.into_iter().filter(|task| task.ceiling.is_some()) {
            let what = task.id.to_string();
            let scope = Scope::Task(what.clone());
            if let Some(room) = store.room(&scope, app.now())? {
                let parts = tasks.keys().filter(|id| task::is_part_of(&tasks, **id, task.id));
                for part in parts.filter(|_| room.unknown > 0) {
                    let of = Of {
                        task: Some(part.to_string()),
                        ..Of::default()
                    };
                    add_unknown(app, &mut unknown, &of, &format!("fleet task cost {what} --by agent"))?;
                }
                let line = Line {
                    estimated_usd: room.charged,
                    ..line(what, "task", Some(room.cap), room.spent, room.unknown, room.held)
                };
                lines.push(told(app, &scope, line)?);
            }
        }
        Ok(Ceilings {
            lines,
            unpriced: unknown.unpriced.into_iter().collect(),
            untold: unknown.untold.into_iter().collect(),
        })
    }
}

/// Adds to `unknown` what has no cost in the part `of` of the account; false where all of it has one.
fn add_unknown(app: &App, unknown: &mut Unknown, of: &Of, show: &str) -> Result<bool> {
    let entries = app.store()?.account(of)?;
    let prices = app.prices().ok();
    unknown.add(prices.as_ref(), entries.iter().map(|each| &each.entry), show);
    Ok(entries.iter().any(|each| each.entry.cost.is_none()))
}

/// The round that a run is in, where all of its workers together have a ceiling.
fn of_round(app: &App, run: &Run, plan: &Plan) -> Result<Option<Line>> {
    let seen = view::seen_now(app, run, plan)?;
    let round = seen.last_round().unwrap_or(1);
    let Some(cap) = seen.iteration(plan, round) else {
        return Ok(None);
    };
    let own = || seen.all().filter(|step| step.key.round == round);
    let ended = || own().filter_map(|step| step.ended.as_ref());
    let spent: Usd = ended().filter_map(|ended| ended.cost).sum();
    let unknown = ended().filter(|ended| ended.cost.is_none()).count() as u64;
    let what = format!("{}/round {round}", run.name);
    let held = seen.committed_in(round).less(spent);
    let line = line(what, "iteration", Some(cap), spent, unknown, held);
    told(app, &Scope::Iteration(run.id.clone(), round), line).map(Some)
}

impl Line {
    /// How a sentence begins that is about it.
    fn named(&self) -> String {
        match self.what == self.kind {
            true => format!("the {}", self.kind),
            false => self.what.clone(),
        }
    }
}

fn is_nothing(amount: &Usd) -> bool {
    amount.is_zero()
}

fn line(what: String, kind: &str, cap: Option<Cap>, spent: Usd, unknown: u64, held: Usd) -> Line {
    Line {
        what,
        kind: kind.to_owned(),
        ceiling_usd: cap.map(|cap| cap.ceiling),
        hard: cap.is_some_and(|cap| cap.hard),
        spent_usd: spent,
        unknown,
        reserved_usd: held,
        estimated_usd: Usd::default(),
        left_usd: cap.map(|cap| cap.ceiling.less(spent + held)),
        until: None,
        level: cap.map_or(Level::Within, |cap| Level::of(spent.micros(), cap.ceiling.micros())),
        told_at: None,
    }
}

/// `line`, which is of `scope`, with the time at which it was told how near its end that is.
fn told(app: &App, scope: &Scope, line: Line) -> Result<Line> {
    let told = match line.ceiling_usd {
        Some(ceiling) => app.store()?.told(scope, ceiling, app.now())?,
        None => None,
    };
    // What is charged for what nobody knows counts there.
    let level = told.as_ref().map(|told| match told.notice {
        Notice::Reached => Level::Reached,
        _ => Level::Near,
    });
    Ok(Line {
        told_at: told.map(|told| told.at),
        level: line.level.max(level.unwrap_or_default()),
        ..line
    })
}

impl Operation for Set {
    const NAME: &'static str = "budget.set";
    const EFFECT: Effect = Effect::Write;
    type Output = Changes;

    fn run(self, app: &App, caller: &Caller) -> Result<Changes> {
        let (target, usd) = match (&self.per, self.words.as_slice()) {
            (Some(per), [usd]) => (per.as_str(), usd.as_str()),
            (None, [target, usd]) => (target.as_str(), usd.as_str()),
            (None, [usd]) => {
                return Err(Error::usage("nobody knows what this ceiling is for")
                    .hint(format!("say it: `fleet budget set --per day {}`", word(usd))));
            }
            _ => {
                return Err(Error::usage("with `--per` the amount alone is given")
                    .hint("such as `fleet budget set --per day 20`"));
            }
        };
        let target = Target::find(app, caller, target, self.worker.as_deref(), self.iteration)?;
        if usd == "none" {
            return remove(app, caller, &target);
        }
        let height = match Height::read(usd)? {
            Height::At(usd) => Height::At(usd),
            Height::More(_) => {
                return Err(Error::usage("`+` is for more of a ceiling that is there").hint("use `fleet budget raise`"));
            }
        };
        let hard = match (self.hard, self.soft) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        let wish = Wish {
            height,
            hard,
            only_up: false,
            prompt: Some(GO_ON.to_owned()),
        };
        Ok(Changes {
            changed: target.change(app, caller, &wish)?,
            removed: Vec::new(),
        })
    }
}

fn remove(app: &App, caller: &Caller, target: &Target) -> Result<Changes> {
    Ok(Changes {
        changed: Vec::new(),
        removed: target.remove(app, caller)?,
    })
}

impl Operation for Raise {
    const NAME: &'static str = "budget.raise";
    const EFFECT: Effect = Effect::Write;
    type Output = Changes;

    fn run(self, app: &App, caller: &Caller) -> Result<Changes> {
        let wish = Wish {
            height: Height::read(&self.usd)?,
            hard: None,
            only_up: true,
            prompt: (!self.quiet).then(|| self.prompt.unwrap_or_else(|| GO_ON.to_owned())),
        };
        let target = Target::find(app, caller, &self.target, self.worker.as_deref(), self.iteration)?;
        Ok(Changes {
            changed: target.change(app, caller, &wish)?,
            removed: Vec::new(),
        })
    }
}

impl Operation for Prices {
    const NAME: &'static str = "budget.prices";
    const EFFECT: Effect = Effect::Read;
    type Output = List;

    fn run(self, app: &App, _: &Caller) -> Result<List> {
        if self.example {
            return Ok(List {
                prices: Vec::new(),
                example: Some(fleet_core::price::EXAMPLE.to_owned()),
            });
        }
        let table = app.prices()?;
        let mut prices: Vec<Listed> = table.list().collect();
        if !self.models.is_empty() {
            prices.retain(|price| self.models.iter().any(|part| price.model.contains(part)));
        }
        if let (true, Some(model)) = (prices.is_empty(), self.models.first()) {
            let error = Error::not_found(format!("there is no price of `{model}`"));
            return Err(match fleet_core::nearest::nearest(model, table.models(), 1).first() {
                Some(near) => error.hint(format!(
                    "did you mean `{near}`? To add one: `fleet budget prices --example`"
                )),
                None => error.hint("to add one: `fleet budget prices --example`"),
            });
        }
        Ok(List { prices, example: None })
    }
}

impl crate::page::Show for Ceilings {
    fn show(&self, page: &mut Page) {
        let amount = |usd: Usd| plain(digits(usd));
        let rows = self.lines.iter().map(|line| {
            let spent = match line.unknown {
                0 => plain(digits(line.spent_usd)),
                _ => span(Label::Warn, format!("{} and unknown", digits(line.spent_usd))),
            };
            let left = match (line.left_usd, line.level) {
                (None, _) => plain("-"),
                (Some(left), Level::Within) => span(Label::Good, digits(left)),
                (Some(left), Level::Near) => span(Label::Warn, digits(left)),
                (Some(left), Level::Reached) => span(Label::Bad, digits(left)),
            };
            let then = match (line.ceiling_usd, line.hard) {
                (None, _) => "-",
                (_, true) => "stops",
                (_, false) => "pauses",
            };
            vec![
                plain(line.kind.clone()),
                span(
                    Label::Name,
                    if line.what == line.kind {
                        "all agents"
                    } else {
                        &line.what
                    },
                ),
                line.ceiling_usd.map_or(plain("-"), amount),
                spent,
                amount(line.reserved_usd),
                left,
                plain(then),
            ]
        });
        let head = ["CEILING OF", "WHAT", "USD", "SPENT", "RESERVED", "LEFT", "AT THE END"];
        page.table(&head, rows.collect());
        for line in self.lines.iter().filter(|line| !line.estimated_usd.is_zero()) {
            page.line(format!(
                "{}: {} of it are estimated, for launches whose account is not whole",
                line.named(),
                line.estimated_usd
            ));
        }
        for line in &self.lines {
            let how = match line.level {
                Level::Reached => "at its end",
                _ => "near its end",
            };
            if let Some(at) = line.told_at {
                page.line(format!("{} has been {how} since {at}", line.named()));
            }
        }
        let is_over = |line: &&Line| line.level != Level::Within || line.left_usd == Some(Usd::default());
        for line in self.lines.iter().filter(is_over) {
            if let Some(until) = line.until {
                page.line(format!("the {} begins anew at {until}", line.what));
            }
        }
        if self.lines.iter().all(|line| line.ceiling_usd.is_none()) {
            page.hint("set a ceiling for all agents: `fleet budget set --per day 20`");
        }
        if let Some(hint) = hint_of_prices(&self.unpriced) {
            page.hint(hint);
        }
        for command in &self.untold {
            page.hint(format!(
                "nobody has told what some of it used; whose it is: `{command}`"
            ));
        }
    }
}

impl crate::page::Show for Changes {
    fn show(&self, page: &mut Page) {
        for each in &self.changed {
            let before = match each.before_usd {
                Some(before) => format!(" (before: {before})"),
                None => String::new(),
            };
            let then = if each.hard { "then it stops" } else { "then it pauses" };
            page.spans(vec![
                span(Label::Name, &each.what),
                plain(format!(
                    " may spend {}{before}, {} are spent, {then}",
                    each.ceiling_usd, each.spent_usd
                )),
                plain(if each.how == "goes on" { "; it goes on" } else { "" }),
            ]);
            for limited in &each.limited {
                page.line(format!("{limited} from now on"));
            }
            if each.spent_usd >= each.ceiling_usd {
                page.warning(format!("{} has spent that already: nothing more is started", each.what));
            }
        }
        for what in &self.removed {
            page.spans(vec![span(Label::Name, what), plain(" has no ceiling any more")]);
        }
    }
}

impl crate::page::Show for List {
    fn show(&self, page: &mut Page) {
        if let Some(example) = &self.example {
            return page.raw(example.clone());
        }
        let number = |amount: f64| plain(amount.to_string());
        let day = |day: &Option<String>| plain(day.clone().unwrap_or_else(|| "-".to_owned()));
        let rows = self.prices.iter().map(|price| {
            vec![
                span(Label::Name, &price.model),
                number(price.input),
                number(price.output),
                number(price.cache_read),
                number(price.cache_write),
                plain(price.above.map_or("-".to_owned(), |above| format!("above {above}"))),
                day(&price.from),
                day(&price.until),
            ]
        });
        let head = [
            "MODEL",
            "INPUT",
            "OUTPUT",
            "CACHE READ",
            "CACHE WRITE",
            "LONG",
            "FROM",
            "UNTIL",
        ];
        page.table(&head, rows.collect());
        page.line(format!(
            "{}, in US dollars for a million tokens",
            plural(self.prices.len(), "price")
        ));
    }
}

/// Dollars without the unit, for a column whose head says it.
fn digits(usd: Usd) -> String {
    let text = usd.to_string();
    text.trim_end_matches(" USD").to_owned()
}
