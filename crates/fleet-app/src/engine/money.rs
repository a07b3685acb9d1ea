//! What a run may spend beside its own ceiling: the rounds', those of all agents together, which begin anew with each day and
//! week, and that of the task that it works for.

use std::collections::BTreeSet;

use fleet_core::budget::{Cap, Level, Notice, Scope};
use fleet_core::money::Usd;
use fleet_core::plan::Shape;
use fleet_core::run::{Control, Key, Pause, Window};
use fleet_core::{Result, Time};
use fleet_host::supervise::journal;
use fleet_store::Change;

use super::Engine;
use crate::budgets::shares::{self, Turn};
use crate::budgets::{self, known, launch};

impl Engine<'_> {
    /// Looks at what may still be reserved of ceilings that are not the run's own.
    pub(super) fn look_at_room(&mut self) -> Result<()> {
        let (store, now) = (self.app.store()?, self.app.now());
        self.seen.windows.clear();
        for scope in budgets::ALL {
            if let Some(room) = store.room(&scope, now)? {
                self.seen.windows.push(Window {
                    left: room.left(),
                    ceiling: room.cap.ceiling,
                    until: scope.until(now),
                    scope,
                });
            }
        }
        if let Some(task) = self.open_task(self.run.task)? {
            self.seen.windows.extend(shares::window(self.app, task)?);
        }
        // Asked for anew each time: the wall clock may have been set.
        self.seen.again = self.room_again().map(|until| self.now() + until.since(now));
        Ok(())
    }

    /// Until when it has paused because all agents together have used what they may.
    pub(super) fn room_again(&self) -> Option<Time> {
        match (self.run.control, self.run.pause) {
            (Control::Paused, Some(Pause::Room { until })) => Some(until),
            _ => None,
        }
    }

    /// Which limit does not reach, in words.
    pub(super) fn what_is_missing(&self) -> String {
        let committed = self.seen.committed();
        let nearest = self.seen.windows.iter().min_by_key(|window| window.left);
        let room = nearest.map(|window| window.left);
        if let (Shape::Iterative(_), Some(round)) = (&self.plan.shape, self.seen.last_round())
            && let Some(cap) = self.seen.iteration(&self.plan, round)
        {
            let (taken, rest) = (
                self.seen.committed_in(round),
                cap.ceiling.less(self.seen.committed_in(round)),
            );
            let of_run = self.seen.ceiling.map(|cap| cap.ceiling.less(committed));
            if of_run.into_iter().chain(room).all(|other| rest <= other) {
                return format!("{taken} of {} of round {round} are spent or reserved", cap.ceiling);
            }
        }
        match (self.seen.ceiling, room) {
            (Some(cap), room) if room.is_none_or(|room| cap.ceiling.less(committed) <= room) => {
                format!("{committed} of {} are spent or reserved", cap.ceiling)
            }
            (_, Some(room)) => match nearest.map(|window| &window.scope) {
                Some(Scope::Task(task)) => format!("of the ceiling of {task} {room} are left"),
                _ => format!("of the ceiling of all agents {room} are left"),
            },
            (_, None) => format!("{committed} are spent or reserved"),
        }
    }

    /// Makes room for `more` within the ceiling of the task that the run works for; nobody else reserves that until the answer
    /// is dropped. None where there is no such ceiling.
    pub(super) fn make_room(&self, more: Usd) -> Result<Option<Turn>> {
        let Some(task) = self.open_task(self.run.task)? else {
            return Ok(None);
        };
        if self.app.store()?.task_rooms(task)?.is_empty() {
            return Ok(None);
        }
        let turn = Turn::take(self.app)?;
        shares::lend(self.app, &turn, task, more)?;
        Ok(Some(turn))
    }

    /// Gives back what agents reserved that are over, before the run pauses because nothing is left.
    pub(super) fn settle_money(&mut self) -> Result<()> {
        budgets::settle(self.app)?;
        self.look_at_room()
    }

    /// Shares out what steps have given back that are over, among those that work for the same task.
    pub(super) fn give_back(&mut self) {
        if !std::mem::take(&mut self.freed) {
            return;
        }
        if let Some(task) = self.run.task {
            // Whoever looks at the ceilings next does the same.
            let _ = shares::give_out(self.app, task, None);
            let _ = budgets::change::knock_mates(self.app, task, Some(&self.run.id));
        }
    }

    /// Counts what the steps that run have spent so far.
    pub(super) fn count_so_far(&mut self) {
        let so_far = self.live.iter().map(|(key, live)| {
            let entries = journal::read(&self.app.home.agent_dir(&live.agent.id)).unwrap_or_default();
            (*key, known(launch(&entries, live.agent.generation)))
        });
        self.so_far = so_far.collect();
    }

    /// What the run may spend as a whole.
    fn ceiling(&self) -> Option<Cap> {
        let of_plan = self.plan.cap.map(|ceiling| Cap { ceiling, hard: true });
        self.seen.ceiling.or(of_plan)
    }

    /// What was spent in a round, or in all of them.
    fn spent(&self, round: Option<u32>) -> Usd {
        let so_far = |key: Key| self.so_far.get(&key).copied().unwrap_or_default();
        self.seen.spent(round, so_far)
    }

    /// Has the store tell that the run has paused or ended because a ceiling does not reach.
    pub(super) fn tell_short(&mut self, notice: Notice, about: String) {
        self.changes.push(Change::Short {
            notice,
            spent: self.spent(None),
            ceiling: self.ceiling().map(|cap| cap.ceiling).unwrap_or_default(),
            about,
            at: self.app.now(),
        });
    }

    /// Has the store tell of the run's ceilings that are near their end, or at it.
    pub(super) fn heed_ceilings(&mut self) {
        let of_run = self.ceiling().map(|cap| (Scope::Run(self.run.id.clone()), None, cap));
        let rounds: BTreeSet<u32> = self.seen.rounds.keys().copied().filter(|round| *round > 0).collect();
        let of_round = |round: u32| {
            let cap = self.seen.iteration(&self.plan, round)?;
            Some((Scope::Iteration(self.run.id.clone(), round), Some(round), cap))
        };
        let caps: Vec<_> = of_run
            .into_iter()
            .chain(rounds.into_iter().filter_map(of_round))
            .collect();
        for (scope, round, Cap { ceiling, .. }) in caps {
            let spent = self.spent(round);
            let level = Level::of(spent.micros(), ceiling.micros());
            if level != Level::Within && self.told.insert((scope.clone(), ceiling, level)) {
                self.changes.push(Change::Ceiling {
                    scope,
                    spent,
                    ceiling,
                    at: self.app.now(),
                });
            }
        }
    }

    /// Goes on after a pause whose time has come, or whose reason is gone.
    pub(super) fn go_on(&mut self, why: &str) {
        self.seen.control = Control::Going;
        (self.run.control, self.run.pause) = (Control::Going, None);
        self.changes.push(Change::Control(Control::Going, None));
        self.note("resumed", None, why);
    }

    /// Whether it has paused for money that others who work for the same task may give back.
    pub(super) fn waits_for_mates(&self) -> bool {
        let waits = (self.run.control, self.run.pause) == (Control::Paused, Some(Pause::Budget));
        waits && self.left_of_task().is_some()
    }

    /// Goes on where they have.
    pub(super) fn go_on_with_mates(&mut self) -> Result<()> {
        self.look_at_room()?;
        if self.waits_for_mates() && self.left_of_task() > self.short_of {
            self.go_on("its task has more left again");
        }
        Ok(())
    }

    /// What is left of the ceiling of its task.
    pub(super) fn left_of_task(&self) -> Option<Usd> {
        let of_task = |window: &&Window| matches!(window.scope, Scope::Task(_));
        self.seen.windows.iter().find(of_task).map(|window| window.left)
    }
}
