//! The stages of a pipeline: what they are told and may use, and what came of them.
//!
//! What a stage answered is read from its own stream again whenever it is needed; what follows from it is recorded with
//! the end of its step, so that a decision never depends on a file.

use std::fs::File;

use fleet_core::Result;
use fleet_core::block::Mark;
use fleet_core::budget::{Limits, Used};
use fleet_core::contract::{Budget, PriorStage};
use fleet_core::money::Usd;
use fleet_core::outcome::Outcome;
use fleet_core::pipeline::told::{self, Answer, Situation};
use fleet_core::pipeline::{Check, Pipeline};
use fleet_core::plan::{Plan, Shape};
use fleet_core::run::record::{Event, Run, StepRecord};
use fleet_core::run::{How, Key, Part, Seen, stages};
use fleet_host::git;
use fleet_host::harness::stream::{Cli, Told, told as heard};

use super::{Engine, layout};
use crate::app::App;
use crate::{grants, ops, pipelines};

/// The variable with the contract of a session, for the programs that it starts.
pub(crate) const CONTRACT: &str = "FLEET_CONTRACT";

/// The event with the commits of a stage.
const COMMITS: &str = "commits";

/// How much of what a gate printed is told to the stage that goes again.
const GATE_LINES: usize = 200;

/// Runs every check, says which failed, and fails if one did. The names and lines are its arguments: none is put into it.
const GATE: &str = "failed=0
while [ $# -gt 1 ]; do
  printf '== check %s\\n' \"$1\"
  /bin/sh -c \"$2\" </dev/null || { printf '== check failed: %s (exit code %s)\\n' \"$1\" \"$?\"; failed=1; }
  shift 2
done
exit $failed";

impl Engine<'_> {
    /// The pipeline that is run, where it is one.
    pub(super) fn pipeline(&self) -> Option<&Pipeline> {
        match &self.plan.shape {
            Shape::Pipeline(pipeline) => Some(pipeline),
            _ => None,
        }
    }

    /// Counts what the stages have used that are over.
    pub(super) fn count_used(&mut self) {
        let Some(pipeline) = self.pipeline() else { return };
        let over = self.seen.all().filter(|step| !step.runs()).count();
        if self.counted == Some(over) {
            return;
        }
        self.seen.used = used(&self.run, &self.plan, pipeline, &self.seen);
        // That it cannot be read now is seen at the next step's end.
        self.seen.used.dispatches += started(self.app, &self.run).unwrap_or(0);
        self.counted = Some(over);
    }

    /// What is left of the budget for a stage that may spend `usd`.
    fn left(&self, pipeline: &Pipeline, usd: Usd) -> Budget {
        let whole = pipeline.contract.budget;
        let used = &self.seen.used;
        let less = |most: Option<u32>, used: u64| {
            most.map(|most| most.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX)))
        };
        Budget {
            ceiling_usd: self.seen.ceiling.map(|_| usd),
            max_tool_calls: less(whole.max_tool_calls, used.tool_calls),
            max_turns: less(whole.max_turns, used.turns).map(|turns| turns.max(1)),
            max_crew_dispatches: less(whole.max_crew_dispatches, used.dispatches),
            hard_ceiling: self.seen.ceiling.is_some_and(|cap| cap.hard),
            ..whole
        }
    }

    /// What the supervisor of a stage heeds. It steps in at the first call beyond what is allowed. Where the ceiling is
    /// soft, the stage may finish its turn, which is all of it.
    pub(super) fn stage_limits(&self, pipeline: &Pipeline, hold: Usd) -> Limits {
        let left = self.left(pipeline, hold);
        Limits {
            usd: left.ceiling_usd.filter(|_| left.hard_ceiling),
            hard: left.hard_ceiling,
            known: true,
            ..pipelines::counted(&left)
        }
    }

    /// How many turns a stage may take, for programs that count.
    pub(super) fn stage_turns(&self, pipeline: &Pipeline) -> Option<u32> {
        self.left(pipeline, Usd::default()).max_turns
    }

    /// What the stage of `key` finds.
    fn situation(&self, pipeline: &Pipeline, key: Key, hold: Usd) -> Result<Situation> {
        let prior = (0..key.worker).filter_map(|place| {
            let (go, stage) = (last_go(&self.seen, place)?, pipeline.stages.get(place)?);
            let costs: Option<Vec<Usd>> = self
                .seen
                .all()
                .filter(|step| step.key.worker == place)
                .map(|step| step.ended.as_ref()?.cost)
                .collect();
            Some(PriorStage {
                stage: stage.name.clone(),
                summary: answer(&self.run, pipeline, place, go).summary,
                cost_usd: costs.map(|costs| costs.into_iter().sum()),
            })
        });
        Ok(Situation {
            left: self.left(pipeline, hold),
            prior: prior.collect(),
            feedback: self.feedback(pipeline, key)?,
        })
    }

    /// The prompt of the stage of `key`, which may spend `hold`.
    pub(super) fn stage_prompt(&self, pipeline: &Pipeline, key: Key, hold: Usd) -> Result<String> {
        told::prompt(pipeline, key.worker, &self.situation(pipeline, key, hold)?)
    }

    /// The contract of the stage of `key` as a block, for its environment.
    pub(super) fn stage_contract(&self, pipeline: &Pipeline, key: Key, hold: Usd) -> Result<String> {
        let situation = Situation {
            left: self.left(pipeline, hold),
            ..Situation::default()
        };
        Ok(told::contract(pipeline, key.worker, &situation)?.1)
    }

    /// What was wrong before the go of `key`: what came last of its own go before and of reviews of it.
    fn feedback(&self, pipeline: &Pipeline, key: Key) -> Result<Option<String>> {
        if key.round <= 1 {
            return Ok(None);
        }
        let about = |place: usize| {
            let reviews = pipeline.stages.get(place).and_then(|stage| stage.reviews);
            place == key.worker || reviews == Some(key.worker)
        };
        let ended = |step: &&fleet_core::run::Step| about(step.key.worker) && step.ended.is_some();
        let last = self.seen.all().filter(ended).max_by_key(|step| {
            let at = step.ended.as_ref().map(|ended| ended.at);
            (at, step.key.worker, step.key.part, step.key.attempt)
        });
        let Some((last, end)) = last.and_then(|step| Some((step.key, step.ended.as_ref()?))) else {
            return Ok(None);
        };
        Ok(match (last.part, last.worker == key.worker) {
            (Part::Measure, _) => Some(self.gate_output(last)?),
            // A review that goes again was content with nothing: it has no fault of its own.
            (_, true) if end.text == stages::ITERATE => None,
            (_, true) => Some(end.text.clone()).filter(|text| !text.is_empty()),
            (_, false) => {
                let said = answer(&self.run, pipeline, last.worker, last.round).summary;
                Some(format!("The review said:\n\n{said}"))
            }
        })
    }

    /// The end of what the gate of `key` printed.
    fn gate_output(&self, key: Key) -> Result<String> {
        let store = self.app.store()?;
        let steps = store.steps(&self.run.id)?;
        let own = |step: &&StepRecord| step.name.key(&self.plan) == Some(key);
        let agent = steps
            .iter()
            .rfind(own)
            .map(|step| store.agent(&step.agent))
            .transpose()?;
        let lines = agent
            .flatten()
            .map(|agent| ops::logs::text(self.app, &agent, GATE_LINES));
        Ok(lines.transpose().unwrap_or_default().unwrap_or_default().join("\n"))
    }

    /// Notes the commits that are on the branch now and were not when the stage before ended.
    pub(super) fn note_commits(&mut self, key: Key) -> Result<()> {
        let (Some(pipeline), Some(common), Some(base)) = (self.pipeline(), &self.run.repo, &self.run.base) else {
            return Ok(());
        };
        if key.part != Part::Work {
            return Ok(());
        }
        let known = commits(&self.app.store()?.run_events(&self.run.id, 0)?);
        // A branch that somebody has deleted has none.
        let mut all = git::commits(common, base, &pipeline.branch).unwrap_or_default();
        all.retain(|commit| known.iter().all(|(_, each)| each != commit));
        if !all.is_empty() {
            let id = self.plan.worker_id(key.worker).to_owned();
            self.note(COMMITS, Some(&id), all.join(" "));
        }
        Ok(())
    }

    /// What the end of a stage's session means, where the program itself says that it is done, or has used all its turns.
    pub(super) fn stage_end(&mut self, key: Key, how: How, outcome: Option<Outcome>) -> Option<(How, String)> {
        let pipeline = self.pipeline()?;
        if key.part != Part::Work {
            return None;
        }
        if how == How::Failed && outcome == Some(Outcome::MaxTurns) {
            return Some((How::OverBudget, "it has used all its turns".to_owned()));
        }
        if !how.is_done() {
            return None;
        }
        let answer = answer(&self.run, pipeline, key.worker, key.round);
        let id = self.plan.worker_id(key.worker).to_owned();
        if let Some(fault) = answer.fault {
            self.note("report", Some(&id), format!("it is not believed: {fault}"));
        }
        match (answer.failed, answer.iterate) {
            (Some(failed), _) => Some((How::Failed, failed)),
            (None, true) => Some((how, stages::ITERATE.to_owned())),
            (None, false) => None,
        }
    }
}

/// The commits that were noted, each with its stage, in order.
pub(crate) fn commits(events: &[(u64, Event)]) -> Vec<(String, String)> {
    let noted = events.iter().filter(|(_, event)| event.event == COMMITS);
    let each = |(_, event): &(u64, Event)| {
        let stage = event.worker.clone().unwrap_or_default();
        let commits = event.about.split_whitespace().map(str::to_owned);
        commits.map(move |commit| (stage.clone(), commit)).collect::<Vec<_>>()
    };
    noted.flat_map(each).collect()
}

/// The command that runs the checks of a gate.
pub(super) fn gate(checks: &[Check]) -> Vec<String> {
    let mut argv = ["/bin/sh", "-c", GATE, "gate"].map(str::to_owned).to_vec();
    let pairs = checks
        .iter()
        .flat_map(|check| [check.name.clone(), check.command.clone()]);
    argv.extend(pairs);
    argv
}

/// The last go of the stage at `place` that has begun.
pub(crate) fn last_go(seen: &Seen, place: usize) -> Option<u32> {
    let own = seen
        .all()
        .filter(|step| step.key.worker == place && step.key.part == Part::Work);
    own.map(|step| step.key.round).max()
}

/// What the stage at `place` answered in its go number `go`.
pub(crate) fn answer(run: &Run, pipeline: &Pipeline, place: usize, go: u32) -> Answer {
    told::read(pipeline, place, &stream(run, pipeline, place, go).said)
}

/// What all sessions that are over have used together, money apart.
pub(crate) fn used(run: &Run, plan: &Plan, pipeline: &Pipeline, seen: &Seen) -> Used {
    let mut used = Used::default();
    for ((place, go, part), steps) in &seen.steps {
        if *part != Part::Work || *place >= plan.workers.len() || steps.iter().any(|step| step.runs()) {
            continue;
        }
        let told = stream(run, pipeline, *place, *go);
        used.tool_calls += told.tool_calls;
        used.turns += told.turns;
        used.dispatches += told.dispatches;
    }
    used
}

/// How often sessions of `run` have given work away by starting agents and runs of fleet.
pub(crate) fn started(app: &App, run: &Run) -> Result<u64> {
    let steps = app.store()?.steps(&run.id)?;
    let keys = steps.iter().map(|step| grants::of_launch(&step.agent, step.generation));
    keys.map(|key| grants::dispatches(app, &key)).sum()
}

fn stream(run: &Run, pipeline: &Pipeline, place: usize, go: u32) -> Told {
    let name = pipeline.stages.get(place).map_or("", |stage| stage.name.as_str());
    let file = File::open(layout::stage_session(&run.root, name, go));
    match (Cli::named(&pipeline.provider), file) {
        (Some(cli), Ok(file)) => heard(cli, file, Mark::REPORT.as_str()),
        _ => Told::default(),
    }
}
