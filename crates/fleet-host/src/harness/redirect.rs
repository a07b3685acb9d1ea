//! How a program is pointed at the meter: arguments, variables and files of fleet's own that are added to a launch.
//!
//! What the user has set is read to know where the program's requests would have gone, and is never changed. Where that
//! cannot be known for certain the program is not pointed elsewhere, and the reason is a sentence for people: a request
//! that went to the wrong service would be worse than one that is counted from the transcript.
//!
//! - Claude Code and Gemini CLI take the address from a variable; what their settings say goes before it.
//! - Codex takes it from its configuration, of which arguments are the last layer.
//! - OpenCode has a last layer of settings in a variable, one address for each provider.
//! - Pi is told by an extension, one address for each provider.

mod key;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::own_arguments;
use super::reporting::Surroundings;

pub use self::key::why_not_by_itself;

/// What is added to a launch, and where requests go from the meter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// The base URL of each service, by its name in the program's address.
    pub routes: BTreeMap<String, String>,
    /// Arguments behind the program.
    pub args: Vec<String>,
    /// Variables in place of those of the same name.
    pub env: Vec<(String, String)>,
    /// Files to be there before the program starts: path and text. All are below [`Surroundings::folder`].
    pub files: Vec<(PathBuf, String)>,
}

/// Why a program cannot be pointed at the meter: a sentence without its subject, such as `it uses Bedrock`.
pub type Why = String;

/// How the program of the harness `name` is pointed at `base`, an address behind which the name of a route follows.
pub fn redirect(name: &str, around: &Surroundings<'_>, base: &str) -> Result<Redirect, Why> {
    let redirect = match name {
        "claude" => claude(around, base)?,
        "codex" => codex(around, base)?,
        "gemini" => gemini(around, base)?,
        "opencode" => opencode(around, base)?,
        "pi" => pi(around, base)?,
        _ => return Err("fleet does not know where it takes the address of its service from".to_owned()),
    };
    // The meter goes to the services directly, and to itself a program would go by them.
    const PROXIES: [&str; 3] = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"];
    for proxy in PROXIES {
        if [proxy.to_owned(), proxy.to_lowercase()]
            .iter()
            .any(|name| set(around, name).is_some())
        {
            return Err(format!("`{proxy}` is set, and the meter goes through no other proxy"));
        }
    }
    match redirect.routes.values().find(|address| !is_address(address)) {
        Some(address) => Err(format!("`{address}` is no address of a service")),
        None => Ok(redirect),
    }
}

fn claude(around: &Surroundings<'_>, base: &str) -> Result<Redirect, Why> {
    const NAME: &str = "ANTHROPIC_BASE_URL";
    const CLOUDS: [&str; 3] = [
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_VERTEX",
        "CLAUDE_CODE_USE_FOUNDRY",
    ];
    let layers = layers_of_claude(around)?;
    for name in CLOUDS {
        let named = layers.iter().any(|(layer, _)| !layer["env"][name].is_null());
        if named || set(around, name).is_some_and(|value| value != "0") {
            return Err(format!("`{name}` is set: it speaks to a cloud in another way"));
        }
    }
    if let Some((_, place)) = layers.iter().find(|(layer, _)| !layer["env"][NAME].is_null()) {
        return Err(format!("{place} sets `{NAME}`, which goes before what fleet says"));
    }
    let upstream = set(around, NAME).unwrap_or_else(|| "https://api.anthropic.com".to_owned());
    Ok(Redirect {
        routes: route("anthropic", upstream),
        env: vec![(NAME.to_owned(), format!("{base}/anthropic"))],
        ..Redirect::default()
    })
}

/// The settings of Claude Code, each with its place.
fn layers_of_claude(around: &Surroundings<'_>) -> Result<Vec<(Value, String)>, Why> {
    let folder = folder(around, "CLAUDE_CONFIG_DIR", ".claude");
    let files = [
        folder.join("settings.json"),
        around.cwd.join(".claude/settings.json"),
        around.cwd.join(".claude/settings.local.json"),
        PathBuf::from("/etc/claude-code/managed-settings.json"),
    ];
    let mut layers = Vec::new();
    for path in files {
        if let Some(text) = (around.read)(&path) {
            layers.push((json_of(&path, &text)?, path.display().to_string()));
        }
    }
    for given in options(around, "--settings") {
        let text = match given.trim_start().starts_with('{') {
            true => Some(given.clone()),
            false => (around.read)(&around.cwd.join(&given)),
        };
        let settings = text.and_then(|text| serde_json::from_str(&text).ok());
        layers.push((
            settings.ok_or("its `--settings` cannot be read")?,
            "`--settings`".to_owned(),
        ));
    }
    Ok(layers)
}

fn codex(around: &Surroundings<'_>, base: &str) -> Result<Redirect, Why> {
    let folder = folder(around, "CODEX_HOME", ".codex");
    let (own, _) = own_arguments(around.command);
    let chosen = |arg: &String| {
        let key = arg.split('=').next().unwrap_or_default().trim();
        matches!(
            key,
            "--profile" | "-p" | "--oss" | "profile" | "model_provider" | "openai_base_url"
        ) || key.starts_with("model_providers.")
    };
    if let Some(arg) = own.iter().find(|arg| chosen(arg)) {
        return Err(format!("its argument `{arg}` chooses a service"));
    }
    let config = text_of_toml(around, &folder.join("config.toml"))?;
    let local = text_of_toml(around, &around.cwd.join(".codex/config.toml"))?;
    let names = ["profile", "model_provider", "model_providers", "openai_base_url"];
    if names.iter().any(|name| local.contains_key(*name)) {
        return Err(format!(
            "{} chooses a service",
            around.cwd.join(".codex/config.toml").display()
        ));
    }
    if config.contains_key("profile") {
        return Err("its configuration has a `profile`".to_owned());
    }
    let text = |value: Option<&toml::Value>| value.and_then(toml::Value::as_str).map(str::to_owned);
    let provider = text(config.get("model_provider")).unwrap_or_else(|| "openai".to_owned());
    if !is_name(&provider) {
        return Err(format!("its provider has the name `{provider}`"));
    }
    let table = config.get("model_providers").and_then(|all| all.get(&provider));
    let (key, upstream) = match table {
        Some(table) => {
            let url = text(table.get("base_url"));
            let url = url.ok_or_else(|| format!("its provider `{provider}` has no `base_url`"))?;
            if text(table.get("wire_api")).is_some_and(|api| api != "responses" && api != "chat") {
                return Err(format!(
                    "its provider `{provider}` speaks in a way that fleet does not read"
                ));
            }
            (format!("model_providers.{provider}.base_url"), url)
        }
        None if provider == "openai" => {
            let auth = (around.read)(&folder.join("auth.json")).unwrap_or_default();
            let auth: Value = serde_json::from_str(&auth).unwrap_or_default();
            if auth["OPENAI_API_KEY"].as_str().is_none() && set(around, "CODEX_API_KEY").is_none() {
                return Err("it has no API key: with a ChatGPT login its requests go another way".to_owned());
            }
            let url = text(config.get("openai_base_url")).or_else(|| set(around, "OPENAI_BASE_URL"));
            let url = url.unwrap_or_else(|| "https://api.openai.com/v1".to_owned());
            ("openai_base_url".to_owned(), url)
        }
        None => return Err(format!("fleet does not know the address of its provider `{provider}`")),
    };
    // A JSON string is a TOML string too.
    let address = Value::from(format!("{base}/{provider}"));
    Ok(Redirect {
        routes: route(&provider, upstream),
        args: vec!["-c".to_owned(), format!("{key}={address}")],
        ..Redirect::default()
    })
}

fn gemini(around: &Surroundings<'_>, base: &str) -> Result<Redirect, Why> {
    const NAME: &str = "GOOGLE_GEMINI_BASE_URL";
    let folders = [around.home.join(".gemini"), around.cwd.join(".gemini")];
    let mut by_key = false;
    for folder in &folders {
        let path = folder.join("settings.json");
        let Some(text) = (around.read)(&path) else { continue };
        let settings = json_of(&path, &text)?;
        if let Some(chosen) = settings["security"]["auth"]["selectedType"].as_str() {
            by_key = chosen == "gemini-api-key";
        }
    }
    if !by_key || set(around, "GOOGLE_GENAI_USE_VERTEXAI").is_some() {
        return Err("its settings do not choose an API key (`security.auth.selectedType`)".to_owned());
    }
    let places = folders.iter().map(PathBuf::as_path).chain([around.cwd, around.home]);
    for path in places.map(|folder| folder.join(".env")) {
        if (around.read)(&path).is_some_and(|text| text.contains(NAME)) {
            return Err(format!("{} sets `{NAME}`", path.display()));
        }
    }
    let upstream = set(around, NAME).unwrap_or_else(|| "https://generativelanguage.googleapis.com".to_owned());
    Ok(Redirect {
        routes: route("google", upstream),
        env: vec![(NAME.to_owned(), format!("{base}/google"))],
        ..Redirect::default()
    })
}

/// Where providers are that need no address in the settings of Pi and OpenCode. OpenCode wants the version in it.
const PROVIDERS: [(&str, &str, &str); 4] = [
    ("anthropic", "https://api.anthropic.com", "https://api.anthropic.com/v1"),
    ("openai", "https://api.openai.com/v1", "https://api.openai.com/v1"),
    (
        "google",
        "https://generativelanguage.googleapis.com/v1beta",
        "https://generativelanguage.googleapis.com/v1beta",
    ),
    (
        "openrouter",
        "https://openrouter.ai/api/v1",
        "https://openrouter.ai/api/v1",
    ),
];

/// OpenCode's last layer of settings.
const LAYER: &str = "OPENCODE_CONFIG_CONTENT";

fn opencode(around: &Surroundings<'_>, base: &str) -> Result<Redirect, Why> {
    let data = set(around, "XDG_DATA_HOME").map_or_else(|| around.home.join(".local/share"), PathBuf::from);
    let layers = layers_of_opencode(around)?;
    let mut last = layers.last().cloned().unwrap_or_default();
    let mut needed: Vec<String> = Vec::new();
    let mut urls: BTreeMap<String, String> = PROVIDERS
        .iter()
        .map(|(name, _, url)| ((*name).to_owned(), (*url).to_owned()))
        .collect();
    for layer in &layers {
        for (name, provider) in layer["provider"].as_object().into_iter().flatten() {
            needed.push(name.clone());
            if let Some(url) = provider["options"]["baseURL"].as_str() {
                urls.insert(name.clone(), url.to_owned());
            }
        }
        let models = [&layer["model"], &layer["small_model"]]
            .into_iter()
            .filter_map(Value::as_str);
        needed.extend(models.filter_map(provider_of));
    }
    let models = options(around, "--model").into_iter().chain(options(around, "-m"));
    needed.extend(models.filter_map(|model| provider_of(&model)));
    needed.extend(logins(around, &data.join("opencode/auth.json")));
    let routes = known(urls, &needed)?;
    for name in routes.keys() {
        last["provider"][name]["options"]["baseURL"] = json!(format!("{base}/{name}"));
    }
    Ok(Redirect {
        env: vec![(LAYER.to_owned(), last.to_string())],
        routes,
        ..Redirect::default()
    })
}

/// The settings of OpenCode; the last of them is that of its variable.
fn layers_of_opencode(around: &Surroundings<'_>) -> Result<Vec<Value>, Why> {
    let config = set(around, "XDG_CONFIG_HOME").map_or_else(|| around.home.join(".config"), PathBuf::from);
    let top = around
        .cwd
        .ancestors()
        .find(|folder| (around.exists)(&folder.join(".git")));
    let project = around.cwd.ancestors();
    let project: Vec<&Path> = project
        .take_while(|folder| top.is_some_and(|top| folder.starts_with(top)))
        .collect();
    let mut files: Vec<PathBuf> = ["config.json", "opencode.json", "opencode.jsonc"]
        .iter()
        .map(|name| config.join("opencode").join(name))
        .collect();
    files.extend(set(around, "OPENCODE_CONFIG").map(PathBuf::from));
    for folder in project.iter().rev() {
        files.extend([folder.join("opencode.json"), folder.join("opencode.jsonc")]);
    }
    let mut layers = Vec::new();
    for path in files {
        if let Some(text) = (around.read)(&path) {
            layers.push(json_of(&path, &text)?);
        }
    }
    let last = match set(around, LAYER) {
        Some(text) => serde_json::from_str(&text).map_err(|_| format!("its `{LAYER}` is no JSON"))?,
        None => Value::Object(Map::new()),
    };
    layers.push(last);
    Ok(layers)
}

fn pi(around: &Surroundings<'_>, base: &str) -> Result<Redirect, Why> {
    let folder = folder(around, "PI_CODING_AGENT_DIR", ".pi/agent");
    let read = |name: &str| -> Result<Value, Why> {
        let path = folder.join(name);
        (around.read)(&path).map_or(Ok(Value::Null), |text| json_of(&path, &text))
    };
    let mut needed: Vec<String> = Vec::new();
    let mut urls: BTreeMap<String, String> = PROVIDERS
        .iter()
        .map(|(name, url, _)| ((*name).to_owned(), (*url).to_owned()))
        .collect();
    for (name, provider) in read("models.json")?["providers"].as_object().into_iter().flatten() {
        needed.push(name.clone());
        if let Some(url) = provider["baseUrl"].as_str() {
            urls.insert(name.clone(), url.to_owned());
        }
        let models = provider["models"].as_array().into_iter().flatten();
        if models.into_iter().any(|model| !model["baseUrl"].is_null()) {
            return Err(format!("a model of its provider `{name}` has an address of its own"));
        }
    }
    needed.extend(read("settings.json")?["defaultProvider"].as_str().map(str::to_owned));
    needed.extend(options(around, "--provider"));
    needed.extend(options(around, "--model").iter().filter_map(|model| provider_of(model)));
    needed.extend(logins(around, &folder.join("auth.json")));
    let routes = known(urls, &needed)?;
    let calls: String = routes
        .keys()
        .map(|name| {
            let address = json!({ "baseUrl": format!("{base}/{name}") });
            format!("  pi.registerProvider({}, {address});\n", json!(name))
        })
        .collect();
    let path = around.folder.join("fleet-pi-meter.ts");
    Ok(Redirect {
        args: vec!["--extension".to_owned(), path.display().to_string()],
        files: vec![(path, format!("export default function (pi) {{\n{calls}}}\n"))],
        routes,
        ..Redirect::default()
    })
}

/// `urls`, where all that are `needed` are among them and each can be a part of an address.
fn known(urls: BTreeMap<String, String>, needed: &[String]) -> Result<BTreeMap<String, String>, Why> {
    if let Some(name) = needed.iter().find(|name| !urls.contains_key(*name)) {
        return Err(format!("fleet does not know the address of its provider `{name}`"));
    }
    match urls.keys().find(|name| !is_name(name)) {
        Some(name) => Err(format!("its provider has the name `{name}`")),
        None => Ok(urls),
    }
}

/// The providers that the user has logged in to, each with what it keeps of that.
fn logins_of(around: &Surroundings<'_>, path: &Path) -> Value {
    let text = (around.read)(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn logins(around: &Surroundings<'_>, path: &Path) -> Vec<String> {
    let logins = logins_of(around, path);
    logins
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

/// The provider of a model that is written `provider/model`.
fn provider_of(model: &str) -> Option<String> {
    model.split_once('/').map(|(provider, _)| provider.to_owned())
}

/// The values of an option in the program's own arguments.
fn options(around: &Surroundings<'_>, option: &str) -> Vec<String> {
    let (own, _) = own_arguments(around.command);
    let behind = own.windows(2).filter(|two| two[0] == option).map(|two| two[1].clone());
    let within = own
        .iter()
        .filter_map(|arg| arg.strip_prefix(option)?.strip_prefix('=').map(str::to_owned));
    behind.chain(within).collect()
}

fn route(name: &str, upstream: String) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), upstream)])
}

/// A variable that says something.
fn set(around: &Surroundings<'_>, name: &str) -> Option<String> {
    (around.var)(name).filter(|value| !value.trim().is_empty())
}

/// The folder of the program's settings.
fn folder(around: &Surroundings<'_>, variable: &str, usual: &str) -> PathBuf {
    set(around, variable).map_or_else(|| around.home.join(usual), PathBuf::from)
}

fn text_of_toml(around: &Surroundings<'_>, path: &Path) -> Result<toml::Table, Why> {
    let text = (around.read)(path).unwrap_or_default();
    text.parse().map_err(|_| format!("{} is no TOML", path.display()))
}

fn json_of(path: &Path, text: &str) -> Result<Value, Why> {
    serde_json::from_str(text).map_err(|_| format!("{} is no plain JSON", path.display()))
}

fn is_name(name: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    !name.is_empty() && name.chars().all(fits)
}

fn is_address(address: &str) -> bool {
    let rest = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let host = rest.split('/').next().unwrap_or_default();
        let plain = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '{' | '}' | '$' | '"' | '\\');
        !host.is_empty() && !host.contains('@') && !rest.contains(['?', '#']) && rest.chars().all(plain)
    })
}

#[cfg(test)]
mod tests;
