//! `reset_slot`: a reset of the function for whoever has it (ZP-09).

use super::error::OperationError;
use super::renewal::{Failure, enable, is_frozen};
use super::slot::HotplugSlot;
use super::unit::contained;
use crate::events::ErrorCode;
use crate::state::{Configuration, Work};
use crate::view::View;
use gate::{Deadline, ThreadToken};

impl HotplugSlot {
    /// Resets the function, with its handle disabled meanwhile, and enables it under another handle. With `probe` only says whether it
    /// could. Nobody is waited for who works on the function already; who is inside is, to the deadline. A function that is frozen
    /// afterwards, because an error came meanwhile, is told of as 0x003a under its new handle.
    ///
    /// # Errors
    /// [`OperationError::Contended`], [`OperationError::WrongState`] (not configured) and [`OperationError::PermanentError`], EIO;
    /// [`OperationError::NoReset`], ENOTTY; [`OperationError::NotReset`], EIO: the function is as that left it, and enabled.
    /// [`OperationError::Removed`], ENODEV.
    pub fn reset(
        &self,
        token: &mut ThreadToken,
        probe: bool,
        deadline: Deadline,
    ) -> Result<(), OperationError> {
        let claim = self.zdev().begin(Work::Reset).ok_or(OperationError::Contended)?;
        let Some(view) = claim.view().cloned() else { return Err(self.not_configured()) };
        if view.has_failed() {
            return Err(OperationError::PermanentError);
        }
        if !contained(|| self.unit().can_reset(view.function())).unwrap_or(false) {
            return Err(OperationError::NoReset);
        }
        if probe {
            return Ok(());
        }
        let done = self.reset_disabled(token, &claim, &view, deadline);
        // A reset that did not take place leaves a function that works.
        let done = match done {
            Err(Failure::Removed) => done,
            _ => enable(token, &claim).and(done),
        };
        drop(claim);
        self.tell_again(&view);
        done.map_err(|failure| match failure {
            Failure::Removed => OperationError::Removed,
            Failure::Untouched(why) | Failure::Failed(why) => OperationError::NotReset(why),
        })
    }

    /// An error that came meanwhile, or is there still, was told with a handle that names nothing any more.
    fn tell_again(&self, view: &View) {
        if is_frozen(view) && !view.has_failed() {
            self.zdev().report_error_of(view, ErrorCode::ERROR);
        }
    }

    fn not_configured(&self) -> OperationError {
        match self.zdev().configuration() {
            // It has been, since the claim was made.
            Configuration::Configured => OperationError::Contended,
            other => OperationError::WrongState(other),
        }
    }
}
