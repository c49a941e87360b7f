//! What a function answers when it is told of an error.

use std::fmt;

/// What a function answers; with Linux's numbers (AER-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Vote {
    /// It does not care, or nobody is there to say.
    None = 1,
    /// It goes on without a reset once it can be reached again.
    CanRecover = 2,
    /// It goes on after a reset.
    NeedReset = 3,
    /// It does not go on.
    Disconnect = 4,
    /// It is as before.
    Recovered = 5,
    /// It has no driver that knows of errors.
    NoAerDriver = 6,
}

impl Vote {
    /// Every answer, in the order of their numbers.
    pub const ALL: [Vote; 6] =
        [Vote::None, Vote::CanRecover, Vote::NeedReset, Vote::Disconnect, Vote::Recovered, Vote::NoAerDriver];

    /// The answer in the words of the kernel's log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Vote::None => "none",
            Vote::CanRecover => "can recover",
            Vote::NeedReset => "need reset",
            Vote::Disconnect => "disconnect",
            Vote::Recovered => "recovered",
            Vote::NoAerDriver => "no AER driver",
        }
    }
}

impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
