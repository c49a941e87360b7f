//! The EEH operations of vfio: how the consumer of a PE that is passed through deals with its errors itself (EEH-21, EEH-24).
//!
//! * [`PeOp`] is one operation, as `VFIO_EEH_PE_OP` takes it; [`PeAnswer`] are the numbers that it answers with.
//! * [`PassedPe`] is what operations act on; [`PeOps`] decodes, carries out, and answers. [`AssignedPe`] is the one of containment.
//!
//! What this module does **not** do: it knows no file descriptor, and does not decide when a PE freezes.
//!
//! # Concurrency
//! Operations may come from several threads at once; what two of them do to one PE at the same time is decided by its gates and by
//! the front of containment. An operation waits for gates and for the times of a reset, with nothing held.

mod assigned;
mod op;
mod ops;
mod state;

pub use assigned::AssignedPe;
pub use op::{OP_LENGTH, OP_LENGTH_INJECT, PeOp};
pub use ops::{PassedPe, PeOps, is_supported};
pub use state::{PeAnswer, PeStatus};
