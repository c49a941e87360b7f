//! A gate that stays closed while its closer waits for a delay of the hardware.
//!
//! A proof borrows the thread's token, so no wait compiles while it is held (law 1). A delay that the specification
//! requires between two steps (reset to first access, a change of the power state) has to be waited for with the gate
//! closed all the same (CFG-I10). [`Quiesced::park`] gives the token back and keeps the gate; [`Closed::resume`] makes a
//! proof again, which needs no new drain: nobody has been let in.
//!
//! A parked closer is the gate's owner like any other: `GateStatus` names it, closers queue behind it, `retire` waits for
//! it up to its deadline and then lists it as an orphan. It holds nothing that a consumer could wait for without a
//! deadline, but who has a gate parked must not wait for the turn at another one: see `docs/locks.md`.

use crate::close::Peer;
use crate::ownership::Ownership;
use crate::waits::{Operation, Waiting};
use crate::{Deadline, Gate, Quiesced, Reason, ThreadToken};
use thiserror::Error;

/// The gate was retired while it was parked; it is no longer its closer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the function was removed")]
pub struct Gone;

/// A closed gate without a proof. `Send`; dropping it puts the gate back as dropping the proof does.
#[must_use = "dropping it reopens the gate at once"]
pub struct Closed {
    ownership: Ownership,
    reason: Reason,
}

impl Closed {
    pub(crate) fn park(ownership: Ownership, reason: Reason) -> Closed {
        if let Some(owner) = &mut ownership.shared().core.lock().owner {
            owner.parked = true;
        }
        Closed { ownership, reason }
    }

    /// Why the gate was closed.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether this is `gate`.
    pub fn is_of(&self, gate: &Gate) -> bool {
        self.ownership.shared().address() == gate.shared().address()
    }

    /// The gate that is closed.
    pub fn gate(&self) -> Gate {
        Gate::of(self.ownership.shared())
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer { shared: self.ownership.shared().clone(), epoch: self.ownership.epoch() }
    }

    /// True once the gate was retired, also if it has been renewed for another device since.
    pub fn is_gone(&self) -> bool {
        self.ownership.shared().word().epoch() != self.ownership.epoch()
    }

    /// Makes a proof again, on whatever thread this is. Waits for nothing.
    ///
    /// # Errors
    /// [`Gone`] if the gate was retired meanwhile; it is let go then.
    pub fn resume(self, token: &mut ThreadToken) -> Result<Quiesced<'_>, Gone> {
        token.assert_holds_nothing();
        self.prove(token)
    }

    /// Several gates' proofs share one token.
    pub(crate) fn prove(self, token: &ThreadToken) -> Result<Quiesced<'_>, Gone> {
        let mut core = self.ownership.shared().core.lock();
        let gone = core.gone || core.epoch != self.ownership.epoch();
        if let (false, Some(owner)) = (gone, &mut core.owner) {
            owner.parked = false;
            owner.thread = token.name().clone();
        }
        drop(core);
        if gone {
            return Err(Gone);
        }
        Ok(Quiesced::new(self.ownership, token, self.reason))
    }

    /// Lets time pass, up to the deadline; ends at once when the gate is retired.
    ///
    /// # Errors
    /// [`Gone`] if the gate was retired.
    pub fn wait(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), Gone> {
        self.wait_unless(token, deadline, || false)
    }

    /// `peers_gone` is asked under the gate's lock; whoever makes it true lets this gate's waiters look again.
    pub(crate) fn wait_unless(
        &self,
        token: &mut ThreadToken,
        deadline: Deadline,
        peers_gone: impl Fn() -> bool,
    ) -> Result<(), Gone> {
        let shared = self.ownership.shared();
        let _waiting = Waiting::at(token, shared, Operation::Delay(self.reason));
        let mut core = shared.core.lock();
        let mut expired = false;
        loop {
            if core.gone || core.epoch != self.ownership.epoch() || peers_gone() {
                return Err(Gone);
            }
            if expired {
                return Ok(());
            }
            // Nobody drains a gate that has an owner but `retire`, which is what this waits for.
            (core, expired) = shared.drained.wait(core, token, deadline);
        }
    }
}

impl std::fmt::Debug for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Closed")
            .field("gate", &self.ownership.shared().name)
            .field("reason", &self.reason)
            .finish()
    }
}
