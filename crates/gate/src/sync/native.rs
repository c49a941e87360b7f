//! The real primitives.

use crate::{Deadline, ThreadToken};

pub(crate) use parking_lot::{Mutex, MutexGuard};
pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::thread_local;

/// The cell of the language with loom's interface, which sees where an access begins and ends.
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub(crate) fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
        access(self.0.get())
    }

    #[inline]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

/// A condition variable whose only wait has a deadline and takes the proof that nothing is held.
pub(crate) struct Condvar(parking_lot::Condvar);

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar(parking_lot::Condvar::new())
    }

    /// Waits for a notification or the deadline; spurious returns happen. True if the deadline has passed.
    pub(crate) fn wait<'g, T>(
        &self,
        mut guard: MutexGuard<'g, T>,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> (MutexGuard<'g, T>, bool) {
        token.assert_holds_nothing();
        let expired = self.0.wait_until(&mut guard, deadline.instant()).timed_out();
        (guard, expired)
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
