//! A value that the simulator's parts share on their one thread.
//!
//! The core wants its embedder's objects to be `Send` and `Sync`, which a `RefCell` is not. A cell is borrowed for the time
//! of one closure, in which nothing of the core is called: the core calls back, and would find it borrowed.
#![allow(clippy::disallowed_types)] // Never waited for: a cell that is borrowed is a defect of the simulator.

use std::sync::{Mutex, TryLockError};

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Cell<T>(Mutex<T>);

impl<T> Cell<T> {
    /// A cell with a value.
    pub(crate) const fn new(value: T) -> Cell<T> {
        Cell(Mutex::new(value))
    }

    /// Borrows the value for the time of `look`.
    ///
    /// # Panics
    /// If it is borrowed already, by a closure further up the stack.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        match self.0.try_lock() {
            Ok(mut value) => look(&mut value),
            // A planned panic of a driver passes through here; the value is whole.
            Err(TryLockError::Poisoned(poisoned)) => look(&mut poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                panic!("the simulator called the core with its own state borrowed")
            }
        }
    }
}

impl<T: Copy> Cell<T> {
    /// The value.
    pub(crate) fn get(&self) -> T {
        self.with(|value| *value)
    }

    /// Puts another value.
    pub(crate) fn set(&self, new: T) {
        self.with(|value| *value = new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "with its own state borrowed")]
    fn a_cell_that_is_borrowed_twice_is_a_defect_of_the_simulator() {
        let cell = Cell::new(1);
        cell.with(|_| cell.get());
    }
}
