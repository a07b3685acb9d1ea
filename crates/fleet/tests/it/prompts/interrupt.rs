//! `prompt --interrupt`: the turn stops, and the next prompt is not glued to anything.

use super::stage::Stage;
use fleet_testkit::binary;

fn interruptible(extra: &str) -> Stage {
    let stage = Stage::scripted(&[]);
    let (agent, log) = (binary("scripted-agent"), stage.env.receive_log());
    stage.env.write_config(&format!(
        "default_agent = \"own\"\n[harness.own]\ncommand = [{:?}, \"--receive-log\", {:?}]\nprompt = \"paste\"\n\
         ready = \"^> ?$\"\n{extra}",
        agent.display().to_string(),
        log.display().to_string()
    ));
    stage
}

#[test]
fn an_interrupt_stops_the_turn_and_the_next_prompt_follows() {
    let stage = interruptible("interrupt = \"escape\"");
    stage.create("a");
    let _ = stage.prompt("a", "sleep 600000").success();
    stage.wait_state("a", "working");
    let alone = stage
        .fleet(&["prompt", "a", "--interrupt", "--json"])
        .output()
        .success();
    assert_eq!(
        alone.json::<serde_json::Value>()["sent"][0]["outcome"],
        "interrupted",
        "{alone}"
    );
    assert_eq!(stage.explain("a")["agent"]["state"], "idle");

    let _ = stage.prompt("a", "sleep 600000").success();
    stage.wait_state("a", "working");
    let with_text = ["prompt", "a", "--interrupt", "print after", "--wait=idle"];
    let _ = stage.fleet(&with_text).output().success();
    assert_eq!(stage.received(), ["sleep 600000", "sleep 600000", "print after"]);
    let again = stage.fleet(&["prompt", "a", "--interrupt"]).output().success();
    assert!(again.stdout.contains("interrupted a: the agent is idle"), "{again}");
    stage.end();
}

#[test]
fn without_a_known_key_an_interrupt_is_refused_and_nothing_is_pressed() {
    let stage = interruptible("");
    stage.create("a");
    let _ = stage.prompt("a", "sleep 600000").success();
    stage.wait_state("a", "working");
    let refused = stage
        .fleet(&["prompt", "a", "--interrupt", "print after"])
        .output()
        .fails(5);
    assert!(refused.stderr.contains("nobody knows the key"), "{refused}");
    assert_eq!(stage.explain("a")["agent"]["state"], "working");
    assert_eq!(stage.received(), ["sleep 600000"]);
    stage.end();
}
