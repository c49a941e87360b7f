//! What every lock of the house is made of: a mutex with a rank, that is seen by the net and by `waits`.
#![allow(clippy::disallowed_types, reason = "the one place that has a bare mutex")]

use super::{Rank, net};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::{Deadline, ThreadToken, thread};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
// Not of `sync`: nothing is ordered by it, so no model need look at it.
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a lock is entered in the net.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Ranked,
    Leaf,
}

impl Kind {
    #[inline]
    fn enter<R: Rank>(self) -> net::Entry {
        match self {
            Kind::Ranked => net::ranked::<R>(),
            Kind::Leaf => net::leaf::<R>(),
        }
    }
}

/// A mutex with a rank, without any rule at compile time. The gate's own core is one; others get a [`super::Lock`] or a
/// [`super::Leaf`].
pub(crate) struct Monitor<R, T> {
    mutex: Mutex<T>,
    /// The record of the thread that took it last, to name it to who waits.
    holder: AtomicUsize,
    rank: PhantomData<fn() -> R>,
}

pub(crate) struct MonitorGuard<'a, R, T> {
    // In this order: the net forgets the lock after it is free.
    guard: MutexGuard<'a, T>,
    entry: net::Entry,
    monitor: &'a Monitor<R, T>,
    kind: Kind,
}

impl<R: Rank, T> Monitor<R, T> {
    #[cfg(not(any(loom, shuttle)))]
    pub(crate) const fn new(value: T) -> Monitor<R, T> {
        Monitor { mutex: Mutex::new(value), holder: AtomicUsize::new(0), rank: PhantomData }
    }

    #[cfg(any(loom, shuttle))]
    pub(crate) fn new(value: T) -> Monitor<R, T> {
        Monitor { mutex: Mutex::new(value), holder: AtomicUsize::new(0), rank: PhantomData }
    }

    #[cfg(not(any(loom, shuttle)))]
    pub(super) fn get_mut(&mut self) -> &mut T {
        self.mutex.get_mut()
    }

    #[inline]
    pub(crate) fn lock(&self) -> MonitorGuard<'_, R, T> {
        self.lock_as(Kind::Ranked)
    }

    #[inline]
    pub(super) fn lock_as(&self, kind: Kind) -> MonitorGuard<'_, R, T> {
        let entry = kind.enter::<R>();
        self.acquire(entry, kind)
    }

    /// Takes the lock if it becomes free within `patience`: for those who may not be held up.
    #[cfg(not(any(loom, shuttle)))]
    pub(crate) fn lock_within(&self, patience: std::time::Duration) -> Option<MonitorGuard<'_, R, T>> {
        let kind = Kind::Ranked;
        let entry = kind.enter::<R>();
        self.mutex.try_lock_for(patience).map(|guard| self.guard(guard, entry, kind))
    }

    #[inline]
    fn guard<'a>(
        &'a self,
        guard: MutexGuard<'a, T>,
        entry: net::Entry,
        kind: Kind,
    ) -> MonitorGuard<'a, R, T> {
        self.holder.store(thread::current(), Ordering::Relaxed);
        MonitorGuard { guard, entry, monitor: self, kind }
    }

    #[cfg(any(loom, shuttle))]
    fn acquire(&self, entry: net::Entry, kind: Kind) -> MonitorGuard<'_, R, T> {
        self.guard(self.mutex.lock(), entry, kind)
    }

    #[cfg(not(any(loom, shuttle)))]
    #[inline]
    fn acquire(&self, entry: net::Entry, kind: Kind) -> MonitorGuard<'_, R, T> {
        match self.mutex.try_lock() {
            Some(guard) => self.guard(guard, entry, kind),
            None => self.acquire_contended(entry, kind),
        }
    }

    /// Not free: waits as any mutex does, and is visible to the operator if that takes long.
    #[cfg(not(any(loom, shuttle)))]
    #[cold]
    #[inline(never)]
    fn acquire_contended(&self, entry: net::Entry, kind: Kind) -> MonitorGuard<'_, R, T> {
        use std::time::Duration;
        /// Locks are held for microseconds: who waits longer than this is worth writing down.
        const GRACE: Duration = Duration::from_millis(10);

        let since = crate::clock::Stamp::now();
        if let Some(guard) = self.mutex.try_lock_for(GRACE) {
            return self.guard(guard, entry, kind);
        }
        // To write that down takes a lock of its own, and to take it out again does, with this one at hand, which may be a leaf.
        // It is harmless: nothing is taken under that one. The net hears of this one afterwards.
        drop(entry);
        let guard = self.acquire_visibly(since);
        self.guard(guard, kind.enter::<R>(), kind)
    }

    #[cfg(not(any(loom, shuttle)))]
    fn acquire_visibly(&self, since: crate::clock::Stamp) -> MutexGuard<'_, T> {
        /// How soon a waiter looks who holds the lock now.
        const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

        loop {
            let holder = self.holder.load(Ordering::Relaxed);
            let _waiting = crate::waits::Waiting::for_lock(R::NAME, holder, since);
            if let Some(guard) = self.mutex.try_lock_for(LOOK) {
                return guard;
            }
        }
    }
}

impl<R, T> Deref for MonitorGuard<'_, R, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<R, T> DerefMut for MonitorGuard<'_, R, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// A condition of what a monitor protects. Its only wait has a deadline and takes the proof that nothing is held.
pub(crate) struct Condition(Condvar);

impl Condition {
    pub(crate) fn new() -> Condition {
        Condition(Condvar::new())
    }

    /// Lets the lock go, waits for a notification or the deadline, and takes the lock again. Spurious returns happen.
    /// True if the deadline has passed.
    pub(crate) fn wait<'a, R: Rank, T>(
        &self,
        guard: MonitorGuard<'a, R, T>,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> (MonitorGuard<'a, R, T>, bool) {
        let MonitorGuard { guard, entry, monitor, kind } = guard;
        // From here on the net must find nothing.
        drop(entry);
        let (guard, expired) = self.0.wait(guard, token, deadline);
        let entry = kind.enter::<R>();
        (monitor.guard(guard, entry, kind), expired)
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
