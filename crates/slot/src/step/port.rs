//! What the port sees of the slot.

use super::Step;
use crate::effect::{Effect, Finished, Lamp, Notice};
use crate::slot::{Cause, Leaving, Powering, State};

impl Step<'_> {
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
        if present { self.seen(true) } else { self.lost(Cause::CardLost) }
    }

    pub(super) fn link(&mut self, up: bool) {
        let was = std::mem::replace(&mut self.slot.sight.link, up);
        if was == up {
            return;
        }
        self.tell(Notice::Link(up));
        if up { self.seen(false) } else { self.lost(Cause::LinkLost) }
    }

    /// A card, or else its link, has shown itself.
    fn seen(&mut self, card: bool) {
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
                let comes_back = match leaving {
                    Leaving::Asked { .. } => false,
                    Leaving::Revoking(cause) => cause.is_surprise() && !self.slot.wanted_off,
                    Leaving::Removing { surprise } => surprise && !self.slot.wanted_off,
                    // What was there is out of the topology: this is the next card.
                    Leaving::CuttingPower { .. } => card,
                };
                self.slot.comes_back |= comes_back && !self.slot.features.attention_button;
            }
            State::PoweringOn(_) | State::On | State::BlinkingOff { .. } => {}
        }
    }

    /// The card cannot be reached any more, or is not the one that it was.
    pub(super) fn lost(&mut self, cause: Cause) {
        match self.slot.state {
            State::BlinkingOn { .. } if cause == Cause::CardLost => self.stop_blinking(),
            State::Off | State::BlinkingOn { .. } => {}
            State::PoweringOn(Powering::Configure) => {
                self.order(Effect::Disconnect);
                // A card that loses its link while it comes up has failed; there is no trying for ever.
                self.slot.comes_back = cause == Cause::Replaced;
                self.fail(Finished::Lost);
            }
            State::PoweringOn(_) if cause == Cause::CardLost => self.fail(Finished::NoCard),
            State::PoweringOn(_) => {}
            State::On | State::BlinkingOff { .. } | State::Leaving(Leaving::Asked { .. }) => {
                self.order(Effect::Disconnect);
                self.bring_back_after(cause);
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
            // Its link goes down with its power: that is no news of the card.
            State::Leaving(_) if cause == Cause::LinkLost => {}
            State::Leaving(_) => self.bring_back_after(cause),
        }
    }

    /// It is lost, and is not brought up again by itself; it can be switched on, as any card.
    pub(super) fn failed(&mut self) {
        if matches!(self.slot.state, State::Off | State::BlinkingOn { .. }) {
            return;
        }
        self.stays_off();
        self.order(Effect::Disconnect);
        self.order(Effect::AttentionLamp(Lamp::On));
        self.lost(Cause::Failed);
    }

    /// A card that is there still, or another one, is brought up again when this one has left (HP-14, HP-15), unless somebody
    /// wants it off (HP-17). Whether its link comes back is found out then.
    fn bring_back_after(&mut self, cause: Cause) {
        self.slot.comes_back = match cause {
            Cause::LinkLost => self.slot.sight.card && !self.slot.wanted_off,
            Cause::Replaced => !self.slot.wanted_off,
            _ => false,
        };
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
