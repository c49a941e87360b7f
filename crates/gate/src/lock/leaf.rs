//! The lock under which no other is taken.

use super::monitor::{Condition, Kind, Monitor, MonitorGuard};
use super::{Rank, RankInfo};
use crate::{Deadline, ThreadToken};
use std::ops::{Deref, DerefMut};

/// A lock that may be taken anywhere, because nothing is taken and nobody waited for while it is held.
///
/// For destructors, callbacks and threads without a token; where a place is at hand a [`super::Lock`] is better, since
/// its rules are checked by the compiler. The rules of this one are checked while the tests run.
pub struct Leaf<R, T>(Monitor<R, T>);

impl<R: Rank, T> Leaf<R, T> {
    /// A free lock.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn new(value: T) -> Leaf<R, T> {
        Leaf(Monitor::new(value))
    }

    /// A free lock.
    #[cfg(any(loom, shuttle))]
    pub fn new(value: T) -> Leaf<R, T> {
        Leaf(Monitor::new(value))
    }

    /// Takes the lock. Nothing is called under it that might take another or wait.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds another leaf, or a lock of the same or a higher rank.
    #[inline]
    pub fn lock(&self) -> LeafGuard<'_, R, T> {
        LeafGuard(self.0.lock_as(Kind::Leaf))
    }
}

impl<R: Rank, T: Default> Default for Leaf<R, T> {
    fn default() -> Leaf<R, T> {
        Leaf::new(T::default())
    }
}

/// Holds a [`Leaf`] until it is dropped. Bound to its thread.
#[must_use = "dropping the guard frees the lock at once"]
pub struct LeafGuard<'a, R, T>(MonitorGuard<'a, R, T>);

impl<R, T> Deref for LeafGuard<'_, R, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<R, T> DerefMut for LeafGuard<'_, R, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A condition of what a [`Leaf`] protects. Its only wait has a deadline and takes the proof that nothing is held.
///
/// Who waits for somebody, and not just for work to come, says so first with [`crate::waits::Waiting`].
pub struct Condvar(Condition);

impl Condvar {
    /// A condition nobody waits for.
    pub fn new() -> Condvar {
        Condvar(Condition::new())
    }

    /// Lets the lock go, waits for a notification or the deadline, and takes the lock again. Spurious returns happen.
    /// True if the deadline has passed.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or another lock (law 1).
    pub fn wait<'a, R: Rank, T>(
        &self,
        guard: LeafGuard<'a, R, T>,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> (LeafGuard<'a, R, T>, bool) {
        let (guard, expired) = self.0.wait(guard.0, token, deadline);
        (LeafGuard(guard), expired)
    }

    /// Wakes all that wait. The lock may be held or not.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl std::fmt::Debug for Condvar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Condvar")
    }
}

impl<R: Rank, T> std::fmt::Debug for Leaf<R, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leaf({:?})", RankInfo { number: R::NUMBER, name: R::NAME })
    }
}

impl<R, T: std::fmt::Debug> std::fmt::Debug for LeafGuard<'_, R, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}
