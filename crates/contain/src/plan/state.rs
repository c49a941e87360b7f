//! Where a recovery is.

use crate::report::Outcome;
use std::time::Duration;

use super::Traffic;

/// Whose drivers are unbound before a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All of them (EEH-13).
    Everybody,
    /// Those that cannot be told of the reset, but for bridges (EEH-15, EEH-18).
    WhoCannotBeTold,
}

/// What everybody is called for, parents before children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There was an error.
    ErrorDetected,
    /// Registers can be reached again.
    MmioEnabled,
    /// Drivers let go before a reset.
    Unbind(Whom),
    /// Models save their state before a reset.
    Save,
    /// Drivers are looked for after a reset.
    Probe,
    /// There was a reset.
    SlotReset,
    /// Drivers of virtual functions are looked for (EEH-16).
    ProbeVirtual,
    /// Go on.
    Resume,
    /// There is no way back.
    PermanentFailure,
    /// The hardware has corrected an error.
    CorErrorDetected,
}

impl Phase {
    /// Whether the answers decide how the recovery goes on. Where they do not, a function whose call is lost is taken out
    /// alone: the others have been told to go on, or have a life that does not depend on it.
    #[must_use]
    pub const fn votes(self) -> bool {
        match self {
            Phase::ErrorDetected | Phase::MmioEnabled | Phase::Unbind(_) | Phase::Save | Phase::SlotReset => {
                true
            }
            Phase::Probe
            | Phase::ProbeVirtual
            | Phase::Resume
            | Phase::PermanentFailure
            | Phase::CorErrorDetected => false,
        }
    }

    /// Whether it is for functions that can be reached, so that nobody else is called once there was another error.
    #[must_use]
    pub const fn needs_thawed(self) -> bool {
        matches!(self, Phase::MmioEnabled | Phase::Probe | Phase::SlotReset | Phase::ProbeVirtual)
    }
}

/// What a PE's state is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// It is to be known, whatever it is (EEH-11).
    Known,
    /// It is to be active, after a reset (EEH-19).
    Active,
}

/// Where a recovery is. Every state but the first and the last is left by the answer to an effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It has not begun.
    #[default]
    New,
    /// Functions are being called.
    Calling(Phase),
    /// The platform is asked for the PE's state.
    Querying {
        /// What for.
        goal: Goal,
        /// How long it may still be unavailable.
        left: Duration,
    },
    /// The PE's state was not available, and is asked for again when the time has passed.
    Pausing {
        /// What for.
        goal: Goal,
        /// How long it may still be unavailable after that.
        left: Duration,
    },
    /// It is being thawed.
    Thawing(Traffic),
    /// It is being reset.
    Resetting,
    /// Its configuration is being restored.
    Restoring,
    /// It is being unfrozen after a reset.
    Unfreezing {
        /// How often it may still be tried.
        left: u32,
    },
    /// It is left alone before drivers are probed.
    Settling,
    /// It has ended.
    Ended(Outcome),
}
