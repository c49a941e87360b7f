//! The way on: power, card and link, what is on the card (HP-08).

use super::{CARD_AND_LINK_WAIT, Step};
use crate::effect::{Effect, Finished, Lamp, Notice};
use crate::slot::{Powering, State};

impl Step<'_> {
    pub(super) fn power_on(&mut self) {
        self.slot.comes_back = false;
        self.slot.wanted_off = false;
        // A fault of last time is forgotten; if it is still there, there will be no power.
        self.slot.sight.power_fault = false;
        self.slot.state = State::PoweringOn(Powering::Power);
        self.order(Effect::StopTimer);
        self.order(Effect::PowerLamp(Lamp::Blink));
        self.order(Effect::AttentionLamp(Lamp::Off));
        self.order(Effect::ApplyPower);
    }

    pub(super) fn powered(&mut self, done: bool) {
        if self.slot.state != State::PoweringOn(Powering::Power) {
            return;
        }
        if !done {
            self.slot.sight.power_fault = true;
            self.fail(Finished::PowerFault);
            return;
        }
        let until = self.now.saturating_add(CARD_AND_LINK_WAIT);
        self.slot.state = State::PoweringOn(Powering::CardAndLink { until });
        self.order(Effect::SetTimer(until));
        self.configure_if_up();
    }

    pub(super) fn configure_if_up(&mut self) {
        let sight = self.slot.sight;
        if sight.card && sight.link {
            self.slot.state = State::PoweringOn(Powering::Configure);
            self.order(Effect::StopTimer);
            self.order(Effect::Configure);
        }
    }

    pub(super) fn configured(&mut self, done: bool) {
        if self.slot.state != State::PoweringOn(Powering::Configure) {
            return;
        }
        if !done {
            self.fail(Finished::NotConfigured);
            return;
        }
        self.slot.state = State::On;
        self.order(Effect::PowerLamp(Lamp::On));
        self.tell(Notice::On);
        self.finish(Finished::Done);
    }

    /// The card does not come up: whatever was found of it goes, and the power.
    pub(super) fn fail(&mut self, why: Finished) {
        self.order(Effect::StopTimer);
        self.order(Effect::AttentionLamp(Lamp::On));
        self.tell(Notice::NotOn(why));
        self.finish(why);
        match self.slot.state {
            State::PoweringOn(Powering::Configure) => self.remove(true),
            _ => self.cut_power(),
        }
    }
}
