//! What is left of a contract for the next request: what earlier ones have started under it has its share, and what the
//! session itself has spent is gone.
//!
//! A share counts whole while what has it may still spend it, and then as what was spent. What nobody knows counts as all
//! that was given. The contract of a launch of an agent is that launch's own: the next one is told what is left.

use fleet_core::agent::Phase;
use fleet_core::budget::Used;
use fleet_core::contract::{Budget, Contract};
use fleet_core::fact::Fact;
use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::spend::Total;
use fleet_core::{Error, Kind, Result};
use fleet_host::lock::Lock;
use fleet_host::supervise::journal;
use fleet_store::{Given, Grant, Of};

use crate::app::App;
use crate::budgets::launch;
use crate::caller::{Caller, Who};

/// Which contract a caller is under.
pub(crate) fn key(app: &App, caller: &Caller, contract: &Contract) -> Result<String> {
    let agent = caller.var("FLEET_AGENT").filter(|_| caller.who == Who::Agent);
    Ok(match agent.and_then(AgentId::parse) {
        // The record may be behind: the journal is written before the program starts.
        Some(agent) => {
            let entries = journal::read(&app.home.agent_dir(&agent))?;
            let launched = entries.iter().rev().find_map(|entry| match entry.fact {
                Fact::Launched { generation, .. } => Some(generation),
                _ => None,
            });
            of_launch(&agent, launched.unwrap_or(1))
        }
        None => {
            let stage = contract.stage.as_deref().unwrap_or_default();
            format!("job:{}:{stage}", contract.job_id)
        }
    })
}

/// The contract of a launch of an agent.
pub(crate) fn of_launch(agent: &AgentId, generation: u32) -> String {
    format!("launch:{agent}:{generation}")
}

/// Waits for its turn to take a share: of two requests at once the second finds what the first has taken.
pub(crate) fn turn(app: &App) -> Result<Lock> {
    app.home.prepare()?;
    Lock::take(&app.home.root().join("grants.lock"))
}

/// What is left of `whole`, the budget of the contract `key`, beside what `own` has already.
///
/// # Errors
/// `OverBudget` when nothing is left.
pub(crate) fn left(app: &App, key: &str, job: &str, whole: Budget, own: Option<&Given>) -> Result<Budget> {
    let mut gone = own_use(app, key)?;
    let mut turns = 0;
    for share in app.store()?.grants_of(key)? {
        if Some(&share.given) == own {
            continue;
        }
        gone.usd = gone.usd + committed(app, &share)?.unwrap_or(whole.ceiling_usd.unwrap_or_default());
        gone.tool_calls += u64::from(share.tool_calls.unwrap_or(0));
        gone.dispatches += u64::from(dispatched(&share));
        turns += share.turns.unwrap_or(0);
    }
    let less =
        |most: Option<u32>, used: u64| most.map(|most| most.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX)));
    let left = Budget {
        ceiling_usd: whole.ceiling_usd.map(|ceiling| ceiling.less(gone.usd)),
        max_tool_calls: less(whole.max_tool_calls, gone.tool_calls),
        max_turns: less(whole.max_turns, u64::from(turns)),
        max_crew_dispatches: less(whole.max_crew_dispatches, gone.dispatches),
        ..whole
    };
    let used_up = |what: &str| {
        let message = format!("the contract of job {job} has no {what} left: what was started before has it");
        Err(Error::new(Kind::OverBudget, message).hint("wait for its end, or have the contract raised"))
    };
    match (left.ceiling_usd, left.max_turns) {
        (Some(usd), _) if usd.is_zero() => used_up("money"),
        (_, Some(0)) => used_up("turn"),
        _ => Ok(left),
    }
}

/// What all that was started under the contract `key` has cost, or may yet; none where nobody knows.
pub(crate) fn cost(app: &App, key: &str) -> Result<Option<Usd>> {
    let shares = app.store()?.grants_of(key)?;
    let costs: Vec<Option<Usd>> = shares
        .iter()
        .map(|share| committed(app, share))
        .collect::<Result<_>>()?;
    let costs: Option<Vec<Usd>> = costs.into_iter().collect();
    Ok(costs.map(|costs| costs.into_iter().sum()))
}

/// How often work was given away under the contract `key` by starting something.
pub(crate) fn dispatches(app: &App, key: &str) -> Result<u64> {
    let shares = app.store()?.grants_of(key)?;
    Ok(shares.iter().map(|share| u64::from(dispatched(share))).sum())
}

fn dispatched(share: &Grant) -> u32 {
    match &share.given {
        Given::Batch(_, agents) => share.dispatches.unwrap_or(*agents),
        Given::Run(_) => share.dispatches.unwrap_or(1),
    }
}

/// What of a share is gone, with what was started in its turn; none where nobody knows.
fn committed(app: &App, share: &Grant) -> Result<Option<Usd>> {
    let store = app.store()?;
    let mut total = Total::default();
    let (mut below, mut lives) = (Some(Usd::default()), false);
    let mut add = |agent: &AgentId, generation: u32| -> Result<()> {
        for launch in 1..=generation {
            let cost = cost(app, &of_launch(agent, launch))?;
            below = below.zip(cost).map(|(sum, cost)| sum + cost);
        }
        Ok(())
    };
    match &share.given {
        Given::Batch(id, _) => {
            for agent in store.agents_all()?.into_iter().filter(|agent| agent.batch_id == *id) {
                lives |= agent.phase != Phase::Ended && Lock::is_held(&app.home.agent_lock(&agent.id));
                // What is not folded yet is in the journal alone.
                let entries = journal::read(&app.home.agent_dir(&agent.id)).unwrap_or_default();
                crate::task::fold(app, "grant.fold", &agent, &entries)?;
                let of = Of {
                    agent: Some(agent.id.clone()),
                    ..Of::default()
                };
                fleet_core::task::cost::add(&mut total, &store.spent(&of)?);
                add(&agent.id, agent.generation)?;
            }
        }
        Given::Run(id) => {
            lives = store.run(id)?.is_some_and(|run| run.finish.is_none());
            for step in store.steps(id)? {
                // With what its session has started.
                match step.ended {
                    Some(end) => match end.cost {
                        Some(cost) => total.cost = total.cost + cost,
                        None => total.unknown += 1,
                    },
                    None => lives = true,
                }
            }
        }
    }
    let spent = below.filter(|_| total.unknown == 0).map(|below| total.cost + below);
    Ok(match (spent, share.usd) {
        (Some(spent), Some(given)) if lives => Some(spent.max(given)),
        (Some(_), None) if lives => None,
        (Some(spent), _) => Some(spent),
        (None, given) => given.map(|given| given.max(total.cost)),
    })
}

/// What the session under the contract `key` has used itself, where it is a launch of an agent.
fn own_use(app: &App, key: &str) -> Result<Used> {
    let mut used = Used::default();
    let Some((agent, generation)) = key.strip_prefix("launch:").and_then(|rest| rest.rsplit_once(':')) else {
        return Ok(used);
    };
    let Some((agent, generation)) = AgentId::parse(agent).zip(generation.parse().ok()) else {
        return Ok(used);
    };
    let entries = journal::read(&app.home.agent_dir(&agent))?;
    for entry in launch(&entries, generation) {
        let is_beside = matches!(&entry.fact, Fact::Used(used) if used.beside);
        if let Some(spend) = entry.spend().filter(|_| !is_beside) {
            used.usd = used.usd + spend.cost.unwrap_or_default();
        }
    }
    Ok(used)
}
