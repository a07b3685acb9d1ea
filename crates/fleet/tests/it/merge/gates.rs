//! The gate: what breaks it is found and left out, and the target is never at something that has not passed.

use std::fs;
use std::time::Duration;

use fleet_testkit::wait_until;

use super::{Stage, fates};
use crate::drive::{answer, fleet, text};

/// Notes the commit that it runs on, and fails where `bad.txt` is.
fn gate(stage: &Stage) -> String {
    let log = stage.env.root().join("gate.log");
    format!(
        "git rev-parse HEAD >> {}; echo checked; test ! -e bad.txt",
        log.display()
    )
}

fn runs(stage: &Stage) -> Vec<String> {
    let text = fs::read_to_string(stage.env.root().join("gate.log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_one_of_five_that_breaks_the_gate_is_found_and_the_others_land() {
    let stage = Stage::new();
    for (name, file) in [
        ("a", "a.txt"),
        ("b", "b.txt"),
        ("c", "bad.txt"),
        ("d", "d.txt"),
        ("e", "e.txt"),
    ] {
        stage.agent(name, &[(file, "x\n")]);
    }
    let done = stage.merge_fails(&["*", "--gate", &gate(&stage)], 1);
    let wanted = ["a landed", "b landed", "c gate_failed", "d landed", "e landed"];
    assert_eq!(fates(&done), wanted, "{done}");
    assert!(text(&done["branches"][2]["gate_output"]).contains("checked"), "{done}");
    assert!(!stage.repo.join("bad.txt").exists() && stage.repo.join("e.txt").exists());
    // Every commit that main was moved to had passed.
    let moved = stage.git(&["reflog", "--format=%H %gs", "main"]);
    let runs = runs(&stage);
    let landed: Vec<&str> = moved.lines().filter(|line| line.contains("fleet merge")).collect();
    assert_eq!(landed.len(), 2, "{moved}");
    for line in landed {
        assert!(runs.contains(&line[..40].to_owned()), "{line}: {runs:?}");
    }
    // All, main alone, two steps of the search, and the rest.
    assert_eq!(runs.len(), 5, "{runs:?}");
    assert!(
        !stage
            .env
            .fleet_home()
            .join("merges")
            .read_dir()
            .is_ok_and(|mut left| left.next().is_some())
    );
    stage.end();
}

#[test]
fn what_was_in_conflict_with_the_one_left_out_lands_after_all() {
    let stage = Stage::new();
    stage.agent("breaks", &[("list.txt", "BREAKS\n"), ("bad.txt", "x\n")]);
    stage.agent("waits", &[("list.txt", "WAITS\nand is the larger\n1\n2\n3\n4\n5\n")]);
    let done = stage.merge_fails(&["*", "--gate", &gate(&stage)], 1);
    assert_eq!(fates(&done), ["breaks gate_failed", "waits landed"], "{done}");
    stage.end();
}

#[test]
fn a_gate_that_fails_before_anything_is_merged_says_so_and_nothing_lands() {
    let stage = Stage::new();
    stage.commit(&stage.repo, "broken", &[("bad.txt", "x\n")]);
    stage.agent("a", &[("a.txt", "a\n")]);
    let before = stage.main();
    let failed = stage.merge_fails(&["a", "--gate", &gate(&stage)], 1);
    let message = text(&failed["error"]["message"]);
    assert!(
        message.contains("fails on `main` before anything is merged"),
        "{failed}"
    );
    assert!(text(&failed["error"]["detail"]).contains("checked"), "{failed}");
    assert_eq!(stage.main(), before);
    stage.end();
}

#[test]
fn a_gate_runs_in_a_folder_of_its_own_and_keeps_nothing_running() {
    let stage = Stage::new();
    stage.agent("a", &[("a.txt", "a\n")]);
    let out = stage.env.root().join("where");
    let line = format!(
        "pwd > {0}; (setsid sleep 1000 &); git status --porcelain >> {0}",
        out.display()
    );
    assert_eq!(fates(&stage.merge(&["a", "--gate", &line])), ["a landed"]);
    let text = fs::read_to_string(out).expect("written by the gate");
    assert!(text.contains("/merges/") && text.lines().count() == 1, "{text}");
    stage.end();
}

#[test]
fn a_gate_that_takes_too_long_is_stopped() {
    let stage = Stage::new();
    stage.agent("slow", &[("slow.txt", "x\n")]);
    let line = "if test -e slow.txt; then sleep 1000; fi";
    let done = stage.merge_fails(&["slow", "--gate", line, "--gate-timeout", "1"], 1);
    assert_eq!(fates(&done), ["slow gate_failed"]);
    assert!(
        text(&done["branches"][0]["why"]).contains("did not end within"),
        "{done}"
    );
    stage.end();
}

#[test]
fn a_second_landing_on_the_same_branch_is_refused_while_one_is_under_way() {
    let stage = Stage::new();
    stage.agent("a", &[("a.txt", "a\n")]);
    stage.agent("b", &[("b.txt", "b\n")]);
    let (begun, go) = (stage.env.root().join("begun"), stage.env.root().join("go"));
    let line = format!(
        "touch {}; until test -e {}; do sleep 0.05; done",
        begun.display(),
        go.display()
    );
    let first = fleet(&stage.env, &stage.repo, ["merge", "a", "--gate", &line]).spawn();
    wait_until(Duration::from_secs(60), "the gate", || begun.exists().then_some(()));
    let refused = stage.merge_fails(&["b"], 4);
    assert!(text(&refused["error"]["message"]).contains("under way"), "{refused}");
    // The user goes on meanwhile: the landing notices, and forces nothing.
    stage.commit(&stage.repo, "meanwhile", &[("mine.txt", "x\n")]);
    let mine = stage.main();
    fs::write(&go, "").expect("written");
    let moved = first.wait(Duration::from_secs(60)).fails(4);
    assert!(moved.stderr.contains("moved by somebody else"), "{moved}");
    assert_eq!(stage.main(), mine);
    assert_eq!(fates(&stage.merge(&["a", "b"])), ["a landed", "b landed"]);
    stage.end();
}

#[test]
fn a_landing_that_was_killed_anywhere_is_finished_by_asking_again() {
    let points = [
        "merge.folder:after",
        "git.detached-add:before",
        "git.detached-add:after",
        "git.detached-checkout:before",
        "merge.gate:before",
        "merge.gate:after",
        "merge.commit:after:2",
        "merge.forward:before",
        "merge.forward:after",
        "merge.folder-clear:before",
        "merge.folder-clear:after",
    ];
    for point in points {
        let stage = Stage::new();
        stage.agent("a", &[("a.txt", "a\n")]);
        stage.agent("b", &[("bad.txt", "b\n")]);
        stage.agent("c", &[("c.txt", "c\n")]);
        let line = gate(&stage);
        let args = ["merge", "*", "--gate", line.as_str()];
        let killed = fleet(&stage.env, &stage.repo, args).env("FLEET_FAULT", point).output();
        assert!(killed.status.code().is_none(), "{point} was not passed: {killed}");
        if point.ends_with("before") {
            let _ = answer(&stage.env, &stage.repo, ["list", "--repair"]);
            let left = fs::read_dir(stage.env.fleet_home().join("merges"))
                .into_iter()
                .flatten()
                .count();
            assert_eq!(left, 0, "{point}: a repair removes the worktree of the gate");
        }
        let done = stage.merge_fails(&["*", "--gate", &line], 1);
        assert_eq!(stage.git(&["status", "--porcelain"]), "", "{point}");
        assert!(
            stage.repo.join("a.txt").exists() && stage.repo.join("c.txt").exists(),
            "{point}: {done}"
        );
        assert!(!stage.repo.join("bad.txt").exists(), "{point}");
        let merges = stage.git(&["log", "--merges", "--format=%s", "main"]);
        assert_eq!(merges.lines().count(), 2, "{point}: each lands once: {merges}");
        stage.end();
    }
}

#[test]
fn without_a_gate_a_landing_that_was_killed_between_two_goes_on_behind_the_first() {
    for point in ["merge.forward:after", "merge.forward:before:2", "merge.commit:after"] {
        let stage = Stage::new();
        stage.agent("a", &[("a.txt", "a\n")]);
        stage.agent("b", &[("b.txt", "b\n")]);
        let killed = fleet(&stage.env, &stage.repo, ["merge", "*"])
            .env("FLEET_FAULT", point)
            .output();
        assert!(killed.status.code().is_none(), "{point} was not passed: {killed}");
        let done = stage.merge(&["*"]);
        let landed = fates(&done).iter().filter(|fate| fate.ends_with("landed")).count();
        assert_eq!(
            landed,
            if point == "merge.commit:after" { 2 } else { 1 },
            "{point}: {done}"
        );
        let merges = stage.git(&["log", "--merges", "--format=%s", "main"]);
        assert_eq!(merges.lines().count(), 2, "{point}: {merges}");
        stage.end();
    }
}
