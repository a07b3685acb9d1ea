//! Tasks: giving them out, hearing what was done, and the files of them in the repository.
//!
//! The store has the record, `.fleet/tasks/` in the main checkout a copy of it for people and programs that read files.
//! A copy is written after the record and under a lock, always from the record, so the last one written is right; one
//! that a crash cut off is written with the next change.

mod crews;
mod hear;
pub mod hook;
mod made;
pub mod outbox;
pub(crate) mod trailers;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use fleet_core::agent::Agent;
use fleet_core::fact::Fact;
use fleet_core::id::AgentId;
use fleet_core::report::Priority;
use fleet_core::spend::{Spend, Total};
use fleet_core::task::cost::{self, Node};
use fleet_core::task::{Event, FollowUp, Task, TaskId, file};
use fleet_core::{Error, Kind, Result};
use fleet_host::files;
use fleet_host::git::{self, Repo};
use fleet_host::lock::Lock;
use fleet_host::supervise::journal;
use fleet_store::{Account, NewTask, Of, Place, Store};

use crate::app::App;
use crate::budgets;
use crate::caller::{Caller, Who};

pub(crate) use crews::fold;
pub use hear::{Heard, Received, Reception, hear};
pub use made::record;
pub(crate) use made::{observe, observe_task, of_commits};

/// The variable that tells a program which task it works for.
pub const VARIABLE: &str = "FLEET_TASK";

/// The repository of `caller`, as tasks name it.
pub fn repo(app: &App, caller: &Caller) -> Result<Repo> {
    app.repo(caller).map_err(|error| match error.kind {
        Kind::Usage => error.context("tasks belong to a repository"),
        _ => error,
    })
}

/// The repository's common git directory as text, the key of its tasks.
pub fn key(repo: &Repo) -> Result<String> {
    let text = repo.common_dir.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::usage(format!("the path {} is not valid UTF-8", repo.common_dir.display())))
}

/// The task that `caller` works for, if its environment names one.
pub fn of_caller(caller: &Caller) -> Option<TaskId> {
    caller.var(VARIABLE).and_then(TaskId::parse)
}

/// The id that a person typed: whole, or the number of a task of the newest day.
///
/// # Errors
/// `Usage` when it is no id.
pub fn parse(text: &str) -> Result<TaskId> {
    TaskId::parse(text).ok_or_else(|| {
        Error::usage(format!("`{text}` is no id of a task"))
            .hint("an id is such as `TASK-20260404-001`: `fleet task list`")
    })
}

/// The task with this id.
///
/// # Errors
/// `NotFound` when there is none.
pub fn require_task(app: &App, id: TaskId) -> Result<Task> {
    let near = |store: &Store| -> Option<String> {
        let all: Vec<String> = store.tasks(None).ok()?.iter().map(|task| task.id.to_string()).collect();
        let near = fleet_core::nearest::nearest(&id.to_string(), all.iter().map(String::as_str), 1);
        near.first().map(|near| (*near).to_owned())
    };
    let store = app.store()?;
    store.task(id)?.ok_or_else(|| {
        let error = Error::not_found(format!("there is no task {id}"));
        match near(store) {
            Some(near) => error.hint(format!("did you mean `{near}`? See them all: `fleet task list`")),
            None => error.hint("make one: `fleet task create TITLE`"),
        }
    })
}

/// Records a new task and writes its file. Who gives it out and, unless it is given, the task that it is a part of come
/// from the caller. One with an [external](NewTask::external) name is recorded once, and is the answer from then on.
///
/// # Errors
/// Those of [`Store::task_add`].
pub fn create(app: &App, caller: &Caller, repo: &Repo, mut new: NewTask) -> Result<Task> {
    new.repo = key(repo)?;
    new.dispatched_by = match (caller.who, caller.var("FLEET_AGENT")) {
        (Who::Agent, Some(agent)) => agent.to_owned(),
        _ => "user".to_owned(),
    };
    if new.parent.is_none() && new.promoted.is_none() {
        new.parent = of_caller(caller);
    }
    let _turn = budgets::begin_part(app, &new)?;
    let task = app
        .store()?
        .task_add("task.add", &new, app.now(), &|id| is_taken(repo, id))?;
    publish(app, repo, task.id)?;
    Ok(task)
}

/// Whether the checkout has files of a task with this id, which may come from another machine.
fn is_taken(repo: &Repo, id: TaskId) -> bool {
    let folder = repo.main_root.as_ref().map(|root| root.join(file::folder(id)));
    folder.is_some_and(|folder| folder.symlink_metadata().is_ok())
}

/// Makes a task of a follow-up of `from`, which matters as much as that says, or as `priority`.
///
/// # Errors
/// `Conflict` when that was done before: the same title, but for case and signs, is one task in a repository.
pub fn promote(
    app: &App,
    caller: &Caller,
    from: &Task,
    follow_up: &FollowUp,
    priority: Option<Priority>,
) -> Result<Task> {
    let repo = repo_of(from);
    let new = NewTask {
        title: follow_up.title.clone(),
        kind: from.kind.clone(),
        crew: from.crew.clone(),
        priority: priority.or(Some(follow_up.priority)),
        promoted: Some((from.id, follow_up.title.clone())),
        ..NewTask::default()
    };
    let task = create(app, caller, &repo, new)?;
    publish(app, &repo, from.id)?;
    Ok(task)
}

/// Makes a task of each follow-up of `from` that is none yet, and gives the new ones.
pub fn promote_all(app: &App, caller: &Caller, from: TaskId) -> Result<Vec<Task>> {
    let from = require_task(app, from)?;
    let mut made = Vec::new();
    for each in &from.follow_ups {
        match promote(app, caller, &from, each, None) {
            Err(error) if error.kind == Kind::Conflict => {}
            other => made.push(other?),
        }
    }
    Ok(made)
}

/// The repository of a task.
pub fn repo_of(task: &Task) -> Repo {
    Repo::of(task.repo.as_ref())
}

/// Writes the files of a task and of those that it is a part of, whose cost it belongs to.
pub fn publish(app: &App, repo: &Repo, id: TaskId) -> Result<()> {
    let Some(root) = &repo.main_root else { return Ok(()) };
    let store = app.store()?;
    let _turn = Lock::take(&app.home.root().join("tasks.lock"))?;
    let costs = Costs::now(app)?;
    let mut next = Some(id);
    let mut seen = HashSet::new();
    while let Some(id) = next.filter(|id| seen.insert(*id)) {
        let Some(task) = store.task(id)? else { break };
        let node = costs.nodes.get(&id).copied().unwrap_or_default();
        let folder = own_folder(root, &file::folder(id))?;
        let text = file::yaml(&task, &node, costs.within(&task));
        files::write_atomic("task.file", &folder.join("task.yaml"), text.as_bytes(), 0o644)?;
        if let Some(block) = store.task_block(id)? {
            let text = file::report(&task, &block);
            files::write_atomic("task.report-file", &folder.join("report.md"), text.as_bytes(), 0o644)?;
        }
        next = task.parent;
    }
    Ok(())
}

/// The folder `below` the root of a checkout, made where it is missing. A link in the way may lead anywhere, and is refused.
fn own_folder(root: &Path, below: &str) -> Result<PathBuf> {
    let mut folder = root.to_owned();
    for part in Path::new(below).components() {
        folder.push(part);
        match folder.symlink_metadata() {
            Ok(meta) if !meta.is_dir() => {
                return Err(Error::refused(format!("{} is no folder", folder.display()))
                    .hint("tasks are kept there: move it away"));
            }
            _ => {}
        }
    }
    files::create_private_dir("task.folder", &folder)?;
    Ok(folder)
}

/// The whole account, as of now.
pub struct Costs {
    /// Its entries, oldest first; those for comparison alone are left out.
    pub entries: Vec<Account>,
    /// What each task cost by itself and with its parts.
    pub nodes: HashMap<TaskId, Node>,
    /// Every task.
    pub tasks: HashMap<TaskId, Task>,
    /// The tasks of agents.
    of_agents: HashMap<AgentId, TaskId>,
}

impl Costs {
    /// Reads the account, and what of the journals of living agents is not in it yet. Nothing is written.
    pub fn now(app: &App) -> Result<Costs> {
        let store = app.store()?;
        let mut entries = store.account(&Of::default())?;
        for agent in store.agents_live()? {
            let folded = store.folded(&agent.id)?;
            let new = journal::read(&app.home.agent_dir(&agent.id)).unwrap_or_default();
            let new = new.iter().filter(|entry| entry.seq > folded);
            let new = new.filter(|entry| !is_beside(&entry.fact));
            let new: Vec<Spend> = new.filter_map(|entry| crews::spend(store, &agent.id, entry)).collect();
            if !new.is_empty() {
                let place = store.place_of(&agent.id)?;
                entries.extend(new.into_iter().map(|entry| account(&agent, place.as_ref(), entry)));
            }
        }
        entries.retain(|each| !each.beside);
        entries.sort_by_key(|each| each.entry.at);
        let tasks: HashMap<TaskId, Task> = store.tasks(None)?.into_iter().map(|task| (task.id, task)).collect();
        // What a sub-agent's prompt names is a model's word.
        for each in &mut entries {
            let known = task_of(each).and_then(|id| tasks.get(&id));
            if known.is_none_or(|task| task.repo != each.repo) {
                each.entry.task = None;
            }
        }
        let mut own: HashMap<TaskId, Total> = HashMap::new();
        for each in &entries {
            if let Some(id) = task_of(each) {
                own.entry(id).or_default().add(&each.entry);
            }
        }
        let parents = tasks.values().map(|task| (task.id, task.parent)).collect();
        let nodes = cost::tree(&own, &parents);
        let agents = store.agents_all()?.into_iter();
        Ok(Costs {
            entries,
            nodes,
            tasks,
            of_agents: agents.filter_map(|agent| Some((agent.id, agent.task?))).collect(),
        })
    }

    /// The task in whose account the cost of `task` is, where it is one of a sub-agent and its program does not tell what
    /// that has used.
    pub fn within(&self, task: &Task) -> Option<TaskId> {
        let sender = task
            .sub_agent_of
            .as_ref()
            .filter(|_| cost::is_empty(&self.of(task.id).whole))?;
        let whole = self.of_agents.get(sender).copied().or(task.parent);
        whole.filter(|whole| *whole != task.id)
    }

    /// What a task cost; nothing counted where the account does not name it.
    pub fn of(&self, id: TaskId) -> Node {
        self.nodes.get(&id).copied().unwrap_or_default()
    }
}

/// Whether a fact is the program's own sum of what is in the account already.
fn is_beside(fact: &Fact) -> bool {
    matches!(fact, Fact::Used(used) if used.beside)
}

/// What is in an agent's journal and not in the account yet, as an entry of that.
fn account(agent: &Agent, place: Option<&Place>, entry: Spend) -> Account {
    Account {
        agent: agent.id.clone(),
        repo: agent.repo.to_string_lossy().into_owned(),
        branch: agent.branch.clone(),
        batch: agent.batch_id.clone(),
        harness: agent.harness.clone(),
        run: place.map(|(run, _, _)| run.clone()),
        worker: place.map(|(_, worker, _)| worker.clone()),
        round: place.map(|(_, _, round)| *round),
        beside: false,
        entry,
    }
}

/// The task that an entry of the account belongs to.
pub fn task_of(account: &Account) -> Option<TaskId> {
    account.entry.task.as_deref().and_then(TaskId::parse)
}

/// Whether `id` is `root` or a part of it, by any number of steps.
pub(crate) fn is_part_of(tasks: &HashMap<TaskId, Task>, id: TaskId, root: TaskId) -> bool {
    let mut seen = HashSet::new();
    let mut next = Some(id);
    while let Some(at) = next.filter(|at| seen.insert(*at)) {
        if at == root {
            return true;
        }
        next = tasks.get(&at).and_then(|task| task.parent);
    }
    false
}

/// Whether the task of an agent that is about to be started can be worked on: it is there, of this repository, and not
/// over. The same is looked at again when the agent's names are taken.
pub(crate) fn check_open(app: &App, repo: &Repo, id: TaskId) -> Result<Task> {
    let task = require_task(app, id)?;
    if task.repo != key(repo)? {
        return Err(
            Error::not_found(format!("{id} is a task of another repository: {}", task.repo))
                .hint("see those of this one: `fleet task list`"),
        );
    }
    if task.status.is_final() {
        let status = task.status.as_str();
        return Err(Error::conflict(format!("the task {id} has ended: {status}"))
            .hint("make another one: `fleet task create TITLE`"));
    }
    Ok(task)
}

/// The repository of a task that has not ended.
pub(crate) fn repo_of_open(app: &App, id: TaskId) -> Option<Repo> {
    let task = require_task(app, id).ok()?;
    (!task.status.is_final()).then(|| repo_of(&task))
}

/// The agents that were started for a task, living or ended.
pub(crate) fn agents_of(app: &App, id: TaskId) -> Result<Vec<Agent>> {
    let mut all = app.store()?.agents_all()?;
    all.retain(|agent| agent.task == Some(id));
    Ok(all)
}

/// Notes something about a task of this repository, or about none.
pub(crate) fn note(app: &App, repo: &Repo, task: Option<TaskId>, event: &str, about: String) -> Result<()> {
    let event = Event {
        at: app.now(),
        task,
        event: event.to_owned(),
        about,
    };
    app.store()?.task_note("task.note", &key(repo)?, &event)
}

/// Those of `named` that the repository has as commits, by their full ids, and the others.
pub(crate) fn commits(repo: &Repo, named: &[String]) -> Result<(Vec<String>, Vec<String>)> {
    let is_id = |text: &&String| (4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (ids, mut unknown): (Vec<&String>, Vec<&String>) = named.iter().partition(is_id);
    let found = git::known_commits(&repo.common_dir, &ids)?;
    let mut known = Vec::new();
    for (named, found) in ids.into_iter().zip(found) {
        match found {
            Some(commit) if !known.contains(&commit) => known.push(commit),
            Some(_) => {}
            None => unknown.push(named),
        }
    }
    Ok((known, unknown.into_iter().cloned().collect()))
}
