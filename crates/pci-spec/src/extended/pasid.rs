//! Process Address Space ID.
//!
//! PCIe 6.0 s7.8.9 Process Address Space ID Extended Capability (PASID Extended Capability).

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length, in bytes.
pub const LENGTH: u16 = 8;
/// Offset of the capability register, 2 bytes, read-only: width in bits 12:8. PCIe 6.0 s7.8.9.2 PASID Capability Register.
pub const CAPABILITY: u16 = 0x04;
/// Offset of the control register, 2 bytes. PCIe 6.0 s7.8.9.3 PASID Control Register.
pub const CONTROL: u16 = 0x06;
/// Bit of both registers: execute permission.
pub const EXECUTE: u16 = 1 << 1;
/// Bit of both registers: privileged mode.
pub const PRIVILEGED: u16 = 1 << 2;
/// Bit of the control register: requests may carry an address space ID.
pub const ENABLE: u16 = 1 << 0;
/// First bit of the width in the capability register, 5 bits.
pub const WIDTH_SHIFT: u32 = 8;
/// Widest address space ID, in bits.
pub const WIDTH_MAX: u8 = 20;
/// Writable bits of the control register in a function that offers both permissions.
pub const CONTROL_RW: u16 = ENABLE | EXECUTE | PRIVILEGED;
