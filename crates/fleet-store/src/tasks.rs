//! Tasks: their ids, their records, what was reported of them.

use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::profile::{Class, Sample};
use fleet_core::report::{FollowUp as Named, Priority};
use fleet_core::task::crew_report::CrewReport;
use fleet_core::task::{Event, FollowUp, Standing, Task, TaskId, title_key};
use fleet_core::{Error, Kind, Result, Time};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction, named_params, params};

use crate::failure::Attempt;
use crate::open::Store;
use crate::{parts, values};

/// What is asked for a new task; its id is chosen.
#[derive(Clone, Debug, Default)]
pub struct NewTask {
    /// What is to be done, in a line.
    pub title: String,
    /// What kind of work it is.
    pub kind: String,
    /// Who does it.
    pub crew: Option<String>,
    /// How much it matters.
    pub priority: Option<Priority>,
    /// The task that it is a part of.
    pub parent: Option<TaskId>,
    /// Real path of the repository's common git directory.
    pub repo: String,
    /// Who gives it out.
    pub dispatched_by: String,
    /// The run that it belongs to.
    pub run: Option<String>,
    /// The harness that is to work on it.
    pub harness: Option<String>,
    /// The model that is asked for.
    pub model: Option<String>,
    /// How thorough it is to be.
    pub intensity: Option<String>,
    /// What it may cost; with a parent its share of that one's ceiling.
    pub ceiling: Option<Usd>,
    /// The follow-up that it is made of: the task that named it, and its title.
    pub promoted: Option<(TaskId, String)>,
    /// How another program calls it. Where that is an id of a task which is free, it becomes its id.
    pub external: Option<String>,
}

/// Where an agent's account belongs beside its own record: run, worker and round.
pub type Place = (String, String, u32);

/// What a crew said of a task.
#[derive(Clone, Debug)]
pub struct Reported<'a> {
    /// What stands in the block.
    pub report: &'a CrewReport,
    /// The block as it was given.
    pub block: &'a str,
    /// Those of its commits that the repository has, by their full ids.
    pub commits: &'a [String],
    /// When it was heard.
    pub at: Time,
}

impl Store {
    /// Records a new task under the next free id of the day. `is_taken` tells of ids that others have used, such as
    /// those of a checkout that came from another machine; it is asked while all other writers wait. A task that another
    /// program names is recorded once: under the same name there is the same task.
    ///
    /// # Errors
    /// `NotFound` when there is no such parent in this repository, `OverBudget` when the parent's ceiling has no room for
    /// its share, `Conflict` when the follow-up was made a task before.
    pub fn task_add(
        &self,
        site: &'static str,
        new: &NewTask,
        at: Time,
        is_taken: &dyn Fn(TaskId) -> bool,
    ) -> Result<Task> {
        self.write(site, |transaction| insert(transaction, new, at, is_taken))
    }

    /// The task with this id.
    pub fn task(&self, id: TaskId) -> Result<Option<Task>> {
        self.read(|connection| one(connection, id))
    }

    /// Every task, oldest first; of one repository, where that is asked for.
    pub fn tasks(&self, repo: Option<&str>) -> Result<Vec<Task>> {
        self.read(|connection| {
            select(
                connection,
                "WHERE (?1 IS NULL OR repo = ?1) ORDER BY day, number",
                &[&repo],
            )
        })
    }

    /// The block that was last reported of a task.
    pub fn task_block(&self, id: TaskId) -> Result<Option<String>> {
        self.read(|connection| {
            let sql = "SELECT report FROM tasks WHERE id = ?1";
            let found = connection
                .query_row(sql, [id.to_string()], |row| row.get(0))
                .optional()?;
            Ok(found.flatten())
        })
    }

    /// Records what a crew said, in place of what it said before. Answers whether it says anything new.
    ///
    /// # Errors
    /// `NotFound` when there is no such task.
    pub fn task_report(&self, site: &'static str, said: &Reported<'_>) -> Result<bool> {
        self.write(site, |transaction| {
            let id = said.report.fleet_task_id;
            let task = known(transaction, id)?;
            let sql = "SELECT report FROM tasks WHERE id = ?1";
            let before: Option<String> = transaction.query_row(sql, [id.to_string()], |row| row.get(0))?;
            if before.as_deref() == Some(said.block) {
                return Ok(false);
            }
            let standing = Standing::from(said.report.status);
            let sql = "UPDATE tasks SET status = ?2, crew = coalesce(?3, crew), reported = ?4, report = ?5,
                         ended_at = max(?6, created_at) WHERE id = ?1";
            let reported = said.report.cost_usd.map(|cost| values::int(cost.micros()));
            let values = params![
                id.to_string(),
                values::word(&standing)?,
                said.report.crew.as_deref().and_then(fleet_core::task::title),
                reported,
                said.block,
                said.at.0
            ];
            transaction.execute(sql, values)?;
            for table in ["task_commits", "follow_ups"] {
                transaction.execute(&format!("DELETE FROM {table} WHERE task = ?1"), [id.to_string()])?;
            }
            for (seq, commit) in said.commits.iter().enumerate() {
                let sql = "INSERT INTO task_commits (task, seq, commit_id) VALUES (?1, ?2, ?3)";
                transaction.execute(sql, params![id.to_string(), values::int(seq as u64), commit])?;
            }
            add_follow_ups(transaction, id, &said.report.follow_ups)?;
            note(
                transaction,
                &task.repo,
                Some(id),
                said.at,
                "reported",
                standing.as_str(),
            )?;
            Ok(true)
        })
    }

    /// Notes that work on a task has begun, with this harness, and answers whether that is news.
    pub fn task_start(&self, site: &'static str, id: TaskId, harness: &str, at: Time) -> Result<bool> {
        self.write(site, |transaction| {
            let task = known(transaction, id)?;
            start(transaction, &task, harness, at)
        })
    }

    /// Ends a task that has not ended, and answers whether it was so.
    pub fn task_end(&self, site: &'static str, id: TaskId, standing: Standing, at: Time) -> Result<bool> {
        self.write(site, |transaction| end(transaction, id, standing, at))
    }

    /// Notes something about a task, or about none.
    pub fn task_note(&self, site: &'static str, repo: &str, event: &Event) -> Result<()> {
        self.write(site, |transaction| {
            note(transaction, repo, event.task, event.at, &event.event, &event.about)
        })
    }

    /// What happened to one task, or with none in a repository to reports that name no task of it; oldest first.
    pub fn task_events(&self, repo: &str, id: Option<TaskId>) -> Result<Vec<Event>> {
        self.read(|connection| {
            let sql = "SELECT at, task, event, about FROM task_events
                       WHERE (?2 IS NOT NULL AND task = ?2) OR (?2 IS NULL AND task IS NULL AND repo = ?1) ORDER BY seq";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_and_then(params![repo, id.map(|id| id.to_string())], |row| -> Attempt<Event> {
                Ok(Event {
                    at: Time(row.get(0)?),
                    task: row.get::<_, Option<String>>(1)?.and_then(|id| TaskId::parse(&id)),
                    event: row.get(2)?,
                    about: row.get(3)?,
                })
            })?;
            rows.collect()
        })
    }

    /// The tasks whose agents were seen to make this commit, by its full id, and behind them those whose reports name it.
    pub fn tasks_of_commit(&self, commit: &str) -> Result<Vec<TaskId>> {
        let sql = "SELECT task FROM (SELECT task, 0 AS named, made_at AS place FROM task_made WHERE commit_id = ?1
                   UNION ALL SELECT task, 1, seq FROM task_commits WHERE commit_id = ?1) ORDER BY named, place, task";
        self.read(|connection| ids(connection, sql, &[&commit]))
    }

    /// The tasks of this repository for which the same was changed; see [`Store::task_made`].
    pub fn tasks_of_patch(&self, repo: &str, patch: &str) -> Result<Vec<TaskId>> {
        let sql = "SELECT task FROM task_patches JOIN tasks ON tasks.id = task
                   WHERE patch = ?1 AND repo = ?2 ORDER BY day, number";
        self.read(|connection| ids(connection, sql, &[&patch, &repo]))
    }

    /// Since when it is known what is changed for tasks of this repository; none where nothing is.
    pub fn patches_since(&self, repo: &str) -> Result<Option<Time>> {
        self.read(|connection| {
            let sql = "SELECT min(created_at) FROM tasks WHERE repo = ?1 AND id IN (SELECT task FROM task_patches)";
            let since: Option<i64> = connection.prepare_cached(sql)?.query_row([repo], |row| row.get(0))?;
            Ok(since.map(Time))
        })
    }

    /// Records the commits that `agent` was seen to make for a task, by their full ids, and what they change as
    /// `git patch-id` has it. Answers whether one is new.
    ///
    /// # Errors
    /// `NotFound` when there is no such task.
    pub fn task_made(
        &self,
        site: &'static str,
        id: TaskId,
        agent: &AgentId,
        (commits, patches): (&[String], &[String]),
        at: Time,
    ) -> Result<bool> {
        self.write(site, |transaction| {
            let task = known(transaction, id)?;
            let mut new = 0;
            for (place, commit) in commits.iter().enumerate() {
                let sql = "INSERT OR IGNORE INTO task_made (task, commit_id, agent, made_at) VALUES (?1, ?2, ?3, ?4)";
                let at = at.0.saturating_add(i64::try_from(place).unwrap_or_default());
                new += transaction.execute(sql, params![id.to_string(), commit, agent.as_str(), at])?;
            }
            for patch in patches {
                let sql = "INSERT OR IGNORE INTO task_patches (task, patch) VALUES (?1, ?2)";
                transaction.execute(sql, params![id.to_string(), patch])?;
            }
            if new > 0 {
                let about = fleet_core::name::plural(new, "new commit");
                note(transaction, &task.repo, Some(id), at, "commits", &about)?;
            }
            Ok(new > 0)
        })
    }

    /// The commits that `agent` was seen to make for a task.
    pub fn made_by(&self, id: TaskId, agent: &AgentId) -> Result<Vec<String>> {
        self.read(|connection| {
            let sql = "SELECT commit_id FROM task_made WHERE task = ?1 AND agent = ?2 ORDER BY made_at, commit_id";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([id.to_string(), agent.to_string()], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The run, worker and round that an agent last worked for.
    pub fn place_of(&self, agent: &AgentId) -> Result<Option<Place>> {
        self.read(|connection| {
            let sql = "SELECT run, worker, round FROM steps WHERE agent = ?1 ORDER BY generation DESC LIMIT 1";
            let mut statement = connection.prepare_cached(sql)?;
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            Ok(statement.query_row([agent.as_str()], row).optional()?)
        })
    }

    /// All work that has finished, for forecasts: tasks with an account of their own, and the steps of runs.
    pub fn finished_work(&self) -> Result<Vec<Sample>> {
        self.read(|connection| {
            let mut work = finished_tasks(connection)?;
            work.extend(finished_steps(connection)?);
            Ok(work)
        })
    }
}

/// The most ids that are given on one day.
const MOST_A_DAY: u32 = 999_999;

/// Records a new task; see [`Store::task_add`].
pub(crate) fn insert(
    transaction: &Transaction<'_>,
    new: &NewTask,
    at: Time,
    is_taken: &dyn Fn(TaskId) -> bool,
) -> Attempt<Task> {
    if let Some(known) = external(transaction, new)? {
        return Ok(known);
    }
    check_parent(transaction, new)?;
    let key = new.promoted.as_ref().map(|(_, title)| title_key(title));
    if let Some(key) = &key
        && let Some(id) = promoted(transaction, &new.repo, key)?
    {
        return Err(Error::conflict(format!("this follow-up is the task {id} already"))
            .hint(format!("see it: `fleet task show {id}`"))
            .into());
    }
    let day = TaskId::new(at, 1).day();
    let sql = "SELECT coalesce(max(number), 0) FROM tasks WHERE day = ?1";
    let last: u32 = transaction.query_row(sql, [day], |row| row.get(0))?;
    let given = new.external.as_deref().and_then(TaskId::parse);
    let given = match given {
        Some(id) if one(transaction, id)?.is_none() && !is_taken(id) => Some(id),
        _ => None,
    };
    let next = || {
        let mut all = (last + 1..=MOST_A_DAY).map(|number| TaskId::new(at, number));
        all.find(|id| !is_taken(*id))
    };
    let Some(id) = given.or_else(next) else {
        return Err(Error::unavailable("no id of a task is left for today").into());
    };
    let sql = "INSERT INTO tasks (id, day, number, repo, title, kind, crew, status, parent, promoted_from,
            promoted_key, external, dispatched_by, run, harness, model, intensity, ceiling, priority, created_at)
        VALUES (:id, :day, :number, :repo, :title, :kind, :crew, 'open', :parent, :promoted_from,
            :promoted_key, :external, :dispatched_by, :run, :harness, :model, :intensity, :ceiling, :priority,
            :created_at)";
    transaction.execute(
        sql,
        named_params! {
            ":id": id.to_string(),
            ":day": id.day(),
            ":number": id.number(),
            ":repo": new.repo,
            ":title": new.title,
            ":kind": new.kind,
            ":crew": new.crew,
            ":parent": new.parent.map(|id| id.to_string()),
            ":promoted_from": new.promoted.as_ref().map(|(from, _)| from.to_string()),
            ":promoted_key": key,
            ":external": new.external,
            ":dispatched_by": new.dispatched_by,
            ":run": new.run,
            ":harness": new.harness,
            ":model": new.model,
            ":intensity": new.intensity,
            ":ceiling": new.ceiling.map(|ceiling| values::int(ceiling.micros())),
            ":priority": new.priority.map(Priority::as_str),
            ":created_at": at.0,
        },
    )?;
    note(transaction, &new.repo, Some(id), at, "created", &new.title)?;
    if let Some((from, _)) = &new.promoted {
        note(
            transaction,
            &new.repo,
            Some(*from),
            at,
            "promoted",
            &format!("{id}: {}", new.title),
        )?;
    }
    known(transaction, id)
}

/// Notes that a sub-agent works on `task`; see [`Store::task_start`].
pub(crate) fn start(transaction: &Transaction<'_>, task: &Task, harness: &str, at: Time) -> Attempt<bool> {
    let sql = "UPDATE tasks SET status = 'running', started_at = max(?2, created_at), harness = coalesce(harness, ?3)
               WHERE id = ?1 AND status = 'open'";
    let changed = transaction.execute(sql, params![task.id.to_string(), at.0, harness])? == 1;
    if changed {
        let about = format!("a sub-agent of {harness}");
        note(transaction, &task.repo, Some(task.id), at, "started", &about)?;
    }
    Ok(changed)
}

/// Ends a task; see [`Store::task_end`].
pub(crate) fn end(transaction: &Transaction<'_>, id: TaskId, standing: Standing, at: Time) -> Attempt<bool> {
    let task = known(transaction, id)?;
    let sql = "UPDATE tasks SET status = ?2, ended_at = max(?3, created_at) WHERE id = ?1 AND ended_at IS NULL";
    let changed = transaction.execute(sql, params![id.to_string(), values::word(&standing)?, at.0])? == 1;
    if changed {
        note(transaction, &task.repo, Some(id), at, "ended", standing.as_str())?;
    }
    Ok(changed)
}

/// Notes that an agent was started for a task.
///
/// # Errors
/// `NotFound` when there is no such task in the agent's repository, `Conflict` when it has ended.
pub(crate) fn take(transaction: &Transaction<'_>, agent: &fleet_core::agent::Agent) -> Attempt<()> {
    let Some(id) = agent.task else { return Ok(()) };
    let task = known(transaction, id)?;
    if task.repo != values::path(&agent.repo)? {
        return Err(unknown_here(id).into());
    }
    if task.status.is_final() {
        return Err(
            Error::conflict(format!("the task {id} has ended: {}", task.status.as_str()))
                .hint("make another one: `fleet task create TITLE`")
                .into(),
        );
    }
    let sql = "UPDATE tasks SET status = 'running', started_at = coalesce(started_at, ?2), agent = coalesce(agent, ?3),
                 batch = coalesce(batch, ?4), harness = coalesce(harness, ?5), model = coalesce(model, ?6) WHERE id = ?1";
    transaction.execute(
        sql,
        params![
            id.to_string(),
            agent.created_at.0.max(task.created_at.0),
            agent.id.as_str(),
            agent.batch_id,
            agent.harness,
            agent.model
        ],
    )?;
    let about = format!("{} with {}", agent.branch, agent.harness);
    note(transaction, &task.repo, Some(id), agent.created_at, "started", &about)
}

/// Notes that an agent that was to work for a task never did: without another one it waits again.
pub(crate) fn release(transaction: &Transaction<'_>, task: Option<TaskId>) -> Attempt<()> {
    let Some(task) = task else { return Ok(()) };
    let sql = "UPDATE tasks SET status = 'open', started_at = NULL, agent = NULL, batch = NULL
               WHERE id = ?1 AND status = 'running' AND NOT EXISTS (SELECT 1 FROM agents WHERE task = ?1)";
    transaction.execute(sql, [task.to_string()])?;
    Ok(())
}

/// The error for an id that no task of the repository has.
pub(crate) fn unknown_here(id: TaskId) -> Error {
    Error::not_found(format!("there is no task {id} in this repository")).hint("see what there is: `fleet task list`")
}

fn check_parent(transaction: &Transaction<'_>, new: &NewTask) -> Attempt<()> {
    let Some(parent) = new.parent else { return Ok(()) };
    if one(transaction, parent)?.is_none_or(|task| task.repo != new.repo) {
        return Err(unknown_here(parent).into());
    }
    let Some(share) = new.ceiling else { return Ok(()) };
    for (id, room) in parts::rooms_above(transaction, &parent.to_string())? {
        if share > room.left() {
            let message = format!(
                "the ceiling of {id} is {}: {} of it are not given out, and {share} are asked for",
                room.cap.ceiling,
                room.left()
            );
            return Err(Error::new(Kind::OverBudget, message)
                .hint(format!(
                    "give a smaller share, or see how it is shared: `fleet task show {id}`; to allow more: \
                     `fleet budget raise {id} +{}`",
                    share.less(room.left()).dollars()
                ))
                .into());
        }
    }
    Ok(())
}

/// The task that is recorded under the same name of another program.
fn external(connection: &Connection, new: &NewTask) -> Attempt<Option<Task>> {
    let Some(name) = &new.external else { return Ok(None) };
    Ok(select(connection, "WHERE repo = ?1 AND external = ?2", &[&new.repo, name])?.pop())
}

fn promoted(connection: &Connection, repo: &str, key: &str) -> Attempt<Option<TaskId>> {
    let sql = "SELECT id FROM tasks WHERE repo = ?1 AND promoted_key = ?2";
    let found: Option<String> = connection
        .prepare_cached(sql)?
        .query_row([repo, key], |row| row.get(0))
        .optional()?;
    Ok(found.and_then(|id| TaskId::parse(&id)))
}

fn add_follow_ups(transaction: &Transaction<'_>, id: TaskId, all: &[Named]) -> Attempt<()> {
    let mut seen: Vec<String> = Vec::new();
    for each in all {
        let Some(title) = fleet_core::task::title(&each.title) else {
            continue;
        };
        let key = title_key(&title);
        if seen.contains(&key) {
            continue;
        }
        let sql = "INSERT INTO follow_ups (task, seq, title, key, priority) VALUES (?1, ?2, ?3, ?4, ?5)";
        let seq = values::int(seen.len() as u64);
        transaction.execute(sql, params![id.to_string(), seq, title, key, each.priority.as_str()])?;
        seen.push(key);
    }
    Ok(())
}

/// Notes something about a task, or about none.
pub(crate) fn note(
    transaction: &Transaction<'_>,
    repo: &str,
    task: Option<TaskId>,
    at: Time,
    event: &str,
    about: &str,
) -> Attempt<()> {
    let sql = "INSERT INTO task_events (repo, task, at, event, about) VALUES (?1, ?2, ?3, ?4, ?5)";
    transaction.execute(sql, params![repo, task.map(|id| id.to_string()), at.0, event, about])?;
    Ok(())
}

fn ids(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Attempt<Vec<TaskId>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_and_then(values, |row| -> Attempt<Option<TaskId>> {
        Ok(TaskId::parse(&row.get::<_, String>(0)?))
    })?;
    let found: Attempt<Vec<Option<TaskId>>> = rows.collect();
    Ok(found?.into_iter().flatten().collect())
}

fn known(connection: &Connection, id: TaskId) -> Attempt<Task> {
    match one(connection, id)? {
        Some(task) => Ok(task),
        None => Err(unknown_here(id).into()),
    }
}

pub(crate) fn one(connection: &Connection, id: TaskId) -> Attempt<Option<Task>> {
    Ok(select(connection, "WHERE id = ?1", &[&id.to_string()])?.pop())
}

fn select(connection: &Connection, rest: &str, values: &[&dyn ToSql]) -> Attempt<Vec<Task>> {
    let mut statement = connection.prepare_cached(&format!("SELECT * FROM tasks {rest}"))?;
    let found: Attempt<Vec<Task>> = statement.query_and_then(values, read)?.collect();
    let mut found = found?;
    for task in &mut found {
        complete(connection, task)?;
    }
    Ok(found)
}

/// Adds the commits and follow-ups of `task`, and whose sub-agent worked for it.
fn complete(connection: &Connection, task: &mut Task) -> Attempt<()> {
    let id = task.id.to_string();
    let sql = "SELECT agent FROM crews WHERE task = ?1 ORDER BY sent_at LIMIT 1";
    let sender = connection
        .prepare_cached(sql)?
        .query_row([&id], |row| row.get::<_, String>(0))
        .optional()?;
    task.sub_agent_of = sender.and_then(|id| AgentId::parse(&id));
    let sql = "SELECT commit_id FROM (
                 SELECT commit_id, 0 AS named, made_at AS place FROM task_made WHERE task = ?1
                 UNION ALL
                 SELECT commit_id, 1, seq FROM task_commits WHERE task = ?1
                   AND commit_id NOT IN (SELECT commit_id FROM task_made WHERE task = ?1))
               ORDER BY named, place, commit_id";
    let commits: rusqlite::Result<Vec<String>> = connection
        .prepare_cached(sql)?
        .query_map([&id], |row| row.get(0))?
        .collect();
    task.commits = commits?;
    let sql = "SELECT title, priority, (SELECT id FROM tasks WHERE repo = ?2 AND promoted_key = key) FROM follow_ups
               WHERE task = ?1 ORDER BY seq";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_and_then([&id, &task.repo], |row| -> Attempt<FollowUp> {
        Ok(FollowUp {
            title: row.get(0)?,
            priority: values::from_word(row.get(1)?)?,
            promoted: row.get::<_, Option<String>>(2)?.and_then(|id| TaskId::parse(&id)),
        })
    })?;
    let follow_ups: Attempt<Vec<FollowUp>> = rows.collect();
    task.follow_ups = follow_ups?;
    Ok(())
}

fn read(row: &Row<'_>) -> Attempt<Task> {
    let id = |column: &str| -> Attempt<Option<TaskId>> {
        Ok(row.get::<_, Option<String>>(column)?.and_then(|id| TaskId::parse(&id)))
    };
    let usd = |column: &str| -> Attempt<Option<Usd>> {
        Ok(row
            .get::<_, Option<i64>>(column)?
            .map(|micros| Usd::from_micros(values::uint(micros))))
    };
    let time = |column: &str| -> Attempt<Option<Time>> { Ok(row.get::<_, Option<i64>>(column)?.map(Time)) };
    let Some(own) = id("id")? else {
        return Err(Error::internal("a task of the database has no id").into());
    };
    Ok(Task {
        id: own,
        title: row.get("title")?,
        kind: row.get("kind")?,
        crew: row.get("crew")?,
        priority: row
            .get::<_, Option<String>>("priority")?
            .map(values::from_word)
            .transpose()?,
        status: values::from_word(row.get("status")?)?,
        parent: id("parent")?,
        repo: row.get("repo")?,
        dispatched_by: row.get("dispatched_by")?,
        agent: row
            .get::<_, Option<String>>("agent")?
            .and_then(|id| AgentId::parse(&id)),
        sub_agent_of: None,
        batch: row.get("batch")?,
        run: row.get("run")?,
        harness: row.get("harness")?,
        model: row.get("model")?,
        intensity: row.get("intensity")?,
        ceiling: usd("ceiling")?,
        hard: row.get("hard")?,
        reported: usd("reported")?,
        commits: Vec::new(),
        follow_ups: Vec::new(),
        promoted_from: id("promoted_from")?,
        external: row.get("external")?,
        created_at: Time(row.get("created_at")?),
        started_at: time("started_at")?,
        ended_at: time("ended_at")?,
    })
}

/// What is known of the cost of several rows: nothing, if one of them has none.
fn known_cost(rows: i64, known: i64, sum: i64) -> Option<Usd> {
    (rows > 0 && rows == known).then(|| Usd::from_micros(values::uint(sum)))
}

fn finished_tasks(connection: &Connection) -> Attempt<Vec<Sample>> {
    // What its sub-agents used that have no record but that of fleet belongs to it.
    const OWN: &str = "(task = tasks.id OR task IN (SELECT crews.task FROM crews JOIN agents ON agents.id = crews.agent
                         WHERE made = 1 AND agents.task = tasks.id))";
    let sql = format!(
        "SELECT kind, tasks.harness, coalesce(tasks.model, (SELECT model FROM spend WHERE task = tasks.id AND beside = 0
                 GROUP BY model ORDER BY sum(cost) DESC LIMIT 1)), intensity,
                 ended_at - coalesce(started_at, created_at),
                 (SELECT count(*) FROM spend WHERE {OWN} AND beside = 0),
                 (SELECT count(cost) FROM spend WHERE {OWN} AND beside = 0),
                 (SELECT coalesce(sum(cost), 0) FROM spend WHERE {OWN} AND beside = 0)
               FROM tasks WHERE status IN ('completed', 'partial')
                 AND NOT EXISTS (SELECT 1 FROM crews WHERE crews.task = tasks.id AND made = 1) ORDER BY day, number"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_and_then([], |row| -> Attempt<Sample> {
        Ok(Sample {
            class: Class {
                kind: row.get(0)?,
                harness: row.get(1)?,
                model: row.get(2)?,
                intensity: row.get(3)?,
            },
            seconds: row.get::<_, i64>(4)? as f64 / 1000.0,
            cost: known_cost(row.get(5)?, row.get(6)?, row.get(7)?),
        })
    })?;
    rows.collect()
}

/// Steps that have ended well. One that is a task of its own is there as that task.
fn finished_steps(connection: &Connection) -> Attempt<Vec<Sample>> {
    let sql = "SELECT runs.type, agents.harness, agents.model, steps.ended - steps.began, steps.cost
               FROM steps JOIN runs ON runs.id = steps.run JOIN agents ON agents.id = steps.agent
               WHERE steps.part = 'work' AND steps.how = 'done'
                 AND (agents.task IS NULL OR agents.task = runs.task) ORDER BY steps.ended_at";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_and_then([], |row| -> Attempt<Sample> {
        Ok(Sample {
            class: Class {
                kind: row.get(0)?,
                harness: row.get(1)?,
                model: row.get(2)?,
                intensity: None,
            },
            seconds: row.get::<_, i64>(3)? as f64 / 1000.0,
            cost: row
                .get::<_, Option<i64>>(4)?
                .map(|micros| Usd::from_micros(values::uint(micros))),
        })
    })?;
    rows.collect()
}
