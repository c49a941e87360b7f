//! How an access or a reset fails, as the consumer sees it.

use crate::config::{BarIndex, ResetKind};
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
    /// The function has no such BAR, or no ROM.
    #[error("the function has no {0}")]
    NoWindow(BarIndex),
    /// The window is not decoded: COMMAND.MEM is 0 or the function is in D3hot (VF-17).
    #[error("{0} is not decoded: memory is disabled or the function is in D3hot")]
    MemoryDisabled(BarIndex),
    /// The ROM cannot be written (VF-17).
    #[error("the ROM is read-only")]
    ReadOnly,
    /// The write was stored, but the reset it asked for was not done.
    #[error("the write was stored but: {0}")]
    NotReset(#[from] ResetError),
    /// The write was stored, but the power state it asked for was not entered; the function stays in the one it was in
    /// (PWR-06).
    #[error("the write was stored but the power state did not change: {0}")]
    PowerNotChanged(#[source] CloseError),
}

/// Why a function was not reset; it is as it was.
#[derive(Clone, Debug, Error)]
pub enum ResetError {
    /// The function does not offer this kind of reset.
    #[error("the function has no {0}")]
    Unsupported(ResetKind),
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
