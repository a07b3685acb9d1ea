//! The driver of a run: it looks, asks [`fleet_core::run::decide()`] what to do, does it, and waits for an event.
//!
//! There is one per run, because it holds the run's lock. Everything that it must not forget is in the store before it
//! acts, and what it holds in memory is what it would read there again, so it may be killed at any line: whoever
//! starts the next one goes on. It ends when nothing is left to wait for.

mod came;
mod layout;
mod money;
pub(crate) mod pipeline;
mod prompts;
mod reread;
mod research;
mod start;
mod take_over;
mod tasks;
mod terms;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fleet_core::agent::Agent;
use fleet_core::budget::{Level, Notice, Scope};
use fleet_core::id::AgentId;
use fleet_core::money::Usd;
use fleet_core::plan::{Plan, Shape};
use fleet_core::run::record::{Event, RoundRecord, Run, StepName, StepRecord};
use fleet_core::run::{self, Action, Control, Finish, Key, Part, Pause, Seen, Tick, Why, decide, verdict};
use fleet_core::{Error, Kind, Result};
use fleet_host::alarm::Alarm;
use fleet_host::lock::Lock;
use fleet_host::supervise::client::Client;
use fleet_host::supervise::driver;
use fleet_host::{files, process};
use fleet_store::{Change, Turn};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::app::App;
use crate::caller::Caller;
use crate::{budgets, end, runs};

pub(crate) use research::check as check_research;

/// A supervisor that begins or ends is looked at this often: it has nothing that could be waited for then.
const SOON: Duration = Duration::from_millis(15);

/// So long after a ceiling had less room than it seemed to have, in milliseconds, what is to be started is tried again: an
/// agent that could not be told to give up some may have ended by then.
const REFUSED: Tick = 300;
/// So often it is tried, before the run pauses.
const MOST_REFUSALS: u32 = 2;

/// Drives the run with this id until nothing is left to wait for. Returns at once when somebody else drives it.
pub fn drive(app: &App, caller: &Caller, id: &str) -> Result<()> {
    loop {
        let Some(lock) = driver::hold(&app.home.run_lock(id))? else {
            return Ok(());
        };
        let left = drive_once(app, caller, id);
        drop(lock);
        let left = match left {
            // The next driver is at work.
            Err(error) if error.kind == Kind::Conflict => return Ok(()),
            left => left?,
        };
        // Whoever asked for something in the last moment found the lock held, and started nobody.
        let now = app.store()?.run(id)?;
        if now.is_none_or(|now| (now.control, now.finish) == left) {
            return Ok(());
        }
    }
}

/// What people wanted of the run, and how it was over, when nothing was left to wait for. The caller holds the lock.
fn drive_once(app: &App, caller: &Caller, id: &str) -> Result<(Control, Option<Finish>)> {
    let store = app.store()?;
    let run = store
        .run(id)?
        .ok_or_else(|| Error::not_found(format!("there is no run `{id}`")))?;
    let plan = runs::plan_of(app, &run)?;
    let number = store.run_driver("drive.take-over", id)?;
    let socket = app.runtime()?.run_socket(id);
    files::remove_file("drive.old-socket", &socket)?;
    let listener = UnixListener::bind(&socket).map_err(|error| files::io_error("listen on", &socket, &error))?;
    listener
        .set_nonblocking(true)
        .map_err(|error| Error::internal(format!("socket: {error}")))?;
    let mut engine = Engine {
        app,
        caller,
        number,
        boot: process::boot_id(),
        config_read: None,
        rounds: BTreeMap::new(),
        seen: Seen::default(),
        live: BTreeMap::new(),
        changes: Vec::new(),
        ground: None,
        ends: Arc::default(),
        counted: None,
        so_far: BTreeMap::new(),
        freed: true,
        refusals: 0,
        short_of: None,
        told: BTreeSet::new(),
        run,
        plan,
    };
    let done = thread::scope(|scope| engine.run(scope, &listener));
    let _ = files::remove_file("drive.socket", &socket);
    done.map(|()| (engine.run.control, engine.run.finish))
}

/// A step that runs, as this process holds on to it.
struct Live {
    agent: Agent,
    /// Closes when the supervisor ends; none while it cannot be reached.
    client: Option<Client>,
    /// What its last sign of life looked like.
    trace: u64,
}

/// What came of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    /// Nothing is to be done, or all of it is under way.
    Nothing,
    /// Something was done.
    Something,
    /// The run is over.
    Everything,
}

struct Engine<'a> {
    app: &'a App,
    caller: &'a Caller,
    /// Which driver of the run this is.
    number: u32,
    boot: String,
    run: Run,
    plan: Plan,
    /// The plan's file when it was last looked at: its time and size.
    config_read: Option<(std::time::SystemTime, u64)>,
    rounds: BTreeMap<u32, RoundRecord>,
    seen: Seen,
    live: BTreeMap<Key, Live>,
    /// What the next turn has to record.
    changes: Vec<Change>,
    /// What workers' programs have to know of the repository; none before the first start.
    ground: Option<terms::Ground>,
    /// Agents that a thread is ending.
    ends: Arc<Mutex<Vec<AgentId>>>,
    /// Of how many steps what they used is counted; none where it has to be counted again.
    counted: Option<usize>,
    /// What the steps that run have spent so far.
    so_far: BTreeMap<Key, Usd>,
    /// A step has ended since what was left of its hold was shared out.
    freed: bool,
    /// How often in a row something did not fit into a ceiling that seemed to have room for it.
    refusals: u32,
    /// What was left of the ceiling of its task when it paused last.
    short_of: Option<Usd>,
    /// What the store was told of the run's ceilings.
    told: BTreeSet<(Scope, Usd, Level)>,
}

impl<'a> Engine<'a> {
    fn run<'scope>(&mut self, scope: &'scope thread::Scope<'scope, '_>, listener: &UnixListener) -> Result<()>
    where
        'a: 'scope,
    {
        self.reload()?;
        self.take_over()?;
        self.count_so_far();
        loop {
            self.hear_ends()?;
            self.read_stop_rule();
            self.take_traces();
            self.look_at_room()?;
            self.count_used();
            self.heed_ceilings();
            if self.refusals > MOST_REFUSALS {
                self.refusals = 0;
                self.pause(Pause::Budget);
            }
            let mut decision = decide(&self.plan, &self.seen, self.now());
            if decision.is_short() {
                self.settle_money()?;
                decision = decide(&self.plan, &self.seen, self.now());
            }
            let did = self.perform(scope, decision.actions)?;
            self.flush(&[])?;
            if did != Did::Something {
                self.give_back();
            }
            if did == Did::Everything {
                return Ok(());
            }
            let rests = did == Did::Nothing && self.live.is_empty() && decision.wake.is_none();
            if rests && !self.waits_for_mates() {
                return Ok(());
            }
            // However much there is to do, who knocks is heard before the next step is started.
            let wake = match did {
                Did::Nothing => decision.wake,
                Did::Something | Did::Everything if self.refusals > 0 => Some(self.now() + REFUSED),
                Did::Something | Did::Everything => Some(0),
            };
            if self.wait(listener, wake)? {
                self.reload()?;
                self.count_so_far();
                self.go_on_with_mates()?;
            }
        }
    }

    fn now(&self) -> Tick {
        process::since_boot()
    }

    /// Reads what others have changed: what people want, forgiven failures, answered questions.
    fn reload(&mut self) -> Result<()> {
        let store = self.app.store()?;
        let id = self.run.id.clone();
        self.run = store
            .run(&id)?
            .ok_or_else(|| Error::not_found(format!("run `{id}` is gone")))?;
        let before = std::mem::replace(&mut self.plan, runs::plan_of(self.app, &self.run)?);
        self.config_read = None;
        self.counted = None;
        // A ceiling may have been changed and changed back: the store knows what was told since.
        self.told.clear();
        let steps = store.steps(&id)?;
        let rounds = store.rounds(&id)?;
        // A key counts places, and workers may have come or gone: what runs is found again by its name.
        let key = |key: Key| StepName::of(&before, key).key(&self.plan);
        let alive: Vec<(Key, Tick)> = self
            .seen
            .running()
            .filter_map(|step| Some((key(step.key)?, step.alive)))
            .collect();
        let live = std::mem::take(&mut self.live);
        self.live = live
            .into_iter()
            .filter_map(|(old, live)| Some((key(old)?, live)))
            .collect();
        self.seen = run::record::seen(&self.plan, self.run.control, &steps, &rounds, &self.boot, self.now());
        for (key, alive) in alive {
            if let Some(step) = self.seen.step_mut(key) {
                step.alive = alive;
            }
        }
        let gone = |step: &&StepRecord| step.ended.is_none() && step.name.key(&self.plan).is_none();
        let gone: Vec<StepRecord> = steps.iter().filter(gone).cloned().collect();
        for step in gone {
            self.let_go(step)?;
        }
        self.rounds = rounds.into_iter().map(|round| (round.round, round)).collect();
        self.seen.iterations = runs::iterations(self.app, &id)?;
        self.seen.ceiling = store.cap(&Scope::Run(id))?;
        Ok(())
    }

    /// Records what has happened, and reserves the names in `reservations`.
    fn flush(&mut self, reservations: &[fleet_store::Reservation]) -> Result<Vec<Agent>> {
        let changes = std::mem::take(&mut self.changes);
        if changes.is_empty() && reservations.is_empty() {
            return Ok(Vec::new());
        }
        let turn = Turn {
            changes: &changes,
            reservations,
        };
        let exists = |path: &std::path::Path| path.symlink_metadata().is_ok();
        let done = self
            .app
            .store()?
            .run_turn("drive.turn", &self.run.id, Some(self.number), &turn, &exists);
        match &done {
            Ok(_) if changes.iter().any(may_be_told) => budgets::notify::soon(self.app, self.caller),
            Ok(_) => {}
            // Without the names that were refused the rest of it is still so.
            Err(_) => self.changes = changes,
        }
        done
    }

    fn note(&mut self, event: &str, worker: Option<&str>, about: impl Into<String>) {
        self.changes.push(Change::Event(Event {
            at: self.app.now(),
            event: event.to_owned(),
            worker: worker.map(str::to_owned),
            about: about.into(),
        }));
    }

    /// Does what was decided.
    fn perform<'scope>(&mut self, scope: &'scope thread::Scope<'scope, '_>, actions: Vec<Action>) -> Result<Did>
    where
        'a: 'scope,
    {
        let acts = actions
            .iter()
            .any(|action| !matches!(action, Action::End { .. } | Action::Finish(_)));
        if acts && !runs::is_in_place(&self.run) {
            self.pause(Pause::RootGone);
            return Ok(Did::Something);
        }
        let mut did = Did::Nothing;
        let mut starts = Vec::new();
        for action in actions {
            if let Action::End { key, why } = action {
                if self.end(scope, key, why)? {
                    did = Did::Something;
                }
                continue;
            }
            did = Did::Something;
            match action {
                Action::Start { key, hold, goes_on } => starts.push((key, hold, goes_on)),
                Action::End { .. } => {}
                Action::OpenRound(round) => {
                    if let Err(error) = self.open_round(round) {
                        self.get_stuck(&format!("round {round} cannot begin"), &error);
                    }
                }
                Action::ReadVerdict { round, asked } => self.read_verdict(round, asked),
                Action::Settle { round, keep } => {
                    if let Err(error) = self.settle(round, keep) {
                        self.get_stuck(&format!("round {round} cannot be settled"), &error);
                    }
                }
                Action::Pause(why) => self.pause(why),
                Action::GoOn => self.go_on("a new time begins for the ceiling of all agents"),
                Action::Finish(finish) => {
                    self.finish(finish)?;
                    return Ok(Did::Everything);
                }
            }
        }
        if !starts.is_empty() {
            match self.setting() {
                Ok(setting) => self.start_all(&setting, starts)?,
                Err(error) => self.get_stuck("nothing can be started", &error),
            }
        }
        Ok(did)
    }

    /// Pauses because something failed that would fail again: it is said where people look, and costs nothing more.
    fn get_stuck(&mut self, what: &str, error: &Error) {
        let detail = error
            .detail
            .as_deref()
            .map(came::first_line)
            .filter(|line| !line.is_empty());
        let detail = detail.map(|line| format!(": {line}")).unwrap_or_default();
        self.hold(Pause::Stuck, None, format!("{what}: {}{detail}", error.message));
    }

    fn hold(&mut self, why: Pause, worker: Option<&str>, about: String) {
        self.seen.control = Control::Paused;
        self.run.control = Control::Paused;
        self.run.pause = Some(why);
        self.changes.push(Change::Control(Control::Paused, Some(why)));
        self.note("paused", worker, about);
    }

    fn pause(&mut self, why: Pause) {
        let (worker, about) = match why {
            Pause::Stuck => (None, String::new()),
            Pause::Budget => (None, self.what_is_missing()),
            Pause::Room { until } => (None, format!("{}; it goes on at {until}", self.what_is_missing())),
            Pause::Escalated { round } => (None, format!("the reviewer asks for a person in round {round}")),
            Pause::RootGone => (None, "the fleet root was moved or deleted".to_owned()),
            Pause::Blocked { worker } => {
                let id = self.plan.worker_id(worker).to_owned();
                let said = self
                    .seen
                    .all()
                    .filter(|step| step.key.worker == worker)
                    .filter_map(|step| step.ended.as_ref());
                let how = said
                    .max_by_key(|ended| ended.at)
                    .map(|ended| format!("{}: {}", ended.how.as_str(), ended.text));
                (Some(id), how.unwrap_or_default())
            }
        };
        self.short_of = self.left_of_task();
        if why.is_for_money() {
            self.tell_short(Notice::Paused, about.clone());
        }
        self.hold(why, worker.as_deref(), about);
    }

    fn finish(&mut self, finish: Finish) -> Result<()> {
        let now = self.app.now();
        (self.run.control, self.run.finish) = (Control::Going, Some(finish));
        self.changes.push(Change::Finish(finish, now));
        if finish == Finish::OverBudget {
            self.tell_short(Notice::Ended, self.what_is_missing());
        }
        self.note("finished", None, finish.as_str());
        self.end_tasks(finish);
        self.flush(&[])?;
        self.app.publish();
        Ok(())
    }

    /// Begins to end a step in a thread of its own; that it has ended is seen as with any other. False: that is under way.
    fn end<'scope>(&mut self, scope: &'scope thread::Scope<'scope, '_>, key: Key, why: Why) -> Result<bool>
    where
        'a: 'scope,
    {
        let ends = Arc::clone(&self.ends);
        let mut under_way = ends.lock().unwrap_or_else(PoisonError::into_inner);
        let agent = self.live.get(&key).map(|live| live.agent.clone());
        let Some(agent) = agent.filter(|agent| !under_way.contains(&agent.id)) else {
            return Ok(false);
        };
        under_way.push(agent.id.clone());
        drop(under_way);
        if let Some(step) = self.seen.step_mut(key) {
            step.ending = Some(why);
        }
        let name = StepName::of(&self.plan, key);
        let about = match why {
            Why::Timeout => "it takes longer than it may",
            Why::Stall => "it gave no sign of life",
            Why::Stop => "the run is being stopped",
            Why::Relaunch => "it is started over",
        };
        self.note("ending", Some(&name.worker), about);
        self.changes.push(Change::Ending(name, why));
        // Whoever finds it ended has to know why.
        self.flush(&[])?;
        let (app, grace) = (self.app, self.grace());
        scope.spawn(move || {
            let _ = end::stop_supervisor(app, &agent, false, grace);
            ends.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|each| *each != agent.id);
        });
        Ok(true)
    }

    /// How long a program has to end after it was asked to. A step is ended even while the configuration cannot be read.
    fn grace(&self) -> Duration {
        const USUAL: Duration = Duration::from_secs(3);
        let config = self.app.config(self.caller, None);
        config.map_or(USUAL, |config| Duration::from_millis(config.kill_grace_ms))
    }

    /// Takes in the ends of steps whose supervisors are gone.
    fn hear_ends(&mut self) -> Result<()> {
        let mut over = Vec::new();
        for (key, live) in &mut self.live {
            let closed = match &mut live.client {
                Some(client) => client.arrived().map_or(true, |(_, closed)| closed),
                None => true,
            };
            if !closed {
                continue;
            }
            live.client = None;
            if Lock::is_held(&self.app.home.agent_lock(&live.agent.id)) {
                // It begins, or it is at its very end.
                live.client = self.app.client(&live.agent).ok();
            } else {
                over.push(*key);
            }
        }
        for key in over {
            if let Some(live) = self.live.remove(&key) {
                self.take_end(key, &live)?;
            }
        }
        Ok(())
    }

    /// Waits for the next event: a supervisor that ends, somebody who knocks, or the moment `wake`. True: somebody
    /// knocked.
    fn wait(&mut self, listener: &UnixListener, wake: Option<Tick>) -> Result<bool> {
        let unreached = self.live.values().any(|live| live.client.is_none());
        let wait = wake.map(|wake| Duration::from_millis(wake.saturating_sub(self.now())));
        let wait = match (unreached, wait) {
            (true, Some(wait)) => Some(wait.min(SOON)),
            (true, None) => Some(SOON),
            (false, wait) => wait,
        };
        let timeout = wait.map_or(PollTimeout::NONE, |wait| {
            PollTimeout::try_from(wait.as_micros().div_ceil(1000).min(1_000_000_000) as i32).unwrap_or(PollTimeout::MAX)
        });
        // The wall clock may be set, and the machine may sleep: neither is seen by a timeout.
        let alarm = self
            .room_again()
            .map(|until| Alarm::in_millis(until.since(self.app.now())));
        let alarm = alarm.transpose()?;
        let clients = self.live.values().filter_map(|live| live.client.as_ref());
        let mut fds = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        fds.extend(alarm.iter().map(|alarm| PollFd::new(alarm.as_fd(), PollFlags::POLLIN)));
        fds.extend(clients.map(|client| PollFd::new(client.fd(), PollFlags::POLLIN)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(Error::internal(format!("poll: {error}"))),
        }
        drop(fds);
        let mut knocked = false;
        while listener.accept().is_ok() {
            knocked = true;
        }
        Ok(knocked)
    }

    /// Looks for signs of life of what has given none for as long as the plan allows.
    fn take_traces(&mut self) {
        let Some(stall) = self.plan.stall_ms else { return };
        let now = self.now();
        let due: Vec<Key> = self
            .seen
            .running()
            .filter(|step| step.alive.saturating_add(stall) <= now)
            .map(|step| step.key)
            .collect();
        for key in due {
            let Some(live) = self.live.get_mut(&key) else { continue };
            let trace = came::trace(self.app, &live.agent);
            if trace != live.trace {
                live.trace = trace;
                if let Some(step) = self.seen.step_mut(key) {
                    step.alive = now;
                }
            }
        }
    }

    fn open_round(&mut self, number: u32) -> Result<()> {
        let mut round = RoundRecord {
            round: number,
            ..RoundRecord::default()
        };
        match &self.plan.shape {
            Shape::Iterative(_) => layout::make_round(&self.run.root, number)?,
            Shape::Autoresearch(research) => {
                let before = self.rounds.get(&(number - 1)).and_then(|before| before.base.as_deref());
                round.base = Some(research::begin(&self.run, research, before)?);
            }
            Shape::Worktree | Shape::Dag | Shape::Pipeline(_) => {}
        }
        self.put_round(round);
        let before = self.seen.metric(0).filter(|_| number == 1);
        let before = before
            .map(|metric| format!("; what is there measures {metric}"))
            .unwrap_or_default();
        self.note("round", None, format!("round {number} begins{before}"));
        Ok(())
    }

    fn read_verdict(&mut self, number: u32, asked: bool) {
        let review = layout::read_review(&self.run.root, number, &self.plan);
        let said = verdict::read(review.as_deref());
        let mut round = self.rounds.get(&number).cloned().unwrap_or_default();
        round.round = number;
        match asked {
            true => round.asked = Some(said),
            false => round.verdict = Some(said),
        }
        self.put_round(round);
        let about = match (said.is_clear(), asked) {
            (true, _) => format!("round {number}: {}", said.as_str()),
            (false, false) => format!(
                "round {number}: the verdict is {}; the reviewer is asked once more",
                said.as_str()
            ),
            (false, true) => format!(
                "round {number}: the verdict is still {}; it counts as iterate",
                said.as_str()
            ),
        };
        self.note("verdict", None, about);
    }

    fn settle(&mut self, number: u32, keep: bool) -> Result<()> {
        let Shape::Autoresearch(research) = &self.plan.shape else {
            return Ok(());
        };
        let mut round = self.rounds.get(&number).cloned().unwrap_or_default();
        round.round = number;
        let metric = self.seen.metric(number);
        let kept = self.app.home.run_dir(&self.run.id).join("results.tsv");
        let settled = research::settle(&self.run, research, &kept, &round, metric, keep)?;
        round.kept = Some(keep);
        round.commit = settled.commit;
        self.put_round(round);
        self.note("settled", None, settled.about);
        Ok(())
    }

    fn put_round(&mut self, round: RoundRecord) {
        self.seen.rounds.insert(
            round.round,
            run::Round {
                verdict: round.verdict,
                asked: round.asked,
                answered: round.answered,
                kept: round.kept,
            },
        );
        self.rounds.insert(round.round, round.clone());
        self.changes.push(Change::Round(round));
    }

    /// Adds a step that runs to what is known.
    fn put_step(&mut self, record: &StepRecord, key: Key) {
        self.seen.put(run::Step {
            key,
            hold: record.hold,
            began: record.began,
            alive: self.now(),
            ending: record.ending,
            ended: None,
            forgiven: false,
        });
    }

    /// Where the reviews of a round or the results of earlier rounds are needed: the round before `number`.
    fn round_before(&self, number: u32, part: Part) -> Option<u32> {
        (part == Part::Work && number > 1).then(|| number - 1)
    }
}

/// Whether a ceiling may be near its end because of that.
fn may_be_told(change: &Change) -> bool {
    matches!(
        change,
        Change::Spent(..) | Change::Ended(..) | Change::Ceiling { .. } | Change::Short { .. }
    )
}
