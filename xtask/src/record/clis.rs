//! How each agent program is made to talk to the endpoint and to keep quiet.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::Result;
use crate::run::io;

/// One agent program as the recordings need it.
pub(crate) struct Cli {
    pub(crate) name: &'static str,
    /// Its arguments with which nothing is asked, and those with which commands are.
    pub(crate) free: &'static [&'static str],
    pub(crate) asking: &'static [&'static str],
    /// What is typed to leave it.
    pub(crate) leave: &'static str,
    /// Whether it asks for permission at all.
    pub(crate) asks: bool,
    /// Whether its model can ask the person something.
    pub(crate) questions: bool,
    /// Whether its model can have a sub-agent work in the background.
    pub(crate) delegates: bool,
}

/// The five.
pub(crate) static CLIS: [Cli; 5] = [
    Cli {
        name: "claude",
        free: &[
            "--dangerously-skip-permissions",
            "--settings",
            "{\"skipDangerousModePermissionPrompt\":true}",
        ],
        asking: &[],
        leave: "/exit",
        asks: true,
        questions: true,
        delegates: true,
    },
    Cli {
        name: "codex",
        free: &["--dangerously-bypass-approvals-and-sandbox"],
        asking: &["--sandbox", "read-only", "--ask-for-approval", "on-request"],
        leave: "/quit",
        asks: true,
        questions: false,
        delegates: false,
    },
    Cli {
        name: "gemini",
        free: &["--yolo"],
        asking: &[],
        leave: "/quit",
        asks: true,
        questions: false,
        delegates: false,
    },
    Cli {
        name: "opencode",
        free: &[],
        asking: &[],
        leave: "/exit",
        asks: true,
        questions: false,
        delegates: false,
    },
    Cli {
        name: "pi",
        free: &["--provider", "scripted", "--model", "scripted"],
        asking: &["--provider", "scripted", "--model", "scripted"],
        leave: "/quit",
        asks: false,
        questions: false,
        delegates: false,
    },
];

/// What the endpoint answers where the words of a prompt are not enough: a question to the person, a sub-agent in the
/// background, and for Codex commands that are to leave its sandbox, about which alone it asks.
pub(crate) fn script(cli: &str) -> serde_json::Value {
    let question = json!({ "questions": [{ "question": "Which one?", "header": "Pick", "multiSelect": false,
        "options": [{ "label": "First", "description": "the first" }, { "label": "Second", "description": "the second" }] }] });
    let call = |name: &str, input: &serde_json::Value| json!([{ "tool": { "name": name, "input": input } }]);
    let rule = |words: &str, calls: serde_json::Value| json!({ "when": { "contains": words }, "turns": [{ "calls": calls }, { "text": "it is done" }] });
    let task = json!({ "description": "count slowly", "prompt": "run sleep 9\nsay counted", "subagent_type": "general-purpose",
        "run_in_background": true });
    let mut rules = vec![
        rule("ask me", call("AskUserQuestion", &question)),
        rule("delegate", call("Agent", &task)),
    ];
    if cli == "codex" {
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

/// A key that is nobody's.
const KEY: &str = "sk-ant-made-up-0000000000000000000000000";

/// The variables with which the programs find the endpoint at `url`.
pub(crate) fn variables(url: &str) -> Vec<(&'static str, String)> {
    let on = "1".to_owned();
    let mut variables = vec![
        ("ANTHROPIC_BASE_URL", url.to_owned()),
        ("ANTHROPIC_API_KEY", KEY.to_owned()),
        ("CLAUDE_CODE_MAX_RETRIES", "2".to_owned()),
        ("MODEL_KEY", "made-up".to_owned()),
        ("TMPDIR", "/var/tmp".to_owned()),
        ("PI_TELEMETRY", "0".to_owned()),
        ("GEMINI_API_KEY", "made-up".to_owned()),
        ("GOOGLE_GEMINI_BASE_URL", url.to_owned()),
        ("GEMINI_TELEMETRY_ENABLED", "false".to_owned()),
    ];
    let switches = [
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL",
        "DISABLE_TELEMETRY",
        "DISABLE_AUTOUPDATER",
        "DISABLE_ERROR_REPORTING",
        "IS_SANDBOX",
        "PI_OFFLINE",
        "OPENCODE_DISABLE_AUTOUPDATE",
        "OPENCODE_DISABLE_MODELS_FETCH",
        "OPENCODE_DISABLE_LSP_DOWNLOAD",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS",
        "OPENCODE_DISABLE_SHARE",
    ];
    variables.extend(switches.map(|name| (name, on.clone())));
    variables
}

/// Writes the settings of all five into `home`, for the endpoint at `url` and agents that work in `trusted`.
/// With `asking` OpenCode asks before it runs a command.
pub(crate) fn settings(home: &Path, url: &str, trusted: &[&Path], asking: bool) -> Result<()> {
    let write = |path: &str, text: String| -> Result<()> {
        let path = home.join(path);
        let folder = path.parent().unwrap_or(home);
        fs::create_dir_all(folder).map_err(io("make", folder))?;
        fs::write(&path, text).map_err(io("write", &path))
    };
    let mut projects = serde_json::Map::new();
    for path in trusted {
        projects.insert(path.display().to_string(), json!({ "hasTrustDialogAccepted": true }));
    }
    let claude = json!({
        "hasCompletedOnboarding": true,
        "theme": "dark",
        "customApiKeyResponses": { "approved": [&KEY[KEY.len() - 20..]], "rejected": [] },
        "projects": projects,
    });
    write(".claude.json", claude.to_string())?;
    let trust: String = trusted
        .iter()
        .map(|path| {
            format!(
                "[projects.{:?}]\ntrust_level = \"trusted\"\n",
                path.display().to_string()
            )
        })
        .collect();
    let codex = format!(
        "model = \"scripted\"\nmodel_provider = \"scripted\"\ncheck_for_update_on_startup = false\n\
         [model_providers.scripted]\nname = \"scripted\"\nbase_url = \"{url}/v1\"\nenv_key = \"MODEL_KEY\"\n\
         wire_api = \"responses\"\nrequest_max_retries = 2\nstream_max_retries = 1\nsupports_websockets = false\n\
         [analytics]\nenabled = false\n[feedback]\nenabled = false\n[otel]\nexporter = \"none\"\n\
         [features]\nplugins = false\napps = false\n{trust}"
    );
    write(".codex/config.toml", codex)?;
    let model = json!({ "id": "scripted", "contextWindow": 128_000, "maxTokens": 8000,
        "cost": { "input": 5, "output": 25, "cacheRead": 0.5, "cacheWrite": 6.25 } });
    let pi = json!({ "providers": { "scripted": { "baseUrl": format!("{url}/v1"), "api": "openai-completions",
        "apiKey": "made-up", "models": [model] } } });
    write(".pi/agent/models.json", pi.to_string())?;
    let mut opencode = json!({
        "autoupdate": false, "share": "disabled", "model": "scripted/scripted", "small_model": "scripted/scripted",
        "provider": { "scripted": { "npm": "@ai-sdk/openai-compatible", "name": "Scripted",
            "options": { "baseURL": format!("{url}/v1"), "apiKey": "made-up" },
            "models": { "scripted": { "name": "Scripted", "tool_call": true,
                "limit": { "context": 128_000, "output": 8000 } } } } },
    });
    if asking {
        opencode["permission"] = json!({ "bash": "ask", "edit": "ask" });
    }
    write(".config/opencode/opencode.json", opencode.to_string())?;
    let gemini = json!({
        "security": { "auth": { "selectedType": "gemini-api-key" }, "folderTrust": { "enabled": false } },
        "general": { "enableAutoUpdate": false, "enableAutoUpdateNotification": false },
        "privacy": { "usageStatisticsEnabled": false },
        "telemetry": { "enabled": false },
    });
    write(".gemini/settings.json", gemini.to_string())
}
