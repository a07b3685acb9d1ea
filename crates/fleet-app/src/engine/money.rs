//! What a run may spend beside its own ceiling: the rounds', and those of all agents together, which begin anew with each day
//! and week.

use fleet_core::plan::Shape;
use fleet_core::run::{Control, Pause, Window};
use fleet_core::{Result, Time};
use fleet_store::Change;

use super::Engine;
use crate::budgets;

impl Engine<'_> {
    /// Looks at what all agents together may still reserve.
    pub(super) fn look_at_room(&mut self) -> Result<()> {
        let (store, now) = (self.app.store()?, self.app.now());
        self.seen.windows.clear();
        for scope in budgets::ALL {
            if let (Some(room), Some(until)) = (store.room(&scope, now)?, scope.until(now)) {
                self.seen.windows.push(Window {
                    left: room.left(),
                    ceiling: room.cap.ceiling,
                    until,
                });
            }
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
        let room = self.seen.windows.iter().map(|window| window.left).min();
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
            (_, Some(room)) => format!("of the ceiling of all agents {room} are left"),
            (_, None) => format!("{committed} are spent or reserved"),
        }
    }

    /// Goes on after a pause whose time has come.
    pub(super) fn go_on(&mut self) {
        self.seen.control = Control::Going;
        (self.run.control, self.run.pause) = (Control::Going, None);
        self.changes.push(Change::Control(Control::Going, None));
        self.note("resumed", None, "a new time begins for the ceiling of all agents");
    }
}
