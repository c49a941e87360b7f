//! What the function is like at a moment, as the operator publishes it around each change.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the function is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// On the way from one to another of these; both are right.
    Changing,
    Enabled,
    Disabled,
    /// Disabled, and frozen since: mappings are covered until it is enabled.
    Hidden,
    Frozen,
    Gone,
}

/// A stretch of time in which the function is the same throughout, or a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    /// No two have the same.
    number: u32,
    pub(crate) state: State,
    /// The generation that the device's memory shows, or showed last.
    pub(crate) generation: u32,
}

impl Period {
    /// The earliest generation that a read may find which begins now.
    pub(crate) fn earliest(self) -> u32 {
        match self.state {
            State::Enabled | State::Changing => self.generation,
            State::Disabled | State::Hidden | State::Frozen | State::Gone => self.generation + 1,
        }
    }

    /// What the function was like from before until after, if it was the same throughout.
    pub(crate) fn throughout(self, after: Period) -> Option<State> {
        (self == after && self.state != State::Changing).then_some(self.state)
    }
}

/// The present period, for all to see.
#[derive(Default)]
pub(crate) struct Present(AtomicU64);

impl Present {
    pub(crate) fn look(&self) -> Period {
        let word = self.0.load(Ordering::SeqCst);
        let state = match word & 7 {
            0 => State::Changing,
            1 => State::Enabled,
            2 => State::Disabled,
            3 => State::Hidden,
            4 => State::Frozen,
            _ => State::Gone,
        };
        let low = u32::try_from(word & 0xffff_ffff).unwrap();
        Period { number: u32::try_from(word >> 32).unwrap(), state, generation: low >> 3 }
    }

    /// Only the operator publishes.
    pub(crate) fn publish(&self, state: State, generation: u32) {
        let number = self.look().number + 1;
        let word = u64::from(number) << 32 | u64::from(generation) << 3 | state as u64;
        self.0.store(word, Ordering::SeqCst);
    }
}

/// What the device has written at the start of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The memory of this generation, which consumers may reach.
    Live(u32),
    /// Written after the function was disabled, frozen or removed: nobody may read it.
    Forbidden,
}

impl Mark {
    pub(crate) fn word(self, page: u64) -> u64 {
        let (kind, generation) = match self {
            Mark::Live(generation) => (0x1e, generation),
            Mark::Forbidden => (0xf0, 0),
        };
        page << 48 | u64::from(generation) << 8 | kind
    }

    /// `None` if the device has never written that there.
    pub(crate) fn of(word: u64, page: u64) -> Option<Mark> {
        let generation = u32::try_from(word >> 8 & 0xffff_ffff).unwrap();
        [Mark::Live(generation), Mark::Forbidden].into_iter().find(|mark| mark.word(page) == word)
    }
}
