//! Address Translation Services. PCIe 6.0 s10.5.1 ATS Extended Capability.

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length, in bytes.
pub const LENGTH: u16 = 8;
/// Offset of the capability register, 2 bytes, read-only. PCIe 6.0 s10.5.1.2 ATS Capability Register.
pub const CAPABILITY: u16 = 0x04;
/// Offset of the control register, 2 bytes. PCIe 6.0 s10.5.1.3 ATS Control Register.
pub const CONTROL: u16 = 0x06;
/// Bit of the capability register: untranslated addresses are page-aligned.
pub const PAGE_ALIGNED: u16 = 1 << 5;
/// Writable bits of the control register: smallest translation unit (4:0) and enable.
pub const CONTROL_RW: u16 = 0x1f | ENABLE;
/// Bit of the control register: the function may ask for translations.
pub const ENABLE: u16 = 1 << 15;
