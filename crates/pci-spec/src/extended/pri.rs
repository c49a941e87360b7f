//! Page Request Interface. PCIe 6.0 s10.5.2 Page Request Extended Capability Structure.

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length, in bytes.
pub const LENGTH: u16 = 0x10;
/// Offset of the control register, 2 bytes. PCIe 6.0 s10.5.2.2 Page Request Control Register.
pub const CONTROL: u16 = 0x04;
/// Offset of the status register, 2 bytes. PCIe 6.0 s10.5.2.3 Page Request Status Register.
pub const STATUS: u16 = 0x06;
/// Offset of the most outstanding requests, 4 bytes, read-only. PCIe 6.0 s10.5.2.4 Outstanding Page Request Capacity.
pub const CAPACITY: u16 = 0x08;
/// Offset of the outstanding requests allowed, 4 bytes, read-write.
///
/// PCIe 6.0 s10.5.2.5 Outstanding Page Request Allocation.
pub const ALLOCATION: u16 = 0x0c;
/// Bit of the control register: the function may ask for pages. Writable.
pub const ENABLE: u16 = 1 << 0;
/// Bit of the control register: forgets what is outstanding; reads 0.
pub const RESET: u16 = 1 << 1;
/// Bits of the status register that writing 1 clears: response failure, unexpected group index.
pub const STATUS_RW1C: u16 = 0b11;
/// Bit of the status register: no request is outstanding, with [`ENABLE`] off. Read-only.
pub const STOPPED: u16 = 1 << 8;
