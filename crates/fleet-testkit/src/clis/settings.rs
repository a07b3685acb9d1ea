//! What each program must find in its HOME and environment to talk to an endpoint, ask nothing at its first start,
//! and keep quiet otherwise.
//!
//! Whether a folder may be trusted is such a question too. It is answered only where [`Setup::trust`] says so,
//! because answering it is fleet's own work.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::write_new;

/// A key that looks like one and is none.
const KEY: &str = "sk-ant-made-up-0000000000000000000000000000";
/// How many of a key's last characters Claude Code keeps of one that its user has approved.
const APPROVED_END: usize = 20;
/// The model and the provider, where they must have a name.
const NAME: &str = "scripted";

/// How a HOME is to be prepared.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The HOME. No settings of the programs may be in it yet.
    pub home: &'a Path,
    /// The endpoint, `http://127.0.0.1:PORT`.
    pub url: &'a str,
    /// Folders that are trusted, as if a person had said so. Claude Code trusts what is below them too; Codex wants
    /// the main checkout itself.
    pub trust: &'a [&'a Path],
    /// Whether files of the workspace may be written without a question.
    pub edits: bool,
}

/// Writes the settings of all five programs, and gives the variables that they want beside HOME.
///
/// A file that is there already is an error, and is left as it is.
pub fn prepare(setup: &Setup<'_>) -> io::Result<Vec<(&'static str, String)>> {
    for (path, text) in files(setup) {
        write_new(setup.home, path, &text)?;
    }
    Ok(variables(setup.url))
}

fn variables(url: &str) -> Vec<(&'static str, String)> {
    let given = [
        ("ANTHROPIC_BASE_URL", url),
        ("ANTHROPIC_API_KEY", KEY),
        ("MODEL_KEY", KEY),
        ("GOOGLE_GEMINI_BASE_URL", url),
        ("GEMINI_API_KEY", KEY),
        // A dead endpoint should be seen in seconds.
        ("CLAUDE_CODE_MAX_RETRIES", "2"),
    ];
    const QUIET: [&str; 12] = [
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL",
        "DISABLE_AUTOUPDATER",
        "DISABLE_ERROR_REPORTING",
        "DISABLE_TELEMETRY",
        "OPENCODE_DISABLE_AUTOUPDATE",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS",
        "OPENCODE_DISABLE_LSP_DOWNLOAD",
        "OPENCODE_DISABLE_MODELS_FETCH",
        "OPENCODE_DISABLE_SHARE",
        "PI_OFFLINE",
        "PI_SKIP_VERSION_CHECK",
    ];
    let off = [("GEMINI_TELEMETRY_ENABLED", "false"), ("PI_TELEMETRY", "0")];
    let quiet = QUIET.map(|name| (name, "1"));
    given
        .into_iter()
        .chain(quiet)
        .chain(off)
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

/// Paths below HOME, each with its text.
fn files(setup: &Setup<'_>) -> Vec<(&'static str, String)> {
    let Setup { url, trust, edits, .. } = *setup;
    let trust: Vec<String> = trust.iter().map(|folder| folder.display().to_string()).collect();
    let mut files = vec![
        (".claude.json", claude_state(&trust).to_string()),
        (".claude/settings.json", claude(edits).to_string()),
        (".codex/config.toml", codex(url, &trust)),
        (".pi/agent/models.json", pi_models(url).to_string()),
        (".pi/agent/settings.json", pi().to_string()),
        (".config/opencode/opencode.json", opencode(url).to_string()),
        (".gemini/settings.json", gemini(edits).to_string()),
    ];
    if !trust.is_empty() {
        files.push((".gemini/trustedFolders.json", gemini_trusted(&trust).to_string()));
    }
    files
}

/// What Claude Code keeps of its first start, which would otherwise ask for a theme and a login and fail without a
/// network.
fn claude_state(trust: &[String]) -> Value {
    let accepted = |folder: &String| (folder.clone(), json!({"hasTrustDialogAccepted": true}));
    let projects: Value = trust.iter().map(accepted).collect::<Map<_, _>>().into();
    json!({
        "hasCompletedOnboarding": true,
        "theme": "dark",
        "customApiKeyResponses": {"approved": [&KEY[KEY.len() - APPROVED_END..]], "rejected": []},
        "projects": projects,
    })
}

fn claude(edits: bool) -> Value {
    let mode = if edits { "acceptEdits" } else { "default" };
    json!({"permissions": {"defaultMode": mode}})
}

fn codex(url: &str, trust: &[String]) -> String {
    let url = Value::from(format!("{url}/v1"));
    let mut text = format!(
        r#"model = "{NAME}"
model_provider = "{NAME}"
check_for_update_on_startup = false

[model_providers.{NAME}]
name = "{NAME}"
base_url = {url}
env_key = "MODEL_KEY"
wire_api = "responses"
request_max_retries = 2
stream_max_retries = 1
supports_websockets = false

[analytics]
enabled = false

[feedback]
enabled = false

[otel]
exporter = "none"

[features]
plugins = false
apps = false
"#
    );
    for folder in trust {
        // A JSON string is a TOML string too.
        let folder = Value::from(folder.as_str());
        text.push_str(&format!("\n[projects.{folder}]\ntrust_level = \"trusted\"\n"));
    }
    text
}

fn pi_models(url: &str) -> Value {
    let model = json!({
        "id": NAME,
        "contextWindow": 128_000,
        "maxTokens": 8000,
        "cost": {"input": 5, "output": 25, "cacheRead": 0.5, "cacheWrite": 6.25},
    });
    json!({"providers": {NAME: {
        "baseUrl": format!("{url}/v1"),
        "api": "openai-completions",
        "apiKey": KEY,
        "models": [model],
    }}})
}

/// The keys for other programs would make Pi choose a vendor.
fn pi() -> Value {
    json!({"defaultProvider": NAME, "defaultModel": NAME})
}

fn opencode(url: &str) -> Value {
    let model = json!({
        "name": "Scripted",
        "tool_call": true,
        "cost": {"input": 5, "output": 25, "cache_read": 0.5, "cache_write": 6.25},
        "limit": {"context": 128_000, "output": 8000},
    });
    let provider = json!({
        "npm": "@ai-sdk/openai-compatible",
        "name": "Scripted",
        "options": {"baseURL": format!("{url}/v1"), "apiKey": KEY},
        "models": {NAME: model},
    });
    json!({
        "autoupdate": false,
        "share": "disabled",
        "model": format!("{NAME}/{NAME}"),
        "small_model": format!("{NAME}/{NAME}"),
        "provider": {NAME: provider},
    })
}

fn gemini(edits: bool) -> Value {
    let mode = if edits { "auto_edit" } else { "default" };
    json!({
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": true}},
        "general": {
            "enableAutoUpdate": false,
            "enableAutoUpdateNotification": false,
            "defaultApprovalMode": mode,
        },
        "privacy": {"usageStatisticsEnabled": false},
        "telemetry": {"enabled": false},
    })
}

fn gemini_trusted(trust: &[String]) -> Value {
    let trusted = trust.iter().map(|folder| (folder.clone(), json!("TRUST_FOLDER")));
    trusted.collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn setup(home: &Path) -> Setup<'_> {
        Setup {
            home,
            url: "http://127.0.0.1:9",
            trust: &[],
            edits: false,
        }
    }

    #[test]
    fn a_prepared_home_leads_to_the_endpoint_only() {
        let home = tempfile::tempdir().unwrap();
        let variables = prepare(&setup(home.path())).unwrap();
        assert!(variables.contains(&("ANTHROPIC_BASE_URL", "http://127.0.0.1:9".to_owned())));
        for (path, text) in files(&setup(home.path())) {
            assert_eq!(fs::read_to_string(home.path().join(path)).unwrap(), text);
            for (_, rest) in text.match_indices("://").map(|(at, _)| text.split_at(at + 3)) {
                assert!(rest.starts_with("127.0.0.1:9/v1"), "{path}: {rest}");
            }
            assert!(!text.contains("rust_level") && !text.contains("hasTrust"), "{path}");
        }
    }

    #[test]
    fn settings_that_are_there_stay_as_they_are() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".claude.json");
        fs::write(&path, "{}").unwrap();
        let error = prepare(&setup(home.path())).unwrap_err();
        assert!(error.to_string().contains(".claude.json"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
    }

    #[test]
    fn trust_is_for_the_folder_that_was_named() {
        let home = tempfile::tempdir().unwrap();
        let trusting = Setup {
            trust: &[Path::new("/a \"b\"")],
            ..setup(home.path())
        };
        let all: Vec<_> = files(&trusting);
        let text = |wanted: &str| &all.iter().find(|(path, _)| *path == wanted).unwrap().1;
        assert!(text(".claude.json").contains(r#""/a \"b\"":{"hasTrustDialogAccepted":true}"#));
        assert_eq!(text(".gemini/trustedFolders.json"), r#"{"/a \"b\"":"TRUST_FOLDER"}"#);
        assert!(text(".codex/config.toml").ends_with("[projects.\"/a \\\"b\\\"\"]\ntrust_level = \"trusted\"\n"));
    }
}
