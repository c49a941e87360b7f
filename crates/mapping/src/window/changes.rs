//! Waiting for the next look, by accesses that have a token: those that are calls, and those that have met a cover.

use crate::{MappingError, ranks};
use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};

/// Counts how often those who wait had reason to look again.
#[derive(Default)]
pub(super) struct Changes {
    /// Rank: 74, window; a leaf. Who waits must not miss a look, so it is counted and waited for under one lock.
    looks: Leaf<ranks::Window, Looks>,
    changed: Condvar,
}

#[derive(Default)]
struct Looks {
    count: u64,
    waiting: usize,
}

/// A moment between two looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(u64);

impl Changes {
    /// Now. To be asked before one looks oneself, so that no look after that is missed.
    pub(super) fn now(&self) -> Moment {
        Moment(self.looks.lock().count)
    }

    /// Has those who wait look again.
    pub(super) fn note(&self) {
        self.looks.lock().count += 1;
        self.changed.notify_all();
    }

    pub(super) fn anybody_waits(&self) -> bool {
        self.looks.lock().waiting > 0
    }

    /// Waits until somebody has looked since `moment`.
    ///
    /// # Errors
    /// [`MappingError::TimedOut`] at the deadline.
    pub(super) fn wait(
        &self,
        token: &mut ThreadToken,
        moment: Moment,
        until: Deadline,
    ) -> Result<(), MappingError> {
        let _waiting = Waiting::new(token, "access of a mapping", None, "the region to be reachable");
        let mut looks = self.looks.lock();
        let mut expired = false;
        while looks.count == moment.0 {
            if expired {
                return Err(MappingError::TimedOut);
            }
            looks.waiting += 1;
            (looks, expired) = self.changed.wait(looks, token, until);
            looks.waiting -= 1;
        }
        Ok(())
    }
}
