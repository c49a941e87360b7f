//! The configuration header of type 1 (bridge): bus numbers, windows, bridge control.
//!
//! PCIe 6.0 s7.5.1.3 Type 1 Configuration Space Header. What a bridge shares with an endpoint is in
//! [`config`](crate::config).

/// Base address registers of a type 1 header.
pub const BAR_COUNT: usize = 2;

/// Primary bus number, 1 byte, read-write, without effect on PCI Express.
///
/// PCIe 6.0 s7.5.1.3.2 Primary Bus Number Register.
pub const PRIMARY_BUS: u16 = 0x18;
/// Secondary bus number, 1 byte, read-write: the bus right below.
///
/// PCIe 6.0 s7.5.1.3.3 Secondary Bus Number Register.
pub const SECONDARY_BUS: u16 = 0x19;
/// Subordinate bus number, 1 byte, read-write: the highest bus below.
///
/// PCIe 6.0 s7.5.1.3.4 Subordinate Bus Number Register.
pub const SUBORDINATE_BUS: u16 = 0x1a;
/// Secondary latency timer, 1 byte, hardwired to 0. PCIe 6.0 s7.5.1.3.5 Secondary Latency Timer.
pub const SECONDARY_LATENCY_TIMER: u16 = 0x1b;
/// I/O base, 1 byte. PCIe 6.0 s7.5.1.3.6 I/O Base/I/O Limit Registers.
pub const IO_BASE: u16 = 0x1c;
/// I/O limit, 1 byte. PCIe 6.0 s7.5.1.3.6 I/O Base/I/O Limit Registers.
pub const IO_LIMIT: u16 = 0x1d;
/// Secondary status, 2 bytes: events as in [`Status`](crate::Status). PCIe 6.0 s7.5.1.3.7 Secondary Status Register.
pub const SECONDARY_STATUS: u16 = 0x1e;
/// Memory base, 2 bytes. PCIe 6.0 s7.5.1.3.8 Memory Base Register/Memory Limit Register.
pub const MEMORY_BASE: u16 = 0x20;
/// Memory limit, 2 bytes. PCIe 6.0 s7.5.1.3.8 Memory Base Register/Memory Limit Register.
pub const MEMORY_LIMIT: u16 = 0x22;
/// Prefetchable memory base, 2 bytes. PCIe 6.0 s7.5.1.3.9 Prefetchable Memory Base/Prefetchable Memory Limit Registers.
pub const PREFETCHABLE_BASE: u16 = 0x24;
/// Prefetchable memory limit, 2 bytes. PCIe 6.0 s7.5.1.3.9 Prefetchable Memory Base/Prefetchable Memory Limit Registers.
pub const PREFETCHABLE_LIMIT: u16 = 0x26;
/// Upper half of the prefetchable base, 4 bytes.
///
/// PCIe 6.0 s7.5.1.3.10 Prefetchable Base Upper 32 Bits/Prefetchable Limit Upper 32 Bits Registers.
pub const PREFETCHABLE_BASE_UPPER: u16 = 0x28;
/// Upper half of the prefetchable limit, 4 bytes.
///
/// PCIe 6.0 s7.5.1.3.10 Prefetchable Base Upper 32 Bits/Prefetchable Limit Upper 32 Bits Registers.
pub const PREFETCHABLE_LIMIT_UPPER: u16 = 0x2c;
/// Upper halves of I/O base and limit, 2 bytes each, 0 in a bridge with 16-bit I/O addresses.
///
/// PCIe 6.0 s7.5.1.3.11 I/O Base Upper 16 Bits/I/O Limit Upper 16 Bits Registers.
pub const IO_UPPER: u16 = 0x30;
/// Expansion ROM base address, 4 bytes. PCIe 6.0 s7.5.1.3.12 Expansion ROM Base Address Register.
pub const ROM_BAR: u16 = 0x38;
/// Bridge control, 2 bytes: [`BridgeControl`]. PCIe 6.0 s7.5.1.3.13 Bridge Control Register.
pub const BRIDGE_CONTROL: u16 = 0x3e;

bitflags::bitflags! {
    /// Bridge Control.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct BridgeControl: u16 {
        /// Acts on poison from below.
        const PARITY_ERROR_RESPONSE = 1 << 0;
        /// Passes error messages from below up.
        const SERR_ENABLE = 1 << 1;
        /// Leaves the ISA aliases in the I/O window alone.
        const ISA_ENABLE = 1 << 2;
        /// Passes VGA addresses down.
        const VGA_ENABLE = 1 << 3;
        /// Decodes VGA I/O addresses in full.
        const VGA_16_BIT = 1 << 4;
        /// Hardwired to 0 in PCI Express.
        const MASTER_ABORT_MODE = 1 << 5;
        /// Holds everything below in reset while set.
        const SECONDARY_BUS_RESET = 1 << 6;
    }
}

/// Writable bits of Bridge Control in a PCI Express port without VGA. None is write-one-to-clear.
pub const BRIDGE_CONTROL_RW: u16 = BridgeControl::PARITY_ERROR_RESPONSE
    .union(BridgeControl::SERR_ENABLE)
    .union(BridgeControl::ISA_ENABLE)
    .union(BridgeControl::SECONDARY_BUS_RESET)
    .bits();

/// Granularity of the I/O window, in bytes.
pub const IO_GRANULARITY: u64 = 4 << 10;
/// Granularity of the two memory windows, in bytes.
pub const MEMORY_GRANULARITY: u64 = 1 << 20;
/// Writable bits of [`IO_BASE`] and [`IO_LIMIT`]: address bits 15:12.
pub const IO_RW: u8 = 0xf0;
/// Writable bits of the base and limit registers of both memory windows: address bits 31:20.
pub const MEMORY_RW: u16 = 0xfff0;
/// Low bits of [`PREFETCHABLE_BASE`] and [`PREFETCHABLE_LIMIT`] in a bridge with 64-bit addresses. Read-only.
pub const PREFETCHABLE_64: u16 = 0x1;

/// The address range of a window, `None` where the limit lies below the base, which switches the window off.
///
/// Base and limit are the addresses in the registers, without the bits that the granularity leaves out.
#[must_use]
pub const fn window(base: u64, limit: u64, granularity: u64) -> Option<(u64, u64)> {
    if limit < base { None } else { Some((base, limit | (granularity - 1))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_with_its_last_granule_and_is_off_when_the_limit_is_lower() {
        assert_eq!(window(0x10_0000, 0x10_0000, MEMORY_GRANULARITY), Some((0x10_0000, 0x1f_ffff)));
        assert_eq!(window(0x10_0000, 0, MEMORY_GRANULARITY), None);
        assert_eq!(window(0x1000, 0x2000, IO_GRANULARITY), Some((0x1000, 0x2fff)));
    }

    #[test]
    fn secondary_bus_reset_is_bit_6_and_writable() {
        assert_eq!(BridgeControl::SECONDARY_BUS_RESET.bits(), 0x40);
        assert_eq!(BRIDGE_CONTROL_RW, 0x0047);
    }
}
