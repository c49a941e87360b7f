//! Who is driven, who is woken when, and how many threads there are.

use crate::controller::Controller;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// See the module's head.
#[derive(Default)]
pub(super) struct Roster {
    /// By the address of the slot's owner.
    timers: HashMap<usize, (Weak<Controller>, Instant)>,
    /// Slots that may be driven at present.
    busy: Vec<Weak<Controller>>,
    /// Slots for which no thread could be had.
    waiting: Vec<Arc<Controller>>,
    driving: usize,
    clock: bool,
    stopped: bool,
}

impl Roster {
    pub(super) fn threads(&self) -> usize {
        self.driving + usize::from(self.clock)
    }

    pub(super) fn begin(&mut self, controller: &Arc<Controller>) {
        self.driving += 1;
        if !self.busy.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(controller))) {
            self.busy.push(Arc::downgrade(controller));
        }
    }

    pub(super) fn not_begun(&mut self, controller: &Arc<Controller>) {
        self.driving -= 1;
        self.waiting.push(Arc::clone(controller));
    }

    pub(super) fn end(&mut self) {
        self.driving -= 1;
    }

    /// Of two times the earlier counts: two threads may say what they found in either order. A slot that is woken too early
    /// says again when.
    pub(super) fn set_timer(&mut self, controller: &Weak<Controller>, at: Instant) {
        if self.stopped {
            return;
        }
        let timer = self.timers.entry(controller.as_ptr().addr());
        let (_, earliest) = timer.or_insert_with(|| (Weak::clone(controller), at));
        *earliest = at.min(*earliest);
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.values().map(|(_, at)| *at).min()
    }

    /// Takes out the slots whose timers are due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Weak<Controller>> {
        self.timers.extract_if(|_, (_, at)| *at <= now).map(|(_, (controller, _))| controller).collect()
    }

    pub(super) fn is_busy(&self) -> bool {
        !(self.busy.is_empty() && self.waiting.is_empty())
    }

    /// Takes out what is to be looked at; what is busy still is put back.
    pub(super) fn take_busy(&mut self) -> (Vec<Weak<Controller>>, Vec<Arc<Controller>>) {
        (std::mem::take(&mut self.busy), std::mem::take(&mut self.waiting))
    }

    pub(super) fn put_back(&mut self, still: Vec<Weak<Controller>>) {
        let known: Vec<_> = self.busy.iter().map(Weak::as_ptr).collect();
        self.busy.extend(still.into_iter().filter(|other| !known.contains(&other.as_ptr())));
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
