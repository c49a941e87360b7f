//! Threads as the gate sees them: the token that proves a thread holds nothing, and the record of the gates it is in.
//!
//! Each thread has one padded record with a few slots; a slot names the gate that a short pass of this thread is in
//! (hazard style), so memory grows with threads and not with gates times threads. Records are appended to a list that
//! only grows and are used again when their thread has ended; a closer walks the list without a lock.

use crate::barrier;
use crate::cancel;
use crate::lock;
use crate::sync::{AtomicBool, AtomicUsize, Ordering, process_static, thread_local};
use crate::waits::{Entry, EntryLock};
use std::cell::Cell;
use std::sync::{Arc, OnceLock};

/// Nested short passes a thread can hold in slots; deeper ones are counted at the gate (slower, never refused).
/// One under loom, so that a model reaches the count with two passes.
pub(crate) const LEVELS: usize = if cfg!(loom) { 1 } else { 4 };

/// The value of a slot that is free. Gates are named by their address, which is never zero.
const FREE: usize = 0;

/// One level of one thread: the gate it is in, or free.
pub(crate) struct Slot(AtomicUsize);

impl Slot {
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.0.load(Ordering::Relaxed) == FREE
    }

    /// Names the gate. Release, not relaxed: a closer of the gate left last may read this value instead of the `FREE`
    /// before it, and must still see everything done under that last pass. (loom cannot tell: its `light` is a fence,
    /// which has the same effect. The compiler fence of the real one does not order processors.)
    #[inline]
    pub(crate) fn occupy(&self, gate: usize) {
        self.0.store(gate, Ordering::Release);
    }

    #[inline]
    pub(crate) fn vacate(&self) {
        self.0.store(FREE, Ordering::Release);
    }

    fn names(&self, gate: usize) -> bool {
        self.0.load(Ordering::Acquire) == gate
    }
}

/// A thread's slots, alone on their cache lines (two lines: adjacent lines are fetched in pairs).
#[repr(align(128))]
pub(crate) struct Record {
    slots: [Slot; LEVELS],
    claimed: AtomicBool,
    /// What the operator is shown of the thread.
    entry: EntryLock,
}

impl Record {
    fn claimed() -> Record {
        Record {
            slots: std::array::from_fn(|_| Slot(AtomicUsize::new(FREE))),
            claimed: AtomicBool::new(true),
            entry: EntryLock::new(),
        }
    }

    /// Takes the record of a thread that has ended. Looks before it writes: the line belongs to a running thread.
    fn claim(&self) -> bool {
        !self.claimed.load(Ordering::Relaxed)
            && self.claimed.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The first slot, which is all that an access that is not nested needs to look at.
    #[inline]
    pub(crate) fn first(&self) -> &Slot {
        &self.slots[0]
    }

    #[inline]
    pub(crate) fn free_slot(&self) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.is_free())
    }

    fn names(&self, gate: usize) -> bool {
        self.slots.iter().any(|slot| slot.names(gate))
    }

    /// Looks at or changes the entry, under its lock; `with` calls nobody.
    pub(crate) fn with_entry<T>(&self, with: impl FnOnce(&mut Entry) -> T) -> T {
        self.entry.with(with)
    }

    /// What names this record in a lock.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed)
    }

    /// The addresses of the gates that the thread is in.
    pub(crate) fn inside(&self) -> Vec<usize> {
        let gates = self.slots.iter().map(|slot| slot.0.load(Ordering::Acquire));
        gates.filter(|gate| *gate != FREE).collect()
    }
}

struct Node {
    record: Record,
    next: OnceLock<Box<Node>>,
}

/// All records of the process, as a list that only grows.
pub(crate) struct Registry {
    head: OnceLock<Box<Node>>,
}

process_static! {
    static REGISTRY: Registry = Registry::new();
}

impl Registry {
    #[cfg(not(loom))]
    const fn new() -> Registry {
        Registry { head: OnceLock::new() }
    }

    /// The records of a model exist from the start, since loom does not see the ordering that a `OnceLock` gives: the
    /// growth of the list is not modelled, its argument is at `append`.
    #[cfg(loom)]
    fn new() -> Registry {
        let registry = Registry { head: OnceLock::new() };
        for _ in 0..3 {
            registry.append();
        }
        registry.records().for_each(|record| record.claimed.store(false, Ordering::Release));
        registry
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        std::iter::successors(self.head.get(), |node| node.next.get()).map(|node| &node.record)
    }

    fn claim(&self) -> &Record {
        self.records().find(|record| record.claim()).unwrap_or_else(|| self.append())
    }

    /// Adds a record at the end of the list, claimed.
    ///
    /// A closer that misses it has walked the list before the link was set, and so has passed its heavy barrier before
    /// the new thread passes its light one: the thread will see the closed word.
    fn append(&self) -> &Record {
        let mut link = &self.head;
        // As many rounds as there are records, and each beyond that means that another thread has appended one.
        loop {
            let mut ours = false;
            let node = link.get_or_init(|| {
                ours = true;
                Box::new(Node { record: Record::claimed(), next: OnceLock::new() })
            });
            if ours {
                return &node.record;
            }
            link = &node.next;
        }
    }
}

/// True if a short pass in a slot of any thread is inside `gate`. Call after [`barrier::heavy`].
pub(crate) fn any_inside(gate: usize) -> bool {
    REGISTRY.records().any(|record| record.names(gate))
}

/// All records, also those of threads that have ended.
pub(crate) fn records() -> impl Iterator<Item = &'static Record> {
    REGISTRY.records()
}

/// The names of the threads with a short pass inside `gate`, one for each pass.
pub(crate) fn threads_inside(gate: usize) -> Vec<String> {
    let name = |record: &Record| record.with_entry(|entry| entry.name.to_string());
    let passes = |record: &'static Record| {
        record.slots.iter().filter(move |slot| slot.names(gate)).map(move |_| name(record))
    };
    REGISTRY.records().flat_map(passes).collect()
}

/// The address of no record: this thread has no token.
const NONE: usize = 0;

// The address of the record of this thread's token.
// loom's macro knows no const form, which saves the real one a check per use.
#[cfg(loom)]
thread_local! {
    static CURRENT: Cell<usize> = Cell::new(NONE);
}
#[cfg(not(loom))]
thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(NONE) };
}

/// The address of this thread's record, or [`NONE`].
#[inline]
pub(crate) fn current() -> usize {
    CURRENT.try_with(Cell::get).unwrap_or(NONE)
}

/// This thread's record, if it has a token.
#[cfg(not(any(loom, shuttle)))]
pub(crate) fn current_record() -> Option<&'static Record> {
    let address = current();
    REGISTRY.records().find(|record| record.address() == address)
}

/// Proof that this thread holds nothing it could make others wait for (law 1).
///
/// One per thread, made where the thread starts and handed down by reference. Functions that may wait take it as
/// `&mut`; a pass or a proof borrows it, so no wait compiles while one is held. Neither `Send` nor `Sync`.
pub struct ThreadToken {
    record: &'static Record,
    /// The name of the thread, for the operator.
    name: Arc<str>,
    /// Who may end its waits; none until somebody asks for it.
    cancel: Option<Arc<cancel::State>>,
    /// Takes no space and is neither `Send` nor `Sync`; the compiler's messages about it name no file of the toolchain, so
    /// the compile-fail tests do not depend on which of its parts are installed.
    _bound_to_thread: [*const (); 0],
}

impl ThreadToken {
    /// Makes the token of this thread. Call it at the entry of the thread and nowhere else.
    ///
    /// # Panics
    /// If this thread has a token already: two would prove nothing.
    pub fn at_thread_entry() -> ThreadToken {
        assert!(CURRENT.with(Cell::get) == NONE, "this thread has a ThreadToken already");
        barrier::strategy();
        let record = REGISTRY.claim();
        let name: Arc<str> = Arc::from(std::thread::current().name().unwrap_or("unnamed"));
        record.with_entry(|entry| entry.name = name.clone());
        CURRENT.with(|current| current.set(record.address()));
        ThreadToken { record, name, cancel: None, _bound_to_thread: [] }
    }

    #[inline]
    pub(crate) fn record(&self) -> &'static Record {
        self.record
    }

    pub(crate) fn cancel_state(&self) -> &Option<Arc<cancel::State>> {
        &self.cancel
    }

    pub(crate) fn cancel_state_mut(&mut self) -> &mut Option<Arc<cancel::State>> {
        &mut self.cancel
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Checked at every wait: call it before waiting by other means than this crate's. The type says most of it already;
    /// this catches a pass that was forgotten instead of dropped, and a leaf.
    ///
    /// # Panics
    /// If this thread is inside a gate or holds a lock, in builds with debug assertions.
    pub fn assert_holds_nothing(&mut self) {
        self.check_holds_nothing();
    }

    /// The same, for who has no `&mut` at the moment.
    pub(crate) fn check_holds_nothing(&self) {
        debug_assert!(self.record.slots.iter().all(Slot::is_free), "a thread waits while inside a gate");
        lock::assert_no_locks();
    }
}

impl Drop for ThreadToken {
    fn drop(&mut self) {
        // Every pass borrows the token, so what is left in a slot is a forgotten pass that nobody can use any more.
        for slot in &self.record.slots {
            slot.vacate();
        }
        self.record.with_entry(Entry::end);
        self.record.claimed.store(false, Ordering::Release);
        // Fails only while the thread ends, when no further token can be made.
        let _ = CURRENT.try_with(|current| current.set(NONE));
    }
}

impl std::fmt::Debug for ThreadToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ThreadToken")
    }
}
