//! How a recovery goes.

use super::Doom;
use crate::plan::{Call, FunctionId};

/// The way a recovery takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Nobody there knows of errors: drivers are unbound, everything is reset, drivers are probed again (EEH-13).
    HotPlug,
    /// Thawed, without a reset (EEH-14).
    CanRecover,
    /// Reset; only drivers that could not be told of it are unbound (EEH-15).
    NeedReset,
}

/// What is written down of the hardware's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Of an error from which there may be a way back (EEH-11).
    Temporary,
    /// Of one from which there is none (EEH-17).
    Permanent,
}

/// Something that those who watch a recovery want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It begins.
    Began,
    /// It takes this way.
    Taking(Path),
    /// A reset begins; the number counts from 1.
    Resetting {
        /// From 1 to [`RESET_ATTEMPTS`](crate::plan::RESET_ATTEMPTS).
        nth: u32,
    },
    /// There was another error before the recovery was through.
    FrozenAgain,
    /// A call did not return in time, or panicked: it counts as *disconnect*, and this function is not called again.
    Lost(FunctionId, Call),
    /// This function alone is taken out; the others go on.
    TakenOut(FunctionId),
    /// It fails: from here on it is about telling everybody.
    Failing(Doom),
}
