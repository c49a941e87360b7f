//! The primitives under loom.

use crate::{Deadline, ThreadToken};

pub(crate) use loom::cell::UnsafeCell;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use loom::sync::{Arc, MutexGuard};
pub(crate) use loom::thread_local;

/// loom's mutex with parking_lot's signature. A panic in a model ends the whole run, so poisoning never matters.
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// See the native form; here only a deadline that has already passed counts.
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar(loom::sync::Condvar::new())
    }

    pub(crate) fn wait<'g, T>(
        &self,
        guard: MutexGuard<'g, T>,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> (MutexGuard<'g, T>, bool) {
        token.assert_holds_nothing();
        if deadline.remaining().is_none() {
            return (guard, true);
        }
        (self.0.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner), false)
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
