//! What a sequence may do while the gates are closed for it.
//!
//! The sequences (a method, the wait until a function answers, save and restore) are written against these traits and
//! know neither gates nor threads, so that a test can put scripted hardware and a virtual clock behind them. In
//! service a [`Session`](crate::session::Session) is behind them, which owns the gates, or a
//! [`Peek`](crate::peek::Peek), which only reads.

use crate::method::Method;
use gate::Gone;
use pci_core::{Errno, PowerDelays, ResetKind, ResetStep, Width};
use pci_spec::Bdf;
use std::time::Duration;

/// Whoever can read registers.
pub(crate) trait Reader {
    /// Reads a register; all-ones where nothing answers, and from a function that is gone (CFG-03, CFG-04).
    fn read(&mut self, at: Bdf, register: u16, width: Width) -> u32;

    /// Reads 1 byte.
    fn read_byte(&mut self, at: Bdf, register: u16) -> u8 {
        self.read(at, register, Width::Byte).to_le_bytes()[0]
    }

    /// Reads 2 bytes.
    fn read_word(&mut self, at: Bdf, register: u16) -> u16 {
        let [low, high, ..] = self.read(at, register, Width::Word).to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// Reads 4 bytes.
    fn read_dword(&mut self, at: Bdf, register: u16) -> u32 {
        self.read(at, register, Width::Dword)
    }
}

/// The closed functions of one reset: their registers, time, and who is told.
pub(crate) trait Hold: Reader {
    /// Writes a register; dropped where nothing answers, and on a function that is not held.
    fn write(&mut self, at: Bdf, register: u16, width: Width, value: u32);

    /// Writes 2 bytes.
    fn write_word(&mut self, at: Bdf, register: u16, value: u16) {
        self.write(at, register, Width::Word, u32::from(value));
    }

    /// Lets time pass while everybody is kept out; ends at once when the function at `at` is removed (law 4). The
    /// removal of another one that is held ends nothing.
    ///
    /// # Errors
    /// [`Gone`]: the function at `at` was removed.
    fn pass(&mut self, at: Bdf, time: Duration) -> Result<(), Gone>;

    /// Whether the function was removed, or is not held.
    fn is_gone(&self, at: Bdf) -> bool;

    /// The times that the function needs for a change of its power state.
    fn delays(&self, at: Bdf) -> PowerDelays;

    /// Takes the bridge above a function in, if nobody else is at it now; it stays in until the end. `None` if there
    /// is none, or it is busy: without waiting, as others may be waiting for what is held.
    fn take_bridge(&mut self, at: Bdf) -> Option<Bdf>;

    /// Runs a procedure of the embedder or the firmware; answers how long the function needs afterwards.
    ///
    /// # Errors
    /// The procedure's own; `ENOTTY` if there is none.
    fn run(&mut self, at: Bdf, method: Method) -> Result<Duration, Errno>;

    /// Tells an emulated function that it was reset together with the one that it belongs to.
    fn reset_emulated(&mut self, at: Bdf, kind: ResetKind);

    /// Tells of a step.
    fn tell(&mut self, at: Bdf, step: ResetStep);
}
