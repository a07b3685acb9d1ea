//! Reconciling what is recorded with what is there: store, journals, locks, tmux, git and processes.
//!
//! Decides from observation alone, so it may run at any time, beside anything, and again: whoever holds an
//! agent's lock is at work on it, and such an agent is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use fleet_core::agent::{Agent, Phase, Standing, State};
use fleet_core::budget::Scope;
use fleet_core::id::AgentId;
use fleet_core::name::plural;
use fleet_core::{Kind, Result};
use fleet_host::lock::Lock;
use fleet_host::supervise::journal::{self, Journal};
use fleet_host::tmux::Session;
use fleet_host::{files, git, process};
use fleet_store::Store;

use crate::app::App;
use crate::caller::Caller;
use crate::{end, kept, merge, sessions, task, trash, trust};

/// A folder younger than this may belong to a start that has only begun.
const JUST_MADE: Duration = Duration::from_secs(60);

/// What a repair did and what it could not do, a line each.
#[derive(Debug, Default)]
pub struct Repaired {
    /// What was done.
    pub done: Vec<String>,
    /// Agents that are as they were, and why.
    pub failed: Vec<String>,
}

/// Makes record and world agree. An agent that cannot be brought in order keeps none of the others from it.
pub fn repair(app: &App, caller: &Caller) -> Result<Repaired> {
    let Repaired { mut done, mut failed } = Repaired::default();
    let store = app.store()?;
    // Here only when a start after a damaged database was cut off.
    let adopted = kept::take_up(app, store)?;
    if adopted > 0 {
        let agents = plural(adopted, "agent");
        done.push(format!("{agents} taken up from their folders"));
    }
    let mut agents = store.agents_live()?;
    for agent in &mut agents {
        match repair_agent(app, caller, agent) {
            Ok(line) => done.extend(line),
            // Somebody else was at it, and has done it.
            Err(error) if error.kind == Kind::Conflict => {}
            Err(error) => failed.push(format!("{}: {}", agent.branch, error.message)),
        }
    }
    // The sessions first: one that is opened meanwhile has an agent in the list that is read after it.
    let sessions = app.tmux(caller).and_then(|tmux| tmux.sessions()).ok();
    let live = store.agents_live()?;
    match sessions.map(|open| repair_sessions(app, caller, &open, &live)) {
        Some(Ok(lines)) => done.extend(lines),
        Some(Err(error)) => failed.push(format!("the tmux sessions: {}", error.message)),
        None => {}
    }
    let (lines, errors) = trust::repair(app, &live);
    done.extend(lines);
    failed.extend(errors);
    done.extend(forget_folders(app, store)?);
    done.extend(forget_runs(app, store)?);
    done.extend(finish_trash(app, store)?);
    done.extend(prune_worktrees(app, &live)?);
    done.extend(merge::gate::sweep(&app.home)?);
    app.publish();
    Ok(Repaired { done, failed })
}

/// Opens the store, or starts a new one beside a damaged one that is kept, and takes up the agents whose
/// folders tell of them.
pub fn recover_store(app: &App) -> Result<Option<String>> {
    let (store, kept) = Store::start_over("repair.start-over", &app.home.db())?;
    let Some(damaged) = kept else { return Ok(None) };
    let adopted = kept::take_up(app, &store)?;
    let agents = plural(adopted, "agent");
    Ok(Some(format!(
        "the damaged database is kept as {}; {agents} taken up from their folders",
        damaged.display()
    )))
}

fn repair_agent(app: &App, caller: &Caller, agent: &Agent) -> Result<Option<String>> {
    let store = app.store()?;
    let folder = app.home.agent_dir(&agent.id);
    let alive = Lock::is_held(&app.home.agent_lock(&agent.id));
    let entries = journal::read(&folder).unwrap_or_default();
    let standing = Standing::fold(&entries);
    task::fold(app, "repair.fold", agent, &entries)?;
    let _ = task::observe(app, agent);
    match (agent.phase, alive) {
        (Phase::Reserved, true) => {
            let Some((pid, _)) = standing.child else {
                return Ok(None);
            };
            let recorded = store.set_started("repair.started", &agent.id, pid, standing.generation)?;
            Ok(recorded.then(|| format!("{}: its start was not recorded; it runs", agent.branch)))
        }
        (Phase::Reserved, false) if standing.child.is_some() => {
            let (pid, _) = standing.child.unwrap_or_default();
            store.set_started("repair.started", &agent.id, pid, standing.generation)?;
            let state = app.see(agent).state;
            sweep(agent, state);
            Ok(Some(format!("{}: its start was cut off; it is {state}", agent.branch)))
        }
        (Phase::Reserved, false) => {
            let options = end::Options {
                force: true,
                delete_branch: agent.made_branch,
                forget: true,
                ..end::Options::default()
            };
            let ended = end::end(app, caller, agent, &options)?;
            let saved = ended
                .salvage
                .map(|salvage| format!(", its work saved as {}", salvage.id))
                .unwrap_or_default();
            Ok(Some(format!(
                "{}: its start was cut off; put back{saved}",
                agent.branch
            )))
        }
        (Phase::Ending, _) => {
            // Somebody may be at it right now.
            if Lock::is_held(&folder.join("end")) {
                return Ok(None);
            }
            let ended = end::end(
                app,
                caller,
                agent,
                &end::Options {
                    force: true,
                    ..end::Options::default()
                },
            )?;
            let saved = ended
                .salvage
                .map(|salvage| format!(", its work saved as {}", salvage.id))
                .unwrap_or_default();
            Ok(Some(format!("{}: its end was cut off; completed{saved}", agent.branch)))
        }
        (Phase::Started, false) => {
            let swept = sweep(agent, app.see(agent).state);
            let mut what = Vec::new();
            if !swept.is_empty() {
                what.push(format!("{} of it ended", plural(swept.len(), "process")));
            }
            if standing.unseen().is_some() && end_unseen_prompt(app, agent)? {
                what.push("the prompt that it had typed is unverified".to_owned());
            }
            let what = what.join("; ");
            Ok((!what.is_empty()).then(|| format!("{}: its supervisor is gone; {what}", agent.branch)))
        }
        (Phase::Started, true) => {
            if let Some((pid, _)) = standing.child
                && (agent.pid != Some(pid) || agent.generation != standing.generation)
            {
                store.set_started("repair.started", &agent.id, pid, standing.generation)?;
            }
            Ok(None)
        }
        (Phase::Ended, _) => Ok(None),
    }
}

/// Records that nobody saw what became of a prompt, unless somebody else is at the agent: who resumes it records the
/// same.
fn end_unseen_prompt(app: &App, agent: &Agent) -> Result<bool> {
    let folder = app.home.agent_dir(&agent.id);
    let Some(_turn) = Lock::try_take(&folder.join("end"))? else {
        return Ok(false);
    };
    let Some(_lock) = Lock::try_take(&app.home.agent_lock(&agent.id))? else {
        return Ok(false);
    };
    let ended = Journal::open(&folder)?
        .end_unseen(app.now())
        .map_err(|error| files::io_error("write", &folder.join(journal::FILE), &error))?;
    end::fold(app, agent);
    Ok(ended)
}

/// Ends what a dead supervisor has left running.
fn sweep(agent: &Agent, state: State) -> Vec<u32> {
    if state.is_live() {
        return Vec::new();
    }
    let id = agent.id.clone();
    process::end_all(
        || process::marked(&id).iter().map(process::Process::identity).collect(),
        Duration::from_millis(500),
    )
}

/// Closes the sessions of agents that are gone and opens those that are missing.
fn repair_sessions(app: &App, caller: &Caller, open: &[Session], live: &[Agent]) -> Result<Vec<String>> {
    let tmux = app.tmux(caller)?;
    let runs = |agent: &&Agent| agent.phase == Phase::Started && Lock::is_held(&app.home.agent_lock(&agent.id));
    let wanted: BTreeMap<&str, &Agent> = live
        .iter()
        .filter(|agent| !agent.headless)
        .filter(runs)
        .map(|agent| (agent.session.as_str(), agent))
        .collect();
    let known: BTreeSet<&str> = live.iter().map(|agent| agent.session.as_str()).collect();
    let mut done = Vec::new();
    let orphans: Vec<&str> = open
        .iter()
        .map(|session| session.name.as_str())
        .filter(|name| !known.contains(name))
        .collect();
    if !orphans.is_empty() {
        tmux.kill_sessions("repair.sessions", &orphans)?;
        done.extend(
            orphans
                .iter()
                .map(|name| format!("closed the tmux session {name}: it has no agent")),
        );
    }
    let missing: Vec<&Agent> = wanted
        .values()
        .filter(|agent| !open.iter().any(|session| session.name == agent.session))
        .copied()
        .collect();
    if !missing.is_empty() {
        sessions::open(app, caller, &missing)?;
        done.extend(
            missing
                .iter()
                .map(|agent| format!("opened the tmux session {} again", agent.session)),
        );
    }
    Ok(done)
}

/// Removes the folders of agents that were never recorded.
fn forget_folders(app: &App, store: &Store) -> Result<Vec<String>> {
    let known: BTreeSet<AgentId> = store.agents_all()?.into_iter().map(|agent| agent.id).collect();
    let mut done = Vec::new();
    for entry in std::fs::read_dir(app.home.agents()).into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(AgentId::parse) else {
            continue;
        };
        // A start makes the folder a moment before it takes the lock in it.
        let age = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|made| made.elapsed().ok());
        if known.contains(&id) || age.is_none_or(|age| age < JUST_MADE) {
            continue;
        }
        // Taking the lock tells a start that is only beginning from one that was cut off.
        let Ok(Some(lock)) = Lock::try_take(&app.home.agent_lock(&id)) else {
            continue;
        };
        if store.agent(&id)?.is_none() {
            files::remove_tree("repair.folder", &entry.path())?;
            done.push(format!("removed the folder of {id}: it was never recorded"));
        }
        drop(lock);
    }
    Ok(done)
}

/// Removes what starts of runs left that were cut off before the run was recorded: folders of pipelines, and ceilings.
fn forget_runs(app: &App, store: &Store) -> Result<Vec<String>> {
    // A start that is at it holds this.
    let Some(turn) = Lock::try_take(&app.home.root().join("launch.lock"))? else {
        return Ok(Vec::new());
    };
    let known: BTreeSet<String> = store.runs()?.into_iter().map(|run| run.id).collect();
    let mut done = Vec::new();
    for entry in std::fs::read_dir(app.home.pipelines()).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|id| !known.contains(id)) {
            files::remove_tree("repair.pipeline", &entry.path())?;
            done.push("removed the folder of a pipeline: its start was cut off".to_owned());
        }
    }
    let of_run = Scope::Run(String::new()).to_string();
    for (scope, _) in store.caps()? {
        let unknown = scope.strip_prefix(&of_run).filter(|id| !known.contains(*id));
        if let Some(id) = unknown {
            store.set_cap("repair.cap", &Scope::Run(id.to_owned()), None, app.now())?;
            done.push("removed the ceiling of a run: its start was cut off".to_owned());
        }
    }
    drop(turn);
    Ok(done)
}

/// Removes from the trash, wherever it is, what was on its way out when a removal was cut off.
fn finish_trash(app: &App, store: &Store) -> Result<Vec<String>> {
    let mut done = Vec::new();
    for agent in store
        .agents_all()?
        .into_iter()
        .filter(|agent| agent.phase == Phase::Ended)
    {
        let recorded = store.salvage_get(agent.id.as_str())?;
        if recorded.is_some_and(|salvage| salvage.trash.is_some()) {
            continue;
        }
        for folder in trash::folders_of(app, &agent) {
            let trash = folder.join(agent.id.as_str());
            if trash.exists() {
                files::remove_tree("repair.trash", &trash)?;
                done.push(format!("{}: completed the removal of its workspace", agent.branch));
            }
        }
    }
    Ok(done)
}

/// Lets git forget worktrees of ours whose folders are gone.
fn prune_worktrees(app: &App, live: &[Agent]) -> Result<Vec<String>> {
    let store = app.store()?;
    let repos: BTreeSet<PathBuf> = store.agents_all()?.into_iter().map(|agent| agent.repo).collect();
    let kept: BTreeSet<&PathBuf> = live.iter().map(|agent| &agent.worktree).collect();
    let ours: BTreeSet<PathBuf> = store.agents_all()?.into_iter().map(|agent| agent.worktree).collect();
    let mut done = Vec::new();
    for repo in repos.iter().filter(|repo| repo.is_dir()) {
        for worktree in git::worktrees(repo)? {
            let path = worktree.path;
            if ours.contains(&path) && !kept.contains(&path) && !path.exists() {
                git::remove_worktree_admin(repo, &path)?;
                done.push(format!("git forgot the worktree {}", path.display()));
            }
        }
    }
    Ok(done)
}
