//! The way off: ask, remind, revoke, remove, cut the power.

use super::{POWER_OFF_WAIT, Step};
use crate::effect::{Effect, Finished, Lamp, Notice, Removal};
use crate::slot::{Cause, Leaving, State};
use std::time::Duration;

impl Step<'_> {
    pub(super) fn begin_to_leave(&mut self, timeout: Duration) {
        self.stays_off();
        self.order(Effect::StopTimer);
        self.order(Effect::PowerLamp(Lamp::Blink));
        if timeout.is_zero() {
            self.revoke(Cause::Forced);
            return;
        }
        let deadline = self.now.saturating_add(timeout);
        let remind = self.now.saturating_add(self.slot.remind);
        self.slot.state = State::Leaving(Leaving::Asked { times: 1, remind, deadline });
        self.order(Effect::Ask { nth: 1 });
        self.order(Effect::SetTimer(remind.min(deadline)));
        self.tell(Notice::Asked(1));
    }

    /// Somebody asked for it: nothing that the hardware did or does brings this card back (HP-17).
    pub(super) fn stays_off(&mut self) {
        self.slot.wanted_off = true;
        self.slot.comes_back = false;
    }

    pub(super) fn set_deadline(&mut self, sooner: Duration) {
        if let State::Leaving(Leaving::Asked { times, remind, .. }) = self.slot.state {
            self.slot.state = State::Leaving(Leaving::Asked { times, remind, deadline: sooner });
            self.order(Effect::SetTimer(remind.min(sooner)));
        }
    }

    pub(super) fn keep(&mut self) {
        self.slot.wanted_off = false;
        self.slot.state = State::On;
        self.order(Effect::StopTimer);
        self.order(Effect::PowerLamp(Lamp::On));
        self.order(Effect::Keep);
        self.tell(Notice::Kept);
        self.finish(Finished::Cancelled);
    }

    pub(super) fn revoke(&mut self, cause: Cause) {
        self.slot.state = State::Leaving(Leaving::Revoking(cause));
        self.order(Effect::StopTimer);
        self.order(Effect::PowerLamp(Lamp::Blink));
        self.tell(Notice::Revoking(cause));
        self.order(Effect::Revoke);
    }

    pub(super) fn released(&mut self) {
        if let State::Leaving(Leaving::Asked { .. }) = self.slot.state {
            self.order(Effect::StopTimer);
            self.tell(Notice::Released);
            // Nobody is there to be revoked, and nobody may come any more.
            self.slot.state = State::Leaving(Leaving::Revoking(Cause::Released));
            self.order(Effect::Revoke);
        }
    }

    pub(super) fn revoked(&mut self) {
        if let State::Leaving(Leaving::Revoking(cause)) = self.slot.state {
            self.tell(Notice::Revoked);
            self.remove(cause.is_surprise());
        }
    }

    pub(super) fn remove(&mut self, surprise: bool) {
        self.slot.state = State::Leaving(Leaving::Removing { surprise });
        self.order(Effect::Remove(if surprise { Removal::Surprise } else { Removal::Orderly }));
    }

    pub(super) fn removed(&mut self) {
        if let State::Leaving(Leaving::Removing { .. }) = self.slot.state {
            self.tell(Notice::Removed);
            self.cut_power();
        }
    }

    pub(super) fn cut_power(&mut self) {
        self.slot.state = State::Leaving(Leaving::CuttingPower { until: None });
        self.order(Effect::CutPower);
    }

    pub(super) fn powered_off(&mut self) {
        if self.slot.state != State::Leaving(Leaving::CuttingPower { until: None }) {
            return;
        }
        if self.slot.features.power_controller {
            let until = self.now.saturating_add(POWER_OFF_WAIT);
            self.slot.state = State::Leaving(Leaving::CuttingPower { until: Some(until) });
            self.order(Effect::SetTimer(until));
        } else {
            self.off();
        }
    }

    pub(super) fn off(&mut self) {
        self.slot.state = State::Off;
        // Without power there is no link; a fault is forgotten when it is switched on again, if that succeeds.
        self.slot.sight.link = self.slot.sight.link && !self.slot.features.power_controller;
        self.order(Effect::PowerLamp(Lamp::Off));
        self.tell(Notice::Off);
        self.finish(Finished::Done);
        if std::mem::take(&mut self.slot.comes_back) && self.objection().is_none() {
            self.power_on();
        }
    }
}
