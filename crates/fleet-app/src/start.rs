//! Starting agents: names, workspaces, supervisors, sessions; and putting everything back when that fails.
//!
//! The order makes every crash recoverable. The agent's lock is taken first and passes to its supervisor, so a
//! reservation whose lock is free was cut off. The record is written before the world is touched, so whatever
//! exists has a record.

mod checks;

use std::thread;

use fleet_core::agent::{Agent, Phase, State, Until, Workspace};
use fleet_core::budget::{Cap, Limits};
use fleet_core::profile::Class;
use fleet_core::task::TaskId;
use fleet_core::{Error, Kind, Result, name};
use fleet_host::files;
use fleet_host::git::{self, BranchMode, Repo};
use fleet_host::harness::{CommandLine, Harness, Launch};
use fleet_host::lock::Lock;
use fleet_host::parallel;
use fleet_host::supervise::launch::launch;
use fleet_host::supervise::prompt::check_text;
use fleet_host::supervise::spec::Spec;
use fleet_store::{PortRange, Reservation};

use crate::app::App;
use crate::caller::Caller;
use crate::config::Config;
use crate::engine::pipeline::CONTRACT;
use crate::pipelines::Under;
use crate::trust::{self, Asker};
use crate::{budgets, child, end, kept, pipelines, profile, sessions, task, up};

/// What holds for all agents of one request.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The harness, or several to be dealt round, separated by commas.
    pub agent: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The task that they work for.
    pub task: Option<TaskId>,
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
    /// Without a terminal.
    pub headless: bool,
    /// What they may spend together.
    pub budget: Option<Cap>,
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
    env: Vec<(String, String)>,
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
    base: Option<String>,
    /// What each may use beside money, where a contract says so.
    counts: Limits,
    /// One agent alone: its session is opened beside its launch. Those of several are opened together, by one tmux.
    alone: bool,
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
            true => checks::check_label(&each.branch)?,
            false => name::check_branch(&each.branch)?,
        }
    }
    let repo = match app.repo(caller) {
        Ok(repo) => repo,
        Err(_) if options.here => git::Repo::none(&caller.cwd),
        Err(error) => return Err(error),
    };
    let config = app.config(caller, Some(&repo))?;
    let harnesses = checks::deal(app, caller, &config, options)?;
    if let Some(blind) = harnesses.iter().find(|harness| harness.signs.rules.is_empty())
        && matches!(options.until, Some(Until::State(State::Ready | State::Idle)))
    {
        let name = &blind.name;
        if blind.is_headless() {
            let message = format!("`{name}` without a terminal is never ready or idle: its run ends");
            return Err(Error::usage(message).hint("wait for its end: `--wait exited`"));
        }
        return Err(Error::usage(format!(
            "`{name}` has no `ready` rule, so nobody can tell when it is ready or idle"
        ))
        .hint(format!(
            "wait for `working` or `exited`, or add `ready` to `[harness.{name}]`: `fleet config edit`"
        )));
    }
    let under = pipelines::under(app, caller, options.budget, wanted.len(), batch)?;
    let given = under.given.clone();
    let checked = Checked {
        repo,
        config,
        harnesses,
        under,
    };
    let done = start_within(app, caller, options, wanted, (batch, exclusive), checked);
    if let Some(given) = given
        && app.store()?.agents_all()?.iter().all(|agent| agent.batch_id != batch)
    {
        app.store()?.grant_take_back("grant.take-back", &given)?;
    }
    done
}

/// What is known before anything is made.
struct Checked {
    repo: Repo,
    config: Config,
    harnesses: Vec<Harness>,
    under: Under,
}

fn start_within(
    app: &App,
    caller: &Caller,
    options: &Options,
    wanted: &[Wanted],
    (batch, exclusive): (&str, bool),
    checked: Checked,
) -> Result<Vec<Outcome>> {
    let Checked {
        repo,
        config,
        harnesses,
        under,
    } = checked;
    let mut env = child::environment(caller, &options.env)?;
    env.extend(under.contract.map(|contract| (CONTRACT.to_owned(), contract)));
    for harness in &harnesses {
        trust::check_root(&config, harness, &env)?;
    }
    let base = if options.here {
        None
    } else {
        Some(git::resolve_base(&repo, options.base.as_deref())?)
    };
    if !options.here {
        checks::check_branches(&repo, options, wanted)?;
        checks::check_copies(&repo, &config)?;
    }
    let task = match options.task {
        Some(id) => Some(task::check_open(app, &repo, id)?),
        // What an agent starts belongs to what it works for.
        None => task::of_caller(caller).and_then(|id| task::check_open(app, &repo, id).ok()),
    };
    let task_id = task.as_ref().map(|task| task.id);
    let classes: Vec<Class> = (0..wanted.len())
        .map(|index| Class {
            kind: task.as_ref().map(|task| task.kind.clone()),
            harness: Some(harnesses[index % harnesses.len()].name.clone()),
            model: options.model.clone(),
            intensity: task.as_ref().and_then(|task| task.intensity.clone()),
        })
        .collect();
    profile::tell(app, caller, &classes, task.is_some())?;
    let env_names = options
        .env
        .iter()
        .map(|each| each.split('=').next().unwrap_or_default().to_owned())
        .collect();
    let env_names: Vec<String> = env_names;

    let model = options.model.as_deref();
    let shared = budgets::shares(app, &config, under.budget, wanted.len(), model, task_id)?;
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
            shared: false,
            session_prefix: config.tmux_prefix.clone(),
            worktree_root: config.worktree_root.clone(),
            batch_id: batch.to_owned(),
            batch_exclusive: exclusive,
            task: task_id,
            harness: harness.name.clone(),
            model: options.model.clone(),
            headless: harness.is_headless(),
            env_names: env_names.clone(),
            conversation,
            base: base.clone(),
            made_branch: !options.here && !options.existing,
            cap: shared.caps[index],
            shares: shared.of_task,
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
    drop(shared);
    let mut jobs: Vec<Job> = agents
        .into_iter()
        .zip(jobs)
        .zip(locks)
        .map(|((agent, (harness, line, prompt)), lock)| Job {
            agent,
            harness,
            line,
            env: env.clone(),
            prompt,
            lock,
        })
        .collect();
    let mut askers: Vec<Asker<'_>> = jobs
        .iter_mut()
        .map(|job| Asker {
            agent: &job.agent,
            trust: job.harness.trust,
            argv: &mut job.line.argv,
            env: &mut job.env,
        })
        .collect();
    trust::answer(app, caller, &config, repo.main_root.as_deref(), &mut askers);
    let setting = Setting {
        app,
        caller,
        repo: &repo,
        config: &config,
        options,
        base,
        counts: under.counts,
        alone: jobs.len() == 1,
    };
    let outcomes = parallel::map(jobs, parallel::cores(), |job| run_one(&setting, job));
    let outcomes = come_up(&setting, outcomes);
    app.publish();
    Ok(outcomes)
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
    let made = child::specification(
        app,
        setting.caller,
        setting.config,
        agent,
        &job.harness,
        &job.line,
        &job.env,
        prompt,
        1,
    )?;
    let counts = setting.counts;
    let spec = Spec {
        limits: Limits {
            tool_calls: counts.tool_calls,
            model_turns: counts.model_turns,
            dispatches: counts.dispatches,
            hard: counts.hard || made.limits.hard,
            ..made.limits
        },
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
        ..made
    };
    let branch = agent.branch.clone();
    let progress = setting.caller.progress.clone();
    kept::keep(app, agent);
    let pid = thread::scope(|scope| {
        if setting.alone {
            scope.spawn(|| sessions::open_if_possible(app, setting.caller, &[agent]));
        }
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

/// An agent whose program failed at once is no started agent: its last output is shown and all is put back.
///
/// One whose end the caller is going to wait for has been an agent, however short its life.
fn come_up(setting: &Setting<'_>, outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let started: Vec<&Agent> = outcomes.iter().filter_map(|each| each.result.as_ref().ok()).collect();
    let mut failures = match setting.alone {
        true => up::come_up(setting.app, &started),
        false => up::open_and_come_up(setting.app, setting.caller, &started),
    }
    .into_iter();
    let waited_for = setting.options.until == Some(Until::Exited);
    let mut check = |agent: Agent| match failures.next().flatten().filter(|_| !waited_for) {
        Some(error) => {
            let error = error.hint(format!("try it by hand in {}", setting.caller.cwd.display()));
            Err(put_back(setting.app, setting.caller, &agent, error))
        }
        None => Ok(agent),
    };
    let checked = outcomes.into_iter().map(|outcome| Outcome {
        branch: outcome.branch,
        result: outcome.result.and_then(&mut check),
    });
    checked.collect()
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
