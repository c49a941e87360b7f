//! A cheap time stamp for long passes: milliseconds of the kernel's coarse monotonic clock.
//!
//! The coarse clock is a load from the vDSO page (about 4 ms resolution) instead of a time stamp counter read, since a
//! stamp is taken per I/O command and only ever shown as an age.
#![allow(unsafe_code)] // One libc call that fills a local struct.

use std::time::Duration;

/// A moment on the coarse clock, in milliseconds since an arbitrary start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    #[cfg(not(any(loom, shuttle, miri)))]
    pub(crate) fn now() -> Stamp {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid timespec for the duration of the call. A failure leaves it zero, which only makes
        // an age wrong.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
        Stamp(time.tv_sec.cast_unsigned() * 1000 + time.tv_nsec.cast_unsigned() / 1_000_000)
    }

    /// Models have no clock.
    #[cfg(any(loom, shuttle, miri))]
    pub(crate) fn now() -> Stamp {
        Stamp(0)
    }

    pub(crate) fn age(self) -> Duration {
        Duration::from_millis(Stamp::now().0.saturating_sub(self.0))
    }
}
