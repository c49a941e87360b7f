//! Configure and deconfigure, as a machine's service processor is asked to (ZP-04).
//!
//! The same as [`HotplugSlot::power`], but whoever asks waits for the end, and finds a function that is there already no error.

use super::error::{OperationError, errno_of};
use super::slot::HotplugSlot;
use crate::state::Configuration;
use gate::{Deadline, ThreadToken};
use pci_core::Errno;
use slot::Finished;
use std::time::Duration;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SclpCommand {
    /// STANDBY to CONFIGURED.
    Configure,
    /// CONFIGURED to STANDBY.
    Deconfigure {
        /// How long consumers are asked to let go before all is taken from them; zero: not at all.
        timeout: Duration,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SclpResponse {
    /// 0x0020: done.
    Done,
    /// 0x0120: it was so already.
    Already,
    /// It was not begun.
    Refused(OperationError),
    /// It was begun and ended so.
    Ended(Finished),
    /// It goes on, and had not ended by the deadline.
    Unfinished,
}

impl SclpResponse {
    /// The platform's code of what is no error.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            SclpResponse::Done => Some(0x0020),
            SclpResponse::Already => Some(0x0120),
            SclpResponse::Refused(_) | SclpResponse::Ended(_) | SclpResponse::Unfinished => None,
        }
    }

    /// As a user of Linux sees it.
    ///
    /// # Errors
    /// EOPNOTSUPP without the facility: a virtual function; EIO else.
    pub fn result(&self) -> Result<(), Errno> {
        match self {
            _ if self.code().is_some() => Ok(()),
            SclpResponse::Refused(OperationError::NoSlot) => Err(Errno::EOPNOTSUPP),
            _ => Err(Errno::EIO),
        }
    }
}

impl HotplugSlot {
    /// Carries a command out and waits for its end, to the deadline; holds nothing meanwhile (ZIO-I1). What has not ended by then goes on.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or a lock (law 1).
    pub fn sclp(&self, token: &mut ThreadToken, command: SclpCommand, deadline: Deadline) -> SclpResponse {
        let (on, wanted, timeout) = match command {
            SclpCommand::Configure => (true, Configuration::Configured, Duration::ZERO),
            SclpCommand::Deconfigure { timeout } => (false, Configuration::Standby, timeout),
        };
        let operation = match self.power(on, timeout) {
            Ok(operation) => operation,
            Err(OperationError::WrongState(is)) if is == wanted => return SclpResponse::Already,
            Err(error) => return SclpResponse::Refused(error),
        };
        match operation.wait(token, deadline) {
            None => SclpResponse::Unfinished,
            Some(how) if errno_of(how).is_none() => SclpResponse::Done,
            Some(how) => SclpResponse::Ended(how),
        }
    }
}
