//! The branches of a worktree run: who works on which, and what each has declared.

use fleet_core::agent::Agent;
use fleet_core::name::word;
use fleet_core::run::record::Run;
use fleet_core::{Error, Result};

use super::plan_of;
use crate::app::App;
use crate::merge::Branch;

/// The agents of `run`, in the order of the plan; of each worker the newest. Error: its workers have no branches.
pub fn agents(app: &App, run: &Run) -> Result<Vec<Agent>> {
    let plan = plan_of(app, run)?;
    let all = app.store()?.agents_all()?;
    let of = |branch: &String| {
        let own = |agent: &&Agent| agent.batch_id == run.name && Some(&agent.repo) == run.repo.as_ref();
        all.iter().filter(own).find(|agent| agent.branch == *branch).cloned()
    };
    let branches = plan.workers.iter().filter_map(|worker| worker.branch.as_ref());
    let found: Vec<Agent> = branches.filter_map(of).collect();
    if found.is_empty() {
        let root = run.root.to_string_lossy();
        return Err(Error::usage(format!("`{}` has no branches to merge", run.name)).hint(
            match run.plan_type.as_str() {
                "worktree" => format!("start its workers first: `fleet launch {}`", word(&root)),
                _ => format!("see what its workers made: `fleet status {}`", word(&root)),
            },
        ));
    }
    Ok(found)
}

/// The same as branches, each under its worker's id and with the files that the worker declared.
pub fn of(app: &App, run: &Run) -> Result<Vec<Branch>> {
    let plan = plan_of(app, run)?;
    let agents = agents(app, run)?;
    let branch = |agent: &Agent| {
        let worker = plan
            .workers
            .iter()
            .find(|worker| worker.branch.as_ref() == Some(&agent.branch))?;
        Some(Branch {
            name: worker.id.clone(),
            declared: worker.target_files.clone(),
            ..Branch::of(app, agent)?
        })
    };
    Ok(agents.iter().filter_map(branch).collect())
}
