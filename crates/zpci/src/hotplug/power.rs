//! `power`: switching a function's slot on and off (ZP-09).
//!
//! Nothing is waited for here and nothing is held: the card's owner is asked, and says later how it ended. So a consumer that has
//! to be asked to let go can still do whatever it needs for that (ZIO-I1).

use super::error::OperationError;
use super::slot::HotplugSlot;
use super::unit::contained;
use crate::state::Configuration;
use slot::{Operation, Request};
use std::sync::Arc;
use std::time::Duration;

impl HotplugSlot {
    /// Whether the slot would be switched now: on from STANDBY, off from CONFIGURED and without virtual functions of any function
    /// of the card.
    ///
    /// # Errors
    /// [`OperationError::WrongState`], EIO; [`OperationError::VirtualFunctions`], EBUSY; [`OperationError::NoSlot`], EOPNOTSUPP.
    pub fn check_power(&self, on: bool) -> Result<(), OperationError> {
        if self.is_virtual() {
            return Err(OperationError::NoSlot);
        }
        let from = if on { Configuration::Standby } else { Configuration::Configured };
        let is = self.zdev().configuration();
        if is != from {
            return Err(OperationError::WrongState(is));
        }
        match self.virtual_functions() {
            _ if on => Ok(()),
            0 => Ok(()),
            many => Err(OperationError::VirtualFunctions(many)),
        }
    }

    /// Asks the card's owner to switch the slot on, or off; consumers are asked to let go for `timeout` first, and revoked at once if
    /// that is zero. What comes back says how it ends, which it does in bounded time.
    ///
    /// # Errors
    /// As [`HotplugSlot::check_power`]; nothing was asked for. The owner decides for itself when it gets to it, and may refuse then
    /// ([`errno_of`](super::errno_of)).
    pub fn power(&self, on: bool, timeout: Duration) -> Result<Arc<Operation>, OperationError> {
        self.check_power(on)?;
        Ok(self.controller().ask(if on { Request::Enable } else { Request::Disable { timeout } }))
    }

    /// Of all functions of the card: they leave together.
    fn virtual_functions(&self) -> u16 {
        let views = self.card().iter().filter_map(|zdev| zdev.view());
        views.fold(0, |sum, view| {
            // A unit that cannot say has some.
            let many = contained(|| self.unit().virtual_functions_on(view.function())).unwrap_or(1);
            sum.saturating_add(many)
        })
    }
}
