//! What a thread's record says of it: its name, and what it waits for.

use super::{Operation, WaitId};
use crate::clock::Stamp;
use crate::lock;
use crate::state::Shared;
#[cfg(not(any(loom, shuttle)))]
use crate::thread;
use crate::thread::Record;
use crate::{Gate, ThreadToken};
use std::sync::Arc;
use std::time::Duration;

/// What a thread waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(super) operation: Operation,
    /// The address of the gate it is about.
    pub(super) gate: Option<usize>,
    since: Stamp,
    /// Counts the waits of the record.
    number: u64,
}

impl Wait {
    pub(super) fn age(&self) -> Duration {
        self.since.age()
    }

    pub(super) fn id(&self, thread: usize) -> WaitId {
        WaitId { thread, number: self.number }
    }
}

/// The part of a thread's record that is shown to an operator; behind the record's leaf lock.
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    wait: Option<Wait>,
    /// Waits written down so far, also by the threads that had this record before.
    count: u64,
}

/// An entry behind its lock. Rank: 90, thread entry; a leaf, held for a copy: when a token is made, when a wait begins and
/// ends, and when somebody lists (also under a gate's lock).
///
/// Not of `sync`: nothing is ordered by it, so a model need not look at it.
pub(crate) struct EntryLock(
    #[allow(clippy::disallowed_types, reason = "see above; the net sees it")] parking_lot::Mutex<Entry>,
);

impl EntryLock {
    #[allow(clippy::disallowed_types, reason = "as above")]
    pub(crate) fn new() -> EntryLock {
        EntryLock(parking_lot::Mutex::new(Entry { name: Arc::from(""), wait: None, count: 0 }))
    }

    pub(crate) fn with<T>(&self, with: impl FnOnce(&mut Entry) -> T) -> T {
        let _held = lock::enter_leaf::<lock::ranks::ThreadEntry>();
        with(&mut self.0.lock())
    }
}

impl Entry {
    /// The thread has ended. A wait that is there still was forgotten.
    pub(crate) fn end(&mut self) {
        self.wait = None;
    }

    pub(super) fn wait(&self) -> Option<Wait> {
        self.wait
    }

    fn begin(&mut self, operation: Operation, gate: Option<usize>, since: Stamp) -> Option<Wait> {
        self.count += 1;
        let number = self.count;
        self.wait.replace(Wait { operation, gate, since, number })
    }
}

/// A wait that is written down, until it is dropped. Bound to its thread.
///
/// The gate's own waits are written down by the gate. Whoever else waits for somebody, and not just for work to come,
/// makes one of these first.
#[must_use = "dropping it says that the wait is over"]
pub struct Waiting {
    record: Option<&'static Record>,
    /// The wait around this one.
    before: Option<Wait>,
    /// Neither `Send` nor `Sync`.
    _bound_to_thread: [*const (); 0],
}

impl Waiting {
    /// Says that this thread, `doing` something for a function, waits for something: two short phrases for an operator,
    /// such as "unmap" and "DMA in flight".
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or a lock (law 1).
    pub fn new(
        token: &mut ThreadToken,
        doing: &'static str,
        function: Option<&Gate>,
        waits_for: &'static str,
    ) -> Waiting {
        token.assert_holds_nothing();
        let gate = function.map(|gate| gate.shared().address());
        Waiting::begin(Some(token.record()), Operation::Other { doing, waits_for }, gate, Stamp::now())
    }

    /// For the gate's own waits. The gate's core may be locked.
    pub(crate) fn at(token: &ThreadToken, gate: &Shared, operation: Operation) -> Waiting {
        Waiting::begin(Some(token.record()), operation, Some(gate.address()), Stamp::now())
    }

    /// For the readers of the value in the node at that address. The list of nodes may be locked.
    pub(crate) fn for_readers(token: &ThreadToken, node: usize) -> Waiting {
        Waiting::begin(Some(token.record()), Operation::Readers { node }, None, Stamp::now())
    }

    /// For a lock that is not free. A thread without a token has nothing to write it down in.
    #[cfg(not(any(loom, shuttle)))]
    pub(crate) fn for_lock(name: &'static str, holder: usize, since: Stamp) -> Waiting {
        Waiting::begin(thread::current_record(), Operation::Lock { name, holder }, None, since)
    }

    fn begin(
        record: Option<&'static Record>,
        operation: Operation,
        gate: Option<usize>,
        since: Stamp,
    ) -> Waiting {
        let before = record.and_then(|record| record.with_entry(|entry| entry.begin(operation, gate, since)));
        Waiting { record, before, _bound_to_thread: [] }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(record) = self.record {
            record.with_entry(|entry| entry.wait = self.before);
        }
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waiting")
    }
}
