//! Ceilings: what a request may spend, what of it is reserved for a launch, and what is given back when one is over.
//!
//! A launch reserves what its agent may still spend, with its names or before its program starts. Nobody gives that back
//! at the end: whoever looks next finds that the agent's lock is free and [`settle`]s it. So a killed supervisor leaves
//! nothing reserved for good, and no process has to be alive for the sums to be right.

pub(crate) mod change;

use fleet_core::agent::Agent;
use fleet_core::budget::{Cap, Limits, Scope, Used};
use fleet_core::fact::{Entry, Fact};
use fleet_core::money::Usd;
use fleet_core::name::{plural, word};
use fleet_core::{Error, Kind, Result};
use fleet_host::lock::Lock;
use fleet_host::supervise::journal;
use fleet_store::{Hold, Of};

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

/// Reads an amount of the command line. What is no number is refused here: JSON has no word for it, and it would arrive as
/// no ceiling at all.
pub(crate) fn dollars(text: &str) -> std::result::Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|amount| amount.is_finite())
        .ok_or_else(|| "give US dollars, such as `5` or `0.50`".to_owned())
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

/// What each of `count` agents of one request may spend, with the model that all of them are asked to use. `total` is
/// shared out evenly. Without it they have no ceiling, unless all agents of this user have one: then each has the amount
/// of the settings.
///
/// # Errors
/// `Refused`: nobody knows what the model costs, and the ceiling is hard.
pub(crate) fn shares(
    app: &App,
    config: &Config,
    total: Option<Cap>,
    count: usize,
    model: Option<&str>,
) -> Result<Vec<Option<Cap>>> {
    let each = match total {
        Some(total) => share(total, count)?,
        None => vec![usual(app, config)?; count],
    };
    let is_hard = each.iter().flatten().any(|cap| cap.hard);
    if let Some(model) = model.filter(|_| is_hard) {
        require_price(app, model)?;
    }
    if each.iter().any(Option::is_some) {
        settle(app)?;
    }
    Ok(each)
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

/// What launch `generation` of `agent` reserves: all that its ceiling leaves. None where it has no ceiling. The caller holds
/// the agent's lock.
///
/// # Errors
/// `OverBudget`: its ceiling is used up.
pub(crate) fn hold_of(app: &App, config: &Config, agent: &Agent, generation: u32) -> Result<Option<Hold>> {
    let store = app.store()?;
    let scope = Scope::Agent(agent.id.to_string());
    settle(app)?;
    settle_own(app, agent)?;
    let spent = spent(app, agent)?;
    let cap = match store.cap(&scope)? {
        Some(cap) => cap,
        None => {
            let Some(usual) = usual(app, config)? else {
                return Ok(None);
            };
            let cap = Cap {
                ceiling: spent.usd + usual.ceiling,
                ..usual
            };
            store.set_cap("budget.usual", &scope, Some(cap), app.now())?;
            cap
        }
    };
    let amount = cap.ceiling.less(spent.usd);
    if amount.is_zero() {
        let name = word(&agent.branch);
        return Err(Error::new(
            Kind::OverBudget,
            match store.charged(&agent.id)? {
                unknown if unknown.is_zero() => {
                    format!("`{}` has spent {} of {}", agent.branch, spent.usd, cap.ceiling)
                }
                unknown => format!(
                    "`{}` has spent {} of {}, {unknown} of it for what has no known cost",
                    agent.branch, spent.usd, cap.ceiling
                ),
            },
        )
        .hint(format!("allow more, and it goes on: `fleet budget raise {name} +5`")));
    }
    Ok(Some(Hold {
        agent: agent.id.clone(),
        generation,
        amount,
        made_at: app.now(),
    }))
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

/// Gives back what launches reserved that are over, after their accounts are taken in.
pub(crate) fn settle(app: &App) -> Result<()> {
    for hold in app.store()?.holds()? {
        if !Lock::is_held(&app.home.agent_lock(&hold.agent)) {
            give_back(app, &hold)?;
        }
    }
    Ok(())
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
    if let Some(agent) = store.agent(&hold.agent)? {
        task::fold(app, "budget.fold", &agent, &entries)?;
    }
    let unknown = is_unknown(launch(&entries, hold.generation));
    store.end_hold("budget.settle", &hold.agent, hold.generation, unknown, app.now())
}

/// Whether something of what a launch cost is not known: it was given a prompt and told of no cost, told of one that
/// nobody can price, or its supervisor was killed while it ran.
fn is_unknown(launch: &[Entry]) -> bool {
    let has = |is: fn(&Fact) -> bool| launch.iter().any(|entry| is(&entry.fact));
    let ran = has(|fact| matches!(fact, Fact::Starting | Fact::Started { .. }));
    let ended = has(|fact| matches!(fact, Fact::Exited { .. } | Fact::StartFailed { .. }));
    let asked = has(|fact| matches!(fact, Fact::PromptDelivered { .. }));
    let mut costs = launch
        .iter()
        .filter(|entry| !matches!(&entry.fact, Fact::Used(used) if used.beside))
        .filter_map(Entry::spend)
        .peekable();
    ran && !ended || asked && costs.peek().is_none() || costs.any(|spend| spend.cost.is_none())
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
