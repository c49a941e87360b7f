//! Ending the waits of a thread from outside (law 4).
//!
//! A cancelled wait ends as if its deadline had passed: everything that a wait does at its deadline, it does then. So no
//! call has a result of its own for it, and every path of a missed deadline can be reached by a model checker, which has
//! no clock, as an event.
//!
//! The one wait that cannot be cancelled is [`crate::Closed::wait`]: a delay of the hardware that is cut short would let
//! accesses in before the function answers (CFG-I10). It ends at its deadline, or when the function is removed.
//!
//! # Concurrency
//! A thread waits in one place at a time. Before it waits it writes that place down here, under a leaf lock; whoever
//! cancels sets the flag, then reads the place, then takes the place's lock and lets everybody there look again. The
//! thread looks at the flag under the place's lock, so it cannot miss both. The place is pinned by a reference, and
//! nothing of the waiter is touched (CFG-I2). A thread that nobody can cancel writes nothing.

use crate::lock::{Condition, Leaf, MonitorGuard, Rank, ranks};
use crate::state::Shared;
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::{Deadline, ThreadToken};
use std::sync::Arc as StdArc;

/// Ends the waits of one thread; made by [`ThreadToken::canceller`]. Clones are the same.
#[derive(Clone)]
pub struct Canceller(StdArc<State>);

/// What a thread and its cancellers share.
pub(crate) struct State {
    cancelled: AtomicBool,
    /// Where the thread waits, if it does. Rank: 88, cancel; a leaf.
    place: Leaf<ranks::Cancel, Option<Place>>,
}

/// Somewhere to wait that is not a gate.
pub(crate) trait Rouse: Send + Sync {
    /// Lets everybody who waits there look again.
    fn rouse(&self);
}

/// Where a thread waits: everybody there is woken, and looks again.
#[derive(Clone)]
pub(crate) enum Place {
    Gate(Arc<Shared>),
    Published(StdArc<dyn Rouse>),
}

impl Place {
    fn rouse(&self) {
        match self {
            Place::Gate(shared) => shared.rouse(),
            Place::Published(value) => value.rouse(),
        }
    }
}

impl Canceller {
    /// Ends the wait that the thread is in, and lets no later one begin, until the thread calls [`ThreadToken::rearm`].
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        let place = self.0.place.lock().clone();
        if let Some(place) = place {
            place.rouse();
        }
    }
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canceller").finish_non_exhaustive()
    }
}

impl ThreadToken {
    /// Something that ends this thread's waits: those of the gate take it for the deadline's passing.
    pub fn canceller(&mut self) -> Canceller {
        let state = self.cancel_state_mut().get_or_insert_with(|| {
            StdArc::new(State { cancelled: AtomicBool::new(false), place: Leaf::new(None) })
        });
        Canceller(state.clone())
    }

    /// True if somebody has cancelled this thread's waits.
    pub fn is_cancelled(&self) -> bool {
        self.cancel_state().as_ref().is_some_and(|state| state.cancelled.load(Ordering::Acquire))
    }

    /// Lets waits begin again. True if they had been cancelled.
    pub fn rearm(&mut self) -> bool {
        self.cancel_state().as_ref().is_some_and(|state| state.cancelled.swap(false, Ordering::AcqRel))
    }
}

/// Says where the thread waits until it is dropped.
pub(crate) struct Cancellable(Option<StdArc<State>>);

impl Drop for Cancellable {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            // Dropped outside the lock: it may be the last reference.
            let place = state.place.lock().take();
            drop(place);
        }
    }
}

pub(crate) fn at_gate(token: &ThreadToken, shared: &Arc<Shared>) -> Cancellable {
    at(token, || Place::Gate(shared.clone()))
}

/// Call before the place's lock is taken.
///
/// Here, and not only in the wait, a thread is told that it may not wait: it has joined no queue and is counted nowhere
/// yet, so nobody depends on a thread that panics. And it is told whether or not it has to wait this time.
pub(crate) fn at(token: &ThreadToken, place: impl FnOnce() -> Place) -> Cancellable {
    token.check_holds_nothing();
    let state = token.cancel_state().clone();
    if let Some(state) = &state {
        *state.place.lock() = Some(place());
    }
    Cancellable(state)
}

/// One wait at a place that was said before. True if there is no more to wait: the deadline has passed, or somebody has
/// cancelled.
pub(crate) fn wait<'g, R: Rank, T>(
    condition: &Condition,
    guard: MonitorGuard<'g, R, T>,
    token: &mut ThreadToken,
    deadline: Deadline,
) -> (MonitorGuard<'g, R, T>, bool) {
    if token.is_cancelled() {
        return (guard, true);
    }
    let (guard, expired) = condition.wait(guard, token, deadline);
    (guard, expired || token.is_cancelled())
}
