//! Wake-ups for those who follow a gate's state: pollers that park while it is closed, mappings that show it.

use crate::state::Shared;
use crate::sync::Arc;

/// Told when a gate reopens, freezes, thaws or retires, and when a closer leaves it frozen. Called with no lock held, on
/// the thread that changed the gate, before the call that changed it returns.
///
/// A call says only that something has changed. Several threads may be telling at once and overtake each other, so a
/// subscriber that acts on [`Admission`](crate::Admission) looks at it itself, under a lock of its own: the last look then
/// sees the last state. What tells nobody is closing: who closes opens again, or leaves the gate frozen or gone.
///
/// Nobody is told of what was before the subscription: who subscribes looks once itself, afterwards. And a call that finds
/// the gate frozen or gone already changes nothing, so it may return while whoever made that change is still telling of it.
///
/// A call may come before the subscriber has parked: it must be remembered (an eventfd, `Thread::unpark`), and one may
/// still be on its way when the subscription is dropped.
pub trait Wake: Send + Sync {
    /// Makes the subscriber look at the gate again. Must not wait: whoever freezes may hold passes.
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
