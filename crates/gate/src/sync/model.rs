//! The primitives under loom and under shuttle, whose interfaces are std's.

#[cfg(loom)]
use loom as checker;
#[cfg(shuttle)]
use shuttle as checker;

use crate::{Deadline, ThreadToken};

#[cfg(shuttle)]
pub(crate) use super::cell::UnsafeCell;
pub(crate) use checker::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
pub(crate) use checker::sync::{Arc, MutexGuard};
pub(crate) use checker::{lazy_static, thread_local};
#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;

/// The checker's mutex with parking_lot's signature. A panic in a model ends the whole run, so poisoning never matters.
pub(crate) struct Mutex<T>(checker::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(checker::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// See the native form; here only a deadline that has already passed counts.
pub(crate) struct Condvar(checker::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar(checker::sync::Condvar::new())
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
