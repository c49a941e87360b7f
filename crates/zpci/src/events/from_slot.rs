//! Events that the life of a slot makes.

use super::{Availability, Event};
use crate::zdev::Zdev;
use slot::{Cause, Notice};

/// What a slot's notice is to those who listen to functions; `None`: nothing.
#[must_use]
pub fn availability_of(notice: &Notice) -> Option<Availability> {
    match notice {
        Notice::Card(true) => Some(Availability::Standby),
        Notice::Card(false) => Some(Availability::Reserved),
        Notice::On => Some(Availability::Configured),
        // Later ones are reminders.
        Notice::Asked(1) => Some(Availability::DeconfigureRequested),
        // Who has let go gave the function back: nothing was taken away.
        Notice::Revoking(Cause::Released) => None,
        Notice::Revoking(
            Cause::Deadline
            | Cause::Forced
            | Cause::CardLost
            | Cause::LinkLost
            | Cause::Replaced
            | Cause::Failed,
        ) => Some(Availability::Deconfigured),
        Notice::Asked(_)
        | Notice::ButtonPressed { .. }
        | Notice::ButtonCancelled
        | Notice::ButtonIgnored
        | Notice::Link(_)
        | Notice::Latch(_)
        | Notice::PowerFault
        | Notice::NotOn(_)
        | Notice::Kept
        | Notice::Released
        | Notice::Revoked
        | Notice::Removed
        | Notice::Off => None,
    }
}

impl Zdev {
    /// Something happened at the slot of this function: notes that there is a device or none, or that it was taken away, and tells who
    /// listens. (That it is configured, or not any more, is for [`Zdev::bring_in`] and [`Zdev::take_out`].) Waits for nobody.
    pub fn noticed(&self, notice: &Notice) {
        let Some(pec) = availability_of(notice) else { return };
        match pec {
            Availability::Standby => self.card(true),
            Availability::Reserved => return self.card_left(),
            Availability::Deconfigured => self.fail(),
            Availability::Configured
            | Availability::DeconfigureRequested
            | Availability::Changed
            | Availability::Other(_) => {}
        }
        self.tell(&Event::Availability { fid: self.fid(), handle: self.handle(), pec });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notices_of_a_slot_become_the_availability_events_they_stand_for() {
        let table = [
            (Notice::Card(true), Some(0x0302)),
            (Notice::On, Some(0x0301)),
            (Notice::Asked(1), Some(0x0303)),
            (Notice::Revoking(Cause::Deadline), Some(0x0304)),
            (Notice::Revoking(Cause::Forced), Some(0x0304)),
            (Notice::Revoking(Cause::CardLost), Some(0x0304)),
            (Notice::Revoking(Cause::LinkLost), Some(0x0304)),
            (Notice::Revoking(Cause::Replaced), Some(0x0304)),
            (Notice::Card(false), Some(0x0308)),
            (Notice::Revoking(Cause::Released), None),
            (Notice::Asked(2), None),
            (Notice::Kept, None),
            (Notice::Removed, None),
            (Notice::Off, None),
            (Notice::PowerFault, None),
        ];
        for (notice, code) in table {
            assert_eq!(availability_of(&notice).map(Availability::code), code, "{notice:?}");
        }
    }
}
