//! Ending agents: processes first, then the work is saved, then the workspace goes. Nothing is destroyed.
//!
//! Every step can be cut off and is found again: the phase `ending` is recorded first, saving is idempotent,
//! the workspace moves before it is removed. [`crate::repair`] carries on whatever it finds `ending`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fleet_core::agent::{Agent, Phase, Standing, Workspace};
use fleet_core::fact::Fact;
use fleet_core::id::AgentId;
use fleet_core::{Error, Result};
use fleet_host::lock::Lock;
use fleet_host::process::{self, Identity};
use fleet_host::salvage::{self, Findings, Job, Saved};
use fleet_host::supervise::wire::Stopped;
use fleet_host::supervise::{client, journal};
use fleet_host::{files, git};
use fleet_store::Salvage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::App;
use crate::caller::Caller;
use crate::{kept, task, trash, trust};

/// How an agent is to end.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Without the polite waits.
    pub force: bool,
    /// Keep ignored files too.
    pub salvage_ignored: bool,
    /// Delete its branch as well; what only the branch holds is saved.
    pub delete_branch: bool,
    /// Take the record back too, when nothing had to be saved: it never really was.
    pub forget: bool,
    /// How long the polite steps may take together.
    pub grace: Option<Duration>,
}

/// Saved work, as it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SalvageNote {
    /// Its id: `fleet salvage restore ID`.
    pub id: String,
    /// The ref that holds it.
    pub reference: Option<String>,
    /// The folder that holds what git cannot.
    pub trash: Option<PathBuf>,
    /// What was saved, in words.
    pub holds: Vec<String>,
}

/// A process that works in a workspace and is none of the agent's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stranger {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// What an end did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// Exit code of the agent's program, where it is known.
    pub exit_code: Option<i32>,
    /// Processes that outlived the program and were ended.
    pub swept: Vec<u32>,
    /// Prompts that were queued and never delivered.
    #[serde(default)]
    pub undelivered: Vec<String>,
    /// What was saved.
    pub salvage: Option<SalvageNote>,
    /// Whether the branch was deleted.
    pub deleted_branch: bool,
    /// Processes of others in the workspace: named, and left.
    pub left: Vec<Stranger>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Waits until nobody else ends, resumes or restarts the agent.
pub(crate) fn take_turn(app: &App, id: &AgentId) -> Result<Lock> {
    Lock::take(&app.home.agent_dir(id).join("end"))
}

/// Ends `agent`. When its work cannot be saved everything stays but the processes, and the error says so.
///
/// The tmux session is the caller's to close, since sessions are closed together; one to forget is closed here.
pub fn end(app: &App, caller: &Caller, agent: &Agent, options: &Options) -> Result<Ended> {
    let store = app.store()?;
    let folder = app.home.agent_dir(&agent.id);
    files::create_private_dir("end.agent-dir", &folder)?;
    let turn = take_turn(app, &agent.id)?;
    match store.agent(&agent.id)? {
        Some(now) if now.phase != Phase::Ended => {}
        _ => {
            return Err(Error::conflict(format!(
                "`{}` was ended by somebody else meanwhile",
                agent.branch
            )));
        }
    }
    // Whoever completes an end that was cut off has to know what was asked for.
    let keep_ignored = folder.join("keep-ignored");
    if options.salvage_ignored {
        files::write_atomic("end.keep-ignored", &keep_ignored, b"", 0o600)?;
    }
    let options = &Options {
        salvage_ignored: options.salvage_ignored || keep_ignored.exists(),
        ..options.clone()
    };
    let before = [Phase::Reserved, Phase::Started, Phase::Ending];
    store.set_phase("end.begin", &agent.id, &before, Phase::Ending, app.now())?;

    let mut ended = Ended::default();
    stop_processes(app, agent, options, &mut ended)?;
    let standing = Standing::fold(&journal::read(&folder).unwrap_or_default());
    ended.undelivered = standing.queue.into_iter().map(|(_, text)| text).collect();
    if agent.workspace == Workspace::Worktree {
        if options.forget {
            process::wait_for_gits(&agent.worktree, Duration::from_secs(20));
        }
        let _ = task::observe(app, agent);
        remove_workspace(app, agent, options, &mut ended)?;
    }
    ended.warnings.extend(trust::forget(app, &agent.id));
    remove_socket(app, &agent.id);
    fold(app, agent);
    kept::keep_end(app, &agent.id);
    store.set_phase("end.done", &agent.id, &[Phase::Ending], Phase::Ended, app.now())?;
    let branch_stays = agent.made_branch && git::branch_exists(&agent.repo, &agent.branch).unwrap_or(true);
    if options.forget {
        let _ = app
            .tmux(caller)
            .and_then(|tmux| tmux.kill_sessions("end.session", &[agent.session.as_str()]));
    }
    if options.forget && ended.salvage.is_none() && !branch_stays {
        kept::drop_record(app, &agent.id)?;
        store.erase("end.forget", &agent.id)?;
        drop(turn);
        files::remove_tree("end.forget-dir", &folder)?;
    }
    Ok(ended)
}

/// What [`end`] would find in the workspace, without touching anything.
pub fn look(app: &App, agent: &Agent, options: &Options) -> Result<Option<Findings>> {
    if agent.workspace == Workspace::Here || !agent.worktree.exists() {
        return Ok(None);
    }
    let copied = copied(app, agent);
    let trash = PathBuf::new();
    salvage::inspect(&job(app, agent, options, "dry-run", &copied, &trash)).map(Some)
}

/// Removes the socket of an agent whose supervisor is gone.
pub(crate) fn remove_socket(app: &App, id: &AgentId) {
    if let Ok(runtime) = app.runtime() {
        let _ = files::remove_file("end.socket", &runtime.socket(id));
    }
}

/// Folds the journal of `agent` into the store.
pub fn fold(app: &App, agent: &Agent) {
    if let Ok(entries) = journal::read(&app.home.agent_dir(&agent.id)) {
        let _ = task::fold(app, "fold.journal", agent, &entries);
    }
}

/// Ends every process of `agent`: by its supervisor when that lives, by the mark otherwise.
fn stop_processes(app: &App, agent: &Agent, options: &Options, ended: &mut Ended) -> Result<()> {
    let grace = match options.force {
        true => Duration::ZERO,
        false => options.grace.unwrap_or(Duration::from_secs(3)),
    };
    if let Some(stopped) = stop_supervisor(app, agent, options.force, grace)? {
        ended.exit_code = stopped.code;
        ended.swept = stopped.swept;
    } else {
        let standing = Standing::fold(&journal::read(&app.home.agent_dir(&agent.id)).unwrap_or_default());
        ended.exit_code = standing.exited;
        let gone_cleanly = standing.exited.is_some() && standing.child.is_some();
        if !gone_cleanly || options.force || standing.stopping {
            let id = agent.id.clone();
            ended.swept = process::end_all(
                || process::marked(&id).iter().map(process::Process::identity).collect(),
                grace.min(Duration::from_secs(1)),
            );
        }
    }
    Ok(())
}

/// Ends the supervisor of `agent` and its program, and waits until the agent's lock is free. Gives what it said of
/// the end; none when there was no supervisor, or it said nothing and was killed.
pub(crate) fn stop_supervisor(app: &App, agent: &Agent, force: bool, grace: Duration) -> Result<Option<Stopped>> {
    /// How often to look for the supervisor of an agent that is being started.
    const NOT_YET: Duration = Duration::from_millis(20);
    let lock = app.home.agent_lock(&agent.id);
    while Lock::is_held(&lock) {
        let stopped = app.client(agent).and_then(|mut client| client.stop(force, grace));
        if stopped.is_ok() || kill_supervisor(app, agent) {
            // It releases the lock with its very last step; waiting for the lock is waiting for its end.
            drop(Lock::take(&lock)?);
            return Ok(stopped.ok());
        }
        // Whoever starts the agent still holds the lock. It passes on to the supervisor without ever being free, so
        // there is nothing to wait for but the supervisor's answer.
        client::wait_any(&[], Instant::now() + NOT_YET)?;
    }
    Ok(None)
}

/// Kills a supervisor that does not answer, and says whether there was one. Its descendants are found by their mark
/// afterwards.
fn kill_supervisor(app: &App, agent: &Agent) -> bool {
    let entries = journal::read(&app.home.agent_dir(&agent.id)).unwrap_or_default();
    let launched = entries.iter().rev().find_map(|entry| match &entry.fact {
        Fact::Launched { supervisor, boot, .. } => Some((*supervisor, boot.clone())),
        _ => None,
    });
    let Some((pid, boot)) = launched else { return false };
    boot == process::boot_id()
        && process::is_supervisor_of(pid, &agent.id)
        && Identity::of(pid).is_some_and(|identity| process::kill(&identity))
}

fn remove_workspace(app: &App, agent: &Agent, options: &Options, ended: &mut Ended) -> Result<()> {
    let store = app.store()?;
    let copied = copied(app, agent);
    let salvage_id = agent.id.to_string();
    let trash = trash_for(app, agent, &salvage_id);
    let job = job(app, agent, options, &salvage_id, &copied, &trash);
    // A folder that is gone without having been moved by us was removed by somebody; git's own directory about it may
    // still hold staged work.
    if agent.worktree.exists() || !salvage::is_moved(&job) {
        for (pid, name) in process::working_in(&agent.worktree) {
            ended.left.push(Stranger { pid, name });
        }
        let findings = salvage::inspect(&job)?;
        let saved = salvage::save(&job, &findings)?;
        ended.warnings.extend(saved.warnings.iter().cloned());
        if !saved.is_empty() {
            let holds = findings.reasons.clone();
            let record = record(app, agent, &salvage_id, &saved, &trash, &holds);
            store.salvage_add("end.salvage", &record)?;
            kept::keep_salvage(app, &record);
            ended.salvage = Some(SalvageNote {
                id: salvage_id.clone(),
                reference: saved.reference.clone(),
                trash: (saved.needs_trash || !saved.trashed_credentials.is_empty()).then(|| trash.clone()),
                holds,
            });
        }
        salvage::remove_workspace(&job, &saved)?;
    } else {
        salvage::finish_removal(&job)?;
        if let Some(before) = store.salvage_get(&salvage_id)? {
            ended.salvage = Some(SalvageNote {
                id: salvage_id.clone(),
                reference: before.ref_name,
                trash: before.trash,
                holds: Vec::new(),
            });
        }
    }
    git::forget_half_made(&agent.repo, &agent.worktree)?;
    // What is put back was made a moment ago: a branch that has moved on since is somebody's work.
    let wanted = match options.forget {
        true => agent.made_branch && git::branch_tip(&agent.repo, &agent.branch)? == agent.base,
        false => options.delete_branch,
    };
    if wanted {
        ended.deleted_branch = git::delete_branch("end.delete-branch", &agent.repo, &agent.branch)?;
    }
    Ok(())
}

fn job<'a>(
    app: &App,
    agent: &'a Agent,
    options: &Options,
    id: &'a str,
    copied: &'a [(String, String)],
    trash: &'a std::path::Path,
) -> Job<'a> {
    Job {
        id,
        agent: agent.id.as_str(),
        repo: &agent.repo,
        worktree: &agent.worktree,
        branch: &agent.branch,
        base: agent.base.as_deref(),
        copied,
        salvage_ignored: options.salvage_ignored,
        delete_branch: options.delete_branch,
        trash,
        now: app.now(),
    }
}

/// The files that were copied into the workspace, from the agent's own journal.
fn copied(app: &App, agent: &Agent) -> Vec<(String, String)> {
    Standing::fold(&journal::read(&app.home.agent_dir(&agent.id)).unwrap_or_default()).copied
}

/// Where the workspace is moved: on its own file system, so that the move is one step.
fn trash_for(app: &App, agent: &Agent, id: &str) -> PathBuf {
    let own = app.home.trash();
    match (files::same_file_system(&own, &agent.worktree), agent.worktree.parent()) {
        (false, Some(parent)) => parent.join(trash::BESIDE).join(id),
        _ => own.join(id),
    }
}

fn record(app: &App, agent: &Agent, id: &str, saved: &Saved, trash: &std::path::Path, holds: &[String]) -> Salvage {
    Salvage {
        id: id.to_owned(),
        agent: agent.id.clone(),
        repo: agent.repo.clone(),
        branch: agent.branch.clone(),
        reason: "kill".to_owned(),
        ref_name: saved.reference.clone(),
        commit: saved.commit.clone(),
        head: saved.head.clone(),
        trash: (saved.needs_trash || !saved.trashed_credentials.is_empty()).then(|| trash.to_owned()),
        note: json!({ "holds": holds, "saved": saved, "repo_name": agent.repo_name, "harness": agent.harness }),
        created_at: app.now(),
        pruned_at: None,
    }
}
