//! What a person reads: pages whose layout once made them hard to read.

use fleet_testkit::TestEnv;

use crate::drive::{answer, create, fleet};

#[test]
fn explain_keeps_the_states_in_sight_however_long_a_fact_is() {
    let env = TestEnv::new();
    let long = format!("setup_commands = [\": {}\"]", "x".repeat(5000));
    env.config_with_scripted(&long);
    let repo = env.repo("repo", 1);
    let _ = create(&env, &repo, "long");
    let page = fleet(&env, &repo, ["explain", "long"]).output().success().stdout;
    let widest = page.lines().map(str::len).max().unwrap_or(0);
    assert!(widest < 200, "{widest} columns:\n{page}");
    let line = page.lines().find(|line| line.contains(" setup ")).expect("the command");
    let state = line.find("starting").expect("its state");
    assert!(state < 80, "{line}");
    let _ = answer(&env, &repo, ["kill", "long", "--force"]);
    env.assert_nothing_left();
}
