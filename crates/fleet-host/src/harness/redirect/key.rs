//! Whether a program has an API key, so that its requests are its user's to pay for one by one and may go by the meter
//! without being asked for.
//!
//! An account that somebody signed in to is left alone: its requests are paid otherwise, and its service may look at where
//! they come from. In doubt there is no key. So it is with what only a direct connection has: a program that trusts
//! other certificates than this machine does, or shows one of its own, would fail behind the meter.

use std::path::Path;

use serde_json::Value;

use super::{Why, folder, layers_of_claude, layers_of_opencode, logins_of, options, provider_of, set, text_of_toml};
use crate::harness::reporting::Surroundings;

/// Variables that change whom a program trusts, or as whom it is known.
const TRUST: [&str; 5] = [
    "NODE_EXTRA_CA_CERTS",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "CLAUDE_CODE_CLIENT_CERT",
    "CODEX_CA_CERTIFICATE",
    "CODEX_CLIENT_CERT",
];

/// Why requests of the program of the harness `name`, which can be pointed at the meter, do not go by it unless that is
/// asked for; none where they do.
pub fn why_not_by_itself(name: &str, around: &Surroundings<'_>) -> Option<Why> {
    if let Some(name) = TRUST.iter().find(|name| set(around, name).is_some()) {
        return Some(format!("`{name}` is set, which a program heeds and the meter does not"));
    }
    let found = match name {
        "claude" => claude(around),
        "codex" => codex(around),
        // It is pointed at the meter only where its settings choose a key.
        "gemini" => Ok(true),
        "opencode" => opencode(around),
        "pi" => pi(around),
        _ => Ok(false),
    };
    match found {
        Ok(true) => None,
        Ok(false) => Some("it has no API key".to_owned()),
        Err(why) => Some(why),
    }
}

fn claude(around: &Surroundings<'_>) -> Result<bool, Why> {
    const KEYS: [&str; 2] = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"];
    if KEYS.iter().any(|name| set(around, name).is_some()) {
        return Ok(true);
    }
    let layers = layers_of_claude(around)?;
    let names =
        |layer: &Value| layer["apiKeyHelper"].is_string() || KEYS.iter().any(|name| layer["env"][name].is_string());
    Ok(layers.iter().any(|(layer, _)| names(layer)))
}

fn codex(around: &Surroundings<'_>) -> Result<bool, Why> {
    let folder = folder(around, "CODEX_HOME", ".codex");
    let config = text_of_toml(around, &folder.join("config.toml"))?;
    let text = |value: Option<&toml::Value>| value.and_then(toml::Value::as_str).map(str::to_owned);
    let provider = text(config.get("model_provider")).unwrap_or_else(|| "openai".to_owned());
    let own = config.get("model_providers").and_then(|all| all.get(&provider));
    if let Some(own) = own {
        let named = text(own.get("env_key")).is_some_and(|name| set(around, &name).is_some());
        return Ok(named || own.get("experimental_bearer_token").is_some());
    }
    let auth = (around.read)(&folder.join("auth.json")).unwrap_or_default();
    let auth: Value = serde_json::from_str(&auth).unwrap_or_default();
    // With both it goes by the account.
    if auth["auth_mode"] == "chatgpt" && set(around, "CODEX_API_KEY").is_none() {
        return Err("it signs in by an account".to_owned());
    }
    Ok(true)
}

fn opencode(around: &Surroundings<'_>) -> Result<bool, Why> {
    let layers = layers_of_opencode(around)?;
    let of_options = options(around, "--model").into_iter().chain(options(around, "-m"));
    let of_settings = layers.iter().rev().filter_map(|layer| layer["model"].as_str());
    let chosen = of_options.chain(of_settings.map(str::to_owned)).next();
    let provider = chosen.and_then(|model| provider_of(&model));
    let data = set(around, "XDG_DATA_HOME").map_or_else(|| around.home.join(".local/share"), Into::into);
    let has_key = |name: &str| {
        let key = |layer: &Value| layer["provider"][name]["options"]["apiKey"].is_string();
        layers.iter().any(key)
    };
    one_of_many(around, provider, &data.join("opencode/auth.json"), &has_key)
}

fn pi(around: &Surroundings<'_>) -> Result<bool, Why> {
    let folder = folder(around, "PI_CODING_AGENT_DIR", ".pi/agent");
    let read = |name: &str| -> Value {
        let text = (around.read)(&folder.join(name)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    };
    let of_options = options(around, "--provider").into_iter();
    let of_model = options(around, "--model")
        .into_iter()
        .filter_map(|model| provider_of(&model));
    let usual = read("settings.json")["defaultProvider"].as_str().map(str::to_owned);
    let provider = of_options.chain(of_model).chain(usual).next();
    let models = read("models.json");
    let has_key = |name: &str| models["providers"][name]["apiKey"].is_string();
    one_of_many(around, provider, &folder.join("auth.json"), &has_key)
}

/// A program that knows many services: the one that it will ask has a key.
fn one_of_many(
    around: &Surroundings<'_>,
    provider: Option<String>,
    logins: &Path,
    has_key: &dyn Fn(&str) -> bool,
) -> Result<bool, Why> {
    const KEYS: [(&str, &str); 5] = [
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("openai", "OPENAI_API_KEY"),
        ("google", "GEMINI_API_KEY"),
        ("google", "GOOGLE_GENERATIVE_AI_API_KEY"),
        ("openrouter", "OPENROUTER_API_KEY"),
    ];
    let Some(provider) = provider else {
        return Err("nothing says which of its services it will ask: name a model".to_owned());
    };
    let login = &logins_of(around, logins)[&provider];
    if login["type"] == "oauth" {
        return Err(format!("it signs in to `{provider}` by an account"));
    }
    let by_variable = KEYS
        .iter()
        .any(|(name, key)| *name == provider && set(around, key).is_some());
    Ok(login.is_object() || by_variable || has_key(&provider))
}
