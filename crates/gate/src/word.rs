//! The gate's state packed into one word, so that a reader decides with one load and one compare.
//!
//! ```text
//! bit  0..2   status: open, blocked, frozen, gone
//! bit  2..6   reason, if blocked
//! bit  6      DRAIN: a closer waits for accesses to leave; whoever leaves wakes it
//! bit  7      TRIAL: the closer is only trying; an access looks under the lock before it believes a refusal
//! bit  8      FENCES: this process has no membarrier; whoever loads this takes the way with fences
//! bit  9..64  epoch
//! ```
//! An open gate's word is its epoch shifted left by 9 and nothing else, which is what a [`crate::Handle`] compares with.
//! Where readers need fences the mark makes that compare fail, so the fast path asks for no strategy.

use crate::barrier::{self, Strategy};
use crate::{Reason, Refusal};
use std::fmt;

/// The life of one device in a gate's place; a handle of an older epoch never reaches the next device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub(crate) u64);

impl Epoch {
    /// The number, for display and logs; grows by an unspecified step.
    pub fn get(self) -> u64 {
        self.0
    }

    pub(crate) fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }

    pub(crate) fn previous(self) -> Epoch {
        Epoch(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}", self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Open,
    Blocked(Reason),
    Frozen,
    Gone,
}

const STATUS_MASK: u64 = 0b11;
const REASON_SHIFT: u32 = 2;
const REASON_MASK: u64 = 0b1111;
const DRAIN: u64 = 1 << 6;
const TRIAL: u64 = 1 << 7;
const FENCES: u64 = 1 << 8;
const EPOCH_SHIFT: u32 = 9;

/// A loaded or to-be-stored state word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    /// What the word is while the gate is open in `epoch`.
    pub(crate) fn open(epoch: Epoch) -> Word {
        Word(epoch.0 << EPOCH_SHIFT)
    }

    pub(crate) fn new(epoch: Epoch, status: Status, drain: bool) -> Word {
        let bits = match status {
            Status::Open => 0,
            Status::Blocked(reason) => 1 | u64::from(reason.code()) << REASON_SHIFT,
            Status::Frozen => 2,
            Status::Gone => 3,
        };
        Word(Word::open(epoch).0 | bits | if drain { DRAIN } else { 0 })
    }

    /// The word as it is stored: with the mark if readers of this process need fences.
    pub(crate) fn marked(self) -> Word {
        // Under a checker the fast path has real fences.
        let checked = cfg!(any(loom, shuttle, miri));
        let fences = !checked && barrier::strategy() == Strategy::Fences;
        Word(self.0 | if fences { FENCES } else { 0 })
    }

    /// What a handle compares with, after a [`barrier::light`].
    pub(crate) fn without_mark(self) -> Word {
        Word(self.0 & !FENCES)
    }

    /// What was loaded behind [`barrier::swift`] alone cannot be believed.
    pub(crate) fn needs_fences(self) -> bool {
        self.0 & FENCES != 0
    }

    /// The word during a trial.
    pub(crate) fn trial(self) -> Word {
        Word(self.0 | TRIAL)
    }

    pub(crate) fn is_trial(self) -> bool {
        self.0 & TRIAL != 0
    }

    pub(crate) fn has_drain(self) -> bool {
        self.0 & DRAIN != 0
    }

    pub(crate) fn epoch(self) -> Epoch {
        Epoch(self.0 >> EPOCH_SHIFT)
    }

    pub(crate) fn status(self) -> Status {
        match self.0 & STATUS_MASK {
            0 => Status::Open,
            1 => Status::Blocked(Reason::from_code((self.0 >> REASON_SHIFT & REASON_MASK) as u8)),
            2 => Status::Frozen,
            _ => Status::Gone,
        }
    }

    /// True if an access of `handle`'s epoch may enter; a drain of an older epoch may be on.
    pub(crate) fn admits(self, handle: Epoch) -> bool {
        self.status() == Status::Open && self.epoch() == handle
    }

    /// Why an access of `handle`'s epoch may not enter; ask only of a word that does not admit it.
    #[inline]
    pub(crate) fn refusal(self, handle: Epoch) -> Refusal {
        match self.status() {
            Status::Gone => Refusal::Gone,
            Status::Blocked(reason) if self.epoch() == handle => Refusal::Blocked(reason),
            Status::Frozen if self.epoch() == handle => Refusal::Frozen,
            Status::Open | Status::Blocked(_) | Status::Frozen => {
                Refusal::StaleEpoch { handle, current: self.epoch() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_what_it_was_made_of() {
        let reasons = [
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
        let blocked = reasons.into_iter().map(Status::Blocked);
        for status in blocked.chain([Status::Open, Status::Frozen, Status::Gone]) {
            for drain in [false, true] {
                let word = Word::new(Epoch(7), status, drain);
                assert_eq!((word.status(), word.epoch(), word.has_drain()), (status, Epoch(7), drain));
                assert_eq!((word.trial().status(), word.trial().epoch()), (status, Epoch(7)));
                assert!(word.trial().is_trial() && !word.is_trial());
            }
        }
    }

    #[test]
    fn only_an_open_gate_without_a_closer_equals_what_a_handle_expects() {
        let open = Word::open(Epoch(7));
        assert_eq!(Word::new(Epoch(7), Status::Open, false), open);
        for other in [
            Word(open.0 | FENCES),
            Word::new(Epoch(7), Status::Open, true),
            open.trial(),
            Word::new(Epoch(8), Status::Open, false),
            Word::new(Epoch(7), Status::Frozen, false),
        ] {
            assert_ne!(other, open);
        }
    }
}
