//! The settings: each key once, with its text, form and default; and how files, environment and flags make them.
//!
//! [`Config::KEYS`] and [`HarnessConfig::KEYS`] are the only list of keys. The structs, the first `config.toml`
//! ([`Config::template`]), the reference page ([`reference`]) and the hints in errors all come from it.

mod key;
mod layer;
mod page;
mod validate;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use fleet_core::{Error, Kind, Result};
use fleet_host::files;
use fleet_host::harness::{self, Harness};
use fleet_host::home::Home;
use fleet_host::lock::Lock;
use serde::{Deserialize, Serialize};
use toml::Value;

pub use key::{Key, Shape};
use layer::{Given, Layer, Place};
pub use page::reference;
pub use validate::{Finding, Level, validate};

/// Makes one struct of settings and its list of keys from the same lines.
macro_rules! settings {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $row:expr;)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: $type,)+
        }

        impl $name {
            /// Every key, in the order of the reference page.
            pub const KEYS: &'static [Key] =
                &[$(Key { name: stringify!($key), doc: &[$($doc),+], ..$row }),+];
        }
    };
}

settings! {
    /// The settings that hold, checked, with `~` expanded.
    Config {
        /// The repository that is meant where the current directory is in none.
        repo_root: Option<PathBuf> = Key::of(Shape::Path).example(r#""~/code/my-project""#);
        /// Where worktrees are checked out.
        worktree_root: PathBuf = Key::of(Shape::Path).default(r#""<FLEET_HOME>/worktrees""#).example(r#""~/worktrees""#);
        /// What the name of each tmux session begins with; the branch follows.
        tmux_prefix: String = Key::of(Shape::Text).default(r#""ai_""#).example(r#""work_""#);
        /// The harness of agents that are started without `--agent`: `claude`, `codex` (or `codecs`), `gemini`,
        /// `opencode`, `pi`, or the NAME of a `[harness.NAME]`.
        default_agent: String = Key::of(Shape::Harness).default(r#""claude""#).example(r#""codex""#).in_project();
        /// Arguments for every `claude`: one string that is split like a shell would, or an array of strings.
        claude_flags: Vec<String> = Key::of(Shape::Words)
            .default(r#""--dangerously-skip-permissions""#).example(r#""--permission-mode plan""#);
        /// Arguments for every `codex`, written like `claude_flags`.
        codex_flags: Vec<String> = Key::of(Shape::Words).default(r#""""#).example(r#""--sandbox workspace-write""#);
        /// Arguments for every `gemini`, written like `claude_flags`.
        gemini_flags: Vec<String> = Key::of(Shape::Words).default(r#""""#).example(r#""--yolo""#);
        /// Arguments for every `opencode`, written like `claude_flags`.
        opencode_flags: Vec<String> = Key::of(Shape::Words).default(r#""""#).example(r#""--agent plan""#);
        /// Arguments for every `pi`, written like `claude_flags`.
        pi_flags: Vec<String> = Key::of(Shape::Words).default(r#""""#).example(r#""--tools read,grep""#);
        /// Whether what a program asks of a new folder (does the user trust it, may it bypass permissions, may it use
        /// the API key in its environment) is answered Yes for its worktree and the main checkout. Claude Code
        /// keeps that in the user's own `.claude.json`: fleet adds these keys, and removes them with the agent.
        trust_worktrees: bool = Key::of(Shape::Switch).default("true").example("false");
        /// Whether `claude` may bypass permissions as root, which it otherwise refuses: its `IS_SANDBOX` is set.
        root_bypass: bool = Key::of(Shape::Switch).default("false").example("true");
        /// Files that are copied from the main checkout into each worktree, such as keys that git does not have.
        /// Paths are relative to the repository and cannot leave it.
        credential_files: Vec<String> = Key::of(Shape::Files)
            .default("[]").example(r#"[".env", "config/master.key"]"#).in_project();
        /// Shell commands that are run in each new worktree, in this order, before its agent starts.
        setup_commands: Vec<String> = Key::of(Shape::Texts)
            .default("[]").example(r#"["npm install", "npm run build"]"#).in_project();
        /// Whether to copy files only and to skip `setup_commands`.
        quick_setup: bool = Key::of(Shape::Switch).default("false").example("true").in_project();
        /// Whether each commit of an agent that works for a task gets the trailer `Fleet-Task:`, by hooks that git is given
        /// in the agent's environment. They run the repository's own hooks of the same names.
        commit_trailers: bool = Key::of(Shape::Switch).default("true").example("false");
        /// A program and its arguments, run once each time an agent begins to wait for somebody. It gets JSON on
        /// standard input and 10 seconds to live.
        on_waiting: Option<Vec<String>> = Key::of(Shape::Argv).example(r#"["notify-send", "an agent waits"]"#);
        /// The same, each time an agent has finished its turn.
        on_idle: Option<Vec<String>> = Key::of(Shape::Argv).example(r#"["notify-send", "an agent is done"]"#);
        /// The same, when an agent's program has ended.
        on_exit: Option<Vec<String>> = Key::of(Shape::Argv).example(r#"["notify-send", "an agent ended"]"#);
        /// The same, when 80 % of a ceiling is used, and when all of it is: an agent's, a task's, a round's, a run's, that
        /// of the day or the week; and when a run pauses or ends because a ceiling does not reach.
        on_budget: Option<Vec<String>> = Key::of(Shape::Argv).example(r#"["notify-send", "a budget is used up"]"#);
        /// How what agents use is counted. `transcript`: from what their programs tell. `proxy`: their requests go
        /// through fleet's meter on 127.0.0.1, which counts each exactly and refuses the next one when a budget is used
        /// up; an agent whose program cannot be pointed at the meter does not start then. `auto`: the proxy for an agent
        /// without a terminal whose program has an API key and can be pointed at the meter, the transcript for all
        /// others. Harnesses of your own are counted by what they tell.
        meter: MeterChoice = Key::of(Shape::Choice(&["auto", "transcript", "proxy"])).default(r#""auto""#).example(r#""transcript""#);
        /// What an agent that is started without `--budget` may spend while all agents together have a ceiling
        /// (`fleet budget set --per day`), in US dollars.
        agent_budget: u32 = Key::of(Shape::Number { least: 1, most: 1_000_000 }).default("5").example("2");
        /// The first port that fleet gives to agents. Each has a block of its own and finds the block's first port in
        /// `FLEET_PORT_BASE`.
        port_base: u16 = Key::of(Shape::Number { least: 1024, most: 60_000 }).default("20000").example("30000");
        /// How many ports each agent has.
        port_block: u16 = Key::of(Shape::Number { least: 1, most: 1000 }).default("10").example("20");
        /// How many blocks there are, and so how many agents can have ports at a time.
        port_blocks: u16 = Key::of(Shape::Number { least: 1, most: 10_000 }).default("500").example("200");
        /// How much the trash may hold before `list` and `doctor` say so, in megabytes. Nothing is deleted.
        trash_budget_mb: u64 = Key::of(Shape::Number { least: 0, most: 100_000_000 }).default("2048").example("512");
        /// How much of each agent's output is kept, in megabytes; the oldest goes first.
        output_limit_mb: u64 = Key::of(Shape::Number { least: 1, most: 1_000_000 }).default("64").example("256");
        /// How long `kill` waits after each polite request before it becomes impolite, in milliseconds.
        kill_grace_ms: u64 = Key::of(Shape::Number { least: 0, most: 600_000 }).default("3000").example("10000");
        /// Harnesses of your own, one table `[harness.NAME]` each. One that is named `claude` or `codex` takes the
        /// place of the built-in one.
        harness: BTreeMap<String, HarnessConfig> = Key::of(Shape::Harnesses).default("{}")
            .example(r#"{ echoer = { command = ["echoer"] } }"#);
    }
}

settings! {
    /// One `[harness.NAME]`.
    HarnessConfig {
        /// The program and its arguments.
        command: Vec<String> = Key::of(Shape::Argv).required().example(r#"["/opt/agents/echoer", "--color"]"#);
        /// How it takes a prompt: `argv` as the last argument, `paste` typed into its terminal, or `stdin`, which
        /// means without a terminal and one prompt only.
        prompt: PromptWay = Key::of(Shape::Choice(&["argv", "stdin", "paste"])).default(r#""argv""#).example(r#""paste""#);
        /// A regular expression that the line of the cursor matches while the program takes a prompt. Without it
        /// fleet never says that an agent is idle.
        ready: Option<String> = Key::of(Shape::Pattern).example(r#""^> ?$""#);
        /// The key that interrupts a turn, for `fleet prompt --interrupt`: `escape` or `ctrl-c`. Without it that is refused.
        interrupt: Option<InterruptKey> = Key::of(Shape::Choice(&["escape", "ctrl-c"])).example(r#""escape""#);
        /// Arguments that are added when a dead agent is resumed. Without them it starts anew.
        resume: Vec<String> = Key::of(Shape::Texts).default("[]").example(r#"["--continue"]"#);
        /// Arguments that choose a model; `{model}` stands for its name.
        model: Vec<String> = Key::of(Shape::Model).default("[]").example(r#"["--model", "{model}"]"#);
        /// How to install it, shown when the program is not found.
        install: Option<String> = Key::of(Shape::Text).example(r#""npm install -g echoer""#);
    }
}

/// A key that interrupts a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InterruptKey {
    /// Escape.
    Escape,
    /// Control and C.
    CtrlC,
}

/// How a harness takes a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptWay {
    /// As its last argument.
    #[default]
    Argv,
    /// On standard input; it has no terminal.
    Stdin,
    /// Pasted into its terminal.
    Paste,
}

/// How what agents use is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MeterChoice {
    /// By the proxy where that needs nobody's decision, else from what their programs tell.
    #[default]
    Auto,
    /// From what their programs tell.
    Transcript,
    /// By the proxy through which their requests go.
    Proxy,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The user's file.
    User(PathBuf),
    /// The file of the repository.
    Project(PathBuf),
    /// An environment variable.
    Env(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::User(path) | Origin::Project(path) => write!(f, "{}", path.display()),
            Origin::Env(name) => f.write_str(name),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

/// What the settings are made of.
pub struct Sources<'a> {
    /// The fleet home, an absolute path.
    pub home: &'a Path,
    /// The user's home folder, for `~`.
    pub user_home: &'a Path,
    /// The main checkout of the repository, if there is one.
    pub project: Option<&'a Path>,
    /// The caller's environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// What flags say, by key.
    pub overrides: &'a [(String, Value)],
}

/// The settings with where each comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// By the keys of [`Config::to_json`].
    pub origins: BTreeMap<String, Origin>,
}

impl Config {
    /// The values by key, null where unset; each harness is a key `harness.NAME`.
    pub fn to_json(&self) -> BTreeMap<String, serde_json::Value> {
        let Ok(serde_json::Value::Object(all)) = serde_json::to_value(self) else {
            return BTreeMap::new();
        };
        let mut flat = BTreeMap::new();
        for (key, value) in all {
            match value {
                serde_json::Value::Object(tables) => {
                    flat.extend(tables.into_iter().map(|(name, table)| (format!("{key}.{name}"), table)));
                }
                value => {
                    flat.insert(key, value);
                }
            }
        }
        flat
    }
}

/// The settings that hold, from the strongest to the weakest: flags, `FLEET_*`, the repository's file, the user's
/// file, defaults.
///
/// Errors (`Kind::Config`): the first mistake in the weakest layer that has one, with its file, line and key.
pub fn load(sources: &Sources<'_>) -> Result<Loaded> {
    let user = Home::at(sources.home).config();
    let mut values = defaults(Config::KEYS)?;
    values.extend(layer::read_file(Layer::User, &user)?);
    if let Some(project) = sources.project {
        values.extend(layer::read_file(
            Layer::Project { user: &user },
            &project_file(project),
        )?);
    }
    values.extend(layer::read_env(sources.env)?);
    values.extend(layer::read_overrides(sources.overrides)?);
    check_ports(&values)?;

    let mut origins = BTreeMap::new();
    let mut table = toml::Table::new();
    for (key, given) in values {
        if let Value::Table(harnesses) = &given.value {
            let names = harnesses.keys().map(|name| format!("{key}.{name}"));
            origins.extend(names.map(|name| (name, given.place.origin.clone())));
        } else {
            origins.insert(key.to_owned(), given.place.origin);
        }
        table.insert(key.to_owned(), given.value);
    }
    let mut config: Config = table.try_into().map_err(|error: toml::de::Error| {
        Error::internal(format!("checked settings do not fit: {}", error.message()))
    })?;
    config.expand(sources, origins.get("worktree_root") == Some(&Origin::Default));
    for key in Config::KEYS.iter().filter(|key| !matches!(key.shape, Shape::Harnesses)) {
        origins.entry(key.name.to_owned()).or_insert(Origin::Default);
    }
    Ok(Loaded { config, origins })
}

/// The file with the settings of the repository whose main checkout is `root`.
pub fn project_file(root: &Path) -> PathBuf {
    root.join(".fleet/config.toml")
}

/// Writes the first `config.toml` of `home`, with every key as a comment, and says whether it did. A file that
/// exists is never touched. Errors: the home cannot be written.
pub fn ensure_user_file(home: &Path) -> Result<bool> {
    let places = Home::at(home);
    let path = places.config();
    // A dangling link is the user's own, too.
    let exists = || path.symlink_metadata().is_ok();
    if exists() {
        return Ok(false);
    }
    files::create_private_dir("config.home", &places.locks())?;
    let _turn = Lock::take(&places.locks().join("config"))?;
    if exists() {
        return Ok(false);
    }
    files::write_atomic("config.template", &path, Config::template(home).as_bytes(), 0o600)?;
    Ok(true)
}

/// Refuses one credential file below `root` that cannot be copied safely.
pub fn check_copy(root: &Path, path: &str) -> Result<()> {
    let full = root.join(path);
    let fail = |why: &str| Err(Error::new(Kind::Config, format!("credential file `{path}`: {why}")));
    let Ok(real) = full.canonicalize() else {
        return fail(&format!("there is no such file in {}", root.display()));
    };
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    if !real.starts_with(&root) {
        return fail(&format!("it leads out of the repository, to {}", real.display()));
    }
    if !real.is_file() {
        return fail("it is no regular file");
    }
    Ok(())
}

/// The harness that ships with fleet under this name, with the user's arguments for it.
pub fn builtin_harness(config: &Config, name: &str) -> Option<Harness> {
    let flags = match name {
        "claude" => &config.claude_flags,
        "codex" => &config.codex_flags,
        "gemini" => &config.gemini_flags,
        "opencode" => &config.opencode_flags,
        "pi" => &config.pi_flags,
        _ => return None,
    };
    harness::builtin(name, flags)
}

/// The name that a harness goes by: `codecs` is `codex`.
pub fn canonical_harness(name: &str) -> &str {
    match name {
        "codecs" => "codex",
        other => other,
    }
}

impl Config {
    fn expand(&mut self, sources: &Sources<'_>, default_worktrees: bool) {
        let user_home = sources.user_home;
        if default_worktrees {
            self.worktree_root = Home::at(sources.home).worktrees();
        } else {
            self.worktree_root = expanded(&self.worktree_root, user_home);
        }
        self.repo_root = self.repo_root.take().map(|path| expanded(&path, user_home));
        let hooks = [
            &mut self.on_waiting,
            &mut self.on_idle,
            &mut self.on_exit,
            &mut self.on_budget,
        ];
        let commands = self.harness.values_mut().map(|harness| &mut harness.command);
        for argv in hooks.into_iter().flatten().chain(commands) {
            if let Some(program) = argv.first_mut().filter(|program| program.starts_with('~')) {
                *program = expanded(Path::new(program.as_str()), user_home).display().to_string();
            }
        }
    }
}

/// `path` with a leading `~` replaced by the user's home folder.
fn expanded(path: &Path, user_home: &Path) -> PathBuf {
    path.strip_prefix("~")
        .map_or_else(|_| path.to_owned(), |rest| user_home.join(rest).components().collect())
}

/// The keys of `keys` that have a default, in their checked form.
fn defaults(keys: &'static [Key]) -> Result<BTreeMap<&'static str, Given>> {
    let place = Place {
        origin: Origin::Default,
        line: None,
    };
    let set = keys.iter().filter_map(|key| key.default.map(|text| (key, text)));
    set.map(|(key, text)| {
        let bug = |why: &str| Error::internal(format!("the default of `{}`: {why}", key.name));
        let value: Value = text.parse().map_err(|error: toml::de::Error| bug(error.message()))?;
        // A placeholder is no absolute path; `load` puts the real one there.
        let value = if text.contains('<') {
            value
        } else {
            key.shape.check(value).map_err(|wrong| bug(&wrong.what))?
        };
        Ok((
            key.name,
            Given {
                value,
                place: place.clone(),
            },
        ))
    })
    .collect()
}

/// Refuses port blocks that go past the last port.
fn check_ports(values: &BTreeMap<&'static str, Given>) -> Result<()> {
    let number = |key: &str| {
        values
            .get(key)
            .and_then(|given| given.value.as_integer())
            .unwrap_or_default()
    };
    let (base, block, blocks) = (number("port_base"), number("port_block"), number("port_blocks"));
    if base + block * blocks <= 65_536 {
        return Ok(());
    }
    let ours = ["port_blocks", "port_block", "port_base"]
        .into_iter()
        .filter_map(|key| Some((key, values.get(key)?)));
    let (key, given) = ours
        .into_iter()
        .find(|(_, given)| given.place.origin != Origin::Default)
        .ok_or_else(|| Error::internal("the default ports go past the last port"))?;
    let message = format!(
        "{}: `{key}`: {blocks} blocks of {block} from port {base} on go past port 65535",
        given.place
    );
    Err(Error::new(Kind::Config, message).hint(format!("write `port_blocks = {}` or less", (65_536 - base) / block)))
}

#[cfg(test)]
mod tests;
