//! The ends, good and bad. All of them collect what was marked (EEH-16, EEH-17, EEH-I5).

use super::Step;
use crate::plan::seat::Seat;
use crate::plan::{Channel, Effect, Flavour, FunctionId, Phase, Policy, Role, State};
use crate::report::{Doom, Log, Notice, Outcome, Uevent};
use std::cmp::Reverse;

impl Step<'_> {
    /// Everybody works: virtual functions come last, they need their physical function's driver.
    pub(super) fn come_back(&mut self) {
        self.enter(Phase::ProbeVirtual);
    }

    pub(super) fn virtual_functions_are_back(&mut self) {
        if self.plan.again {
            self.need_reset();
            return;
        }
        self.plan.released = true;
        self.release(|_| true);
        if matches!(self.plan.flavour, Flavour::Aer(_)) {
            self.order(Effect::ClearErrorStatus);
        }
        self.enter(Phase::Resume);
    }

    pub(super) fn end_well(&mut self) {
        let announced = self.plan.seats.iter().filter(|seat| seat.announced);
        self.effects.extend(announced.map(|seat| Effect::Uevent(seat.member.function, Uevent::Success)));
        self.end(match () {
            () if self.plan.again => Outcome::FrozenAgain,
            () => self.nobody_to_recover().unwrap_or(Outcome::Recovered),
        });
    }

    pub(super) fn doomed(&mut self, doom: Doom) {
        match self.plan.state {
            State::New => {
                self.plan.doom.get_or_insert(doom);
            }
            State::Calling(Phase::PermanentFailure) => {}
            _ => self.fail(doom),
        }
    }

    /// There is no way back. Everybody is told, but nobody while he is being called for something else: in that case this
    /// comes again when the last call has returned.
    pub(super) fn fail(&mut self, doom: Doom) {
        let doom = *self.plan.doom.get_or_insert(doom);
        if self.plan.seats.in_call() {
            return;
        }
        self.tell(Notice::Failing(doom));
        self.order(Effect::Log(Log::Permanent));
        self.plan.released = false;
        self.silence();
        for seat in self.plan.seats.iter().filter(|seat| seat.takes_part()) {
            if let Role::Consumer(Policy::Notify | Policy::SaveAndRestore) = seat.member.role {
                self.effects.push(Effect::Notify(seat.member.function, Channel::PermFailure));
            }
        }
        self.enter(Phase::PermanentFailure);
    }

    /// Everybody was told that there is no way back.
    pub(super) fn end_badly(&mut self) {
        let removes = self.plan.flavour == Flavour::Eeh;
        for seat in self.plan.seats.iter().filter(|seat| seat.takes_part() || removes) {
            put_away(seat, self.effects);
        }
        if removes {
            self.effects.extend(self.plan.pes.iter().map(|pe| Effect::MarkRemoved(*pe)));
            // Children before parents, or a bridge would take them along.
            let mut deepest_first: Vec<&Seat> = self.plan.seats.iter().rev().collect();
            deepest_first.sort_by_key(|seat| Reverse(seat.member.depth));
            self.effects.extend(deepest_first.iter().map(|seat| Effect::Remove(seat.member.function)));
        }
        // Always there: nobody fails without a reason.
        let doom = self.plan.doom.unwrap_or(Doom::Forced);
        self.end(Outcome::Failed(doom));
    }

    /// One function goes, and the others go on.
    pub(super) fn take_out(&mut self, function: FunctionId) {
        let Some(seat) = self.plan.seats.remove(function) else { return };
        self.tell(Notice::TakenOut(function));
        if !seat.quiet {
            self.order(Effect::Interrupts(function, false));
        }
        put_away(&seat, self.effects);
        if self.plan.flavour == Flavour::Eeh {
            self.order(Effect::Remove(function));
        }
    }

    /// The only way out of a recovery.
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.effects.extend(self.plan.pes.iter().rev().map(|pe| Effect::Collect(*pe)));
        self.order(Effect::Finish(outcome));
        self.plan.state = State::Ended(outcome);
    }
}

fn put_away(seat: &Seat, effects: &mut Vec<Effect>) {
    effects.push(Effect::SetChannel(seat.member.function, Channel::PermFailure));
    if seat.takes_part() {
        effects.push(Effect::Uevent(seat.member.function, Uevent::Failed));
    }
}
