//! The end of a slot with everything else.

use super::Controller;
use super::desk::{Closing, Desk};
use super::work::{Indicator, Task};
use crate::effect::{Finished, Lamp, Removal};
use crate::patience::{is_over, look_until};
use crate::settings::Settings;
use crate::slot::{Leaving, Slot, State};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};
use std::time::Duration;

impl Controller {
    /// Ends everything, whatever the slot is at: drivers are shut down, consumers revoked, the card is taken out and its power cut, and
    /// every operation ends. Drives on this thread if its crew does not. False if the deadline came first, or somebody cancelled this
    /// thread's waits; what is begun goes on.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or a lock (law 1).
    pub fn shutdown(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        let mut desk = self.desk.lock();
        if desk.closing == Closing::No {
            desk.closing = Closing::Wanted;
        }
        self.wake(desk);
        let _waiting = Waiting::new(token, "slot shutdown", None, "its end");
        // A crew's threads can be left behind in a call that does not return, and this one cannot.
        let by_hand = !self.parts.crew.drives();
        loop {
            if by_hand {
                let _no_timer_any_more = self.drive(token);
            }
            let desk = self.desk.lock();
            if desk.closing == Closing::Done {
                return true;
            }
            if is_over(token, deadline) {
                return false;
            }
            if !by_hand || desk.driving.is_some() {
                drop(self.ended.wait(desk, token, look_until(deadline)));
            }
        }
    }
}

impl Desk {
    pub(super) fn close(&mut self, now: Duration) {
        self.closing = Closing::Underway;
        self.effect_until = now.saturating_add(self.effect_timeout);
        let lost = match self.slot.state() {
            State::Leaving(Leaving::Revoking(cause)) => cause.is_surprise(),
            State::Leaving(Leaving::Removing { surprise }) => surprise,
            _ => false,
        };
        // Another card may be there by now, which is not to be touched.
        let removal = if lost || self.inbox.tells_of_a_loss() { Removal::Surprise } else { Removal::Orderly };
        self.slot = Slot::new(self.slot.features(), &Settings::default());
        self.timer = None;
        self.give_errands_up();
        let bonds: Vec<u64> = self.card.bonds.iter().rev().map(|bond| bond.id).collect();
        // Drivers end while their functions still work.
        self.tasks.extend(bonds.into_iter().map(|bond| Task::Shutdown { bond }));
        self.take_everything_away(removal);
        self.tasks.extend([
            Task::Unconfigure(removal),
            Task::CutPower,
            Task::Lamp(Indicator::Power, Lamp::Off),
            Task::Lamp(Indicator::Attention, Lamp::Off),
        ]);
        let operations = std::mem::take(&mut self.operations);
        self.tasks
            .extend(operations.into_iter().map(|operation| Task::Finish(operation, Finished::ShutDown)));
        self.tasks.push_back(Task::Closed);
    }
}
