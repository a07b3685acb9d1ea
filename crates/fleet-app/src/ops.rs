//! The operations, one file a verb or noun. Each is an args struct, an output struct and a plain `run`.

pub mod budget;
pub mod check;
pub mod clean;
pub mod config;
pub mod contract;
pub mod create;
pub mod diff;
pub mod doctor;
pub mod explain;
pub mod fanout;
pub mod integrate;
pub mod kill;
pub mod launch;
pub mod list;
pub mod logs;
pub mod merge;
pub mod multi;
pub mod path;
pub mod pause;
pub mod plan;
pub mod pr;
pub mod profile;
pub mod prompt;
pub mod rank;
pub mod relaunch;
pub mod report;
pub mod restart;
pub mod resume;
pub mod run;
pub mod salvage;
pub mod started;
pub mod status;
pub mod task;
pub mod types;
pub mod wait;

use fleet_core::agent::Agent;
use fleet_core::{Error, Result};

/// The one agent of a selection. Error: there are several.
fn one(agents: Vec<Agent>) -> Result<Agent> {
    match <[Agent; 1]>::try_from(agents) {
        Ok([agent]) => Ok(agent),
        Err(many) => {
            let names: Vec<&str> = many.iter().map(|agent| agent.branch.as_str()).collect();
            Err(Error::usage(format!(
                "this takes one agent, and {} match: {}",
                many.len(),
                names.join(", ")
            ))
            .hint("name one of them"))
        }
    }
}
