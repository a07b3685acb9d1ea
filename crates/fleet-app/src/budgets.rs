//! Ceilings: what a request may spend, what of it is reserved for a launch, and what is given back when one is over.
//!
//! A launch reserves what its agent may still spend, with its names or before its program starts. Nobody gives that back
//! at the end: whoever looks next finds that the agent's lock is free and [`settle`]s it. So a killed supervisor leaves
//! nothing reserved for good, and no process has to be alive for the sums to be right. What agents may spend that work for a
//! task with a ceiling is [`shares`].

pub(crate) mod change;
pub(crate) mod lost;
pub(crate) mod notify;
pub(crate) mod shares;
pub(crate) mod unknown;

use fleet_core::agent::Agent;
use fleet_core::budget::{Cap, Limits, Scope, Used};
use fleet_core::fact::{Entry, Fact};
use fleet_core::money::Usd;
use fleet_core::name::{plural, word};
use fleet_core::task::TaskId;
use fleet_core::{Error, Kind, Result};
use fleet_host::lock::Lock;
use fleet_host::process;
use fleet_host::supervise::journal;
use fleet_store::{Hold, NewTask, Of, Rest};

use self::shares::Turn;
use crate::app::App;
use crate::config::Config;
use crate::task;

/// The ceilings that hold for all agents of this user.
pub(crate) const ALL: [Scope; 2] = [Scope::Day, Scope::Week];

/// `amount` as a ceiling that somebody asks for with `what`.
///
/// # Errors
/// `Usage`: it is nothing, negative, no number, or more than [`Usd::MAX`].
pub(crate) fn amount(what: &str, amount: f64) -> Result<Usd> {
    let example = format!("give US dollars, such as `{what} 5` or `{what} 0.50`");
    match Usd::new(amount) {
        Some(usd) if usd.is_zero() => {
            Err(Error::usage(format!("`{what} {amount}`: with nothing to spend, nothing can start")).hint(example))
        }
        Some(usd) => Ok(usd),
        None => Err(Error::usage(format!("`{what} {amount}` is no amount")).hint(example)),
    }
}

/// What `--budget` and `--hard` ask for.
pub(crate) fn asked(budget: Option<f64>, hard: bool) -> Result<Option<Cap>> {
    match budget {
        Some(budget) => Ok(Some(Cap {
            ceiling: amount("--budget", budget)?,
            hard,
        })),
        None if hard => Err(
            Error::usage("`--hard` says what happens at a ceiling, and there is none")
                .hint("give one: `--budget 5 --hard`"),
        ),
        None => Ok(None),
    }
}

/// What the agents of one request may spend.
pub(crate) struct Shared {
    /// Each of them.
    pub(crate) caps: Vec<Option<Cap>>,
    /// Whether that is their share of what their task has left.
    pub(crate) of_task: bool,
    /// What was made free for them is theirs until it is reserved.
    pub(crate) _turn: Option<Turn>,
}

/// What each of `count` agents of one request may spend, with the model that all of them are asked to use. `total` is
/// shared out evenly. Without it they share what the ceiling of `task` leaves; where there is none, they have no ceiling,
/// unless all agents of this user have one: then each has the amount of the settings.
///
/// # Errors
/// `Refused`: nobody knows what the model costs, and the ceiling is hard. `OverBudget`: the task has nothing left.
pub(crate) fn shares(
    app: &App,
    config: &Config,
    total: Option<Cap>,
    count: usize,
    model: Option<&str>,
    task: Option<TaskId>,
) -> Result<Shared> {
    let turn = match task {
        Some(task) if !app.store()?.task_rooms(task)?.is_empty() => {
            give_back_all(app)?;
            Some(Turn::take(app)?)
        }
        _ => None,
    };
    let mut of_task = false;
    let caps = match (total, task, &turn) {
        (Some(total), ..) => share(total, count)?,
        (None, Some(task), Some(turn)) => {
            let each = shares::deal(app, config, turn, task, count)?;
            of_task = each.is_some();
            vec![each; count]
        }
        (None, ..) => vec![usual(app, config)?; count],
    };
    // Those without a budget of their own make room for one that has.
    if let (Some(total), Some(task), Some(turn)) = (total, task, &turn) {
        shares::make_room(app, turn, task, total.ceiling)?;
    }
    let is_hard = caps.iter().flatten().any(|cap| cap.hard);
    if let Some(model) = model.filter(|_| is_hard) {
        require_price(app, model)?;
    }
    if turn.is_none() && caps.iter().any(Option::is_some) {
        settle(app)?;
    }
    Ok(Shared {
        caps,
        of_task,
        _turn: turn,
    })
}

fn share(total: Cap, count: usize) -> Result<Vec<Option<Cap>>> {
    let count = count.max(1) as u64;
    let (whole, rest) = (total.ceiling.micros() / count, total.ceiling.micros() % count);
    if whole == 0 {
        let agents = plural(count as usize, "agent");
        return Err(
            Error::usage(format!("{} for {agents} leaves nothing for one", total.ceiling))
                .hint("give more, such as `--budget 5`"),
        );
    }
    let share = |place| Usd::from_micros(whole + u64::from(place < rest));
    let cap = |place| Cap {
        ceiling: share(place),
        ..total
    };
    Ok((0..count).map(|place| Some(cap(place))).collect())
}

/// Makes room for a new task within the ceiling of what it is a part of; nobody else reserves that until the answer is
/// dropped.
pub(crate) fn begin_part(app: &App, new: &NewTask) -> Result<Option<Turn>> {
    let (Some(whole), Some(share)) = (new.parent, new.ceiling) else {
        return Ok(None);
    };
    give_back_all(app)?;
    let turn = Turn::take(app)?;
    shares::make_room(app, &turn, whole, share)?;
    Ok(Some(turn))
}

/// Shares out what a part of a task has left that is over.
pub(crate) fn end_part(app: &App, part: TaskId) -> Result<()> {
    match app.store()?.task(part)?.and_then(|task| task.parent) {
        Some(whole) => shares::give_out(app, whole, None).map(drop),
        None => Ok(()),
    }
}

/// What an agent may spend for which nobody has said it; none while all agents together may spend what they want.
pub(crate) fn usual(app: &App, config: &Config) -> Result<Option<Cap>> {
    let store = app.store()?;
    let mut hard = None;
    for scope in ALL {
        let cap = store.cap(&scope)?;
        hard = cap.map(|cap| cap.hard).into_iter().chain(hard).max();
    }
    let ceiling = Usd::new(config.agent_budget as f64).unwrap_or_default();
    Ok(hard.map(|hard| Cap { ceiling, hard }))
}

/// Refuses a model without a price.
fn require_price(app: &App, model: &str) -> Result<()> {
    if app.prices()?.knows(model, app.now()) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "nobody knows what `{model}` costs, so no hard ceiling can hold"
    ))
    .hint(format!(
        "give its price in {}, as `fleet budget prices --example` shows",
        word(&app.home.prices().to_string_lossy())
    )))
}

/// Reserves for launch `generation` of `agent` all that its ceiling leaves, if it has one. The caller holds the agent's
/// lock.
///
/// # Errors
/// `OverBudget`: its ceiling is used up, or another one has no room for it.
pub(crate) fn reserve(app: &App, config: &Config, agent: &Agent, generation: u32) -> Result<()> {
    let store = app.store()?;
    give_back_all(app)?;
    settle_own(app, agent)?;
    let turn = match agent.task {
        Some(task) if !store.task_rooms(task)?.is_empty() => Some(Turn::take(app)?),
        _ => None,
    };
    let spent = spent(app, agent)?;
    let Some(cap) = cap_of(app, config, agent, spent.usd, turn.as_ref())? else {
        return Ok(());
    };
    let amount = cap.ceiling.less(spent.usd);
    if amount.is_zero() {
        return Err(used_up(app, agent, cap, spent.usd)?);
    }
    if let (Some(task), Some(turn)) = (agent.task, &turn) {
        shares::make_room(app, turn, task, amount)?;
    }
    let hold = Hold {
        agent: agent.id.clone(),
        generation,
        amount,
        made_at: app.now(),
    };
    store.hold("budget.hold", &hold)
}

/// The ceiling of `agent`, which has spent so much. One without a budget of its own is dealt its share of what its task has
/// left, or has the amount of the settings where all agents together have a ceiling.
fn cap_of(app: &App, config: &Config, agent: &Agent, spent: Usd, turn: Option<&Turn>) -> Result<Option<Cap>> {
    let store = app.store()?;
    let scope = Scope::Agent(agent.id.to_string());
    let own = store.cap(&scope)?;
    if own.is_some() && !store.shares(&agent.id)? {
        return Ok(own);
    }
    let dealt = match (agent.task, turn) {
        (Some(task), Some(turn)) => shares::deal(app, config, turn, task, 1)?,
        _ => None,
    };
    if dealt.is_some() {
        store.set_shares("budget.share", &agent.id, true)?;
    } else if own.is_some() {
        return Ok(own);
    }
    let Some(more) = dealt.or(usual(app, config)?) else {
        return Ok(None);
    };
    let cap = Cap {
        ceiling: spent + more.ceiling,
        ..more
    };
    store.set_cap("budget.usual", &scope, Some(cap), app.now())?;
    Ok(Some(cap))
}

/// The refusal of an agent that has spent what it may.
fn used_up(app: &App, agent: &Agent, cap: Cap, spent: Usd) -> Result<Error> {
    let (branch, ceiling) = (&agent.branch, cap.ceiling);
    let message = match app.store()?.charged(&agent.id)? {
        unknown if unknown.is_zero() => format!("`{branch}` has spent {spent} of {ceiling}"),
        unknown => format!("`{branch}` has spent {spent} of {ceiling}, {unknown} of it for what has no known cost"),
    };
    Ok(Error::new(Kind::OverBudget, message).hint(format!(
        "allow more, and it goes on: `fleet budget raise {} +5`",
        word(branch)
    )))
}

/// What `agent` may spend, and what it has: for its supervisor.
pub(crate) fn limits(app: &App, agent: &Agent) -> Result<(Limits, Used)> {
    match app.store()?.cap(&Scope::Agent(agent.id.to_string()))? {
        Some(cap) => Ok((limits_of(cap), spent(app, agent)?)),
        None => Ok((Limits::default(), Used::default())),
    }
}

/// What a ceiling means for a supervisor. A cost that nobody knows reaches it: money is never taken to be nothing.
pub(crate) fn limits_of(cap: Cap) -> Limits {
    Limits {
        usd: Some(cap.ceiling),
        hard: cap.hard,
        known: true,
        ..Limits::default()
    }
}

/// What the account of `agent` comes to, with what is charged for what nobody knows. What is unknown of it was paid for
/// with that: it is counted from now on.
fn spent(app: &App, agent: &Agent) -> Result<Used> {
    let store = app.store()?;
    let total = store.spent(&Of {
        agent: Some(agent.id.clone()),
        ..Of::default()
    })?;
    Ok(Used {
        usd: total.cost + store.charged(&agent.id)?,
        ..Used::default()
    })
}

/// Gives back what launches reserved that are over, after their accounts are taken in; what that leaves free of the ceiling
/// of a task is shared out among those that still work for it.
pub(crate) fn settle(app: &App) -> Result<()> {
    for task in give_back_all(app)? {
        shares::give_out(app, task, None)?;
    }
    Ok(())
}

/// Gives back what launches reserved that are over; the tasks that they worked for.
fn give_back_all(app: &App) -> Result<Vec<TaskId>> {
    let store = app.store()?;
    let mut tasks = Vec::new();
    for hold in store.holds()? {
        if !Lock::is_held(&app.home.agent_lock(&hold.agent)) {
            give_back(app, &hold)?;
            tasks.extend(store.agent(&hold.agent)?.and_then(|agent| agent.task));
        }
    }
    tasks.sort_unstable();
    tasks.dedup();
    Ok(tasks)
}

/// The same for the earlier launches of `agent`, whose lock the caller holds.
fn settle_own(app: &App, agent: &Agent) -> Result<()> {
    let holds = app.store()?.holds()?;
    holds
        .iter()
        .filter(|hold| hold.agent == agent.id)
        .try_for_each(|hold| give_back(app, hold))
}

fn give_back(app: &App, hold: &Hold) -> Result<()> {
    let store = app.store()?;
    let entries = journal::read(&app.home.agent_dir(&hold.agent)).unwrap_or_default();
    let agent = store.agent(&hold.agent)?;
    if let Some(agent) = &agent {
        task::fold(app, "budget.fold", agent, &entries)?;
    }
    let own = launch(&entries, hold.generation);
    let rest = match (agent, was_killed(own)) {
        // What its supervisor left behind goes on, and spends.
        (_, true) if !process::marked(&hold.agent).is_empty() => return Ok(()),
        (Some(agent), true) => lost::beyond(app, &agent, &entries, own)?.unwrap_or(Rest::All),
        _ if is_unknown(own) => Rest::All,
        _ => Rest::Nothing,
    };
    store.end_hold("budget.settle", &hold.agent, hold.generation, rest, app.now())
}

/// Whether the supervisor of a launch was killed while its program ran.
pub(crate) fn was_killed(launch: &[Entry]) -> bool {
    let has = |is: fn(&Fact) -> bool| launch.iter().any(|entry| is(&entry.fact));
    let ran = has(|fact| matches!(fact, Fact::Starting | Fact::Started { .. }));
    ran && !has(|fact| matches!(fact, Fact::Exited { .. } | Fact::StartFailed { .. }))
}

/// Whether something of what a launch cost is not known: it was given a prompt and told of no cost, told of one that
/// nobody can price, or its supervisor was killed while it ran.
fn is_unknown(launch: &[Entry]) -> bool {
    let asked = launch
        .iter()
        .any(|entry| matches!(entry.fact, Fact::PromptDelivered { .. }));
    let told = launch.iter().any(|entry| entry.spend().is_some() && !is_beside(entry));
    was_killed(launch) || asked && !told || counted(launch).is_none()
}

/// What a launch cost by its journal; none where something of that has no price.
pub(crate) fn counted(launch: &[Entry]) -> Option<Usd> {
    let costs = launch.iter().filter(|entry| !is_beside(entry)).filter_map(Entry::spend);
    costs.map(|spend| spend.cost).sum()
}

/// What a launch cost by its journal, as far as that is known.
pub(crate) fn known(launch: &[Entry]) -> Usd {
    let costs = launch.iter().filter(|entry| !is_beside(entry)).filter_map(Entry::spend);
    costs.filter_map(|spend| spend.cost).sum()
}

fn is_beside(entry: &Entry) -> bool {
    matches!(&entry.fact, Fact::Used(used) if used.beside)
}

/// The entries of launch number `generation` in a journal.
pub(crate) fn launch(entries: &[Entry], generation: u32) -> &[Entry] {
    let is_launch = |entry: &Entry, number: fn(u32, u32) -> bool| matches!(&entry.fact, Fact::Launched { generation: each, .. } if number(*each, generation));
    let begin = entries
        .iter()
        .position(|entry| is_launch(entry, |each, own| each == own));
    let Some(begin) = begin else { return &[] };
    let end = entries
        .iter()
        .position(|entry| is_launch(entry, |each, own| each > own));
    &entries[begin..end.unwrap_or(entries.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cap(usd: f64) -> Cap {
        Cap {
            ceiling: Usd::new(usd).expect("an amount"),
            hard: false,
        }
    }

    #[test]
    fn shares_come_to_the_whole_to_the_millionth() {
        for (usd, count) in [(10.0, 3), (0.000_005, 5), (1.0, 100), (7.77, 1)] {
            let shares = share(cap(usd), count).expect("shares");
            assert_eq!(shares.len(), count);
            let sum: Usd = shares.iter().flatten().map(|cap| cap.ceiling).sum();
            assert_eq!(Some(sum), Usd::new(usd));
        }
    }

    #[test]
    fn what_leaves_nothing_for_one_is_refused() {
        assert!(share(cap(0.000_004), 5).is_err());
    }

    #[test]
    fn what_is_no_ceiling_is_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e308, 0.000_000_1] {
            let error = amount("--budget", bad).expect_err("no ceiling");
            assert_eq!(error.kind, Kind::Usage, "{bad}");
        }
    }
}
