//! One operation, several surfaces: the same answers, the same errors, the same defaults.

mod client;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Command;
use fleet_app::op::{ALL, Op};
use fleet_testkit::TestEnv;
use serde_json::{Map, Value, json};

use client::Mcp;

const PATIENCE: Duration = Duration::from_secs(60);

/// An answer on any surface: whether it failed, and the JSON.
#[derive(Debug, PartialEq)]
struct Answer {
    failed: bool,
    json: Value,
}

fn over_mcp(client: &mut Mcp, op: &Op, args: &Value) -> Answer {
    let told = client.call(op, args);
    let result = &told["result"];
    let json = result["structuredContent"].clone();
    assert!(json.is_object(), "`{}` over MCP: {told}", op.name);
    // The text is for clients that do not know structured answers.
    let text = result["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("no text: {told}"));
    assert_eq!(serde_json::from_str::<Value>(text).expect("JSON as text"), json);
    Answer {
        failed: result["isError"] == true,
        json,
    }
}

fn over_cli(env: &TestEnv, dir: &Path, op: &Op, argv: &[&str]) -> Answer {
    let done = env
        .fleet(op.name.split('.'))
        .args(argv)
        .arg("--json")
        .cwd(dir)
        .timeout(PATIENCE)
        .output();
    let json: Value = done.json();
    if let Some(kind) = json["error"]["kind"].as_str() {
        let kind: fleet_core::Kind = serde_json::from_value(kind.into()).expect("a kind");
        assert_eq!(done.status.code(), Some(i32::from(kind.exit_code())), "{done}");
    }
    Answer {
        failed: !done.status.success(),
        json,
    }
}

/// A home, a repository and what the walk needs in it; the same every time.
struct Stage {
    env: TestEnv,
    repo: PathBuf,
}

impl Stage {
    /// With the agent `one`, idle, and the saved work of `gone`.
    fn new() -> Stage {
        let env = TestEnv::new();
        env.config_with_scripted("");
        let repo = env.repo("repo", 2);
        let stage = Stage { env, repo };
        stage.run(&["create", "gone"]);
        std::fs::write(stage.env.fleet_home().join("worktrees/gone/new.txt"), "work\n").expect("written");
        stage.run(&["kill", "gone"]);
        stage.run(&["create", "one", "--wait", "ready", "--timeout", "30"]);
        let plan = stage.env.root().join("plan");
        std::fs::create_dir_all(plan.join("workers/a")).expect("a folder");
        std::fs::write(plan.join("workers/a/prompt.md"), "Do it.\n").expect("written");
        let worker = r#"{"id": "a", "type": "code-run", "model": "next"}"#;
        let text = format!(r#"{{"type": "dag", "workers": [{worker}]}}"#);
        std::fs::write(plan.join("fleet.json"), text).expect("written");
        stage
    }

    fn run(&self, args: &[&str]) {
        let _ = self
            .env
            .fleet(args)
            .cwd(&self.repo)
            .timeout(PATIENCE)
            .output()
            .success();
    }

    /// `answer` with everything that two worlds differ in replaced by its kind.
    fn plain(&self, answer: Answer) -> Answer {
        let root = self.env.root().display().to_string();
        let mut names = BTreeMap::new();
        let json = plain(None, &answer.json, &root, &mut names);
        Answer { json, ..answer }
    }
}

/// Replaces times, ids, sizes and paths; equal ids stay equal.
fn plain(key: Option<&str>, value: &Value, root: &str, names: &mut BTreeMap<String, usize>) -> Value {
    const VARY: [&str; 25] = [
        "created_at",
        "ended_at",
        "since",
        "at",
        "age_ms",
        "disk_age_ms",
        "disk_bytes",
        "memory_bytes",
        "cpu_percent",
        "processes",
        "bytes",
        "trash_bytes",
        "worktree_bytes",
        "output_bytes",
        "pid",
        "supervisor",
        "start",
        "boot",
        "exit_code",
        "found",
        "seq",
        "check_ms",
        "took_ms",
        "swept",
        "state",
    ];
    let key = key.unwrap_or_default();
    match value {
        Value::Null => Value::Null,
        _ if VARY.contains(&key) => json!(format!("<{key}>")),
        _ if key == "facts" => json!("<facts>"),
        Value::Object(map) => {
            let inner = map
                .iter()
                .map(|(key, value)| (key.clone(), plain(Some(key), value, root, names)));
            Value::Object(inner.collect::<Map<_, _>>())
        }
        Value::Array(list) => list.iter().map(|each| plain(Some(key), each, root, names)).collect(),
        Value::String(text) => {
            let text = text.replace(root, "<root>");
            let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
            let known = |word: &str, names: &mut BTreeMap<String, usize>| {
                let bare = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
                // By its alphabet, not by a digit in it: a fair share of ids has none.
                let of = |letters: &str| bare.chars().all(|c| letters.contains(c));
                let random = match bare.len() {
                    8 => of("0123456789abcdef"),
                    10 | 12 => of("0123456789abcdefghjkmnpqrstvwxyz"),
                    _ => false,
                };
                let count = names.len();
                match random {
                    true => format!(
                        "<{}>{}",
                        names.entry(bare.to_owned()).or_insert(count),
                        &word[bare.len()..]
                    ),
                    false => word.to_owned(),
                }
            };
            json!(words.map(|word| known(word, names)).collect::<String>())
        }
        other => other.clone(),
    }
}

/// A contract, and a report that answers it.
const CONTRACT: &str = "<!-- VIBE_SESSION_CONTRACT\njob_id: x\nbudget:\n  ceiling_usd: 5\n-->";
const REPORT: &str = "<!-- FLEET_SESSION_REPORT\njob_id: x\nexecution:\n  status: completed\n  total_cost_usd: 1\n-->";

/// A task, and what its crew says of it.
const TASK: &str = "TASK-20260404-001";
const CREW: &str = "<!-- FLEET_REPORT\nfleet_task_id: TASK-20260404-001\nstatus: completed\n-->";

/// Arguments of the command line, and the same as JSON.
type Call = (Vec<&'static str>, Value);

/// For each operation: arguments of the command line, and the same as JSON. The first pair of each is the shortest
/// call there is, so that the defaults are compared; the last ends in an error where there is one.
fn calls() -> Vec<(&'static str, Vec<Call>)> {
    vec![
        (
            "create",
            vec![
                (vec!["two"], json!({ "branch": "two" })),
                (vec!["two"], json!({ "branch": "two" })),
                (vec!["a..b"], json!({ "branch": "a..b" })),
            ],
        ),
        (
            "fanout",
            vec![
                (vec!["2"], json!({ "count": 2 })),
                (
                    vec!["2", "pair", "-p", "print x"],
                    json!({ "count": 2, "prefix": "pair", "prompt": "print x" }),
                ),
                (vec!["0"], json!({ "count": 0 })),
            ],
        ),
        (
            "multi",
            vec![
                (vec!["m:print x"], json!({ "tasks": ["m:print x"] })),
                (vec![], json!({})),
            ],
        ),
        (
            "list",
            vec![
                (vec![], json!({})),
                (vec!["--all", "--grouped"], json!({ "all": true, "grouped": true })),
            ],
        ),
        (
            "prompt",
            vec![
                (vec!["one", "hello"], json!({ "targets": ["one"], "message": "hello" })),
                (
                    vec!["none", "hello"],
                    json!({ "targets": ["none"], "message": "hello" }),
                ),
            ],
        ),
        (
            "logs",
            vec![
                (vec!["gone"], json!({ "target": "gone" })),
                (vec!["gone", "-n", "1"], json!({ "target": "gone", "lines": 1 })),
                (vec!["none"], json!({ "target": "none" })),
            ],
        ),
        (
            "diff",
            vec![
                (vec!["one"], json!({ "target": "one" })),
                (vec!["one", "--stat"], json!({ "target": "one", "stat": true })),
                (vec!["none"], json!({ "target": "none" })),
            ],
        ),
        (
            "path",
            vec![
                (vec!["one"], json!({ "target": "one" })),
                (vec!["none"], json!({ "target": "none" })),
            ],
        ),
        (
            "wait",
            vec![
                (
                    vec!["one", "--until", "idle"],
                    json!({ "targets": ["one"], "until": "idle" }),
                ),
                (
                    vec!["one", "--until", "exited", "--timeout", "0.1"],
                    json!({ "targets": ["one"], "until": "exited", "timeout": 0.1 }),
                ),
                (
                    vec!["one", "--until", "never"],
                    json!({ "targets": ["one"], "until": "never" }),
                ),
            ],
        ),
        (
            "explain",
            vec![
                (vec!["one"], json!({ "target": "one" })),
                (vec!["none"], json!({ "target": "none" })),
            ],
        ),
        (
            "rank",
            vec![
                (
                    vec!["one", "--check", "true"],
                    json!({ "targets": ["one"], "check": "true" }),
                ),
                (
                    vec!["none", "--check", "true"],
                    json!({ "targets": ["none"], "check": "true" }),
                ),
            ],
        ),
        (
            "merge",
            vec![
                (vec!["one"], json!({ "targets": ["one"] })),
                (
                    vec!["one", "--dry-run", "--live"],
                    json!({ "targets": ["one"], "dry_run": true, "live": true }),
                ),
                (vec!["none"], json!({ "targets": ["none"] })),
            ],
        ),
        (
            "pr",
            vec![
                (vec!["one"], json!({ "target": "one" })),
                (vec!["none"], json!({ "target": "none" })),
            ],
        ),
        (
            "kill",
            vec![
                (vec!["one", "--dry-run"], json!({ "targets": ["one"], "dry_run": true })),
                (vec!["two"], json!({ "targets": ["two"] })),
                (vec!["two"], json!({ "targets": ["two"] })),
            ],
        ),
        (
            "resume",
            vec![
                (vec!["--all"], json!({ "all": true })),
                (vec!["one"], json!({ "targets": ["one"] })),
            ],
        ),
        (
            "restart",
            vec![
                (vec!["one"], json!({ "targets": ["one"] })),
                (vec!["none"], json!({ "targets": ["none"] })),
            ],
        ),
        ("salvage.list", vec![(vec![], json!({}))]),
        (
            "salvage.show",
            vec![
                (vec!["gone"], json!({ "id": "gone" })),
                (vec!["none"], json!({ "id": "none" })),
            ],
        ),
        (
            "salvage.restore",
            vec![
                (vec!["gone"], json!({ "id": "gone" })),
                (vec!["none"], json!({ "id": "none" })),
            ],
        ),
        (
            "salvage.prune",
            vec![
                (vec![], json!({})),
                (vec!["gone", "--yes"], json!({ "ids": ["gone"], "yes": true })),
                (vec!["none"], json!({ "ids": ["none"] })),
            ],
        ),
        (
            "clean",
            vec![(vec![], json!({})), (vec!["--yes"], json!({ "yes": true }))],
        ),
        (
            "types",
            vec![(vec![], json!({})), (vec!["--schema"], json!({ "schema": true }))],
        ),
        (
            "plan",
            vec![
                (vec![], json!({})),
                (vec!["--one-session"], json!({ "one_session": true })),
                (
                    vec![
                        "../made",
                        "--ordered",
                        "--worker",
                        "a type=write size=edit: Think",
                        "--model",
                        "opus",
                    ],
                    json!({
                        "root": "../made",
                        "ordered": true,
                        "workers": [{ "id": "a", "type": "write", "size": "edit", "task": "Think" }],
                        "model": "opus",
                    }),
                ),
                (
                    vec!["../made", "--type", "dag", "--worker", "a type=write: Think"],
                    json!({ "root": "../made", "type": "dag", "workers": [{ "id": "a", "type": "write", "task": "Think" }] }),
                ),
            ],
        ),
        (
            "check",
            vec![
                (vec!["../plan"], json!({ "plan": "../plan" })),
                (
                    vec!["../plan/fleet.json", "--allow-unknown-model"],
                    json!({ "plan": "../plan/fleet.json", "allow_unknown_model": true }),
                ),
                (vec!["../none"], json!({ "plan": "../none" })),
            ],
        ),
        (
            "launch",
            vec![
                (vec!["../plan"], json!({ "plan": "../plan" })),
                (
                    vec!["../plan", "--dry-run", "--allow-unknown-model"],
                    json!({ "plan": "../plan", "dry_run": true, "allow_unknown_model": true }),
                ),
                (vec!["../none"], json!({ "plan": "../none" })),
            ],
        ),
        (
            "status",
            vec![
                (vec![], json!({})),
                (vec!["--all"], json!({ "all": true })),
                (vec!["../plan"], json!({ "run": "../plan" })),
            ],
        ),
        (
            "pause",
            vec![(vec![], json!({})), (vec!["none"], json!({ "run": "none" }))],
        ),
        (
            "stop",
            vec![(vec![], json!({})), (vec!["none"], json!({ "run": "none" }))],
        ),
        (
            "relaunch",
            vec![
                (vec!["a"], json!({ "worker": "a" })),
                (
                    vec!["a", "--run", "../plan"],
                    json!({ "worker": "a", "run": "../plan" }),
                ),
            ],
        ),
        (
            "run",
            vec![
                (vec!["-p", "do it"], json!({ "prompt": "do it" })),
                (vec!["--job", "none"], json!({ "job": "none" })),
                (
                    vec!["-p", "x", "--budget", "-5"],
                    json!({ "prompt": "x", "budget": -5.0 }),
                ),
            ],
        ),
        (
            "contract.check",
            vec![
                (vec![CONTRACT], json!({ "text": CONTRACT })),
                (vec!["no block"], json!({ "text": "no block" })),
            ],
        ),
        (
            "report.check",
            vec![
                (vec![REPORT], json!({ "text": REPORT })),
                (
                    vec![REPORT, "--contract", CONTRACT],
                    json!({ "text": REPORT, "contract": CONTRACT }),
                ),
                (
                    vec![REPORT, "--job-id", "other"],
                    json!({ "text": REPORT, "job_id": "other" }),
                ),
                (
                    vec![REPORT, "--contract", "none"],
                    json!({ "text": REPORT, "contract": "none" }),
                ),
            ],
        ),
        (
            "task.create",
            vec![
                (vec!["Index"], json!({ "title": "Index" })),
                (
                    vec!["Search", "--crew", "api", "--external", TASK],
                    json!({ "title": "Search", "crew": "api", "external": TASK }),
                ),
                (
                    vec!["Other", "--external", "TASK-20260404-002"],
                    json!({ "title": "Other", "external": "TASK-20260404-002" }),
                ),
                (vec!["..."], json!({ "title": "..." })),
            ],
        ),
        (
            "task.list",
            vec![
                (vec![], json!({})),
                (vec!["--status", "open"], json!({ "status": "open" })),
                (vec!["--status", "odd"], json!({ "status": "odd" })),
            ],
        ),
        (
            "task.show",
            vec![
                (vec![TASK], json!({ "id": TASK })),
                (vec!["none"], json!({ "id": "none" })),
            ],
        ),
        (
            "task.cost",
            vec![
                (vec![], json!({})),
                (vec![TASK, "--by", "crew"], json!({ "id": TASK, "by": "crew" })),
                (vec!["--by", "mood"], json!({ "by": "mood" })),
            ],
        ),
        (
            "task.follow-ups",
            vec![(vec![], json!({})), (vec!["none"], json!({ "id": "none" }))],
        ),
        (
            "task.blame",
            vec![
                (vec!["dir0/file0.txt"], json!({ "file": "dir0/file0.txt" })),
                (vec!["none"], json!({ "file": "none" })),
            ],
        ),
        (
            "task.promote",
            vec![
                (vec![TASK, "--all"], json!({ "id": TASK, "all": true })),
                (vec![TASK, "1"], json!({ "id": TASK, "follow_ups": ["1"] })),
            ],
        ),
        (
            "task.report",
            vec![
                (vec![CREW], json!({ "text": CREW })),
                (vec![CREW], json!({ "text": CREW })),
                (vec!["no block"], json!({ "text": "no block" })),
            ],
        ),
        (
            "task.end",
            vec![
                (vec!["TASK-20260404-002"], json!({ "id": "TASK-20260404-002" })),
                (vec![TASK], json!({ "id": TASK })),
            ],
        ),
        ("profile", vec![(vec![], json!({}))]),
        ("budget.show", vec![(vec![], json!({}))]),
        (
            "budget.set",
            vec![(vec!["none", "5"], json!({ "words": ["none", "5"] }))],
        ),
        (
            "budget.raise",
            vec![(vec!["none", "5"], json!({ "target": "none", "usd": "5" }))],
        ),
        (
            "budget.prices",
            vec![(vec![], json!({})), (vec!["--example"], json!({ "example": true }))],
        ),
        ("config.show", vec![(vec![], json!({}))]),
        ("config.validate", vec![(vec![], json!({}))]),
        ("config.path", vec![(vec![], json!({}))]),
        (
            "doctor",
            vec![
                (vec![], json!({})),
                (vec!["--harness", "scripted"], json!({ "harness": "scripted" })),
                (vec!["--live"], json!({ "live": true })),
            ],
        ),
        (
            "integrate.claude",
            vec![(vec![], json!({})), (vec!["--remove"], json!({ "remove": true }))],
        ),
    ]
}

#[test]
fn every_operation_gives_the_same_answer_through_each_surface_it_declares() {
    let calls = calls();
    let names: Vec<&str> = calls.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ALL.iter().map(|op| op.name).collect::<Vec<_>>(),
        "the walk knows every operation"
    );
    let (typed, called) = (Stage::new(), Stage::new());
    let mut client = Mcp::start(&called.env, &called.repo);
    for (op, (_, calls)) in ALL.iter().zip(calls) {
        let schema = (op.output)().to_value();
        let valid = jsonschema::validator_for(&schema).expect("a valid schema");
        assert!(op.surfaces.cli, "`{}` has no verb", op.name);
        for (argv, args) in calls {
            let cli = over_cli(&typed.env, &typed.repo, op, &argv);
            let mut answers = vec![typed.plain(Answer {
                json: cli.json.clone(),
                ..cli
            })];
            let mut documents = vec![cli.json];
            if op.surfaces.mcp {
                let mcp = over_mcp(&mut client, op, &args);
                documents.push(mcp.json.clone());
                answers.push(called.plain(mcp));
                assert_eq!(answers[0], answers[1], "`{}` {argv:?} / {args}", op.name);
            } else {
                // Both worlds go the same way.
                let _ = over_cli(&called.env, &called.repo, op, &argv);
            }
            for document in &documents {
                assert!(document.is_object(), "`{}` answers with an object: {document}", op.name);
                if document["error"]["kind"].is_string() && document.as_object().is_some_and(|map| map.len() == 1) {
                    let _: fleet_core::Error =
                        serde_json::from_value(document["error"].clone()).expect("an error of ours");
                } else if let Err(error) = valid.validate(document) {
                    panic!(
                        "`{}` {argv:?} does not keep to its schema: {error}\n{document:#}",
                        op.name
                    );
                }
            }
        }
    }
    client.close();
    for stage in [typed, called] {
        stage.run(&["kill", "*", "--force"]);
        let list = stage
            .env
            .git(&stage.repo, ["worktree", "list", "--porcelain"])
            .success()
            .stdout;
        for worktree in list.lines().filter_map(|line| line.strip_prefix("worktree ")).skip(1) {
            let _ = stage
                .env
                .git(&stage.repo, ["worktree", "remove", "--force", worktree])
                .success();
        }
        stage.env.assert_nothing_left();
    }
}

#[test]
fn the_tools_of_mcp_are_these() {
    let env = TestEnv::new();
    let mut client = Mcp::start(&env, env.root());
    let tools = client.list();
    let names: Vec<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
    let pinned = [
        "fleet_create",
        "fleet_fanout",
        "fleet_multi",
        "fleet_list",
        "fleet_prompt",
        "fleet_logs",
        "fleet_diff",
        "fleet_path",
        "fleet_wait",
        "fleet_explain",
        "fleet_rank",
        "fleet_merge",
        "fleet_pr",
        "fleet_kill",
        "fleet_resume",
        "fleet_restart",
        "fleet_salvage_list",
        "fleet_salvage_show",
        "fleet_salvage_restore",
        "fleet_salvage_prune",
        "fleet_clean",
        "fleet_types",
        "fleet_plan",
        "fleet_check",
        "fleet_launch",
        "fleet_status",
        "fleet_pause",
        "fleet_stop",
        "fleet_relaunch",
        "fleet_run",
        "fleet_contract_check",
        "fleet_report_check",
        "fleet_task_create",
        "fleet_task_list",
        "fleet_task_show",
        "fleet_task_cost",
        "fleet_task_follow_ups",
        "fleet_task_blame",
        "fleet_task_promote",
        "fleet_task_report",
        "fleet_task_end",
        "fleet_profile",
        "fleet_budget_show",
        "fleet_budget_set",
        "fleet_budget_raise",
        "fleet_budget_prices",
        "fleet_doctor",
    ];
    assert_eq!(names, pinned);
    for tool in &tools {
        assert!(
            tool["description"].as_str().is_some_and(|text| text.len() > 10),
            "{tool}"
        );
        assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
        jsonschema::validator_for(&tool["inputSchema"]).expect("a valid schema");
        for (name, property) in tool["inputSchema"]["properties"].as_object().into_iter().flatten() {
            let described = property["description"].is_string() || property["$ref"].is_string();
            assert!(described, "`{name}` of {} says nothing", tool["name"]);
        }
    }
    let hint = |name: &str, what: &str| {
        tools
            .iter()
            .find(|tool| tool["name"] == name)
            .map(|tool| tool["annotations"][what].clone())
    };
    assert_eq!(hint("fleet_list", "readOnlyHint"), Some(json!(true)));
    assert_eq!(hint("fleet_create", "readOnlyHint"), Some(json!(false)));
    assert_eq!(hint("fleet_clean", "destructiveHint"), Some(json!(true)));
    client.close();
}

#[test]
fn a_bad_call_over_mcp_is_an_error_and_the_server_goes_on() {
    let stage = Stage::new();
    let mut client = Mcp::start(&stage.env, &stage.repo);
    let unknown = client.request("tools/call", json!({ "name": "fleet_nothing", "arguments": {} }));
    assert!(
        unknown["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("fleet_nothing")),
        "{unknown}"
    );
    assert!(client.request("no/such/method", json!({}))["error"].is_object());
    for (name, args) in [
        ("create", json!({})),
        ("create", json!({ "branch": "x", "brnch": "y" })),
        ("create", json!({ "branch": 3 })),
        ("fanout", json!({ "count": 70000 })),
        ("fanout", json!({ "count": -1 })),
        ("prompt", json!({ "targets": ["one"] })),
        ("kill", json!({})),
        ("wait", json!({ "until": "idle" })),
        ("restart", json!({ "targets": [] })),
        ("resume", json!({})),
    ] {
        let op = ALL.iter().find(|op| op.name == name).expect("an operation");
        let answer = over_mcp(&mut client, op, &args);
        assert!(answer.failed, "`{name}` {args}: {}", answer.json);
        let error: fleet_core::Error = serde_json::from_value(answer.json["error"].clone()).expect("an error of ours");
        assert_eq!(error.kind, fleet_core::Kind::Usage, "`{name}` {args}: {error:?}");
        assert!(error.hint.is_some(), "`{name}` {args}: {error:?}");
    }
    // Several at once: each answer carries the id of its request.
    let wait = ALL.iter().find(|op| op.name == "wait").expect("wait");
    let slow = json!({ "targets": ["one"], "until": "exited", "timeout": 1.0 });
    let slow = client.ask("tools/call", json!({ "name": wait.tool_name(), "arguments": slow }));
    let fast: Vec<u64> = (0..8)
        .map(|_| {
            client.ask(
                "tools/call",
                json!({ "name": "fleet_path", "arguments": { "target": "one" } }),
            )
        })
        .collect();
    for id in fast {
        assert!(client.answer(id)["result"]["structuredContent"]["path"].is_string());
    }
    assert_eq!(
        client.answer(slow)["result"]["structuredContent"]["error"]["kind"],
        "timeout"
    );
    client.close();
    stage.run(&["kill", "*", "--force"]);
    stage.env.assert_nothing_left();
}

#[test]
fn every_argument_has_one_default_on_every_surface() {
    for op in ALL {
        let schema = (op.params)().to_value();
        let command = || (op.command)(Command::new(op.name));
        command().debug_assert();
        let properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let mut of_cli: Vec<String> = command().get_arguments().map(|arg| arg.get_id().to_string()).collect();
        let mut of_json: Vec<String> = properties.keys().cloned().collect();
        of_cli.sort();
        of_json.sort();
        assert_eq!(of_cli, of_json, "`{}` has the same arguments everywhere", op.name);
        assert_eq!(
            schema["additionalProperties"],
            json!(false),
            "`{}` refuses unknown arguments",
            op.name
        );
        // The shortest command line and the shortest JSON are one request.
        let (_, pairs) = calls()
            .into_iter()
            .find(|(name, _)| *name == op.name)
            .expect("in the walk");
        let (argv, args) = &pairs[0];
        let matches = command()
            .no_binary_name(true)
            .try_get_matches_from(argv)
            .expect("the shortest call parses");
        let parsed = (op.from_matches)(&matches, &|text| Ok(text.to_owned())).expect("arguments");
        for (name, value) in parsed.as_object().expect("an object") {
            let default = properties
                .get(name)
                .and_then(|property| property.get("default"))
                .cloned();
            let given = args.get(name).cloned().or(default).unwrap_or(Value::Null);
            assert_eq!(*value, given, "`{name}` of `{}`", op.name);
        }
        for (name, value) in args.as_object().expect("an object") {
            assert_eq!(parsed.get(name), Some(value), "`{name}` of `{}`", op.name);
        }
        // What JSON must have, the command line must have.
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for name in required {
            let command = command();
            let arg = command
                .get_arguments()
                .find(|arg| arg.get_id() == name)
                .expect("the same arguments");
            assert!(
                arg.is_required_set(),
                "`{name}` of `{}` is required over JSON only",
                op.name
            );
        }
    }
}

#[test]
fn the_help_of_every_verb_renders_and_says_what_it_does() {
    let env = TestEnv::new();
    let own = ["attach", "mcp", "completions", "config.edit"];
    for name in ALL.iter().map(|op| op.name).chain(own) {
        for flag in ["--help", "-h"] {
            let help = env.fleet(name.split('.')).arg(flag).output().success().stdout;
            assert!(
                help.contains(&format!("Usage: fleet {}", name.replace('.', " "))),
                "{help}"
            );
            assert!(help.lines().next().is_some_and(|line| line.len() > 8), "{help}");
        }
    }
    let help = env.fleet(["--help"]).output().success().stdout;
    for name in ALL
        .iter()
        .map(|op| op.name.split('.').next().expect("a word"))
        .chain(["attach", "mcp", "completions"])
    {
        assert!(help.contains(&format!("  {name} ")), "`{name}` is not in the help");
    }
    let version = env.fleet(["--version"]).output().success().stdout;
    assert_eq!(version, format!("fleet {}\n", env!("CARGO_PKG_VERSION")));
    assert!(!env.fleet_home().exists(), "help makes nothing");
}

#[test]
fn a_request_asked_for_twice_is_done_once() {
    let stage = Stage::new();
    let run = |args: &[&str]| stage.env.fleet(args).cwd(&stage.repo).timeout(PATIENCE).output();
    let first: Value = run(&["create", "two", "--request-id", "r-1", "--json"])
        .success()
        .json();
    let second: Value = run(&["create", "two", "--request-id", "r-1", "--json"])
        .success()
        .json();
    assert_eq!(first, second);
    let error: Value = run(&["create", "a..b", "--request-id", "r-2", "--json"])
        .fails(2)
        .json();
    let again: Value = run(&["create", "a..b", "--request-id", "r-2", "--json"])
        .fails(2)
        .json();
    assert_eq!(error, again);
    stage.run(&["kill", "*", "--force"]);
    stage.env.assert_nothing_left();
}
