//! What comes and goes while a recovery is under way.

use super::Step;
use crate::plan::seat::Seat;
use crate::plan::{Channel, Effect, FunctionId, Member, PeId, Role, State};

impl Step<'_> {
    /// Marked like the others, or it could be freed while they are recovered.
    pub(super) fn pe_added(&mut self, pe: PeId) {
        if self.plan.pes.contains(&pe) {
            return;
        }
        self.plan.pes.push(pe);
        if self.plan.state != State::New {
            self.order(Effect::Mark(pe));
        }
    }

    /// A function that comes is kept quiet with the others, and was told of no error: it hears nothing of the recovery.
    pub(super) fn added(&mut self, member: Member) {
        let begun = self.plan.state != State::New;
        let mut seat = Seat::new(member, begun);
        let others = self.plan.flavour.is_frozen() || self.plan.resets > 0 || self.plan.doom.is_some();
        let others_are_quiet = others && !self.plan.released;
        seat.quiet = begun && others_are_quiet && seat.takes_part();
        let (quiet, contained) = (seat.quiet, seat.contained && others_are_quiet);
        if !self.plan.seats.add(seat) || !begun {
            return;
        }
        if quiet {
            self.order(Effect::SetChannel(member.function, Channel::Frozen));
            self.order(Effect::Interrupts(member.function, false));
        }
        if contained {
            self.order(Effect::Contain(member.function));
        }
    }

    pub(super) fn removed(&mut self, function: FunctionId) {
        if self.plan.seats.remove(function).is_some() {
            self.wave();
        }
    }

    pub(super) fn bound(&mut self, function: FunctionId, role: Role) {
        let begun = self.plan.state != State::New;
        let Some(seat) = self.plan.seats.get_mut(function) else { return };
        if !begun {
            *seat = Seat::new(Member { role, ..seat.member }, false);
            return;
        }
        seat.member.role = role;
        // Whoever it is, it is not the one that was told (EEH-18).
        (seat.late, seat.told) = (true, false);
        seat.unbound &= role == Role::Unbound;
    }
}
