//! What register accesses and the worker share without a lock: registers, doorbells, the level of INTx.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::doorbell::DoorbellPage;
use super::registers::Registers;

/// What an access to the registers runs into, if somebody asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Trap {
    /// Nothing.
    None,
    /// Nobody is there: reads give all-ones, and writes go nowhere.
    Unreachable,
    /// The next access panics.
    Panic,
}

/// The shared, lock-free part of a controller.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) registers: Registers,
    pub(super) doorbells: DoorbellPage,
    line: AtomicBool,
    /// The level that the port was last told, or is being told.
    shown: AtomicBool,
    trap: AtomicU8,
}

impl Board {
    pub(super) fn new(registers: Registers) -> Self {
        let (line, shown) = (AtomicBool::new(false), AtomicBool::new(false));
        let trap = AtomicU8::new(Trap::None as u8);
        Self { registers, doorbells: DoorbellPage::new(), line, shown, trap }
    }

    /// What the next access runs into.
    #[inline]
    pub(super) fn trap(&self) -> Trap {
        match self.trap.load(Ordering::Relaxed) {
            0 => Trap::None,
            1 => Trap::Unreachable,
            _ => Trap::Panic,
        }
    }

    pub(super) fn set_trap(&self, trap: Trap) {
        self.trap.store(trap as u8, Ordering::Relaxed);
    }

    /// Takes an armed panic; one access has it.
    pub(super) fn take_panic(&self) -> bool {
        let (armed, none) = (Trap::Panic as u8, Trap::None as u8);
        self.trap.compare_exchange(armed, none, Ordering::Relaxed, Ordering::Relaxed).is_ok()
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
