//! What recovery and reset have in common: the function without a handle, the hardware reset, another handle.

use super::slot::HotplugSlot;
use super::unit::{ResetFailure, contained};
use crate::handle::Handle;
use crate::transition::{RenewError, Transition};
use crate::view::View;
use gate::{Deadline, ThreadToken};
use pci_core::IoState;

/// Why a function does not go on as before.
pub(super) enum Failure {
    /// It was removed: what stands in its place now is another's affair.
    Removed,
    /// Nothing was changed. Why, for people.
    Untouched(String),
    /// Anything else, for people.
    Failed(String),
}

impl From<ResetFailure> for Failure {
    fn from(failure: ResetFailure) -> Failure {
        match failure {
            ResetFailure::Untouched(why) => Failure::Untouched(why),
            ResetFailure::Failed(why) => Failure::Failed(why),
        }
    }
}

impl From<RenewError> for Failure {
    fn from(error: RenewError) -> Failure {
        match error {
            RenewError::Gone => Failure::Removed,
            RenewError::UsedUp => Failure::Failed(error.to_string()),
        }
    }
}

impl HotplugSlot {
    /// Disables the function and has it reset. A removal ends this at once: the unit's wait for the gate ends when that is retired.
    pub(super) fn reset_disabled(
        &self,
        token: &mut ThreadToken,
        claim: &Transition<'_>,
        view: &View,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        claim.renew(token, false)?;
        let function = view.function();
        let begun = view.resets().begin();
        let done = contained(|| self.unit().reset(token, function, deadline));
        // Whatever the unit says of it: nobody is to be blamed for hardware that was pulled.
        if function.handle().is_gone() {
            return Err(Failure::Removed);
        }
        match done {
            Ok(done) => {
                done?;
                view.resets().end_well(begun);
                Ok(())
            }
            Err(panicked) => Err(Failure::Failed(panicked)),
        }
    }
}

/// The last step: from here on instructions reach the function again.
pub(super) fn enable(token: &mut ThreadToken, claim: &Transition<'_>) -> Result<Handle, Failure> {
    Ok(claim.renew(token, true)?)
}

/// Nothing gets to the device, and not because it is gone.
pub(super) fn is_frozen(view: &View) -> bool {
    view.function().io_state() == IoState::Frozen
}
