//! What makes somebody believe that a function has failed.

use gate::AccessKind;
use std::fmt;

/// A sign that a function has failed. It is a suspicion: whoever hears of it looks at the function before it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorSign {
    /// A register that cannot be all-ones was read as all-ones (EEH-06).
    AllOnes {
        /// Configuration space, or a BAR.
        kind: AccessKind,
        /// Offset of the first byte that was read.
        offset: u64,
    },
    /// The device says so, and why.
    DeviceFault(&'static str),
    /// The device model, or a thread of it, has panicked.
    DevicePanicked,
    /// The device used an address that its consumer has not mapped, or not for this.
    DmaFault {
        /// First I/O address.
        iova: u64,
    },
    /// An error callback of the function's driver has panicked.
    DriverPanicked,
    /// Somebody has injected an error, by this name.
    Injected(&'static str),
    /// An operator asks for it, or a program, for this reason.
    Forced(&'static str),
}

impl fmt::Display for ErrorSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorSign::AllOnes { kind: AccessKind::Config, offset } => {
                write!(f, "configuration register {offset:#x} reads all-ones")
            }
            ErrorSign::AllOnes { offset, .. } => write!(f, "register {offset:#x} reads all-ones"),
            ErrorSign::DeviceFault(what) => write!(f, "the device has failed: {what}"),
            ErrorSign::DevicePanicked => f.write_str("the device model has panicked"),
            ErrorSign::DmaFault { iova } => write!(f, "DMA to {iova:#x}, which is not mapped for it"),
            ErrorSign::DriverPanicked => f.write_str("the driver has panicked"),
            ErrorSign::Injected(name) => write!(f, "injected: {name}"),
            ErrorSign::Forced(why) => write!(f, "forced: {why}"),
        }
    }
}
