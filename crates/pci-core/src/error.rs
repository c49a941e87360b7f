//! How an access or a reset fails, as the consumer sees it.

use crate::access::{ConfigStatus, Errno};
use crate::block::BlockRefused;
use crate::config::{BarIndex, ResetKind};
use crate::function::Panicked;
use crate::waits::NoAnswer;
use gate::{CloseError, Refusal};
use thiserror::Error;

/// Why an access did not take place, or what it asked for was not done. A failed read has filled its buffer with
/// all-ones (CFG-03).
#[derive(Clone, Debug, Error)]
pub enum AccessError {
    /// The gate did not let it in.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It does not lie within the configuration space or the window.
    #[error("the access does not lie within the region")]
    OutOfRange,
    /// A register that is not aligned to the width of the access (CFG-02).
    #[error("the register is not aligned to the width of the access")]
    Misaligned,
    /// The configuration mechanism, or the function behind it, did not take the access.
    #[error("the configuration access failed: {0}")]
    Config(#[from] ConfigStatus),
    /// The function has no such BAR, or no ROM.
    #[error("the function has no {0}")]
    NoWindow(BarIndex),
    /// The window is not decoded: COMMAND.MEM is 0 or the function is in D3hot (VF-17).
    #[error("{0} is not decoded: memory is disabled or the function is in D3hot")]
    MemoryDisabled(BarIndex),
    /// The ROM (VF-17), or a region of the device's own, cannot be written.
    #[error("the region is read-only")]
    ReadOnly,
    /// A plain access to a device that is reached by loads and block stores only
    /// ([`BarAccess::BlockStore`](crate::BarAccess::BlockStore)).
    #[error("{0} takes no plain accesses: the device is reached by loads and block stores")]
    NotPlain(BarIndex),
    /// The device did not take a block.
    #[error("the block was not stored: {0}")]
    Block(#[from] BlockRefused),
    /// The device has no region of its own with this number.
    #[error("the function has no region {0}")]
    NoRegion(u32),
    /// A region of the device's own, of a function that is in D3 (VF-17).
    #[error("region {0} cannot be reached: the function is in D3")]
    Asleep(u32),
    /// The device did not answer an access that had to be waited for.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// Somebody injects faults, and this access was to fail.
    #[error("the access failed because a fault was injected")]
    Injected,
    /// The device model panicked over the access. The function was frozen.
    #[error("the device model has panicked")]
    DevicePanicked,
    /// The write was stored, and memory is decoded as it says, but what consumers had mapped before may reach the device
    /// still: the accesses inside did not end in time. It is taken away as soon as they have, or with the next write to
    /// configuration space, reset or power change, whichever comes first; the same write again waits for it.
    #[error("the write was stored but what is mapped was not taken away: {0}")]
    StillMapped(#[source] CloseError),
    /// The write was stored, but the reset it asked for was not done.
    #[error("the write was stored but: {0}")]
    NotReset(#[from] ResetError),
    /// The write was stored, but the power state it asked for was not entered; the function stays in the one it was in
    /// (PWR-06).
    #[error("the write was stored but the power state did not change: {0}")]
    PowerNotChanged(#[source] CloseError),
    /// The write was stored, but the function does not go to D3: virtual functions depend on it (VF-48).
    #[error("the write was stored but the function stays in its power state: virtual functions depend on it")]
    NeededByVirtualFunctions,
}

impl From<Panicked> for AccessError {
    #[cold]
    fn from(_panicked: Panicked) -> AccessError {
        AccessError::DevicePanicked
    }
}

impl AccessError {
    /// The error number that a user of a Linux interface is told (CFG-02).
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            AccessError::Refused(refusal) => match refusal {
                Refusal::Blocked(_) => Errno::ETIMEDOUT,
                Refusal::Frozen => Errno::EIO,
                Refusal::Gone | Refusal::StaleEpoch { .. } => Errno::ENODEV,
            },
            AccessError::Config(status) => status.errno(),
            AccessError::MemoryDisabled(_)
            | AccessError::Asleep(_)
            | AccessError::NotPlain(_)
            | AccessError::NoAnswer(_)
            | AccessError::Injected
            | AccessError::DevicePanicked
            | AccessError::Block(_) => Errno::EIO,
            AccessError::OutOfRange
            | AccessError::Misaligned
            | AccessError::NoWindow(_)
            | AccessError::NoRegion(_)
            | AccessError::ReadOnly => Errno::EINVAL,
            AccessError::NotReset(error) => error.errno(),
            AccessError::PowerNotChanged(cause) | AccessError::StillMapped(cause) => not_closed(cause),
            AccessError::NeededByVirtualFunctions => Errno::EBUSY,
        }
    }
}

/// Contention and accesses that did not end are worth another try; a function that is gone is not.
const fn not_closed(cause: &CloseError) -> Errno {
    match cause {
        CloseError::Gone => Errno::ENODEV,
        CloseError::Contended { .. } | CloseError::Drain { .. } => Errno::EAGAIN,
    }
}

/// Why a function was not reset; it is as it was, unless its device panicked.
#[derive(Clone, Debug, Error)]
pub enum ResetError {
    /// The function does not offer this kind of reset.
    #[error("the function has no {0}")]
    Unsupported(ResetKind),
    /// The device model panicked over the reset. The function was frozen, and is in no state that anybody knows.
    #[error("{0} not done: the device model has panicked")]
    DevicePanicked(ResetKind),
    /// What is in flight did not end by the deadline, others were ahead, or the function is gone.
    #[error("{kind} not done, the function is as it was: {cause}")]
    NotQuiesced {
        /// The reset that was asked for.
        kind: ResetKind,
        /// What stood in the way.
        #[source]
        cause: CloseError,
    },
}

impl ResetError {
    /// The error number that a user of a Linux interface is told (RST-02, RST-12).
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            ResetError::Unsupported(_) => Errno::ENOTTY,
            ResetError::DevicePanicked(_) => Errno::EIO,
            ResetError::NotQuiesced { cause, .. } => not_closed(cause),
        }
    }
}
