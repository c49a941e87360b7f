//! Resizable BAR. PCIe 6.0 s7.8.6 Resizable BAR Extended Capability.

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length for one BAR, in bytes.
pub const LENGTH: u16 = 0x0c;
/// Offset of the sizes of the first BAR, 4 bytes, read-only: bit 4 is 1 MiB, each further one twice that.
///
/// PCIe 6.0 s7.8.6.2 Resizable BAR Capability Register.
pub const CAPABILITY: u16 = 0x04;
/// Offset of the control of the first BAR, 4 bytes. PCIe 6.0 s7.8.6.3 Resizable BAR Control Register.
pub const CONTROL: u16 = 0x08;
/// Bit of the sizes that stands for 1 MiB.
pub const SIZE_1_MIB: u32 = 4;
/// First bit of the BARs' count in the control of the first BAR, 3 bits. Read-only.
pub const COUNT_SHIFT: u32 = 5;
/// First bit of the size in the control, log2 in MiB. Writable.
pub const SIZE_SHIFT: u32 = 8;
/// Writable bits of the control: the size.
pub const CONTROL_RW: u32 = 0x3f << SIZE_SHIFT;
