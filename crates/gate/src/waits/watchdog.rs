//! Says which waits have lasted too long, each once.

use super::{Holder, WaitId};
use std::collections::BTreeSet;
use std::time::Duration;

/// Compares one snapshot after another with a threshold. Has no clock and no thread of its own.
#[derive(Debug)]
pub struct Watchdog {
    threshold: Duration,
    /// Waits that were told and are still there.
    told: BTreeSet<WaitId>,
}

impl Watchdog {
    /// Tells of waits that have lasted `threshold` or longer.
    pub fn new(threshold: Duration) -> Watchdog {
        Watchdog { threshold, told: BTreeSet::new() }
    }

    /// The places in `holders` of the waits that have crossed the threshold since the last step.
    #[must_use = "each wait is told once"]
    pub fn step(&mut self, holders: &[Holder]) -> Vec<usize> {
        let present: BTreeSet<WaitId> = holders.iter().filter_map(|holder| holder.wait).collect();
        self.told.retain(|wait| present.contains(wait));
        let mut crossed = Vec::new();
        for (at, holder) in holders.iter().enumerate() {
            let Some(wait) = holder.wait else { continue };
            if holder.since.is_some_and(|since| since >= self.threshold) && self.told.insert(wait) {
                crossed.push(at);
            }
        }
        crossed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLD: Duration = Duration::from_millis(100);

    fn holder(thread: usize, number: u64, since_ms: u64) -> Holder {
        Holder {
            thread: None,
            operation: String::new(),
            function: None,
            since: Some(Duration::from_millis(since_ms)),
            waits_for: None,
            held_by: Vec::new(),
            wait: Some(WaitId { thread, number }),
        }
    }

    #[test]
    fn each_wait_is_told_once_when_it_crosses_the_threshold() {
        // Waits of one snapshot as (thread, number, ms), and the places that are told.
        type Step = (&'static [(usize, u64, u64)], &'static [usize]);
        let steps: [Step; 8] = [
            (&[(0, 1, 99), (1, 7, 5)], &[]),
            (&[(0, 1, 100), (1, 7, 60)], &[0]),
            // Told already; another one crosses.
            (&[(0, 1, 150), (1, 7, 110)], &[1]),
            (&[(0, 1, 900), (1, 7, 800)], &[]),
            // The same thread waits anew.
            (&[(0, 2, 10)], &[]),
            (&[(0, 2, 100)], &[0]),
            // Gone and back with the same number: records are used again by other threads.
            (&[], &[]),
            (&[(0, 2, 100), (3, 1, 5000)], &[0, 1]),
        ];
        let mut watchdog = Watchdog::new(THRESHOLD);
        for (nth, (waits, told)) in steps.into_iter().enumerate() {
            let holders: Vec<_> =
                waits.iter().map(|(thread, number, ms)| holder(*thread, *number, *ms)).collect();
            assert_eq!(watchdog.step(&holders), told, "step {nth}");
        }
    }

    #[test]
    fn what_only_holds_is_not_told() {
        let held = Holder { wait: None, ..holder(0, 0, 1_000_000) };
        assert_eq!(Watchdog::new(THRESHOLD).step(&[held]), [0; 0]);
    }
}
