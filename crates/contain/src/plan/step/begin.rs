//! The beginning: mark, look, tell everybody (EEH-10, EEH-11).

use super::Step;
use crate::plan::{Effect, Flavour, Phase, Policy, Role, Severity, Sight, State};
use crate::report::{Doom, Notice, Outcome, Uevent};

impl Step<'_> {
    pub(super) fn begin(&mut self, sight: Sight) {
        if self.plan.state != State::New {
            return;
        }
        self.effects.extend(self.plan.pes.iter().map(|pe| Effect::Mark(*pe)));
        self.tell(Notice::Began);
        if let Some(doom) = self.plan.doom {
            self.fail(doom);
        } else if !sight.present {
            self.fail(Doom::NothingPresent);
        } else if let Some(outcome) = self.nobody_to_recover() {
            self.keep_contained();
            self.end(outcome);
        } else if !sight.within_budget {
            self.fail(Doom::BudgetExhausted);
        } else if matches!(self.plan.flavour, Flavour::Aer(Severity::Correctable)) {
            self.enter(Phase::CorErrorDetected);
        } else {
            if self.plan.flavour.is_frozen() {
                self.quiet_all();
                self.keep_contained();
            }
            self.announce();
            self.enter(Phase::ErrorDetected);
        }
    }

    /// How it ends if nobody is there who wants to be recovered. A host bridge is recovered for whoever comes next.
    pub(super) fn nobody_to_recover(&self) -> Option<Outcome> {
        match () {
            () if self.plan.host_bridge => None,
            () if self.plan.seats.is_empty() => Some(Outcome::Gone),
            () if self.plan.seats.iter().all(|seat| seat.contained) => Some(Outcome::Contained),
            () => None,
        }
    }

    fn announce(&mut self) {
        let channel = self.plan.flavour.channel();
        for seat in self.plan.seats.iter_mut().filter(|seat| seat.takes_part()) {
            seat.announced = true;
            self.effects.push(Effect::Uevent(seat.member.function, Uevent::Begin));
            if seat.member.role == Role::Consumer(Policy::Notify) {
                self.effects.push(Effect::Notify(seat.member.function, channel));
            }
        }
    }

    /// What is contained stays so, whatever happens to the rest (EEH-20).
    pub(super) fn keep_contained(&mut self) {
        let contained = self.plan.seats.iter().filter(|seat| seat.contained);
        self.effects.extend(contained.map(|seat| Effect::Contain(seat.member.function)));
    }
}
