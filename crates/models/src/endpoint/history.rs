//! The region of the device's own: what commands came to, and room to scribble.
//!
//! The first dword counts the commands since the last reset. From [`FIRST`] on there are [`ENTRIES`] entries of 16 bytes, used
//! in turn: command, status, size and checksum as they stood when the command had ended. What follows the first page is
//! the consumer's. A consumer that may map it may change all of it; the device reads nothing back but the count.
//!
//! Concurrency: commands that run at the same time may take one entry for both.

use std::sync::Arc;

use mapping::Memory;
use pci_core::DeviceRegion;

use super::pci::VENDOR;
use super::registers::{Command, Register, Registers};

/// The region, as vfio describes it: a vendor's own type, the first of its kind.
pub(super) const HISTORY: DeviceRegion =
    DeviceRegion { kind: VENDOR_TYPE | VENDOR as u32, subtype: 1, size: BYTES, writable: true };

/// Marks a type of region as a PCI vendor's own.
const VENDOR_TYPE: u32 = 1 << 31;
const BYTES: u64 = 64 << 10;
/// Offset of the first entry, in bytes.
const FIRST: u64 = 16;
/// As many as fill the first page.
const ENTRIES: u32 = 255;
/// Bytes of an entry.
const ENTRY: u64 = 16;

/// The region of one function.
#[derive(Debug)]
pub(super) struct History(Arc<Memory>);

impl History {
    /// Takes no memory yet.
    pub(super) fn new() -> History {
        History(Memory::new("endpoint-history", BYTES))
    }

    /// What lies behind the region.
    pub(super) fn memory(&self) -> &Arc<Memory> {
        &self.0
    }

    /// Adds a command that has ended.
    pub(super) fn add(&self, command: Command, registers: &Registers) {
        let mut count = [0; 4];
        self.0.read(0, &mut count);
        let count = u32::from_le_bytes(count);
        let at = FIRST + u64::from(count % ENTRIES) * ENTRY;
        let [status, size, checksum] =
            [Register::Status, Register::Size, Register::Checksum].map(|register| registers.get(register));
        for (dword, value) in (0..).zip([command.bits(), status, size, checksum]) {
            self.0.write(at + dword * 4, &value.to_le_bytes());
        }
        // Last, for whoever watches it.
        self.0.write(0, &count.wrapping_add(1).to_le_bytes());
    }

    /// As after power-on.
    pub(super) fn clear(&self) {
        self.0.clear();
    }
}
