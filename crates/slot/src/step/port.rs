//! What the port sees of the slot.

use super::Step;
use crate::effect::{Effect, Finished, Lamp, Notice};
use crate::slot::{Cause, Leaving, Powering, State};

impl Step {
    /// Why the slot cannot be switched on (HP-08).
    pub(super) fn objection(&self) -> Option<Finished> {
        let sight = self.slot.sight;
        match () {
            () if sight.latch_open => Some(Finished::LatchOpen),
            () if !sight.card && !sight.link => Some(Finished::NoCard),
            () => None,
        }
    }

    pub(super) fn card(&mut self, present: bool) {
        let was = std::mem::replace(&mut self.slot.sight.card, present);
        if was == present {
            return;
        }
        if !present {
            self.slot.sight.link = false;
            self.slot.sight.power_fault = false;
        }
        self.tell(Notice::Card(present));
        if present { self.seen() } else { self.lost(Cause::CardLost) }
    }

    pub(super) fn link(&mut self, up: bool) {
        let was = std::mem::replace(&mut self.slot.sight.link, up);
        if was == up {
            return;
        }
        self.tell(Notice::Link(up));
        if up { self.seen() } else { self.lost(Cause::LinkLost) }
    }

    /// A card or its link has shown itself.
    fn seen(&mut self) {
        match self.slot.state {
            // With a button, it is the button that switches on.
            State::Off if self.slot.features.attention_button => {}
            State::Off | State::BlinkingOn { .. } => {
                if self.objection().is_none() {
                    self.power_on();
                }
            }
            State::PoweringOn(Powering::CardAndLink { .. }) => self.configure_if_up(),
            State::Leaving(leaving) => {
                let surprise = match leaving {
                    Leaving::Asked { .. } | Leaving::CuttingPower { .. } => false,
                    Leaving::Revoking(cause) => cause.is_surprise(),
                    Leaving::Removing { surprise } => surprise,
                };
                let may = !self.slot.wanted_off && !self.slot.features.attention_button;
                self.slot.comes_back |= surprise && may;
            }
            State::PoweringOn(_) | State::On | State::BlinkingOff { .. } => {}
        }
    }

    /// The card cannot be reached any more, or is not the one that it was.
    pub(super) fn lost(&mut self, cause: Cause) {
        if cause == Cause::Replaced {
            self.slot.comes_back = !self.slot.wanted_off;
        }
        match self.slot.state {
            State::Off => self.slot.comes_back = false,
            State::BlinkingOn { .. } if cause == Cause::CardLost => self.stop_blinking(),
            State::BlinkingOn { .. } => {}
            State::PoweringOn(Powering::Configure) => {
                self.order(Effect::Disconnect);
                self.fail(Finished::Lost);
            }
            State::PoweringOn(_) if cause == Cause::CardLost => self.fail(Finished::NoCard),
            State::PoweringOn(_) => {}
            State::On | State::BlinkingOff { .. } => {
                self.order(Effect::Disconnect);
                self.revoke(cause);
            }
            State::Leaving(Leaving::Asked { .. }) => {
                self.order(Effect::Disconnect);
                self.revoke(cause);
            }
            State::Leaving(Leaving::Revoking(of)) if !of.is_surprise() => {
                self.order(Effect::Disconnect);
                self.slot.state = State::Leaving(Leaving::Revoking(cause));
            }
            State::Leaving(Leaving::Removing { surprise: false }) => {
                self.order(Effect::Disconnect);
                self.slot.state = State::Leaving(Leaving::Removing { surprise: true });
            }
            State::Leaving(_) if cause == Cause::CardLost => self.slot.comes_back = false,
            State::Leaving(_) => {}
        }
    }

    pub(super) fn power_fault(&mut self) {
        self.slot.sight.power_fault = true;
        self.order(Effect::PowerLamp(Lamp::Off));
        self.order(Effect::AttentionLamp(Lamp::On));
        self.tell(Notice::PowerFault);
        if let State::PoweringOn(Powering::Power | Powering::CardAndLink { .. }) = self.slot.state {
            self.fail(Finished::PowerFault);
        }
    }
}
