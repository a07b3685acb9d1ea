//! What the recordings must know of each agent program.

use serde_json::{Value, json};

/// One agent program as the recordings need it.
pub(crate) struct Traits {
    pub(crate) name: &'static str,
    /// Its arguments with which nothing is asked, and those with which commands are.
    pub(crate) free: &'static [&'static str],
    pub(crate) asking: &'static [&'static str],
    /// Variables with which commands are asked about.
    pub(crate) asking_env: &'static [(&'static str, &'static str)],
    /// What is typed to leave it.
    pub(crate) leave: &'static str,
    /// Whether it asks for permission at all.
    pub(crate) asks: bool,
    /// The tool with which its model asks the person something, if there is one.
    pub(crate) question: Option<&'static str>,
    /// Whether its model can have a sub-agent work in the background.
    pub(crate) delegates: bool,
}

/// The five.
pub(crate) static TRAITS: [Traits; 5] = [
    Traits {
        name: "claude",
        free: &["--dangerously-skip-permissions"],
        asking: &[],
        asking_env: &[],
        leave: "/exit",
        asks: true,
        question: Some("AskUserQuestion"),
        delegates: true,
    },
    Traits {
        name: "codex",
        free: &["--dangerously-bypass-approvals-and-sandbox"],
        asking: &["--sandbox", "read-only", "--ask-for-approval", "on-request"],
        asking_env: &[],
        leave: "/quit",
        asks: true,
        question: None,
        delegates: false,
    },
    Traits {
        name: "gemini",
        free: &["--yolo"],
        asking: &[],
        asking_env: &[],
        leave: "/quit",
        asks: true,
        question: Some("ask_user"),
        delegates: false,
    },
    Traits {
        name: "opencode",
        free: &[],
        asking: &[],
        asking_env: &[("OPENCODE_PERMISSION", r#"{"bash":"ask","edit":"ask"}"#)],
        leave: "/exit",
        asks: true,
        question: Some("question"),
        delegates: false,
    },
    Traits {
        name: "pi",
        free: &[],
        asking: &[],
        asking_env: &[],
        leave: "/quit",
        asks: false,
        question: None,
        delegates: false,
    },
];

/// What the endpoint answers where the words of a prompt are not enough: a question to the person, a sub-agent in the
/// background, and for Codex commands that are to leave its sandbox, about which alone it asks.
pub(crate) fn script(cli: &Traits) -> Value {
    let question = json!({ "questions": [{ "question": "Which one?", "header": "Pick", "type": "choice", "multiSelect": false,
        "options": [{ "label": "First", "description": "the first" }, { "label": "Second", "description": "the second" }] }] });
    let call = |name: &str, input: &Value| json!([{ "tool": { "name": name, "input": input } }]);
    let rule = |words: &str, calls: Value| json!({ "when": { "contains": words }, "turns": [{ "calls": calls }, { "text": "it is done" }] });
    let task = json!({ "description": "count slowly", "prompt": "run sleep 9\nsay counted", "subagent_type": "general-purpose",
        "run_in_background": true });
    let mut rules = vec![rule("delegate", call("Agent", &task))];
    rules.extend(cli.question.map(|tool| rule("ask me", call(tool, &question))));
    if cli.name == "codex" {
        for (words, line) in [
            ("run touch", "touch made.txt"),
            ("write new", "touch new.txt"),
            ("run mkdir", "mkdir made"),
        ] {
            let input = json!({ "cmd": line, "sandbox_permissions": "require_escalated", "justification": "scripted" });
            rules.push(rule(words, call("exec_command", &input)));
        }
    }
    json!({ "rules": rules })
}
