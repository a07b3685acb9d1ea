//! What every operation stands on: the home, the store, the clock, ids, tmux and the settings of a repository.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use fleet_core::agent::{Agent, Phase, State};
use fleet_core::id::{AgentId, base32};
use fleet_core::outcome::Outcome;
use fleet_core::price::Prices;
use fleet_core::target::{self, Candidate};
use fleet_core::usage::Usage;
use fleet_core::{Error, Kind, Result, Time};
use fleet_host::git::{self, Repo};
use fleet_host::harness::sign::Signs;
use fleet_host::harness::trust::Trust;
use fleet_host::harness::{self, Harness, PromptBy};
use fleet_host::home::{Home, RuntimeDir};
use fleet_host::lock::Lock;
use fleet_host::supervise::client::Client;
use fleet_host::supervise::journal;
use fleet_host::tmux::Tmux;
use fleet_store::Store;

use crate::caller::Caller;
use crate::config::{self, Config, HarnessConfig, InterruptKey, PromptWay};

/// The service layer of one process.
pub struct App {
    /// Where fleet keeps its things.
    pub home: Home,
    /// The user's home folder, for `~`.
    pub user_home: PathBuf,
    /// The executable that supervisors and views are started from.
    pub executable: PathBuf,
    runtime_hint: Option<PathBuf>,
    runtime: OnceLock<RuntimeDir>,
    store: OnceLock<Store>,
    opening: Mutex<()>,
    clock: fn() -> Time,
}

/// How an agent stands, as seen without asking anybody.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its state.
    pub state: State,
    /// Whether its supervisor lives.
    pub alive: bool,
    /// When the state was entered; none before the first fact.
    pub since: Option<Time>,
    /// How its last run without a terminal ended, and what was said about it.
    pub outcome: Option<(Outcome, String)>,
    /// The program's own id of its conversation, as it told it last.
    pub conversation: Option<String>,
    /// What it has used, as far as its program tells.
    pub usage: Vec<Usage>,
}

impl App {
    /// The service layer over `home`. `runtime_hint` is the user's runtime folder, where they have one.
    pub fn new(home: Home, user_home: PathBuf, runtime_hint: Option<PathBuf>) -> Self {
        Self {
            home,
            user_home,
            // The running executable, even when its file was replaced by an update meanwhile.
            executable: PathBuf::from("/proc/self/exe"),
            runtime_hint,
            runtime: OnceLock::new(),
            store: OnceLock::new(),
            opening: Mutex::new(()),
            clock: system_time,
        }
    }

    /// The time.
    pub fn now(&self) -> Time {
        (self.clock)()
    }

    /// Random bytes for ids.
    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        // A machine without random numbers cannot run anything else here either.
        getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
        bytes
    }

    /// A new agent id.
    pub fn new_agent_id(&self) -> AgentId {
        AgentId::from_random(&self.random())
    }

    /// A new id for a request or a salvage.
    pub fn new_id(&self) -> String {
        base32(&self.random::<12>(), 12)
    }

    /// Eight random hexadecimal digits, for batches.
    pub fn new_hex(&self) -> String {
        fleet_core::id::hex(&self.random::<4>())
    }

    /// A new random UUID (version 4), as harnesses want for a conversation.
    pub fn new_uuid(&self) -> String {
        let mut bytes = self.random::<16>();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = fleet_core::id::hex(&bytes);
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    /// Whether the store was used.
    pub(crate) fn has_store(&self) -> bool {
        self.store.get().is_some()
    }

    /// The store, opened at its first use. The home and its settings file are made with it.
    pub fn store(&self) -> Result<&Store> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let _turn = self
            .opening
            .lock()
            .map_err(|_| Error::internal("a thread failed while it opened the store"))?;
        if self.store.get().is_none() {
            self.home.prepare()?;
            config::ensure_user_file(self.home.root())?;
            let _ = self.store.set(Store::open(&self.home.db())?);
        }
        self.store
            .get()
            .ok_or_else(|| Error::internal("the store did not open"))
    }

    /// The folder of the sockets.
    pub fn runtime(&self) -> Result<&RuntimeDir> {
        if self.runtime.get().is_none() {
            let _ = self.runtime.set(self.home.runtime_dir(self.runtime_hint.as_deref())?);
        }
        self.runtime.get().ok_or_else(|| Error::internal("no runtime folder"))
    }

    /// fleet's own tmux server, started with the harmless part of `caller`'s environment.
    pub fn tmux(&self, caller: &Caller) -> Result<Tmux> {
        const KEPT: [&str; 6] = ["PATH", "HOME", "LANG", "SHELL", "USER", "TZ"];
        let kept = |name: &str| KEPT.contains(&name) || name.starts_with("LC_");
        let env = caller.env.iter().filter(|(name, _)| kept(name));
        let env: Vec<(String, String)> = env.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Tmux::new(self.runtime()?.tmux_socket(), self.home.tmux_conf(), &env))
    }

    /// The repository that `caller` stands in, else the configured `repo_root`.
    pub fn repo(&self, caller: &Caller) -> Result<Repo> {
        let error = match git::discover(&caller.cwd) {
            Ok(repo) => return Ok(repo),
            Err(error) => error,
        };
        match self.config(caller, None)?.repo_root {
            Some(root) => git::discover(&root).map_err(|inner| {
                inner
                    .context(format!("`repo_root` is {}", root.display()))
                    .hint("correct it: `fleet config edit`")
            }),
            None => Err(error),
        }
    }

    /// The settings that hold for `repo`, or without a repository.
    pub fn config(&self, caller: &Caller, repo: Option<&Repo>) -> Result<Config> {
        Ok(self.loaded_config(caller, repo)?.config)
    }

    /// The settings that hold for `repo`, each with where it comes from.
    pub fn loaded_config(&self, caller: &Caller, repo: Option<&Repo>) -> Result<config::Loaded> {
        let env = |name: &str| caller.env.get(name).cloned();
        config::load(&config::Sources {
            home: self.home.root(),
            user_home: &self.user_home,
            project: repo.and_then(|repo| repo.main_root.as_deref()),
            env: &env,
            overrides: &[],
        })
    }

    /// The user's own table of prices, as text and read; none where there is none.
    ///
    /// # Errors
    /// `Config`: it cannot be read, or is no table of prices.
    pub fn own_prices(&self) -> Result<Option<(String, Prices)>> {
        let path = self.home.prices();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fleet_host::files::io_error("read", &path, &error)),
        };
        let prices = Prices::parse(&text, &path.display().to_string())?;
        Ok(Some((text, prices)))
    }

    /// The prices in use: the table that fleet comes with, and the user's own before it.
    ///
    /// # Errors
    /// Those of [`App::own_prices`].
    pub fn prices(&self) -> Result<Prices> {
        let own = self.own_prices()?.map(|(_, own)| own);
        Ok(Prices::builtin().with(own.unwrap_or_default()))
    }

    /// The harness called `name`, from the settings or built in.
    pub fn harness(&self, config: &Config, name: &str) -> Result<Harness> {
        let name = config::canonical_harness(name);
        if let Some(own) = config.harness.get(name) {
            return Ok(own_harness(name, own));
        }
        config::builtin_harness(config, name).ok_or_else(|| {
            let mut known: Vec<&str> = harness::BUILTIN.to_vec();
            known.extend(config.harness.keys().map(String::as_str));
            let error = Error::usage(format!("there is no harness `{name}`"));
            match fleet_core::nearest::nearest(name, known.iter().copied(), 1).first() {
                Some(near) => error.hint(format!("did you mean `{near}`? Known are {}", known.join(", "))),
                None => error.hint(format!(
                    "known are {}; add your own as `[harness.{name}]`: `fleet config edit`",
                    known.join(", ")
                )),
            }
        })
    }

    /// The harness called `name`, without a terminal if that is asked for. Error: nobody knows how it runs so.
    pub fn harness_for(&self, config: &Config, name: &str, headless: bool) -> Result<Harness> {
        let harness = self.harness(config, name)?;
        if !headless || harness.is_headless() {
            return Ok(harness);
        }
        if config.harness.contains_key(&harness.name) {
            let name = &harness.name;
            return Err(
                Error::usage(format!("nobody knows how `{name}` runs without a terminal")).hint(format!(
                    "if it reads its prompt from standard input, say `prompt = \"stdin\"` in `[harness.{name}]`: \
                     `fleet config edit`"
                )),
            );
        }
        harness.without_terminal()
    }

    /// The live agents that `targets` and `batch` name, in order, each once.
    pub fn select(&self, caller: &Caller, targets: &[String], batch: Option<&str>) -> Result<Vec<Agent>> {
        if targets.is_empty() && batch.is_none() {
            return Err(Error::usage("no agent is named").hint("name some, such as `fix-42` or `auth-*`: `fleet list`"));
        }
        let live = self.store()?.agents_live()?;
        self.pick(caller, live, targets, batch)
    }

    /// The one agent that `target` names; an ended one when no live one has the name.
    pub fn select_any(&self, caller: &Caller, target: &str) -> Result<Agent> {
        let all = self.store()?.agents_all()?;
        let (live, ended): (Vec<Agent>, Vec<Agent>) = all.into_iter().partition(|agent| agent.phase != Phase::Ended);
        let targets = [target.to_owned()];
        let found = match self.pick(caller, live, &targets, None) {
            Err(error) if error.kind == Kind::NotFound => {
                // Of ended agents of one branch the newest is meant.
                let mut newest: Vec<Agent> = Vec::new();
                for agent in ended {
                    if agent.id.as_str() == target
                        || !newest
                            .iter()
                            .any(|each| each.repo == agent.repo && each.branch == agent.branch)
                    {
                        newest.push(agent);
                    }
                }
                self.pick(caller, newest, &targets, None).map_err(|_| error)?
            }
            other => other?,
        };
        match <[Agent; 1]>::try_from(found) {
            Ok([agent]) => Ok(agent),
            Err(many) => {
                let names: Vec<&str> = many.iter().map(|agent| agent.branch.as_str()).collect();
                Err(
                    Error::usage(format!("`{target}` fits {} agents: {}", many.len(), names.join(", ")))
                        .hint("name one of them"),
                )
            }
        }
    }

    /// As [`App::select`]; a target or batch that no live agent fits means ended ones whose branches are still there.
    pub fn select_also_ended(&self, caller: &Caller, targets: &[String], batch: Option<&str>) -> Result<Vec<Agent>> {
        if targets.is_empty() && batch.is_none() {
            return self.select(caller, targets, batch);
        }
        let all = self.store()?.agents_all()?;
        let (live, ended): (Vec<Agent>, Vec<Agent>) = all.into_iter().partition(|agent| agent.phase != Phase::Ended);
        // Of ended agents of one branch the newest is meant, which comes first.
        let mut left: Vec<Agent> = Vec::new();
        for agent in ended {
            let taken = |each: &Agent| each.repo == agent.repo && each.branch == agent.branch;
            let is_there = git::branch_exists(&agent.repo, &agent.branch).unwrap_or(false);
            if is_there && !live.iter().chain(&left).any(taken) {
                left.push(agent);
            }
        }
        let each = targets.iter().map(|target| (std::slice::from_ref(target), None));
        let mut found: Vec<Agent> = Vec::new();
        for (targets, batch) in each.chain(batch.map(|batch| (&[][..], Some(batch)))) {
            let agents = match self.pick(caller, live.clone(), targets, batch) {
                Err(error) if error.kind == Kind::NotFound => {
                    self.pick(caller, left.clone(), targets, batch).map_err(|_| error)?
                }
                other => other?,
            };
            for agent in agents {
                if !found.iter().any(|each| each.id == agent.id) {
                    found.push(agent);
                }
            }
        }
        Ok(found)
    }

    fn pick(&self, caller: &Caller, agents: Vec<Agent>, targets: &[String], batch: Option<&str>) -> Result<Vec<Agent>> {
        let here = git::discover(&caller.cwd).ok().map(|repo| repo.common_dir);
        let candidate = |agent: &Agent| Candidate {
            id: agent.id.clone(),
            repo_name: agent.repo_name.clone(),
            branch: agent.branch.clone(),
            here: here.as_ref() == Some(&agent.repo),
        };
        let candidates: Vec<Candidate> = agents.iter().map(candidate).collect();
        let mut wanted: Vec<AgentId> = Vec::new();
        for target in targets {
            wanted.extend(target::resolve(target, &candidates)?);
        }
        if let Some(batch) = batch {
            let members = agents
                .iter()
                .filter(|agent| agent.batch_id == batch)
                .map(|agent| agent.id.clone());
            let before = wanted.len();
            wanted.extend(members);
            if wanted.len() == before {
                let batches = agents.iter().map(|agent| agent.batch_id.as_str());
                let error = Error::not_found(format!("there is no batch `{batch}`"));
                return Err(match fleet_core::nearest::nearest(batch, batches, 1).first() {
                    Some(near) => error.hint(format!("did you mean `--batch {near}`?")),
                    None => error.hint("run `fleet list --grouped` to see the batches"),
                });
            }
        }
        let mut seen = std::collections::HashSet::new();
        wanted.retain(|id| seen.insert(id.clone()));
        let mut by_id: std::collections::HashMap<AgentId, Agent> =
            agents.into_iter().map(|agent| (agent.id.clone(), agent)).collect();
        Ok(wanted.iter().filter_map(|id| by_id.remove(id)).collect())
    }

    /// How `agent` stands: two looks at files, no process started, nobody disturbed.
    pub fn see(&self, agent: &Agent) -> Seen {
        let folder = self.home.agent_dir(&agent.id);
        let alive = Lock::is_held(&self.home.agent_lock(&agent.id));
        let (last, told) = journal::glance(&folder);
        let written = last.as_ref().and_then(|entry| entry.state.parse::<State>().ok());
        let state = match (written, alive) {
            (Some(State::Exited(code)), _) => State::Exited(code),
            (Some(state), true) => state,
            (None, true) => State::Starting,
            (_, false) => State::Lost,
        };
        Seen {
            state,
            alive,
            since: last.map(|entry| entry.at),
            outcome: told.outcome,
            conversation: told.conversation,
            usage: told.used,
        }
    }

    /// A connection to the supervisor of `agent`.
    pub fn client(&self, agent: &Agent) -> Result<Client> {
        Client::connect(&self.runtime()?.socket(&agent.id))
    }

    /// Publishes `state.json`. It is for scripts and never read back, so a failure is no reason to fail.
    pub fn publish(&self) {
        if let Ok(store) = self.store() {
            let _ = store.publish_state("publish.state", &self.home.state_json());
        }
    }
}

fn own_harness(name: &str, own: &HarnessConfig) -> Harness {
    Harness {
        name: name.to_owned(),
        command: own.command.clone(),
        prompt: match own.prompt {
            PromptWay::Argv => PromptBy::Argv,
            PromptWay::Stdin => PromptBy::Stdin,
            PromptWay::Paste => PromptBy::Paste,
        },
        model: own.model.clone(),
        conversation: Vec::new(),
        resume: own.resume.clone(),
        resume_last: Vec::new(),
        conversations: Vec::new(),
        dashes: false,
        signs: own.ready.as_deref().map(Signs::prompt_only).unwrap_or_default(),
        interrupt: match own.interrupt {
            None => String::new(),
            Some(InterruptKey::Escape) => "\x1b".to_owned(),
            Some(InterruptKey::CtrlC) => "\x03".to_owned(),
        },
        clear: String::new(),
        env: Vec::new(),
        install: own.install.clone(),
        trust: Trust::Unasked,
        tested: "",
        limits: &[],
    }
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the service layer")]
fn system_time() -> Time {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Time(
        i64::try_from(since.as_millis())
            .unwrap_or(i64::MAX)
            .saturating_add(staged_jump()),
    )
}

/// Milliseconds by which a test lets the clock jump: no process may set the clock of the machine that tests run on.
#[cfg(debug_assertions)]
#[expect(clippy::disallowed_methods, reason = "a test's seam, in debug builds only")]
fn staged_jump() -> i64 {
    static JUMP: OnceLock<i64> = OnceLock::new();
    let read = || std::env::var("FLEET_TEST_CLOCK_JUMP_MS").ok()?.parse().ok();
    *JUMP.get_or_init(|| read().unwrap_or(0))
}

#[cfg(not(debug_assertions))]
const fn staged_jump() -> i64 {
    0
}

/// The folder that a path of the user means: absolute as it is, else below `cwd`.
pub fn absolute(cwd: &Path, path: &Path) -> PathBuf {
    cwd.join(path)
}
