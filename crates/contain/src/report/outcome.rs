//! How a recovery ended.

use crate::merge::Vote;
use std::fmt;

/// Why there is no way back for a PE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// No device is there any more (EEH-11).
    NothingPresent,
    /// It froze too often within the hour (EEH-10).
    BudgetExhausted,
    /// What the functions answered came to this, which no recovery goes on from.
    Voted(Vote),
    /// The platform does not know its state, or does not support it (EEH-11).
    StateUnknown,
    /// It was not available within [`STATE_WAIT`](crate::plan::STATE_WAIT) (EEH-11).
    StateTimeout,
    /// It could not be thawed (EEH-14).
    ThawFailed,
    /// No reset brought it back (EEH-19).
    ResetFailed,
    /// The platform says after a reset that nothing brings it back (EEH-19).
    NotRecoverable,
    /// It was reset and stays frozen (EEH-20).
    UnfreezeFailed,
    /// Its configuration could not be restored after the reset.
    RestoreFailed,
    /// Its host bridge is dead (EEH-22).
    HostBridgeDead,
    /// Everything is (EEH-22).
    PlatformDead,
    /// An operator does not want it back.
    Forced,
}

impl fmt::Display for Doom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doom::NothingPresent => "no device is present",
            Doom::BudgetExhausted => "it failed too often within the hour",
            Doom::Voted(vote) => return write!(f, "its drivers and consumers answered: {vote}"),
            Doom::StateUnknown => "the platform does not know its state",
            Doom::StateTimeout => "its state was not available in time",
            Doom::ThawFailed => "it could not be thawed",
            Doom::ResetFailed => "no reset brought it back",
            Doom::NotRecoverable => "the platform says that nothing brings it back",
            Doom::UnfreezeFailed => "it stays frozen after its reset",
            Doom::RestoreFailed => "its configuration could not be restored",
            Doom::HostBridgeDead => "its host bridge is dead",
            Doom::PlatformDead => "the platform is dead",
            Doom::Forced => "an operator gave it up",
        })
    }
}

/// How a recovery ended. Whichever it is, everything that the recovery marked is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everybody who is still there goes on.
    Recovered,
    /// Everybody was told to go on, and meanwhile there was another error: it is to be recovered again, which counts against
    /// its budget.
    FrozenAgain,
    /// Only consumers are there who said that they deal with it: it stays frozen until they are told to go on (EEH-21).
    Contained,
    /// All functions were unplugged; there is nothing to recover.
    Gone,
    /// There is no way back (EEH-17).
    Failed(Doom),
}
