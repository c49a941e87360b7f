//! What a thread does while it waits, and what for.

use crate::{AccessKind, Reason};

/// What a thread that waits is doing. The gate, if there is one, is written down beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// To be let into the gate.
    Enter(AccessKind),
    /// For its turn to close the gate.
    Turn(Reason),
    /// As the gate's closer, for what is inside; `long`: also for long passes.
    Drain { reason: Reason, long: bool },
    /// For what is inside a gate that was retired.
    Retire,
    /// With the gate closed, for a time to pass.
    Delay(Reason),
    #[cfg_attr(any(loom, shuttle), allow(dead_code, reason = "a checker sees who waits for a lock itself"))]
    /// For a lock that `holder`'s thread (the address of its record) took last.
    Lock { name: &'static str, holder: usize },
    /// For the readers of a value that was replaced, which name `node` in their slots.
    Readers { node: usize },
    /// Something outside this crate.
    Other { doing: &'static str, waits_for: &'static str },
}

impl Operation {
    /// What it does, in words for a table.
    pub(crate) fn doing(self) -> String {
        match self {
            Operation::Enter(kind) => format!("enter {}", kind_name(kind)),
            Operation::Turn(reason) | Operation::Drain { reason, .. } => format!("close for {reason}"),
            Operation::Retire => String::from("retire"),
            Operation::Delay(reason) => reason.to_string(),
            Operation::Lock { .. } => String::from("take a lock"),
            Operation::Readers { .. } => String::from("replace a value"),
            Operation::Other { doing, .. } => String::from(doing),
        }
    }

    /// What it waits for, in words for a table.
    pub(crate) fn waits_for(self) -> String {
        match self {
            Operation::Enter(_) => String::from("the gate to open"),
            Operation::Turn(_) => String::from("its turn to close"),
            Operation::Drain { .. } | Operation::Retire => String::from("what is inside to leave"),
            Operation::Delay(_) => String::from("a delay to pass"),
            Operation::Lock { name, .. } => format!("lock {name}"),
            Operation::Readers { .. } => String::from("its readers to leave"),
            Operation::Other { waits_for, .. } => String::from(waits_for),
        }
    }

    /// True if this thread is the gate's owner while it waits.
    pub(crate) fn owns(self) -> bool {
        matches!(self, Operation::Drain { .. } | Operation::Delay(_))
    }
}

/// The name of a kind of access, as the table shows it.
pub(super) fn kind_name(kind: AccessKind) -> &'static str {
    match kind {
        AccessKind::Config => "config",
        AccessKind::Bar => "BAR",
        AccessKind::Dma => "DMA",
        AccessKind::Interrupt => "interrupt",
        AccessKind::Fault => "fault",
    }
}
