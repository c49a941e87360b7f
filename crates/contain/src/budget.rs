//! How often a PE may freeze before it is given up (EEH-10).
//!
//! The count is an atomic of the PE, so that a detection may add to it anywhere, and a reset has nothing to forget (EEH-I6).

use crate::pe::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The rule: more than `max_freezes` within `window` is permanent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreezeBudget {
    /// Freezes that are recovered from.
    pub max_freezes: u32,
    /// How long a freeze counts from the first one on. In whole seconds.
    pub window: Duration,
}

impl Default for FreezeBudget {
    /// Five an hour.
    fn default() -> FreezeBudget {
        FreezeBudget { max_freezes: 5, window: Duration::from_secs(3600) }
    }
}

/// Where a PE stands in its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Freezes within the window, this one included.
    pub freezes: u32,
    /// They are too many: the failure is permanent.
    pub exceeded: bool,
}

/// The freezes of a PE: when the first of the window was, and how many.
#[derive(Debug, Default)]
pub struct FreezeCount(AtomicU64);

impl FreezeCount {
    /// Counts a freeze at `now`, by the clock of the owner.
    pub fn add(&self, now: Duration, budget: FreezeBudget) -> Spent {
        let now = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let mut freezes = 0;
        let _always = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let (first, count) = parts(word);
            let elapsed = Duration::from_secs(u64::from(now.saturating_sub(first)));
            let (first, count) =
                if count == 0 || elapsed > budget.window { (now, 0) } else { (first, count) };
            freezes = count.saturating_add(1);
            Some(u64::from(first) << 32 | u64::from(freezes))
        });
        Spent { freezes, exceeded: freezes > budget.max_freezes }
    }

    /// Freezes counted so far, since the first of the last window.
    #[must_use]
    pub fn freezes(&self) -> u32 {
        parts(self.0.load(Ordering::Acquire)).1
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the two halves of the word")]
fn parts(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_freeze_within_an_hour_is_one_too_many_eeh_10() {
        let count = FreezeCount::default();
        let spent: Vec<_> =
            (0..6).map(|n| count.add(Duration::from_secs(n * 720), FreezeBudget::default())).collect();
        assert!(spent[..5].iter().all(|spent| !spent.exceeded), "the fifth is at 2880 s");
        assert_eq!(spent[5], Spent { freezes: 6, exceeded: true }, "at 3600 s the hour is not over");
    }

    #[test]
    fn after_an_hour_the_count_begins_again_eeh_10() {
        let count = FreezeCount::default();
        for _ in 0..9 {
            count.add(Duration::from_secs(10), FreezeBudget::default());
        }
        assert_eq!(count.freezes(), 9);
        let spent = count.add(Duration::from_secs(3611), FreezeBudget::default());
        assert_eq!(spent, Spent { freezes: 1, exceeded: false });
    }
}
