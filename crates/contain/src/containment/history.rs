//! The recoveries that have ended, as many as are remembered.

use super::RecoveryId;
use crate::pe::PeAddress;
use crate::ranks;
use crate::report::Outcome;
use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};
use pci_core::ErrorSign;
use pci_spec::Bdf;
use slot::patience::{is_over, look_until};
use std::collections::VecDeque;
use std::time::Duration;

/// A recovery that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub id: RecoveryId,
    /// Of which PE.
    pub pe: PeAddress,
    /// The error, if it is known.
    pub sign: Option<ErrorSign>,
    /// The function that it was noticed at.
    pub function: Option<Bdf>,
    /// When the error was taken up, by the clock of containment.
    pub since: Duration,
    /// How long it took from there to the end.
    pub pause: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// How often the PE was reset.
    pub resets: u32,
}

/// A ring of them, and those who wait for one.
pub(super) struct History {
    /// Rank: 42, containment history; a leaf. A push, a look or a copy of the ring; waited with.
    ring: Leaf<ranks::History, VecDeque<Ended>>,
    pushed: Condvar,
    capacity: usize,
}

/// How many are remembered at least, for those who wait for one.
const LEAST: usize = 16;

impl History {
    pub(super) fn new(capacity: usize) -> History {
        History { ring: Leaf::default(), pushed: Condvar::new(), capacity: capacity.max(LEAST) }
    }

    pub(super) fn push(&self, ended: Ended) {
        {
            let mut ring = self.ring.lock();
            if ring.len() >= self.capacity {
                ring.pop_front();
            }
            ring.push_back(ended);
        }
        self.pushed.notify_all();
    }

    /// The latest first.
    pub(super) fn list(&self) -> Vec<Ended> {
        self.ring.lock().iter().rev().copied().collect()
    }

    pub(super) fn wait_for(
        &self,
        token: &mut ThreadToken,
        id: RecoveryId,
        deadline: Deadline,
    ) -> Option<Outcome> {
        let _waiting = Waiting::new(token, "containment", None, "a recovery to end");
        let mut ring = self.ring.lock();
        loop {
            if let Some(ended) = ring.iter().rev().find(|ended| ended.id == id) {
                return Some(ended.outcome);
            }
            if is_over(token, deadline) {
                return None;
            }
            (ring, _) = self.pushed.wait(ring, token, look_until(deadline));
        }
    }
}
