//! What a new driver finds: steps that were begun under the one before it. Each is decided from what is there, so a
//! driver may have been killed at any line.

use fleet_core::Result;
use fleet_core::agent::{Phase, Standing};
use fleet_core::run::Key;
use fleet_core::run::record::StepName;
use fleet_host::lock::Lock;
use fleet_host::supervise::journal;
use fleet_store::Change;

use super::{Engine, Live, came};

impl Engine<'_> {
    /// Takes hold of every step that has no recorded end.
    pub(super) fn take_over(&mut self) -> Result<()> {
        let store = self.app.store()?;
        let open: Vec<Key> = self.seen.running().map(|step| step.key).collect();
        let records = store.steps(&self.run.id)?;
        for key in open {
            let name = StepName::of(&self.plan, key);
            let Some(record) = records.iter().find(|record| record.name == name) else {
                continue;
            };
            let Some(agent) = store.agent(&record.agent)? else {
                self.forget(key, name);
                continue;
            };
            let folder = self.app.home.agent_dir(&agent.id);
            let alive = Lock::is_held(&self.app.home.agent_lock(&agent.id));
            let standing = Standing::fold(&journal::read(&folder).unwrap_or_default());
            let began = standing.generation >= record.generation
                && (standing.may_have_run || standing.exited.is_some() || standing.start_failed.is_some());
            if !alive && !began {
                // The driver was killed before the program ran, as far as anybody knows: nothing was paid for.
                came::end_remains(self.app, &agent.id);
                if agent.phase == Phase::Reserved {
                    self.take_back(&agent)?;
                }
                self.forget(key, name);
                continue;
            }
            if let (Some((pid, _)), Phase::Reserved) = (standing.child, agent.phase) {
                self.changes
                    .push(Change::AgentStarted(agent.id.clone(), pid, standing.generation));
            }
            let live = Live {
                client: self.app.client(&agent).ok(),
                agent: fleet_core::agent::Agent {
                    pid: standing.child.map(|(pid, _)| pid).or(agent.pid),
                    ..agent
                },
                trace: 0,
            };
            self.live.insert(key, live);
        }
        self.flush(&[])?;
        Ok(())
    }

    /// A step that never was.
    fn forget(&mut self, key: Key, name: StepName) {
        if let Some(attempts) = self.seen.steps.get_mut(&(key.worker, key.round, key.part)) {
            attempts.retain(|step| step.key != key);
        }
        self.changes.push(Change::Void(name));
    }
}
