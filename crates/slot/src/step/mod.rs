//! One step in the life of a slot. Pure.

mod ladder;
mod on;
mod port;
mod requests;

use crate::effect::{Effect, Finished, Lamp, Notice};
use crate::event::Event;
use crate::slot::{Cause, Leaving, Powering, Slot, State};
use std::time::Duration;

/// How long a slot blinks before it acts on its button. PCIe 6.0 s6.7.1.5 *Attention Button* (HP-07).
pub const BLINK: Duration = Duration::from_secs(5);
/// How long after its power was cut a slot may be touched again. PCIe 6.0 s6.7.1.8 *Power Controller* (HP-09).
pub const POWER_OFF_WAIT: Duration = Duration::from_secs(1);
/// How long a card may take to show itself and its link, once it has power (HP-10).
pub const CARD_AND_LINK_WAIT: Duration = Duration::from_millis(1250);
/// How often a consumer is asked again (VF-04).
pub const REMIND: Duration = Duration::from_secs(10);
/// How long a consumer is asked when nobody says otherwise.
pub const DEFAULT_UNPLUG_TIMEOUT: Duration = Duration::from_secs(60);
/// How many may wait for one slot.
pub const MAX_OPERATIONS: usize = 64;

impl Slot {
    /// `event` happens at `now`: changes the slot, and adds to `effects` what its owner is to do. A function of the slot and its
    /// arguments and of nothing else.
    pub fn step(&mut self, now: Duration, event: Event, effects: &mut Vec<Effect>) {
        Step { slot: self, now, effects }.happen(event);
    }
}

/// A step under way.
struct Step<'a> {
    slot: &'a mut Slot,
    now: Duration,
    effects: &'a mut Vec<Effect>,
}

impl Step<'_> {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Asked(id, request) => self.asked(id, request),
            Event::Button => self.button(),
            Event::Card(present) => self.card(present),
            Event::Link(up) => self.link(up),
            Event::Latch(open) => {
                self.slot.sight.latch_open = open && self.slot.features.latch;
                self.tell(Notice::Latch(open));
            }
            Event::PowerFault => self.power_fault(),
            Event::Replaced => self.lost(Cause::Replaced),
            Event::Failed => self.failed(),
            Event::Powered(done) => self.powered(done),
            Event::Configured(done) => self.configured(done),
            Event::Released => self.released(),
            Event::Revoked => self.revoked(),
            Event::Removed => self.removed(),
            Event::PoweredOff => self.powered_off(),
            Event::Timer => self.timer(),
        }
    }

    fn timer(&mut self) {
        match self.slot.state {
            State::BlinkingOn { until } if until <= self.now => match self.objection() {
                Some(why) => {
                    self.slot.state = State::Off;
                    self.order(Effect::PowerLamp(Lamp::Off));
                    self.order(Effect::AttentionLamp(Lamp::On));
                    self.tell(Notice::NotOn(why));
                    self.finish(why);
                }
                None => self.power_on(),
            },
            State::BlinkingOff { until } if until <= self.now => {
                self.begin_to_leave(self.slot.unplug_timeout)
            }
            State::PoweringOn(Powering::CardAndLink { until }) if until <= self.now => {
                self.fail(Finished::NoLink);
            }
            State::Leaving(Leaving::Asked { deadline, .. }) if deadline <= self.now => {
                self.revoke(Cause::Deadline);
            }
            State::Leaving(Leaving::Asked { times, remind, deadline }) if remind <= self.now => {
                let (times, remind) = (times.saturating_add(1), self.now.saturating_add(self.slot.remind));
                self.slot.state = State::Leaving(Leaving::Asked { times, remind, deadline });
                self.order(Effect::Ask { nth: times });
                self.order(Effect::SetTimer(remind.min(deadline)));
                self.tell(Notice::Asked(times));
            }
            State::Leaving(Leaving::CuttingPower { until: Some(until) }) if until <= self.now => self.off(),
            _ => {}
        }
    }

    fn order(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn tell(&mut self, notice: Notice) {
        self.order(Effect::Tell(notice));
    }

    /// Ends what everybody waits for.
    fn finish(&mut self, how: Finished) {
        self.effects.extend(self.slot.waiting.drain(..).map(|id| Effect::Finish(id, how)));
    }
}
