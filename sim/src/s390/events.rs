//! What the platform tells of functions (ZP-05, ZP-06), in time and out of time.

use super::act::Site;
use crate::actions;
use crate::machine::at_once;
use crate::world::{Due, World};
use gate::ThreadToken;
use zpci::hotplug::Carried;
use zpci::{Availability, ErrorCode, Event, Handle};

/// Codes that mean something, and one that does not.
const AVAILABILITY: [u16; 7] = [0x0301, 0x0302, 0x0303, 0x0304, 0x0306, 0x0308, 0x0305];
/// Measurement only, recovery, permanent.
const ERRORS: [u16; 6] = [0x002a, 0x003a, 0x003a, 0x003b, 0x0040, 0x1234];

pub(super) fn availability(on: &Site<'_>, token: &mut ThreadToken) {
    let slot = &on.function;
    let code = on.world.random.with(|random| AVAILABILITY[random.below(AVAILABILITY.len())]);
    let handle = on.some_handle(slot.zdev().handle());
    let pec = Availability::from_code(code);
    carry_out(on, token, Event::Availability { fid: slot.zdev().fid(), handle, pec });
}

pub(super) fn error(on: &Site<'_>, token: &mut ThreadToken) {
    let slot = &on.function;
    let code = on.world.random.with(|random| ERRORS[random.below(ERRORS.len())]);
    let handle = on.some_handle(slot.zdev().handle());
    carry_out(on, token, Event::Error { fid: slot.zdev().fid(), handle, pec: ErrorCode(code) });
}

/// A device finds itself broken, and may freeze its function.
pub(super) fn fault(on: &Site<'_>) {
    let functions = on.world.bays[on.slot].plugged();
    let Some(function) = on.world.random.with(|random| random.pick(&functions).cloned()) else { return };
    let freezes = on.world.random.with(crate::random::Random::coin);
    on.trace(|| format!("the device at {} finds itself broken", function.at));
    let port = function.assignment.port();
    port.report(assign::Event::DeviceFault { detail: "as planned".into() });
    if freezes {
        port.freeze("it is broken");
    }
}

fn carry_out(on: &Site<'_>, token: &mut ThreadToken, event: Event) {
    on.trace(|| format!("the platform tells {event:?}"));
    if matches!(event, Event::Availability { pec: Availability::Reserved, .. }) {
        // Whatever stands there, its owner is told that it does not.
        on.world.lost(on.slot);
    }
    let carried = on.timed("an event", || on.function.event(token, &event, at_once()));
    match carried {
        Carried::Asked(operation) => {
            on.trace(|| format!("it becomes operation {}", operation.id().0));
            on.world.asked(on.slot, operation);
        }
        Carried::RescanAll => actions::rescan(on.world, token),
        other => on.trace(|| format!("it was carried out: {other:?}")),
    }
}

impl World {
    /// Somebody may act on an error that was told, after a while, when it may be of a device that has gone.
    pub(super) fn answer(&self, event: &Event) {
        if !matches!(event, Event::Error { .. }) || self.calm.get() {
            return;
        }
        let (acts, after) = self.random.with(|random| (random.coin(), random.ms(0, 300)));
        if acts {
            self.later(after, Due::Platform(*event));
        }
    }

    /// Somebody acts on an event that was told a while ago.
    pub(crate) fn act_on(&self, token: &mut ThreadToken, event: Event) {
        let (Some(s390), Event::Error { fid, .. }) = (&self.s390, event) else { return };
        let slot = super::slot_of(fid);
        if let Some(function) = s390.hotplug(fid) {
            let on = Site { world: self, s390, slot, function };
            carry_out(&on, token, event);
        }
    }
}

impl Site<'_> {
    /// The handle that is right, one that was, or anything.
    pub(super) fn some_handle(&self, right: Handle) -> Handle {
        let (which, place, bits) =
            self.world.random.with(|random| (random.below(8), random.below(1 << 16), random.bits()));
        match which {
            0 | 1 => self.s390.book.with(|book| book.dead(place)).unwrap_or(right),
            2 => Handle::from_bits(bits),
            3 => Handle::from_bits(right.bits() ^ 1 << 31),
            _ => right,
        }
    }
}
