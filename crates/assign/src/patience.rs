//! Time shared by requests that stand behind each other.

use std::time::{Duration, Instant};

use gate::Deadline;

/// Since when requests that stand behind each other have been waiting.
///
/// A client counts the time of a request from when it was sent, so one that stands behind others has no time of its
/// own: what they waited is gone for it too. The time starts with the first request that has to wait, so that those
/// that need not wait read no clock, and it ends with [`Patience::renew`], once all that had arrived is answered.
#[derive(Clone, Debug, Default)]
pub struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// Nobody waits.
    pub fn new() -> Patience {
        Patience::default()
    }

    /// Whether a request has begun to wait since the last renewal.
    #[inline]
    pub fn is_running(&self) -> bool {
        self.since.is_some()
    }

    /// All that had arrived is answered: the next request has all the time again.
    pub fn renew(&mut self) {
        self.since = None;
    }

    /// When a wait of at most `limit` ends that begins now, or that began with the first request.
    #[cold]
    pub(crate) fn deadline(&mut self, limit: Duration) -> Deadline {
        let since = *self.since.get_or_insert_with(Instant::now);
        // A limit beyond the end of time is cut by `Deadline`.
        since.checked_add(limit).map_or_else(|| Deadline::after(limit), Deadline::at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_first_is_the_time_of_all_until_it_is_renewed() {
        let mut patience = Patience::new();
        assert!(!patience.is_running());
        let first = patience.deadline(Duration::from_secs(4));
        assert!(patience.is_running());
        assert_eq!(patience.deadline(Duration::from_secs(4)), first);
        assert_eq!(
            patience.deadline(Duration::from_secs(3)).instant(),
            first.instant() - Duration::from_secs(1)
        );
        patience.renew();
        assert!(patience.deadline(Duration::from_secs(4)) > first);
    }

    #[test]
    fn an_absurd_limit_is_cut() {
        let mut patience = Patience::new();
        assert!(patience.deadline(Duration::MAX).remaining().is_some());
    }
}
