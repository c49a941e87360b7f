//! The end of a wait.

use super::GuestError;
use rustix::event::Timespec;
use std::time::{Duration, Instant};

/// What a guest gets for one step: software emulation on a busy machine is slow, and a hang must still end.
pub(super) const GUEST: Duration = Duration::from_secs(180);

/// A point in time after which a wait is given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    end: Instant,
    allowed: Duration,
}

impl Deadline {
    /// `allowed` from now.
    pub(super) fn after(allowed: Duration) -> Self {
        Self { end: Instant::now() + allowed, allowed }
    }

    /// The time left, for `poll`.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`], naming `what` is waited for, when none is left.
    pub(super) fn left(&self, what: &dyn Fn() -> String) -> Result<Timespec, GuestError> {
        let left = self.end.saturating_duration_since(Instant::now());
        let timed_out = || GuestError::TimedOut { what: what(), seconds: self.allowed.as_secs() };
        if left.is_zero() {
            return Err(timed_out());
        }
        Timespec::try_from(left).map_err(|_| timed_out())
    }
}
