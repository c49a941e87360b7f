//! The reset and what is around it: unbind, save, reset, restore, unfreeze, probe (EEH-13, EEH-15, EEH-19, EEH-20).

use super::Step;
use crate::merge::Vote;
use crate::plan::{
    Effect, Flavour, Goal, HOT_PLUG_SETTLE, LINK_INACTIVE_WAIT, Phase, RESET_ATTEMPTS, RESET_HOLD,
    RESET_SETTLE, ROOT_PORT_BUSY_WAIT, Reset, SECONDARY_BUS_RESET_HOLD, Severity, State, UNFREEZE_ATTEMPTS,
};
use crate::report::{Doom, Notice};

impl Step<'_> {
    pub(super) fn begin_reset(&mut self) {
        self.plan.again = false;
        match self.plan.voted {
            _ if self.plan.resets >= self.reset_attempts() => self.fail(Doom::ResetFailed),
            // It is for the port's link alone, and nobody goes on after it (AER-05).
            Vote::Disconnect | Vote::NoAerDriver => self.reset(),
            _ => self.enter(Phase::Unbind(self.plan.whom)),
        }
    }

    /// Drivers have let go, or models have saved their state.
    pub(super) fn let_go(&mut self, phase: Phase) {
        if self.verdict(phase) == Vote::Disconnect {
            match self.plan.flavour {
                // The port's link is reset all the same (AER-05).
                Flavour::Aer(_) if self.plan.flavour.is_frozen() => self.plan.voted = Vote::Disconnect,
                Flavour::Aer(_) | Flavour::Eeh => {
                    self.fail(Doom::Voted(Vote::Disconnect));
                    return;
                }
            }
        }
        let flavour = self.plan.flavour;
        let unbind = Phase::Unbind(self.plan.whom);
        match phase {
            Phase::Unbind(_) => self.enter(Phase::Save),
            // Somebody was plugged or bound meanwhile, and would be reset without a word.
            _ if self.plan.voted != Vote::Disconnect
                && self.plan.seats.iter().any(|seat| seat.call_in(unbind, flavour).is_some()) =>
            {
                self.enter(unbind);
            }
            _ => self.reset(),
        }
    }

    pub(super) fn reset(&mut self) {
        if self.plan.resets >= self.reset_attempts() {
            self.fail(Doom::ResetFailed);
            return;
        }
        self.plan.resets += 1;
        self.plan.state = State::Resetting;
        self.quiet_all();
        self.tell(Notice::Resetting { nth: self.plan.resets });
        self.order(Effect::Reset(self.kind_of_reset()));
    }

    fn reset_attempts(&self) -> u32 {
        match self.plan.flavour {
            Flavour::Eeh => RESET_ATTEMPTS,
            Flavour::Aer(_) => 1,
        }
    }

    fn kind_of_reset(&self) -> Reset {
        match self.plan.flavour {
            Flavour::Eeh if self.plan.seats.iter().any(|seat| seat.member.needs_fundamental_reset) => {
                Reset::Fundamental { hold: RESET_HOLD, settle: RESET_SETTLE }
            }
            Flavour::Eeh => Reset::Hot { hold: RESET_HOLD, settle: RESET_SETTLE },
            Flavour::Aer(Severity::ContainedByPort) => {
                Reset::ReleasePort { link_inactive: LINK_INACTIVE_WAIT, root_port_busy: ROOT_PORT_BUSY_WAIT }
            }
            Flavour::Aer(_) => Reset::SecondaryBus { hold: SECONDARY_BUS_RESET_HOLD },
        }
    }

    pub(super) fn reset_done(&mut self, done: bool) {
        if self.plan.state != State::Resetting {
            return;
        }
        match (done, self.plan.flavour) {
            (false, _) => self.reset(),
            (true, Flavour::Eeh) => self.query(Goal::Active),
            (true, Flavour::Aer(_)) => match self.plan.voted {
                vote @ (Vote::Disconnect | Vote::NoAerDriver) => self.fail(Doom::Voted(vote)),
                _ => self.restore_config(),
            },
        }
    }

    pub(super) fn restore_config(&mut self) {
        self.plan.state = State::Restoring;
        self.order(Effect::RestoreConfig);
    }

    pub(super) fn config_restored(&mut self, done: bool) {
        match self.plan.state {
            // Visible last: it is unfrozen when everything is in its place.
            State::Restoring if done => self.unfreeze(UNFREEZE_ATTEMPTS),
            State::Restoring => self.fail(Doom::RestoreFailed),
            _ => {}
        }
    }

    /// Tries it so often.
    fn unfreeze(&mut self, attempts: u32) {
        match attempts.checked_sub(1) {
            Some(left) => {
                self.plan.state = State::Unfreezing { left };
                self.order(Effect::Unfreeze);
            }
            None => self.fail(Doom::UnfreezeFailed),
        }
    }

    pub(super) fn unfrozen(&mut self, done: bool) {
        let State::Unfreezing { left } = self.plan.state else { return };
        if !done {
            self.unfreeze(left);
            return;
        }
        self.keep_contained();
        if !self.plan.again && self.plan.seats.iter().any(|seat| seat.unbound) {
            self.plan.state = State::Settling;
            self.order(Effect::Wait(HOT_PLUG_SETTLE));
        } else {
            self.settled();
        }
    }

    pub(super) fn settled(&mut self) {
        if self.plan.again {
            self.need_reset();
        } else {
            self.enter(Phase::Probe);
        }
    }
}
