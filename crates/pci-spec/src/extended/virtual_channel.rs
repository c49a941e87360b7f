//! Virtual Channel, with VC0 alone. PCIe 6.0 s7.9.1 Virtual Channel Extended Capability.

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length with VC0 alone, in bytes.
pub const LENGTH: u16 = 0x1c;
/// Offset of Port VC Capability 1, 4 bytes, read-only; 0 with VC0 alone.
///
/// PCIe 6.0 s7.9.1.2 Port VC Capability Register 1.
pub const PORT_CAPABILITY_1: u16 = 0x04;
/// Offset of Port VC Control, 2 bytes. PCIe 6.0 s7.9.1.4 Port VC Control Register.
pub const PORT_CONTROL: u16 = 0x0c;
/// Offset of the control of VC0, 4 bytes. PCIe 6.0 s7.9.1.8 VC Resource Control Register.
pub const VC0_CONTROL: u16 = 0x14;
/// Control of VC0 after reset: enabled, with all traffic classes.
pub const VC0_CONTROL_DEFAULT: u32 = 0x8000_00ff;
/// Writable bits of the control of VC0: the traffic classes but TC0.
pub const VC0_CONTROL_RW: u32 = 0xfe;
/// Writable bits of Port VC Control: the arbitration.
pub const PORT_CONTROL_RW: u16 = 0b111 << 1;
