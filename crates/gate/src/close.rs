//! Closing: the closers' queue, the drain, and putting a gate back. The proofs that come out of it are in `proof`.
//!
//! Order of a close: wait for the turn, stop entries (publish the word), pass the heavy barrier, wait until nothing is
//! inside. From the moment entries are stopped an [`Ownership`] stands for the gate; any failure drops it, which puts the
//! gate back as it was.
//!
//! Fairness: closers have the gate in order of arrival. Entries stop before the drain begins, so readers cannot starve a
//! closer. Accesses that are waiting when a closer leaves get in (or give up) before the next closer closes, so a stream of
//! closers cannot starve readers.

use crate::cancel;
use crate::clock::Stamp;
use crate::ownership::Ownership;
use crate::state::{Core, CoreGuard, LongScope, Shared, Wakeups};
use crate::sync::Arc;
use crate::waits::{Operation, Waiting};
use crate::word::Status;
use crate::{CloseError, Deadline, Epoch, Inside, Reason, ThreadToken, barrier};

/// What a close waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    ShortOnly,
    All,
}

/// A gate that is to be closed together with others, its *peers*, and the epoch it was in when that began.
pub(crate) struct Peer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) epoch: Epoch,
}

impl Peer {
    pub(crate) fn new(shared: &Arc<Shared>) -> Peer {
        Peer { shared: shared.clone(), epoch: shared.word().epoch() }
    }

    /// Retired, before or since.
    pub(crate) fn is_gone(&self) -> bool {
        let word = self.shared.word();
        word.epoch() != self.epoch || word.status() == Status::Gone
    }
}

/// What a drain waits for, fixed when it begins.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'p> {
    long: LongScope,
    /// The gate's epoch when the drain began; a closer does not go on into the next one.
    epoch: Epoch,
    /// Also wait for the holder of a proof (`retire`), and go on although the gate is gone.
    retiring: bool,
    /// The gates that are closed together with this one: if one is gone, so is the whole close.
    peers: &'p [Peer],
}

impl<'p> Scope<'p> {
    /// For `retire`: everything of the epoch that has ended, and the closer.
    pub(crate) fn retiring(ended: Epoch) -> Scope<'static> {
        Scope { long: LongScope::Of(ended), epoch: ended, retiring: true, peers: &[] }
    }

    pub(crate) fn closing(what: Drain, epoch: Epoch, peers: &'p [Peer]) -> Scope<'p> {
        let long = if what == Drain::All { LongScope::Of(epoch) } else { LongScope::None };
        Scope { long, epoch, retiring: false, peers }
    }

    /// There is nothing left to close.
    pub(crate) fn is_gone(&self, core: &Core) -> bool {
        let ended = core.gone || core.epoch != self.epoch || self.peers.iter().any(Peer::is_gone);
        !self.retiring && ended
    }

    /// What `portcullis locks` shows of the drain.
    fn operation(&self, core: &Core) -> Operation {
        match &core.owner {
            Some(owner) if !self.retiring => {
                Operation::Drain { reason: owner.reason, long: self.long != LongScope::None }
            }
            _ => Operation::Retire,
        }
    }
}

pub(crate) enum Drained {
    Empty,
    Gone,
    Missed(Vec<Inside>),
}

/// Waits for the turn, closes and drains one gate.
pub(crate) fn close(
    shared: &Arc<Shared>,
    token: &mut ThreadToken,
    reason: Reason,
    what: Drain,
    deadline: Deadline,
) -> Result<Ownership, CloseError> {
    let (core, _) = take_turn(shared, token, reason, &[], deadline)?;
    let ownership = Ownership::begin(shared, core, token, reason);
    barrier::heavy();
    ownership.drain(token, what, &[], deadline)?;
    Ok(ownership)
}

/// Waits until this closer is the first in the queue and the gate has no owner, and gives the lock and the ticket.
pub(crate) fn take_turn<'s>(
    shared: &'s Arc<Shared>,
    token: &mut ThreadToken,
    reason: Reason,
    peers: &[Peer],
    deadline: Deadline,
) -> Result<(CoreGuard<'s>, u64), CloseError> {
    let _cancellable = cancel::at_gate(token, shared);
    let mut core = shared.core.lock();
    let epoch = core.epoch;
    let ticket = core.next_ticket;
    core.next_ticket += 1;
    core.queue.push_back(ticket);
    let mut expired = false;
    let mut waiting = None;
    let refusal = loop {
        if core.gone || core.epoch != epoch || peers.iter().any(Peer::is_gone) {
            break CloseError::Gone;
        }
        if core.may_close() && core.queue.front() == Some(&ticket) {
            core.queue.pop_front();
            return Ok((core, ticket));
        }
        if expired {
            break CloseError::Contended { holder: core.owner.as_ref().map(|owner| owner.reason) };
        }
        waiting.get_or_insert_with(|| Waiting::at(token, shared, Operation::Turn(reason)));
        (core, expired) = cancel::wait(&shared.closers, core, token, deadline);
    };
    core.queue.retain(|queued| *queued != ticket);
    drop(core);
    // A closer of the next epoch may have been waiting behind this one of the last.
    shared.closers.notify_all();
    Err(refusal)
}

impl Shared {
    /// Waits until nothing of `scope` is inside. Call with the DRAIN mark published and the heavy barrier passed.
    pub(crate) fn drain<'s>(
        &'s self,
        mut core: CoreGuard<'s>,
        token: &mut ThreadToken,
        scope: Scope<'_>,
        deadline: Deadline,
    ) -> (CoreGuard<'s>, Drained) {
        let mut expired = false;
        let mut waiting = None;
        let drained = loop {
            if scope.is_gone(&core) {
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
            waiting.get_or_insert_with(|| Waiting::at(token, self, scope.operation(&core)));
            (core, expired) = cancel::wait(&self.drained, core, token, deadline);
        };
        (core, drained)
    }

    pub(crate) fn is_empty(&self, core: &Core, scope: Scope<'_>) -> bool {
        let long = match scope.long {
            LongScope::Of(epoch) => core.long.any_of(epoch),
            LongScope::None | LongScope::All => false,
        };
        let owned = scope.retiring && core.owner.is_some();
        !(long || owned || self.short_inside())
    }

    /// Ends a closer's time: the gate is open, frozen or gone after it. A trial that came to nothing has changed nothing
    /// and kept nobody waiting, so it is not a closer's time.
    pub(crate) fn disown(&self, mut core: CoreGuard<'_>) {
        let closed = core.owner.take().is_some_and(|owner| owner.trial.is_none());
        if closed {
            core.since = Stamp::now();
            core.round += 1;
            core.admitting = core.waiting;
        }
        self.publish(&core);
        let retiring = core.retiring > 0;
        // Retired meanwhile: that has been told. Frozen: who freezes or thaws under an owner is told of at once, but what
        // the owner did for itself, about to thaw, has to be taken back if it did not.
        let tells = closed && matches!(core.status(), Status::Open | Status::Frozen);
        let wakeups = if tells { core.wakeups() } else { Wakeups::default() };
        drop(core);
        self.notify_waiters();
        if retiring {
            self.drained.notify_all();
        }
        wakeups.call();
    }
}
