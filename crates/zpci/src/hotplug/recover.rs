//! `recover`: disable, reset, enable (ZP-10).
//!
//! ```text
//!   claimed? --no--> already running            (the second of two does nothing)
//!      | yes
//!   configured? --no--> not configured          (nothing to do)
//!      | yes                    +--- frozen anew: again, 3 times in all ---+
//!      |                        v                                          |
//!   handle disabled --> unit resets ------------------------------> handle enabled --> done
//!         |                  |
//!         +--- removed ------+---> removed      (nothing of the next device is touched)
//!                            +---> untouched    (as it was, under another handle)
//!                            +---> failed       (frozen, in permanent error, told as 0x0040)
//! ```
//!
//! A freeze that comes in the middle is another error, which the recovery deals with as well: whoever tells of it may name a handle
//! that is nobody's any more by the time that is heard.
//!
//! The claim and the view are of one device, and every step is for that device alone, so what comes after it is out of reach.
//! The claim goes with its value, on every way out. It is no lock: an operator does not wait for it, and nobody's removal does.

use super::error::OperationError;
use super::renewal::{Failure, enable, is_frozen};
use super::slot::HotplugSlot;
use crate::events::ErrorCode;
use crate::handle::Handle;
use crate::state::Work;
use crate::transition::{RenewError, Transition};
use crate::view::View;
use gate::{Deadline, ThreadToken};

/// Resets of one recovery. A function that is frozen after each of them is not to be recovered.
const RESETS: u32 = 3;

/// What a recovery that did not fail has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// The function works, and is enabled under this handle.
    Done {
        /// Another one than before.
        handle: Handle,
    },
    /// Nothing: the function is not configured.
    NotConfigured,
    /// Nothing: somebody recovers it already.
    AlreadyRunning,
}

impl HotplugSlot {
    /// Recovers the function: resets it, with its handle disabled meanwhile, ends a freeze and a permanent error, and enables it under
    /// another handle. Consumers keep what they have. Waits to the deadline for what is in flight, and then for as long as the hardware
    /// needs; ends at once when the function is removed. An error that comes meanwhile is dealt with too, with 3 resets in all.
    ///
    /// # Errors
    /// [`OperationError::Contended`], EIO: it is being reset, enabled or disabled. [`OperationError::Removed`], ENODEV.
    /// [`OperationError::NotRecovered`], EIO: nothing was changed but the handle. [`OperationError::GivenUp`], EIO: the function is frozen
    /// and in permanent error, and 0x0040 was told.
    pub fn recover(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Recovered, OperationError> {
        let Some(claim) = self.zdev().begin(Work::Recovery) else { return self.not_claimed() };
        match claim.view().cloned() {
            Some(view) => self.recover_claimed(token, claim, &view, deadline),
            None => Ok(Recovered::NotConfigured),
        }
    }

    fn not_claimed(&self) -> Result<Recovered, OperationError> {
        match self.zdev().work() {
            Some(Work::Recovery) => Ok(Recovered::AlreadyRunning),
            _ => Err(OperationError::Contended),
        }
    }

    pub(super) fn recover_claimed(
        &self,
        token: &mut ThreadToken,
        claim: Transition<'_>,
        view: &View,
        deadline: Deadline,
    ) -> Result<Recovered, OperationError> {
        let was_enabled = view.is_enabled();
        match self.renewed(token, &claim, view, deadline) {
            Ok(handle) => Ok(Recovered::Done { handle }),
            Err(Failure::Removed) => Err(OperationError::Removed),
            Err(Failure::Untouched(why)) => match claim.renew(token, was_enabled) {
                Err(RenewError::Gone) => Err(OperationError::Removed),
                Ok(_) | Err(RenewError::UsedUp) => Err(OperationError::NotRecovered(why)),
            },
            Err(Failure::Failed(why)) => {
                self.give_up(token, claim, view);
                Err(OperationError::GivenUp(why))
            }
        }
    }

    fn renewed(
        &self,
        token: &mut ThreadToken,
        claim: &Transition<'_>,
        view: &View,
        deadline: Deadline,
    ) -> Result<Handle, Failure> {
        for _ in 0..RESETS {
            self.reset_disabled(token, claim, view, deadline)?;
            if is_frozen(view) {
                continue;
            }
            claim.clear_failure();
            let handle = enable(token, claim)?;
            // Who froze it before this knows it by a handle that names nothing any more.
            if !is_frozen(view) {
                return Ok(handle);
            }
        }
        Err(Failure::Failed(format!("it was frozen again after each of {RESETS} resets")))
    }

    /// The device of the claim is in permanent error. Told when the claim is given back, so that who hears of it may act.
    fn give_up(&self, token: &mut ThreadToken, claim: Transition<'_>, view: &View) {
        view.set_failed();
        view.function().freeze("its recovery failed");
        if view.is_enabled() {
            // Without a handle left, or gone: then it is as dead as it can be.
            let _as_it_was = claim.renew(token, false);
        }
        drop(claim);
        self.zdev().report_error_of(view, ErrorCode::RECOVERY_FAILED);
    }
}
