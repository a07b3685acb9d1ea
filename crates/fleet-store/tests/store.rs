//! The store as its users see it: many processes on one file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fleet_core::agent::{Agent, Phase, Workspace};
use fleet_core::fact::{Entry, Fact, Source, VERSION};
use fleet_core::id::AgentId;
use fleet_core::{Error, Kind, Result, Time};
use fleet_store::{Begun, Owner, PortRange, Reservation, Salvage, Store};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

const SITE: &str = "test";
const PORTS: PortRange = PortRange {
    first: 42_000,
    step: 10,
    count: 200,
};

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("dir"),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("fleet.db")
    }

    fn store(&self) -> Store {
        Store::open(&self.path()).expect("open")
    }
}

fn id(number: u32) -> AgentId {
    let mut random = [0; 10];
    for (index, byte) in random.iter_mut().enumerate().take(4) {
        *byte = (number >> (5 * index)) as u8 & 31;
    }
    AgentId::from_random(&random)
}

fn wanted(number: u32, repo: &str, branch: &str) -> Reservation {
    Reservation {
        id: id(number),
        repo: format!("/code/{repo}/.git").into(),
        repo_name: repo.into(),
        branch: branch.into(),
        workspace: Workspace::Worktree,
        here_dir: None,
        shared: false,
        session_prefix: "ai_".into(),
        worktree_root: "/w".into(),
        batch_id: "manual-2026-11-21".into(),
        batch_exclusive: false,
        task: None,
        harness: "claude".into(),
        model: Some("opus".into()),
        headless: false,
        env_names: vec!["TOKEN".into()],
        conversation: Some("c-1".into()),
        base: None,
        made_branch: true,
        cap: None,
        shares: false,
        now: Time(1_700_000_000_000),
        ports: PORTS,
    }
}

fn here(number: u32, label: &str, directory: &str) -> Reservation {
    Reservation {
        workspace: Workspace::Here,
        here_dir: Some(directory.into()),
        shared: false,
        made_branch: false,
        ..wanted(number, "web", label)
    }
}

fn nothing(_: &Path) -> bool {
    false
}

fn reserve(store: &Store, one: Reservation) -> Result<Agent> {
    store.reserve(SITE, &[one], &nothing).map(|mut agents| agents.remove(0))
}

fn end(store: &Store, id: &AgentId) {
    let from = [Phase::Reserved, Phase::Started, Phase::Ending];
    assert!(store.set_phase(SITE, id, &from, Phase::Ended, Time(9)).expect("end"));
}

fn assert_all_distinct(agents: &[Agent]) {
    let distinct = |names: Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == agents.len();
    assert!(
        distinct(agents.iter().map(|one| one.session.clone()).collect()),
        "sessions"
    );
    assert!(
        distinct(agents.iter().map(|one| one.worktree.display().to_string()).collect()),
        "worktrees"
    );
    let mut ports: Vec<u16> = agents.iter().map(|one| one.port_base).collect();
    ports.sort_unstable();
    assert!(
        ports.windows(2).all(|pair| pair[1] - pair[0] >= PORTS.step),
        "ports {ports:?}"
    );
}

#[test]
fn a_reservation_reads_back_as_it_was_made() {
    let place = Place::new();
    let store = place.store();
    let agent = reserve(&store, wanted(1, "web", "feature/x")).expect("reserve");
    assert_eq!(agent.session, "ai_feature-x");
    assert_eq!(agent.worktree, Path::new("/w/feature-x"));
    assert_eq!(
        (agent.port_base, agent.phase, agent.generation),
        (42_000, Phase::Reserved, 0)
    );
    assert_eq!(store.agent(&agent.id).expect("read"), Some(agent.clone()));
    assert_eq!(store.agents_live().expect("read"), [agent]);
    assert_eq!(store.agent(&id(2)).expect("read"), None);
}

#[test]
fn a_hundred_writers_at_once_lose_nothing() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for number in 0..100 {
            let store = || place.store();
            scope.spawn(move || reserve(&store(), wanted(number, "web", &format!("b{number}"))).expect("reserve"));
        }
    });
    let agents = place.store().agents_live().expect("read");
    assert_eq!(agents.len(), 100);
    assert_all_distinct(&agents);
}

#[test]
fn threads_may_share_one_store() {
    let place = Place::new();
    let store = place.store();
    let state = place.dir.path().join("state.json");
    std::thread::scope(|scope| {
        for number in 0..20 {
            let (store, state) = (&store, &state);
            scope.spawn(move || {
                reserve(store, wanted(number, "web", &format!("b{number}"))).expect("reserve");
                store.publish_state(SITE, state).expect("publish");
            });
        }
    });
    let published: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(&state).expect("file")).expect("json");
    assert_eq!(published.len(), 20, "the last publication has seen everything");
}

const CHILD: &str = "FLEET_STORE_TEST_CHILD";

/// What each process of the next test does; without its variable it does nothing.
#[test]
fn child_process_reserves_and_publishes() {
    let Some(order) = std::env::var_os(CHILD) else {
        return;
    };
    let order = order.into_string().expect("text");
    let (number, folder) = order.split_once(' ').expect("number and folder");
    let number: u32 = number.parse().expect("number");
    let store = Store::open(&Path::new(folder).join("fleet.db")).expect("open");
    reserve(&store, wanted(number, "web", &format!("b{number}"))).expect("reserve");
    store
        .publish_state(SITE, &Path::new(folder).join("state.json"))
        .expect("publish");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test starts itself; the door for programs is not below the store"
)]
fn a_hundred_processes_at_once_lose_nothing() {
    let place = Place::new();
    let program = std::env::current_exe().expect("this test");
    let children: Vec<_> = (0..100)
        .map(|number| {
            let mut command = std::process::Command::new(&program);
            command.args(["--exact", "child_process_reserves_and_publishes"]);
            command.env(CHILD, format!("{number} {}", place.dir.path().display()));
            command.stdout(std::process::Stdio::null()).spawn().expect("start")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("wait").success());
    }
    let agents = place.store().agents_live().expect("read");
    assert_eq!(agents.len(), 100);
    assert_all_distinct(&agents);
    let state = std::fs::read(place.dir.path().join("state.json")).expect("file");
    let published: Vec<serde_json::Value> = serde_json::from_slice(&state).expect("json");
    assert_eq!(published.len(), 100);
}

#[test]
fn a_branch_has_one_live_agent_in_a_repository() {
    let place = Place::new();
    let store = place.store();
    reserve(&store, wanted(1, "web", "fix-42")).expect("reserve");
    let error = reserve(&store, wanted(2, "web", "fix-42")).expect_err("taken");
    assert_eq!(error.kind, Kind::Conflict);
    assert_eq!(error.message, "agent `fix-42` already exists in web");
    assert!(error.hint.expect("hint").contains("fleet attach fix-42"));
    end(&store, &id(1));
    reserve(&store, wanted(2, "web", "fix-42")).expect("free again");
}

#[test]
fn the_same_branch_in_two_repositories_is_two_agents() {
    let place = Place::new();
    let store = place.store();
    let one = reserve(&store, wanted(1, "web", "fix")).expect("web");
    let two = reserve(&store, wanted(2, "api", "fix")).expect("api");
    assert_eq!(
        (one.session.as_str(), one.worktree.as_path()),
        ("ai_fix", Path::new("/w/fix"))
    );
    assert_eq!(two.session, format!("ai_fix-{}", &id(2).as_str()[..4]));
    assert_eq!(two.worktree, Path::new("/w/fix--api"));
    assert_ne!(one.port_base, two.port_base);
}

#[test]
fn several_taken_names_are_told_at_once_and_none_is_taken() {
    let place = Place::new();
    let store = place.store();
    store
        .reserve(SITE, &[wanted(1, "web", "a"), wanted(2, "web", "b")], &nothing)
        .expect("reserve");
    let three = [wanted(3, "web", "new"), wanted(4, "web", "a"), wanted(5, "web", "b")];
    let error = store.reserve(SITE, &three, &nothing).expect_err("taken");
    assert_eq!(error.message, "agents `a`, `b` already exist in web");
    assert_eq!(store.agents_live().expect("read").len(), 2);
    let twice = [wanted(6, "web", "c"), wanted(7, "web", "c")];
    assert_eq!(
        store.reserve(SITE, &twice, &nothing).expect_err("twice").kind,
        Kind::Conflict
    );
}

#[test]
fn a_live_batch_keeps_its_prefix() {
    let place = Place::new();
    let store = place.store();
    let member = |number, branch: &str| Reservation {
        batch_id: "auth".into(),
        batch_exclusive: true,
        ..wanted(number, "web", branch)
    };
    store
        .reserve(SITE, &[member(1, "auth-A1"), member(2, "auth-A2")], &nothing)
        .expect("reserve");
    let error = reserve(&store, member(3, "auth-A3")).expect_err("live");
    assert_eq!(
        (error.kind, error.message.as_str()),
        (Kind::Conflict, "batch `auth` already exists with 2 agents")
    );
    end(&store, &id(1));
    end(&store, &id(2));
    reserve(&store, member(3, "auth-A1")).expect("ended");
}

#[test]
fn a_folder_that_exists_is_not_taken() {
    let place = Place::new();
    let store = place.store();
    let exists = |path: &Path| path == Path::new("/w/x") || path == Path::new("/w/x--web");
    let agents = store.reserve(SITE, &[wanted(1, "web", "x")], &exists).expect("reserve");
    assert_eq!(
        agents[0].worktree,
        Path::new(&format!("/w/x--web-{}", &id(1).as_str()[..4]))
    );
    let error = store
        .reserve(SITE, &[wanted(2, "web", "y")], &|_| true)
        .expect_err("all exist");
    assert_eq!(error.kind, Kind::Conflict);
}

#[test]
fn no_worktree_lies_inside_another() {
    let place = Place::new();
    let store = place.store();
    reserve(&store, wanted(1, "web", "outer")).expect("reserve");
    let inner = Reservation {
        worktree_root: "/w/outer/trees".into(),
        ..wanted(2, "web", "inner")
    };
    assert_eq!(reserve(&store, inner).expect_err("inside").kind, Kind::Conflict);
}

#[test]
fn a_directory_of_the_users_has_one_agent() {
    let place = Place::new();
    let store = place.store();
    let agent = reserve(&store, here(1, "one", "/home/u/site")).expect("reserve");
    assert_eq!(agent.worktree, Path::new("/home/u/site"));
    let error = reserve(&store, here(2, "two", "/home/u/site")).expect_err("taken");
    assert_eq!(error.message, "agent `one` already works in /home/u/site");
    end(&store, &id(1));
    reserve(&store, here(2, "two", "/home/u/site")).expect("free again");
}

#[test]
fn ports_are_dealt_lowest_first_and_never_overlap() {
    let place = Place::new();
    let store = place.store();
    let with = |number, ports| Reservation {
        ports,
        ..wanted(number, "web", &format!("b{number}"))
    };
    let two = PortRange { count: 2, ..PORTS };
    assert_eq!(reserve(&store, with(1, two)).expect("first").port_base, 42_000);
    assert_eq!(reserve(&store, with(2, two)).expect("second").port_base, 42_010);
    assert_eq!(
        reserve(&store, with(3, two)).expect_err("none left").kind,
        Kind::Unavailable
    );
    end(&store, &id(1));
    assert_eq!(reserve(&store, with(3, two)).expect("freed").port_base, 42_000);
    let wide = PortRange {
        first: 42_005,
        step: 8,
        count: 9,
    };
    assert_eq!(reserve(&store, with(4, wide)).expect("another width").port_base, 42_021);
    let edge = PortRange {
        first: 65_530,
        step: 10,
        count: 3,
    };
    assert_eq!(
        reserve(&store, with(5, edge)).expect_err("past the last port").kind,
        Kind::Unavailable
    );
}

#[test]
fn a_path_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let place = Place::new();
    let bytes = std::ffi::OsString::from_vec(b"/code/\xff".to_vec());
    let odd = Reservation {
        repo: bytes.into(),
        ..wanted(1, "web", "x")
    };
    assert_eq!(reserve(&place.store(), odd).expect_err("no text").kind, Kind::Usage);
}

#[test]
fn of_two_kills_at_once_one_wins() {
    let place = Place::new();
    reserve(&place.store(), wanted(1, "web", "x")).expect("reserve");
    let from = [Phase::Reserved, Phase::Started];
    let kill = || {
        place
            .store()
            .set_phase(SITE, &id(1), &from, Phase::Ending, Time(5))
            .expect("no error")
    };
    let wins: Vec<bool> = std::thread::scope(|scope| {
        let threads = [scope.spawn(kill), scope.spawn(kill)];
        threads.map(|thread| thread.join().expect("no panic")).into()
    });
    assert_eq!(wins.iter().filter(|won| **won).count(), 1);
    assert!(
        !place
            .store()
            .set_phase(SITE, &id(7), &from, Phase::Ending, Time(5))
            .expect("nobody")
    );
}

#[test]
fn a_start_is_recorded_unless_the_end_came_first() {
    let place = Place::new();
    let store = place.store();
    reserve(&store, wanted(1, "web", "x")).expect("reserve");
    store.set_base(SITE, &id(1), "abc").expect("base");
    store.set_conversation(SITE, &id(1), "c-2").expect("conversation");
    assert!(store.set_started(SITE, &id(1), 77, 2).expect("start"));
    assert!(!store.set_started(SITE, &id(1), 66, 1).expect("an older launch"));
    let agent = store.agent(&id(1)).expect("read").expect("agent");
    assert_eq!(
        (agent.phase, agent.pid, agent.generation),
        (Phase::Started, Some(77), 2)
    );
    assert_eq!(
        (agent.base.as_deref(), agent.conversation.as_deref()),
        (Some("abc"), Some("c-2"))
    );
    end(&store, &id(1));
    assert!(!store.set_started(SITE, &id(1), 88, 3).expect("ended"));
    assert_eq!(
        store.agent(&id(1)).expect("read").expect("agent").ended_at,
        Some(Time(9))
    );
    assert_eq!(
        store.set_base(SITE, &id(9), "abc").expect_err("nobody").kind,
        Kind::NotFound
    );
}

#[test]
fn a_forgotten_reservation_gives_its_names_back() {
    let place = Place::new();
    let store = place.store();
    reserve(&store, wanted(1, "web", "x")).expect("reserve");
    assert!(store.forget(SITE, &id(1)).expect("forget"));
    assert!(!store.forget(SITE, &id(1)).expect("again"));
    let again = reserve(&store, wanted(2, "web", "x")).expect("reserve");
    assert_eq!((again.session.as_str(), again.port_base), ("ai_x", 42_000));
    store.set_started(SITE, &id(2), 1, 1).expect("start");
    assert!(
        !store.forget(SITE, &id(2)).expect("it runs"),
        "only a reservation is forgotten"
    );
}

#[test]
fn an_ended_agent_lives_again_only_if_its_names_are_free() {
    let place = Place::new();
    let store = place.store();
    reserve(&store, wanted(1, "web", "x")).expect("reserve");
    end(&store, &id(1));
    reserve(&store, wanted(2, "web", "x")).expect("reserve");
    let back = store.set_phase(SITE, &id(1), &[Phase::Ended], Phase::Started, Time(1));
    assert_eq!(back.expect_err("taken").kind, Kind::Conflict);
    let all: Vec<AgentId> = store
        .agents_all()
        .expect("read")
        .into_iter()
        .map(|agent| agent.id)
        .collect();
    assert_eq!(all, [id(2), id(1)], "newest first");
}

#[test]
fn an_adopted_record_is_taken_as_it_is_and_once() {
    let (place, other) = (Place::new(), Place::new());
    let agent = reserve(&place.store(), wanted(1, "web", "x")).expect("reserve");
    let store = other.store();
    assert!(store.adopt(SITE, &agent, PORTS.step).expect("adopt"));
    assert!(!store.adopt(SITE, &agent, PORTS.step).expect("again"));
    assert_eq!(store.agents_live().expect("read"), [agent]);
}

fn entry(seq: u64) -> Entry {
    Entry {
        v: VERSION,
        seq,
        at: Time(seq as i64 * 1000),
        src: Source::Process,
        fact: Fact::Started { pid: 7, start: seq },
        state: "starting".into(),
    }
}

#[test]
fn folding_twice_is_folding_once() {
    let place = Place::new();
    let store = place.store();
    reserve(&store, wanted(1, "web", "x")).expect("reserve");
    let entries: Vec<Entry> = (1..=5).map(entry).collect();
    assert_eq!(store.fold(SITE, &id(1), &entries[..3], &|_| false).expect("fold"), 3);
    assert_eq!(store.fold(SITE, &id(1), &entries[..3], &|_| false).expect("fold"), 0);
    assert_eq!(store.fold(SITE, &id(1), &entries[1..], &|_| false).expect("fold"), 2);
    assert_eq!(store.folded(&id(1)).expect("folded"), 5);
    assert_eq!(store.events(&id(1), 0).expect("events"), entries);
    assert_eq!(store.events(&id(1), 3).expect("events"), entries[3..]);
    assert_eq!(
        store.fold(SITE, &id(9), &entries, &|_| false).expect_err("nobody").kind,
        Kind::NotFound
    );
}

#[test]
fn many_folders_of_one_journal_agree() {
    let place = Place::new();
    reserve(&place.store(), wanted(1, "web", "x")).expect("reserve");
    let entries: Vec<Entry> = (1..=50).map(entry).collect();
    let fold = || place.store().fold(SITE, &id(1), &entries, &|_| false).expect("fold");
    let new: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(fold)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(new, 50);
    assert_eq!(place.store().events(&id(1), 0).expect("events"), entries);
}

fn owner(pid: u32) -> Owner {
    Owner {
        pid,
        start: 12,
        boot: "b".into(),
    }
}

#[test]
fn requests_that_ended_are_forgotten_after_a_week_and_open_ones_are_not() {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let place = Place::new();
    let store = place.store();
    let begin = |request: &str, day: i64| {
        let args = json!({});
        let begun = store.begin(SITE, request, "create", &args, Time(day * DAY), &owner(1));
        begun.expect("begun")
    };
    for request in ["done", "open", "recent"] {
        assert_eq!(begin(request, if request == "recent" { 4 } else { 1 }), Begun::New);
    }
    for request in ["done", "recent"] {
        assert!(store.finish(SITE, request, &Ok(json!({})), false).expect("finished"));
    }
    for number in 0..64 {
        begin(&format!("later-{number}"), 10);
    }
    assert_eq!(begin("recent", 10), Begun::Done(Ok(json!({}))));
    assert!(matches!(begin("open", 10), Begun::Open(_)));
    assert_eq!(begin("done", 10), Begun::New, "nobody knows of it any more");
}

#[test]
fn a_request_is_carried_out_once() {
    let place = Place::new();
    let store = place.store();
    let args = json!({ "branch": "x" });
    let begin = |pid| {
        store
            .begin(SITE, "r1", "create", &args, Time(3), &owner(pid))
            .expect("begin")
    };
    assert_eq!(begin(1), Begun::New);
    let Begun::Open(open) = begin(2) else {
        panic!("it is open")
    };
    assert_eq!(
        (open.owner, open.args, open.created_at),
        (owner(1), args.clone(), Time(3))
    );
    assert_eq!(store.open_intents().expect("open").len(), 1);
    assert!(store.finish(SITE, "r1", &Ok(json!({ "id": 7 })), true).expect("finish"));
    assert!(
        !store
            .finish(SITE, "r1", &Err(Error::failed("late")), true)
            .expect("the first end stands")
    );
    assert_eq!(begin(3), Begun::Done(Ok(json!({ "id": 7 }))));
    assert_eq!(store.open_intents().expect("open"), []);
    let other = store.begin(SITE, "r1", "kill", &args, Time(3), &owner(1));
    assert_eq!(other.expect_err("another operation").kind, Kind::Conflict);
}

#[test]
fn a_failed_request_tells_its_error_again() {
    let place = Place::new();
    let store = place.store();
    let error = Error::unavailable("no tmux").hint("install tmux");
    store
        .begin(SITE, "r1", "create", &json!({}), Time(0), &owner(1))
        .expect("begin");
    store.finish(SITE, "r1", &Err(error.clone()), true).expect("finish");
    let again = store
        .begin(SITE, "r1", "create", &json!({}), Time(0), &owner(1))
        .expect("begin");
    assert_eq!(again, Begun::Done(Err(error)));
}

#[test]
fn of_two_that_resume_a_request_one_wins() {
    let place = Place::new();
    let store = place.store();
    store
        .begin(SITE, "r1", "create", &json!({}), Time(0), &owner(1))
        .expect("begin");
    assert!(store.take_over(SITE, "r1", &owner(1), &owner(2)).expect("first"));
    assert!(!store.take_over(SITE, "r1", &owner(1), &owner(3)).expect("second"));
    assert_eq!(store.open_intents().expect("open")[0].owner, owner(2));
}

#[test]
fn saved_work_is_listed_until_it_is_pruned() {
    let place = Place::new();
    let store = place.store();
    let salvage = Salvage {
        id: "s1".into(),
        agent: id(1),
        repo: "/code/web/.git".into(),
        branch: "x".into(),
        reason: "kill".into(),
        ref_name: Some("refs/fleet/salvage/s1".into()),
        commit: Some("abc".into()),
        head: None,
        trash: Some("/trash/s1".into()),
        note: json!({ "files": 3 }),
        created_at: Time(1),
        pruned_at: None,
    };
    let newer = Salvage {
        id: "s2".into(),
        trash: None,
        created_at: Time(2),
        ..salvage.clone()
    };
    for one in [&salvage, &newer, &salvage] {
        store.salvage_add(SITE, one).expect("add");
    }
    assert_eq!(store.salvage_list().expect("list"), [newer.clone(), salvage.clone()]);
    store.salvage_mark_pruned(SITE, "s1", Time(5)).expect("prune");
    store.salvage_mark_pruned(SITE, "s1", Time(6)).expect("again");
    assert_eq!(store.salvage_list().expect("list"), [newer]);
    assert_eq!(
        store.salvage_get("s1").expect("get").expect("kept").pruned_at,
        Some(Time(5))
    );
    assert_eq!(store.salvage_get("s9").expect("get"), None);
    assert_eq!(
        store.salvage_mark_pruned(SITE, "s9", Time(5)).expect_err("none").kind,
        Kind::NotFound
    );
}

#[test]
fn the_published_state_has_the_names_that_scripts_know() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let store = place.store();
    let state = place.dir.path().join("state.json");
    reserve(&store, wanted(1, "web", "fix-42")).expect("reserve");
    reserve(&store, wanted(2, "web", "gone")).expect("reserve");
    store.set_started(SITE, &id(1), 12_345, 1).expect("start");
    end(&store, &id(2));
    store.publish_state(SITE, &state).expect("publish");
    let published: serde_json::Value = serde_json::from_slice(&std::fs::read(&state).expect("file")).expect("json");
    let wanted = json!([{
        "branch": "fix-42",
        "worktree": "/w/fix-42",
        "session": "ai_fix-42",
        "pid": 12_345,
        "batch_id": "manual-2026-11-21",
        "agent": "claude",
        "created_at": "2023-11-14T22:13:20Z",
    }]);
    assert_eq!(published, wanted);
    assert_eq!(
        std::fs::metadata(&state).expect("meta").permissions().mode() & 0o777,
        0o600
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_and_goes_no_two_live_agents_share_a_name(
        steps in prop::collection::vec((any::<bool>(), 0u32..3, 0usize..4), 1..30),
    ) {
        let place = Place::new();
        let store = place.store();
        for (number, (come, repo, branch)) in (0u32..).zip(steps) {
            let live = store.agents_live().expect("read");
            match live.get(branch) {
                Some(agent) if !come => end(&store, &agent.id),
                _ => {
                    let branch = ["x", "x--r1", "x.y", "x/y"][branch];
                    let taken = reserve(&store, wanted(number, &format!("r{repo}"), branch));
                    prop_assert!(taken.is_ok() || live.iter().any(|one| one.branch == branch));
                }
            }
            assert_all_distinct(&store.agents_live().expect("read"));
        }
    }
}
