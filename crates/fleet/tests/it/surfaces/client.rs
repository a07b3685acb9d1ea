//! A client of `fleet mcp`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};

use fleet_app::op::Op;
use fleet_testkit::{TestEnv, binary, raw_command};
use serde_json::{Value, json};

use super::PATIENCE;

/// A client of `fleet mcp`, as the specification of the protocol has it.
pub(super) struct Mcp {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Value>,
    /// Answers that came before they were asked for.
    early: BTreeMap<u64, Value>,
    last: u64,
}

impl Mcp {
    pub(super) fn start(env: &TestEnv, cwd: &Path) -> Mcp {
        let mut command = raw_command(binary("fleet"));
        command.arg("mcp").env_clear().envs(env.variables()).current_dir(cwd);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = command.spawn().expect("fleet starts");
        let output = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take();
        let mut client = Mcp {
            child,
            input,
            lines,
            early: BTreeMap::new(),
            last: 0,
        };
        let hello = json!({
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" }
        });
        let welcome = client.request("initialize", hello);
        assert_eq!(welcome["result"]["serverInfo"]["name"], "fleet", "{welcome}");
        assert!(welcome["result"]["capabilities"]["tools"].is_object(), "{welcome}");
        client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        client
    }

    fn send(&mut self, message: &Value) {
        let input = self.input.as_mut().expect("not closed yet");
        input
            .write_all(format!("{message}\n").as_bytes())
            .expect("the server reads");
    }

    pub(super) fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.last += 1;
        let id = self.last;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// The answer to request `id`, whatever comes before it.
    pub(super) fn answer(&mut self, id: u64) -> Value {
        loop {
            if let Some(found) = self.early.remove(&id) {
                return found;
            }
            let value = self.lines.recv_timeout(PATIENCE).expect("an answer");
            if let Some(id) = value["id"].as_u64() {
                self.early.insert(id, value);
            }
        }
    }

    pub(super) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        self.answer(id)
    }

    pub(super) fn list(&mut self) -> Vec<Value> {
        let told = self.request("tools/list", json!({}));
        told["result"]["tools"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| panic!("no tools: {told}"))
    }

    pub(super) fn call(&mut self, op: &Op, args: &Value) -> Value {
        self.request("tools/call", json!({ "name": op.tool_name(), "arguments": args }))
    }

    /// Closes standard input, as a client does that is done, and expects that the server ends.
    pub(super) fn close(mut self) {
        self.input = None;
        let status = fleet_testkit::wait_until(PATIENCE, "the end of the server", || {
            self.child.try_wait().ok().flatten()
        });
        assert!(status.success(), "{status}");
    }
}

impl Drop for Mcp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
