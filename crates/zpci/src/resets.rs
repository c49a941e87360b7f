//! Which error of a device a reset has dealt with.

use std::sync::atomic::{AtomicU64, Ordering};

/// The resets of one device. Who has the claim counts them; anybody asks.
#[derive(Default)]
pub(crate) struct Resets {
    begun: AtomicU64,
    /// Number of the latest one that ended well.
    done: AtomicU64,
}

/// A moment between two resets.
#[derive(Clone, Copy)]
pub(crate) struct Moment(u64);

impl Resets {
    /// This moment.
    pub(crate) fn now(&self) -> Moment {
        Moment(self.begun.load(Ordering::Acquire))
    }

    /// Whether a reset has ended well that began after `moment`. One that was under way then may have passed what went wrong already.
    pub(crate) fn any_since(&self, Moment(begun): Moment) -> bool {
        self.done.load(Ordering::Acquire) > begun
    }

    /// One begins.
    pub(crate) fn begin(&self) -> Moment {
        Moment(self.begun.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// The one that began at `moment` ends well.
    pub(crate) fn end_well(&self, Moment(number): Moment) {
        self.done.store(number, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_deals_with_what_was_there_when_it_began() {
        let resets = Resets::default();
        let before = resets.now();
        let first = resets.begin();
        let during = resets.now();
        assert!(!resets.any_since(before), "it has not ended");
        resets.end_well(first);
        assert!(resets.any_since(before) && !resets.any_since(during));
        let _badly = resets.begin();
        assert!(!resets.any_since(during), "it has failed");
        let third = resets.begin();
        resets.end_well(third);
        assert!(resets.any_since(during));
    }
}
