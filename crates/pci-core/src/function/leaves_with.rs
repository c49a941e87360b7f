//! What a virtual function loses with its physical function.

use gate::{Handle, Subscription, Wake};
use std::sync::Arc;

/// Keeps a virtual function from outliving its physical function, even for the moment until it is retired itself: whoever
/// takes the physical function away reaches the virtual ones later, and waits in between (HP-12).
///
/// Nothing is retired here: that waits, and this is called by who changed a gate.
pub(super) struct LeavesWith {
    /// By the gate of the physical function, and by its own, which somebody may open again.
    _told: [Subscription; 2],
}

struct Dependent {
    physical: Handle,
    own: Handle,
}

impl LeavesWith {
    pub(super) fn new(physical: &Handle, own: &Handle) -> LeavesWith {
        let dependent = Arc::new(Dependent { physical: physical.clone(), own: own.clone() });
        let told = [physical, own].map(|handle| handle.subscribe(Arc::clone(&dependent) as _));
        // It may have gone before.
        dependent.wake();
        LeavesWith { _told: told }
    }
}

impl Wake for Dependent {
    fn wake(&self) {
        if self.physical.is_gone() {
            self.own.freeze();
        }
    }
}
