//! Who is driven, who is woken when, and how many threads there are.

use crate::crew::Driven;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// What threads are driving, or about to; shared by them and the one that looks at the clock.
pub(super) struct Busy {
    pub(super) driven: Arc<dyn Driven>,
}

/// The same for as long as anybody has a reference, also a weak one.
fn address(driven: &Weak<dyn Driven>) -> usize {
    driven.as_ptr().cast::<()>().addr()
}

/// See the module's head.
#[derive(Default)]
pub(super) struct Roster {
    /// By the address of what is driven.
    timers: HashMap<usize, (Weak<dyn Driven>, Instant)>,
    /// What threads have in their hands, also those that were left behind; how many threads. By its address.
    busy: HashMap<usize, (Weak<Busy>, usize)>,
    /// For which no thread could be had.
    waiting: Vec<Arc<dyn Driven>>,
    driving: usize,
    clock: bool,
    stopped: bool,
}

impl Roster {
    pub(super) fn threads(&self) -> usize {
        self.driving + usize::from(self.clock)
    }

    /// A thread begins. What it has in its hands, until [`Roster::end`].
    pub(super) fn begin(&mut self, driven: Arc<dyn Driven>) -> Arc<Busy> {
        self.driving += 1;
        let (busy, threads) = self.busy.entry(address(&Arc::downgrade(&driven))).or_default();
        *threads += 1;
        // Who is there has a reference of its own: this is not the last one.
        busy.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Busy { driven });
            *busy = Arc::downgrade(&new);
            new
        })
    }

    /// It has ended, or was not begun.
    pub(super) fn end(&mut self, driven: &Weak<dyn Driven>) {
        self.driving -= 1;
        let at = address(driven);
        if let Some((_, threads)) = self.busy.get_mut(&at) {
            *threads -= 1;
            if *threads == 0 {
                self.busy.remove(&at);
            }
        }
    }

    /// The clock tries again.
    pub(super) fn waits(&mut self, driven: Arc<dyn Driven>) {
        self.waiting.push(driven);
    }

    /// Of two times the earlier counts: two threads may say what they found in either order. Who is woken too early says again when.
    pub(super) fn set_timer(&mut self, driven: &Weak<dyn Driven>, at: Instant) {
        if self.stopped {
            return;
        }
        let (_, earliest) = self.timers.entry(address(driven)).or_insert_with(|| (Weak::clone(driven), at));
        *earliest = at.min(*earliest);
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.values().map(|(_, at)| *at).min()
    }

    /// Takes out those whose timers are due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Weak<dyn Driven>> {
        self.timers.extract_if(|_, (_, at)| *at <= now).map(|(_, (driven, _))| driven).collect()
    }

    /// Somebody drives, or is to.
    pub(super) fn is_busy(&self) -> bool {
        !(self.busy.is_empty() && self.waiting.is_empty())
    }

    /// What is to be looked at.
    pub(super) fn busy(&self) -> Vec<Arc<Busy>> {
        self.busy.values().filter_map(|(busy, _)| busy.upgrade()).collect()
    }

    pub(super) fn take_waiting(&mut self) -> Vec<Arc<dyn Driven>> {
        std::mem::take(&mut self.waiting)
    }

    /// True if the clock's thread is to be started.
    pub(super) fn clock_begins(&mut self) -> bool {
        let wanted = self.is_busy() || !self.timers.is_empty();
        wanted && !std::mem::replace(&mut self.clock, true)
    }

    pub(super) fn clock_ends(&mut self) {
        self.clock = false;
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.timers.clear();
    }
}
