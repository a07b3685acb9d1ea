//! Each count of a contract's budget, obeyed by each program while it runs: the stand-in says what the program would, and
//! would go on for ever.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use fleet_testkit::{TestEnv, wait_until};
use serde_json::{Value, json};

use crate::drive::{LONG, fleet};

/// One after the other, what a program prints when its model calls a tool `times` times, each in a turn of its own.
fn calls(cli: &str, tool: &str, times: usize) -> Vec<Value> {
    let mut lines = match cli {
        "claude" => vec![json!({"type": "system", "subtype": "init", "session_id": "c1", "model": "m"})],
        "codex" => vec![json!({"type": "thread.started", "thread_id": "c1"})],
        "gemini" => vec![json!({"type": "init", "session_id": "c1", "model": "m"})],
        "pi" => vec![
            json!({"id": "prompt-1", "type": "response", "command": "prompt", "success": true}),
            json!({"type": "agent_start"}),
        ],
        _ => Vec::new(),
    };
    for number in 0..times {
        let id = format!("call-{number}");
        let prompt = "look at a part of it";
        lines.extend(match cli {
            "claude" => vec![
                json!({"type": "assistant", "message": {"id": id, "model": "m", "content":
                    [{"type": "tool_use", "id": id, "name": tool, "input": {"prompt": prompt}}]}}),
                json!({"type": "user", "message": {"content":
                    [{"type": "tool_result", "tool_use_id": id, "content": "ok"}]}}),
            ],
            "codex" => {
                let item = match tool {
                    "spawn_agent" => json!({"id": id, "type": "collab_tool_call", "tool": tool, "prompt": prompt,
                        "receiver_thread_ids": [], "agents_states": {}, "status": "in_progress"}),
                    _ => json!({"id": id, "type": "command_execution", "command": "ls", "status": "in_progress"}),
                };
                let mut done = item.clone();
                done["status"] = "completed".into();
                vec![
                    json!({"type": "item.started", "item": item}),
                    json!({"type": "item.completed", "item": done}),
                ]
            }
            "gemini" => vec![
                json!({"type": "tool_use", "tool_name": tool, "tool_id": id, "parameters": {"prompt": prompt}}),
                json!({"type": "tool_result", "tool_id": id, "status": "success", "output": "ok"}),
            ],
            "opencode" => vec![
                json!({"type": "tool_use", "sessionID": "c1", "part": {"type": "tool", "tool": tool,
                "callID": id, "state": {"status": "completed", "input": {"prompt": prompt}, "output": "ok"}}}),
            ],
            _ => vec![
                json!({"type": "tool_execution_start", "toolCallId": id, "toolName": tool, "args": {"task": prompt}}),
                json!({"type": "tool_execution_end", "toolCallId": id, "toolName": tool, "isError": false,
                    "result": {"content": [{"type": "text", "text": "ok"}]}}),
            ],
        });
    }
    lines
}

/// A fleet whose program of this name prints `lines` and works on.
struct Place {
    env: TestEnv,
    repo: std::path::PathBuf,
    path: String,
}

impl Place {
    fn new(cli: &str, lines: &[Value]) -> Place {
        let env = TestEnv::new();
        env.write_config(&format!(
            "default_agent = \"{cli}\"\n{cli}_flags = \"\"\nkill_grace_ms = 300\n"
        ));
        let (repo, bin) = (env.repo("repo", 1), env.root().join("bin"));
        fs::create_dir_all(&bin).expect("a folder");
        let said: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let file = env.root().join("lines");
        fs::write(&file, said).expect("written");
        // Pi is told its prompt in a line, and waits for others.
        let read = if cli == "pi" {
            "read -r prompt"
        } else {
            "cat >/dev/null"
        };
        let program = bin.join(cli);
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in *--version*) echo 1.0.0; exit;; esac\n{read}\ncat '{}'\nexec sleep 600\n",
            file.display()
        );
        fs::write(&program, script).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
        Place { env, repo, path }
    }

    /// How an agent ended that was started under a contract with these limits: its outcome, and why.
    #[track_caller]
    fn ended_under(&self, limits: &str) -> (String, String) {
        let contract = format!("<!-- VIBE_SESSION_CONTRACT\njob_id: x\nbudget:\n{limits}-->");
        let run = |args: &[&str]| fleet(&self.env, &self.repo, args).env("PATH", &self.path).timeout(LONG);
        let create = run(&["create", "one", "--headless", "-p", "Do it."]);
        let _ = create.env("FLEET_CONTRACT", contract).output().success();
        let agent = wait_until(LONG, "its end", || {
            let list: Value = run(&["list", "--json"]).output().success().json();
            Some(list["agents"][0].clone()).filter(|agent| !agent["outcome"].is_null())
        });
        let text = |key: &str| agent[key].as_str().unwrap_or_default().to_owned();
        let _ = run(&["kill", "one", "--force"]).output().success();
        (text("outcome"), text("why"))
    }
}

/// Every program, its tool that looks, and the one that sends out a sub-agent.
const PROGRAMS: [(&str, &str, &str); 5] = [
    ("claude", "Read", "Agent"),
    ("codex", "shell", "spawn_agent"),
    ("pi", "read", "subagent"),
    ("opencode", "read", "task"),
    ("gemini", "read_file", "invoke_agent"),
];

/// That each program is ended for `limits` when it calls its tool, or sends out a sub-agent, three times, and is told why.
#[track_caller]
fn each_is_ended(limits: &str, dispatches: bool, why: &str) {
    for (cli, looks, sends_out) in PROGRAMS {
        let tool = if dispatches { sends_out } else { looks };
        let place = Place::new(cli, &calls(cli, tool, 3));
        let (outcome, about) = place.ended_under(limits);
        assert!(outcome == "budget" && about.ends_with(why), "{cli}: {outcome}, {about}");
        place.env.assert_nothing_left();
    }
}

#[test]
fn a_call_of_a_tool_beyond_the_contract_ends_each_program() {
    each_is_ended("  max_tool_calls: 2\n  hard_ceiling: true\n", false, " of 3 tool calls");
}

#[test]
fn a_turn_beyond_the_contract_ends_each_program() {
    each_is_ended("  max_turns: 2\n", false, " of 3 turns of the model");
}

#[test]
fn a_sub_agent_beyond_the_contract_ends_each_program() {
    each_is_ended(
        "  max_crew_dispatches: 2\n  hard_ceiling: true\n",
        true,
        " of 2 dispatches",
    );
}

#[test]
fn a_sub_agent_that_nobody_counts_has_not_cost_nothing() {
    for (cli, _, sends_out) in PROGRAMS.into_iter().filter(|(cli, ..)| ["codex", "pi"].contains(cli)) {
        let place = Place::new(cli, &calls(cli, sends_out, 1));
        let (outcome, about) = place.ended_under("  ceiling_usd: 5\n  hard_ceiling: true\n");
        let why = "what a reply cost is not known";
        assert_eq!((outcome.as_str(), about.as_str()), ("budget", why), "{cli}");
    }
}
