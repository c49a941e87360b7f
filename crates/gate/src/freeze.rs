//! Freezing and thawing, by the owner of a gate or by whoever has a handle of its epoch.

use crate::Epoch;
use crate::clock::Stamp;
use crate::state::{Core, Shared};

impl Core {
    /// Nobody asks for an epoch, or this one has not ended. Both are decided under the lock, so that a freeze that was
    /// meant for one device never hits the next one in its place (law 5).
    pub(crate) fn is_in(&self, only: Option<Epoch>) -> bool {
        only.is_none_or(|epoch| self.epoch == epoch)
    }

    /// The epoch has ended, and no other device is in the gate's place yet.
    pub(crate) fn was_last_in(&self, only: Option<Epoch>) -> bool {
        self.gone && only == Some(self.epoch.previous())
    }
}

impl Shared {
    /// Refuses entries from now on; see [`crate::Gate::freeze`].
    pub(crate) fn freeze(&self, only: Option<Epoch>) -> bool {
        let mut core = self.core.lock();
        let again = core.frozen && (core.owner.is_none() || core.frozen_under_owner);
        if core.gone || again || !core.is_in(only) {
            return false;
        }
        core.frozen = true;
        core.frozen_under_owner = core.owner.is_some();
        core.since = Stamp::now();
        self.publish(&core);
        let wakeups = core.wakeups();
        drop(core);
        self.notify_waiters();
        wakeups.call();
        true
    }

    /// Ends a freeze; see [`crate::Gate::thaw`].
    pub(crate) fn thaw(&self, only: Option<Epoch>) -> bool {
        let mut core = self.core.lock();
        if core.gone || !core.frozen || !core.is_in(only) {
            return false;
        }
        core.frozen = false;
        core.frozen_under_owner = false;
        core.since = Stamp::now();
        self.publish(&core);
        let wakeups = core.wakeups();
        drop(core);
        self.notify_waiters();
        wakeups.call();
        true
    }
}
