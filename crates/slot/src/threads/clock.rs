//! The thread that looks at the clock: for timers that are due, and for calls that are overdue.

use super::{Inner, next_look};
use crate::controller::Controller;
use gate::ThreadToken;
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::Instant;

/// Runs as long as there is a timer, or a slot that is driven.
pub(super) fn run(inner: &Arc<Inner>, token: &mut ThreadToken) {
    loop {
        let mut roster = inner.roster.lock();
        let now = Instant::now();
        let due = roster.due(now);
        let (busy, waiting) = roster.take_busy();
        drop(roster);
        for slot in due.iter().filter_map(Weak::upgrade) {
            slot.timer_is_due();
            let_go(slot);
        }
        for slot in waiting {
            inner.start(&slot);
            let_go(slot);
        }
        let still = busy.into_iter().filter(is_busy).collect();
        let mut roster = inner.roster.lock();
        roster.put_back(still);
        if !roster.is_busy() && roster.next_timer().is_none() {
            return roster.clock_ends();
        }
        let until = next_look(&roster, now);
        drop(inner.changed.wait(roster, token, until));
    }
}

/// Whether a slot is driven still, by a thread that was not left behind.
fn is_busy(slot: &Weak<Controller>) -> bool {
    slot.upgrade().is_some_and(|slot| {
        slot.overdue(slot.now());
        let busy = slot.is_busy();
        let_go(slot);
        busy
    })
}

/// The last reference is dropped elsewhere: what a slot's owner supplied may hang or panic as it ends, and every other slot needs this
/// thread.
fn let_go(slot: Arc<Controller>) {
    if let Some(last) = Arc::into_inner(slot) {
        let _not_even_a_thread = Builder::new().name(String::from("slot end")).spawn(move || drop(last));
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "what a test waits for is its own")]
mod tests {
    use super::*;
    use crate::{ByHand, Drivers, Features, Hardware, Lamp, Parts, Removal, Settings};
    use assign::Assignment;
    use gate::Deadline;
    use pci_core::RealTime;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::{ThreadId, current};

    /// Hangs in its end until it is let, then says on which thread.
    struct Stuck(std::sync::Mutex<(Receiver<()>, Sender<ThreadId>)>);

    impl Drop for Stuck {
        fn drop(&mut self) {
            let Ok((until, ended)) = self.0.get_mut() else { return };
            let _ = until.recv_timeout(std::time::Duration::from_secs(5));
            let _ = ended.send(current().id());
        }
    }

    impl Hardware for Stuck {
        fn apply_power(&self, _: &mut ThreadToken, _: Deadline) -> bool {
            false
        }

        fn cut_power(&self, _: &mut ThreadToken, _: Deadline) {}

        fn power_lamp(&self, _: Lamp) {}

        fn attention_lamp(&self, _: Lamp) {}

        fn configure(&self, _: &mut ThreadToken, _: Deadline) -> Result<Vec<Arc<Assignment>>, String> {
            Err(String::new())
        }

        fn unconfigure(&self, _: &mut ThreadToken, _: &[Arc<Assignment>], _: Removal, _: Deadline) {}
    }

    #[test]
    fn a_slot_that_hangs_in_its_end_does_not_have_the_clock() {
        let (let_end, until) = channel();
        let (ended, has_ended) = channel();
        let slot = Controller::new(
            "stuck",
            Features::default(),
            Settings::default(),
            Parts {
                hardware: Arc::new(Stuck(std::sync::Mutex::new((until, ended)))),
                drivers: Drivers::new(),
                time: Arc::new(RealTime::default()),
                crew: Arc::new(ByHand),
                watch: Arc::new(()),
            },
        );
        let weak = Arc::downgrade(&slot);
        let_go(slot);
        assert!(weak.upgrade().is_none());
        drop(let_end);
        assert_ne!(has_ended.recv(), Ok(current().id()));
    }
}
