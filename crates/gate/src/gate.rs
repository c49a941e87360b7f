//! The owner's side of a gate.

use crate::clock::Stamp;
use crate::close::{self, Drain, Drained, Scope};
use crate::state::{LongScope, Owner, Shared, Wakeups};
use crate::sync::Arc;
use crate::word::Status;
use crate::{
    Busy, CloseError, Deadline, Epoch, GateOwner, GateState, GateStatus, Handle, Quiesced, Reason, Retired,
    ShortQuiesced, ThreadToken, barrier, cancel, trial, waits,
};

/// The owner's side of the gate of one function position; survives the epochs of the devices in it. Clones are the same
/// gate.
#[derive(Clone)]
pub struct Gate(Arc<Shared>);

impl Gate {
    /// An open gate in its first epoch. The name is for the operator.
    pub fn new(name: impl Into<String>) -> Gate {
        let shared = Arc::new(Shared::new(name.into()));
        waits::register(&shared);
        Gate(shared)
    }

    /// An open gate for the next device in the same place: of the same name, in a later epoch, and with nothing in common with
    /// this one, so that whatever somebody still does to this one concerns the last device alone (law 5). This one is to be
    /// retired, by whoever owns it.
    #[must_use]
    pub fn successor(&self) -> Gate {
        let epoch = self.0.core.lock().epoch.next();
        let shared = Arc::new(Shared::in_epoch(self.0.name.clone(), epoch));
        waits::register(&shared);
        Gate(shared)
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn of(shared: &Arc<Shared>) -> Gate {
        Gate(shared.clone())
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Whether `held` is a pass or a proof of this gate.
    #[inline]
    pub fn is_held_by(&self, held: &impl crate::Held) -> bool {
        held.gate() == self.0.address()
    }

    /// A handle of the current epoch. One made while the gate is gone never becomes valid.
    pub fn handle(&self) -> Handle {
        let epoch = self.0.core.lock().epoch;
        Handle::new(self.0.clone(), epoch)
    }

    /// Closes: waits for closers ahead, stops entries, and waits until all short and long passes have left. Works on a
    /// frozen gate too.
    ///
    /// # Errors
    /// [`CloseError`]; the gate is then as it was. [`CloseError::Drain`] names what is still inside.
    pub fn close<'t>(
        &self,
        token: &'t mut ThreadToken,
        reason: Reason,
        deadline: Deadline,
    ) -> Result<Quiesced<'t>, CloseError> {
        let ownership = close::close(&self.0, token, reason, Drain::All, deadline)?;
        Ok(Quiesced::new(ownership, token, reason))
    }

    /// Closes if nothing is inside and nobody waits; never waits itself, so passes of other gates may be held.
    ///
    /// # Errors
    /// [`Busy`]; nothing was changed then, and no access was refused because of the attempt.
    pub fn try_close<'t>(&self, token: &'t ThreadToken, reason: Reason) -> Result<Quiesced<'t>, Busy> {
        match trial::try_close(std::iter::once(&self.0), token, reason) {
            // One for the one gate.
            Ok(mut owned) => owned.pop().map(|ours| Quiesced::new(ours, token, reason)).ok_or(Busy::Inside),
            Err((_, busy)) => Err(busy),
        }
    }

    /// Like [`Gate::close`], but long passes stay inside: short ones are brief, so this is too.
    ///
    /// # Errors
    /// As [`Gate::close`].
    pub fn close_short<'t>(
        &self,
        token: &'t mut ThreadToken,
        reason: Reason,
        deadline: Deadline,
    ) -> Result<ShortQuiesced<'t>, CloseError> {
        let ownership = close::close(&self.0, token, reason, Drain::ShortOnly, deadline)?;
        Ok(ShortQuiesced::new(ownership, token, reason))
    }

    /// Refuses entries from now on, also those that wait. Passes inside stay; nothing is waited for, so this may be called
    /// with passes held. False if the gate is frozen already (and no closer is in) or gone.
    pub fn freeze(&self) -> bool {
        self.0.freeze(None)
    }

    /// Ends a freeze. False if the gate is not frozen, is [contained](Gate::contain), or gone. A closer that is in keeps the
    /// gate closed.
    pub fn thaw(&self) -> bool {
        self.0.thaw(None)
    }

    /// Freezes, for an error that is contained: counted, and ended by nothing but as many calls of [`Gate::release`]. No
    /// thaw and no reset ends it. Works while a closer is in, and waits for nothing. False if the gate is gone.
    pub fn contain(&self) -> bool {
        self.0.contain(None)
    }

    /// Takes one call of [`Gate::contain`] back. True if it was the last one, which ends the freeze, whoever else had frozen
    /// the gate; false if the gate is still contained, was not, or is gone. A closer that is in keeps the gate closed.
    pub fn release(&self) -> bool {
        self.0.release(None)
    }

    /// Whether somebody contains the gate. Takes the gate's lock.
    pub fn is_contained(&self) -> bool {
        self.0.is_contained(None)
    }

    /// Ends the epoch: publishes *gone* at once, wakes every waiter, then waits for what is inside.
    ///
    /// What is still inside at the deadline is an orphan: it keeps its memory, and no handle of the epoch enters again. A
    /// gate that is gone already is only drained.
    pub fn retire(&self, token: &mut ThreadToken, deadline: Deadline) -> Retired {
        self.retire_in(None, token, deadline)
    }

    /// As [`Gate::retire`], but only of the epoch of `handle`: if that has ended already it is only drained, and if another
    /// device is in its place by now, nothing happens.
    pub fn retire_epoch_of(&self, handle: &Handle, token: &mut ThreadToken, deadline: Deadline) -> Retired {
        self.retire_in(Some(handle.epoch()), token, deadline)
    }

    fn retire_in(&self, only: Option<Epoch>, token: &mut ThreadToken, deadline: Deadline) -> Retired {
        let shared = &*self.0;
        let _cancellable = cancel::at_gate(token, &self.0);
        let mut core = shared.core.lock();
        if !(core.is_in(only) || core.was_last_in(only)) {
            return Retired::default();
        }
        core.retiring += 1;
        let mut wakeups = Wakeups::default();
        if !core.gone {
            wakeups = core.wakeups();
            core.gone = true;
            core.frozen = false;
            core.frozen_under_owner = false;
            core.contained = 0;
            core.epoch = core.epoch.next();
            core.since = Stamp::now();
            core.turn = None;
        }
        shared.publish(&core);
        // `renew` counts on by one more, so that a handle made while gone is of neither device.
        let ended = core.epoch.previous();
        drop(core);
        shared.notify_waiters();
        shared.drained.notify_all();
        wakeups.call();
        barrier::heavy();
        let (mut core, drained) = shared.drain(shared.core.lock(), token, Scope::retiring(ended), deadline);
        core.retiring -= 1;
        shared.publish(&core);
        drop(core);
        match drained {
            Drained::Missed(orphans) => Retired { orphans },
            Drained::Empty | Drained::Gone => Retired::default(),
        }
    }

    /// Opens a retired gate for a new device, in a new epoch. `None` unless `retire` has
    /// returned. While a proof of the old epoch
    /// is still held the gate is blocked.
    pub fn renew(&self) -> Option<Handle> {
        let mut core = self.0.core.lock();
        if !core.gone || core.retiring > 0 {
            return None;
        }
        core.gone = false;
        core.epoch = core.epoch.next();
        core.since = Stamp::now();
        self.0.publish(&core);
        let epoch = core.epoch;
        drop(core);
        self.0.notify_waiters();
        Some(Handle::new(self.0.clone(), epoch))
    }

    /// A picture of the gate.
    pub fn status(&self) -> GateStatus {
        let owner = |owner: &Owner| GateOwner {
            thread: owner.thread.to_string(),
            reason: owner.reason,
            since: owner.since.age(),
            draining: owner.draining,
            parked: owner.parked,
        };
        let core = self.0.core.lock();
        let mut status = GateStatus {
            name: self.0.name.clone(),
            epoch: core.epoch,
            state: match core.status() {
                Status::Open => GateState::Open,
                Status::Blocked(reason) => GateState::Blocked(reason),
                Status::Frozen => GateState::Frozen,
                Status::Gone => GateState::Gone,
            },
            reason: core.owner.as_ref().map(|owner| owner.reason),
            owner: core.owner.as_ref().map(owner),
            contained: core.contained,
            since: core.since.age(),
            inside: self.0.insiders(&core, true, LongScope::All),
            waiting_accesses: core.waiting,
            waiting_closers: core.queue.len(),
            waiters: Vec::new(),
            refused: self.0.refused(),
        };
        drop(core);
        status.waiters = waits::at_gate(self.0.address());
        status
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("name", &self.0.name).field("word", &self.0.word()).finish()
    }
}
