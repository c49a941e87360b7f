//! The end of a wait. There is no "never": law 4 bounds every wait.

use std::time::{Duration, Instant};

/// The longest wait anybody may ask for; longer ones are cut to it.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The moment at which a wait gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// Gives up `wait` from now; more than 24 hours is cut to 24 hours. Zero means: do not wait at all.
    pub fn after(wait: Duration) -> Deadline {
        Deadline(Instant::now() + wait.min(LONGEST))
    }

    /// Gives up at `instant`; more than 24 hours from now is cut to 24 hours.
    pub fn at(instant: Instant) -> Deadline {
        Deadline(instant.min(Instant::now() + LONGEST))
    }

    /// The time left, or `None` once the deadline has passed.
    pub fn remaining(&self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// The moment itself, for a wait that takes an absolute time.
    pub fn instant(&self) -> Instant {
        self.0
    }
}

/// The end of a wait, worked out when the wait begins: a [`Deadline`], or a function that makes one, so that an access
/// that need not wait reads no clock.
pub trait Until {
    /// The deadline. Asked for at most once, with nothing held, when the access was not let in at once.
    fn deadline(self) -> Deadline;
}

impl Until for Deadline {
    fn deadline(self) -> Deadline {
        self
    }
}

impl<F: FnOnce() -> Deadline> Until for F {
    fn deadline(self) -> Deadline {
        self()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_never() {
        let longest = Instant::now() + LONGEST;
        let later = longest + Duration::from_secs(60);
        assert!(Deadline::after(Duration::MAX).instant() < later);
        assert!(Deadline::at(longest + Duration::from_secs(3600)).instant() < later);
    }

    #[test]
    fn a_deadline_of_zero_has_passed() {
        assert_eq!(Deadline::after(Duration::ZERO).remaining(), None);
    }
}
