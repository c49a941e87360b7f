//! Closing: the closers' queue, the drain, and the proofs that come out of it.
//!
//! Order of a close: wait for the turn, stop entries (publish the word), pass the heavy barrier, wait until nothing is
//! inside. Any failure puts the gate back as it was.
//!
//! Fairness: closers have the gate in order of arrival. Entries stop before the drain begins, so readers cannot starve a
//! closer. Accesses that are waiting when a closer leaves get in (or give up) before the next closer closes, so a stream of
//! closers cannot starve readers.

use crate::clock::Stamp;
use crate::held::{Exclusive, Held, sealed::Proof};
use crate::state::{Core, LongScope, Owner, Shared, Wakeups};
use crate::sync::MutexGuard;
use crate::word::Status;
use crate::{Busy, CloseError, Deadline, Epoch, Inside, Reason, ThreadToken, barrier};

/// What a close waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    ShortOnly,
    All,
}

/// What a drain waits for, fixed when it begins.
#[derive(Clone, Copy)]
pub(crate) struct Scope {
    long: LongScope,
    /// The gate's epoch when the drain began; a closer does not go on into the next one.
    epoch: Epoch,
    /// Also wait for the holder of a proof (`retire`), and go on although the gate is gone.
    retiring: bool,
}

impl Scope {
    /// For `retire`: everything of the epoch that has ended, and the closer.
    pub(crate) fn retiring(ended: Epoch) -> Scope {
        Scope { long: LongScope::Of(ended), epoch: ended, retiring: true }
    }
}

pub(crate) enum Drained {
    Empty,
    Gone,
    Missed(Vec<Inside>),
}

impl Shared {
    /// Waits for the turn, closes and drains. On success the gate has an owner.
    pub(crate) fn close(
        &self,
        token: &mut ThreadToken,
        reason: Reason,
        what: Drain,
        deadline: Deadline,
    ) -> Result<(), CloseError> {
        let mut core = self.take_turn(token, deadline)?;
        self.own(&mut core, reason);
        let long = if what == Drain::All { LongScope::Of(core.epoch) } else { LongScope::None };
        let scope = Scope { long, epoch: core.epoch, retiring: false };
        let (core, drained) = self.drain(core, token, scope, deadline);
        match drained {
            Drained::Empty => {
                self.publish(&core);
                Ok(())
            }
            Drained::Gone => {
                self.disown(core, false);
                Err(CloseError::Gone)
            }
            Drained::Missed(inside) => {
                self.disown(core, false);
                Err(CloseError::Drain { inside })
            }
        }
    }

    fn take_turn(
        &self,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> Result<MutexGuard<'_, Core>, CloseError> {
        let mut core = self.core.lock();
        let epoch = core.epoch;
        let ticket = core.next_ticket;
        core.next_ticket += 1;
        core.queue.push_back(ticket);
        let mut expired = false;
        let refusal = loop {
            if core.gone || core.epoch != epoch {
                break CloseError::Gone;
            }
            if core.may_close() && core.queue.front() == Some(&ticket) {
                core.queue.pop_front();
                return Ok(core);
            }
            if expired {
                break CloseError::Contended { holder: core.owner.map(|owner| owner.reason) };
            }
            (core, expired) = self.closers.wait(core, token, deadline);
        };
        core.queue.retain(|queued| *queued != ticket);
        drop(core);
        // A closer of the next epoch may have been waiting behind this one of the last.
        self.closers.notify_all();
        Err(refusal)
    }

    fn own(&self, core: &mut Core, reason: Reason) {
        core.owner = Some(Owner { reason, since: Stamp::now(), was_frozen: core.frozen });
        core.frozen_under_owner = false;
        core.since = Stamp::now();
    }

    /// Publishes the core with the DRAIN mark, and waits until nothing of `scope` is inside. Gives the lock back.
    pub(crate) fn drain<'s>(
        &'s self,
        mut core: MutexGuard<'s, Core>,
        token: &mut ThreadToken,
        scope: Scope,
        deadline: Deadline,
    ) -> (MutexGuard<'s, Core>, Drained) {
        core.drainers += 1;
        self.publish(&core);
        drop(core);
        barrier::heavy();
        let mut core = self.core.lock();
        let mut expired = false;
        let drained = loop {
            if !scope.retiring && (core.gone || core.epoch != scope.epoch) {
                break Drained::Gone;
            }
            if self.is_empty(&core, scope) {
                break Drained::Empty;
            }
            if expired {
                // Short passes leave without the lock: the last may have gone since the look above.
                let inside = self.insiders(&core, scope.retiring, scope.long);
                break if inside.is_empty() { Drained::Empty } else { Drained::Missed(inside) };
            }
            (core, expired) = self.drained.wait(core, token, deadline);
        };
        core.drainers -= 1;
        (core, drained)
    }

    fn is_empty(&self, core: &Core, scope: Scope) -> bool {
        let long = match scope.long {
            LongScope::Of(epoch) => core.long.any_of(epoch),
            LongScope::None | LongScope::All => false,
        };
        let owned = scope.retiring && core.owner.is_some();
        !(long || owned || self.short_inside())
    }

    /// Ends a closer's time; `thaw` ends the freeze that was there when it closed. True if the gate is open then.
    pub(crate) fn disown(&self, mut core: MutexGuard<'_, Core>, thaw: bool) -> bool {
        let owner = core.owner.take();
        if thaw && owner.is_some_and(|owner| owner.was_frozen) && !core.frozen_under_owner {
            core.frozen = false;
        }
        core.since = Stamp::now();
        core.round += 1;
        core.admitting = core.waiting;
        self.publish(&core);
        let open = core.status() == Status::Open;
        let retiring = core.retiring > 0;
        let wakeups = if open { core.wakeups() } else { Wakeups::default() };
        drop(core);
        self.notify_waiters();
        if retiring {
            self.drained.notify_all();
        }
        wakeups.call();
        open
    }

    /// Closes if nobody is inside, waits or owns. Everything happens under the lock; a reader that meets the trial mark
    /// takes the lock before it believes a refusal, so a failed attempt refuses nobody.
    pub(crate) fn try_close(&self, reason: Reason) -> Result<(), Busy> {
        let mut core = self.core.lock();
        if core.gone {
            return Err(Busy::Gone);
        }
        if let Some(owner) = core.owner {
            return Err(Busy::Closed(owner.reason));
        }
        if !core.may_close() || !core.queue.is_empty() {
            return Err(Busy::Queued);
        }
        if core.long.any_of(core.epoch) || self.short_inside() {
            return Err(Busy::Inside);
        }
        self.store(core.word().trial());
        barrier::heavy();
        if self.short_inside() {
            self.publish(&core);
            return Err(Busy::Inside);
        }
        self.own(&mut core, reason);
        self.publish(&core);
        Ok(())
    }
}

/// Proof that the gate is closed and nothing is inside: no short pass, no long pass of this epoch, no other proof.
///
/// Reset, power change and restore are functions that take it. Dropping it puts the gate back to open or frozen, as it
/// was; not `Send`, and the thread cannot wait while it holds it.
#[must_use = "dropping the proof reopens the gate at once"]
pub struct Quiesced<'t> {
    shared: &'t Shared,
    token: &'t ThreadToken,
    reason: Reason,
}

impl<'t> Quiesced<'t> {
    pub(crate) fn new(shared: &'t Shared, token: &'t ThreadToken, reason: Reason) -> Quiesced<'t> {
        Quiesced { shared, token, reason }
    }

    /// Why the gate was closed.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The thread's token, for `try_enter` and `try_close` of other gates.
    pub fn token(&self) -> &'t ThreadToken {
        self.token
    }

    /// Reopens the gate even if it was frozen when it was closed. False if it was frozen again meanwhile, or retired: it
    /// stays so.
    pub fn thaw(self) -> bool {
        let shared = self.shared;
        std::mem::forget(self);
        shared.disown(shared.core.lock(), true)
    }
}

impl Drop for Quiesced<'_> {
    fn drop(&mut self) {
        self.shared.disown(self.shared.core.lock(), false);
    }
}

/// Proof that the gate is closed and no short pass is inside; long passes may be.
///
/// For replacing what only short passes read, such as the table of DMA mappings. Dropping it puts the gate back.
#[must_use = "dropping the proof reopens the gate at once"]
pub struct ShortQuiesced<'t> {
    shared: &'t Shared,
    token: &'t ThreadToken,
    reason: Reason,
}

impl<'t> ShortQuiesced<'t> {
    pub(crate) fn new(shared: &'t Shared, token: &'t ThreadToken, reason: Reason) -> ShortQuiesced<'t> {
        ShortQuiesced { shared, token, reason }
    }

    /// Why the gate was closed.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The thread's token, for `try_enter` and `try_close` of other gates.
    pub fn token(&self) -> &'t ThreadToken {
        self.token
    }
}

impl Drop for ShortQuiesced<'_> {
    fn drop(&mut self) {
        self.shared.disown(self.shared.core.lock(), false);
    }
}

impl Proof for Quiesced<'_> {
    fn gate(&self) -> usize {
        self.shared.address()
    }
}
impl Held for Quiesced<'_> {}
impl Exclusive for Quiesced<'_> {}

impl Proof for ShortQuiesced<'_> {
    fn gate(&self) -> usize {
        self.shared.address()
    }
}
impl Held for ShortQuiesced<'_> {}
impl Exclusive for ShortQuiesced<'_> {}

impl std::fmt::Debug for Quiesced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quiesced").field("gate", &self.shared.name).field("reason", &self.reason).finish()
    }
}

impl std::fmt::Debug for ShortQuiesced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShortQuiesced")
            .field("gate", &self.shared.name)
            .field("reason", &self.reason)
            .finish()
    }
}
