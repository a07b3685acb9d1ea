//! Agents whose program was updated while it ran: they go on with the old one until they are restarted.

use std::collections::HashMap;

use fleet_core::agent::{Agent, Phase};
use fleet_core::name::word;
use fleet_host::supervise::program::{self, Update};

use crate::app::App;

/// A line for each of `agents` whose program is another one now. Only those that run are looked at.
pub(crate) fn lines<'a>(app: &App, running: impl IntoIterator<Item = &'a Agent>) -> Vec<String> {
    // Agents of one program have the same note, and its files are looked at once.
    let mut known: HashMap<Vec<u8>, Option<Update>> = HashMap::new();
    let running = running.into_iter().filter(|agent| agent.phase == Phase::Started);
    let lines = running.filter_map(|agent| {
        let kept = program::kept(&app.home.agent_dir(&agent.id))?;
        let update = known
            .entry(kept)
            .or_insert_with_key(|kept| program::updated(kept))
            .as_ref()?;
        Some(line(agent, update))
    });
    lines.collect()
}

fn line(agent: &Agent, update: &Update) -> String {
    let program = &update.program;
    let how = match &update.versions {
        Some((before, after)) => format!("was updated from {before} to {after}"),
        None => "was replaced by another file".to_owned(),
    };
    let name = word(&agent.branch);
    format!("{program} {how} under {name}: `fleet restart {name}` takes the new one")
}
