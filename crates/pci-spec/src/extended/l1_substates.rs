//! L1 PM Substates. PCIe 6.0 s7.8.3 L1 PM Substates Extended Capability.

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length, in bytes.
pub const LENGTH: u16 = 0x10;
/// Offset of the capabilities, 4 bytes, read-only. PCIe 6.0 s7.8.3.2 L1 PM Substates Capabilities Register.
pub const CAPABILITIES: u16 = 0x04;
/// Offset of control 1, 4 bytes. PCIe 6.0 s7.8.3.3 L1 PM Substates Control 1 Register.
pub const CONTROL_1: u16 = 0x08;
/// Offset of control 2, 4 bytes. PCIe 6.0 s7.8.3.4 L1 PM Substates Control 2 Register.
pub const CONTROL_2: u16 = 0x0c;
/// Capabilities of a function with all four substates.
pub const CAPABILITIES_ALL: u32 = 0x1f;
/// Bits of control 1 that switch the substates on.
pub const CONTROL_1_ENABLES: u32 = 0xf;
/// Writable bits of control 1: enables, restore time of the common mode, threshold and its scale.
pub const CONTROL_1_RW: u32 = 0xe3ff_ff00 | CONTROL_1_ENABLES;
/// Writable bits of control 2: time to power on.
pub const CONTROL_2_RW: u32 = 0xfb;
