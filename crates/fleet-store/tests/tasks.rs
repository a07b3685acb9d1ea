//! Records of tasks: their ids, what is recorded once, and what is learned from them.

use std::path::Path;

use fleet_core::agent::{Agent, Workspace};
use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::profile::{Class, outlook};
use fleet_core::report::{FollowUp, Priority, Status};
use fleet_core::spend::{Certainty, Meter, Spend};
use fleet_core::task::crew_report::CrewReport;
use fleet_core::task::{Standing, Task, TaskId};
use fleet_core::usage::Tokens;
use fleet_core::{Kind, Result, Time};
use fleet_store::{NewTask, PortRange, Reported, Reservation, Store};
use tempfile::TempDir;

const SITE: &str = "test";
const NOW: Time = Time(1_795_000_000_000);
const REPO: &str = "/code/web/.git";

fn open() -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(&dir.path().join("fleet.db")).expect("open");
    (dir, store)
}

fn new(title: &str) -> NewTask {
    NewTask {
        title: title.to_owned(),
        kind: "crew".to_owned(),
        repo: REPO.to_owned(),
        dispatched_by: "user".to_owned(),
        ..NewTask::default()
    }
}

fn add(store: &Store, new: &NewTask) -> Result<Task> {
    store.task_add(SITE, new, NOW, &|_| false)
}

#[track_caller]
fn added(store: &Store, title: &str) -> TaskId {
    add(store, &new(title)).expect("recorded").id
}

fn report(id: TaskId, status: Status, follow_ups: &[&str]) -> CrewReport {
    let named = |title: &&str| FollowUp {
        title: (*title).to_owned(),
        priority: Priority::Medium,
    };
    CrewReport {
        fleet_task_id: id,
        crew: None,
        status,
        cost_usd: None,
        commits: Vec::new(),
        follow_ups: follow_ups.iter().map(named).collect(),
        summary: None,
    }
}

#[track_caller]
fn tell(store: &Store, report: &CrewReport, block: &str, at: Time) -> bool {
    let said = Reported {
        report,
        block,
        commits: &[],
        at,
    };
    store.task_report(SITE, &said).expect("stored")
}

/// An agent that works for a task.
fn agent(store: &Store, number: u8, task: TaskId) -> Result<Agent> {
    let wanted = Reservation {
        id: AgentId::from_random(&[number & 31, number >> 5, 0, 0, 0, 0, 0, 0, 0, 0]),
        repo: REPO.into(),
        repo_name: "web".into(),
        branch: format!("b{number}"),
        workspace: Workspace::Worktree,
        here_dir: None,
        shared: false,
        session_prefix: "ai_".into(),
        worktree_root: "/w".into(),
        batch_id: "batch".into(),
        batch_exclusive: false,
        task: Some(task),
        cap: None,
        shares: false,
        harness: "claude".into(),
        model: Some("opus".into()),
        headless: true,
        env_names: Vec::new(),
        conversation: None,
        base: None,
        made_branch: true,
        now: NOW,
        ports: PortRange {
            first: 42_000,
            step: 10,
            count: 200,
        },
    };
    store
        .reserve(SITE, &[wanted], &|_: &Path| false)
        .map(|mut agents| agents.remove(0))
}

fn spend(seq: u64, task: TaskId, cost: Option<Usd>) -> Spend {
    Spend {
        meter: Meter::Transcript,
        seq,
        at: NOW,
        model: Some("opus".to_owned()),
        tokens: Tokens::default(),
        cost,
        certainty: if cost.is_some() {
            Certainty::Measured
        } else {
            Certainty::Unknown
        },
        reported: None,
        task: Some(task.to_string()),
    }
}

#[test]
fn ids_count_within_a_day_and_none_that_others_have_is_given() {
    let (_dir, store) = open();
    assert_eq!(added(&store, "a").to_string(), "TASK-20261118-001");
    assert_eq!(added(&store, "b").number(), 2);
    let skip = TaskId::new(NOW, 3);
    let third = store
        .task_add(SITE, &new("c"), NOW, &|id| id == skip)
        .expect("recorded");
    assert_eq!(third.id.number(), 4);
    let tomorrow = Time(NOW.0 + 86_400_000);
    let next = store.task_add(SITE, &new("d"), tomorrow, &|_| false).expect("recorded");
    assert_eq!(next.id.to_string(), "TASK-20261119-001");
    let threads: Vec<TaskId> = std::thread::scope(|scope| {
        let adding: Vec<_> = (0..8).map(|_| scope.spawn(|| added(&store, "at once"))).collect();
        adding
            .into_iter()
            .map(|thread| thread.join().expect("joined"))
            .collect()
    });
    let unique: std::collections::BTreeSet<_> = threads.into_iter().collect();
    assert_eq!(unique.len(), 8);
}

#[test]
fn what_is_recorded_once_is_recorded_once() {
    let (_dir, store) = open();
    let named = |external: &str| NewTask {
        external: Some(external.to_owned()),
        ..new("theirs")
    };
    let first = add(&store, &named("sprint/1")).expect("recorded");
    assert_eq!(add(&store, &named("sprint/1")).expect("known").id, first.id);
    let given = add(&store, &named("TASK-20260404-007")).expect("recorded");
    assert_eq!(given.id.to_string(), "TASK-20260404-007");
    let id = added(&store, "one");
    assert!(tell(
        &store,
        &report(id, Status::Completed, &["Pool it", "pool: IT!", "Rename"]),
        "x",
        NOW
    ));
    let task = store.task(id).expect("read").expect("there");
    assert_eq!(task.follow_ups.len(), 2, "the same title once");
    let of_it = NewTask {
        promoted: Some((id, "Pool it".to_owned())),
        ..new("Pool it")
    };
    let promoted = add(&store, &of_it).expect("recorded");
    assert_eq!(add(&store, &of_it).expect_err("once").kind, Kind::Conflict);
    let task = store.task(id).expect("read").expect("there");
    assert_eq!(task.follow_ups[0].promoted, Some(promoted.id));
    assert!(
        !tell(&store, &report(id, Status::Completed, &[]), "x", NOW),
        "the same block says nothing new"
    );
}

#[test]
fn shares_stay_within_the_ceiling_of_the_whole() {
    let (_dir, store) = open();
    let with = |title: &str, parent: Option<TaskId>, usd: f64| NewTask {
        parent,
        ceiling: Usd::new(usd),
        ..new(title)
    };
    let whole = add(&store, &with("whole", None, 5.0)).expect("recorded").id;
    let _ = add(&store, &with("a", Some(whole), 4.5)).expect("room");
    let error = add(&store, &with("b", Some(whole), 0.500_001)).expect_err("no room");
    assert_eq!(error.kind, Kind::OverBudget, "{error:?}");
    let _ = add(&store, &with("b", Some(whole), 0.5)).expect("to the cent");
    let other = NewTask {
        repo: "/code/other/.git".to_owned(),
        ..with("c", Some(whole), 0.1)
    };
    assert_eq!(
        add(&store, &other).expect_err("another repository").kind,
        Kind::NotFound
    );
}

#[test]
fn an_agent_takes_an_open_task_of_its_repository_and_no_other() {
    let (_dir, store) = open();
    let id = added(&store, "one");
    let first = agent(&store, 1, id).expect("taken");
    let task = store.task(id).expect("read").expect("there");
    assert_eq!(
        (task.status, task.agent, task.harness.as_deref()),
        (Standing::Running, Some(first.id), Some("claude"))
    );
    assert!(store.task_end(SITE, id, Standing::Failed, NOW).expect("ended"));
    assert!(!store.task_end(SITE, id, Standing::Completed, NOW).expect("was ended"));
    assert_eq!(agent(&store, 2, id).expect_err("over").kind, Kind::Conflict);
    assert_eq!(
        agent(&store, 2, TaskId::new(NOW, 99)).expect_err("none").kind,
        Kind::NotFound
    );
    assert_eq!(store.agents_all().expect("read").len(), 1);
}

#[test]
fn a_task_whose_only_agent_never_was_waits_again() {
    let (_dir, store) = open();
    let id = added(&store, "one");
    let (first, second) = (
        agent(&store, 1, id).expect("taken"),
        agent(&store, 2, id).expect("taken"),
    );
    let status = || store.task(id).expect("read").expect("there").status;
    assert!(store.erase(SITE, &first.id).expect("erased"));
    assert_eq!(status(), Standing::Running, "the other one works on it");
    assert!(store.forget(SITE, &second.id).expect("forgotten"));
    assert_eq!(status(), Standing::Open);
}

#[test]
fn work_of_an_unknown_cost_counts_for_time_alone() {
    let (_dir, store) = open();
    for number in 0..32_u8 {
        let id = added(&store, "work");
        let worker = agent(&store, number, id).expect("taken");
        // One whole, one of which a part is unknown, one that nobody counted.
        let cost = Usd::new(1.0);
        let entries = match number % 3 {
            0 => vec![spend(1, id, cost), spend(2, id, cost)],
            1 => vec![spend(1, id, cost), spend(2, id, None)],
            _ => Vec::new(),
        };
        let _ = store.spend_add(SITE, &worker.id, &entries, false).expect("counted");
        let _ = tell(
            &store,
            &report(id, Status::Completed, &[]),
            &id.to_string(),
            Time(NOW.0 + 60_000),
        );
    }
    let failed = added(&store, "failed");
    let _ = tell(&store, &report(failed, Status::Failed, &[]), "x", NOW);
    let work = store.finished_work().expect("read");
    assert_eq!(work.len(), 32, "what failed says nothing of what work needs");
    assert_eq!(work.iter().filter(|sample| sample.cost == Usd::new(2.0)).count(), 11);
    assert_eq!(work.iter().filter(|sample| sample.cost.is_none()).count(), 21);
    let known = outlook(&work, &Class::default()).expect("enough");
    let cost = known.cost_usd.expect("of eleven");
    assert!((cost.expected - 2.0).abs() < 1e-9 && cost.samples == 11, "{cost:?}");
    assert_eq!(
        known.seconds.map(|time| (time.expected.round(), time.samples)),
        Some((60.0, 32))
    );
}
