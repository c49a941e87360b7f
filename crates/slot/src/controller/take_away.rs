//! On the way off: asking, revoking, and the accesses to hardware that is about to leave.

use super::call::contained;
use super::desk::{Desk, Seat};
use super::work::{Held, Seated, Task, Work};
use crate::driver::Bound;
use crate::effect::Removal;
use crate::event::Event;
use crate::slot::{Leaving, State};
use crate::watch::Failure;
use assign::Assignment;
use gate::{Deadline, ThreadToken};
use pci_core::Command;
use std::sync::Arc;
use std::time::Duration;

/// How long the registers of a card may be waited for, that is about to be taken away.
const QUIET: Duration = Duration::from_millis(100);

/// Bus mastering and system errors off, INTx disabled (HP-13), while accesses still reach the hardware. A function that cannot be
/// reached at once, such as one that is being reset, is left as it is: what follows cuts it off all the same.
pub(super) fn quiet(functions: &[Arc<Assignment>], token: &mut ThreadToken) -> Result<(), Failure> {
    let deadline = Deadline::after(QUIET);
    let mut outcome = Ok(());
    for function in functions.iter().rev() {
        let function = function.function();
        let command = function.config().command() - (Command::BUS_MASTER | Command::SERR_ENABLE);
        let command = (command | Command::INTERRUPT_DISABLE).bits().to_le_bytes();
        let write = || function.write_config(token, pci_spec::config::COMMAND, &command, deadline);
        outcome = outcome.and(contained(write).map(|_best_effort| ()));
    }
    outcome
}

/// Nothing enters any of the gates from here on. Waits for nothing, so that all are gone before anybody waits for one.
pub(super) fn disconnect(functions: &[Arc<Assignment>], token: &mut ThreadToken) {
    for function in functions {
        let _looked_at_later = function.function().disconnect(token, Deadline::after(Duration::ZERO));
    }
}

/// Waits for what is inside gates that were disconnected; names what has not left.
pub(super) fn drain(
    functions: &[Arc<Assignment>],
    token: &mut ThreadToken,
    deadline: Deadline,
) -> Vec<String> {
    let mut orphans = Vec::new();
    for function in functions {
        let function = function.function();
        let retired = function.disconnect(token, deadline);
        orphans.extend(retired.orphans.iter().map(|inside| format!("{}: {inside}", function.name())));
    }
    orphans
}

impl Desk {
    pub(super) fn ask_everybody(&mut self, nth: u32) {
        let bonds = self.card.bonds.iter().map(|bond| Task::Request { bond: bond.id, nth });
        let seats = self.seats.iter().map(|seat| Task::Ask { seat: seat.id, nth });
        self.tasks.extend(bonds.chain(seats));
        self.tasks.push_back(Task::Check { from: 0 });
    }

    pub(super) fn let_everybody_stay(&mut self) {
        let bonds = self.card.bonds.iter().map(|bond| Task::Keep { bond: bond.id });
        let seats = self.seats.iter().map(|seat| Task::Stay { seat: seat.id });
        self.tasks.extend(bonds.chain(seats));
    }

    /// Law 8: gates first, and those of all functions before anybody is waited for; then whoever has something. The last function first
    /// (HP-01).
    pub(super) fn take_everything_away(&mut self, removal: Removal) {
        if std::mem::replace(&mut self.card.revoked, true) {
            return;
        }
        if removal == Removal::Orderly {
            self.tasks.push_back(Task::Quiet);
        }
        self.tasks.push_back(Task::Disconnect);
        self.give_errands_up();
        self.tasks.push_back(Task::Drain);
        for bond in self.card.bonds.iter().rev() {
            self.tasks.push_back(Task::Remove { bond: bond.id, removal });
            self.tasks.push_back(Task::LetGo { bond: bond.id });
        }
        self.tasks.push_back(Task::Revoke { from: 0 });
    }

    /// Takes the driver of a bond for a call. None if it is being called already, or has not taken the function.
    pub(super) fn with_bound(
        &mut self,
        id: u64,
        work: impl FnOnce(Held, Box<dyn Bound>) -> Work,
    ) -> Option<Work> {
        let bond = self.card.bond(id)?;
        let bound = bond.bound.take()?;
        let held = Held { id, driver: Arc::clone(&bond.driver), binding: Arc::clone(&bond.binding) };
        Some(work(held, bound))
    }

    pub(super) fn seat(&self, id: u64) -> Option<Seated> {
        self.seats.iter().find(|seat| seat.id == id).map(Seat::seated)
    }

    /// A seat none of whose calls was left behind.
    pub(super) fn free_seat(&self, id: u64) -> Option<Seated> {
        self.seat(id).filter(|seat| !self.is_left_behind(&seat.name))
    }

    /// It may be called beside another call that was left behind, but not twice.
    pub(super) fn seat_to_revoke(&self, id: u64) -> Option<Seated> {
        self.seat(id).filter(|seat| !self.is_out(&seat.name, "revoke"))
    }

    /// Whether nobody holds anything any more: the next who is to say so, or the news that it is so.
    pub(super) fn check(&mut self, from: u64) -> Option<Work> {
        if !matches!(self.slot.state(), State::Leaving(Leaving::Asked { .. })) {
            return None;
        }
        // Also by somebody that this slot does not know, and by somebody who is about to finish leaving.
        if self.card.functions.iter().any(|function| function.is_attached()) {
            return None;
        }
        let Some(seat) = self.seats.iter().find(|seat| seat.id >= from) else {
            self.answers.push_back(Event::Released);
            return None;
        };
        // Who was left behind does not say, and so holds something.
        self.free_seat(seat.id).map(Work::Check)
    }
}

impl Seat {
    fn seated(&self) -> Seated {
        let Seat { id, name, consumer } = self;
        Seated { id: *id, name: Arc::clone(name), consumer: Arc::clone(consumer) }
    }
}
