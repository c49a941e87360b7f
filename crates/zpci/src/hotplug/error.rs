//! How slot operations fail, with the error numbers that users of Linux know (ZP-09 to ZP-11).

use crate::state::Configuration;
use pci_core::Errno;
use slot::Finished;
use thiserror::Error;

/// Why a slot operation was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OperationError {
    /// The function is not in a state for it: it is enabled from standby, and disabled and reset while it is configured.
    #[error("the function is {}", state(*.0))]
    WrongState(Configuration),
    /// Somebody resets, recovers, enables or disables the function at this moment.
    #[error("another operation of the function is under way; try again")]
    Contended,
    /// They would go with it.
    #[error("{0} virtual functions are switched on; switch them off first")]
    VirtualFunctions(u16),
    /// A virtual function has no slot.
    #[error("a virtual function has no slot of its own; it comes and goes with its physical function's")]
    NoSlot,
    /// It was removed while it was being reset or recovered.
    #[error("the function was removed meanwhile")]
    Removed,
    /// It is in permanent error, which a recovery may end and a reset does not.
    #[error("the function is in permanent error; recover it, or switch its slot off and on")]
    PermanentError,
    /// There is no way to reset it.
    #[error("the function has no way to be reset")]
    NoReset,
    /// The reset did not succeed; the function is as that left it.
    #[error("the function was not reset: {0}")]
    NotReset(String),
    /// It was not recovered, and is as it was, under another handle.
    #[error("the function was not recovered, and is as it was: {0}; try again")]
    NotRecovered(String),
    /// The recovery failed: the function is frozen, and in permanent error.
    #[error(
        "the recovery failed, and the function is in permanent error: {0}; recover it again, or switch its slot off and on"
    )]
    GivenUp(String),
    /// The report cannot be understood.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The platform takes no reports.
    #[error("the platform takes no reports")]
    NoFacility,
    /// The platform did not take the report.
    #[error("the report was not passed on: {0}")]
    NotReported(String),
}

/// What is wrong with a report (ZP-11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// It does not begin where it should.
    #[error("a report is written at offset 0, not {0}")]
    Offset(u64),
    /// It is not as long as it says, or has no header.
    #[error("a report of {0} bytes is cut off")]
    Short(usize),
    /// It does not fit into a page.
    #[error("a report of {0} bytes is too long")]
    Long(usize),
    /// Of a version that nobody knows.
    #[error("reports of version {0} are not known")]
    Version(u8),
    /// Asks for what nobody knows.
    #[error("action {0} is not known")]
    Action(u8),
}

impl OperationError {
    /// The error number that a user of a slot's file is told.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            OperationError::WrongState(_)
            | OperationError::Contended
            | OperationError::PermanentError
            | OperationError::NotReset(_)
            | OperationError::NotRecovered(_)
            | OperationError::GivenUp(_)
            | OperationError::NotReported(_) => Errno::EIO,
            OperationError::VirtualFunctions(_) => Errno::EBUSY,
            OperationError::NoSlot | OperationError::NoFacility => Errno::EOPNOTSUPP,
            OperationError::Removed => Errno::ENODEV,
            OperationError::NoReset => Errno::ENOTTY,
            OperationError::Malformed(_) => Errno::EINVAL,
        }
    }
}

/// The error number of a power operation that ended like this; `None` if it was done. What a slot refuses because of its state is
/// what it would have refused at once a moment later (ZP-09).
#[must_use]
pub const fn errno_of(ended: Finished) -> Option<Errno> {
    match ended {
        Finished::Done => None,
        Finished::Cancelled => Some(Errno::EINTR),
        Finished::WrongState | Finished::PowerFault | Finished::NoLink | Finished::NotConfigured => {
            Some(Errno::EIO)
        }
        Finished::NoCard | Finished::LatchOpen | Finished::Lost | Finished::ShutDown => Some(Errno::ENODEV),
        Finished::TooLate | Finished::TooMany => Some(Errno::EBUSY),
    }
}

const fn state(configuration: Configuration) -> &'static str {
    match configuration {
        Configuration::Standby => "in standby",
        Configuration::Configured => "configured",
        Configuration::Reserved => "reserved",
    }
}
