//! The thread that looks at the clock: for timers that are due, and for calls that are overdue.

use super::roster::Busy;
use super::{Inner, LOOK, RARE_LOOK};
use gate::{Deadline, ThreadToken};
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Runs as long as there is a timer, or something that is driven.
pub(super) fn run(inner: &Arc<Inner>, token: &mut ThreadToken) {
    loop {
        let mut roster = inner.roster.lock();
        let now = Instant::now();
        let due = roster.due(now);
        let waiting = roster.take_waiting();
        let busy = roster.busy();
        drop(roster);
        due.iter().filter_map(Weak::upgrade).chain(waiting).for_each(|driven| inner.start(driven));
        let look = busy.into_iter().map(look_at).min();
        let mut roster = inner.roster.lock();
        if !roster.is_busy() && roster.next_timer().is_none() {
            return roster.clock_ends();
        }
        let look = roster.is_busy().then(|| now + look.unwrap_or(LOOK));
        let until = [look, roster.next_timer()].into_iter().flatten().min().unwrap_or(now + LOOK);
        drop(inner.changed.wait(roster, token, Deadline::at(until)));
    }
}

/// Takes a call that is overdue away from its thread; answers after how long to look again.
fn look_at(busy: Arc<Busy>) -> Duration {
    let driven = &busy.driven;
    let calls = driven.overdue(driven.now()).is_some();
    let_go(busy);
    if calls { LOOK } else { RARE_LOOK }
}

/// The last reference is dropped elsewhere: what the owner of a slot supplied may hang or panic as it ends, and every other one needs this
/// thread.
pub(super) fn let_go(busy: Arc<Busy>) {
    if let Some(last) = Arc::into_inner(busy) {
        let _not_even_a_thread = Builder::new().name(String::from("slot end")).spawn(move || drop(last));
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "what a test waits for is its own")]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests {
    use super::*;
    use crate::{ByHand, Controller, Drivers, Features, Hardware, Lamp, Parts, Removal, Settings};
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
        let_go(Arc::new(Busy { driven: slot }));
        drop(let_end);
        assert_ne!(has_ended.recv().unwrap(), current().id());
        assert!(weak.upgrade().is_none());
    }
}
