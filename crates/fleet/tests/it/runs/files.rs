//! The fleet root on disks that are bad to it.

use super::stage::{Stage, states};

#[test]
fn a_copy_of_a_launched_root_is_a_run_of_its_own() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "")]);
    let _ = stage.fleet(["launch", "root"]).output().success();
    let copied = stage
        .env
        .program("/bin/cp", ["-r", "root", "copy"])
        .cwd(stage.env.root())
        .output();
    let _ = copied.success();
    let done = stage.fleet(["launch", "copy"]).output().success();
    assert!(done.stdout.contains("try launched"), "{done}");
    assert_eq!(stage.paid().len(), 2);
}

#[test]
fn two_runs_of_one_name_do_not_go_on_beside_each_other() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!sleep 60000")]);
    let copied = stage
        .env
        .program("/bin/cp", ["-r", "root", "copy"])
        .cwd(stage.env.root())
        .output();
    let _ = copied.success();
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    let done = stage.fleet(["launch", "copy", "--detach"]).output().fails(4);
    assert!(done.stderr.contains("a run called `try` goes on already"), "{done}");
    let _ = stage.fleet(["stop", "root"]).output().success();
}

#[test]
fn a_root_that_was_deleted_pauses_the_run_and_stop_ends_it() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!sleep 500"), ("b", &["a"], "")]);
    let _ = stage.fleet(["launch", "root", "--detach"]).output().success();
    stage.wait_noted("paid a 1");
    std::fs::remove_dir_all(&stage.root).expect("removed");
    fleet_testkit::wait_until(crate::drive::LONG, "a paused run", || {
        let run = stage.answer(["status", "try"])["runs"][0].clone();
        (run["state"] == "paused").then_some(())
    });
    let _ = stage.fleet(["stop", "try"]).output().success();
    let run = stage.answer(["status", "try"])["runs"][0].clone();
    assert_eq!(run["state"], "stopped");
    assert_eq!(states(&run)[1], "b pending");
}

#[test]
fn nobody_finds_a_run_where_there_is_none() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "")]);
    for verb in ["status", "pause", "stop"] {
        let done = stage.fleet([verb, "root"]).output().fails(3);
        assert!(done.stderr.contains("was never launched"), "{done}");
        let done = stage.fleet([verb, "nowhere"]).output().fails(3);
        assert!(done.stderr.contains("there is no run `nowhere`"), "{done}");
    }
    assert!(
        stage
            .fleet(["status"])
            .output()
            .success()
            .stdout
            .contains("no run goes on")
    );
}
