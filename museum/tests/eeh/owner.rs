//! The thread that takes the turns of containment.

use contain::containment::Containment;
use contain::detect::Alarm;
use gate::ThreadToken;
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use std::sync::PoisonError;

#[derive(Default)]
struct State {
    rung: bool,
    over: bool,
}

/// What rings for it. Rung under passes, and from wherever an error is noticed.
#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a turn each time that it rings, until [`Bell::stop`].
    pub(crate) fn serve(&self, containment: &Containment) {
        let mut token = ThreadToken::at_thread_entry();
        loop {
            let mut state = self.state();
            while !state.rung && !state.over {
                state = self.changed.wait(state).unwrap();
            }
            if state.over {
                return;
            }
            state.rung = false;
            drop(state);
            let _did_something = containment.turn(&mut token);
        }
    }

    pub(crate) fn stop(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }
}

impl Alarm for Bell {
    fn raise(&self) {
        self.state().rung = true;
        self.changed.notify_all();
    }
}
