//! The consumer's side of a gate.

use crate::cancel;
use crate::pass::{LongPass, Pass, Place};
use crate::state::Shared;
use crate::sync::Arc;
use crate::waits::{Operation, Waiting};
use crate::word::Word;
use crate::{
    AccessKind, Admission, Deadline, Epoch, Refusal, Subscription, ThreadToken, Until, Wake, barrier,
};

/// A consumer's side of a gate, bound to the epoch it was made in. Pins the gate's memory.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    /// The gate's word while it is open in this handle's epoch.
    expected: Word,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, epoch: Epoch) -> Handle {
        Handle { shared, expected: Word::open(epoch) }
    }

    /// The epoch of this handle.
    pub fn epoch(&self) -> Epoch {
        self.expected.epoch()
    }

    /// Whether the device that the handle was made for was removed, also if another one is in its place. One load, for
    /// who is inside already and must not touch hardware any more.
    #[inline]
    pub fn is_gone(&self) -> bool {
        self.shared.word().epoch() != self.epoch()
    }

    /// Enters without waiting, in a nanosecond or two. The pass must be left soon: nobody may sleep in it.
    ///
    /// # Errors
    /// [`Refusal`]: blocked, frozen, gone or a stale handle.
    #[inline]
    pub fn try_enter<'t>(&'t self, token: &'t ThreadToken, kind: AccessKind) -> Result<Pass<'t>, Refusal> {
        let place = match self.occupy_first(token) {
            Some(place) => Ok(place),
            None => self.occupy_again(token),
        };
        match place {
            Ok(place) => Ok(Pass::new(&self.shared, token, place, self.expected, kind)),
            Err(word) => {
                self.count_refusal(word);
                Err(word.refusal(self.epoch()))
            }
        }
    }

    /// Enters, waiting while the gate is blocked.
    ///
    /// # Errors
    /// [`Refusal::Blocked`] at the deadline; frozen, gone and stale at once, also while waiting.
    pub fn enter<'t>(
        &'t self,
        token: &'t mut ThreadToken,
        kind: AccessKind,
        until: impl Until,
    ) -> Result<Pass<'t>, Refusal> {
        let place = match self.occupy_first(token) {
            Some(place) => place,
            None => self.occupy_waiting(token, kind, until.deadline())?,
        };
        Ok(Pass::new(&self.shared, token, place, self.expected, kind))
    }

    /// Takes a long pass, waiting while the gate is blocked. `what` names it when a closer misses its deadline.
    ///
    /// # Errors
    /// As [`Handle::enter`].
    pub fn enter_long(
        &self,
        token: &mut ThreadToken,
        kind: AccessKind,
        what: &'static str,
        until: impl Until,
    ) -> Result<LongPass, Refusal> {
        // A short pass keeps closers out while the long one is written down.
        let pass = self.enter(token, kind, until)?;
        Ok(pass.long(kind, what))
    }

    /// As [`Gate::freeze`](crate::Gate::freeze), of the device that the handle was made for: false once that was removed,
    /// also if another one is in its place.
    pub fn freeze(&self) -> bool {
        self.shared.freeze(Some(self.epoch()))
    }

    /// As [`Gate::thaw`](crate::Gate::thaw), of the device that the handle was made for.
    pub fn thaw(&self) -> bool {
        self.shared.thaw(Some(self.epoch()))
    }

    /// As [`Gate::contain`](crate::Gate::contain), of the device that the handle was made for.
    pub fn contain(&self) -> bool {
        self.shared.contain(Some(self.epoch()))
    }

    /// As [`Gate::release`](crate::Gate::release), of the device that the handle was made for.
    pub fn release(&self) -> bool {
        self.shared.release(Some(self.epoch()))
    }

    /// Whether somebody contains the device that the handle was made for. Takes the gate's lock.
    pub fn is_contained(&self) -> bool {
        self.shared.is_contained(Some(self.epoch()))
    }

    /// What the gate admits of the device that the handle was made for. One load; what was done before the gate came to
    /// this is visible after it.
    #[inline]
    pub fn admission(&self) -> Admission {
        self.shared.word().admission(self.epoch())
    }

    /// Has `wake` called whenever the gate reopens, freezes, thaws or retires, until the subscription is dropped.
    pub fn subscribe(&self, wake: std::sync::Arc<dyn Wake>) -> Subscription {
        Subscription::new(self.shared.clone(), wake)
    }

    /// The fast path: the thread's first slot is free and the gate is open in our epoch.
    #[inline]
    fn occupy_first(&self, token: &ThreadToken) -> Option<Place> {
        let slot = token.record().first();
        if !slot.is_free() {
            return None;
        }
        slot.occupy(self.shared.address());
        barrier::swift();
        if self.shared.word() == self.expected {
            return Some(Place::Slot(slot));
        }
        Place::Slot(slot).leave(&self.shared, self.expected);
        None
    }

    /// Nested, closed, or a trial is on: tries any slot, then looks under the lock, where the word cannot change and the
    /// next closer is sure to see the place. Fails with the word that refuses, which fits registers.
    #[inline(never)]
    fn occupy_again(&self, token: &ThreadToken) -> Result<Place, Word> {
        let word = self.shared.word();
        if word.admits(self.epoch()) {
            let place = Place::take(token, &self.shared);
            barrier::light();
            if self.shared.word().without_mark() == self.expected {
                return Ok(place);
            }
            place.leave(&self.shared, self.expected);
        } else if !word.is_trial() {
            return Err(word);
        }
        let core = self.shared.core.lock();
        core.admit(self.epoch()).map(|()| Place::take(token, &self.shared))
    }

    /// Counts a refusal, and leaves it to the caller to make one: handed back through memory, it would keep the pass of the
    /// other answer in memory too, which costs five stores.
    #[cold]
    #[inline(never)]
    fn count_refusal(&self, word: Word) {
        let _refusal = self.shared.count_refusal(word.refusal(self.epoch()));
    }

    fn refuse(&self, word: Word) -> Refusal {
        self.shared.count_refusal(word.refusal(self.epoch()))
    }

    /// Waits until the gate is open and takes a place under its lock.
    #[cold]
    #[inline(never)]
    fn occupy_waiting(
        &self,
        token: &mut ThreadToken,
        kind: AccessKind,
        deadline: Deadline,
    ) -> Result<Place, Refusal> {
        let shared = &*self.shared;
        let _cancellable = cancel::at_gate(token, &self.shared);
        let mut shown = None;
        let mut core = shared.core.lock();
        let joined = core.round;
        let mut waiting = false;
        let mut expired = false;
        let entered = loop {
            let word = match core.admit(self.epoch()) {
                Ok(()) => break Ok(Place::take(token, shared)),
                Err(word) => word,
            };
            let may_wait = matches!(word.refusal(self.epoch()), Refusal::Blocked(_));
            if expired || !may_wait {
                break Err(word);
            }
            if !waiting {
                waiting = true;
                core.waiting += 1;
            }
            shown.get_or_insert_with(|| Waiting::at(token, shared, Operation::Enter(kind)));
            (core, expired) = cancel::wait(&shared.entrants, core, token, deadline);
        };
        let mut last_admitted = false;
        if waiting {
            core.waiting -= 1;
            if core.round != joined && core.admitting > 0 {
                core.admitting -= 1;
                last_admitted = core.admitting == 0;
            }
        }
        drop(core);
        if last_admitted {
            shared.closers.notify_all();
        }
        entered.map_err(|word| self.refuse(word))
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("gate", &self.shared.name).field("epoch", &self.epoch()).finish()
    }
}
