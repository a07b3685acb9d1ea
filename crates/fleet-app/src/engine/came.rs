//! What came of an agent that made a step, from its journal alone.

use fleet_core::agent::{Agent, Standing};
use fleet_core::fact::{Entry, Fact};
use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::outcome::Outcome;
use fleet_core::plan::Shape;
use fleet_core::run::judge::{self, judge};
use fleet_core::run::record::{StepEnd, StepName, StepRecord};
use fleet_core::run::{Ended, How, Key, Part};
use fleet_core::spend::Spend;
use fleet_core::{Result, Time};
use fleet_host::process::{self, Table};
use fleet_host::supervise::journal;
use fleet_store::{Change, Rest};
use regex_lite::Regex;

use super::layout::{self, Status};
use super::{Engine, Live};
use crate::app::App;
use crate::budgets::change::outgrown;
use crate::budgets::{counted, launch, lost, was_killed};
use crate::{end, grants, ops};

/// How many lines of a measurement are looked through for the number.
const MEASURED_LINES: usize = 2000;

impl Engine<'_> {
    /// Takes in the end of a step whose supervisor is gone: how it ended, what it cost, what is free now.
    pub(super) fn take_end(&mut self, key: Key, live: &Live) -> Result<()> {
        let folder = self.app.home.agent_dir(&live.agent.id);
        let entries = journal::read(&folder).unwrap_or_default();
        let standing = Standing::fold(&entries);
        if standing.exited.is_none() && standing.start_failed.is_none() {
            // Its supervisor was killed; what it left would work on, unseen.
            end_remains(self.app, &live.agent.id);
        }
        let mut end = self.end_of(key, live, &entries, &standing)?;
        let outcome = standing.outcome.as_ref().map(|(outcome, _)| *outcome);
        self.note_commits(key)?;
        if let Some((how, text)) = self.stage_end(key, end.how, outcome) {
            (end.how, end.text) = (how, first_line(&text));
        }
        if entries.iter().any(|entry| matches!(entry.fact, Fact::SentOut { .. })) {
            // What its sub-agents used is counted for their tasks.
            crate::task::fold(self.app, "record.fold", &live.agent, &entries)?;
        }
        let spent = spent(launch(&entries, live.agent.generation));
        if !spent.is_empty() {
            self.changes.push(Change::Spent(live.agent.id.clone(), spent));
        }
        let forgot = end.how == How::Trouble && forgot(launch(&entries, live.agent.generation), outcome);
        self.record_end(key, live, end);
        if forgot && key.part == Part::Work {
            // The next try begins anew, and what begins anew can forget nothing: this is not for ever.
            self.forgive(key);
        }
        self.report_stage(key);
        Ok(())
    }

    /// What a launch cost, of which `own` is its own, with all that it has started under its contract.
    fn with_started(&self, own: Option<Usd>, (agent, generation): (&AgentId, u32)) -> Result<Option<Usd>> {
        let started = grants::cost(self.app, &grants::of_launch(agent, generation))?;
        Ok(own.zip(started).map(|(own, started)| own + started))
    }

    /// Ends a step whose worker is in the plan no more.
    pub(super) fn let_go(&mut self, step: StepRecord) -> Result<()> {
        let agent = self.app.store()?.agent(&step.agent)?;
        if let Some(agent) = &agent {
            end::stop_supervisor(self.app, agent, false, self.grace())?;
        }
        end_remains(self.app, &step.agent);
        let entries = journal::read(&self.app.home.agent_dir(&step.agent)).unwrap_or_default();
        let end = StepEnd {
            how: How::Stopped,
            text: "its worker is in the plan no more".to_owned(),
            cost: self.with_started(cost_of(&entries, step.generation), (&step.agent, step.generation))?,
            estimated: Usd::default(),
            metric: None,
            resumable: false,
            ended: self.now(),
            ended_at: self.app.now(),
            until: None,
        };
        if agent.is_some_and(|agent| agent.shared) {
            self.changes.push(Change::AgentEnded(step.agent, end.ended_at));
        }
        let about = format!("{}: {}", end.how.as_str(), end.text);
        self.note("ended", Some(&step.name.worker), about);
        self.changes.push(Change::Ended(step.name, end));
        Ok(())
    }

    /// Records that a step ended so.
    pub(super) fn record_end(&mut self, key: Key, live: &Live, end: StepEnd) {
        let name = StepName::of(&self.plan, key);
        if live.agent.shared {
            self.changes
                .push(Change::AgentEnded(live.agent.id.clone(), end.ended_at));
        }
        self.changes.push(Change::Ended(name.clone(), end.clone()));
        self.freed = true;
        self.forgive_outgrown(key, &end);
        let about = match end.text.as_str() {
            "" => end.how.as_str().to_owned(),
            text => format!("{}: {text}", end.how.as_str()),
        };
        let about = match end.cost.filter(|cost| !cost.is_zero()) {
            Some(cost) => format!("{about} ({cost})"),
            None => about,
        };
        self.note("ended", Some(&name.worker), about);
        if key.part == Part::Work && !matches!(self.plan.shape, Shape::Autoresearch(_)) {
            self.show_status(key, live, Some(&end));
        }
        let until_tick = end.until.map(|until| {
            end.ended
                .saturating_add(u64::try_from(until.0 - end.ended_at.0).unwrap_or(0))
        });
        if let Some(step) = self.seen.step_mut(key) {
            step.ended = Some(Ended {
                at: end.ended,
                how: end.how,
                text: end.text,
                cost: end.cost,
                resumable: end.resumable,
                metric: end.metric,
                until: until_tick,
            });
        }
    }

    /// What a step has cost whose supervisor was killed, and what of that is in no account; none where nobody can know.
    fn cost_of_lost(&self, key: Key, live: &Live, entries: &[Entry], own: &[Entry]) -> Result<(Option<Usd>, Usd)> {
        let Some(Rest::About { sure, at_most }) = lost::beyond(self.app, &live.agent, entries, own)? else {
            return Ok((None, Usd::default()));
        };
        let known = counted(own).unwrap_or_default();
        let hold = self.seen.step(key).map(|step| step.hold).unwrap_or_default();
        // No more than was reserved is charged for what is only guessed.
        let estimated = sure + at_most.min(hold.less(known + sure));
        Ok((Some(known + estimated), estimated))
    }

    /// A worker that ends at a budget that was raised while it ran goes on with the rest of it.
    fn forgive_outgrown(&mut self, key: Key, end: &StepEnd) {
        let Some(step) = self.seen.step(key) else { return };
        let hold = step.hold;
        if end.how == How::OverBudget && outgrown(&self.plan, &self.seen, key, hold) {
            self.forgive(key);
        }
    }

    /// The step's failure counts no more: the next try begins at once.
    fn forgive(&mut self, key: Key) {
        self.changes.push(Change::Forgive(StepName::of(&self.plan, key)));
        if let Some(step) = self.seen.step_mut(key) {
            step.forgiven = true;
        }
    }

    /// Writes the worker's `status.json`.
    pub(super) fn show_status(&self, key: Key, live: &Live, end: Option<&StepEnd>) {
        let word = match end.map(|end| end.how) {
            None => "RUNNING",
            Some(how) if how.is_done() => "DONE",
            Some(How::Stopped) => "KILLED",
            Some(_) => "FAILED",
        };
        let status = Status {
            word,
            task: self
                .plan
                .workers
                .get(key.worker)
                .and_then(|worker| worker.task.as_deref()),
            step: format!("round {}, try {}", key.round, key.attempt),
            agent: live.agent.id.as_str(),
            session: live.agent.conversation.as_deref(),
            cost: end.and_then(|end| end.cost).map(|cost| cost.dollars()),
            restarts: key.attempt.saturating_sub(1),
            at: self.app.now(),
        };
        layout::write_status(&self.run.root, self.plan.worker_id(key.worker), &status);
    }

    fn end_of(&self, key: Key, live: &Live, entries: &[Entry], standing: &Standing) -> Result<StepEnd> {
        let ending = self.seen.step(key).and_then(|step| step.ending);
        let outcome = standing.outcome.as_ref().map(|(outcome, _)| *outcome);
        // At the end of its budget its own supervisor stops it.
        let stopped = ending.is_none() && standing.stopping && outcome != Some(Outcome::Budget);
        let seen = judge::Seen {
            outcome,
            code: standing.exited,
            ending: ending.or(stopped.then_some(fleet_core::run::Why::Stop)),
        };
        let mut how = match &standing.start_failed {
            Some(_) => How::NotStarted,
            None => judge(seen),
        };
        let mut text = match (&standing.start_failed, &standing.outcome, standing.exited) {
            (Some(why), _, _) => why.clone(),
            (None, Some((outcome, said)), _) if !how.is_done() => match said.as_str() {
                "" => outcome.to_string(),
                said => format!("{outcome}: {said}"),
            },
            (None, None, Some(code)) if code != 0 => format!("exit code {code}"),
            _ => String::new(),
        };
        let mut metric = None;
        if let (Shape::Autoresearch(research), Part::Measure, true) = (&self.plan.shape, key.part, how.is_done()) {
            metric = measured(self.app, &live.agent, &research.metric_regex);
            if metric.is_none() {
                how = How::Failed;
                text = format!("its output has no number that fits `{}`", research.metric_regex);
            }
        }
        let own = launch(entries, live.agent.generation);
        let forgot = how == How::Failed && forgot(own, outcome);
        if forgot {
            how = How::Trouble;
        }
        let of_launch = (&live.agent.id, live.agent.generation);
        let (cost, estimated) = match key.part {
            Part::Measure => (Some(Usd::default()), Usd::default()),
            _ if forgot => (Some(Usd::default()), Usd::default()),
            _ if was_killed(own) => {
                let (cost, estimated) = self.cost_of_lost(key, live, entries, own)?;
                (self.with_started(cost, of_launch)?, estimated)
            }
            _ => (
                self.with_started(cost_of(entries, of_launch.1), of_launch)?,
                Usd::default(),
            ),
        };
        if !estimated.is_zero() {
            text = format!("its supervisor was killed; {estimated} of its cost are estimated");
        }
        let ended_at = entries.last().map_or_else(|| self.app.now(), |entry| entry.at);
        let until = refused_until(how, standing, ended_at);
        if let Some(until) = until {
            text = format!("{}; its service answers again at {until}", first_line(&text));
        }
        Ok(StepEnd {
            how,
            text: first_line(&text),
            cost,
            estimated,
            metric,
            resumable: key.part == Part::Work && !forgot && came_far(&live.agent, how, standing),
            ended: self.now(),
            ended_at,
            until,
        })
    }
}

/// When the service answers again that has refused this account, where it said so.
fn refused_until(how: How, standing: &Standing, now: Time) -> Option<Time> {
    /// No window of a provider is longer than a week: what says more is mistaken.
    const LONGEST: i64 = 8 * 24 * 3_600_000;
    let ahead = |until: &Time| (1..LONGEST).contains(&(until.0 - now.0));
    standing.quota.filter(|until| how == How::Limited && ahead(until))
}

/// What launch number `generation` cost by the account in the journal; none where something of it is not known. A launch
/// that never ran cost nothing.
fn cost_of(entries: &[Entry], generation: u32) -> Option<Usd> {
    let own = launch(entries, generation);
    let ran = |entry: &Entry| matches!(entry.fact, Fact::Starting | Fact::Started { .. });
    if !own.iter().any(ran) {
        return Some(Usd::default());
    }
    let costs: Option<Vec<Usd>> = spent(own).into_iter().map(|entry| entry.cost).collect();
    costs
        .filter(|costs| !costs.is_empty())
        .map(|costs| costs.into_iter().sum())
}

/// Whether a launch ended because its program knows nothing of the conversation that it was to go on with: it has asked its
/// service for nothing. It may have been killed before it had written the conversation down. The next try begins anew.
fn forgot(launch: &[Entry], outcome: Option<Outcome>) -> bool {
    let goes_on = |entry: &Entry| matches!(entry.fact, Fact::Launched { fresh: false, .. });
    outcome == Some(Outcome::Failed) && launch.iter().any(goes_on) && spent(launch).is_empty()
}

/// The entries of an agent's account among these of its journal.
fn spent(entries: &[Entry]) -> Vec<Spend> {
    let counts = |entry: &&Entry| !matches!(&entry.fact, Fact::Used(used) if used.beside);
    entries.iter().filter(counts).filter_map(Entry::spend).collect()
}

/// Whether launch number `generation` of an agent came to its program, or may have, or to a failure of it that was
/// recorded.
pub(super) fn began(standing: &Standing, generation: u32) -> bool {
    let came = standing.may_have_run || standing.exited.is_some() || standing.start_failed.is_some();
    standing.generation >= generation && came
}

/// Takes away what an agent left behind whose supervisor is gone: its processes and its socket.
pub(super) fn end_remains(app: &App, id: &AgentId) {
    let remains = || process::marked(id).iter().map(process::Process::identity).collect();
    process::end_all(remains, std::time::Duration::from_millis(500));
    end::remove_socket(app, id);
}

/// Whether there is a conversation to go on with: one that the program told of, or one whose id fleet chose for a program
/// that ran when its supervisor was killed.
fn came_far(agent: &Agent, how: How, standing: &Standing) -> bool {
    let chosen = agent.conversation.is_some() && standing.may_have_run;
    standing.conversation.is_some() || how == How::Lost && chosen
}

/// Something that changes whenever the agent does anything: what it has written, and the processor time it used.
pub(super) fn trace(app: &App, agent: &Agent) -> u64 {
    let folder = app.home.agent_dir(&agent.id);
    let size = |path: std::path::PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len());
    let output: u64 = std::fs::read_dir(folder.join("output"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.len())
        .sum();
    let written = size(folder.join(journal::FILE)) + output;
    let ticks = match agent.pid {
        Some(pid) => process::usage(&Table::read(), pid, &[]).cpu_ticks,
        None => 0,
    };
    // A few ticks are what an event loop uses that waits for nothing.
    written.wrapping_mul(1_000_003).wrapping_add(ticks / 20)
}

fn measured(app: &App, agent: &Agent, pattern: &str) -> Option<f64> {
    let regex = Regex::new(pattern).ok()?;
    let text = ops::logs::text(app, agent, MEASURED_LINES).ok()?.join("\n");
    let last = regex.captures_iter(&text).last()?;
    let number = last.get(1)?.as_str().trim().parse::<f64>().ok()?;
    number.is_finite().then_some(number)
}

/// The first line that says something, cut where it is long.
pub(super) fn first_line(text: &str) -> String {
    const LONGEST: usize = 300;
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}
