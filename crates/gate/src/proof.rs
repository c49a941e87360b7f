//! The proofs that a gate is closed and drained.

use crate::held::{Exclusive, Held, sealed::Proof};
use crate::ownership::Ownership;
use crate::{Closed, Reason, ThreadToken};

/// Proof that the gate is closed and nothing is inside: no short pass, no long pass of this epoch, no other proof.
///
/// Reset, power change and restore are functions that take it. Dropping it puts the gate back to open or frozen, as it
/// was; not `Send`, and the thread cannot wait while it holds it.
#[must_use = "dropping the proof reopens the gate at once"]
pub struct Quiesced<'t> {
    ownership: Ownership,
    token: &'t ThreadToken,
    reason: Reason,
}

impl<'t> Quiesced<'t> {
    pub(crate) fn new(ownership: Ownership, token: &'t ThreadToken, reason: Reason) -> Quiesced<'t> {
        Quiesced { ownership, token, reason }
    }

    /// Why the gate was closed.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The thread's token, for `try_enter` and `try_close` of other gates.
    pub fn token(&self) -> &'t ThreadToken {
        self.token
    }

    /// Keeps the gate closed without a proof, so that this thread can wait for a delay of the hardware.
    pub fn park(self) -> Closed {
        Closed::park(self.ownership, self.reason)
    }

    /// Reopens the gate even if it was frozen when it was closed. False if it was frozen again meanwhile, or is contained: it
    /// stays so. False also if it was retired, whatever has become of the gate since.
    pub fn thaw(self) -> bool {
        let shared = self.ownership.shared();
        let mut core = shared.core.lock();
        let was_frozen = core.owner.as_ref().is_some_and(|owner| owner.was_frozen);
        if was_frozen && !core.frozen_under_owner && core.contained == 0 {
            core.frozen = false;
        }
        let opens = !core.frozen && !core.gone && core.epoch == self.ownership.epoch();
        shared.publish(&core);
        drop(core);
        drop(self);
        opens
    }
}

/// Proof that the gate is closed and no short pass is inside; long passes may be.
///
/// For replacing what only short passes read, such as the table of DMA mappings. Dropping it puts the gate back.
#[must_use = "dropping the proof reopens the gate at once"]
pub struct ShortQuiesced<'t> {
    ownership: Ownership,
    token: &'t ThreadToken,
    reason: Reason,
}

impl<'t> ShortQuiesced<'t> {
    pub(crate) fn new(ownership: Ownership, token: &'t ThreadToken, reason: Reason) -> ShortQuiesced<'t> {
        ShortQuiesced { ownership, token, reason }
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

impl Proof for Quiesced<'_> {
    fn gate(&self) -> usize {
        self.ownership.shared().address()
    }
}
impl Held for Quiesced<'_> {}
impl Exclusive for Quiesced<'_> {}

impl Proof for ShortQuiesced<'_> {
    fn gate(&self) -> usize {
        self.ownership.shared().address()
    }
}
impl Held for ShortQuiesced<'_> {}
impl Exclusive for ShortQuiesced<'_> {}

impl std::fmt::Debug for Quiesced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quiesced")
            .field("gate", &self.ownership.shared().name)
            .field("reason", &self.reason)
            .finish()
    }
}

impl std::fmt::Debug for ShortQuiesced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShortQuiesced")
            .field("gate", &self.ownership.shared().name)
            .field("reason", &self.reason)
            .finish()
    }
}
