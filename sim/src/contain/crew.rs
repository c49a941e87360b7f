//! The crew of recoveries: who is woken waits to be driven in an order that the seed decides.

use crate::cell::Cell;
use slot::{Crew, Driven};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// See the module's head.
#[derive(Default)]
pub(crate) struct Hands {
    woken: Cell<Vec<Arc<dyn Driven>>>,
    timers: Cell<BTreeMap<(Duration, u64), Weak<dyn Driven>>>,
    next: Cell<u64>,
    /// Those that are being driven, further down the stack first.
    driving: Cell<Vec<Arc<dyn Driven>>>,
}

impl Hands {
    pub(crate) fn is_woken(&self) -> bool {
        self.woken.with(|woken| !woken.is_empty())
    }

    /// The nth of those that wait.
    pub(crate) fn take(&self, nth: impl FnOnce(usize) -> usize) -> Option<Arc<dyn Driven>> {
        self.woken.with(|woken| {
            let nth = nth(woken.len());
            (nth < woken.len()).then(|| woken.remove(nth))
        })
    }

    /// Begins to drive.
    pub(crate) fn push(&self, driven: &Arc<dyn Driven>) {
        self.driving.with(|driving| driving.push(driven.clone()));
    }

    /// Ends to drive what was begun last.
    pub(crate) fn pop(&self) {
        drop(self.driving.with(Vec::pop));
    }

    /// When the next timer is over.
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.timers.with(|timers| timers.keys().next().map(|(when, _)| *when))
    }

    /// Wakes those whose time has come.
    pub(crate) fn ring(&self, now: Duration) {
        let due = self.timers.with(|timers| {
            let later = timers.split_off(&(now.saturating_add(Duration::from_nanos(1)), 0));
            std::mem::replace(timers, later)
        });
        let due: Vec<_> = due.into_values().filter_map(|driven| driven.upgrade()).collect();
        self.woken.with(|woken| woken.extend(due));
    }

    /// Takes recoveries away from calls that do not return. Gives when the next one is to be.
    pub(crate) fn overdue(&self, now: Duration) -> Option<Duration> {
        let driving = self.driving.with(|driving| driving.clone());
        driving.iter().filter_map(|driven| driven.overdue(now)).min()
    }
}

impl Crew for Hands {
    fn wake(&self, driven: &Arc<dyn Driven>) {
        self.woken.with(|woken| woken.push(driven.clone()));
    }

    fn wake_at(&self, driven: &Weak<dyn Driven>, when: Duration) {
        let number = self.next.with(|next| {
            *next += 1;
            *next
        });
        let _new = self.timers.with(|timers| timers.insert((when, number), driven.clone()));
    }
}
