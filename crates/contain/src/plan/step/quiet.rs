//! Making functions quiet, and letting them go again.

use super::Step;
use crate::plan::seat::Seat;
use crate::plan::{Channel, Effect};

impl Step<'_> {
    /// Drivers find everything frozen, and no interrupt comes (EEH-11).
    pub(super) fn quiet_all(&mut self) {
        for seat in self.plan.seats.iter_mut().filter(|seat| seat.takes_part() && !seat.quiet) {
            seat.quiet = true;
            let function = seat.member.function;
            self.effects.push(Effect::SetChannel(function, Channel::Frozen));
            self.effects.push(Effect::Interrupts(function, false));
        }
    }

    /// The drivers of these find everything as it was (EEH-16).
    pub(super) fn release(&mut self, which: impl Fn(&Seat) -> bool) {
        for seat in self.plan.seats.iter_mut().filter(|seat| seat.takes_part() && seat.quiet && which(seat)) {
            seat.quiet = false;
            let function = seat.member.function;
            self.effects.push(Effect::SetChannel(function, Channel::Normal));
            self.effects.push(Effect::Interrupts(function, true));
        }
    }

    /// No interrupt comes any more. What drivers find is set when they have been told (EEH-17).
    pub(super) fn silence(&mut self) {
        for seat in self.plan.seats.iter_mut().filter(|seat| seat.takes_part() && !seat.quiet) {
            seat.quiet = true;
            self.effects.push(Effect::Interrupts(seat.member.function, false));
        }
    }
}
