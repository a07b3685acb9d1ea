//! Notifying the user of ceilings that are near their end, or at it, and of runs that pause or end because of one: the hook
//! `on_budget`, once over all processes.
//!
//! What is to be told is noted by the store, with what brought the ceiling there. Its own process runs the hook: whoever
//! noticed may be the driver of a run, or a command that a person waits for. The hook of an agent's own ceiling is run by its
//! supervisor.

use fleet_core::Result;
use fleet_core::budget::Scope;
use fleet_host::supervise::notify;
use fleet_store::Told;
use serde_json::{Value, json};

use crate::app::App;
use crate::caller::Caller;
use crate::child;

/// Has the user notified of what nobody was notified of yet, by a process of its own. That nobody can be is no failure of
/// what was done.
pub(crate) fn soon(app: &App, caller: &Caller) {
    let Ok(new) = app.store().and_then(|store| store.told_new()) else {
        return;
    };
    if !new.is_empty() {
        let _ = child::recorder(app, caller, None).start();
    }
}

/// Runs the hook for each ceiling that nobody was notified of yet, one after the other, and waits for it.
pub(crate) fn now(app: &App, caller: &Caller) -> Result<()> {
    let store = app.store()?;
    let new = store.told_new()?;
    if new.is_empty() {
        return Ok(());
    }
    let argv = app.config(caller, None)?.on_budget;
    let env: Vec<(String, String)> = caller.env.clone().into_iter().collect();
    for told in new {
        // Without a hook nobody is to hear of it later.
        if store.told_take("notify.take", told.number)?
            && let Some(argv) = &argv
        {
            notify::run("on_budget", argv, &env, &body(app, &told));
        }
    }
    Ok(())
}

/// What the hook is told.
fn body(app: &App, told: &Told) -> Value {
    let name = |run: &String| {
        let found = app.store().and_then(|store| store.run(run)).ok().flatten();
        found.map_or_else(|| run.clone(), |run| run.name)
    };
    let scope = told.scope.to_string();
    let kind = scope.split(':').next().unwrap_or_default();
    let (what, more) = match &told.scope {
        Scope::Day | Scope::Week => (kind.to_owned(), json!({})),
        Scope::Run(run) => (name(run), json!({ "run": run })),
        Scope::Worker(run, worker) => (
            format!("{}/{worker}", name(run)),
            json!({ "run": run, "worker": worker }),
        ),
        Scope::Iteration(run, round) => (
            format!("{}/round {round}", name(run)),
            json!({ "run": run, "round": round }),
        ),
        Scope::Agent(agent) => (agent.clone(), json!({ "agent": agent })),
        Scope::Task(task) => (task.clone(), json!({ "task": task })),
    };
    let mut body = json!({
        "hook": "on_budget", "scope": kind, "what": what, "level": told.notice, "rung": "usd", "about": told.about,
        "spent_usd": told.spent, "at": told.at,
    });
    if !told.ceiling.is_zero() {
        body["ceiling_usd"] = json!(told.ceiling);
    }
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}
