//! A turn: everything that is to be done, one thing after the other, until nothing is.

use super::Containment;
use gate::{Deadline, ThreadToken};
use std::time::Duration;

#[cfg(shuttle)]
use shuttle::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(shuttle))]
use std::sync::atomic::{AtomicBool, Ordering};

/// How much is done in one turn; errors that come faster must not keep the thread for ever.
const MOST: u32 = 1 << 16;

/// How long the tree may be busy before what was removed is collected at the next turn instead.
const COLLECT: Duration = Duration::from_secs(1);

/// That somebody takes a turn.
#[derive(Debug)]
pub(super) struct Flag(AtomicBool);

impl Default for Flag {
    fn default() -> Flag {
        Flag(AtomicBool::new(false))
    }
}

impl Flag {
    fn take(&self) -> Option<Taken<'_>> {
        (!self.0.swap(true, Ordering::AcqRel)).then_some(Taken(self))
    }
}

/// Given back when dropped, also by a panic of a watcher.
struct Taken<'a>(&'a Flag);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

impl Containment {
    /// Takes up what was noticed, begins recoveries, and looks at those that have ended, until there is nothing left to do. True if it
    /// did something. If another thread is at it, that one does this too, and this one returns at once. To be called when the
    /// alarm was raised; now and then besides, for warnings.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or a lock (law 1).
    pub fn turn(&self, token: &mut ThreadToken) -> bool {
        token.assert_holds_nothing();
        let mut did_something = false;
        let mut left = MOST;
        // What came after somebody looked, and before he gave the flag back, is seen by this look at the latest.
        while self.has_work() {
            let Some(_taken) = self.turning.take() else { return did_something };
            while self.do_one(token) {
                did_something = true;
                left = left.saturating_sub(1);
                if left == 0 {
                    self.detector.raise();
                    return true;
                }
            }
        }
        self.warn();
        did_something
    }

    fn has_work(&self) -> bool {
        self.detector.has_some() || self.cases.lock().has_work()
    }

    /// Does the next thing: what has ended makes room, what was noticed is frozen before anything is begun.
    fn do_one(&self, token: &mut ThreadToken) -> bool {
        let ended = self.cases.lock().ended.pop_front();
        if let Some(pe) = ended {
            self.collect(token, pe);
            // Every change of the tree collects, too, so nothing is lost if it is busy.
            let _collected_or_later = self.tree.collect(token, Deadline::after(COLLECT));
            return true;
        }
        if let Some(sign) = self.detector.pop() {
            self.take_up(token, sign);
            return true;
        }
        if self.detector.take_overflow() {
            self.sweep(token);
            return true;
        }
        let due = self.cases.lock().next_due();
        if let Some(pe) = due {
            self.begin_due(token, pe);
            return true;
        }
        if std::mem::take(&mut self.cases.lock().retry) {
            self.try_waiting(token);
            return true;
        }
        false
    }
}
