//! News of a function that is removed while a recovery is under way.
//!
//! Whoever removes it waits for its gate, which the recovery may have closed. So the recovery hears of it from the gate, at once,
//! and not when the function has left the tree.

use super::Recovery;
use crate::containment::{News, Running};
use crate::tree::PeFunction;
use gate::{Subscription, Wake};
use std::sync::{Arc, Weak};

/// A function whose removal is told, for as long as this is there.
pub(super) struct Watched {
    _subscription: Subscription,
}

struct Teller {
    recovery: Weak<Recovery>,
    function: Arc<PeFunction>,
}

impl Wake for Teller {
    fn wake(&self) {
        if self.function.function.handle().is_gone()
            && let Some(recovery) = self.recovery.upgrade()
        {
            recovery.post(News::Removed(self.function.id));
        }
    }
}

impl Watched {
    /// Also tells of what was removed before.
    pub(super) fn new(recovery: &Weak<Recovery>, function: &Arc<PeFunction>) -> Watched {
        let teller = Arc::new(Teller { recovery: Weak::clone(recovery), function: Arc::clone(function) });
        let subscription = function.function.handle().subscribe(Arc::clone(&teller) as Arc<dyn Wake>);
        teller.wake();
        Watched { _subscription: subscription }
    }
}
