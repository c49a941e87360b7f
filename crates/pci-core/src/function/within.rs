//! BAR accesses under a pass that the caller holds: loads, stores and blocks, which never wait.
//!
//! For whoever has to look at something of his own once he is inside, where it cannot change any more: is the name by which
//! the function was reached still its name? A refusal at the gate is the caller's to answer.

use super::Function;
use crate::config::BarIndex;
use crate::error::AccessError;
use gate::{AccessKind, Pass};
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Function {
    /// Loads from a BAR or the ROM, of devices of either kind of [`BarAccess`](crate::BarAccess).
    ///
    /// # Errors
    /// [`AccessError`] says why it was not read; `data` is then all-ones (CFG-03).
    #[inline]
    pub fn load_bar(
        &self,
        pass: &Pass<'_>,
        bar: BarIndex,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), AccessError> {
        self.assert_own(pass);
        match self.check_inside(bar, offset, data.len()).and_then(|()| self.check_decoded(bar)) {
            Ok(()) => match self.read_device(pass, bar, offset, data) {
                Ok(()) => Ok(()),
                Err(panicked) => {
                    self.read_was_refused(AccessKind::Bar, data);
                    Err(panicked.into())
                }
            },
            Err(error) => {
                self.read_was_refused(AccessKind::Bar, data);
                Err(error)
            }
        }
    }

    /// Stores to a BAR.
    ///
    /// # Errors
    /// [`AccessError`] says why the store was dropped: [`AccessError::NotPlain`] for a device that takes blocks only.
    #[inline]
    pub fn store_bar(
        &self,
        pass: &Pass<'_>,
        bar: BarIndex,
        offset: u64,
        data: &[u8],
    ) -> Result<(), AccessError> {
        self.assert_own(pass);
        match self.check_store(bar, offset, data.len()).and_then(|()| self.check_plain(bar)) {
            Ok(()) => match self.call(pass, |device| device.write_bar(pass, bar, offset, data)) {
                Ok(()) => Ok(()),
                Err(panicked) => {
                    self.write_was_refused(AccessKind::Bar);
                    Err(panicked.into())
                }
            },
            Err(error) => {
                self.write_was_refused(AccessKind::Bar);
                Err(error)
            }
        }
    }

    /// Stores a block to a BAR, in one call of the device whatever its length.
    ///
    /// # Errors
    /// [`AccessError`] says why the block was dropped: [`AccessError::Block`] if by the device.
    #[inline]
    pub fn store_block(
        &self,
        pass: &Pass<'_>,
        bar: BarIndex,
        offset: u64,
        data: &[u8],
    ) -> Result<(), AccessError> {
        self.assert_own(pass);
        let stored = self
            .check_store(bar, offset, data.len())
            .and_then(|()| Ok(self.call(pass, |device| device.store_block(pass, bar, offset, data))??));
        if stored.is_err() {
            self.write_was_refused(AccessKind::Bar);
        }
        stored
    }

    /// Answers a read that did not reach the function: `data` becomes all-ones (CFG-03), and the read is counted as dropped.
    /// For who enters the gate himself and was refused.
    #[cold]
    pub fn read_was_refused(&self, kind: AccessKind, data: &mut [u8]) {
        data.fill(0xff);
        self.count_read_while_frozen();
        match kind {
            AccessKind::Config => self.dropped.config_reads.add(),
            _ => self.dropped.bar_reads.add(),
        }
    }

    /// Counts a write that did not reach the function. As [`Function::read_was_refused`] otherwise.
    #[cold]
    pub fn write_was_refused(&self, kind: AccessKind) {
        match kind {
            AccessKind::Config => self.dropped.config_writes.add(),
            _ => self.dropped.bar_writes.add(),
        }
    }

    /// Tells the device of a write, within a window, that was dropped because the function is frozen.
    #[cold]
    pub(super) fn missed_write(&self, bar: BarIndex, offset: u64, data: &[u8]) {
        // Nobody is there to be told of a panic: whoever wrote has nothing to do with it.
        let _panicked = catch_unwind(AssertUnwindSafe(|| self.device.missed_write(bar, offset, data)));
    }

    /// Whether `length` bytes from `offset` lie within a window of the function.
    #[inline]
    pub(super) fn check_inside(&self, bar: BarIndex, offset: u64, length: usize) -> Result<(), AccessError> {
        // No error is made that is not answered: it would have to be dropped.
        let Some(size) = self.config.window_size(bar) else { return Err(AccessError::NoWindow(bar)) };
        match (size.checked_sub(offset), u64::try_from(length)) {
            (Some(room), Ok(length)) if length <= room => Ok(()),
            _ => Err(AccessError::OutOfRange),
        }
    }

    /// Whether plain accesses reach the device at all, once their window is known to be decoded.
    #[inline]
    pub(super) fn check_plain(&self, bar: BarIndex) -> Result<(), AccessError> {
        if self.way.takes_plain() { Ok(()) } else { Err(not_plain(bar)) }
    }

    fn check_store(&self, bar: BarIndex, offset: u64, length: usize) -> Result<(), AccessError> {
        self.check_inside(bar, offset, length)?;
        if bar == BarIndex::ROM { Err(AccessError::ReadOnly) } else { self.check_decoded(bar) }
    }

    #[inline]
    pub(super) fn check_decoded(&self, bar: BarIndex) -> Result<(), AccessError> {
        if self.config.decodes(bar) { Ok(()) } else { Err(AccessError::MemoryDisabled(bar)) }
    }
}

/// Away from the accesses that are served.
#[cold]
#[inline(never)]
fn not_plain(bar: BarIndex) -> AccessError {
    AccessError::NotPlain(bar)
}
