//! The INTx line: a level, and the mask that each signal sets (VF-32).
//!
//! Interrupt: masked, then signalled. Unmask: if the level is still asserted, masked and signalled again. One
//! atomic word with the mark that holds back all interrupts of the function, so that a device asserting and a consumer unmasking at once signal exactly once.

use std::sync::atomic::{AtomicU8, Ordering};

const ASSERTED: u8 = 1 << 0;
const MASKED: u8 = 1 << 1;
const HELD: u8 = 1 << 2;

/// Level, mask, and whether all interrupts are held back.
#[derive(Default)]
pub(crate) struct Line(AtomicU8);

impl Line {
    pub(crate) fn set_level(&self, asserted: bool) {
        if asserted {
            self.0.fetch_or(ASSERTED, Ordering::AcqRel);
        } else {
            self.0.fetch_and(!ASSERTED, Ordering::AcqRel);
        }
    }

    pub(crate) fn mask(&self) {
        self.0.fetch_or(MASKED, Ordering::AcqRel);
    }

    pub(crate) fn unmask(&self) {
        self.0.fetch_and(!MASKED, Ordering::AcqRel);
    }

    pub(crate) fn hold(&self) {
        self.0.fetch_or(HELD, Ordering::AcqRel);
    }

    pub(crate) fn release(&self) {
        self.0.fetch_and(!HELD, Ordering::AcqRel);
    }

    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.0.load(Ordering::Acquire) & HELD != 0
    }

    /// Whether [`Line::take`] would be true now.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) == ASSERTED
    }

    /// Masks the line if it is asserted, not masked and not held back; true: the caller signals.
    pub(crate) fn take(&self) -> bool {
        self.0.compare_exchange(ASSERTED, ASSERTED | MASKED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
