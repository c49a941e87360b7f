//! Waits that see within a moment that they were cancelled (law 4).
//!
//! A [`gate::Canceller`] wakes who waits at a gate, and does not know the conditions of this crate: who waits for one looks now and
//! then.

use gate::{Deadline, ThreadToken};
use std::time::Duration;

/// How long a wait goes on after its thread was cancelled, at most.
const LOOK: Duration = Duration::from_millis(50);

/// Until when to wait before looking again.
pub(crate) fn look_until(deadline: Deadline) -> Deadline {
    Deadline::at(deadline.instant().min(Deadline::after(LOOK).instant()))
}

/// Whether there is no more to wait.
pub(crate) fn is_over(token: &ThreadToken, deadline: Deadline) -> bool {
    token.is_cancelled() || deadline.remaining().is_none()
}
