//! Runs as scripts: a plan, what its workers do, and the transcript of everything that was decided.
//!
//! A script under `tests/runs/` has a plan above the line `---` and a transcript below it. When a rule changes, the test
//! fails and shows the transcript as it is now, for a person to read.
//!
//! ```text
//! # What the script shows.
//! type dag                            the plan's type
//! {"max_concurrent": 2}               its config, where there is one
//! stop {"max_iterations": 3, …}       its stop rule
//! worker build after a b: done 10s 0.50, done 5s      a worker, and what comes of its tries
//! reviewer judge: done 5s says iterate
//! at 30s pause | resume | stop | launch | relaunch build | cap 5 | rounds 2 | iteration 1 5 | room 0.5 2 90
//! ```
//!
//! A try is `done`, `denied`, `failed`, `trouble`, `limited`, `blocked`, `budget`, `lost`, `not-started` or `hangs`, how long
//! it takes, and what it costs (`?` for nobody knows). The last one counts for all that follow.

#[path = "runs/world.rs"]
mod world;

use fleet_core::plan::word::OnDepFailure;
use fleet_core::run::Part;
use fleet_core::run::standing::{Word, lines};
use proptest::prelude::*;

use self::world::{Came, Script, World};

/// Each file holds several scripts, parted by lines of `===`.
const SCRIPTS: [(&str, &str); 4] = [
    ("graph", include_str!("runs/graph.txt")),
    ("money", include_str!("runs/money.txt")),
    ("rounds", include_str!("runs/rounds.txt")),
    ("research", include_str!("runs/research.txt")),
];

#[test]
fn every_script_runs_as_its_transcript_says() {
    let mut wrong = String::new();
    let mut count = 0;
    for (name, text) in SCRIPTS {
        for part in text.split("\n===\n") {
            count += 1;
            let (script, transcript) = part.split_once("---\n").unwrap_or((part, ""));
            let shown = World::new(Script::read(script)).transcript();
            if shown.trim() != transcript.trim() {
                wrong.push_str(&format!("{name}.txt, as it is now:\n{}\n---\n{shown}\n", script.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 60, "{count} scripts");
}

fn came() -> impl Strategy<Value = Came> {
    let how = prop_oneof![
        6 => Just("done"), 1 => Just("denied"), 1 => Just("failed"), 2 => Just("trouble"), 1 => Just("limited"),
        1 => Just("lost"), 1 => Just("not-started"), 1 => Just("hangs"), 1 => Just("budget"),
    ];
    let cost = prop_oneof![4 => (0_u64..1_500_000).prop_map(Some), 1 => Just(None)];
    (how, 0_u64..60_000, cost).prop_map(|(how, took, cost)| Came {
        how: how.to_owned(),
        took,
        cost,
        says: None,
        metric: None,
    })
}

/// A random graph: each worker may wait for earlier ones, in a shuffled order of the plan.
fn graph() -> impl Strategy<Value = Script> {
    let worker = (
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        prop_oneof![4 => Just(OnDepFailure::Skip), 1 => Just(OnDepFailure::Run), 1 => Just(OnDepFailure::Abort)],
        prop::collection::vec(came(), 1..4),
        1_u32..300,
    );
    (
        prop::collection::vec(worker, 1..40),
        1_u32..8,
        0_u32..3,
        prop::option::of(1_u32..60),
    )
        .prop_map(|(workers, at_once, retries, cap)| Script::graph(&workers, at_once, retries, cap))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_of_workers_every_run_ends_and_nothing_is_broken(script in graph(), cuts in prop::collection::vec(0_usize..6, 0..60)) {
        let mut world = World::new(script);
        world.cuts = cuts;
        world.run();
        prop_assert!(world.finish.is_some(), "the run ends");
        prop_assert!(world.most_at_once <= world.plan.max_concurrent as usize, "no more than may run at once");
        if let Some(cap) = world.plan.cap {
            prop_assert!(world.most_committed <= cap, "the cap holds: {} of {cap}", world.most_committed);
        }
        let lines = lines(&world.plan, &world.seen, world.finish, world.now);
        for line in &lines {
            let tries = world.seen.attempts(line.worker, 1, Part::Work);
            prop_assert!(tries.iter().all(|step| step.ended.is_some()), "every step has ended");
            prop_assert!(tries.len() as u32 <= world.plan.max_retries + 1, "no more tries than allowed");
            let worker = &world.plan.workers[line.worker];
            if let Some(first) = tries.first() {
                for before in &worker.depends_on {
                    let done = world.seen.attempts(*before, 1, Part::Work).last().and_then(|step| step.ended.as_ref());
                    let over = done.is_some_and(|ended| ended.at <= first.began)
                        || lines[*before].word == Word::Skipped;
                    prop_assert!(over, "what it waits for is over before it starts");
                    let fine = done.is_some_and(|ended| ended.how.is_done()) || worker.on_dep_failure == OnDepFailure::Run;
                    prop_assert!(fine, "a dependency that failed does not satisfy");
                }
            }
        }
    }

    #[test]
    fn a_driver_that_is_killed_anywhere_changes_no_outcome(script in graph(), cuts in prop::collection::vec(0_usize..6, 1..60)) {
        let mut whole = World::new(script.clone());
        whole.run();
        let mut cut = World::new(script);
        cut.cuts = cuts;
        cut.run();
        prop_assert_eq!(whole.ends(), cut.ends());
    }
}
