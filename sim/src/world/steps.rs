//! What the world does next: what is due, who is to drive, or somebody's action.

use super::World;
use crate::actions;
use gate::ThreadToken;
use std::time::Duration;

/// Something that is due later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A slot's timer.
    Timer(usize),
    /// Whoever looks after the calls of a slot does.
    Look(usize),
    /// The link of a slot comes up, if nothing has changed since.
    Link(usize, u64),
    /// A driver of a slot lets go.
    DriverLetsGo(usize, u64),
    /// The client of a slot leaves.
    GuestLeaves(usize),
    /// The client of a slot comes back.
    GuestReturns(usize),
    /// Somebody acts on what the platform has told.
    Platform(zpci::Event),
}

impl World {
    pub(crate) fn later(&self, after: Duration, due: Due) {
        let when = self.now().saturating_add(after);
        self.agenda.with(|agenda| agenda.put(when, due));
    }

    pub(crate) fn set_timer(&self, slot: usize, when: Duration) {
        if self.timers.with(|timers| timers[slot].replace(when)) == Some(when) {
            return;
        }
        self.agenda.with(|agenda| {
            agenda.retain(|due| *due != Due::Timer(slot));
            agenda.put(when, Due::Timer(slot));
        });
    }

    /// One step: somebody does something, or time passes.
    pub(super) fn step(&self, token: &mut ThreadToken) {
        self.count_step();
        let (first, hurry) =
            self.random.with(|random| (random.chance(9, 10), random.chance(self.plan.haste, 100)));
        if first && self.drive_somebody(token) {
        } else if hurry {
            self.act(token);
        } else if !self.drive_somebody(token) {
            self.let_time_pass(token);
        }
        self.check(token);
    }

    pub(super) fn count_step(&self) {
        self.steps.with(|steps| *steps += 1);
    }

    pub(super) fn act(&self, token: &mut ThreadToken) {
        if let Some(action) = self.random.with(|random| random.weighted(&self.plan.actions)) {
            actions::carry_out(self, token, action);
        }
    }

    /// Goes to what is due next, or a little on.
    fn let_time_pass(&self, token: &mut ThreadToken) {
        let little = self.random.with(|random| random.ms(1, 2_000));
        let end = self.now() + little;
        match self.agenda.with(|agenda| agenda.next()) {
            Some(next) if next <= end => {
                self.clock.advance_to(next);
                self.do_what_is_due(token);
            }
            _ => self.clock.advance_to(end),
        }
    }

    /// Does one thing that is due. False if nothing is.
    pub(crate) fn do_what_is_due(&self, token: &mut ThreadToken) -> bool {
        let Some((_, due)) = self.agenda.with(|agenda| agenda.take(self.now())) else { return false };
        match due {
            Due::Timer(slot) => {
                self.timers.with(|timers| timers[slot] = None);
                self.drive(token, slot);
            }
            Due::Look(slot) => {
                self.look_after(slot);
            }
            Due::Link(slot, epoch) => self.bays[slot].trained(epoch),
            Due::DriverLetsGo(slot, number) => actions::driver_lets_go(self, token, slot, number),
            Due::GuestLeaves(slot) => self.guests[slot].leave(token),
            Due::GuestReturns(slot) => self.guests[slot].attach(self, token),
            Due::Platform(event) => self.act_on(token, event),
        }
        true
    }

    /// Something that is due, or somebody who is to drive; false if there is nothing.
    pub(crate) fn one_thing(&self, token: &mut ThreadToken) -> bool {
        if self.drive_somebody(token) || self.do_what_is_due(token) {
            return true;
        }
        let next = self.agenda.with(|agenda| agenda.next());
        if let Some(next) = next {
            self.clock.advance_to(next);
        }
        next.is_some()
    }
}
