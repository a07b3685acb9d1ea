//! What the agents of a task may spend: its ceiling holds for all of them together, and for those of its parts.
//!
//! An agent that is given a budget of its own reserves that. The others share evenly what the task has left. Their shares are
//! dealt anew when one begins or ends, when a part is given its share, and when the ceiling is changed. A supervisor is
//! told of less before others may reserve what it gives up, and of more after that is reserved: whoever is killed
//! between leaves too little allowed, never too much.

use fleet_core::agent::Agent;
use fleet_core::budget::{Cap, Limits, Scope};
use fleet_core::fact::Fact;
use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::run::Window;
use fleet_core::task::TaskId;
use fleet_core::{Error, Kind, Result};
use fleet_host::lock::Lock;
use fleet_host::supervise::journal;
use fleet_store::Room;

use super::change::{self, Wish};
use super::{limits_of, spent, usual};
use crate::app::App;
use crate::config::Config;

/// A share that is smaller is not worth beginning with, and no reason to deal anew.
const LEAST: Usd = Usd::from_micros(10_000);

/// One dealer at a time: what it has made free is not given to others before it is reserved.
pub(crate) struct Turn {
    _lock: Lock,
}

/// An agent that runs for a task and has no budget of its own.
struct Mate {
    agent: Agent,
    cap: Cap,
    spent: Usd,
    left: Usd,
}

impl Mate {
    /// What it can do without for a while: it is to hear of what it has lent that for.
    fn lends(&self) -> Usd {
        Usd::from_micros(self.left.micros() / 10 * 9)
    }
}

impl Turn {
    /// Waits for the turn.
    pub(crate) fn take(app: &App) -> Result<Turn> {
        let _lock = Lock::take(&app.home.root().join("shares.lock"))?;
        Ok(Turn { _lock })
    }
}

/// What each of `count` agents may spend that begin to work for `task` without a budget of their own; none where neither
/// the task has a ceiling nor what it is a part of. What they need is taken from those that run.
///
/// # Errors
/// `OverBudget`: nothing is left.
pub(crate) fn deal(app: &App, config: &Config, _: &Turn, task: TaskId, count: usize) -> Result<Option<Cap>> {
    let rooms = app.store()?.task_rooms(task)?;
    let Some((owner, room)) = rooms.first() else {
        return Ok(None);
    };
    // Those above have promised it to this one.
    let free = room.left();
    let mates = mates(app, *owner)?;
    let whole: Usd = free + mates.iter().map(|mate| mate.left).sum();
    let mut each = Usd::from_micros(whole.micros() / (mates.len() + count).max(1) as u64);
    if let Some(usual) = usual(app, config)? {
        each = each.min(usual.ceiling);
    }
    if each < LEAST {
        let message = format!(
            "{owner} may spend {}: {} are spent, and {} are reserved or promised to its parts",
            room.cap.ceiling, room.spent, room.held
        );
        return Err(Error::new(Kind::OverBudget, message)
            .hint(format!("allow more, and it goes on: `fleet budget raise {owner} +5`")));
    }
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    free_up(app, mates, (each * count).less(free))?;
    Ok(Some(Cap {
        ceiling: each,
        hard: room.cap.hard,
    }))
}

/// What a run that works for `task` may still reserve of its ceiling, or of the nearest above it; none where there is none.
/// Agents without a budget of their own lend it what they have left, but for a tenth.
pub(crate) fn window(app: &App, task: TaskId) -> Result<Option<Window>> {
    let rooms = app.store()?.task_rooms(task)?;
    let Some((owner, room)) = rooms.first() else {
        return Ok(None);
    };
    let lent = mates(app, *owner)?.iter().map(Mate::lends).sum();
    // Those above have promised it to this one, unless more was spent than there was.
    let is_over = |(_, room): &&(TaskId, Room)| room.spent + room.held > room.cap.ceiling;
    let (owner, room, left) = match rooms[1..].iter().find(is_over) {
        Some((above, room)) => (above, room, Usd::default()),
        None => (owner, room, room.left() + lent),
    };
    Ok(Some(Window {
        scope: Scope::Task(owner.to_string()),
        left,
        ceiling: room.cap.ceiling,
        until: None,
    }))
}

/// Makes room for `more` of a run that works for `task`; see [`window`].
pub(crate) fn lend(app: &App, _: &Turn, task: TaskId, more: Usd) -> Result<()> {
    let rooms = app.store()?.task_rooms(task)?;
    let Some((owner, room)) = rooms.first() else {
        return Ok(());
    };
    let mates = mates(app, *owner)?;
    let lent: Usd = mates.iter().map(Mate::lends).sum();
    match room.left() + lent < more {
        true => Ok(()),
        false => free_up(app, mates, more.less(room.left())),
    }
}

/// Makes room for a part of `whole` that is to have `share`, by taking it from the agents of `whole` without a budget of
/// their own. Where that is not enough, nothing is taken, and whoever reserves is refused.
pub(crate) fn make_room(app: &App, _: &Turn, whole: TaskId, share: Usd) -> Result<()> {
    let rooms = app.store()?.task_rooms(whole)?;
    let Some((owner, room)) = rooms.first() else {
        return Ok(());
    };
    let (free, mates) = (room.left(), mates(app, *owner)?);
    let whole: Usd = free + mates.iter().map(|mate| mate.left).sum();
    match whole < share {
        true => Ok(()),
        false => free_up(app, mates, share.less(free)),
    }
}

/// Shares out what `task` has free among those that run for it, and tells those that go on by this. `asked` is what a
/// person wishes; without one what is free has come back by itself. Answers whether one goes on.
pub(crate) fn give_out(app: &App, task: TaskId, asked: Option<&Wish>) -> Result<bool> {
    let _turn = Turn::take(app)?;
    let rooms = app.store()?.task_rooms(task)?;
    let Some((owner, room)) = rooms.first() else {
        return Ok(false);
    };
    let mates = mates(app, *owner)?;
    let each = Usd::from_micros(room.left().micros() / mates.len().max(1) as u64);
    let prompt = match asked {
        Some(wish) => wish.prompt.as_deref(),
        None => Some(change::GO_ON),
    };
    let mut goes_on = false;
    for mate in mates {
        let mut cap = Cap {
            hard: room.cap.hard,
            ..mate.cap
        };
        if each >= LEAST {
            cap.ceiling = cap.ceiling + each;
            match change::set_agent(app, &mate.agent, cap) {
                // All agents together have a ceiling, too.
                Err(error) if error.kind == Kind::OverBudget => continue,
                other => other?,
            }
        } else if asked.is_none() {
            continue;
        }
        // Whoever was killed before may have told nobody, so all are told.
        let known = match asked {
            // Who raises it knows what is not known.
            Some(_) => cap.hard,
            None => heeds_unknown(app, &mate.agent),
        };
        goes_on |= match change::limit(app, &mate.agent, cap, known, prompt) {
            // One that is at its very end gives back what it has.
            Err(error) if error.kind == Kind::Unavailable => false,
            other => other?,
        };
    }
    Ok(goes_on)
}

/// Whether a cost that nobody knows reaches the limit of an agent: a person may have let it go on after one.
fn heeds_unknown(app: &App, agent: &Agent) -> bool {
    let entries = journal::read(&app.home.agent_dir(&agent.id)).unwrap_or_default();
    let limits = entries.iter().rev().find_map(|entry| match &entry.fact {
        Fact::Limited { limits } => Some(limits.known),
        Fact::Launched { .. } => Some(true),
        _ => None,
    });
    limits.unwrap_or(true)
}

/// Lowers what those that run for `task` may spend, so that no more than `ceiling` is reserved, where that can be.
pub(crate) fn lower_to(app: &App, _: &Turn, task: TaskId, ceiling: Usd) -> Result<()> {
    let store = app.store()?;
    let Some(room) = store.room(&Scope::Task(task.to_string()), app.now())? else {
        return Ok(());
    };
    let beyond = (room.spent + room.held).less(ceiling);
    let mates = mates(app, task)?;
    let whole: Usd = mates.iter().map(|mate| mate.left).sum();
    free_up(app, mates, beyond.min(whole))
}

/// Gives a share to the agents of `task` that run without any limit, now that it has a ceiling.
pub(crate) fn limit_running(app: &App, config: &Config, task: TaskId) -> Result<Vec<String>> {
    let store = app.store()?;
    let mut limited = Vec::new();
    for (id, own) in store.task_agents(task)? {
        let scope = Scope::Agent(id.to_string());
        let Some(agent) = store.agent(&id)? else { continue };
        // Workers of a run have what was reserved for their steps.
        let is_limited = store.cap(&scope)?.is_some() || store.step_of(&id)?.is_some();
        if is_limited || !Lock::is_held(&app.home.agent_lock(&id)) {
            continue;
        }
        let turn = Turn::take(app)?;
        let Some(share) = deal(app, config, &turn, own, 1)? else {
            continue;
        };
        let cap = Cap {
            ceiling: spent(app, &agent)?.usd + share.ceiling,
            ..share
        };
        store.set_shares("budget.share-running", &id, true)?;
        change::set_agent(app, &agent, cap)?;
        app.client(&agent)?.limit(&limits_of(cap))?;
        limited.push(format!("{} may spend {} more", agent.branch, share.ceiling));
    }
    Ok(limited)
}

/// The agents that run and share in what the ceiling of `owner` leaves.
fn mates(app: &App, owner: TaskId) -> Result<Vec<Mate>> {
    let store = app.store()?;
    // One that is about to be revived has a lock, and nothing reserved yet.
    let holds = store.holds()?;
    let runs = |id: &AgentId| Lock::is_held(&app.home.agent_lock(id)) && holds.iter().any(|hold| hold.agent == *id);
    let mut mates = Vec::new();
    for (id, task) in store.task_agents(owner)? {
        let nearest = store.task_rooms(task)?.first().map(|(nearest, _)| *nearest);
        if nearest != Some(owner) || !store.shares(&id)? || !runs(&id) {
            continue;
        }
        let scope = Scope::Agent(id.to_string());
        if let (Some(agent), Some(cap)) = (store.agent(&id)?, store.cap(&scope)?) {
            crate::end::fold(app, &agent);
            let spent = spent(app, &agent)?.usd;
            mates.push(Mate {
                left: cap.ceiling.less(spent),
                agent,
                cap,
                spent,
            });
        }
    }
    Ok(mates)
}

/// Takes `need` from `mates`, so that what the others have left is as even as it can be.
fn free_up(app: &App, mut mates: Vec<Mate>, need: Usd) -> Result<()> {
    if need.is_zero() {
        return Ok(());
    }
    mates.sort_by_key(|mate| mate.left);
    let whole: Usd = mates.iter().map(|mate| mate.left).sum();
    let mut keep = whole.less(need);
    let count = mates.len();
    for (index, mate) in mates.into_iter().enumerate() {
        let even = Usd::from_micros(keep.micros() / (count - index) as u64);
        let share = even.min(mate.left);
        keep = keep.less(share);
        if share == mate.left {
            continue;
        }
        let cap = Cap {
            ceiling: mate.spent + share,
            ..mate.cap
        };
        // One that cannot be told keeps what it has, and whoever wants to reserve that is refused.
        let limits = Limits {
            known: heeds_unknown(app, &mate.agent),
            ..limits_of(cap)
        };
        let told = app.client(&mate.agent).and_then(|mut client| client.limit(&limits));
        if told.is_ok() {
            change::set_agent(app, &mate.agent, cap)?;
        }
    }
    Ok(())
}
