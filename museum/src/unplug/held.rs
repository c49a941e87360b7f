//! Something that a user has until it lets go: an open file, a mapping, a reference.

use super::lock;
use shuttle::sync::{Condvar, Mutex, MutexGuard};

#[derive(Default)]
struct State {
    asked: bool,
    free: bool,
    overdue: bool,
}

/// See the module's head. It is held from the start.
#[derive(Default)]
pub struct Held {
    state: Mutex<State>,
    changed: Condvar,
}

impl Held {
    /// Asks the user to let go, as a request notifier does.
    pub fn ask(&self) {
        self.change(|state| state.asked = true);
    }

    /// The user lets go.
    pub fn let_go(&self) {
        self.change(|state| state.free = true);
    }

    /// The time that the user was given is up. No clock runs under shuttle: a thread says so.
    pub fn expire(&self) {
        self.change(|state| state.overdue = true);
    }

    /// The user waits until it is asked.
    pub fn wait_until_asked(&self) {
        drop(self.wait_until(|state| state.asked));
    }

    /// Waits until the user has let go.
    pub fn wait_until_free(&self) {
        drop(self.wait_until(|state| state.free));
    }

    /// Waits until the user has let go or its time is up; whether it has let go.
    pub fn wait_until_free_or_overdue(&self) -> bool {
        self.wait_until(|state| state.free || state.overdue).free
    }

    /// Whether the user was asked.
    pub fn is_asked(&self) -> bool {
        lock(&self.state).asked
    }

    /// Whether the user has let go.
    pub fn is_free(&self) -> bool {
        lock(&self.state).free
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
    }

    fn wait_until(&self, is_so: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        while !is_so(&state) {
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state
    }
}
