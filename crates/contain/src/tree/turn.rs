//! Whose turn it is to publish.
//!
//! No gate: closing one interrupts every running thread of the process, which a tree that changes often would feel; and there is
//! no access to be kept out, only the next one who publishes.
//!
//! # Concurrency
//! One leaf lock, for a look; who waits has let it go, holds nothing, and has a deadline. Under a turn nobody waits for another
//! one.

use crate::ranks;
use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};

/// The turn.
#[derive(Default)]
pub(super) struct Turn {
    /// Rank: 49, PE tree turn; a leaf. Whether somebody has it.
    taken: Leaf<ranks::Turn, bool>,
    free: Condvar,
}

/// Somebody's turn, until it is dropped.
pub(super) struct Taken<'a>(&'a Turn);

impl Turn {
    /// Takes the turn; `None` if others had it until the deadline.
    pub(super) fn take(&self, token: &mut ThreadToken, deadline: Deadline) -> Option<Taken<'_>> {
        let mut shown = None;
        let mut taken = self.taken.lock();
        let mut expired = false;
        while *taken {
            if expired {
                return None;
            }
            if shown.is_none() {
                drop(taken);
                shown = Some(Waiting::new(token, "change the tree of PEs", None, "another change of it"));
                taken = self.taken.lock();
                continue;
            }
            (taken, expired) = self.free.wait(taken, token, deadline);
        }
        *taken = true;
        Some(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock() = false;
        self.0.free.notify_all();
    }
}
