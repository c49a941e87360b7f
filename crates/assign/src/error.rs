//! What a consumer is told when a request is refused, and what a device model is told when DMA fails.

use std::fmt;

use thiserror::Error;

/// An error number as Linux numbers them on x86-64: what travels in a vfio-user error reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// Nothing there to act on.
    pub const ENOENT: Errno = Errno(libc::ENOENT);
    /// The device did not answer, or its memory is disabled.
    pub const EIO: Errno = Errno(libc::EIO);
    /// Not a valid file descriptor.
    pub const EBADF: Errno = Errno(libc::EBADF);
    /// Contention; try again.
    pub const EAGAIN: Errno = Errno(libc::EAGAIN);
    /// Memory or address space ran out.
    pub const ENOMEM: Errno = Errno(libc::ENOMEM);
    /// Somebody else uses it.
    pub const EBUSY: Errno = Errno(libc::EBUSY);
    /// It is there already, or overlaps what is.
    pub const EEXIST: Errno = Errno(libc::EEXIST);
    /// The function is gone, or the file cannot be mapped.
    pub const ENODEV: Errno = Errno(libc::ENODEV);
    /// The request is malformed or out of range.
    pub const EINVAL: Errno = Errno(libc::EINVAL);
    /// The index does not offer this action.
    pub const ENOTTY: Errno = Errno(libc::ENOTTY);
    /// A limit was reached.
    pub const ENOSPC: Errno = Errno(libc::ENOSPC);
    /// The deadline passed.
    pub const ETIMEDOUT: Errno = Errno(libc::ETIMEDOUT);

    /// The number, positive.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// The number of a system call that failed.
    pub(crate) fn of(error: &std::io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<Errno> for i32 {
    fn from(errno: Errno) -> i32 {
        errno.0
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Errno {
        Errno(errno.raw_os_error())
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
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
    /// The caller asked for bytes beyond its slice.
    #[error("the access is outside the slice")]
    OutOfRange,
    /// A single-copy access needs a naturally aligned address.
    #[error("the address is not aligned")]
    Misaligned,
}
