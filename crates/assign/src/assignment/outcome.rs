//! What a consumer is told when the function did not do what it asked for.

use gate::{CloseError, Refusal};
use pci_core::{AccessError, NoAnswer, ResetError};

use crate::dma::closing;
use crate::error::{Errno, RequestError};

/// What a consumer is told: a function that is frozen or gone answers all-ones and drops writes, without an error.
pub(super) fn access_failed(error: &AccessError) -> Result<(), RequestError> {
    match error {
        AccessError::Refused(Refusal::Frozen | Refusal::Gone | Refusal::StaleEpoch { .. }) => Ok(()),
        AccessError::Refused(Refusal::Blocked(_)) => {
            Err(RequestError::new(Errno::ETIMEDOUT, "the function was busy past the deadline"))
        }
        AccessError::MemoryDisabled(_) => Err(RequestError::new(Errno::EIO, "memory decoding is disabled")),
        AccessError::NotPlain(_) => {
            Err(RequestError::new(Errno::EIO, "the device is reached by loads and block stores only"))
        }
        AccessError::Block(_) => Err(RequestError::new(Errno::EIO, "the device did not take the block")),
        AccessError::Asleep(_) => Err(RequestError::new(Errno::EIO, "the function is in D3")),
        // What is behind the function is dead: it is about to be frozen, and answers as if it were.
        AccessError::NoAnswer(NoAnswer::Failed(_) | NoAnswer::Away(_)) => Ok(()),
        AccessError::NoAnswer(NoAnswer::Refused) => {
            Err(RequestError::new(Errno::EIO, "the device refuses the access"))
        }
        AccessError::Injected => Err(RequestError::new(Errno::EIO, "a fault was injected")),
        AccessError::DevicePanicked => Err(RequestError::new(Errno::EIO, "the device model has panicked")),
        AccessError::OutOfRange | AccessError::NoWindow(_) | AccessError::NoRegion(_) => {
            Err(RequestError::invalid("the access is outside the region"))
        }
        AccessError::Misaligned => Err(RequestError::invalid("the access is not aligned")),
        AccessError::Config(status) => {
            Err(RequestError::new(status.errno(), "the configuration mechanism refused the access"))
        }
        AccessError::ReadOnly => Err(RequestError::invalid("the region cannot be written")),
        AccessError::NotReset(error) => Err(reset_failed(error)),
        AccessError::PowerNotChanged(error) | AccessError::StillMapped(error) => Err(closing(error)),
        AccessError::NeededByVirtualFunctions => {
            Err(RequestError::new(Errno::EBUSY, "virtual functions depend on the function"))
        }
    }
}

pub(super) fn reset_failed(error: &ResetError) -> RequestError {
    match error {
        ResetError::Unsupported(_) => RequestError::invalid("the function has no such reset"),
        ResetError::DevicePanicked(_) => {
            RequestError::new(Errno::EIO, "the device model has panicked over its reset")
        }
        ResetError::NotQuiesced { cause: CloseError::Gone, .. } => {
            RequestError::new(Errno::ENODEV, "the function is gone")
        }
        ResetError::NotQuiesced { .. } => {
            RequestError::new(Errno::EAGAIN, "the function could not be made quiet in time")
        }
    }
}
