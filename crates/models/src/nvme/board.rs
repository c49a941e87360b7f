//! What register accesses and the worker share without a lock: registers, doorbells, the level of INTx.

use std::sync::atomic::{AtomicBool, Ordering};

use super::doorbell::DoorbellPage;
use super::registers::Registers;

/// The shared, lock-free part of a controller.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) registers: Registers,
    pub(super) doorbells: DoorbellPage,
    line: AtomicBool,
    /// The level that the port was last told, or is being told.
    shown: AtomicBool,
}

impl Board {
    pub(super) fn new() -> Self {
        let (line, shown) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { registers: Registers::default(), doorbells: DoorbellPage::new(), line, shown }
    }

    /// Sets the level that INTx ought to have, under the engine's lock; says whether it changed.
    pub(super) fn set_line(&self, level: bool) -> bool {
        self.line.swap(level, Ordering::AcqRel) != level
    }

    /// The level that INTx ought to have.
    pub(super) fn line(&self) -> bool {
        self.line.load(Ordering::Acquire)
    }

    /// Notes a level before the port is told.
    pub(super) fn show_line(&self, level: bool) {
        self.shown.store(level, Ordering::Release);
    }

    /// Whether an interrupt may have been signalled. False while the worker has decided to raise the line but has
    /// not come to do it: whoever lowered it then would swallow the signal.
    pub(super) fn line_is_shown(&self) -> bool {
        self.shown.load(Ordering::Acquire)
    }
}
