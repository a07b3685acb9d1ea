//! Starting agents: names, workspaces, supervisors, sessions; and putting everything back when that fails.
//!
//! The order makes every crash recoverable. The agent's lock is taken first and passes to its supervisor, so a
//! reservation whose lock is free was cut off. The record is written before the world is touched, so whatever
//! exists has a record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use fleet_core::agent::{Agent, Phase, Standing, State, Until, Workspace};
use fleet_core::{Error, Kind, Result, name};
use fleet_host::exec::find_program;
use fleet_host::files;
use fleet_host::git::{self, BranchMode, Repo};
use fleet_host::harness::{CommandLine, Harness, Launch};
use fleet_host::lock::Lock;
use fleet_host::supervise::journal;
use fleet_host::supervise::launch::launch;
use fleet_host::supervise::prompt::check_text;
use fleet_host::supervise::spec::{self, Spec};
use fleet_host::tmux::{NewSession, Opened};
use fleet_store::{PortRange, Reservation};

use crate::app::App;
use crate::caller::Caller;
use crate::config::{self, Config};
use crate::{end, kept};

/// Size of a terminal that nobody looks at yet.
pub const ROWS: u16 = 50;
/// Columns of a terminal that nobody looks at yet.
pub const COLS: u16 = 160;

/// What holds for all agents of one request.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The harness, or several to be dealt round, separated by commas.
    pub agent: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Where the worktrees start: a commit, branch or tag.
    pub base: Option<String>,
    /// Use branches that exist.
    pub existing: bool,
    /// Work in the caller's directory.
    pub here: bool,
    /// Copy files, but skip the setup commands.
    pub quick: bool,
    /// Go on when a setup command fails.
    pub keep_going: bool,
    /// Variables for the child: `NAME` from the caller or `NAME=VALUE`.
    pub env: Vec<String>,
    /// The state that the caller is going to wait for.
    pub until: Option<Until>,
}

/// One agent that is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its branch or label.
    pub branch: String,
    /// Its first prompt.
    pub prompt: Option<String>,
}

/// What was made of one [`Wanted`].
#[derive(Debug)]
pub struct Outcome {
    /// Its branch or label.
    pub branch: String,
    /// The agent, or why there is none.
    pub result: Result<Agent>,
}

/// An agent about to be launched.
struct Job {
    agent: Agent,
    harness: Harness,
    line: CommandLine,
    prompt: Option<String>,
    lock: Option<Lock>,
}

/// What all launches of one request share.
struct Setting<'a> {
    app: &'a App,
    caller: &'a Caller,
    repo: &'a Repo,
    config: &'a Config,
    options: &'a Options,
    env: Vec<(String, String)>,
    base: Option<String>,
}

/// Starts all of `wanted` in `batch`. With `exclusive` a live batch of that name is an error.
///
/// Everything that can be checked is checked before anything is made, and such an error makes nothing. What
/// fails later is put back alone; the others stay.
pub fn start(
    app: &App,
    caller: &Caller,
    options: &Options,
    wanted: &[Wanted],
    batch: &str,
    exclusive: bool,
) -> Result<Vec<Outcome>> {
    for each in wanted {
        match options.here {
            true => check_label(&each.branch)?,
            false => name::check_branch(&each.branch)?,
        }
    }
    let repo = match app.repo(caller) {
        Ok(repo) => repo,
        Err(_) if options.here => git::Repo::none(&caller.cwd),
        Err(error) => return Err(error),
    };
    let config = app.config(caller, Some(&repo))?;
    let harnesses = deal(app, caller, &config, options)?;
    if let Some(blind) = harnesses.iter().find(|harness| harness.ready.is_none())
        && matches!(options.until, Some(Until::State(State::Ready | State::Idle)))
    {
        let name = &blind.name;
        return Err(Error::usage(format!(
            "`{name}` has no `ready` rule, so nobody can tell when it is ready or idle"
        ))
        .hint(format!(
            "wait for `working` or `exited`, or add `ready` to `[harness.{name}]`: `fleet config edit`"
        )));
    }
    let env = child_env(caller, &options.env)?;
    let base = if options.here {
        None
    } else {
        Some(git::resolve_base(&repo, options.base.as_deref())?)
    };
    if !options.here {
        check_branches(&repo, options, wanted)?;
        check_copies(&repo, &config)?;
    }
    let env_names = options
        .env
        .iter()
        .map(|each| each.split('=').next().unwrap_or_default().to_owned())
        .collect();
    let env_names: Vec<String> = env_names;

    let mut jobs = Vec::with_capacity(wanted.len());
    let mut reservations = Vec::with_capacity(wanted.len());
    for (index, each) in wanted.iter().enumerate() {
        let harness = harnesses[index % harnesses.len()].clone();
        let prompt = each.prompt.as_deref().map(check_text).transpose()?;
        let conversation = (!harness.conversation.is_empty()).then(|| app.new_uuid());
        let line = harness.command_line(&Launch {
            model: options.model.as_deref(),
            prompt: prompt.as_deref(),
            conversation: conversation.as_deref(),
            resume: false,
        })?;
        reservations.push(Reservation {
            id: app.new_agent_id(),
            repo: repo.common_dir.clone(),
            repo_name: repo.name.clone(),
            branch: each.branch.clone(),
            workspace: if options.here {
                Workspace::Here
            } else {
                Workspace::Worktree
            },
            here_dir: options.here.then(|| caller.cwd.clone()),
            session_prefix: config.tmux_prefix.clone(),
            worktree_root: config.worktree_root.clone(),
            batch_id: batch.to_owned(),
            batch_exclusive: exclusive,
            harness: harness.name.clone(),
            model: options.model.clone(),
            headless: harness.is_headless(),
            env_names: env_names.clone(),
            conversation,
            base: base.clone(),
            made_branch: !options.here && !options.existing,
            now: app.now(),
            ports: PortRange {
                first: config.port_base,
                step: config.port_block,
                count: config.port_blocks,
            },
        });
        jobs.push((harness, line, prompt));
    }

    let store = app.store()?;
    let mut locks = Vec::with_capacity(reservations.len());
    for reservation in &reservations {
        files::create_private_dir("create.agent-dir", &app.home.agent_dir(&reservation.id))?;
        locks.push(Lock::try_take(&app.home.agent_lock(&reservation.id))?);
    }
    let reserved = store.reserve("create.reserve", &reservations, &|path| path.symlink_metadata().is_ok());
    let agents = reserved.inspect_err(|_| {
        for reservation in &reservations {
            let _ = files::remove_tree("create.unreserve", &app.home.agent_dir(&reservation.id));
        }
    })?;
    let jobs: Vec<Job> = agents
        .into_iter()
        .zip(jobs)
        .zip(locks)
        .map(|((agent, (harness, line, prompt)), lock)| Job {
            agent,
            harness,
            line,
            prompt,
            lock,
        })
        .collect();
    let setting = Setting {
        app,
        caller,
        repo: &repo,
        config: &config,
        options,
        env,
        base,
    };
    let outcomes = run_all(&setting, jobs);
    let outcomes = open_sessions(&setting, outcomes);
    app.publish();
    Ok(outcomes)
}

/// Works through the jobs with as many threads as cores.
fn run_all(setting: &Setting<'_>, jobs: Vec<Job>) -> Vec<Outcome> {
    let threads = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .min(jobs.len())
        .max(1);
    if threads == 1 {
        return jobs.into_iter().map(|job| run_one(setting, job)).collect();
    }
    let next = AtomicUsize::new(0);
    let slots: Vec<Mutex<Option<Job>>> = jobs.into_iter().map(|job| Mutex::new(Some(job))).collect();
    let results: Vec<Mutex<Option<Outcome>>> = slots.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(slot) = slots.get(index) else { return };
                    let job = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                    if let Some(job) = job {
                        let outcome = run_one(setting, job);
                        *results[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                    }
                }
            });
        }
    });
    results
        .into_iter()
        .filter_map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}

fn run_one(setting: &Setting<'_>, mut job: Job) -> Outcome {
    let branch = job.agent.branch.clone();
    let result = make_and_launch(setting, &mut job);
    let result = match result {
        Ok(pid) => {
            let mut agent = job.agent;
            agent.phase = Phase::Started;
            agent.pid = Some(pid);
            agent.generation = 1;
            Ok(agent)
        }
        Err(error) => {
            drop(job.lock.take());
            Err(put_back(setting.app, setting.caller, &job.agent, error))
        }
    };
    Outcome { branch, result }
}

fn make_and_launch(setting: &Setting<'_>, job: &mut Job) -> Result<u32> {
    let (app, agent) = (setting.app, &job.agent);
    if let (Workspace::Worktree, Some(base)) = (agent.workspace, &setting.base) {
        let mode = if setting.options.existing {
            BranchMode::Existing
        } else {
            BranchMode::New
        };
        if let Some(parent) = agent.worktree.parent() {
            files::create_private_dir("create.worktree-root", parent)?;
        }
        git::add_worktree(setting.repo, &agent.branch, &agent.worktree, base, mode)?;
        git::checkout(&agent.worktree)?;
    }
    let lock = job
        .lock
        .take()
        .ok_or_else(|| Error::internal("the agent's lock is held by somebody else"))?;
    let prompt = job.prompt.clone().map(|text| (app.new_id(), text));
    let quick = setting.options.quick || setting.config.quick_setup;
    let worktree = agent.workspace == Workspace::Worktree;
    let spec = Spec {
        copy: if worktree {
            setting.config.credential_files.clone()
        } else {
            Vec::new()
        },
        copy_from: setting.repo.main_root.clone().unwrap_or_default(),
        setup: if worktree && !quick {
            setting.config.setup_commands.clone()
        } else {
            Vec::new()
        },
        keep_going: setting.options.keep_going,
        ..bare_spec(
            app,
            setting.caller,
            setting.config,
            agent,
            &job.harness,
            &job.line,
            &setting.env,
            prompt,
            1,
        )?
    };
    let branch = agent.branch.clone();
    let progress = setting.caller.progress.clone();
    // The copy of the record costs a sync, which the start of the program hides.
    let pid = std::thread::scope(|scope| {
        scope.spawn(|| kept::keep(app, agent));
        launch(&app.executable, &spec, lock, |command| {
            progress(&format!("{branch}: {command}"))
        })
    })?;
    match app.store()?.set_started("create.started", &agent.id, pid, 1)? {
        true => Ok(pid),
        // Whoever ends it ends its supervisor, too.
        false => Err(Error::conflict(format!(
            "`{}` was ended while it was being started",
            agent.branch
        ))),
    }
}

/// The specification of a launch without files to copy and commands to run.
#[expect(clippy::too_many_arguments, reason = "a specification is made of exactly these")]
pub(crate) fn bare_spec(
    app: &App,
    caller: &Caller,
    config: &Config,
    agent: &Agent,
    harness: &Harness,
    line: &CommandLine,
    env: &[(String, String)],
    prompt: Option<(String, String)>,
    generation: u32,
) -> Result<Spec> {
    let socket = app.runtime()?.socket(&agent.id);
    let mut env = env.to_vec();
    let marks = [
        ("FLEET_AGENT", agent.id.to_string()),
        ("FLEET_BRANCH", agent.branch.clone()),
        ("FLEET_SOCKET", socket.display().to_string()),
        ("FLEET_PORT_BASE", agent.port_base.to_string()),
        ("FLEET_HOME", app.home.root().display().to_string()),
        ("PWD", agent.worktree.display().to_string()),
    ];
    for (name, value) in marks {
        env.retain(|(each, _)| each != name);
        env.push((name.to_owned(), value));
    }
    let (prompt_in_argv, prompt_to_paste) = match prompt {
        Some((id, _)) if line.holds_prompt => (Some(id), None),
        other => (None, other),
    };
    let argv = program_path(&line.argv, caller)?;
    Ok(Spec {
        v: spec::VERSION,
        agent: agent.id.clone(),
        branch: agent.branch.clone(),
        harness: agent.harness.clone(),
        generation,
        agent_dir: app.home.agent_dir(&agent.id),
        socket,
        cwd: agent.worktree.clone(),
        argv,
        env,
        headless: agent.headless,
        stdin: line.stdin.clone(),
        copy: Vec::new(),
        copy_from: PathBuf::new(),
        setup: Vec::new(),
        keep_going: false,
        ready: harness.ready.clone(),
        prompt_in_argv,
        prompt_to_paste,
        rows: ROWS,
        cols: COLS,
        on_waiting: config.on_waiting.clone(),
        on_idle: config.on_idle.clone(),
        on_exit: config.on_exit.clone(),
        grace_ms: config.kill_grace_ms,
        output_limit: config.output_limit_mb * 1_000_000,
    })
}

/// Opens the tmux sessions of the agents that run, all in one call, and finds those that have ended meanwhile.
fn open_sessions(setting: &Setting<'_>, outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let started: Vec<&Agent> = outcomes.iter().filter_map(|each| each.result.as_ref().ok()).collect();
    let opened = sessions_for(setting.app, setting.caller, &started);
    if let Err(error) = opened {
        // The agents run, and tmux is only a view: `attach` opens it when it can.
        (setting.caller.progress)(&no_sessions(&error));
    }
    let check = |outcome: Outcome| match outcome.result {
        Ok(agent) => {
            let result = still_runs(setting, agent);
            Outcome {
                branch: outcome.branch,
                result,
            }
        }
        Err(_) => outcome,
    };
    outcomes.into_iter().map(check).collect()
}

/// Opens the tmux session of each interactive agent of `agents` that has none.
pub(crate) fn sessions_for(app: &App, caller: &Caller, agents: &[&Agent]) -> Result<()> {
    let view = app.executable.canonicalize().unwrap_or_else(|_| app.executable.clone());
    let mut sessions = Vec::new();
    for agent in agents.iter().filter(|agent| !agent.headless) {
        sessions.push(NewSession {
            name: agent.session.clone(),
            cwd: PathBuf::from("/"),
            argv: view_command(app, &view, agent)?,
            rows: ROWS,
            cols: COLS,
        });
    }
    if sessions.is_empty() {
        return Ok(());
    }
    let tmux = app.tmux(caller)?;
    tmux.ensure_conf()?;
    let opened = tmux.new_sessions("create.sessions", &sessions)?;
    let failed = opened.into_iter().find_map(|each| match each {
        Opened::Failed(error) => Some(error),
        _ => None,
    });
    failed.map_or(Ok(()), Err)
}

/// The warning that agents run without their tmux sessions.
pub(crate) fn no_sessions(error: &Error) -> String {
    let hint = error
        .hint
        .as_deref()
        .map(|hint| format!("; {hint}"))
        .unwrap_or_default();
    format!("warning: no tmux sessions: {}{hint}", error.message)
}

/// The command line of a view on `agent`.
pub(crate) fn view_command(app: &App, executable: &Path, agent: &Agent) -> Result<Vec<String>> {
    let socket = app.runtime()?.socket(&agent.id);
    Ok(vec![
        executable.display().to_string(),
        "__view".into(),
        socket.display().to_string(),
        agent.branch.clone(),
    ])
}

/// An agent whose program failed at once is no started agent: its last output is shown and all is put back.
///
/// One that came up, or whose end the caller is going to wait for, has been an agent, however short its life.
fn still_runs(setting: &Setting<'_>, agent: Agent) -> Result<Agent> {
    let waited_for = setting.options.until == Some(Until::Exited);
    let seen = setting.app.see(&agent);
    match failed_at_once(setting.app, &agent, seen.state).filter(|_| !waited_for) {
        Some(error) => {
            let error = error.hint(format!("try it by hand in {}", setting.caller.cwd.display()));
            Err(put_back(setting.app, setting.caller, &agent, error))
        }
        None => Ok(agent),
    }
}

/// The error that the program of `agent` amounts to, when it has failed before it came up; with its last output.
pub(crate) fn failed_at_once(app: &App, agent: &Agent, state: State) -> Option<Error> {
    let State::Exited(code) = state else {
        return None;
    };
    let standing = Standing::fold(&journal::read(&app.home.agent_dir(&agent.id)).unwrap_or_default());
    if code == 0 || standing.at_prompt.is_some() {
        return None;
    }
    let text = crate::ops::logs::text(app, agent, 20).unwrap_or_default().join("\n");
    Some(Error::failed(format!("`{}` ended at once with exit code {code}", agent.harness)).detail(text))
}

/// Ends what was begun of `agent` and gives the error to show.
fn put_back(app: &App, caller: &Caller, agent: &Agent, error: Error) -> Error {
    // A branch that appeared meanwhile is not ours to delete.
    let made_branch = agent.made_branch && error.kind != Kind::Conflict;
    let agent = &Agent {
        made_branch,
        ..agent.clone()
    };
    let options = end::Options {
        force: true,
        delete_branch: agent.made_branch,
        forget: true,
        ..end::Options::default()
    };
    match end::end(app, caller, agent, &options) {
        Ok(ended) => match ended.salvage {
            Some(salvage) => Error {
                hint: Some(format!("what it left is saved: `fleet salvage restore {}`", salvage.id)),
                ..error
            },
            None => error,
        },
        // Somebody else has ended it.
        Err(second) if second.kind == Kind::Conflict => error,
        Err(second) => {
            let hint = format!("{}; run `fleet list --repair` to clear up", second.message);
            Error {
                hint: Some(hint),
                ..error
            }
        }
    }
}

/// The harnesses that `--agent x,y` names, each installed.
fn deal(app: &App, caller: &Caller, config: &Config, options: &Options) -> Result<Vec<Harness>> {
    let names = options.agent.as_deref().unwrap_or(&config.default_agent);
    let mut harnesses = Vec::new();
    for each in names.split(',').map(str::trim) {
        let harness = app.harness(config, each)?;
        program_path(&harness.command, caller).map_err(|error| match &harness.install {
            Some(install) => Error {
                hint: Some(format!("install it: `{install}`")),
                ..error
            },
            None => error.hint(format!(
                "correct `command` of `[harness.{}]`: `fleet config edit`",
                harness.name
            )),
        })?;
        harnesses.push(harness);
    }
    Ok(harnesses)
}

/// `argv` with its program as a path, found on the caller's `PATH`.
pub(crate) fn program_path(argv: &[String], caller: &Caller) -> Result<Vec<String>> {
    let (program, args) = argv
        .split_first()
        .ok_or_else(|| Error::usage("the harness has an empty command"))?;
    let found = find_program(program, caller.var("PATH").unwrap_or("/usr/bin:/bin"));
    let path = found.ok_or_else(|| Error::unavailable(format!("`{program}` is not installed or not on PATH")))?;
    let path = std::iter::once(path.display().to_string());
    Ok(path.chain(args.iter().cloned()).collect())
}

/// The environment of the children: the caller's, without what belongs to the caller's own place, and with what
/// `--env` gives. Errors: a variable that the caller does not have.
pub(crate) fn child_env(caller: &Caller, given: &[String]) -> Result<Vec<(String, String)>> {
    const OWN: [&str; 10] = [
        "TMUX",
        "TMUX_PANE",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "LINES",
        "COLUMNS",
        "CLAUDECODE",
        "TERM_PROGRAM",
    ];
    const MARKS: [&str; 2] = ["FLEET_AGENT", "FLEET_ROLE"];
    let mut env: BTreeMap<String, String> = caller
        .env
        .iter()
        .filter(|(name, _)| !OWN.contains(&name.as_str()) && !name.starts_with("FLEET_"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for each in given {
        let (name, value) = match each.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => {
                let value = caller.var(each).ok_or_else(|| {
                    Error::usage(format!("the variable `{each}` is not set"))
                        .hint(format!("set it here: `--env {each}=VALUE`"))
                })?;
                (each.as_str(), value.to_owned())
            }
        };
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\0') {
            return Err(Error::usage(format!("`{name}` is no name of a variable"))
                .hint("write `--env NAME` or `--env NAME=VALUE`"));
        }
        if MARKS.contains(&name) {
            return Err(
                Error::usage(format!("`{name}` is fleet's own variable: it tells whose a process is"))
                    .hint("choose another name, such as `MY_ROLE`"),
            );
        }
        env.insert(name.to_owned(), value);
    }
    env.insert("TERM".to_owned(), "xterm-256color".to_owned());
    env.insert("COLORTERM".to_owned(), "truecolor".to_owned());
    Ok(env.into_iter().collect())
}

fn check_label(label: &str) -> Result<()> {
    let bad = label.is_empty() || label.starts_with('-') || label.chars().any(|c| c.is_control()) || label.len() > 200;
    match bad {
        true => {
            Err(Error::usage(format!("`{label}` is no label")).hint("use letters, digits and dashes, such as `docs`"))
        }
        false => Ok(()),
    }
}

/// Refuses branches that exist (or, with `--existing`, that do not, or are checked out).
fn check_branches(repo: &Repo, options: &Options, wanted: &[Wanted]) -> Result<()> {
    for each in wanted {
        git::check_new_branch(repo, &each.branch, options.existing)?;
        let below = format!("{}/", each.branch);
        if let Some(other) = wanted.iter().find(|other| other.branch.starts_with(&below)) {
            let message = format!("`{}` and `{}` cannot both be branches", each.branch, other.branch);
            return Err(Error::conflict(message).hint("git keeps branches as files and folders; rename one of them"));
        }
    }
    Ok(())
}

/// Refuses credential files that are missing, no files, or links out of the repository.
fn check_copies(repo: &Repo, config: &Config) -> Result<()> {
    let Some(root) = &repo.main_root else {
        return match config.credential_files.first() {
            None => Ok(()),
            Some(path) => Err(Error::new(
                Kind::Config,
                format!(
                    "credential file `{path}`: {} has no main checkout to copy it from",
                    repo.name
                ),
            )
            .hint("empty `credential_files` for it: `fleet config edit`")),
        };
    };
    for path in &config.credential_files {
        config::check_copy(root, path)
            .map_err(|error| error.hint("correct `credential_files`: `fleet config edit`"))?;
    }
    Ok(())
}
