//! Why an error was not injected.

use pci_core::Errno;
use thiserror::Error;

/// Why an error was not injected into a PE. Nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InjectionError {
    /// Nobody knows the PE, or it has gone.
    #[error("there is no such PE")]
    NoPe,
    /// No function there can have such an error.
    #[error("no function of the PE can have such an error")]
    Unsupported,
    /// No function there has that address.
    #[error("no function of the PE has that address")]
    NoAddress,
    /// Errors do not count at present, so there is nothing that could inject one.
    #[error("containment is switched off")]
    Off,
}

impl InjectionError {
    /// As Linux's interfaces answer.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            InjectionError::NoPe => Errno::ENODEV,
            InjectionError::Unsupported => Errno::ERANGE,
            InjectionError::NoAddress => Errno::EIO,
            InjectionError::Off => Errno::ENXIO,
        }
    }
}
