//! The ownership of a closed gate, which all proofs have in common.
//!
//! There is no way to unlock a gate by its name: it reopens when the [`Ownership`] that closing it made is dropped, and
//! that value exists once, inside a proof or a [`crate::Closed`] (CFG-I5).

use crate::cancel;
use crate::clock::Stamp;
use crate::close::{Drain, Drained, Peer, Scope};
use crate::state::{CoreGuard, Owner, Shared};
use crate::sync::Arc;
use crate::trial::Trial;
use crate::{Busy, CloseError, Deadline, Epoch, Reason, ThreadToken};
use std::sync::Arc as StdArc;

/// The gate is ours; dropping it puts the gate back.
pub(crate) struct Ownership {
    shared: Arc<Shared>,
    /// The gate's epoch when it closed. In any other the gate was retired under its owner.
    epoch: Epoch,
}

impl Ownership {
    /// Stops entries, for a drain: call with the turn taken. The lock is released.
    pub(crate) fn begin(
        shared: &Arc<Shared>,
        mut core: CoreGuard<'_>,
        token: &ThreadToken,
        reason: Reason,
    ) -> Ownership {
        let owner = Owner { draining: true, ..Owner::new(&core, token, reason) };
        core.since = owner.since;
        Ownership::publish(shared, core, owner)
    }

    /// Takes the gate on trial: nobody is refused unless the trial is won. The lock is released.
    pub(crate) fn on_trial(
        shared: &Arc<Shared>,
        core: CoreGuard<'_>,
        token: &ThreadToken,
        reason: Reason,
        trial: &StdArc<Trial>,
    ) -> Ownership {
        let owner = Owner { trial: Some(trial.clone()), ..Owner::new(&core, token, reason) };
        Ownership::publish(shared, core, owner)
    }

    fn publish(shared: &Arc<Shared>, mut core: CoreGuard<'_>, owner: Owner) -> Ownership {
        let epoch = core.epoch;
        core.owner = Some(owner);
        core.frozen_under_owner = false;
        shared.publish(&core);
        drop(core);
        Ownership { shared: shared.clone(), epoch }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Waits until nothing is inside. Call after the heavy barrier; `peers` share the deadline.
    pub(crate) fn drain(
        &self,
        token: &mut ThreadToken,
        what: Drain,
        peers: &[Peer],
        deadline: Deadline,
    ) -> Result<(), CloseError> {
        let _cancellable = cancel::at_gate(token, &self.shared);
        let scope = Scope::closing(what, self.epoch, peers);
        let (mut core, drained) = self.shared.drain(self.shared.core.lock(), token, scope, deadline);
        match drained {
            Drained::Empty => {}
            Drained::Gone => return Err(CloseError::Gone),
            Drained::Missed(inside) => return Err(CloseError::Drain { inside }),
        }
        if let Some(owner) = &mut core.owner {
            owner.draining = false;
        }
        self.shared.publish(&core);
        Ok(())
    }

    /// For a trial: looks once whether the gate is still there and nothing is inside. Call after the heavy barrier.
    pub(crate) fn is_quiet(&self) -> Result<(), Busy> {
        let core = self.shared.core.lock();
        let scope = Scope::closing(Drain::All, self.epoch, &[]);
        if scope.is_gone(&core) {
            return Err(Busy::Gone);
        }
        if self.shared.is_empty(&core, scope) { Ok(()) } else { Err(Busy::Inside) }
    }

    /// The trial is won: the gate is closed like any other.
    pub(crate) fn won(&self) {
        let mut core = self.shared.core.lock();
        core.since = Stamp::now();
        if let Some(owner) = &mut core.owner {
            owner.trial = None;
        }
        self.shared.publish(&core);
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        self.shared.disown(self.shared.core.lock());
    }
}
