//! What happens on the way through a reset, as an operator or a consumer's side wants to know it.

use crate::power_step::Progress;
use std::fmt;

/// One step of a reset. The gate is closed at each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResetStep {
    /// The function is about to be reset, and its state is about to be saved: whoever drives it stops (RST-11).
    /// Nothing is in flight any more.
    Prepare,
    /// Requests of the function are still outstanding; the reset goes on all the same (CFG-17).
    TransactionsPending,
    /// The function takes long to answer, or did (RST-10).
    Readiness(Progress),
    /// The link to the function was down and was trained again, with this result.
    LinkRetrained {
        /// Whether it is up now.
        up: bool,
    },
    /// A register does not have the value that it had before.
    NotRestored {
        /// Offset of the register, in bytes.
        register: u16,
        /// The value before.
        saved: u32,
        /// The value that it has now.
        found: u32,
    },
    /// The reset has ended and what could be restored is; whoever drives the function may go on (RST-11).
    Done {
        /// Whether the function was reset.
        reset: bool,
    },
}

impl fmt::Display for ResetStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResetStep::Prepare => f.write_str("about to be reset"),
            ResetStep::TransactionsPending => f.write_str("transactions still pending; resetting anyway"),
            ResetStep::Readiness(progress) => progress.fmt(f),
            ResetStep::LinkRetrained { up: true } => f.write_str("link down; trained again"),
            ResetStep::LinkRetrained { up: false } => f.write_str("link down; training it again failed"),
            ResetStep::NotRestored { register, saved, found } => {
                write!(f, "register {register:#05x} is {found:#010x} after the reset and was {saved:#010x}")
            }
            ResetStep::Done { reset: true } => f.write_str("reset"),
            ResetStep::Done { reset: false } => f.write_str("not reset"),
        }
    }
}
