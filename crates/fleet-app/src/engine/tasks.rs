//! The tasks of a pipeline that keeps them: one of the job, and a part of it for each stage. They are named as the
//! pipeline names them, so that whoever asks again finds the same ones.

use fleet_core::Result;
use fleet_core::pipeline::Pipeline;
use fleet_core::report::Status;
use fleet_core::run::{Finish, Key, Part, stages};
use fleet_core::task::crew_report::{self, CrewReport};
use fleet_core::task::{Standing, Task};
use fleet_host::git::Repo;
use fleet_store::{NewTask, Reported};

use super::{Engine, pipeline};
use crate::task;

/// The most characters of what was asked for in the title of a task.
const LONGEST_TITLE: usize = 100;

impl Engine<'_> {
    /// The task of the stage at `place`; none where the pipeline keeps no tasks, or the run has no repository.
    pub(super) fn stage_task(&self, pipeline: &Pipeline, place: usize) -> Result<Option<Task>> {
        let Some(job) = self.job_task(pipeline)? else {
            return Ok(None);
        };
        let Some(stage) = pipeline.stages.get(place) else {
            return Ok(None);
        };
        let new = NewTask {
            title: format!("{}: {}", stage.name, title(pipeline)),
            kind: stage.name.clone(),
            crew: Some(stage.name.clone()),
            parent: Some(job.id),
            external: Some(pipeline.task_id(place)),
            ..self.new_task(pipeline)
        };
        self.made(new).map(Some)
    }

    fn job_task(&self, pipeline: &Pipeline) -> Result<Option<Task>> {
        if !pipeline.fleet.has_tasks() || self.run.repo.is_none() {
            return Ok(None);
        }
        let new = NewTask {
            title: title(pipeline),
            kind: pipeline.name.clone(),
            external: Some(pipeline.contract.job_id.clone()),
            parent: self.run.task,
            ..self.new_task(pipeline)
        };
        self.made(new).map(Some)
    }

    fn new_task(&self, pipeline: &Pipeline) -> NewTask {
        NewTask {
            run: Some(self.run.id.clone()),
            harness: Some(pipeline.provider.clone()),
            ..NewTask::default()
        }
    }

    fn made(&self, new: NewTask) -> Result<Task> {
        let repo = self.run.repo.as_deref().map(Repo::of);
        let repo = repo.ok_or_else(|| fleet_core::Error::internal("a pipeline without a repository keeps no tasks"))?;
        task::create(self.app, self.caller, &repo, new)
    }

    /// Records what came of a go of a stage, and makes tasks of what is left to do. That it cannot be recorded is noted,
    /// and holds nobody up: the run is worth more than its records.
    pub(super) fn report_stage(&mut self, key: Key) {
        // Its commits are noted among what is to be recorded.
        let reported = self.flush(&[]).and_then(|_| self.try_report_stage(key));
        if let Err(error) = reported {
            let id = self.plan.worker_id(key.worker).to_owned();
            self.note("task", Some(&id), format!("it is not recorded: {}", error.message));
        }
    }

    fn try_report_stage(&self, key: Key) -> Result<()> {
        let (Some(pipeline), Part::Work) = (self.pipeline(), key.part) else {
            return Ok(());
        };
        let ended = self.seen.step(key).and_then(|step| step.ended.as_ref());
        let is_done = ended.is_some_and(|ended| ended.how.is_done() && ended.text != stages::ITERATE);
        let Some(own) = self.stage_task(pipeline, key.worker)?.filter(|_| is_done) else {
            return Ok(());
        };
        let (app, store) = (self.app, self.app.store()?);
        let answer = pipeline::answer(&self.run, pipeline, key.worker, key.round);
        let noted = pipeline::commits(&store.run_events(&self.run.id, 0)?);
        let name = self.plan.worker_id(key.worker);
        let commits: Vec<String> = noted
            .into_iter()
            .filter(|(stage, _)| stage == name)
            .map(|(_, commit)| commit)
            .collect();
        let left = answer
            .report
            .iter()
            .flat_map(|report| &report.fleet_activity.follow_ups);
        let report = CrewReport {
            fleet_task_id: own.id,
            crew: Some(name.to_owned()),
            status: Status::Completed,
            cost_usd: answer
                .report
                .as_ref()
                .and_then(|report| report.execution.total_cost_usd),
            commits: commits.clone(),
            follow_ups: left.cloned().collect(),
            summary: Some(answer.summary).filter(|summary| !summary.is_empty()),
        };
        let said = Reported {
            report: &report,
            block: &crew_report::write(&report),
            commits: &commits,
            at: app.now(),
        };
        store.task_report("run.task-report", &said)?;
        task::publish(app, &task::repo_of(&own), own.id)?;
        task::promote_all(app, self.caller, own.id).map(drop)
    }

    /// Ends the tasks of a pipeline that is over.
    pub(super) fn end_tasks(&mut self, finish: Finish) {
        if let Err(error) = self.try_end_tasks(finish) {
            self.note("task", None, format!("the tasks are not ended: {}", error.message));
        }
    }

    fn try_end_tasks(&self, finish: Finish) -> Result<()> {
        let Some(pipeline) = self.pipeline() else { return Ok(()) };
        let Some(job) = self.job_task(pipeline)? else {
            return Ok(());
        };
        let standing = match finish {
            Finish::Done => Standing::Completed,
            Finish::OverBudget => Standing::OverBudget,
            Finish::Stopped => Standing::Cancelled,
            Finish::Failed | Finish::NotAccepted => Standing::Failed,
        };
        let mut all = vec![job];
        for place in 0..pipeline.stages.len() {
            let own = self
                .seen
                .all()
                .filter(|step| step.key.worker == place && step.key.part == Part::Work);
            let Some(last) = own.map(|step| step.key).max_by_key(|key| (key.round, key.attempt)) else {
                continue;
            };
            // Whoever recorded its end may have been killed before this.
            self.try_report_stage(last)?;
            all.extend(self.stage_task(pipeline, place)?);
        }
        for each in all {
            if self
                .app
                .store()?
                .task_end("run.task-end", each.id, standing, self.app.now())?
            {
                task::publish(self.app, &task::repo_of(&each), each.id)?;
            }
        }
        Ok(())
    }
}

/// What was asked for, in a line.
fn title(pipeline: &Pipeline) -> String {
    let line = pipeline
        .prompt
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("");
    let short: String = line.trim().chars().take(LONGEST_TITLE).collect();
    match short.is_empty() {
        true => pipeline.name.clone(),
        false => short,
    }
}
