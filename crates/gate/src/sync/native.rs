//! The real primitives.
#![allow(clippy::disallowed_types, reason = "what `lock` is made of")]

use crate::{Deadline, ThreadToken};

pub(crate) use super::cell::UnsafeCell;
pub(crate) use parking_lot::{Mutex, MutexGuard};
pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::thread_local;

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
