//! What of a plan's file may be changed while its run goes on.

use fleet_core::plan::{self, Shape};

use super::Engine;
use crate::runs;

impl Engine<'_> {
    /// Takes `stop_when` and the budgets of the run from the plan's file, which may be changed while it goes on.
    pub(super) fn read_stop_rule(&mut self) {
        if matches!(self.plan.shape, Shape::Worktree | Shape::Dag | Shape::Pipeline(_)) {
            return;
        }
        let path = self.run.root.join(crate::plan::FILE);
        let Ok(meta) = std::fs::metadata(&path) else { return };
        let stamp = meta
            .modified()
            .ok()
            .filter(|_| meta.is_file())
            .map(|at| (at, meta.len()));
        if stamp.is_none() || stamp == self.config_read {
            return;
        }
        self.config_read = stamp;
        let Ok(text) = std::fs::read_to_string(&path) else {
            return;
        };
        if text == self.run.text {
            return;
        }
        let draft = plan::read(&text);
        let sound = !draft.has_errors();
        let new = draft
            .plan()
            .filter(|new| sound && new.type_name() == self.plan.type_name());
        let Some(new) = new else {
            return self.note(
                "plan",
                None,
                "fleet.json has errors now; the run keeps to what was launched",
            );
        };
        let before = self.plan.clone();
        self.plan.cap = new.cap;
        for worker in &mut self.plan.workers {
            let same = new.workers.iter().find(|each| each.id == worker.id);
            worker.budget = same.map_or(worker.budget, |same| same.budget);
        }
        match (&mut self.plan.shape, new.shape) {
            (Shape::Iterative(rounds), Shape::Iterative(new)) => {
                rounds.max_iterations = new.max_iterations;
                rounds.lgtm_count = new.lgtm_count;
                rounds.budget = new.budget;
            }
            (Shape::Autoresearch(research), Shape::Autoresearch(new)) => {
                research.max_iterations = new.max_iterations;
                research.budget = new.budget;
            }
            _ => {}
        }
        // A store that cannot be read now is read before the next step is started.
        let _ = runs::raise(self.app, &self.run, &mut self.plan);
        if before != self.plan {
            self.note(
                "plan",
                None,
                "fleet.json was changed: its stop_when and budgets hold from now on",
            );
        }
    }
}
