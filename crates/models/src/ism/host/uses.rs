//! How many uses a function has, and whether it may have more.
//!
//! Concurrency: one atomic. Exactly one thread learns that the last use of a function that is to go has ended.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::HostError;

/// No more uses: the function is to go.
const LEAVING: u64 = 1 << 62;
/// It has been let go.
const ENDED: u64 = 1 << 63;

/// The uses of one function.
#[derive(Debug, Default)]
pub(super) struct Uses(AtomicU64);

impl Uses {
    /// Begins one.
    ///
    /// # Errors
    /// [`HostError::Leaving`], [`HostError::Ended`].
    pub(super) fn begin(&self) -> Result<(), HostError> {
        let begun = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |uses| {
            (uses & (LEAVING | ENDED) == 0).then_some(uses + 1)
        });
        begun.map(drop).map_err(|uses| if uses & ENDED == 0 { HostError::Leaving } else { HostError::Ended })
    }

    /// Ends one. True: it was the last of a function that is to go, and the caller lets that go.
    #[must_use]
    pub(super) fn end(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel);
        self.is_last()
    }

    /// Ends one whose owner cannot let the function go.
    pub(super) fn abandon(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// Takes no more. True: there are none, and the caller lets the function go.
    #[must_use]
    pub(super) fn leave(&self) -> bool {
        self.0.fetch_or(LEAVING, Ordering::AcqRel);
        self.is_last()
    }

    /// Takes uses again. False: it was let go already.
    pub(super) fn stay(&self) -> bool {
        self.0.fetch_and(!LEAVING, Ordering::AcqRel) & ENDED == 0
    }

    /// Takes no more, for ever, whatever is in use.
    pub(super) fn finish(&self) {
        self.0.fetch_or(ENDED, Ordering::AcqRel);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.load(Ordering::Acquire) & ENDED != 0
    }

    fn is_last(&self) -> bool {
        self.0.compare_exchange(LEAVING, LEAVING | ENDED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_of_a_function_that_is_to_go_is_told_once() {
        let uses = Uses::default();
        uses.begin().unwrap();
        uses.begin().unwrap();
        assert!(!uses.leave());
        assert_eq!(uses.begin(), Err(HostError::Leaving));
        assert!(!uses.end());
        assert!(!uses.has_ended());
        assert!(uses.end());
        assert!(uses.has_ended() && !uses.leave());
        assert_eq!(uses.begin(), Err(HostError::Ended));
    }

    #[test]
    fn a_function_that_stays_is_used_again_unless_it_was_let_go() {
        let uses = Uses::default();
        uses.begin().unwrap();
        assert!(!uses.leave());
        assert!(uses.stay());
        uses.begin().unwrap();
        assert!(!uses.end() && !uses.end());
        assert!(uses.leave());
        assert!(!uses.stay());
        assert_eq!(uses.begin(), Err(HostError::Ended));
    }
}
