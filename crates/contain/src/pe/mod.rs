//! A partitionable endpoint: functions that fail together, with what is known of their failures.
//!
//! * [`Pe`] is what lasts: identity, state bits, freeze budget, holders. Where it is and what is in it is the business of the
//!   [`crate::tree`], so a PE never changes under somebody who looks at it, but for atomics.
//! * [`Held`] is a reference with a name.
//!
//! What this module does **not** do: it freezes nothing and decides nothing. No lock, and nothing here waits.

mod address;
pub(crate) mod atomic;
mod held;
mod state;

pub(crate) use address::Key;
pub use address::{PeAddress, PeKind};
pub use held::{Held, Holder};
pub(crate) use state::{MARKS, StateWord};
pub use state::{MarkError, PeState};

use crate::budget::FreezeCount;
use crate::plan::PeId;
use held::Holders;
use std::sync::atomic::{AtomicU32, Ordering};

/// A partitionable endpoint; see the module's head.
#[derive(Debug)]
pub struct Pe {
    id: PeId,
    address: PeAddress,
    kind: PeKind,
    pub(crate) state: StateWord,
    /// Its freezes; no reset and no re-plug during a recovery touches it (EEH-I6).
    pub freezes: FreezeCount,
    pub(crate) holders: Holders,
    /// How many of its functions are passed through to consumers that deal with errors themselves (EEH-21).
    passed: AtomicU32,
}

impl Pe {
    pub(crate) fn new(id: PeId, address: PeAddress, kind: PeKind) -> Pe {
        let (state, freezes, holders) = (StateWord::default(), FreezeCount::default(), Holders::default());
        Pe { id, address, kind, state, freezes, holders, passed: AtomicU32::new(0) }
    }

    /// Which PE it is; no other ever has the same.
    #[must_use]
    pub fn id(&self) -> PeId {
        self.id
    }

    /// Its place.
    #[must_use]
    pub fn address(&self) -> PeAddress {
        self.address
    }

    /// What it stands for.
    #[must_use]
    pub fn kind(&self) -> PeKind {
        self.kind
    }

    /// The state bits at this moment.
    #[must_use]
    pub fn state(&self) -> PeState {
        self.state.load()
    }

    /// Sets state bits, but for marks and *invalid*, which have owners. Gives the bits before.
    pub fn set(&self, bits: PeState) -> PeState {
        self.state.set(bits.difference(MARKS | PeState::INVALID))
    }

    /// Clears state bits, but for marks and *invalid*. Gives the bits before.
    pub fn clear(&self, bits: PeState) -> PeState {
        self.state.clear(bits.difference(MARKS | PeState::INVALID))
    }

    /// Isolates it. True for whoever was first: one event for each freeze (EEH-07).
    pub fn isolate(&self) -> bool {
        !self.set(PeState::ISOLATED).contains(PeState::ISOLATED)
    }

    /// Whether a consumer deals with its errors itself (EEH-21).
    #[must_use]
    pub fn is_passed_through(&self) -> bool {
        self.passed.load(Ordering::Acquire) != 0
    }

    /// A function is passed through (EEH-24). True if no other one is.
    pub(crate) fn pass_through(&self) -> bool {
        self.passed.fetch_add(1, Ordering::AcqRel) == 0
    }

    /// It is so no longer. Once for each [`Pe::pass_through`].
    pub(crate) fn take_back(&self) {
        self.passed.fetch_sub(1, Ordering::AcqRel);
    }

    /// Who holds it, and how often.
    #[must_use]
    pub fn holders(&self) -> Vec<(Holder, u32)> {
        self.holders.snapshot()
    }
}
