//! A thread's stack as loom sees it: memory that is used again as soon as the function that had it returns.
#![allow(unsafe_code)] // Cells that nothing guards but the locking of an exhibit; loom checks each access.

use loom::cell::UnsafeCell;
use loom::sync::Arc;

/// The stack frame of a function, with a value of `T` in it. Copies name the same memory.
///
/// A read while the frame is written, or while it is used again, is what loom fails a model for.
pub struct Frame<T>(Arc<UnsafeCell<Option<T>>>);

// SAFETY: loom checks every access, and runs all threads of a model on one.
unsafe impl<T> Send for Frame<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Frame<T> {}

impl<T> Clone for Frame<T> {
    fn clone(&self) -> Frame<T> {
        Frame(self.0.clone())
    }
}

impl<T> Frame<T> {
    /// The frame of a function that has just been called.
    pub fn called(value: T) -> Frame<T> {
        Frame(Arc::new(UnsafeCell::new(Some(value))))
    }

    /// The same memory.
    pub fn same(&self, other: &Frame<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Reads the value, if it is still there.
    pub fn read<R>(&self, read: impl FnOnce(&T) -> R) -> Option<R> {
        // SAFETY: loom fails the model if a write is not ordered with this read.
        self.0.with(|value| unsafe { (*value).as_ref().map(read) })
    }

    /// The function returns: the next call writes over the frame.
    pub fn returned(self) {
        // SAFETY: loom fails the model if another access is not ordered with this write.
        self.0.with_mut(|value| unsafe { *value = None });
    }
}
