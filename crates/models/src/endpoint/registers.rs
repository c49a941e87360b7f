//! The registers in BAR 0.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bitflags::bitflags;

use crate::saved::fields;

/// Length of the registers, in bytes; the rest of BAR 0 reads 0.
const LENGTH: u64 = 0x40;

/// A register's offset in BAR 0, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Register {
    /// What to do; a write starts it.
    Command = 0x04,
    /// What came of it.
    Status = 0x08,
    /// I/O address that data comes from, lower half.
    Source = 0x0c,
    /// I/O address that data goes to, lower half.
    Destination = 0x14,
    /// Bytes to move.
    Size = 0x1c,
    /// CRC-32 of the data: expected by a read, told by a write.
    Checksum = 0x20,
    /// Kind of interrupt that ends a command: 0 INTx, 1 MSI, 2 MSI-X.
    InterruptType = 0x24,
    /// Vector of that interrupt, from 1.
    InterruptNumber = 0x28,
}

bitflags! {
    /// What a write to [`Register::Command`] starts.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Command: u32 {
        const RAISE_INTX = 1 << 0;
        const RAISE_MSI = 1 << 1;
        const RAISE_MSIX = 1 << 2;
        /// Reads the consumer's memory and checks it.
        const READ = 1 << 3;
        /// Writes the consumer's memory.
        const WRITE = 1 << 4;
        /// Copies the consumer's memory.
        const COPY = 1 << 5;
    }

    /// What [`Register::Status`] tells.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Status: u32 {
        const READ_SUCCESS = 1 << 0;
        const READ_FAIL = 1 << 1;
        const WRITE_SUCCESS = 1 << 2;
        const WRITE_FAIL = 1 << 3;
        const COPY_SUCCESS = 1 << 4;
        const COPY_FAIL = 1 << 5;
        const INTERRUPT_RAISED = 1 << 6;
        const SOURCE_INVALID = 1 << 7;
        const DESTINATION_INVALID = 1 << 8;
    }
}

/// What the registers hold at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Values {
    dwords: [u32; (LENGTH / 4) as usize],
    line: bool,
}

fields!(Values { dwords, line });

/// The registers of one function.
#[derive(Debug, Default)]
pub(super) struct Registers {
    dwords: [AtomicU32; (LENGTH / 4) as usize],
    /// Whether INTx is high. The consumer reads it as part of configuration space.
    line: AtomicBool,
}

impl Registers {
    /// Notes the level of INTx, before it is set.
    pub(super) fn set_line(&self, high: bool) {
        self.line.store(high, Ordering::Release);
    }

    /// The level of INTx.
    pub(super) fn line(&self) -> bool {
        self.line.load(Ordering::Acquire)
    }

    pub(super) fn get(&self, register: Register) -> u32 {
        self.dword(register as u64).map_or(0, |dword| dword.load(Ordering::Acquire))
    }

    pub(super) fn set(&self, register: Register, value: u32) {
        if let Some(dword) = self.dword(register as u64) {
            dword.store(value, Ordering::Release);
        }
    }

    /// A register of 64 bits, by the offset of its lower half.
    pub(super) fn get_wide(&self, low: Register) -> u64 {
        let high = self.dword(low as u64 + 4).map_or(0, |dword| dword.load(Ordering::Acquire));
        u64::from(high) << 32 | u64::from(self.get(low))
    }

    /// Fills `data` with what stands from `offset` on.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            let dword = self.dword(at).map_or(0, |dword| dword.load(Ordering::Acquire));
            *byte = dword.to_le_bytes()[(at % 4) as usize];
        }
    }

    /// Stores `data` from `offset` on.
    pub(super) fn write(&self, offset: u64, data: &[u8]) {
        for (at, byte) in (offset..).zip(data) {
            let shift = 8 * (at % 4);
            let replace = |old: u32| old & !(0xff << shift) | u32::from(*byte) << shift;
            if let Some(dword) = self.dword(at) {
                let _old = dword.fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| Some(replace(old)));
            }
        }
    }

    /// What they hold at one moment.
    pub(super) fn values(&self) -> Values {
        let dword = |nth: usize| self.dwords.get(nth).map_or(0, |dword| dword.load(Ordering::Acquire));
        Values { dwords: std::array::from_fn(dword), line: self.line() }
    }

    /// Back to what they held.
    pub(super) fn put_back(&self, values: &Values) {
        let Values { dwords, line } = values;
        self.dwords.iter().zip(dwords).for_each(|(dword, value)| dword.store(*value, Ordering::Release));
        self.set_line(*line);
    }

    /// Whether `length` bytes from `offset` can never be all-ones: with the whole command register among them, which is
    /// cleared when it holds every command, or anything beyond the registers.
    pub(super) fn never_all_ones(offset: u64, length: usize) -> bool {
        let (command, end) = (Register::Command as u64, offset.saturating_add(length as u64));
        end > LENGTH || (offset <= command && end >= command + 4)
    }

    pub(super) fn clear(&self) {
        let Registers { dwords, line } = self;
        dwords.iter().for_each(|dword| dword.store(0, Ordering::Release));
        line.store(false, Ordering::Release);
    }

    fn dword(&self, offset: u64) -> Option<&AtomicU32> {
        self.dwords.get(usize::try_from(offset / 4).ok()?)
    }
}

/// Whether an access of `length` bytes at `offset` touches `register`.
pub(super) fn touches(register: Register, offset: u64, length: usize) -> bool {
    let start = register as u64;
    offset < start + 4 && start < offset.saturating_add(length as u64)
}
