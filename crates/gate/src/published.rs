//! A value that is read without waiting and replaced while reads run.
//!
//! For what belongs to no single function: the operations of a host bridge, the snapshot of a topology. (What belongs to a
//! function is a [`crate::GateCell`], which is replaced while its gate is closed.)
//!
//! A reader names the value's node in a slot of its thread and looks again whether that node is still the current one:
//! the protocol of the gate's short passes, with the pointer to the node in place of the gate's word. A replacement makes
//! another node current, passes the heavy barrier, and waits until no slot names the old one. Readers of the new value are
//! not waited for, so a stream of them holds up nobody; and a reader that loses the race with a replacement reads under
//! the lock, which is held for moments only.
//!
//! The heavy barrier interrupts every thread of the process that runs, for some microseconds on a virtual machine. What is
//! read seldom and replaced often is better off as [`Published::fenced`]: its readers pass a full fence each and its
//! replacements interrupt nobody.
//!
//! # Why this is sound
//!
//! * **Names are of this value.** Nodes are used again but live as long as the `Published`, which every `Reading` borrows,
//!   so a slot never names memory that is something else by now.
//! * **A value that is read is not taken out.** A reader has its node in a slot before it finds the node current for the
//!   last time. Whoever takes a value out has made another node current, passed the heavy barrier, and then found the node
//!   in no slot and not counted, under the lock. If the reader found the node current after it was made so again, it
//!   reads what was put in then.
//! * **A value is put in only while nobody reads the node.** Only a free node is filled, under the lock: its value was taken
//!   out by the rule above, and until it is current again no reader's second look succeeds.
//! * **Ordering.** The pointer is stored with release after the value was put in and loaded with acquire before it is read.
//!   A slot is cleared with release after the last read and looked at with acquire before the value is taken out.
#![allow(unsafe_code)] // Interior mutability that slots and the lock guard, as argued above.

use crate::cancel::{self, Rouse};
use crate::lock::{Condition, Monitor, ranks};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering, UnsafeCell};
use crate::thread::{self, Slot};
use crate::waits::Waiting;
use crate::{Deadline, ThreadToken, barrier};
use std::ops::Deref;
use std::sync::Arc as StdArc;
use thiserror::Error;

/// A value that many threads read without waiting, and that is replaced as a whole. `FENCED` says who pays for the barrier:
/// readers if it is true, replacements otherwise.
pub struct Published<T, const FENCED: bool = false>(StdArc<Inner<T>>);

/// Reads were still running at the deadline of a replacement. The new value is in place; the old one is dropped by the
/// last of these readers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the old value is still read by {}", .readers.join(", "))]
pub struct StillRead {
    /// The names of the threads that read the old value.
    pub readers: Vec<String>,
}

struct Inner<T> {
    /// The node whose value is read now. Stored under the lock.
    current: AtomicPtr<Node<T>>,
    /// Rank: 86, published. Nothing is called under it; values are dropped outside.
    nodes: Monitor<ranks::Published, Vec<Entry<T>>>,
    /// Replacements wait here for readers of the old value to leave.
    left: Condition,
}

/// A node and what it is used for; never removed.
struct Entry<T> {
    node: StdArc<Node<T>>,
    used: Used,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Used {
    /// It has no value.
    Free,
    /// It has the current value, or one whose replacement still waits.
    Full,
    /// It has a value that nobody waits for any more: the last reader drops it.
    Abandoned,
}

struct Node<T> {
    value: UnsafeCell<Option<T>>,
    /// Readers that found no free slot in their thread's record.
    counted: AtomicUsize,
}

// SAFETY: `&T` is given to several threads at once (needs `T: Sync`), and `T` is moved out on another thread than it was put
// in on (needs `T: Send`); the module head shows that the two never overlap. The rest is an atomic number.
unsafe impl<T: Send + Sync> Sync for Node<T> {}
// SAFETY: a `T` and an atomic number.
unsafe impl<T: Send> Send for Node<T> {}

impl<T> Node<T> {
    fn holding(value: T) -> StdArc<Node<T>> {
        StdArc::new(Node { value: UnsafeCell::new(Some(value)), counted: AtomicUsize::new(0) })
    }

    /// What a slot holds to name this node.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The names of its readers, as far as their threads are known.
    fn readers(&self) -> Vec<String> {
        let mut readers = thread::threads_inside(self.address());
        let counted = self.counted.load(Ordering::Relaxed);
        readers.extend((0..counted).map(|_| "a thread with deeply nested passes".to_owned()));
        readers
    }

    /// Call under the lock, after another node was made current and the heavy barrier passed.
    fn is_read(&self) -> bool {
        self.counted.load(Ordering::Acquire) != 0 || thread::any_inside(self.address())
    }
}

impl<T: Send + Sync> Published<T> {
    /// Publishes the first value. A read costs about two nanoseconds, a replacement interrupts every running thread.
    pub fn new(value: T) -> Published<T> {
        Published(Inner::holding(value))
    }
}

impl<T: Send + Sync> Published<T, true> {
    /// Publishes the first value. A read costs about twenty nanoseconds, a replacement interrupts nobody.
    pub fn fenced(value: T) -> Published<T, true> {
        Published(Inner::holding(value))
    }
}

impl<T: Send + Sync, const FENCED: bool> Published<T, FENCED> {
    /// The value as it is now, for as long as the reading lives, whoever replaces it meanwhile. Never waits for anybody.
    /// May be held inside a pass. Bound to its thread; nobody may sleep in it.
    #[inline]
    pub fn read<'a>(&'a self, token: &'a ThreadToken) -> Reading<'a, T, FENCED> {
        let inner = &*self.0;
        let Some(slot) = token.record().free_slot() else { return inner.read_counted(token) };
        let node = inner.current.load(Ordering::Acquire);
        slot.occupy(node.addr());
        readers_half::<FENCED>();
        if inner.current.load(Ordering::Acquire) != node {
            return inner.read_again(token, slot);
        }
        // SAFETY: nodes live as long as `inner`, which the reading borrows.
        Reading { inner, node: unsafe { &*node }, slot: Some(slot), _token: token }
    }

    /// Replaces the value and gives back the old one when nobody reads it any more. New reads get the new value at once.
    ///
    /// # Errors
    /// [`StillRead`] at the deadline: the old value is dropped by its last reader.
    pub fn replace(&self, token: &mut ThreadToken, value: T, deadline: Deadline) -> Result<T, StillRead>
    where
        T: 'static,
    {
        let _cancellable = cancel::at(token, || cancel::Place::Published(self.0.clone()));
        let old = self.0.publish(value);
        replacers_half::<FENCED>();
        self.0.retrieve(&old, token, deadline)
    }
}

/// Between the store of a slot and the load of what is current.
#[inline]
fn readers_half<const FENCED: bool>() {
    if FENCED { barrier::full() } else { barrier::light() }
}

/// Between the store of what is current and the load of the slots. Only readers of the value name its nodes in slots, so
/// their half is always the one that fits.
fn replacers_half<const FENCED: bool>() {
    if FENCED { barrier::full() } else { barrier::heavy() }
}

impl<T> Inner<T> {
    fn holding(value: T) -> StdArc<Inner<T>> {
        let node = Node::holding(value);
        let current = AtomicPtr::new(StdArc::as_ptr(&node).cast_mut());
        let nodes = Monitor::new(vec![Entry { node, used: Used::Full }]);
        StdArc::new(Inner { current, nodes, left: Condition::new() })
    }

    /// Makes `value` current. Gives the node that was.
    fn publish(&self, value: T) -> StdArc<Node<T>> {
        let mut nodes = self.nodes.lock();
        let was = self.current.load(Ordering::Relaxed).cast_const();
        let free = nodes.iter_mut().find(|entry| entry.used == Used::Free);
        let node = match free {
            Some(entry) => {
                entry.used = Used::Full;
                // SAFETY: nobody reads a free node, and the lock keeps others from filling it (module head).
                entry.node.value.with_mut(|place| unsafe { *place = Some(value) });
                StdArc::as_ptr(&entry.node)
            }
            None => {
                let node = Node::holding(value);
                let new = StdArc::as_ptr(&node);
                nodes.push(Entry { node, used: Used::Full });
                new
            }
        };
        self.current.store(node.cast_mut(), Ordering::Release);
        let old = nodes.iter().find(|entry| StdArc::as_ptr(&entry.node) == was);
        // The list never shrinks, so the node that was current is in it.
        old.map_or_else(|| nodes[0].node.clone(), |entry| entry.node.clone())
    }

    /// Waits until nobody reads `old` and takes its value out.
    fn retrieve(
        &self,
        old: &StdArc<Node<T>>,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> Result<T, StillRead> {
        let mut shown = None;
        let mut nodes = self.nodes.lock();
        let mut expired = false;
        while old.is_read() {
            if expired {
                mark(&mut nodes, old, Used::Abandoned);
                drop(nodes);
                return Err(StillRead { readers: old.readers() });
            }
            shown.get_or_insert_with(|| Waiting::for_readers(token, old.address()));
            (nodes, expired) = cancel::wait(&self.left, nodes, token, deadline);
        }
        mark(&mut nodes, old, Used::Free);
        // SAFETY: the node is not current and not read, and the lock is held (module head).
        let value = old.value.with_mut(|place| unsafe { (*place).take() });
        drop(nodes);
        value.ok_or(StillRead { readers: Vec::new() })
    }

    /// The current value was replaced while we named it: under the lock it cannot be.
    #[cold]
    #[inline(never)]
    fn read_again<'a, const FENCED: bool>(
        &'a self,
        token: &'a ThreadToken,
        slot: &'static Slot,
    ) -> Reading<'a, T, FENCED> {
        slot.vacate();
        // What we named for a moment may be what somebody waits for.
        self.left_old();
        let nodes = self.nodes.lock();
        let node = self.current.load(Ordering::Acquire);
        slot.occupy(node.addr());
        drop(nodes);
        // SAFETY: as in `read`.
        Reading { inner: self, node: unsafe { &*node }, slot: Some(slot), _token: token }
    }

    /// All slots of the thread are taken: the reader is counted at the node.
    #[cold]
    #[inline(never)]
    fn read_counted<'a, const FENCED: bool>(&'a self, token: &'a ThreadToken) -> Reading<'a, T, FENCED> {
        let nodes = self.nodes.lock();
        // SAFETY: as in `read`.
        let node = unsafe { &*self.current.load(Ordering::Acquire) };
        node.counted.fetch_add(1, Ordering::AcqRel);
        drop(nodes);
        Reading { inner: self, node, slot: None, _token: token }
    }

    /// After a reader of an old value has left: drops what nobody waits for and nobody reads, and wakes who waits.
    #[cold]
    #[inline(never)]
    fn left_old(&self) {
        let mut unread = Vec::new();
        let mut nodes = self.nodes.lock();
        for entry in nodes.iter_mut().filter(|entry| entry.used == Used::Abandoned) {
            if !entry.node.is_read() {
                entry.used = Used::Free;
                // SAFETY: the node is not current and not read, and the lock is held (module head).
                unread.extend(entry.node.value.with_mut(|place| unsafe { (*place).take() }));
            }
        }
        drop(nodes);
        self.left.notify_all();
        drop(unread);
    }
}

fn mark<T>(nodes: &mut [Entry<T>], node: &StdArc<Node<T>>, used: Used) {
    if let Some(entry) = nodes.iter_mut().find(|entry| StdArc::ptr_eq(&entry.node, node)) {
        entry.used = used;
    }
}

impl<T: Send + Sync> Rouse for Inner<T> {
    fn rouse(&self) {
        drop(self.nodes.lock());
        self.left.notify_all();
    }
}

/// A value that is being read: it stays as it is until this is dropped.
#[must_use = "dropping it ends the reading"]
pub struct Reading<'a, T, const FENCED: bool = false> {
    inner: &'a Inner<T>,
    node: &'a Node<T>,
    /// Where the node is named; without one the reader is counted.
    slot: Option<&'static Slot>,
    /// Nobody waits while reading, and the slot is of this thread.
    _token: &'a ThreadToken,
}

impl<T, const FENCED: bool> Deref for Reading<'_, T, FENCED> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the node is named or counted and was current after that, so its value is there and stays (module head).
        self.node.value.with(|value| unsafe { (*value).as_ref().unwrap_unchecked() })
    }
}

impl<T, const FENCED: bool> Drop for Reading<'_, T, FENCED> {
    #[inline]
    fn drop(&mut self) {
        match self.slot {
            Some(slot) => slot.vacate(),
            None => {
                self.node.counted.fetch_sub(1, Ordering::AcqRel);
            }
        }
        readers_half::<FENCED>();
        if !std::ptr::eq(self.inner.current.load(Ordering::Acquire), self.node) {
            self.inner.left_old();
        }
    }
}

impl<T: std::fmt::Debug, const FENCED: bool> std::fmt::Debug for Reading<'_, T, FENCED> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

impl<T, const FENCED: bool> std::fmt::Debug for Published<T, FENCED> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Published(..)")
    }
}
