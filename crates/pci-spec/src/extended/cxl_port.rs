//! The vendor-specific capability of a CXL port.
//!
//! CXL 3.1 s8.1.5 CXL Extensions DVSEC for Ports; PCIe 6.0 s7.9.6 Designated Vendor-Specific Extended Capability (DVSEC).

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length, in bytes.
pub const LENGTH: u16 = 0x28;
/// Offset of the first header, 4 bytes, read-only: vendor (15:0), revision (19:16), length (31:20).
pub const HEADER_1: u16 = 0x04;
/// Offset of the second header, 2 bytes, read-only: what the vendor means by it.
pub const HEADER_2: u16 = 0x08;
/// Offset of the port control extensions, 2 bytes.
pub const CONTROL: u16 = 0x0c;
/// Vendor ID of the CXL consortium.
pub const VENDOR: u16 = 0x1e98;
/// Identifier of the extensions for ports.
pub const DVSEC_ID: u16 = 3;
/// Bit of the port control: a secondary bus reset takes place; without it the port ignores one.
pub const UNMASK_SECONDARY_BUS_RESET: u16 = 1 << 0;
/// Writable bits of the port control that are modelled.
pub const CONTROL_RW: u16 = UNMASK_SECONDARY_BUS_RESET;
