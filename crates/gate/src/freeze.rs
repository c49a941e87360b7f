//! Freezing and thawing, and containment, by the owner of a gate or by whoever has a handle of its epoch.
//!
//! A freeze is a fact that anybody ends. Containment is a *counted* freeze: functions fail together, in sets that lie inside
//! each other, and the recovery of a small set must not let in what is kept out for a larger one. So it ends with its last
//! release and with nothing else, or with the epoch.

use crate::Epoch;
use crate::clock::Stamp;
use crate::state::{Core, CoreGuard, Shared};

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

impl Core {
    /// Refuses entries. False if they are refused already and no closer that would end that is in.
    fn set_frozen(&mut self) -> bool {
        if self.frozen && (self.owner.is_none() || self.frozen_under_owner) {
            return false;
        }
        self.frozen = true;
        self.frozen_under_owner = self.owner.is_some();
        self.since = Stamp::now();
        true
    }

    fn set_thawed(&mut self) {
        self.frozen = false;
        self.frozen_under_owner = false;
        self.since = Stamp::now();
    }
}

impl Shared {
    /// Refuses entries from now on; see [`crate::Gate::freeze`].
    pub(crate) fn freeze(&self, only: Option<Epoch>) -> bool {
        let mut core = self.core.lock();
        if core.gone || !core.is_in(only) || !core.set_frozen() {
            return false;
        }
        self.publish_news(core);
        true
    }

    /// Ends a freeze; see [`crate::Gate::thaw`].
    pub(crate) fn thaw(&self, only: Option<Epoch>) -> bool {
        let mut core = self.core.lock();
        if core.gone || !core.frozen || core.contained > 0 || !core.is_in(only) {
            return false;
        }
        core.set_thawed();
        self.publish_news(core);
        true
    }

    /// Refuses entries until it is released; see [`crate::Gate::contain`].
    pub(crate) fn contain(&self, only: Option<Epoch>) -> bool {
        let mut core = self.core.lock();
        if core.gone || !core.is_in(only) {
            return false;
        }
        // A count that cannot be kept would let the function go too early.
        let Some(contained) = core.contained.checked_add(1) else { return false };
        core.contained = contained;
        if core.set_frozen() {
            self.publish_news(core);
        }
        true
    }

    /// Takes one `contain` back; see [`crate::Gate::release`].
    pub(crate) fn release(&self, only: Option<Epoch>) -> bool {
        let mut core = self.core.lock();
        if core.gone || core.contained == 0 || !core.is_in(only) {
            return false;
        }
        core.contained -= 1;
        if core.contained > 0 {
            return false;
        }
        core.set_thawed();
        self.publish_news(core);
        true
    }

    pub(crate) fn is_contained(&self, only: Option<Epoch>) -> bool {
        let core = self.core.lock();
        !core.gone && core.contained > 0 && core.is_in(only)
    }

    /// Publishes a change of who is let in, and tells everybody once the lock is released.
    fn publish_news(&self, core: CoreGuard<'_>) {
        self.publish(&core);
        let wakeups = core.wakeups();
        drop(core);
        self.notify_waiters();
        wakeups.call();
    }
}
