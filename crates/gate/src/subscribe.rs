//! Wake-ups for pollers that park while their gate is closed.

use crate::state::Shared;
use crate::sync::Arc;

/// Told when a gate reopens, thaws or retires. Called with no lock held, on the thread that changed the gate.
///
/// A call may come before the subscriber has parked: it must be remembered (an eventfd, `Thread::unpark`), and one may
/// still be on its way when the subscription is dropped.
pub trait Wake: Send + Sync {
    /// Makes the subscriber look at the gate again. Must not block.
    fn wake(&self);
}

/// Keeps a subscriber subscribed; dropping it unsubscribes.
#[must_use = "dropping it unsubscribes"]
pub struct Subscription {
    shared: Arc<Shared>,
    id: u64,
}

impl Subscription {
    pub(crate) fn new(shared: Arc<Shared>, wake: std::sync::Arc<dyn Wake>) -> Subscription {
        let id = shared.core.lock().subscribe(wake);
        Subscription { shared, id }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Taken out under the lock and dropped outside: a subscriber's destructor is foreign code.
        let gone = self.shared.core.lock().unsubscribe(self.id);
        drop(gone);
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("gate", &self.shared.name).field("id", &self.id).finish()
    }
}
