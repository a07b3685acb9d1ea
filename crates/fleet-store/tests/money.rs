//! What is reserved and what was spent never pass a ceiling, whatever happens in which order.

use fleet_core::agent::{Phase, Workspace};
use fleet_core::budget::{Cap, Notice, Scope};
use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::spend::{Certainty, Meter, Spend};
use fleet_core::usage::Tokens;
use fleet_core::{Kind, Time};
use fleet_store::{Hold, Of, PortRange, Reservation, Rest, Store};
use proptest::prelude::*;
use tempfile::TempDir;

const SITE: &str = "test";
/// A Saturday at noon, UTC.
const NOON: i64 = 1_795_262_400_000;

fn id(number: u32) -> AgentId {
    let mut random = [0; 10];
    for (index, byte) in random.iter_mut().enumerate().take(4) {
        *byte = (number >> (5 * index)) as u8 & 31;
    }
    AgentId::from_random(&random)
}

fn rest(unknown: bool) -> Rest {
    if unknown { Rest::All } else { Rest::Nothing }
}

fn usd(micros: u64) -> Usd {
    Usd::from_micros(micros)
}

fn wanted(number: u32, cap: Option<u64>, now: Time) -> Reservation {
    Reservation {
        id: id(number),
        repo: "/code/shop/.git".into(),
        repo_name: "shop".into(),
        branch: format!("b{number}"),
        workspace: Workspace::Worktree,
        here_dir: None,
        shared: false,
        session_prefix: "ai_".into(),
        worktree_root: "/w".into(),
        batch_id: "batch".into(),
        batch_exclusive: false,
        task: None,
        harness: "claude".into(),
        model: None,
        headless: false,
        env_names: Vec::new(),
        conversation: None,
        base: None,
        made_branch: true,
        cap: cap.map(|ceiling| Cap {
            ceiling: usd(ceiling),
            hard: true,
        }),
        shares: false,
        now,
        ports: PortRange {
            first: 10_000,
            step: 1,
            count: 5_000,
        },
    }
}

fn entry(seq: u64, at: Time, cost: Option<u64>) -> Spend {
    Spend {
        meter: Meter::Transcript,
        seq,
        at,
        model: Some("m".into()),
        tokens: Tokens::default(),
        cost: cost.map(usd),
        certainty: if cost.is_some() {
            Certainty::Measured
        } else {
            Certainty::Unknown
        },
        reported: None,
        task: None,
    }
}

struct Account {
    _dir: TempDir,
    store: Store,
    now: Time,
}

impl Account {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(&dir.path().join("fleet.db")).expect("a store");
        Self {
            _dir: dir,
            store,
            now: Time(NOON),
        }
    }

    fn day(&self, ceiling: u64) {
        let cap = Cap {
            ceiling: usd(ceiling),
            hard: false,
        };
        self.store.set_cap(SITE, &Scope::Day, Some(cap), self.now).expect("set");
    }

    /// What is spent and reserved of the day, in millionths.
    fn committed(&self) -> u64 {
        let room = self
            .store
            .room(&Scope::Day, self.now)
            .expect("read")
            .expect("a ceiling");
        (room.spent + room.held).micros()
    }
}

/// Something that happens to one of eight agents.
#[derive(Clone, Debug)]
enum Act {
    /// A launch reserves this much.
    Launch(usize, u64),
    /// A reply is counted that cost this much, or nobody knows what.
    Reply(usize, Option<u64>),
    /// The launch is over; whether something of its cost is not known.
    End(usize, bool),
    /// Its ceiling is changed to this much beyond what it has spent.
    Raise(usize, u64),
    /// Some seconds pass.
    Wait(i64),
}

fn act() -> impl Strategy<Value = Act> {
    let who = 0..8usize;
    prop_oneof![
        (who.clone(), 0..400u64).prop_map(|(who, amount)| Act::Launch(who, amount)),
        (
            who.clone(),
            prop_oneof![4 => (0..150u64).prop_map(Some), 1 => Just(None)]
        )
            .prop_map(|(who, cost)| Act::Reply(who, cost)),
        (who.clone(), any::<bool>()).prop_map(|(who, unknown)| Act::End(who, unknown)),
        (who, 0..400u64).prop_map(|(who, amount)| Act::Raise(who, amount)),
        (0..5i64).prop_map(Act::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// The sum of reservations and actuals passes the ceiling by no more than replies cost beyond their own reservation:
    /// the requests in flight when a limit was reached.
    #[test]
    fn reservations_and_actuals_pass_a_ceiling_by_no_more_than_the_replies_in_flight(
        acts in prop::collection::vec(act(), 1..60),
        ceiling in 100..1500u64,
    ) {
        let mut account = Account::new();
        let agents: Vec<Reservation> = (0..8).map(|number| wanted(number, None, account.now)).collect();
        account.store.reserve(SITE, &agents, &|_| false).expect("reserved");
        account.day(ceiling);
        let (mut seq, mut generation, mut beyond) = (0, [0u32; 8], 0u64);
        // What each launch that runs has left of its reservation.
        let mut left: [Option<u64>; 8] = [None; 8];
        for act in acts {
            let before = account.committed();
            match act {
                Act::Launch(who, amount) if left[who].is_none() => {
                    generation[who] += 1;
                    let hold = Hold { agent: id(who as u32), generation: generation[who], amount: usd(amount), made_at: account.now };
                    match account.store.hold(SITE, &hold) {
                        Ok(()) => {
                            left[who] = Some(amount);
                            prop_assert!(amount == 0 || account.committed() <= ceiling + beyond);
                            prop_assert_eq!(account.committed(), before + amount);
                        }
                        Err(error) => {
                            prop_assert_eq!(error.kind, Kind::OverBudget);
                            prop_assert!(before + amount > ceiling, "{} and {} fit into {}", before, amount, ceiling);
                            prop_assert_eq!(account.committed(), before);
                        }
                    }
                }
                Act::Reply(who, cost) if left[who].is_some() => {
                    seq += 1;
                    account.store.spend_add(SITE, &id(who as u32), &[entry(seq, account.now, cost)], false).expect("added");
                    let (cost, rest) = (cost.unwrap_or_default(), left[who].unwrap_or_default());
                    beyond += cost.saturating_sub(rest);
                    left[who] = Some(rest.saturating_sub(cost));
                    prop_assert_eq!(account.committed(), before + cost.saturating_sub(rest));
                    // Counted once, however often it is told.
                    let again = entry(seq, account.now, Some(cost + 1000));
                    prop_assert_eq!(account.store.spend_add(SITE, &id(who as u32), &[again], false).expect("added"), 0);
                }
                Act::End(who, unknown) if left[who].is_some() => {
                    account.store.end_hold(SITE, &id(who as u32), generation[who], rest(unknown), account.now).expect("ended");
                    left[who] = None;
                    prop_assert!(account.committed() <= before, "an end gives back, and takes nothing");
                    if unknown {
                        prop_assert_eq!(account.committed(), before, "what is not known stays charged");
                    }
                }
                Act::Raise(who, amount) if left[who].is_some() => {
                    let spent = account.store.spent(&Of { agent: Some(id(who as u32)), ..Of::default() }).expect("read");
                    let cap = Cap { ceiling: usd(spent.cost.micros() + amount), hard: true };
                    let rest = left[who].unwrap_or_default();
                    match account.store.set_agent_cap(SITE, &id(who as u32), generation[who], cap, account.now) {
                        Ok(()) => {
                            left[who] = Some(amount);
                            prop_assert!(amount <= rest || account.committed() <= ceiling + beyond);
                        }
                        Err(error) => {
                            prop_assert_eq!(error.kind, Kind::OverBudget);
                            prop_assert_eq!(account.committed(), before, "all or nothing");
                        }
                    }
                }
                Act::Wait(seconds) => account.now = Time(account.now.0 + seconds * 1000),
                _ => {}
            }
            prop_assert!(account.committed() <= ceiling + beyond);
        }
        // Nothing stays reserved when all of it is over.
        for (who, generation) in generation.into_iter().enumerate() {
            account.store.end_hold(SITE, &id(who as u32), generation, Rest::Nothing, account.now).expect("ended");
        }
        prop_assert!(account.store.holds().expect("read").is_empty());
    }
}

#[test]
fn a_new_day_has_its_whole_ceiling_but_for_what_is_still_reserved() {
    let mut account = Account::new();
    account.day(1000);
    let agents = [wanted(0, Some(600), account.now), wanted(1, Some(400), account.now)];
    account.store.reserve(SITE, &agents, &|_| false).expect("reserved");
    account
        .store
        .spend_add(SITE, &id(0), &[entry(1, account.now, Some(500))], false)
        .expect("added");
    account
        .store
        .spend_add(SITE, &id(1), &[entry(1, account.now, Some(400))], false)
        .expect("added");
    account
        .store
        .end_hold(SITE, &id(1), 1, Rest::Nothing, account.now)
        .expect("ended");
    assert_eq!(account.committed(), 1000);
    // Over midnight: 100 of the first launch are still to come; over the week's end likewise.
    for days in [1, 2, 9] {
        account.now = Time(NOON + days * 86_400_000);
        assert_eq!(account.committed(), 100, "after {days} days");
    }
    // A clock that goes back finds the day as it was.
    account.now = Time(NOON);
    assert_eq!(account.committed(), 1000);
}

#[test]
fn a_reservation_that_does_not_fit_takes_no_names() {
    let account = Account::new();
    account.day(1000);
    let both = [wanted(0, Some(600), account.now), wanted(1, Some(600), account.now)];
    let refused = account.store.reserve(SITE, &both, &|_| false).expect_err("too much");
    assert_eq!(refused.kind, Kind::OverBudget);
    assert!(account.store.agents_all().expect("read").is_empty());
    assert_eq!((account.committed(), account.store.caps().expect("read").len()), (0, 1));
    account.store.reserve(SITE, &both[..1], &|_| false).expect("fits");
    account
        .store
        .set_phase(SITE, &id(0), &[Phase::Reserved], Phase::Ended, account.now)
        .expect("set");
    account.store.erase(SITE, &id(0)).expect("forgotten");
    assert_eq!(
        (account.committed(), account.store.caps().expect("read").len()),
        (0, 1),
        "nothing leaks"
    );
}

#[test]
fn what_a_killed_supervisor_did_not_count_is_charged_and_the_rest_of_its_hold_is_free_again() {
    for (sure, at_most, charged) in [
        (0, 0, 0),
        (100, 50, 150),
        (100, 900, 400),
        (700, 50, 700),
        (0, 400, 400),
    ] {
        let account = Account::new();
        account.day(1000);
        account
            .store
            .reserve(SITE, &[wanted(0, Some(500), account.now)], &|_| false)
            .expect("reserved");
        let replies = [entry(1, account.now, Some(100))];
        account.store.spend_add(SITE, &id(0), &replies, false).expect("added");
        let rest = Rest::About {
            sure: usd(sure),
            at_most: usd(at_most),
        };
        account
            .store
            .end_hold(SITE, &id(0), 1, rest, account.now)
            .expect("ended");
        let room = account
            .store
            .room(&Scope::Day, account.now)
            .expect("read")
            .expect("a ceiling");
        assert_eq!(
            (room.spent, room.held, room.charged),
            (usd(100), usd(charged), usd(charged))
        );
        assert_eq!(account.store.charged(&id(0)).expect("read"), usd(charged));
    }
}

/// What was told so far: of what, how near its end, and how much of how much.
fn told(store: &Store) -> Vec<(String, Notice, String)> {
    let all = store.told_new().expect("read").into_iter();
    all.map(|told| (told.scope.to_string(), told.notice, told.about))
        .collect()
}

fn line(scope: &str, notice: Notice, about: &str) -> (String, Notice, String) {
    (scope.to_owned(), notice, about.to_owned())
}

#[test]
fn a_ceiling_of_all_agents_is_told_of_once_near_its_end_and_at_it_and_again_when_it_is_raised_or_a_day_begins() {
    const DAY: i64 = 86_400_000;
    let account = Account::new();
    let store = &account.store;
    account.day(1_000_000);
    store
        .reserve(SITE, &[wanted(0, None, account.now)], &|_| false)
        .expect("names");
    let mut seq = 0;
    let mut spend = |at: i64, cost: Option<u64>| {
        seq += 1;
        let added = store.spend_add(SITE, &id(0), &[entry(seq, Time(at), cost)], false);
        assert_eq!(added.expect("added"), 1);
    };
    spend(NOON, Some(790_000));
    assert_eq!(told(store), []);
    spend(NOON, Some(10_000));
    spend(NOON, Some(10_000));
    let near = line("day", Notice::Near, "0.80 of 1.00 USD");
    assert_eq!(told(store), std::slice::from_ref(&near));
    spend(NOON, Some(200_000));
    spend(NOON, None);
    let reached = line("day", Notice::Reached, "1.01 of 1.00 USD");
    assert_eq!(told(store), [near.clone(), reached.clone()]);
    // More is allowed: it is near the end of that, and that is said once.
    account.day(1_200_000);
    spend(NOON, Some(10_000));
    let again = line("day", Notice::Near, "1.01 of 1.20 USD");
    assert_eq!(told(store), [near, reached, again]);
    for line in store.told_new().expect("read") {
        assert!(store.told_take(SITE, line.number).expect("taken"));
        assert!(!store.told_take(SITE, line.number).expect("asked"), "somebody has it");
    }
    assert_eq!(told(store), []);
    // The next day's is its own, whenever what was used the day before is heard of.
    spend(NOON + DAY, Some(1_000_000));
    assert_eq!(told(store), [line("day", Notice::Near, "1.00 of 1.20 USD")]);
    spend(NOON - DAY, Some(2_000_000));
    let before = line("day", Notice::Reached, "2.00 of 1.20 USD");
    assert_eq!(told(store)[1..], [before]);
    let last = store.told(&Scope::Day, usd(1_200_000), Time(NOON + DAY)).expect("read");
    assert_eq!(last.map(|told| told.notice), Some(Notice::Near));
    let other = store.told(&Scope::Day, usd(3_000_000), Time(NOON)).expect("read");
    assert_eq!(other, None, "nothing was told of another ceiling");
}

#[test]
fn what_many_processes_see_at_once_is_told_by_one() {
    let account = Account::new();
    account.day(1_000_000);
    let all: Vec<Reservation> = (0..4).map(|number| wanted(number, None, account.now)).collect();
    account.store.reserve(SITE, &all, &|_| false).expect("names");
    let path = account._dir.path().join("fleet.db");
    std::thread::scope(|scope| {
        for number in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let store = Store::open(path).expect("a store");
                for seq in 1..=10 {
                    let entry = entry(seq, Time(NOON), Some(30_000));
                    store.spend_add(SITE, &id(number), &[entry], false).expect("added");
                }
            });
        }
    });
    let notices: Vec<Notice> = told(&account.store).into_iter().map(|(_, notice, _)| notice).collect();
    assert_eq!(notices, [Notice::Near, Notice::Reached]);
}

#[test]
fn what_is_charged_for_a_launch_that_is_over_brings_a_ceiling_near_its_end_too() {
    let account = Account::new();
    account.day(1_000_000);
    let store = &account.store;
    let reserved = store.reserve(SITE, &[wanted(0, Some(900_000), account.now)], &|_| false);
    reserved.expect("names");
    assert_eq!(told(store), [], "what is reserved may be given back");
    let at = Time(NOON + 1000);
    store.end_hold(SITE, &id(0), 1, Rest::All, at).expect("ended");
    assert_eq!(told(store), [line("day", Notice::Near, "0.90 of 1.00 USD")]);
}
