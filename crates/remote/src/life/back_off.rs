//! How long is waited before an attempt.

use std::time::Duration;

use crate::config::BackOff;

impl BackOff {
    /// The pause after `failed` attempts, at least one: doubled with each up to the longest, less the jitter, which `seed` and the
    /// number of the attempt choose.
    #[must_use]
    pub fn pause(&self, failed: u32, seed: u64) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest);
        let jitter = u32::from(self.jitter_percent.min(100));
        let mut random = fastrand::Rng::with_seed(seed ^ u64::from(failed).rotate_left(32));
        let less = random.u32(0..=jitter);
        full - full.saturating_mul(less) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: BackOff =
        BackOff { first: Duration::from_millis(20), longest: Duration::from_secs(2), jitter_percent: 0 };

    #[test]
    fn a_pause_doubles_up_to_the_longest() {
        let pauses: Vec<u128> = (1..=9).map(|failed| EXACT.pause(failed, 7).as_millis()).collect();
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1280, 2000, 2000]);
        assert_eq!(EXACT.pause(u32::MAX, 7), EXACT.longest);
    }

    #[test]
    fn jitter_shortens_a_pause_by_no_more_than_its_share_and_not_for_all_alike() {
        let back_off = BackOff { jitter_percent: 25, ..EXACT };
        let pauses: Vec<Duration> = (0..100).map(|seed| back_off.pause(1, seed)).collect();
        assert!(pauses.iter().all(|pause| (15..=20).contains(&pause.as_millis())));
        assert!(pauses.iter().any(|pause| pause != &pauses[0]));
        assert_eq!(back_off.pause(1, 3), back_off.pause(1, 3), "a seed is replayed");
    }
}
