//! What operators have asked for that takes its time: a number, what it does now, and how it ended. The list is bounded: the
//! oldest that have ended make room.
//!
//! Locks, both leaves: `operations` (rank 65) for the list, and one for each entry's end (rank 66), which is waited for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};

use crate::ranks;

/// Operations that are remembered. More than can be under way at a time.
const REMEMBERED: usize = 256;
/// Operations that may be under way at a time.
const MAX_UNDER_WAY: usize = 128;
/// Operations beyond that which call others off, or else those who fill the list could not be stopped.
const MORE_TO_CANCEL: usize = 32;

/// Threads that may wait for an operation at a time: each takes the place of a client of the control socket.
const MAX_WAITERS: usize = 8;

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// For programs: `done`, `cancelled`, ...
    pub(super) finished: &'static str,
    /// For people.
    pub(super) detail: String,
}

impl Outcome {
    pub(super) fn new(finished: &'static str, detail: impl Into<String>) -> Outcome {
        Outcome { finished, detail: detail.into() }
    }
}

/// Something that takes its time.
pub(super) struct Operation {
    pub(super) id: u64,
    pub(super) slot: String,
    pub(super) request: &'static str,
    began: Instant,
    /// Rank: 66, operation; a leaf. Somebody may wait for it.
    progress: Leaf<ranks::Operation, Progress>,
    changed: Condvar,
}

struct Progress {
    detail: String,
    ended: Option<(Outcome, Duration)>,
}

/// How an operation stands.
pub(super) struct Standing {
    pub(super) detail: String,
    pub(super) finished: Option<&'static str>,
    pub(super) took: Duration,
}

impl Operation {
    /// Says what it does now.
    pub(super) fn does(&self, detail: impl Into<String>) {
        self.progress.lock().detail = detail.into();
    }

    /// It has ended. The first end counts.
    pub(super) fn end(&self, outcome: Outcome) {
        let took = self.began.elapsed();
        self.progress.lock().ended.get_or_insert((outcome, took));
        self.changed.notify_all();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.progress.lock().ended.is_some()
    }

    pub(super) fn standing(&self) -> Standing {
        let progress = self.progress.lock();
        match &progress.ended {
            Some((outcome, took)) => {
                Standing { detail: outcome.detail.clone(), finished: Some(outcome.finished), took: *took }
            }
            None => Standing { detail: progress.detail.clone(), finished: None, took: self.began.elapsed() },
        }
    }

    /// Waits for its end; false if the deadline comes first.
    pub(super) fn wait_for_end(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        self.wait_unless(token, deadline, &AtomicBool::new(false))
    }

    /// As [`Operation::wait_for_end`], and not once `over` is set and this was woken.
    fn wait_unless(&self, token: &mut ThreadToken, deadline: Deadline, over: &AtomicBool) -> bool {
        let _shown = Waiting::new(token, "wait for an operation", None, "its end");
        let mut progress = self.progress.lock();
        let mut expired = false;
        while progress.ended.is_none() && !expired && !token.is_cancelled() && !over.load(Ordering::Acquire) {
            (progress, expired) = self.changed.wait(progress, token, deadline);
        }
        progress.ended.is_some()
    }

    /// Has who waits look again.
    fn wake(&self) {
        // Whoever has looked already waits by the time this is had.
        drop(self.progress.lock());
        self.changed.notify_all();
    }
}

/// The operations of a daemon.
#[derive(Default)]
pub(super) struct Operations {
    /// Threads in [`Operations::wait`].
    waiters: AtomicUsize,
    /// The daemon ends, and nobody waits any more.
    over: AtomicBool,
    /// Rank: 65, operations; a leaf. A list that is looked through.
    list: Leaf<ranks::Operations, List>,
}

#[derive(Default)]
struct List {
    latest: u64,
    operations: VecDeque<Arc<Operation>>,
}

impl Operations {
    /// A new one, under way; `None` if too many are.
    pub(super) fn begin(
        &self,
        slot: &str,
        request: &'static str,
        detail: impl Into<String>,
    ) -> Option<Arc<Operation>> {
        self.begin_one_of(MAX_UNDER_WAY, slot, request, detail.into())
    }

    /// A new one that calls others off: there is room for some when there is none for others.
    pub(super) fn begin_to_cancel(&self, slot: &str) -> Option<Arc<Operation>> {
        self.begin_one_of(MAX_UNDER_WAY + MORE_TO_CANCEL, slot, "cancel", String::new())
    }

    fn begin_one_of(
        &self,
        most: usize,
        slot: &str,
        request: &'static str,
        detail: String,
    ) -> Option<Arc<Operation>> {
        let (slot, began) = (slot.to_owned(), Instant::now());
        let known = self.all();
        if known.iter().filter(|operation| !operation.has_ended()).count() >= most {
            return None;
        }
        // Looked for before the list is locked: an operation has a lock of its own. One that is under way is not forgotten, or
        // nobody could wait for it any more.
        let excess = (known.len() + 1).saturating_sub(REMEMBERED);
        let over: Vec<u64> =
            known.iter().filter(|operation| operation.has_ended()).take(excess).map(|over| over.id).collect();
        let mut list = self.list.lock();
        list.latest += 1;
        let operation = Arc::new(Operation {
            id: list.latest,
            slot,
            request,
            began,
            progress: Leaf::new(Progress { detail, ended: None }),
            changed: Condvar::new(),
        });
        list.operations.push_back(Arc::clone(&operation));
        list.operations.retain(|operation| !over.contains(&operation.id));
        drop(list);
        // The last references, not under the lock.
        drop(known);
        Some(operation)
    }

    /// Waits for the end of one; false if it has not come by the deadline, or at once if too many wait already: whoever asks again
    /// and again learns it a little later.
    pub(super) fn wait(&self, operation: &Operation, token: &mut ThreadToken, deadline: Deadline) -> bool {
        let waiting = self.waiters.fetch_add(1, Ordering::Relaxed);
        let deadline = if waiting < MAX_WAITERS { deadline } else { Deadline::after(Duration::ZERO) };
        let ended = operation.wait_unless(token, deadline, &self.over);
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        ended
    }

    /// The daemon ends: whoever waits does so no longer.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.all().iter().for_each(|operation| operation.wake());
    }

    /// All that are remembered, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Operation>> {
        self.list.lock().operations.iter().cloned().collect()
    }

    pub(super) fn find(&self, id: u64) -> Option<Arc<Operation>> {
        self.list.lock().operations.iter().find(|operation| operation.id == id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_so_is_what_is_under_way() {
        let operations = Operations::default();
        for _ in 0..MAX_UNDER_WAY {
            assert!(operations.begin("disk0", "unplug", "asked").is_some());
        }
        assert!(operations.begin("disk0", "unplug", "asked").is_none());
        operations.find(1).unwrap().end(Outcome::new("done", "gone"));
        for _ in 0..2 * REMEMBERED {
            operations.begin("disk0", "unplug", "asked").unwrap().end(Outcome::new("done", "gone"));
        }
        assert_eq!(operations.all().len(), REMEMBERED);
    }

    #[test]
    fn one_that_is_under_way_is_not_forgotten_and_a_full_list_can_be_called_off() {
        let operations = Operations::default();
        let first = operations.begin("disk0", "unplug", "asked").unwrap();
        for _ in 0..2 * REMEMBERED {
            operations.begin("disk1", "plug", "asked").unwrap().end(Outcome::new("done", "there"));
        }
        assert_eq!(operations.find(first.id).map(|found| found.has_ended()), Some(false));
        while operations.begin("disk0", "unplug", "asked").is_some() {}
        for _ in 0..MORE_TO_CANCEL {
            assert!(operations.begin_to_cancel("disk0").is_some());
        }
        assert!(operations.begin_to_cancel("disk0").is_none(), "bounded as well");
    }

    #[test]
    fn nobody_waits_for_an_operation_once_the_daemon_ends() {
        let operations = Arc::new(Operations::default());
        let operation = operations.begin("disk0", "unplug", "asked").unwrap();
        let waiting = {
            let (operations, operation) = (Arc::clone(&operations), Arc::clone(&operation));
            std::thread::spawn(move || {
                let token = &mut ThreadToken::at_thread_entry();
                operations.wait(&operation, token, Deadline::after(Duration::from_secs(60)));
                operation.standing().took
            })
        };
        operations.end();
        assert!(waiting.join().unwrap() < Duration::from_secs(30));
        assert!(!operation.has_ended());
    }

    #[test]
    fn the_first_end_counts_and_wakes_who_waits() {
        let operations = Operations::default();
        let operation = operations.begin("disk0", "unplug", "asked").unwrap();
        let mut token = ThreadToken::at_thread_entry();
        assert!(!operations.wait(&operation, &mut token, Deadline::after(Duration::ZERO)));
        let other = Arc::clone(&operation);
        let waiting = std::thread::spawn(move || {
            other.wait_for_end(&mut ThreadToken::at_thread_entry(), Deadline::after(Duration::from_secs(60)))
        });
        operation.end(Outcome::new("done", "gone"));
        operation.end(Outcome::new("cancelled", "not gone"));
        assert!(waiting.join().unwrap());
        assert_eq!(operation.standing().finished, Some("done"));
    }
}
