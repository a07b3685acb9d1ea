//! Hears what crews say of their tasks: the blocks in a text, each with what became of it.
//!
//! Whoever writes a block is a model. So nothing in it is a path or a command, what it says it cost is kept beside the
//! account, and a report of a task that is not the writer's changes nothing. What is refused is an event.

use std::collections::HashMap;

use fleet_core::task::crew_report::{self, CrewReport, Found};
use fleet_core::task::{Task, TaskId};
use fleet_core::{Error, Result};
use fleet_host::git::Repo;
use fleet_store::Reported;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{commits, is_part_of, key, note, observe_task, of_caller, publish};
use crate::app::App;
use crate::budgets;
use crate::caller::Caller;

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reception {
    /// It was stored.
    Stored,
    /// It says what was stored before.
    Known,
    /// The same block stands in the text before it.
    Doubled,
    /// It was refused, and nothing was changed.
    Refused,
}

/// One block that was heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Received {
    /// The task that it names; none where that is no id.
    pub task: Option<TaskId>,
    /// What became of it.
    pub reception: Reception,
    /// Why it was refused, or what of it was left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Everything that was heard in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heard {
    /// Its blocks, in order.
    pub reports: Vec<Received>,
    /// The tasks that a sub-agent was just sent out for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub begun: Vec<TaskId>,
}

impl Heard {
    /// How many blocks were refused.
    pub fn refused(&self) -> usize {
        let refused = |each: &&Received| each.reception == Reception::Refused;
        self.reports.iter().filter(refused).count()
    }
}

/// Stores each report in `text`.
///
/// # Errors
/// The text is too long, or the store cannot be written. A block that is refused is no error.
pub fn hear(app: &App, caller: &Caller, repo: &Repo, text: &str) -> Result<Heard> {
    if text.len() > crew_report::LONGEST {
        let about = format!(
            "a text of {} bytes, and at most {} are read",
            text.len(),
            crew_report::LONGEST
        );
        note(app, repo, None, "refused", about.clone())?;
        return Err(Error::usage(format!("the report is {about}")).hint("give the last message of the crew alone"));
    }
    let mut heard = Heard::default();
    let found = crew_report::read(text);
    if found.is_empty() {
        return Ok(heard);
    }
    let tasks: HashMap<TaskId, Task> = app
        .store()?
        .tasks(None)?
        .into_iter()
        .map(|task| (task.id, task))
        .collect();
    let own = key(repo)?;
    for each in &found {
        let received = receive(app, caller, repo, &tasks, &own, each)?;
        let event = match received.reception {
            Reception::Refused => Some("refused"),
            Reception::Doubled => Some("doubled"),
            // What of a report that was stored is left out is refused, too.
            Reception::Stored if !received.notes.is_empty() => Some("refused"),
            Reception::Stored | Reception::Known => None,
        };
        if let Some(event) = event {
            let known = received
                .task
                .filter(|id| tasks.get(id).is_some_and(|task| task.repo == own));
            let mut about = received.notes.join("; ");
            if let (None, Some(id)) = (known, received.task) {
                about = format!("{id}: {about}");
            }
            note(app, repo, known, event, about)?;
        }
        heard.reports.push(received);
    }
    Ok(heard)
}

fn receive(
    app: &App,
    caller: &Caller,
    repo: &Repo,
    tasks: &HashMap<TaskId, Task>,
    own: &str,
    found: &Found<'_>,
) -> Result<Received> {
    let refused = |task, why: String| Received {
        task,
        reception: Reception::Refused,
        notes: vec![why],
    };
    let Some(report) = &found.checked.value else {
        let why = found.checked.fault().unwrap_or_else(|| "it cannot be read".to_owned());
        return Ok(refused(TaskId::named_in(found.block), why));
    };
    let id = report.fleet_task_id;
    if found.doubled {
        return Ok(Received {
            task: Some(id),
            reception: Reception::Doubled,
            notes: vec!["the same block stands there twice, and counts once".to_owned()],
        });
    }
    let Some(task) = tasks.get(&id) else {
        return Ok(refused(Some(id), "there is no such task".to_owned()));
    };
    if task.repo != own {
        return Ok(refused(Some(id), "it is a task of another repository".to_owned()));
    }
    if let Some(working) = of_caller(caller).filter(|working| !is_part_of(tasks, id, *working)) {
        let why = format!("it is somebody else's: the reporter works for {working}");
        return Ok(refused(Some(id), why));
    }
    store(app, repo, found, report)
}

fn store(app: &App, repo: &Repo, found: &Found<'_>, report: &CrewReport) -> Result<Received> {
    let (commits, unknown) = commits(repo, &report.commits)?;
    let said = Reported {
        report,
        block: found.block.trim(),
        commits: &commits,
        at: app.now(),
    };
    let is_new = app.store()?.task_report("task.report", &said)?;
    // A worktree that cannot be read is no reason to refuse a report.
    let _ = observe_task(app, report.fleet_task_id);
    publish(app, repo, report.fleet_task_id)?;
    // What it has left is its parent's again. That nobody is told of it now is no reason to refuse a report.
    let _ = budgets::end_part(app, report.fleet_task_id);
    let reception = if is_new { Reception::Stored } else { Reception::Known };
    let warnings = found.checked.findings.iter().map(|finding| finding.message.clone());
    let missing = unknown
        .iter()
        .map(|commit| format!("`{}` is no commit of the repository", short(commit)));
    Ok(Received {
        task: Some(report.fleet_task_id),
        reception,
        notes: missing.chain(warnings).collect(),
    })
}

/// A word of a model, for a message.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
