//! `task blame`: which task each line of a file is from, and what that cost.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use fleet_core::name::plural;
use fleet_core::task::cost::Cost;
use fleet_core::task::{TRAILER, TaskId};
use fleet_core::{Result, Time};
use fleet_host::git::{self, Blamed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::op::Operation;
use crate::page::{Label, Page, Show, plain, span};
use crate::task::{self, Costs};

/// Show which tasks the lines of a file are from, and what those cost
///
/// A commit belongs to the task of its trailer `Fleet-Task:`, or to the one whose report names it, or to that of the agent
/// that was seen to make it. One that was rebased or squashed since is known by what it changes.
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blame {
    /// The file
    pub file: String,
    /// As it was in this commit [default: as it is on the disk]
    #[arg(long, value_name = "COMMIT")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
}

/// The lines of one task.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// The task; none for lines that belong to none.
    pub task: Option<TaskId>,
    /// Its title; none where it is not recorded here.
    pub title: Option<String>,
    /// Its crew.
    pub crew: Option<String>,
    /// How many lines are from it.
    pub lines: usize,
    /// The commits that they are from, with the most lines first.
    pub commits: Vec<String>,
    /// What the whole task cost with its parts, other files included; none for lines that belong to no task.
    pub cost: Option<Cost>,
}

/// The lines of a file by task.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BlamedFile {
    /// The file, as it was given.
    pub file: String,
    /// How many lines it has.
    pub lines: usize,
    /// The task with the most lines first.
    pub tasks: Vec<Share>,
}

impl Operation for Blame {
    const NAME: &'static str = "task.blame";
    const EFFECT: Effect = Effect::Read;
    type Output = BlamedFile;

    fn run(self, app: &App, caller: &Caller) -> Result<BlamedFile> {
        let repo = git::discover(&caller.cwd)?;
        let rev = self
            .rev
            .as_deref()
            .map(|rev| git::resolve_base(&repo, Some(rev)))
            .transpose()?;
        let found = git::blame(&caller.cwd, rev.as_deref(), self.file.as_ref())?;
        let commits: Vec<String> = found.iter().filter_map(|each| each.commit.clone()).collect();
        let trailers = git::trailers(&repo.common_dir, &commits, TRAILER)?;
        let costs = Costs::now(app)?;
        let mut known: BTreeMap<String, TaskId> = BTreeMap::new();
        let mut unknown: Vec<&Blamed> = Vec::new();
        for each in &found {
            let Some(commit) = &each.commit else { continue };
            // The last one is the nearest to the work: those before it were there when it was picked or squashed.
            let said = trailers
                .get(commit)
                .and_then(|all| all.iter().rev().find_map(|id| TaskId::parse(id)));
            let seen = app.store()?.tasks_of_commit(commit)?.last().copied();
            // A part of the task that the trailer names is nearer.
            let nearer = said
                .zip(seen)
                .is_some_and(|(said, seen)| task::is_part_of(&costs.tasks, seen, said));
            match if nearer { seen } else { said.or(seen) } {
                Some(id) => drop(known.insert(commit.clone(), id)),
                None => unknown.push(each),
            }
        }
        known.extend(by_what_they_change(app, &repo.common_dir, &unknown)?);
        let mut by_task: BTreeMap<Option<TaskId>, (usize, Vec<String>)> = BTreeMap::new();
        for each in &found {
            let id = each.commit.as_ref().and_then(|commit| known.get(commit)).copied();
            let (lines, commits) = by_task.entry(id).or_default();
            *lines += each.lines;
            commits.extend(each.commit.clone());
        }
        let share = |(id, (lines, commits)): (Option<TaskId>, (usize, Vec<String>))| {
            let record = id.and_then(|id| costs.tasks.get(&id));
            Share {
                task: id,
                title: record.map(|task| task.title.clone()),
                crew: record.and_then(|task| task.crew.clone()),
                lines,
                commits,
                cost: id.map(|id| Cost::from(&costs.of(id).whole)),
            }
        };
        let mut tasks: Vec<Share> = by_task.into_iter().map(share).collect();
        tasks.sort_by_key(|each| std::cmp::Reverse(each.lines));
        Ok(BlamedFile {
            lines: found.iter().map(|each| each.lines).sum(),
            file: self.file,
            tasks,
        })
    }
}

/// The tasks of commits that were rebased or squashed after an agent had made them.
fn by_what_they_change(app: &App, common: &Path, commits: &[&Blamed]) -> Result<Vec<(String, TaskId)>> {
    /// So many are looked at, those with the most lines first: each is a diff.
    const MOST: usize = 500;
    let repo = common.to_string_lossy();
    let Some(since) = app.store()?.patches_since(&repo)? else {
        return Ok(Vec::new());
    };
    let young = commits
        .iter()
        .filter(|each| each.committed_at >= Time(since.0 - since.0 % 1000));
    let young: Vec<String> = young.filter_map(|each| each.commit.clone()).take(MOST).collect();
    let mut found = Vec::new();
    for (commit, patch) in git::patch_ids(common, &young)? {
        let tasks = app.store()?.tasks_of_patch(&repo, &patch)?;
        found.extend(tasks.last().map(|task| (commit, *task)));
    }
    Ok(found)
}

impl Show for BlamedFile {
    fn show(&self, page: &mut Page) {
        if self.tasks.is_empty() {
            page.line(format!("{} has no lines", self.file));
            return;
        }
        let rows = self.tasks.iter().map(|each| {
            let name = each.task.map_or_else(|| "(no task)".to_owned(), |id| id.to_string());
            let title = match (&each.title, each.task) {
                (Some(title), _) => title.clone(),
                (None, Some(_)) => "(not recorded here)".to_owned(),
                (None, None) => String::new(),
            };
            vec![
                span(Label::Name, name),
                plain(each.lines.to_string()),
                plain(format!("{:.0} %", each.lines as f64 * 100.0 / self.lines as f64)),
                plain(plural(each.commits.len(), "commit")),
                plain(each.cost.map_or_else(|| "-".to_owned(), |cost| cost.to_string())),
                plain(each.crew.clone().unwrap_or_else(|| "-".to_owned())),
                plain(title),
            ]
        });
        page.table(
            &["task", "lines", "share", "commits", "cost of the task", "crew", "title"],
            rows.collect(),
        );
    }
}
