//! How a reset fails.

use crate::act::MethodError;
use gate::CloseError;
use pci_core::Errno;
use pci_spec::Bdf;
use power::PowerError;
use thiserror::Error;

/// Why nothing was reset.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// Nothing is at this address, or not any more.
    #[error("there is no such function")]
    NotThere,
    /// No method is enabled that the function has, or it answered after none (RST-02, RST-10).
    #[error("no reset method is left to try; see which the function has and which are enabled")]
    NoMethod,
    /// There is no bridge above, the reset would reach something that does not survive it, or a port masks it
    /// (RST-15).
    #[error("the bus cannot be reset: it has no bridge, or something on it does not survive a reset")]
    NotResettable,
    /// Somebody is inside or ahead, and the caller does not wait. Nothing was changed (RST-12).
    #[error("{function} is in use; nothing was changed")]
    Busy {
        /// Which function.
        function: String,
        /// An access is in flight, as opposed to somebody else who has it closed.
        in_use: bool,
    },
    /// Somebody was inside or ahead past the deadline. Nothing was changed.
    #[error("{function} could not be closed: {cause}; nothing was changed")]
    NotClosed {
        /// Which function.
        function: String,
        /// What stood in the way.
        #[source]
        cause: CloseError,
    },
    /// Something was plugged in or removed below the bridge since the caller looked. Nothing was changed.
    #[error("what is below the bridge has changed meanwhile; nothing was changed, look again")]
    Changed,
    /// The function has no power and could not be given any. Nothing was reset.
    #[error("the function could not be given power: {0}")]
    NoPower(#[from] PowerError),
    /// The function was removed during the reset.
    #[error("the function was removed during the reset")]
    Removed,
    /// A function did not answer after the reset, or another one answered in its place (RST-10).
    #[error("{0} did not come back after the reset")]
    NotBack(Bdf),
    /// The deadline passed before the reset was through. What was reset is not restored.
    #[error("the reset was not through at its deadline")]
    Late,
    /// A method failed in a way that ends the reset; the state was restored.
    #[error("the reset failed: {0}")]
    Failed(Errno),
    /// The caller may not do this (RST-04).
    #[error("only an administrator may reset what is below a bridge")]
    NotPermitted,
    /// What was written is no request to reset (RST-04).
    #[error("only \"1\" asks for a reset")]
    NotARequest,
}

impl Error {
    /// What a consumer is told.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Error::NotThere => Errno::ENODEV,
            Error::NoMethod | Error::NotResettable | Error::Removed | Error::NotBack(_) => Errno::ENOTTY,
            Error::Busy { .. } | Error::Changed => Errno::EAGAIN,
            Error::NotClosed { cause: CloseError::Gone, .. } => Errno::ENODEV,
            Error::NotClosed { .. } | Error::Late => Errno::ETIMEDOUT,
            Error::NoPower(error) => error.errno(),
            Error::Failed(errno) => *errno,
            Error::NotPermitted => Errno::EPERM,
            Error::NotARequest => Errno::EINVAL,
        }
    }
}

impl From<MethodError> for Error {
    fn from(error: MethodError) -> Error {
        match error {
            MethodError::Next => Error::NoMethod,
            MethodError::Stop(errno) => Error::Failed(errno),
            MethodError::Gone => Error::Removed,
        }
    }
}
