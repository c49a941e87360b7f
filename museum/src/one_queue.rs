//! Report C: one lock and one queue of waiters for every function of a machine.
//!
//! A wake that is meant for one function goes through the waiters of all of them, and each of those wakes up, takes the
//! machine's lock, finds its own function still blocked and sleeps again.

use loom::sync::{Condvar, Mutex, MutexGuard};

struct State {
    blocked: Vec<bool>,
    /// Waiters that woke up and found their own function still blocked.
    woken_for_nothing: usize,
    waiting: usize,
}

/// Block flags and waiters of a machine.
pub struct Machine {
    state: Mutex<State>,
    waiters: Condvar,
}

impl Machine {
    /// All of `functions` are blocked.
    pub fn blocked(functions: usize) -> Machine {
        let state = State { blocked: vec![true; functions], woken_for_nothing: 0, waiting: 0 };
        Machine { state: Mutex::new(state), waiters: Condvar::new() }
    }

    /// A configuration access: waits while its function is blocked.
    pub fn access(&self, function: usize) {
        let mut state = self.lock();
        state.waiting += 1;
        let mut woken = false;
        while state.blocked[function] {
            if woken {
                state.woken_for_nothing += 1;
            }
            state = self.waiters.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
            woken = true;
        }
        state.waiting -= 1;
    }

    /// Unblocks a function, and wakes everybody. How many the wake went through.
    pub fn unblock(&self, function: usize) -> usize {
        let mut state = self.lock();
        state.blocked[function] = false;
        let walked = state.waiting;
        drop(state);
        self.waiters.notify_all();
        walked
    }

    /// How often a waiter woke up and found its own function still blocked.
    pub fn woken_for_nothing(&self) -> usize {
        self.lock().woken_for_nothing
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
