//! Precision Time Measurement.
//!
//! PCIe 6.0 s7.9.15 Precision Time Measurement Extended Capability (PTM Extended Capability).

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length, in bytes.
pub const LENGTH: u16 = 0x0c;
/// Offset of the capability register, 4 bytes, read-only. PCIe 6.0 s7.9.15.2 PTM Capability Register.
pub const CAPABILITY: u16 = 0x04;
/// Offset of the control register, 4 bytes. PCIe 6.0 s7.9.15.3 PTM Control Register.
pub const CONTROL: u16 = 0x08;
/// Bit of the capability register: can ask for the time.
pub const REQUESTER: u32 = 1 << 0;
/// Bit of the capability register: can answer with the time.
pub const RESPONDER: u32 = 1 << 1;
/// Bit of the capability register: has the time by itself.
pub const ROOT: u32 = 1 << 2;
/// Writable bits of the control register: enable, root select, effective granularity.
pub const CONTROL_RW: u32 = 0xff03;
