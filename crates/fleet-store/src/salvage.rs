//! The records of saved work. The work itself is in git and in the trash.

use std::path::PathBuf;

use fleet_core::id::AgentId;
use fleet_core::{Error, Result, Time};
use rusqlite::{Row, ToSql, named_params, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Attempt;
use crate::open::Store;
use crate::values;

/// Work that was saved when its workspace went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Salvage {
    /// Its id.
    pub id: String,
    /// The agent whose work it is.
    pub agent: AgentId,
    /// Real path of the repository's common git directory.
    pub repo: PathBuf,
    /// The agent's branch.
    pub branch: String,
    /// Why it was saved, such as `kill`.
    pub reason: String,
    /// The ref that holds it; none when everything is in the trash.
    pub ref_name: Option<String>,
    /// The commit that the ref points to.
    pub commit: Option<String>,
    /// The commit that was checked out; none on a branch without commits.
    pub head: Option<String>,
    /// Where the workspace was moved, when git could not hold all of it.
    pub trash: Option<PathBuf>,
    /// What else is known: counts, warnings, what restoring needs.
    pub note: Value,
    /// When it was saved.
    pub created_at: Time,
    /// When it was pruned.
    pub pruned_at: Option<Time>,
}

impl Store {
    /// Records saved work. Saving again under the same id replaces the record; the time it was made stays.
    pub fn salvage_add(&self, site: &'static str, salvage: &Salvage) -> Result<()> {
        let sql = "INSERT INTO salvage (id, agent, repo, branch, reason, ref_name, commit_id, head, trash, note,
                created_at, pruned_at)
            VALUES (:id, :agent, :repo, :branch, :reason, :ref_name, :commit, :head, :trash, :note, :created_at,
                :pruned_at)
            ON CONFLICT (id) DO UPDATE SET agent = excluded.agent, repo = excluded.repo, branch = excluded.branch,
                reason = excluded.reason, ref_name = excluded.ref_name, commit_id = excluded.commit_id,
                head = excluded.head, trash = excluded.trash, note = excluded.note, pruned_at = excluded.pruned_at";
        let trash = salvage.trash.as_deref().map(values::path).transpose()?;
        self.write(site, |transaction| {
            transaction.execute(
                sql,
                named_params! {
                    ":id": salvage.id,
                    ":agent": salvage.agent.as_str(),
                    ":repo": values::path(&salvage.repo)?,
                    ":branch": salvage.branch,
                    ":reason": salvage.reason,
                    ":ref_name": salvage.ref_name,
                    ":commit": salvage.commit,
                    ":head": salvage.head,
                    ":trash": trash,
                    ":note": values::json(&salvage.note)?,
                    ":created_at": salvage.created_at.0,
                    ":pruned_at": salvage.pruned_at.map(|time| time.0),
                },
            )?;
            Ok(())
        })
    }

    /// All saved work that was not pruned, newest first.
    pub fn salvage_list(&self) -> Result<Vec<Salvage>> {
        self.select_salvage("WHERE pruned_at IS NULL ORDER BY created_at DESC, rowid DESC", &[])
    }

    /// The saved work with this id, pruned or not.
    pub fn salvage_get(&self, id: &str) -> Result<Option<Salvage>> {
        Ok(self.select_salvage("WHERE id = ?1", &[&id])?.pop())
    }

    /// Records that saved work was pruned. The first time stands.
    ///
    /// # Errors
    /// `NotFound` when there is no such record.
    pub fn salvage_mark_pruned(&self, site: &'static str, id: &str, at: Time) -> Result<()> {
        let sql = "UPDATE salvage SET pruned_at = coalesce(pruned_at, ?2) WHERE id = ?1";
        self.write(site, |transaction| {
            match transaction.execute(sql, params![id, at.0])? {
                0 => {
                    let error = Error::not_found(format!("no salvage has the id `{id}`"));
                    Err(error.hint("run `fleet salvage list` to see what was saved").into())
                }
                _ => Ok(()),
            }
        })
    }

    fn select_salvage(&self, rest: &str, values: &[&dyn ToSql]) -> Result<Vec<Salvage>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("SELECT * FROM salvage {rest}"))?;
            statement.query_and_then(values, read)?.collect()
        })
    }
}

fn read(row: &Row<'_>) -> Attempt<Salvage> {
    let text = |column: &str| row.get::<_, String>(column);
    Ok(Salvage {
        id: text("id")?,
        agent: values::from_id(&text("agent")?)?,
        repo: PathBuf::from(text("repo")?),
        branch: text("branch")?,
        reason: text("reason")?,
        ref_name: row.get("ref_name")?,
        commit: row.get("commit_id")?,
        head: row.get("head")?,
        trash: row.get::<_, Option<String>>("trash")?.map(PathBuf::from),
        note: values::from_json(&text("note")?)?,
        created_at: Time(row.get("created_at")?),
        pruned_at: row.get::<_, Option<i64>>("pruned_at")?.map(Time),
    })
}
