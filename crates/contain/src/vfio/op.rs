//! The structure of an operation: `argsz`, `flags`, `op`, and for an injection the error.

use crate::inject::ErrorInjection;
use crate::plan::Traffic;
use pci_core::Errno;

/// The part that every operation has, in bytes.
pub const OP_LENGTH: usize = 12;
/// With the error of an injection: `type` and `func` at 16 and 20, `addr` and `mask` at 24 and 32, in bytes.
pub const OP_LENGTH_INJECT: usize = 40;

/// An operation on a PE, with vfio's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeOp {
    /// 0: does nothing.
    Disable,
    /// 1: the consumer takes the PE over, unfrozen.
    Enable,
    /// 2 and 3: thaws accesses to the functions, or by them.
    Unfreeze(Traffic),
    /// 4: answers with a [`PeAnswer`](super::PeAnswer).
    GetState,
    /// 5: ends a reset.
    ResetDeactivate,
    /// 6: begins a hot reset.
    ResetHot,
    /// 7: begins a fundamental reset.
    ResetFundamental,
    /// 8: restores bridges and BARs after a reset.
    Configure,
    /// 9: injects an error.
    InjectError(ErrorInjection),
}

impl PeOp {
    /// Decodes the bytes at which a consumer's pointer points, in the machine's byte order; they end where they cannot be read.
    ///
    /// # Errors
    /// `EFAULT` if they cannot be read as far as the operation needs; `EINVAL` for an `argsz` that is too short, flags, an
    /// unknown operation, and an error type or function that does not exist.
    pub fn decode(bytes: &[u8]) -> Result<PeOp, Errno> {
        let argsz = word(bytes, 0).ok_or(Errno::EFAULT)?;
        let flags = word(bytes, 4).ok_or(Errno::EFAULT)?;
        let op = word(bytes, 8).ok_or(Errno::EFAULT)?;
        let argsz = usize::try_from(argsz).map_err(|_| Errno::EINVAL)?;
        if argsz < OP_LENGTH || flags != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(match op {
            0 => PeOp::Disable,
            1 => PeOp::Enable,
            2 => PeOp::Unfreeze(Traffic::Mmio),
            3 => PeOp::Unfreeze(Traffic::Dma),
            4 => PeOp::GetState,
            5 => PeOp::ResetDeactivate,
            6 => PeOp::ResetHot,
            7 => PeOp::ResetFundamental,
            8 => PeOp::Configure,
            9 if argsz < OP_LENGTH_INJECT => return Err(Errno::EINVAL),
            9 => PeOp::InjectError(injection(bytes)?),
            _ => return Err(Errno::EINVAL),
        })
    }
}

fn injection(bytes: &[u8]) -> Result<ErrorInjection, Errno> {
    let read = || {
        let (width, function) = (word(bytes, 16)?, word(bytes, 20)?);
        Some((width, function, long(bytes, 24)?, long(bytes, 32)?))
    };
    let (width, function, address, mask) = read().ok_or(Errno::EFAULT)?;
    ErrorInjection::from_numbers(width, function, address, mask).map_err(|error| error.errno())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}
