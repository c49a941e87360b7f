//! What a function reports as it happens.

use crate::config::{Change, ResetKind};
use crate::error::ResetError;
use crate::power::DeviceState;
use crate::power_step::PowerStep;
use crate::reset_step::ResetStep;
use gate::CloseError;

/// Something that an operator, or the consumer's side, wants to know of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FunctionEvent<'a> {
    /// The function was reset.
    Reset {
        /// Why.
        kind: ResetKind,
    },
    /// The function was not reset and is as it was.
    ResetFailed {
        /// Which reset.
        kind: ResetKind,
        /// What stood in the way; a drain that missed its deadline names the accesses.
        error: &'a ResetError,
    },
    /// The power state changed.
    PowerChanged(Change<DeviceState>),
    /// The power state was not changed.
    PowerNotChanged {
        /// What stood in the way.
        error: &'a CloseError,
    },
    /// A step on the way through a power change, or the function's wish for one.
    Power(PowerStep),
    /// A step on the way through a reset.
    ResetStep(ResetStep),
    /// A user wrote to configuration space past the driver, for the first time (CFG-14).
    WrittenByUser {
        /// Offset of the first byte.
        offset: u16,
    },
    /// A user wrote to registers that a driver keeps for itself, for the first time (CFG-14).
    ExclusiveRangeWritten {
        /// Offset of the first byte of the write.
        offset: u16,
        /// The driver.
        owner: &'a str,
    },
    /// Somebody goes on reading a frozen function: so many reads of it were answered with all-ones since it was frozen (EEH-08).
    /// Told once for each freeze.
    ReadWhileFrozen {
        /// Reads.
        reads: u64,
    },
    /// The function was frozen.
    Frozen {
        /// Why.
        why: &'a str,
    },
}

/// Who is told of the events of a function.
///
/// Called with the gate as the event left it, on the thread that caused the event; [`FunctionEvent::Frozen`] may come
/// from a thread that holds a pass. So it never waits.
pub trait Observer: Send + Sync {
    /// `function` is the function's name.
    fn event(&self, function: &str, event: &FunctionEvent<'_>);
}
