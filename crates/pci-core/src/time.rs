//! Time as hardware asks for it: real in service, virtual in tests.
//!
//! Delays of resets and power changes go through [`Time`], never through a sleep, so that a test of a minute's wait takes
//! microseconds, and so that a removal ends the wait at once (law 4).

use gate::{Closed, ClosedSet, Deadline, Gone, ThreadToken};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What stays closed while time passes.
pub trait StaysClosed {
    /// Waits until `deadline`, or until what is closed is retired.
    ///
    /// # Errors
    /// [`Gone`]: it was retired.
    fn wait(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), Gone>;

    /// Whether it was retired.
    fn is_gone(&self) -> bool;
}

impl StaysClosed for Closed {
    fn wait(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), Gone> {
        Closed::wait(self, token, deadline)
    }

    fn is_gone(&self) -> bool {
        Closed::is_gone(self)
    }
}

impl StaysClosed for ClosedSet {
    fn wait(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), Gone> {
        ClosedSet::wait(self, token, deadline)
    }

    fn is_gone(&self) -> bool {
        ClosedSet::is_gone(self)
    }
}

/// A clock that can let time pass.
pub trait Time: Send + Sync + std::fmt::Debug {
    /// Time since an origin of its own.
    fn now(&self) -> Duration;

    /// Lets `duration` pass while `closed` keeps everybody out.
    ///
    /// # Errors
    /// [`Gone`] at once when it is retired meanwhile.
    fn pass(&self, token: &mut ThreadToken, closed: &dyn StaysClosed, duration: Duration)
    -> Result<(), Gone>;
}

/// The system's monotonic clock.
#[derive(Debug)]
pub struct RealTime {
    origin: Instant,
}

impl Default for RealTime {
    fn default() -> RealTime {
        RealTime { origin: Instant::now() }
    }
}

impl Time for RealTime {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn pass(
        &self,
        token: &mut ThreadToken,
        closed: &dyn StaysClosed,
        duration: Duration,
    ) -> Result<(), Gone> {
        closed.wait(token, Deadline::after(duration))
    }
}

/// A clock that jumps: a delay is over as soon as it is asked for. For tests and the simulator.
#[derive(Debug, Default)]
pub struct VirtualTime {
    nanoseconds: AtomicU64,
}

impl VirtualTime {
    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::AcqRel);
    }
}

impl Time for VirtualTime {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Acquire))
    }

    fn pass(
        &self,
        _token: &mut ThreadToken,
        closed: &dyn StaysClosed,
        duration: Duration,
    ) -> Result<(), Gone> {
        self.advance(duration);
        if closed.is_gone() { Err(Gone) } else { Ok(()) }
    }
}
