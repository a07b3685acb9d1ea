//! `salvage`: work that was saved when its workspace went.

use std::path::PathBuf;

use clap::Args;
use fleet_core::name::plural;
use fleet_core::nearest::nearest;
use fleet_core::time::age;
use fleet_core::{Error, Result, Time};
use fleet_host::{files, git, salvage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Effect};
use crate::kept;
use crate::op::Operation;
use crate::page::{Label, Page, bytes, plain, span};

/// Saved work.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Saved {
    /// Its id.
    pub id: String,
    /// The branch that the agent had.
    pub branch: String,
    /// Its repository's common git directory.
    pub repo: PathBuf,
    /// When it was saved.
    pub created_at: Time,
    /// The ref that holds it.
    pub reference: Option<String>,
    /// The folder that holds what git cannot.
    pub trash: Option<PathBuf>,
    /// Bytes in that folder.
    pub trash_bytes: u64,
    /// What it holds, in words.
    pub holds: Vec<String>,
}

impl Saved {
    fn of(record: fleet_store::Salvage) -> Saved {
        let holds = serde_json::from_value(record.note["holds"].clone()).unwrap_or_default();
        Saved {
            id: record.id,
            branch: record.branch,
            repo: record.repo,
            created_at: record.created_at,
            reference: record.ref_name,
            trash_bytes: record.trash.as_deref().map_or(0, files::disk_usage),
            trash: record.trash,
            holds,
        }
    }
}

fn find(app: &App, id: &str) -> Result<fleet_store::Salvage> {
    let store = app.store()?;
    if let Some(record) = store.salvage_get(id)?.filter(|record| record.pruned_at.is_none()) {
        return Ok(record);
    }
    let all = store.salvage_list()?;
    let of_branch: Vec<&fleet_store::Salvage> = all.iter().filter(|record| record.branch == id).collect();
    if let [one] = of_branch.as_slice() {
        return Ok((*one).clone());
    }
    let error = match of_branch.len() {
        0 => Error::not_found(format!("there is no salvage `{id}`")),
        count => Error::usage(format!("`{id}` has {}", plural(count, "salvage"))),
    };
    let names = all
        .iter()
        .flat_map(|record| [record.id.as_str(), record.branch.as_str()]);
    Err(match nearest(id, names, 1).first() {
        Some(near) => error.hint(format!("did you mean `{near}`? See all: `fleet salvage list`")),
        None => error.hint("see what there is: `fleet salvage list`"),
    })
}

/// List saved work
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {}

/// All saved work.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Salvages {
    /// Newest first.
    pub salvages: Vec<Saved>,
    /// For ages.
    #[serde(skip, default = "zero")]
    #[schemars(skip)]
    now: Time,
}

fn zero() -> Time {
    Time(0)
}

impl Operation for List {
    const NAME: &'static str = "salvage.list";
    const EFFECT: Effect = Effect::Read;
    type Output = Salvages;

    fn run(self, app: &App, _caller: &Caller) -> Result<Salvages> {
        let salvages = app.store()?.salvage_list()?.into_iter().map(Saved::of).collect();
        Ok(Salvages {
            salvages,
            now: app.now(),
        })
    }
}

impl crate::page::Show for Salvages {
    fn show(&self, page: &mut Page) {
        if self.salvages.is_empty() {
            page.line("nothing is saved");
            return;
        }
        let rows = self.salvages.iter().map(|saved| {
            vec![
                span(Label::Name, &saved.id),
                plain(&saved.branch),
                plain(age(self.now.since(saved.created_at))),
                plain(if saved.trash.is_some() {
                    bytes(saved.trash_bytes)
                } else {
                    "-".to_owned()
                }),
                plain(saved.holds.join(", ")),
            ]
        });
        page.table(&["id", "branch", "age", "trash", "holds"], rows.collect());
        page.hint("get one back: `fleet salvage restore ID`");
    }
}

/// Show saved work: what it holds and how to look into it
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// The id, or the branch if it has only one
    pub id: String,
}

/// Saved work in full.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Details {
    /// What is recorded.
    #[serde(flatten)]
    pub saved: Saved,
    /// The files in the ref that differ from the commit that was checked out, as git lists them.
    pub files: String,
}

impl Operation for Show {
    const NAME: &'static str = "salvage.show";
    const EFFECT: Effect = Effect::Read;
    type Output = Details;

    fn run(self, app: &App, _caller: &Caller) -> Result<Details> {
        let record = find(app, &self.id)?;
        let files = match (&record.commit, &record.head) {
            (Some(commit), head) => git::changed_files(&record.repo, head.as_deref(), commit)?,
            (None, _) => String::new(),
        };
        Ok(Details {
            saved: Saved::of(record),
            files,
        })
    }
}

impl crate::page::Show for Details {
    fn show(&self, page: &mut Page) {
        let saved = &self.saved;
        page.spans(vec![
            span(Label::Name, &saved.id),
            plain(format!(": the work of {} in {}", saved.branch, saved.repo.display())),
        ]);
        page.line(format!("saved at {}", saved.created_at));
        if !saved.holds.is_empty() {
            page.line(format!("holds {}", saved.holds.join(", ")));
        }
        if let Some(reference) = &saved.reference {
            page.line(format!("ref   {reference}"));
            page.hint(format!(
                "look into it: `git --git-dir={} show {reference}`",
                saved.repo.display()
            ));
        }
        if let Some(trash) = &saved.trash {
            page.line(format!("trash {} ({})", trash.display(), bytes(saved.trash_bytes)));
        }
        if !self.files.trim().is_empty() {
            page.raw(self.files.clone());
        }
        page.hint(format!("get it back: `fleet salvage restore {}`", saved.id));
    }
}

/// Put saved work into a new worktree, on the branch salvage/BRANCH
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The id, or the branch if it has only one
    pub id: String,
}

/// Where the work is again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Restored {
    /// Its id.
    pub id: String,
    /// The new worktree.
    pub worktree: PathBuf,
    /// The branch it is on.
    pub branch: String,
    /// What could not be brought back, in words.
    pub missing: Vec<String>,
}

impl Operation for Restore {
    const NAME: &'static str = "salvage.restore";
    const EFFECT: Effect = Effect::Write;
    type Output = Restored;

    fn run(self, app: &App, caller: &Caller) -> Result<Restored> {
        let record = find(app, &self.id)?;
        let config = app.config(caller, None)?;
        let saved: salvage::Saved = serde_json::from_value(record.note["saved"].clone())
            .map_err(|error| Error::internal(format!("the record of {}: {error}", record.id)))?;
        let wanted = format!("salvage/{}", record.branch);
        let mut branch = wanted.clone();
        let mut count = 1;
        while git::branch_exists(&record.repo, &branch)? {
            count += 1;
            branch = format!("{wanted}-{count}");
        }
        let mut worktree = config.worktree_root.join(fleet_core::name::safe(&branch));
        while worktree.symlink_metadata().is_ok() {
            count += 1;
            worktree = config
                .worktree_root
                .join(format!("{}-{count}", fleet_core::name::safe(&branch)));
        }
        files::create_private_dir("restore.worktree-root", &config.worktree_root)?;
        let missing = salvage::restore(&salvage::Restore {
            id: &record.id,
            repo: &record.repo,
            saved: &saved,
            trash: record.trash.as_deref(),
            to: &worktree,
            branch: &branch,
        })?;
        Ok(Restored {
            id: record.id,
            worktree,
            branch,
            missing,
        })
    }
}

impl crate::page::Show for Restored {
    fn show(&self, page: &mut Page) {
        page.spans(vec![
            plain("restored "),
            span(Label::Name, &self.id),
            plain(format!(" on the branch {} in {}", self.branch, self.worktree.display())),
        ]);
        for missing in &self.missing {
            page.warning(missing.clone());
        }
        page.hint(format!(
            "let an agent go on there: `cd {} && fleet create {} --here`",
            self.worktree.display(),
            fleet_core::name::safe(&self.branch)
        ));
    }
}

/// Delete saved work for good; shows it first, and acts only with --yes
#[derive(Args, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// Ids, or branches that have only one; without any: all of it
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Only what is older than this many days
    #[arg(long, value_name = "DAYS")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<u32>,
    /// Delete it
    #[arg(long)]
    #[serde(default)]
    pub yes: bool,
}

/// What was or would be deleted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Pruned {
    /// The saved work.
    pub salvages: Vec<Saved>,
    /// Whether it was deleted.
    pub done: bool,
}

impl Operation for Prune {
    const NAME: &'static str = "salvage.prune";
    const EFFECT: Effect = Effect::Destroy;
    type Output = Pruned;

    fn effect(&self) -> Effect {
        if self.yes { Effect::Destroy } else { Effect::Read }
    }

    fn run(self, app: &App, _caller: &Caller) -> Result<Pruned> {
        let store = app.store()?;
        let mut records = match self.ids.is_empty() {
            true => store.salvage_list()?,
            false => self.ids.iter().map(|id| find(app, id)).collect::<Result<_>>()?,
        };
        if let Some(days) = self.older_than {
            let limit = u64::from(days) * 86_400_000;
            records.retain(|record| app.now().since(record.created_at) > limit);
        }
        let salvages = records.iter().cloned().map(Saved::of).collect();
        if self.yes {
            for record in &records {
                salvage::prune(&record.repo, &record.id, record.trash.as_deref())?;
                kept::drop_salvage(app, &record.agent)?;
                store.salvage_mark_pruned("prune.record", &record.id, app.now())?;
            }
        }
        Ok(Pruned {
            salvages,
            done: self.yes,
        })
    }
}

impl crate::page::Show for Pruned {
    fn show(&self, page: &mut Page) {
        if self.salvages.is_empty() {
            page.line("nothing to delete");
        }
        let verb = if self.done { "deleted" } else { "would delete" };
        for saved in &self.salvages {
            page.spans(vec![
                plain(format!("{verb} ")),
                span(Label::Name, &saved.id),
                plain(format!(
                    ": {} of {} ({})",
                    saved.holds.join(", "),
                    saved.branch,
                    bytes(saved.trash_bytes)
                )),
            ]);
        }
        if !self.done && !self.salvages.is_empty() {
            page.hint("delete it for good: add `--yes`");
        }
    }
}
