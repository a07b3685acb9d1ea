//! Taking the names of new agents: branch, session, folder and ports, all or none.

use std::path::{Path, PathBuf};

use fleet_core::agent::{Agent, Phase, Workspace};
use fleet_core::budget::{Cap, Scope};
use fleet_core::id::AgentId;
use fleet_core::name;
use fleet_core::task::TaskId;
use fleet_core::{Error, Result, Time};

use rusqlite::Transaction;

use crate::failure::Attempt;
use crate::money::{self, Hold};
use crate::open::Store;
use crate::{agents, parts, tasks, values};

/// What is asked for one agent; the rest of its record is chosen.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// Its new id.
    pub id: AgentId,
    /// Real path of the repository's common git directory.
    pub repo: PathBuf,
    /// Folder name of the repository's main checkout.
    pub repo_name: String,
    /// Its branch, or its label with [`Workspace::Here`].
    pub branch: String,
    /// Whether it works in a worktree of its own.
    pub workspace: Workspace,
    /// The user's directory, for [`Workspace::Here`].
    pub here_dir: Option<PathBuf>,
    /// Whether other agents of the same run work in that directory, too.
    pub shared: bool,
    /// What its session's name starts with.
    pub session_prefix: String,
    /// Folder of the worktrees.
    pub worktree_root: PathBuf,
    /// The batch it is made in.
    pub batch_id: String,
    /// Whether a live batch of that name is refused.
    pub batch_exclusive: bool,
    /// The task that it works for.
    pub task: Option<TaskId>,
    /// Name of its harness.
    pub harness: String,
    /// The model asked for.
    pub model: Option<String>,
    /// Without a terminal.
    pub headless: bool,
    /// Names (never values) of the variables that `--env` gave it.
    pub env_names: Vec<String>,
    /// The harness's conversation, where it is chosen before the launch.
    pub conversation: Option<String>,
    /// The commit its worktree starts from, where it is known already.
    pub base: Option<String>,
    /// Whether fleet makes the branch.
    pub made_branch: bool,
    /// What it may spend, which is reserved for its first launch; none where nobody has set a limit.
    pub cap: Option<Cap>,
    /// Whether that is an even share of what its task has left, which is dealt anew when another agent begins or ends.
    pub shares: bool,
    /// The time of the request.
    pub now: Time,
    /// Where its ports come from.
    pub ports: PortRange,
}

/// The blocks of ports that may be dealt: `count` blocks of `step` ports each, from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First port of the first block.
    pub first: u16,
    /// Ports in a block.
    pub step: u16,
    /// How many blocks there are.
    pub count: u16,
}

/// A live agent with the width of its port block.
pub(crate) struct Holder {
    pub(crate) agent: Agent,
    pub(crate) ports: u16,
}

impl Store {
    /// Records every agent of `wanted` with the names chosen for it, in phase `reserved`: all of them or none.
    ///
    /// `exists` tells whether a path is there, dangling links included; it is asked while all other writers wait.
    ///
    /// # Errors
    /// `Conflict` when a branch, directory or batch has a live agent already, all of them named; `Unavailable` when no
    /// ports are left; `OverBudget` when what they may spend passes a ceiling of all agents or of
    /// a task.
    pub fn reserve(
        &self,
        site: &'static str,
        wanted: &[Reservation],
        exists: &dyn Fn(&Path) -> bool,
    ) -> Result<Vec<Agent>> {
        self.write(site, |transaction| take(transaction, wanted, exists))
    }
}

/// The same within a transaction.
pub(crate) fn take(
    transaction: &Transaction<'_>,
    wanted: &[Reservation],
    exists: &dyn Fn(&Path) -> bool,
) -> Attempt<Vec<Agent>> {
    let mut live = agents::holders(transaction)?;
    refuse_taken(wanted, &live)?;
    let taken_before = live.len();
    for reservation in wanted {
        let holder = choose(reservation, &live, exists)?;
        agents::insert(transaction, &holder)?;
        tasks::take(transaction, &holder.agent)?;
        if reservation.shares {
            parts::share(transaction, &reservation.id)?;
        }
        live.push(holder);
    }
    let holds: Vec<Hold> = wanted.iter().filter_map(hold).collect();
    for (hold, cap) in holds.iter().zip(wanted.iter().filter_map(|each| each.cap)) {
        money::set(
            transaction,
            &Scope::Agent(hold.agent.to_string()),
            Some(cap),
            hold.made_at,
        )?;
    }
    money::take(transaction, &holds)?;
    Ok(live.drain(taken_before..).map(|holder| holder.agent).collect())
}

fn hold(wanted: &Reservation) -> Option<Hold> {
    Some(Hold {
        agent: wanted.id.clone(),
        generation: 1,
        amount: wanted.cap?.ceiling,
        made_at: wanted.now,
    })
}

/// Everything that makes `wanted` impossible, in one error.
fn refuse_taken(wanted: &[Reservation], live: &[Holder]) -> Result<()> {
    if let Some(again) = first_double(wanted) {
        return Err(Error::conflict(format!("`{}` is asked for twice", again.branch)).hint("name each branch once"));
    }
    let taken: Vec<&Reservation> = wanted
        .iter()
        .filter(|one| {
            live.iter()
                .any(|other| other.agent.repo == one.repo && other.agent.branch == one.branch)
        })
        .collect();
    if let Some(first) = taken.first() {
        return Err(exists_already(first, &taken));
    }
    for one in wanted {
        let members = live.iter().filter(|other| other.agent.batch_id == one.batch_id).count();
        if one.batch_exclusive && members > 0 {
            let batch = &one.batch_id;
            let count = name::plural(members, "agent");
            return Err(
                Error::conflict(format!("batch `{batch}` already exists with {count}")).hint(format!(
                    "choose another prefix, or end it with `fleet kill --batch {batch}`"
                )),
            );
        }
    }
    Ok(())
}

fn first_double(wanted: &[Reservation]) -> Option<&Reservation> {
    wanted.iter().enumerate().find_map(|(index, one)| {
        wanted[..index]
            .iter()
            .any(|other| other.repo == one.repo && other.branch == one.branch)
            .then_some(one)
    })
}

fn exists_already(first: &Reservation, taken: &[&Reservation]) -> Error {
    let branch = &first.branch;
    let repo = &first.repo_name;
    if taken.len() == 1 {
        return Error::conflict(format!("agent `{branch}` already exists in {repo}")).hint(format!(
            "run `fleet attach {}` to see it, or choose another branch",
            name::word(branch)
        ));
    }
    let names: Vec<String> = taken.iter().map(|one| format!("`{}`", one.branch)).collect();
    Error::conflict(format!("agents {} already exist in {repo}", names.join(", ")))
        .hint("run `fleet list` to see them, or choose other branches")
}

fn choose(wanted: &Reservation, live: &[Holder], exists: &dyn Fn(&Path) -> bool) -> Result<Holder> {
    let agent = Agent {
        id: wanted.id.clone(),
        repo: wanted.repo.clone(),
        repo_name: wanted.repo_name.clone(),
        branch: wanted.branch.clone(),
        workspace: wanted.workspace,
        worktree: match wanted.workspace {
            Workspace::Worktree => free_folder(wanted, live, exists)?,
            Workspace::Here => free_directory(wanted, live)?,
        },
        shared: wanted.shared,
        session: free_session(wanted, live),
        batch_id: wanted.batch_id.clone(),
        task: wanted.task,
        harness: wanted.harness.clone(),
        model: wanted.model.clone(),
        base: wanted.base.clone(),
        made_branch: wanted.made_branch,
        headless: wanted.headless,
        pid: None,
        port_base: free_ports(wanted.ports, live)?,
        env_names: wanted.env_names.clone(),
        conversation: wanted.conversation.clone(),
        phase: Phase::Reserved,
        generation: 0,
        created_at: wanted.now,
        ended_at: None,
    };
    // Refused here, where the message can still name the path.
    values::path(&agent.repo)?;
    values::path(&agent.worktree)?;
    Ok(Holder {
        agent,
        ports: wanted.ports.step,
    })
}

fn free_session(wanted: &Reservation, live: &[Holder]) -> String {
    let plain = name::session(&wanted.session_prefix, &wanted.branch);
    let id = wanted.id.as_str();
    let is_free = |name: &String| live.iter().all(|other| other.agent.session != *name);
    let names = [plain.clone(), format!("{plain}-{}", &id[..4])];
    names
        .into_iter()
        .find(is_free)
        .unwrap_or_else(|| format!("{plain}-{id}"))
}

fn free_folder(wanted: &Reservation, live: &[Holder], exists: &dyn Fn(&Path) -> bool) -> Result<PathBuf> {
    let root = &wanted.worktree_root;
    let worktrees = || live.iter().filter(|other| other.agent.workspace == Workspace::Worktree);
    if let Some(outer) = worktrees().find(|other| root.starts_with(&other.agent.worktree)) {
        let message = format!(
            "worktrees in {} would lie inside that of agent `{}`",
            root.display(),
            outer.agent.branch
        );
        return Err(Error::conflict(message).hint("set `worktree_root` to a folder outside of any worktree"));
    }
    let branch = name::safe(&wanted.branch);
    let repo = name::safe(&wanted.repo_name);
    let id = wanted.id.as_str();
    let names = [
        branch.clone(),
        format!("{branch}--{repo}"),
        format!("{branch}--{repo}-{}", &id[..4]),
        format!("{branch}--{repo}-{id}"),
    ];
    let is_free = |path: &PathBuf| live.iter().all(|other| other.agent.worktree != *path) && !exists(path);
    names.iter().map(|name| root.join(name)).find(is_free).ok_or_else(|| {
        Error::conflict(format!(
            "every folder for `{}` in {} exists already",
            wanted.branch,
            root.display()
        ))
        .hint("run `fleet clean` to see what is left over there")
    })
}

fn free_directory(wanted: &Reservation, live: &[Holder]) -> Result<PathBuf> {
    let Some(directory) = &wanted.here_dir else {
        return Err(Error::internal("an agent without a worktree was given no directory"));
    };
    // What measures the work of a run does so beside who did it.
    let is_of_run = |other: &Holder| other.agent.batch_id == wanted.batch_id;
    let shares = |other: &Holder| wanted.shared && (other.agent.shared || is_of_run(other));
    let taken = |other: &&Holder| other.agent.worktree == *directory && !shares(other);
    match live.iter().find(taken) {
        None => Ok(directory.clone()),
        Some(holder) => {
            let label = &holder.agent.branch;
            Err(
                Error::conflict(format!("agent `{label}` already works in {}", directory.display())).hint(format!(
                    "run `fleet attach {}` to see it, or use another directory",
                    name::word(label)
                )),
            )
        }
    }
}

/// The first port of the lowest free block. Blocks are compared by extent: `step` may have been another once.
fn free_ports(range: PortRange, live: &[Holder]) -> Result<u16> {
    let extent = |first: u16, width: u16| u32::from(first)..u32::from(first) + u32::from(width);
    let is_free = |base: &u16| {
        let block = extent(*base, range.step);
        live.iter().all(|other| {
            let held = extent(other.agent.port_base, other.ports);
            block.end <= held.start || held.end <= block.start
        })
    };
    let blocks = (0..u32::from(range.count)).map(|index| u32::from(range.first) + index * u32::from(range.step));
    let within = blocks.take_while(|base| base + u32::from(range.step) <= 65_536);
    within
        .filter_map(|base| u16::try_from(base).ok())
        .find(is_free)
        .ok_or_else(|| {
            Error::unavailable(format!("no port block is free: {} agents hold them", live.len()))
                .hint("run `fleet list` to see the agents, and end some with `fleet kill`")
        })
}
