//! Latency Tolerance Reporting.
//!
//! PCIe 6.0 s7.8.2 Latency Tolerance Reporting (LTR) Extended Capability.

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length, in bytes.
pub const LENGTH: u16 = 8;
/// Offset of the longest snooped latency, 2 bytes. PCIe 6.0 s7.8.2.2 Max Snoop Latency Register.
pub const MAX_SNOOP: u16 = 0x04;
/// Offset of the longest latency without snoop, 2 bytes. PCIe 6.0 s7.8.2.3 Max No-Snoop Latency Register.
pub const MAX_NO_SNOOP: u16 = 0x06;
/// Writable bits of both registers: value (9:0) and scale (12:10).
pub const LATENCY_RW: u16 = 0x1fff;
