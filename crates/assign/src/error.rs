//! What a consumer is told when a request is refused, and what a device model is told when DMA fails.

use thiserror::Error;

pub use pci_core::Errno;

/// The number of a system call that failed.
pub(crate) fn of_system(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// A consumer's request was refused; nothing changed unless the request's own documentation says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{reason} ({errno})")]
pub struct RequestError {
    /// What the consumer is told.
    pub errno: Errno,
    /// What the operator is told. A constant: a client never chooses what is logged.
    pub reason: &'static str,
}

impl RequestError {
    /// A refusal with its reason.
    pub const fn new(errno: Errno, reason: &'static str) -> RequestError {
        RequestError { errno, reason }
    }

    pub(crate) const fn invalid(reason: &'static str) -> RequestError {
        RequestError::new(Errno::EINVAL, reason)
    }
}

impl From<RequestError> for Errno {
    fn from(error: RequestError) -> Errno {
        error.errno
    }
}

/// A device's access to the consumer's memory failed. No bytes past the failing one were moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DmaError {
    /// COMMAND.Bus Master Enable is clear: the function may not access memory.
    #[error("bus mastering is disabled")]
    BusMasterDisabled,
    /// Part of the range is in no mapping (or, for one contiguous slice, not in a single one).
    #[error("the address is not mapped")]
    NotMapped,
    /// The mapping does not permit this direction.
    #[error("the mapping does not permit this access")]
    Denied,
    /// The consumer mapped the range without a file: there is no memory to reach.
    #[error("the mapping has no memory behind it")]
    NoMemory,
    /// The consumer shrank its file under the mapping: what was read is zeroes, what was written is lost.
    #[error("the client truncated its memory")]
    Truncated,
    /// The mapping was taken away while the access held it (a timed-out unmap, a detach).
    #[error("the mapping was severed")]
    Severed,
    /// Somebody injects faults, and this access was to fail ([`DmaTap`](crate::DmaTap)).
    #[error("the access failed because a fault was injected")]
    Injected,
    /// The caller asked for bytes beyond its slice.
    #[error("the access is outside the slice")]
    OutOfRange,
    /// A single-copy access needs a naturally aligned address.
    #[error("the address is not aligned")]
    Misaligned,
}
