//! Who listens.

use super::Event;
use crate::ranks;
use gate::lock::Leaf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Somebody who wants to know what happens to functions.
pub trait Listener: Send + Sync {
    /// Something happened. Called with none of this crate's locks held, from any thread, which may have a pass: waits for nobody, and
    /// returns soon. Calls of several threads overtake each other.
    fn event(&self, event: &Event);
}

/// All who listen to one machine.
pub(crate) struct Listeners {
    /// Rank: 96, zpci listeners; a leaf, held for a copy or an exchange: a `Published` would need a token in destructors.
    list: Leaf<ranks::Listeners, Arc<[Arc<Registered>]>>,
}

struct Registered {
    /// Cleared when it wants no more, so that who has copied the list does not begin another call.
    wanted: AtomicBool,
    listener: Arc<dyn Listener>,
}

impl Listeners {
    pub(crate) fn new() -> Arc<Listeners> {
        Arc::new(Listeners { list: Leaf::new(Arc::from([])) })
    }

    pub(crate) fn add(self: &Arc<Self>, listener: Arc<dyn Listener>) -> Subscription {
        let registered = Arc::new(Registered { wanted: AtomicBool::new(true), listener });
        let was = {
            let mut list = self.list.lock();
            let longer = list.iter().cloned().chain([Arc::clone(&registered)]).collect();
            std::mem::replace(&mut *list, longer)
        };
        drop(was);
        Subscription { listeners: Arc::downgrade(self), registered }
    }

    /// Tells all who listen now. The list is copied under the lock and used outside.
    pub(crate) fn tell(&self, event: &Event) {
        let list = Arc::clone(&self.list.lock());
        for registered in list.iter().filter(|registered| registered.wanted.load(Ordering::Acquire)) {
            registered.listener.event(event);
        }
    }
}

/// Somebody listens, until this is dropped. A call that another thread was about to make then, or is making, may still come to its end:
/// to wait for it here would be a wait without a token (law 1).
#[must_use = "dropping it ends the listening"]
pub struct Subscription {
    listeners: Weak<Listeners>,
    registered: Arc<Registered>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.registered.wanted.store(false, Ordering::Release);
        let Some(listeners) = self.listeners.upgrade() else { return };
        let was = {
            let mut list = listeners.list.lock();
            let others = list.iter().filter(|other| !Arc::ptr_eq(other, &self.registered)).cloned();
            let shorter = others.collect();
            std::mem::replace(&mut *list, shorter)
        };
        // Foreign destructors run outside.
        drop(was);
    }
}
