//! Downstream Port Containment.
//!
//! PCIe 6.0 s7.9.14 Downstream Port Containment Extended Capability (DPC Extended Capability).

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length without the root port's extensions, in bytes.
pub const LENGTH: u16 = 0x0c;
/// Offset of the capability register, 2 bytes, read-only. PCIe 6.0 s7.9.14.2 DPC Capability Register.
pub const CAPABILITY: u16 = 0x04;
/// Offset of the control register, 2 bytes. PCIe 6.0 s7.9.14.3 DPC Control Register.
pub const CONTROL: u16 = 0x06;
/// Offset of the status register, 2 bytes. PCIe 6.0 s7.9.14.4 DPC Status Register.
pub const STATUS: u16 = 0x08;
/// Offset of the source of the error, 2 bytes, read-only. PCIe 6.0 s7.9.14.5 DPC Error Source ID Register.
pub const ERROR_SOURCE: u16 = 0x0a;
/// Bit of the capability register: software can trigger it.
pub const SOFTWARE_TRIGGER_CAPABLE: u16 = 1 << 7;
/// Bits 1:0 of the control register: off, on fatal errors, on fatal and non-fatal errors.
pub const TRIGGER_ENABLE_MASK: u16 = 0b11;
/// Bit of the control register: writing 1 triggers; reads 0.
pub const SOFTWARE_TRIGGER: u16 = 1 << 6;
/// Writable bits of the control register, without [`SOFTWARE_TRIGGER`].
pub const CONTROL_RW: u16 = 0x00bf;
/// Bits of the status register that writing 1 clears: triggered, interrupt.
pub const STATUS_RW1C: u16 = 1 << 0 | 1 << 3;
/// Bits of the status register that survive a reset.
pub const STATUS_STICKY: u16 = 0x006f;
