//! Waits that see within a moment that they were cancelled (law 4).
//!
//! A [`gate::Canceller`] wakes who waits at a gate. It does not know the conditions of this crate, nor of
//! those above it, so who waits for one looks now and then.

use gate::{Deadline, ThreadToken};
use std::time::Duration;

/// How long a wait goes on after its thread was cancelled, at most.
const LOOK: Duration = Duration::from_millis(50);

/// Until when to wait before looking again; never later than `deadline`.
#[must_use]
pub fn look_until(deadline: Deadline) -> Deadline {
    Deadline::at(deadline.instant().min(Deadline::after(LOOK).instant()))
}

/// Whether there is no more to wait: this thread's waits were cancelled, or the deadline is there.
#[must_use]
pub fn is_over(token: &ThreadToken, deadline: Deadline) -> bool {
    token.is_cancelled() || deadline.remaining().is_none()
}
