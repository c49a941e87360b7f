//! How a power change fails.

use crate::plan::Unreachable;
use crate::ready::NotReady;
use gate::Gone;
use pci_core::Errno;
use thiserror::Error;

/// Why a function did not change its power state.
#[derive(Clone, Debug, Error)]
pub enum PowerError {
    /// There is no function at the address.
    #[error("there is no function at this address")]
    NoFunction,
    /// The function does not go there (PWR-02); nothing was done.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// Virtual functions depend on the function, so it does not go to D3 (VF-48); nothing was done.
    #[error("{0} virtual functions depend on the function")]
    HasVirtualFunctions(usize),
    /// Others hold the function, or accesses did not end by the deadline; nothing was done.
    #[error("the function is in use: {0}")]
    InUse(String),
    /// Nothing answers: the function counts as being in D3cold (PWR-03).
    #[error("the function does not answer; it counts as being in D3cold")]
    Inaccessible,
    /// Firmware, or the power of the slot, failed.
    #[error("the platform failed: {0}")]
    Platform(Errno),
    /// The function was sent to D0 and did not answer (PWR-05).
    #[error(transparent)]
    NotReady(NotReady),
    /// The function, or a bridge above it, was removed meanwhile.
    #[error("the function is gone")]
    Gone,
}

impl PowerError {
    /// The error number.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            PowerError::Unreachable(error) => error.errno(),
            PowerError::HasVirtualFunctions(_) => Errno::EBUSY,
            PowerError::InUse(_) => Errno::EAGAIN,
            PowerError::Inaccessible => Errno::EIO,
            PowerError::Platform(errno) => *errno,
            PowerError::NotReady(_) => Errno::ENOTTY,
            PowerError::NoFunction | PowerError::Gone => Errno::ENODEV,
        }
    }
}

impl From<Gone> for PowerError {
    fn from(_: Gone) -> PowerError {
        PowerError::Gone
    }
}

impl From<NotReady> for PowerError {
    fn from(error: NotReady) -> PowerError {
        match error {
            NotReady::Gone => PowerError::Gone,
            NotReady::TimedOut(_) | NotReady::NoLink | NotReady::Disconnected => PowerError::NotReady(error),
        }
    }
}
