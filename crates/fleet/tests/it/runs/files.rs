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
fn a_disk_that_fills_while_a_run_goes_on_costs_time_only() {
    let stage = Stage::new();
    stage.dag(&[("a", &[], "!sleep 1500"), ("b", &["a"], ""), ("c", &["b"], "")]);
    let lines = "
        cp \"$HOME/.ai_fleet/config.toml\" \"$ROOT/config.kept\"
        mount -t tmpfs -o size=8m none \"$HOME/.ai_fleet\"
        cp \"$ROOT/config.kept\" \"$HOME/.ai_fleet/config.toml\"
        export PATH=\"$ROOT/bin:$PATH\" WORKER_LEDGER=\"$ROOT/ledger\"
        \"$FLEET\" launch root --detach >/dev/null
        until grep -q 'paid a' \"$ROOT/ledger\" 2>/dev/null; do :; done
        dd if=/dev/zero of=\"$HOME/.ai_fleet/full\" bs=64k 2>/dev/null || true
        until grep -q 'done a' \"$ROOT/ledger\"; do :; done
        \"$FLEET\" launch root --detach >/dev/null 2>&1 || true
        rm \"$HOME/.ai_fleet/full\"
        n=0
        until \"$FLEET\" status root | grep -q '(dag) is done'; do
            \"$FLEET\" launch root --detach >/dev/null 2>&1 || true
            n=$((n + 1))
            [ $n -lt 400 ]
        done";
    let Some(done) = stage.env.in_namespace(stage.env.root(), lines) else {
        return;
    };
    let _ = done.success();
    let mut paid = stage.paid();
    // What `a` was told to have done could not be written down, so it may have been asked to go on.
    paid.retain(|line| line != "resumed a 1");
    assert_eq!(paid, ["paid a 1", "paid b 1", "paid c 1"]);
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
