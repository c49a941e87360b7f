//! Whether a range was covered during an access.
//!
//! An access that found all-ones must not be taken for one that the device answered, even if the freeze has ended
//! before anybody could look. A lock around each access would tell; so does a count of the covers' beginnings and
//! ends, for two loads. It decides nothing about pages.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Counts how often a range was covered and uncovered: odd while it is covered. Changed under the window's lock.
#[derive(Debug, Default)]
pub(super) struct Turns(AtomicU64);

/// The range is not covered, and has not been since the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn(u64);

impl Turns {
    /// Now; `None` while the range is covered.
    #[inline]
    pub(super) fn now(&self) -> Option<Turn> {
        let turns = self.0.load(Ordering::Acquire);
        turns.is_multiple_of(2).then_some(Turn(turns))
    }

    /// Whether the range has not been covered since `turn`: nothing read before this call was read from a cover. A
    /// cover reaches other processors by an interrupt, which is after [`Turns::begin`], so who has read from it sees
    /// that here.
    #[inline]
    pub(super) fn is_still(&self, turn: Turn) -> bool {
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed) == turn.0
    }

    /// Before the range is covered.
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// After it was uncovered.
    pub(super) fn end(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cover_is_noticed_also_after_it_has_ended() {
        let turns = Turns::default();
        let turn = turns.now().unwrap();
        assert!(turns.is_still(turn));
        turns.begin();
        assert_eq!((turns.now(), turns.is_still(turn)), (None, false));
        turns.end();
        assert!(turns.now().is_some() && !turns.is_still(turn));
    }
}
