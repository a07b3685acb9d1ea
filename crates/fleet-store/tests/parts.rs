//! The whole tree of ceilings (day, tasks, their parts, agents): what the store answers is what a plain model of the rules
//! says, whatever happens in which order.

use fleet_core::agent::Workspace;
use fleet_core::budget::{Cap, Scope};
use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::spend::{Certainty, Meter, Spend};
use fleet_core::task::{Standing, TaskId};
use fleet_core::usage::Tokens;
use fleet_core::{Kind, Result, Time};
use fleet_store::{Hold, NewTask, PortRange, Reservation, Rest, Store};
use proptest::prelude::*;

const SITE: &str = "test";
/// A Saturday at noon, UTC.
const NOON: Time = Time(1_795_262_400_000);
const REPO: &str = "/code/shop/.git";
/// The task that each of [`TASKS`] is a part of: a whole, two parts of it, a part of the first of these, and another whole.
const TASKS: [Option<usize>; 5] = [None, Some(0), Some(0), Some(1), None];
/// The task that each agent works for.
const AGENTS: [Option<usize>; 8] = [None, Some(0), Some(1), Some(1), Some(2), Some(3), Some(3), Some(4)];

fn rest(unknown: bool) -> Rest {
    if unknown { Rest::All } else { Rest::Nothing }
}

fn usd(micros: u64) -> Usd {
    Usd::from_micros(micros)
}

fn agent(number: usize) -> AgentId {
    AgentId::from_random(&[number as u8 + 1; 10])
}

fn task(number: usize) -> TaskId {
    TaskId::new(NOON, number as u32 + 1)
}

fn reservation(number: usize) -> Reservation {
    Reservation {
        id: agent(number),
        repo: REPO.into(),
        repo_name: "shop".into(),
        branch: format!("b{number}"),
        workspace: Workspace::Worktree,
        here_dir: None,
        shared: false,
        session_prefix: "ai_".into(),
        worktree_root: "/w".into(),
        batch_id: "batch".into(),
        batch_exclusive: false,
        task: AGENTS[number].map(task),
        harness: "claude".into(),
        model: None,
        headless: false,
        env_names: Vec::new(),
        conversation: None,
        base: None,
        made_branch: true,
        cap: None,
        shares: false,
        now: NOON,
        ports: PortRange {
            first: 10_000,
            step: 1,
            count: 100,
        },
    }
}

/// What there is by the rules, without a database.
#[derive(Clone, Default)]
struct Model {
    day: u64,
    /// Ceilings of tasks.
    ceilings: [Option<u64>; 5],
    over: [bool; 5],
    /// What was spent for each task; the last is for none.
    spent: [u64; 6],
    /// What each agent has spent.
    by: [u64; 8],
    /// What each agent holds, and had spent when it was reserved.
    holds: [Option<(u64, u64)>; 8],
    /// What stays charged to each agent.
    extra: [u64; 8],
}

impl Model {
    fn held(&self, agent: usize) -> u64 {
        let rest = |(amount, before): (u64, u64)| (amount + before).saturating_sub(self.by[agent]);
        self.holds[agent].map_or(0, rest) + self.extra[agent]
    }

    fn committed(&self, task: usize) -> u64 {
        let held: u64 = (0..8)
            .filter(|each| AGENTS[*each] == Some(task))
            .map(|each| self.held(each))
            .sum();
        let parts = (0..5).filter(|part| TASKS[*part] == Some(task)).map(|part| {
            let promised = self.ceilings[part].filter(|_| !self.over[part]).unwrap_or(0);
            self.committed(part).max(promised)
        });
        self.spent[task] + held + parts.sum::<u64>()
    }

    fn of_day(&self) -> u64 {
        self.spent.iter().sum::<u64>() + (0..8).map(|each| self.held(each)).sum::<u64>()
    }

    /// Whether every ceiling above `task` holds, its own included.
    fn fits(&self, task: Option<usize>) -> bool {
        let mut next = task;
        while let Some(task) = next {
            if self.ceilings[task].is_some_and(|ceiling| self.committed(task) > ceiling) {
                return false;
            }
            next = TASKS[task];
        }
        true
    }
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Act {
    /// A launch of an agent reserves this much.
    Launch(usize, u64),
    /// A reply to an agent cost so much; a sub-agent of it may work for another task.
    Reply(usize, u64, Option<usize>),
    /// A launch is over; whether something of its cost is not known.
    End(usize, bool),
    /// An agent may spend so much beyond what it has.
    Raise(usize, u64),
    /// A task has this ceiling.
    Ceiling(usize, Option<u64>),
    /// A task is over.
    Over(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let (who, what) = (0..8usize, 0..5usize);
    prop_oneof![
        3 => (who.clone(), 0..400u64).prop_map(|(who, amount)| Act::Launch(who, amount)),
        4 => (who.clone(), 0..150u64, prop::option::weighted(0.3, what.clone()))
            .prop_map(|(who, cost, named)| Act::Reply(who, cost, named)),
        2 => (who.clone(), any::<bool>()).prop_map(|(who, unknown)| Act::End(who, unknown)),
        1 => (who, 0..400u64).prop_map(|(who, amount)| Act::Raise(who, amount)),
        1 => (what.clone(), prop::option::weighted(0.9, 50..900u64)).prop_map(|(task, to)| Act::Ceiling(task, to)),
        1 => what.prop_map(Act::Over),
    ]
}

fn entry(seq: u64, cost: u64, named: Option<usize>) -> Spend {
    Spend {
        meter: Meter::Transcript,
        seq,
        at: NOON,
        model: None,
        tokens: Tokens::default(),
        cost: Some(usd(cost)),
        certainty: Certainty::Measured,
        reported: None,
        task: named.map(|named| task(named).to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn every_level_of_the_tree_has_what_the_rules_say_and_is_passed_by_replies_in_flight_alone(
        acts in prop::collection::vec(act(), 1..60),
        day in 200..2500u64,
    ) {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(&dir.path().join("fleet.db")).expect("a store");
        for (number, parent) in TASKS.iter().enumerate() {
            let new = NewTask { title: format!("task {number}"), kind: "crew".into(), repo: REPO.into(),
                dispatched_by: "user".into(), parent: parent.map(task), ..NewTask::default() };
            let made = store.task_add(SITE, &new, NOON, &|_| false).expect("a task");
            prop_assert_eq!(made.id, task(number));
        }
        let all: Vec<Reservation> = (0..8).map(reservation).collect();
        store.reserve(SITE, &all, &|_| false).expect("reserved");
        let cap = |ceiling| Cap { ceiling: usd(ceiling), hard: false };
        store.set_cap(SITE, &Scope::Day, Some(cap(day)), NOON).expect("set");
        let mut model = Model { day, ..Model::default() };
        let (mut seq, mut generation) = (0, [0u32; 8]);
        // By how much replies passed what was reserved for them: nothing else may pass a ceiling.
        let mut beyond = 0;
        for act in acts {
            let mut next = model.clone();
            let agree = |result: Result<()>, fits: bool, next: Model, model: &mut Model| {
                match (result, fits) {
                    (Ok(()), true) => *model = next,
                    (Err(error), false) => prop_assert_eq!(error.kind, Kind::OverBudget),
                    (Ok(()), false) => prop_assert!(false, "what does not fit was let through"),
                    (Err(error), true) => prop_assert!(false, "what fits was refused: {}", error.message),
                }
                Ok(())
            };
            match act {
                Act::Launch(who, amount) if model.holds[who].is_none() => {
                    generation[who] += 1;
                    let hold = Hold { agent: agent(who), generation: generation[who], amount: usd(amount), made_at: NOON };
                    next.holds[who] = Some((amount, model.by[who]));
                    // What costs nothing is done whatever was spent.
                    let fits = amount == 0 || next.of_day() <= next.day && next.fits(AGENTS[who]);
                    agree(store.hold(SITE, &hold), fits, next, &mut model)?;
                }
                Act::Reply(who, cost, named) => {
                    seq += 1;
                    store.spend_add(SITE, &agent(who), &[entry(seq, cost, named)], false).expect("added");
                    beyond += cost.saturating_sub(model.held(who) - model.extra[who]);
                    // What a sub-agent uses for a part is the part's. What it says of a task elsewhere changes nothing.
                    let own = AGENTS[who];
                    let named = named.filter(|named| own.is_none_or(|own| is_below(*named, own)));
                    model.spent[named.or(own).unwrap_or(5)] += cost;
                    model.by[who] += cost;
                }
                Act::End(who, unknown) if model.holds[who].is_some() => {
                    store.end_hold(SITE, &agent(who), generation[who], rest(unknown), NOON).expect("ended");
                    let rest = model.held(who) - model.extra[who];
                    model.holds[who] = None;
                    model.extra[who] += if unknown { rest } else { 0 };
                }
                Act::Raise(who, amount) if model.holds[who].is_some() => {
                    let (had, before) = model.holds[who].unwrap_or_default();
                    let to = model.by[who] + amount;
                    next.holds[who] = Some((to.saturating_sub(before), before));
                    // Less may be had at any time.
                    let fits = to.saturating_sub(before) <= had || next.of_day() <= next.day && next.fits(AGENTS[who]);
                    agree(store.set_agent_cap(SITE, &agent(who), generation[who], cap(to), NOON), fits, next, &mut model)?;
                }
                Act::Ceiling(which, to) => {
                    next.ceilings[which] = to;
                    let reserved = next.committed(which) > subtree_spent(&next, which);
                    let own = to.is_none_or(|to| next.committed(which) <= to || !reserved);
                    let fits = own && next.fits(TASKS[which]);
                    let result = store.set_cap(SITE, &Scope::Task(task(which).to_string()), to.map(cap), NOON);
                    agree(result, fits, next, &mut model)?;
                }
                Act::Over(which) => {
                    store.task_end(SITE, task(which), Standing::Completed, NOON).expect("ended");
                    model.over[which] = true;
                }
                _ => {}
            }
            let room = store.room(&Scope::Day, NOON).expect("read").expect("a ceiling");
            prop_assert_eq!((room.spent + room.held).micros(), model.of_day());
            prop_assert!(model.of_day() <= day + beyond);
            for (number, ceiling) in model.ceilings.iter().enumerate() {
                let room = store.room(&Scope::Task(task(number).to_string()), NOON).expect("read");
                prop_assert_eq!(room.map(|room| room.cap.ceiling.micros()), *ceiling);
                if let Some(room) = room {
                    prop_assert_eq!((room.spent + room.held).micros(), model.committed(number), "task {}", number);
                }
            }
        }
        for (who, generation) in generation.into_iter().enumerate() {
            store.end_hold(SITE, &agent(who), generation, Rest::Nothing, NOON).expect("ended");
        }
        prop_assert!(store.holds().expect("read").is_empty(), "nothing stays reserved");
    }
}

fn is_below(task: usize, whole: usize) -> bool {
    task == whole || TASKS[task].is_some_and(|parent| is_below(parent, whole))
}

fn subtree_spent(model: &Model, task: usize) -> u64 {
    let parts = (0..5).filter(|part| TASKS[*part] == Some(task));
    model.spent[task] + parts.map(|part| subtree_spent(model, part)).sum::<u64>()
}

#[test]
fn four_fifths_and_the_end_of_a_tasks_ceiling_are_told_once_each() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(&dir.path().join("fleet.db")).expect("a store");
    for parent in [None, Some(0)] {
        let new = NewTask {
            title: "the work".into(),
            kind: "crew".into(),
            repo: REPO.into(),
            dispatched_by: "user".into(),
            parent: parent.map(task),
            ..NewTask::default()
        };
        store.task_add(SITE, &new, NOON, &|_| false).expect("a task");
    }
    let of_part = Reservation {
        task: Some(task(1)),
        ..reservation(0)
    };
    store.reserve(SITE, &[of_part], &|_| false).expect("reserved");
    let cap = Cap {
        ceiling: usd(1_000_000),
        hard: false,
    };
    let scope = Scope::Task(task(0).to_string());
    store.set_cap(SITE, &scope, Some(cap), NOON).expect("set");
    for (seq, cost) in [700_000, 120_000, 10_000, 300_000, 10_000].into_iter().enumerate() {
        let entry = entry(seq as u64 + 1, cost, None);
        store
            .spend_add(SITE, &agent(0), std::slice::from_ref(&entry), false)
            .expect("added");
        // Heard of again, it says nothing more.
        store.spend_add(SITE, &agent(0), &[entry], false).expect("added");
    }
    let events = store.task_events(REPO, Some(task(0))).expect("read");
    let told: Vec<(&str, &str)> = events
        .iter()
        .filter(|event| ["near", "reached"].contains(&event.event.as_str()))
        .map(|event| (event.event.as_str(), event.about.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("near", "0.82 USD of 1.00 USD are spent"),
            ("reached", "1.13 USD of 1.00 USD are spent")
        ]
    );
}
