//! Changing a ceiling, and letting go on what waits for it.

use fleet_core::agent::{Agent, Standing};
use fleet_core::budget::{Cap, Limits, Scope};
use fleet_core::money::Usd;
use fleet_core::name::word;
use fleet_core::outcome::Outcome;
use fleet_core::plan::{Plan, Shape};
use fleet_core::run::record::Run;
use fleet_core::run::standing::Word;
use fleet_core::run::{Control, Finish, Key, Pause, Seen};
use fleet_core::task::{Task, TaskId};
use fleet_core::{Error, Kind, Result};
use fleet_host::lock::Lock;
use fleet_host::supervise::journal;
use fleet_store::Change;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shares::{self, Turn};
use super::{ALL, amount, limits_of, settle, spent, usual};
use crate::app::App;
use crate::caller::Caller;
use crate::ops::launch::{bring_up, note};
use crate::ops::prompt::send;
use crate::ops::resume::{How, With, revive_all};
use crate::{runs, task};

/// What an agent is told that goes on.
pub(crate) const GO_ON: &str = "Your budget was raised. Go on where you stopped.";

/// What has a ceiling.
pub(crate) enum Target {
    /// All agents of this user.
    All(Scope),
    /// A run.
    Run(Box<Run>),
    /// One worker of a run.
    Worker(Box<Run>, String),
    /// One round of a run: all of its workers.
    Iteration(Box<Run>, u32),
    /// A task: all agents that work for it and for its parts.
    Task(Box<Task>),
    /// Agents, each with a ceiling of its own.
    Agents(Vec<Agent>),
}

/// How high a ceiling is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Height {
    /// This high.
    At(Usd),
    /// So much higher than it is.
    More(Usd),
}

/// What is asked for.
pub(crate) struct Wish {
    /// How high.
    pub(crate) height: Height,
    /// What happens when it is reached; as before where nobody says.
    pub(crate) hard: Option<bool>,
    /// Whether it may only become higher.
    pub(crate) only_up: bool,
    /// What an agent is told that goes on; none where it is to wait.
    pub(crate) prompt: Option<String>,
}

/// A ceiling after a change.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// What it is for: `day`, `week`, the name of a run, `RUN/WORKER`, `RUN/round N`, a
    /// task, or a branch.
    pub what: String,
    /// The ceiling now, in USD.
    pub ceiling_usd: Usd,
    /// The ceiling before, in USD; none where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_usd: Option<Usd>,
    /// Whether everything ends when it is reached; otherwise it pauses.
    pub hard: bool,
    /// What has been spent of it, in USD.
    pub spent_usd: Usd,
    /// The agents that ran without a limit, and have one from now on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limited: Vec<String>,
    /// What follows: `goes on` where something waited for this, else `set`.
    pub how: String,
}

impl Target {
    /// What `target` names.
    ///
    /// # Errors
    /// `NotFound`: nothing; `Usage`: a run and an agent.
    pub(crate) fn find(
        app: &App,
        caller: &Caller,
        target: &str,
        worker: Option<&str>,
        iteration: Option<u32>,
    ) -> Result<Target> {
        if let Some(round) = iteration {
            let run = runs::find(app, caller, Some(target))?;
            require_round(app, &run, round)?;
            return Ok(Target::Iteration(Box::new(run), round));
        }
        if let Some(worker) = worker {
            let run = runs::find(app, caller, Some(target))?;
            let plan = runs::plan_of(app, &run)?;
            runs::place_of(&run, &plan, worker)?;
            return Ok(Target::Worker(Box::new(run), worker.to_owned()));
        }
        if let Some(scope) = ALL.into_iter().find(|scope| scope.to_string() == target) {
            return Ok(Target::All(scope));
        }
        if let Some(id) = TaskId::parse(target) {
            return require_own_agents(task::require_task(app, id)?).map(|task| Target::Task(Box::new(task)));
        }
        let run = runs::try_find(app, caller, target)?;
        let agents = app.select(caller, &[target.to_owned()], None);
        match (run, agents) {
            (Some(run), Err(_)) => Ok(Target::Run(Box::new(run))),
            // The agents of a run have its name as their batch, and no other.
            (Some(_), Ok(agents)) => Err(Error::usage(format!("`{target}` is a run and an agent")).hint(format!(
                "name the run by its fleet root, or the agent by its id: `fleet budget raise {} +5`",
                agents.first().map_or("ID", |agent| agent.id.as_str())
            ))),
            (None, Ok(agents)) => Ok(Target::Agents(agents)),
            (None, Err(error)) if error.kind == Kind::NotFound => {
                Err(Error::not_found(format!("there is no run and no agent `{target}`"))
                    .hint("name `day`, `week`, a fleet root, a task or an agent: `fleet budget show`"))
            }
            (None, Err(error)) => Err(error),
        }
    }

    /// Takes the ceiling away.
    ///
    /// # Errors
    /// `Usage`: it is the plan's own.
    pub(crate) fn remove(&self, app: &App, caller: &Caller) -> Result<Vec<String>> {
        let drop = |scope: &Scope| set(app, scope, None);
        match self {
            Target::All(scope) => {
                drop(scope)?;
                let_go_on(app, caller, &scope.to_string(), |_| Ok(true))?;
                Ok(vec![scope.to_string()])
            }
            Target::Run(run) => {
                drop(&Scope::Run(run.id.clone()))?;
                runs::wake(app, caller, &run.id)?;
                Ok(vec![run.name.clone()])
            }
            Target::Iteration(run, round) => {
                drop(&Scope::Iteration(run.id.clone(), *round))?;
                runs::wake(app, caller, &run.id)?;
                Ok(vec![format!("{}/round {round}", run.name)])
            }
            Target::Worker(run, worker) => Err(Error::usage(format!("every worker has a budget: `{worker}`, too"))
                .hint(format!(
                    "raise it: `fleet budget raise {} +5 --worker {worker}`",
                    word(&run.name)
                ))),
            Target::Task(task) => {
                drop(&Scope::Task(task.id.to_string()))?;
                let store = app.store()?;
                for (id, own) in store.task_agents(task.id)? {
                    // Others have a ceiling nearer by, or one above.
                    let is_free = store.shares(&id)? && store.task_rooms(own)?.is_empty();
                    if let Some(agent) = store.agent(&id)?.filter(|_| is_free) {
                        unlimit(app, &agent)?;
                    }
                }
                let_go_on(app, caller, &task.id.to_string(), |run| is_within(app, run, task.id))?;
                publish(app, task.id)?;
                Ok(vec![task.id.to_string()])
            }
            Target::Agents(agents) => {
                for agent in agents {
                    unlimit(app, agent)?;
                }
                Ok(agents.iter().map(|agent| agent.branch.clone()).collect())
            }
        }
    }

    /// Does what is wished.
    pub(crate) fn change(&self, app: &App, caller: &Caller, wish: &Wish) -> Result<Vec<Changed>> {
        match self {
            Target::All(scope) => all(app, caller, scope, wish).map(|changed| vec![changed]),
            Target::Run(run) => of_run(app, caller, run, wish).map(|changed| vec![changed]),
            Target::Worker(run, worker) => of_worker(app, caller, run, worker, wish).map(|changed| vec![changed]),
            Target::Iteration(run, round) => of_round(app, caller, run, *round, wish).map(|changed| vec![changed]),
            Target::Task(task) => of_task(app, caller, task, wish).map(|changed| vec![changed]),
            Target::Agents(agents) => agents.iter().map(|agent| of_agent(app, caller, agent, wish)).collect(),
        }
    }
}

impl Height {
    /// Reads `5` and `+5`.
    pub(crate) fn read(text: &str) -> Result<Height> {
        let (more, number) = match text.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let usd = number.trim().parse::<f64>().map_err(|_| {
            Error::usage(format!("`{text}` is no amount"))
                .hint("give US dollars: `10` for that much, `+5` for so much more")
        })?;
        let usd = amount("USD", usd)?;
        Ok(if more { Height::More(usd) } else { Height::At(usd) })
    }
}

impl Wish {
    /// The ceiling that is wished where there was `before` of `what`, of which `spent` is spent.
    fn cap(&self, what: &str, before: Option<Cap>, spent: Usd) -> Result<Cap> {
        let ceiling = match self.height {
            Height::At(ceiling) => ceiling,
            Height::More(more) => before.map_or(spent, |before| before.ceiling) + more,
        };
        if let Some(before) = before.filter(|before| self.only_up && ceiling <= before.ceiling) {
            return Err(
                Error::usage(format!("the ceiling of `{what}` is {} already", before.ceiling)).hint(format!(
                    "raise it by some: `fleet budget raise {0} +5`; to lower it: `fleet budget set {0} {1}`",
                    word(what),
                    ceiling.dollars()
                )),
            );
        }
        let hard = self.hard.or(before.map(|before| before.hard)).unwrap_or(false);
        Ok(Cap { ceiling, hard })
    }
}

fn all(app: &App, caller: &Caller, scope: &Scope, wish: &Wish) -> Result<Changed> {
    let store = app.store()?;
    settle(app)?;
    let before = store.cap(scope)?;
    let had_one = usual(app, &app.config(caller, None)?)?.is_some();
    let spent = store.spent(&fleet_store::Of {
        since: scope.since(app.now()),
        ..fleet_store::Of::default()
    })?;
    let cap = wish.cap(&scope.to_string(), before, spent.cost)?;
    set(app, scope, Some(cap))?;
    let mut how = "set";
    let limited = match had_one {
        true => Vec::new(),
        false => limit_running(app, caller, scope)?,
    };
    if let_go_on(app, caller, &scope.to_string(), |_| Ok(true))? {
        how = "goes on";
    }
    Ok(Changed {
        limited,
        ..changed(scope.to_string(), cap, before, spent.cost, how)
    })
}

/// Gives a limit to the agents that run without one, now that all together have a ceiling: the usual one, or their share
/// of what is left where that is less.
fn limit_running(app: &App, caller: &Caller, scope: &Scope) -> Result<Vec<String>> {
    let store = app.store()?;
    let mut free = Vec::new();
    for agent in store.agents_live()? {
        let runs = Lock::is_held(&app.home.agent_lock(&agent.id));
        let own = store.cap(&Scope::Agent(agent.id.to_string()))?;
        if runs && own.is_none() && store.step_of(&agent.id)?.is_none() {
            free.push(agent);
        }
    }
    let (Some(usual), Some(room)) = (usual(app, &app.config(caller, None)?)?, store.room(scope, app.now())?) else {
        return Ok(Vec::new());
    };
    let share = room.left().micros() / free.len().max(1) as u64;
    let each = usual.ceiling.min(Usd::from_micros(share));
    let mut limited = Vec::new();
    for agent in &free {
        let cap = Cap {
            ceiling: spent(app, agent)?.usd + each,
            ..usual
        };
        set_agent(app, agent, cap)?;
        app.client(agent)?.limit(&limits_of(cap))?;
        limited.push(format!("{} may spend {each} more", agent.branch));
    }
    Ok(limited)
}

fn of_agent(app: &App, caller: &Caller, agent: &Agent, wish: &Wish) -> Result<Changed> {
    let store = app.store()?;
    if let Some((run, step)) = store.step_of(&agent.id)? {
        let root = store.run(&run)?.map(|run| run.root).unwrap_or_default();
        let (worker, root) = (&step.name.worker, root.display().to_string());
        return Err(
            Error::usage(format!("`{}` is worker `{worker}` of a run", agent.branch)).hint(format!(
                "raise the worker's budget: `fleet budget raise {} +5 --worker {worker}`",
                word(&root)
            )),
        );
    }
    settle(app)?;
    crate::end::fold(app, agent);
    let scope = Scope::Agent(agent.id.to_string());
    let (before, spent) = (store.cap(&scope)?, spent(app, agent)?.usd);
    let cap = wish.cap(&agent.branch, before, spent)?;
    // From now on it has a budget of its own.
    store.set_shares("budget.unshare", &agent.id, false)?;
    let seen = app.see(agent);
    let how = if seen.alive {
        set_agent(app, agent, cap)?;
        // Who raises it knows what is not known.
        match limit(app, agent, cap, cap.hard, wish.prompt.as_deref())? {
            true => "goes on",
            false => "set",
        }
    } else {
        set(app, &scope, Some(cap))?;
        match cap.ceiling > spent && revive(app, caller, agent, wish)? {
            true => "goes on",
            false => "set",
        }
    };
    Ok(changed(agent.branch.clone(), cap, before, spent, how))
}

/// Revives an agent that was ended at its limit, unless nobody wants it told to go on. Answers whether it was.
fn revive(app: &App, caller: &Caller, agent: &Agent, wish: &Wish) -> Result<bool> {
    let over = matches!(app.see(agent).outcome, Some((Outcome::Budget, _)));
    let Some(prompt) = wish.prompt.clone().filter(|_| over) else {
        return Ok(false);
    };
    let with = With {
        env: &[],
        prompt: Some(prompt),
    };
    revive_all(app, caller, vec![agent.clone()], &with, How::Resume)?;
    Ok(true)
}

/// Tells the supervisor of an agent what that may spend; `known` as in [`Limits::known`]. One that goes on by this and has
/// nothing to do is told `text`. Answers whether it goes on.
pub(super) fn limit(app: &App, agent: &Agent, cap: Cap, known: bool, text: Option<&str>) -> Result<bool> {
    // What was held back is given to it anyway.
    let standing = Standing::fold(&journal::read(&app.home.agent_dir(&agent.id))?);
    let limits = Limits {
        known,
        ..limits_of(cap)
    };
    let goes_on = app.client(agent)?.limit(&limits)?;
    if let Some(text) = text.filter(|_| goes_on && !agent.headless && standing.queue.is_empty()) {
        send(app, agent, text, None, None)?;
    }
    Ok(goes_on)
}

fn unlimit(app: &App, agent: &Agent) -> Result<()> {
    set(app, &Scope::Agent(agent.id.to_string()), None)?;
    if app.see(agent).alive {
        app.client(agent)?.limit(&Limits::default())?;
    }
    Ok(())
}

/// The task, where the agents that work for it are its own.
///
/// # Errors
/// `Usage`: a run works for it, which has a ceiling itself.
fn require_own_agents(task: Task) -> Result<Task> {
    match &task.run {
        None => Ok(task),
        Some(run) => Err(
            Error::usage(format!("{} is worked on by a run, which has the ceiling", task.id))
                .hint(format!("name the run: `fleet budget raise {} +5`", word(run))),
        ),
    }
}

fn of_task(app: &App, caller: &Caller, task: &Task, wish: &Wish) -> Result<Changed> {
    let store = app.store()?;
    settle(app)?;
    let scope = Scope::Task(task.id.to_string());
    let before = store.room(&scope, app.now())?;
    let spent = task::Costs::now(app)?.of(task.id).whole.cost;
    let what = task.id.to_string();
    if before.is_none() && wish.only_up {
        return Err(
            Error::usage(format!("{what} has no ceiling")).hint(format!("set one: `fleet budget set {what} 5`"))
        );
    }
    let before = before.map(|room| room.cap);
    let cap = wish.cap(&what, before, spent)?;
    let more = cap
        .ceiling
        .less(before.map(|before| before.ceiling).unwrap_or_default());
    let turn = Turn::take(app)?;
    if let Some(whole) = task.parent {
        shares::make_room(app, &turn, whole, more)?;
    }
    shares::lower_to(app, &turn, task.id, cap.ceiling)?;
    set(app, &scope, Some(cap))?;
    drop(turn);
    let config = app.config(caller, None)?;
    let limited = shares::limit_running(app, &config, task.id)?;
    let mut goes_on = shares::give_out(app, task.id, Some(wish))?;
    for (id, _) in store.task_agents(task.id)? {
        let agent = store.agent(&id)?.filter(|agent| !app.see(agent).alive);
        let Some(agent) = agent.filter(|_| store.shares(&id).unwrap_or_default()) else {
            continue;
        };
        goes_on |= match revive(app, caller, &agent, wish) {
            // Those before it have what there was.
            Err(error) if error.kind == Kind::OverBudget => false,
            other => other?,
        };
    }
    goes_on |= let_go_on(app, caller, &what, |run| is_within(app, run, task.id))?;
    publish(app, task.id)?;
    let how = if goes_on { "goes on" } else { "set" };
    Ok(Changed {
        limited,
        ..changed(what, cap, before, spent, how)
    })
}

/// Writes the files of a task anew.
fn publish(app: &App, id: TaskId) -> Result<()> {
    let task = task::require_task(app, id)?;
    task::publish(app, &task::repo_of(&task), id)
}

fn of_run(app: &App, caller: &Caller, run: &Run, wish: &Wish) -> Result<Changed> {
    let store = app.store()?;
    let plan = runs::plan_of(app, run)?;
    let scope = Scope::Run(run.id.clone());
    let own = plan.cap.map(|ceiling| Cap { ceiling, hard: true });
    let before = store.cap(&scope)?.or(own);
    let record = runs::view::record(app, run)?;
    let spent = Usd::new(record.spent_usd).unwrap_or_default();
    let root = run.root.display().to_string();
    if before.is_none() && wish.only_up {
        return Err(Error::usage(format!(
            "`{}` has no ceiling as a whole, only its workers have",
            run.name
        ))
        .hint(format!(
            "set one: `fleet budget set {0} 20`; for one worker: `fleet budget raise {0} +5 --worker NAME`",
            word(&root)
        )));
    }
    let cap = wish.cap(&root, before, spent)?;
    set(app, &scope, Some(cap))?;
    let how = goes_on_with(app, caller, run, format!("{} may be spent", cap.ceiling))?;
    Ok(changed(run.name.clone(), cap, before, spent, how))
}

/// Refuses a round that the run does not have, or that is over.
fn require_round(app: &App, run: &Run, round: u32) -> Result<()> {
    let plan = runs::plan_of(app, run)?;
    let most = match &plan.shape {
        Shape::Iterative(rounds) => rounds.max_iterations,
        Shape::Autoresearch(research) => research.max_iterations,
        Shape::Worktree | Shape::Dag | Shape::Pipeline(_) => {
            let error = Error::usage(format!("a {} plan has no iterations", run.plan_type));
            return Err(error.hint(format!(
                "set the ceiling of the run: `fleet budget set {} 20`",
                word(&run.name)
            )));
        }
    };
    let begun = app.store()?.rounds(&run.id)?.iter().map(|round| round.round).max();
    let first = begun.unwrap_or(1);
    if !(first..=most.max(first)).contains(&round) {
        return Err(
            Error::usage(format!("`{}` has no iteration {round} to come", run.name)).hint(format!(
                "it is in {first} of {most}: `fleet budget set {} 5 --iteration {first}`",
                word(&run.name)
            )),
        );
    }
    Ok(())
}

fn of_round(app: &App, caller: &Caller, run: &Run, round: u32, wish: &Wish) -> Result<Changed> {
    let store = app.store()?;
    let plan = runs::plan_of(app, run)?;
    let seen = runs::view::seen_now(app, run, &plan)?;
    let before = seen.iteration(&plan, round);
    let what = format!("{}/round {round}", run.name);
    if before.is_none() && wish.only_up {
        return Err(
            Error::usage(format!("`{what}` has no ceiling as a whole, only its workers have")).hint(format!(
                "set one: `fleet budget set {} 5 --iteration {round}`",
                word(&run.name)
            )),
        );
    }
    let spent: Usd = seen
        .all()
        .filter(|step| step.key.round == round)
        .filter_map(|step| step.ended.as_ref()?.cost)
        .sum();
    let mut cap = wish.cap(&what, before, spent)?;
    // What has used up its round is measured as it is: there is nobody to ask.
    cap.hard |= matches!(plan.shape, Shape::Autoresearch(_));
    store.set_cap(
        "budget.set",
        &Scope::Iteration(run.id.clone(), round),
        Some(cap),
        app.now(),
    )?;
    let how = goes_on_with(app, caller, run, format!("round {round} may spend {}", cap.ceiling))?;
    Ok(changed(what, cap, before, spent, how))
}

/// Lets a run go on that has paused or ended for money; any other hears of the change.
fn goes_on_with(app: &App, caller: &Caller, run: &Run, about: String) -> Result<&'static str> {
    let changes = match run.finish {
        Some(Finish::OverBudget) => vec![Change::Reopen],
        None if waits_for_money(run) => Vec::new(),
        None => {
            note(app, &run.id, "budget", about, &[])?;
            runs::wake(app, caller, &run.id)?;
            return Ok("set");
        }
        Some(_) => return Ok("set"),
    };
    go_on(app, caller, run, changes, about)?;
    Ok("goes on")
}

/// Lets those runs go on that wait for money and for which `is_meant` holds. Answers whether there was one.
fn let_go_on(app: &App, caller: &Caller, about: &str, is_meant: impl Fn(&Run) -> Result<bool>) -> Result<bool> {
    let mut any = false;
    for run in app.store()?.runs()? {
        if run.finish.is_none() && waits_for_money(&run) && is_meant(&run)? {
            go_on(app, caller, &run, Vec::new(), about.to_owned())?;
            any = true;
        }
    }
    Ok(any)
}

/// Has the drivers of runs that wait for what agents of `task` have given back look at it, but for that of the run `but`.
pub(crate) fn knock_mates(app: &App, task: TaskId, but: Option<&str>) -> Result<()> {
    let store = app.store()?;
    let owner =
        |task: TaskId| -> Result<Option<TaskId>> { Ok(store.task_rooms(task)?.first().map(|(owner, _)| *owner)) };
    let Some(whole) = owner(task)? else { return Ok(()) };
    for run in store.runs()? {
        let waits = run.finish.is_none() && waits_for_money(&run) && but != Some(&run.id);
        if let Some(own) = run.task.filter(|_| waits)
            && owner(own)? == Some(whole)
        {
            runs::knock(app, &run.id)?;
        }
    }
    Ok(())
}

/// Whether a run works for the task `whole` or a part of it.
fn is_within(app: &App, run: &Run, whole: TaskId) -> Result<bool> {
    let store = app.store()?;
    let mut next = run.task;
    while let Some(id) = next {
        if id == whole {
            return Ok(true);
        }
        next = store.task(id)?.and_then(|task| task.parent);
    }
    Ok(false)
}

fn waits_for_money(run: &Run) -> bool {
    run.control == Control::Paused && run.pause.is_some_and(Pause::is_for_money)
}

fn of_worker(app: &App, caller: &Caller, run: &Run, worker: &str, wish: &Wish) -> Result<Changed> {
    let store = app.store()?;
    let plan = runs::plan_of(app, run)?;
    let place = runs::place_of(run, &plan, worker)?;
    let before = Cap {
        ceiling: budget_of(&plan, place),
        hard: true,
    };
    let what = format!("{}/{worker}", run.name);
    let steps = store.steps(&run.id)?;
    let own = steps.iter().filter(|step| step.name.worker == worker);
    let round = own.clone().map(|step| step.name.round).max().unwrap_or(1);
    let last: Vec<_> = own.filter(|step| step.name.round == round && !step.forgotten).collect();
    let cost = last.iter().filter_map(|step| step.ended.as_ref()?.cost);
    let spent: Usd = cost.sum();
    let cap = Cap {
        hard: true,
        ..wish.cap(&what, Some(before), spent)?
    };
    if cap.ceiling < before.ceiling {
        return Err(
            Error::usage(format!("the budget of `{what}` is {} by its plan", before.ceiling))
                .hint("lower it in fleet.json, and launch the plan again"),
        );
    }
    // Seen before it is raised: with more to spend it is over no more.
    let record = runs::view::record(app, run)?;
    let is_over = record
        .workers
        .iter()
        .any(|each| each.id == worker && each.state == Word::OverBudget);
    let scope = Scope::Worker(run.id.clone(), worker.to_owned());
    set(app, &scope, Some(cap))?;
    let over = last
        .iter()
        .filter(|step| is_over && step.ended.is_some())
        .max_by_key(|step| step.name.attempt);
    let mut changes: Vec<Change> = over
        .map(|step| Change::Forgive(step.name.clone()))
        .into_iter()
        .collect();
    let about = format!("{worker} may spend {}", cap.ceiling);
    let how = match (changes.is_empty(), run.finish) {
        (false, finish) => {
            changes.extend(finish.map(|_| Change::Reopen));
            go_on(app, caller, run, changes, about)?;
            "goes on"
        }
        (true, None) => {
            note(app, &run.id, "budget", about, &[])?;
            runs::wake(app, caller, &run.id)?;
            "set"
        }
        (true, Some(_)) => "set",
    };
    Ok(changed(what, cap, Some(before), spent, how))
}

fn set(app: &App, scope: &Scope, cap: Option<Cap>) -> Result<()> {
    app.store()?.set_cap("budget.set", scope, cap, app.now())
}

/// Sets the ceiling of an agent that runs, and reserves what it allows.
pub(super) fn set_agent(app: &App, agent: &Agent, cap: Cap) -> Result<()> {
    let (store, now) = (app.store()?, app.now());
    store.set_agent_cap("budget.set-agent", &agent.id, agent.generation, cap, now)
}

/// Lets a run go on.
fn go_on(app: &App, caller: &Caller, run: &Run, mut changes: Vec<Change>, about: String) -> Result<()> {
    changes.push(Change::Control(Control::Going, None));
    note(app, &run.id, "budget", about, &changes)?;
    bring_up(app, caller, &run.id)
}

/// What the worker at `place` of `plan` may spend; in a plan of rounds in each.
fn budget_of(plan: &Plan, place: usize) -> Usd {
    match &plan.shape {
        Shape::Autoresearch(research) => research.budget,
        _ => plan.workers.get(place).map(|worker| worker.budget).unwrap_or_default(),
    }
}

fn changed(what: String, cap: Cap, before: Option<Cap>, spent: Usd, how: &str) -> Changed {
    Changed {
        what,
        ceiling_usd: cap.ceiling,
        before_usd: before.map(|before| before.ceiling),
        hard: cap.hard,
        spent_usd: spent,
        limited: Vec::new(),
        how: how.to_owned(),
    }
}

/// Whether a worker may spend more now than when a step was started for which `hold` was reserved.
pub(crate) fn outgrown(plan: &Plan, seen: &Seen, key: Key, hold: Usd) -> bool {
    let budget = match plan.shape {
        Shape::Autoresearch(_) => seen.iteration(plan, key.round).map(|cap| cap.ceiling),
        _ => None,
    };
    seen.spent_on(key) + hold < budget.unwrap_or_else(|| budget_of(plan, key.worker))
}
