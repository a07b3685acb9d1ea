//! What the programs print of their sub-agents, as it was recorded and shortened: who is sent out, by whom, and who comes back.

use fleet_core::task::TaskId;
use fleet_host::harness::stream::{Cli, Event, Reader};

/// What the lines of a program tell of sub-agents.
fn told(cli: Cli, lines: &[&str]) -> Vec<Event> {
    let mut reader = Reader::new(cli);
    let mut events = reader.feed((lines.join("\n") + "\n").as_bytes());
    events.extend(reader.finish());
    events.retain(|event| {
        matches!(
            event,
            Event::SentOut { .. } | Event::Called { .. } | Event::CameBack { .. }
        )
    });
    events
}

fn sent(call: &str, within: Option<&str>, crew: Option<&str>, about: &str) -> Event {
    Event::SentOut {
        call: call.to_owned(),
        within: within.map(str::to_owned),
        crew: crew.map(str::to_owned),
        about: about.to_owned(),
        task: None,
    }
}

fn back(call: &str, ok: bool) -> Event {
    Event::CameBack {
        call: call.to_owned(),
        ok,
    }
}

#[test]
fn claude_code_tells_of_each_sub_agent_and_of_those_that_it_sends_out_itself() {
    let call = |id: &str, parent: &str, name: &str, input: &str| {
        format!(
            r#"{{"type":"assistant","message":{{"content":[{{"id":"{id}","input":{input},"name":"{name}","type":"tool_use"}}],"id":"m-{id}","model":"claude-opus-4-8","usage":{{"input_tokens":2000,"output_tokens":1}}}},"parent_tool_use_id":{parent}}}"#
        )
    };
    let input = r#"{"description":"a part of it","prompt":"answer from below","subagent_type":"general-purpose"}"#;
    let below = r#"{"description":"","prompt":"\nlook\n- fleet_task_id: TASK-20260404-001","subagent_type":"Explore"}"#;
    let result = |id: &str| {
        format!(
            r#"{{"type":"user","message":{{"content":[{{"tool_use_id":"{id}","type":"tool_result","content":"ok"}}]}}}}"#
        )
    };
    let started = |id: &str, name: &str| {
        format!(
            r#"{{"type":"system","subtype":"task_started","task_id":"{name}","tool_use_id":"{id}","task_type":"local_agent"}}"#
        )
    };
    let ended = |id: &str, status: &str| {
        format!(
            r#"{{"type":"system","subtype":"task_notification","task_id":"x","tool_use_id":"{id}","status":"{status}"}}"#
        )
    };
    let lines = [
        call("t1", "null", "Agent", input),
        started("t1", "ac02"),
        call("t2", r#""t1""#, "Task", below),
        result("t2"),
        call("t3", r#""t1""#, "Bash", r#"{"command":"ls"}"#),
        result("t3"),
        ended("t1", "completed"),
        result("t1"),
        call("t4", "null", "Agent", input),
        started("t4", "bd13"),
        ended("t4", "failed"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let called = |call: &str, name: &str| Event::Called {
        call: call.to_owned(),
        name: name.to_owned(),
    };
    let second = Event::SentOut {
        call: "t2".to_owned(),
        within: Some("t1".to_owned()),
        crew: Some("Explore".to_owned()),
        about: "look".to_owned(),
        task: TaskId::parse("TASK-20260404-001"),
    };
    let first = |id| sent(id, None, Some("general-purpose"), "a part of it");
    assert_eq!(
        told(Cli::Claude, &lines),
        [
            first("t1"),
            called("t1", "ac02"),
            second,
            // An older one tells of its end by its result alone.
            back("t2", true),
            back("t1", true),
            first("t4"),
            called("t4", "bd13"),
            back("t4", false),
        ]
    );
    assert!(Cli::Claude.only_reads("Explore") && !Cli::Claude.only_reads("general-purpose"));
}

#[test]
fn codex_tells_of_threads() {
    let item = |kind: &str, id: &str, tool: &str, threads: &str, states: &str, status: &str| {
        format!(
            r#"{{"type":"item.{kind}","item":{{"id":"{id}","type":"collab_tool_call","tool":"{tool}","sender_thread_id":"s","receiver_thread_ids":[{threads}],"prompt":"answer from below","agents_states":{{{states}}},"status":"{status}"}}}}"#
        )
    };
    let state = |status: &str| format!(r#""th-1":{{"status":"{status}","message":null}}"#);
    let lines = [
        item("started", "item_1", "spawn_agent", "", "", "in_progress"),
        item(
            "completed",
            "item_1",
            "spawn_agent",
            r#""th-1""#,
            &state("pending_init"),
            "completed",
        ),
        item(
            "completed",
            "item_2",
            "wait",
            r#""th-1""#,
            &state("running"),
            "completed",
        ),
        item(
            "completed",
            "item_3",
            "wait",
            r#""th-1""#,
            &state("completed"),
            "completed",
        ),
        item(
            "completed",
            "item_4",
            "wait",
            r#""th-1""#,
            &state("completed"),
            "completed",
        ),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(
        told(Cli::Codex, &lines),
        [sent("item_1", None, None, "answer from below"), back("item_1", true)]
    );
}

#[test]
fn gemini_opencode_and_pi_tell_of_a_call_and_its_result() {
    let gemini = [
        r#"{"type":"tool_use","tool_name":"invoke_agent","tool_id":"i1","parameters":{"agent_name":"generalist","prompt":"answer from below"}}"#,
        r#"{"type":"tool_result","tool_id":"i1","status":"error"}"#,
    ];
    let opencode = [
        r#"{"type":"tool_use","sessionID":"s","part":{"type":"tool","tool":"task","callID":"i1","state":{"status":"completed","input":{"description":"","prompt":"answer from below","subagent_type":"general"},"output":"done"}}}"#,
    ];
    let pi = [
        r#"{"type":"tool_execution_start","toolCallId":"i1","toolName":"subagent","args":{"agent":"scout","task":"answer from below"}}"#,
        r#"{"type":"tool_execution_end","toolCallId":"i1","toolName":"subagent","result":{"content":[]},"isError":false}"#,
    ];
    for (cli, lines, crew, ok) in [
        (Cli::Gemini, &gemini[..], "generalist", false),
        (Cli::OpenCode, &opencode[..], "general", true),
        (Cli::Pi, &pi[..], "scout", true),
    ] {
        let wanted = [sent("i1", None, Some(crew), "answer from below"), back("i1", ok)];
        assert_eq!(told(cli, lines), wanted, "{}", cli.name());
    }
}
