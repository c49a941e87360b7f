//! An operation that somebody waits for.

use crate::effect::Finished;
use crate::event::{OperationId, Request};
use crate::patience::{is_over, look_until};
use crate::ranks;
use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};

/// What somebody asked of a slot, and how it ended. Every one ends.
#[derive(Debug)]
pub struct Operation {
    id: OperationId,
    request: Request,
    /// Rank: 89, slot operation; a leaf. Not an atomic: somebody may wait for it.
    ended: Leaf<ranks::Operation, Option<Finished>>,
    changed: Condvar,
}

impl Operation {
    pub(crate) fn new(id: OperationId, request: Request, ended: Option<Finished>) -> Operation {
        Operation { id, request, ended: Leaf::new(ended), changed: Condvar::new() }
    }

    /// Counts from 1 on at each slot.
    pub fn id(&self) -> OperationId {
        self.id
    }

    /// What was asked.
    pub fn request(&self) -> Request {
        self.request
    }

    /// How it ended; `None` as long as it has not.
    pub fn finished(&self) -> Option<Finished> {
        *self.ended.lock()
    }

    /// Waits for its end; `None` if the deadline comes first, or somebody cancels this thread's waits.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or a lock (law 1).
    pub fn wait(&self, token: &mut ThreadToken, deadline: Deadline) -> Option<Finished> {
        if let Some(ended) = self.finished() {
            return Some(ended);
        }
        let _waiting = Waiting::new(token, "slot operation", None, "its end");
        let mut ended = self.ended.lock();
        while ended.is_none() && !is_over(token, deadline) {
            (ended, _) = self.changed.wait(ended, token, look_until(deadline));
        }
        *ended
    }

    /// The first end counts.
    pub(crate) fn finish(&self, how: Finished) {
        self.ended.lock().get_or_insert(how);
        self.changed.notify_all();
    }
}
