//! Alternative Routing-ID Interpretation: 256 functions in one device.
//!
//! PCIe 6.0 s7.8.8 Alternative Routing-ID Interpretation (ARI) Extended Capability.

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length, in bytes.
pub const LENGTH: u16 = 8;
/// Offset of the capability register, 2 bytes, read-only. PCIe 6.0 s7.8.8.2 ARI Capability Register.
pub const CAPABILITY: u16 = 0x04;
/// Offset of the control register, 2 bytes; nothing is writable without function groups.
///
/// PCIe 6.0 s7.8.8.3 ARI Control Register.
pub const CONTROL: u16 = 0x06;

/// The next function of the device that a capability register value names, 0 at the end of the chain.
#[must_use]
pub const fn next_function(capability: u16) -> u8 {
    (capability >> 8) as u8
}

/// The capability register of a function without function groups, whose next function is `next` (0 for none).
#[must_use]
pub const fn capability(next: u8) -> u16 {
    (next as u16) << 8
}
