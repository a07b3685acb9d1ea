//! `clean`: what fleet holds and nobody needs any more.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use fleet_core::Result;
use fleet_core::agent::Phase;
use fleet_host::{files, git};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, bytes, plain, span};
use crate::trash;

/// Show merged branches, leftovers and the disk they use; with --yes remove them
///
/// Removes branches that fleet made and that are merged, the kept output of ended agents, and folders below the
/// worktree root that belong to no agent and hold no files. Saved work stays: see `fleet salvage prune`.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clean {
    /// Remove it
    #[arg(long)]
    #[serde(default)]
    pub yes: bool,
}

/// Something that can go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Leftover {
    /// `branch`, `output` or `directory`.
    pub what: String,
    /// Its name or path.
    pub name: String,
    /// The repository of a branch.
    pub repo: Option<PathBuf>,
    /// Why it can go.
    pub why: String,
    /// Its disk use.
    pub bytes: u64,
}

/// What can go, and what is used.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Cleaning {
    /// What can go.
    pub leftovers: Vec<Leftover>,
    /// Whether it was removed.
    pub done: bool,
    /// Disk use of the worktrees.
    pub worktree_bytes: u64,
    /// Disk use of the trash.
    pub trash_bytes: u64,
    /// Disk use of kept output and journals.
    pub output_bytes: u64,
}

impl Operation for Clean {
    const NAME: &'static str = "clean";
    const EFFECT: Effect = Effect::Destroy;
    type Output = Cleaning;

    fn effect(&self) -> Effect {
        if self.yes { Effect::Destroy } else { Effect::Read }
    }

    fn run(self, app: &App, caller: &Caller) -> Result<Cleaning> {
        let config = app.config(caller, None)?;
        let mut leftovers = merged_branches(app)?;
        leftovers.extend(old_output(app)?);
        leftovers.extend(empty_directories(app, &config.worktree_root)?);
        if self.yes {
            for leftover in &leftovers {
                remove(leftover)?;
            }
        }
        let beside = files::disk_usage(&config.worktree_root.join(trash::BESIDE));
        Ok(Cleaning {
            leftovers,
            done: self.yes,
            worktree_bytes: files::disk_usage(&config.worktree_root) - beside,
            trash_bytes: trash::measured(app, Some(&config)),
            output_bytes: files::disk_usage(&app.home.agents()),
        })
    }
}

fn merged_branches(app: &App) -> Result<Vec<Leftover>> {
    let agents = app.store()?.agents_all()?;
    let live: BTreeSet<(&PathBuf, &str)> = agents
        .iter()
        .filter(|agent| agent.phase != Phase::Ended)
        .map(|agent| (&agent.repo, agent.branch.as_str()))
        .collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for agent in agents
        .iter()
        .filter(|agent| agent.phase == Phase::Ended && agent.made_branch && agent.repo.is_dir())
    {
        let key = (&agent.repo, agent.branch.as_str());
        if live.contains(&key) || !seen.insert(key) || !git::branch_exists(&agent.repo, &agent.branch)? {
            continue;
        }
        if !git::is_checked_out(&agent.repo, &agent.branch)?
            && let Some(into) = git::default_branch(&agent.repo)?
            && into != agent.branch
            && git::is_merged(&agent.repo, &agent.branch, &into)?
        {
            found.push(Leftover {
                what: "branch".to_owned(),
                name: agent.branch.clone(),
                repo: Some(agent.repo.clone()),
                why: format!("all of it is in {into}"),
                bytes: 0,
            });
        }
    }
    Ok(found)
}

fn old_output(app: &App) -> Result<Vec<Leftover>> {
    let ended = app
        .store()?
        .agents_all()?
        .into_iter()
        .filter(|agent| agent.phase == Phase::Ended);
    let folders = ended
        .map(|agent| (app.home.agent_dir(&agent.id), agent.branch))
        .filter(|(folder, _)| folder.exists());
    Ok(folders
        .map(|(folder, branch)| Leftover {
            what: "output".to_owned(),
            bytes: files::disk_usage(&folder),
            name: folder.display().to_string(),
            repo: None,
            why: format!("{branch} has ended"),
        })
        .collect())
}

fn empty_directories(app: &App, root: &std::path::Path) -> Result<Vec<Leftover>> {
    let known: BTreeSet<PathBuf> = app
        .store()?
        .agents_live()?
        .into_iter()
        .map(|agent| agent.worktree)
        .collect();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        let empty = std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none());
        if empty && !known.contains(&path) {
            found.push(Leftover {
                what: "directory".to_owned(),
                name: path.display().to_string(),
                repo: None,
                why: "it is empty and belongs to no agent".to_owned(),
                bytes: files::disk_usage(&path),
            });
        }
    }
    Ok(found)
}

fn remove(leftover: &Leftover) -> Result<()> {
    match (leftover.what.as_str(), &leftover.repo) {
        ("branch", Some(repo)) => git::delete_branch("clean.branch", repo, &leftover.name).map(|_| ()),
        _ => files::remove_tree("clean.remove", std::path::Path::new(&leftover.name)),
    }
}

impl Show for Cleaning {
    fn show(&self, page: &mut Page) {
        let verb = if self.done { "removed" } else { "would remove" };
        for leftover in &self.leftovers {
            page.spans(vec![
                plain(format!("{verb} {} ", leftover.what)),
                span(Label::Name, &leftover.name),
                plain(match leftover.bytes {
                    0 => format!(": {}", leftover.why),
                    size => format!(": {} ({})", leftover.why, bytes(size)),
                }),
            ]);
        }
        if self.leftovers.is_empty() {
            page.line("nothing to remove");
        }
        page.line(format!(
            "in use: worktrees {}, trash {}, output {}",
            bytes(self.worktree_bytes),
            bytes(self.trash_bytes),
            bytes(self.output_bytes)
        ));
        if !self.done && !self.leftovers.is_empty() {
            page.hint("remove it: `fleet clean --yes`");
        }
        if self.trash_bytes > 1_000_000 {
            page.hint("the trash holds saved work: `fleet salvage list`, `fleet salvage prune`");
        }
    }
}
