//! Writes the addresses that were given out to functions and bridges.

use super::access::Access;
use super::resources::Want;
use super::space::Range;
use pci_core::Width;
use pci_spec::{Bdf, Command, bridge, config};

/// One step.
pub(super) enum Write {
    /// An address, 0 for none, in a BAR or whatever else holds one.
    Bar { at: Bdf, want: Want, base: u64 },
    /// The windows of a bridge, in the order of [`Space::ALL`](super::Space::ALL).
    Windows { at: Bdf, windows: [Option<Range>; 3] },
}

impl Write {
    pub(super) fn carry_out(&self, access: &Access<'_>) {
        match self {
            Write::Bar { at, want, base } => program_bar(access, *at, *want, *base),
            Write::Windows { at, windows } => program_bridge(access, *at, *windows),
        }
    }
}

fn program_bar(access: &Access<'_>, at: Bdf, want: Want, base: u64) {
    let [a, b, c, d, e, f, g, h] = base.to_le_bytes();
    let (low, high) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    access.write(at, want.register, Width::Dword, low);
    if want.kind.registers() == 2 {
        access.write(at, want.register + 4, Width::Dword, high);
    }
}

/// Writes a bridge's windows, and lets it forward.
fn program_bridge(access: &Access<'_>, at: Bdf, [io, memory, memory64]: [Option<Range>; 3]) {
    // A window whose limit lies below its base is off.
    const OFF: Range = Range { base: u64::MAX, last: 0 };
    let (io, memory, memory64) = (io.unwrap_or(OFF), memory.unwrap_or(OFF), memory64.unwrap_or(OFF));
    let byte = |address: u64| u32::from(address.to_le_bytes()[1] & bridge::IO_RW);
    let half = |address: u64| {
        let [_, _, low, high, ..] = address.to_le_bytes();
        u32::from(u16::from_le_bytes([low, high]) & bridge::MEMORY_RW)
    };
    let upper = |address: u64| {
        let [.., a, b, c, d] = address.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    };
    access.write(at, bridge::IO_BASE, Width::Word, byte(io.base) | byte(io.last) << 8);
    let both = |range: Range| half(range.base) | half(range.last) << 16;
    access.write(at, bridge::MEMORY_BASE, Width::Dword, both(memory));
    access.write(at, bridge::PREFETCHABLE_BASE, Width::Dword, both(memory64));
    access.write(at, bridge::PREFETCHABLE_BASE_UPPER, Width::Dword, upper(memory64.base));
    access.write(at, bridge::PREFETCHABLE_LIMIT_UPPER, Width::Dword, upper(memory64.last));
    let forward = Command::MEMORY_SPACE | Command::IO_SPACE | Command::BUS_MASTER;
    let command = access.read(at, config::COMMAND, Width::Word);
    access.write(at, config::COMMAND, Width::Word, command | u32::from(forward.bits()));
}
