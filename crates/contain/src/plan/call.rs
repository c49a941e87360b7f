//! What drivers and consumers are called for.

use super::Channel;
use crate::merge::Vote;

/// A call to whoever has a function. Foreign code: its owner makes it with nothing held and with a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A driver is told of an error; votes (AER-01).
    ErrorDetected(Channel),
    /// A driver is told that its registers can be reached again; votes.
    MmioEnabled,
    /// A driver is told that its function was reset; votes.
    SlotReset,
    /// A driver is told to go on, or a model takes work again.
    Resume,
    /// A driver is told of an error that the hardware has corrected.
    CorErrorDetected,
    /// A driver lets go of its function.
    Unbind,
    /// A driver is looked for.
    Probe,
    /// A model takes no more work, and finishes or keeps what it has begun.
    Quiesce,
    /// A model saves its state.
    Save,
    /// A model takes its state back.
    Restore,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A driver's answer to a call that votes.
    Vote(Vote),
    /// It did what it was called for.
    Done,
    /// It could not.
    Failed,
}

impl Answer {
    /// What this answer to `call` counts as.
    #[must_use]
    pub(super) const fn counts_as(self, call: Call) -> Vote {
        match (call, self) {
            (_, Answer::Failed) => Vote::Disconnect,
            // Its state is saved so that it can be reset.
            (Call::Quiesce, _) => Vote::NeedReset,
            (Call::Restore, _) => Vote::Recovered,
            (Call::ErrorDetected(_) | Call::MmioEnabled | Call::SlotReset, Answer::Vote(vote)) => vote,
            _ => Vote::None,
        }
    }
}
