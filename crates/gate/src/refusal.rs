//! What an access is, why a gate closes, and the ways in which entering and closing can fail.

use crate::{Epoch, Inside};
use thiserror::Error;

/// What an access touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessKind {
    /// Configuration space.
    Config,
    /// A BAR or the expansion ROM.
    Bar,
    /// Memory of the consumer, by the device.
    Dma,
    /// An interrupt on its way to the consumer.
    Interrupt,
    /// A fault on a mapping of a BAR.
    Fault,
}

/// Why a gate is closed; decides what the refusal means to each kind of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A reset of the function.
    Reset,
    /// A change of the power state.
    PowerChange,
    /// The drain after a freeze.
    Freeze,
    /// The function is being removed.
    Unplug,
    /// Error recovery.
    Recovery,
    /// The device behind the function is being exchanged.
    OpsSwap,
    /// A DMA mapping is being removed or added.
    DmaUnmap,
    /// Interrupts are being wired, or unwired, for the consumer.
    SetIrqs,
    /// Mappings of the function's memory are being taken away or brought back.
    Remap,
}

impl Reason {
    const ALL: [Reason; 9] = [
        Reason::Reset,
        Reason::PowerChange,
        Reason::Freeze,
        Reason::Unplug,
        Reason::Recovery,
        Reason::OpsSwap,
        Reason::DmaUnmap,
        Reason::SetIrqs,
        Reason::Remap,
    ];

    /// The word has four bits for it.
    pub(crate) fn code(self) -> u8 {
        const { assert!(Reason::ALL.len() <= 1 << 4) };
        self as u8
    }

    /// The reason of a code made by `code`; any other code reads as the last reason.
    pub(crate) fn from_code(code: u8) -> Reason {
        *Reason::ALL.get(usize::from(code)).unwrap_or(&Reason::Remap)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reason::Reset => "reset",
            Reason::PowerChange => "power change",
            Reason::Freeze => "freeze",
            Reason::Unplug => "unplug",
            Reason::Recovery => "recovery",
            Reason::OpsSwap => "exchange of the device",
            Reason::DmaUnmap => "change of DMA mappings",
            Reason::SetIrqs => "change of interrupts",
            Reason::Remap => "change of mappings",
        })
    }
}

/// Why an access was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Closed for now; for the waiting forms: still closed at the deadline.
    #[error("the function is blocked for a {0}; try again later")]
    Blocked(Reason),
    /// Frozen after an error, until somebody thaws it.
    #[error("the function is frozen")]
    Frozen,
    /// Removed for good.
    #[error("the function is gone")]
    Gone,
    /// The handle belongs to a device that was in this place before.
    #[error("the handle is of {handle}, the function is now in {current}")]
    StaleEpoch {
        /// The epoch the handle was made in.
        handle: Epoch,
        /// The gate's epoch now.
        current: Epoch,
    },
}

/// Why a gate could not be closed by its deadline; the gate is as it was before the attempt.
#[derive(Clone, Debug, Error)]
pub enum CloseError {
    /// Retired, before or during the attempt.
    #[error("the function is gone")]
    Gone,
    /// Other closers were ahead until the deadline.
    #[error("another closer held the function past the deadline")]
    Contended {
        /// What the closer that was in at the deadline does, if one was.
        holder: Option<Reason>,
    },
    /// Accesses did not leave by the deadline.
    #[error("{} accesses did not end by the deadline", .inside.len())]
    Drain {
        /// The accesses still inside at the deadline.
        inside: Vec<Inside>,
    },
}

/// Why `try_close` could not close at once; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Busy {
    /// An access is inside or just entering.
    #[error("an access is in flight")]
    Inside,
    /// Another closer has the gate.
    #[error("the function is closed for a {0}")]
    Closed(Reason),
    /// Other closers, or accesses that they kept waiting, come first.
    #[error("others are waiting for the function")]
    Queued,
    /// Retired.
    #[error("the function is gone")]
    Gone,
}
