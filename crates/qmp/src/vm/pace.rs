//! How often a guest is asked again.

use std::time::Duration;

/// The pauses between one request and the next.
///
/// A guest that has taken a request is not asked again at once: with PCI Express' own hot-plug a request is a press of the
/// attention button, and Linux takes a second press within 5 s for a change of mind (PCIe 6.0 s6.7.1.5 *Attention
/// Button*). QEMU stops a second one for 5 s for that reason, and as long as the power indicator blinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// After the first request that the guest was given; each later one is twice the one before.
    pub(super) first: Duration,
    /// The longest.
    pub(super) longest: Duration,
    /// After the first request that QEMU did not pass on; doubled each time too.
    pub(super) busy: Duration,
}

/// The shortest pause after a request that the guest was given: no second press falls into the 5 s of the first.
const SHORTEST: Duration = Duration::from_secs(6);

impl Pace {
    /// Asks a guest that does not answer again after `first`, and then after pauses twice as long each time, up to
    /// `longest`. Both are at least 6 s.
    pub fn new(first: Duration, longest: Duration) -> Pace {
        Pace { first: first.max(SHORTEST), longest: longest.max(SHORTEST), busy: Duration::from_secs(1) }
    }
}

impl Default for Pace {
    /// 10 s, 20 s, 40 s, and then every 60 s.
    fn default() -> Pace {
        Pace::new(Duration::from_secs(10), Duration::from_secs(60))
    }
}

/// The pauses of one unplug, one after the other.
#[derive(Debug)]
pub(super) struct Pauses {
    pace: Pace,
    asked: u32,
    busy: u32,
}

impl Pauses {
    pub(super) fn new(pace: Pace) -> Pauses {
        Pauses { pace, asked: 0, busy: 0 }
    }

    /// The pause after a request that the guest was given.
    pub(super) fn after_request(&mut self) -> Duration {
        self.busy = 0;
        let pause = doubled(self.pace.first, self.asked, self.pace.longest);
        self.asked = self.asked.saturating_add(1);
        pause
    }

    /// The pause after a request that QEMU did not pass on.
    pub(super) fn after_busy(&mut self) -> Duration {
        let pause = doubled(self.pace.busy, self.busy, self.pace.longest);
        self.busy = self.busy.saturating_add(1);
        pause
    }
}

/// `first` doubled `times` times, and no more than `longest`.
fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(pause: Duration) -> u64 {
        pause.as_secs()
    }

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let mut pauses = Pauses::new(Pace::default());
        let first: Vec<_> = (0..5).map(|_| seconds(pauses.after_request())).collect();
        assert_eq!(first, [10, 20, 40, 60, 60]);
        let busy: Vec<_> = (0..4).map(|_| seconds(pauses.after_busy())).collect();
        assert_eq!(busy, [1, 2, 4, 8]);
        for _ in 0..100 {
            assert!(pauses.after_request() <= Duration::from_secs(60));
        }
        assert_eq!(seconds(pauses.after_busy()), 1, "a request that was passed on ends the series");
    }

    #[test]
    fn no_pace_is_so_quick_that_a_second_press_undoes_the_first() {
        let quick = Pace::new(Duration::ZERO, Duration::ZERO);
        assert_eq!(Pauses::new(quick).after_request(), SHORTEST);
    }
}
