//! What has to hold, whatever the schedule: who may reach the memory, and what is in it.
//!
//! Concurrency: plain atomics that shuttle does not see, so that what is asserted adds no schedules of its own.

use gate::{Gate, InsideKind};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

/// What is known about the memory of one device.
#[derive(Debug)]
pub(crate) struct Truth {
    gate: Gate,
    /// How many have seen to it that nobody reaches the memory: each has taken it away, and that has returned; what is to
    /// bring it back has not begun.
    shut: AtomicUsize,
    /// What the device has in its memory. Another value after everything that takes the memory away, so that a page from
    /// before is told from one of now.
    pattern: AtomicU32,
    populating: AtomicUsize,
}

impl Truth {
    pub(crate) fn of(gate: &Gate) -> Truth {
        Truth {
            gate: gate.clone(),
            shut: AtomicUsize::new(0),
            pattern: AtomicU32::new(1),
            populating: AtomicUsize::new(0),
        }
    }

    /// From now on nobody may reach the memory, until the result is dropped.
    #[must_use = "dropping it says that the memory may be reached again"]
    pub(crate) fn shut(&self) -> Shut<'_> {
        self.shut.fetch_add(1, Relaxed);
        self.pattern.fetch_add(1, Relaxed);
        Shut(self)
    }

    /// A page is made present; which value it shows.
    pub(crate) fn made_present(&self) -> u32 {
        assert_eq!(self.shut.load(Relaxed), 0, "made present while it is shut (MM-I2)");
        self.pattern()
    }

    /// What the device has in its memory.
    pub(crate) fn pattern(&self) -> u32 {
        self.pattern.load(Relaxed)
    }

    /// A consumer reads a page that was made present when the memory held `pattern`.
    pub(crate) fn read(&self, pattern: u32) -> u32 {
        assert_eq!(self.shut.load(Relaxed), 0, "reached while it is shut (MM-I3)");
        let now = self.pattern();
        assert_eq!(pattern, now, "reached through a page from before (MM-I3)");
        now
    }

    /// A thread makes pages present until the result is dropped: it has a pass of the gate.
    pub(crate) fn populating(&self) -> Populating<'_> {
        self.populating.fetch_add(1, Relaxed);
        let inside = self.gate.status().inside;
        assert!(
            inside.iter().any(|inside| inside.kind == InsideKind::Short),
            "made present without a pass (MM-I2)"
        );
        Populating(self)
    }

    /// Somebody has the device to itself: nobody has a pass.
    pub(crate) fn assert_nobody_populates(&self) {
        assert_eq!(self.populating.load(Relaxed), 0, "made present without a pass (MM-I2)");
    }
}

/// See [`Truth::shut`].
pub(crate) struct Shut<'t>(&'t Truth);

impl Drop for Shut<'_> {
    fn drop(&mut self) {
        self.0.shut.fetch_sub(1, Relaxed);
    }
}

/// See [`Truth::populating`].
pub(crate) struct Populating<'t>(&'t Truth);

impl Drop for Populating<'_> {
    fn drop(&mut self) {
        self.0.populating.fetch_sub(1, Relaxed);
    }
}
