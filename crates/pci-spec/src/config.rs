//! The configuration header of type 0 (endpoint): where each register is and how wide.
//!
//! PCIe 6.0 s7.5.1 PCI-Compatible Configuration Registers, s7.5.1.1 Type 0/1 Common Configuration Space, s7.5.1.2
//! Type 0 Configuration Space Header. What differs in a bridge is in [`bridge`](crate::bridge).

/// Vendor ID, 2 bytes, read-only. PCIe 6.0 s7.5.1.1.1 Vendor ID Register.
pub const VENDOR_ID: u16 = 0x00;
/// Device ID, 2 bytes, read-only. PCIe 6.0 s7.5.1.1.2 Device ID Register.
pub const DEVICE_ID: u16 = 0x02;
/// Command, 2 bytes: [`Command`](crate::Command). PCIe 6.0 s7.5.1.1.3 Command Register.
pub const COMMAND: u16 = 0x04;
/// Status, 2 bytes: [`Status`](crate::Status). PCIe 6.0 s7.5.1.1.4 Status Register.
pub const STATUS: u16 = 0x06;
/// Revision ID, 1 byte, read-only. PCIe 6.0 s7.5.1.1.5 Revision ID Register.
pub const REVISION_ID: u16 = 0x08;
/// Class code, 3 bytes (interface, sub-class, base class), read-only. PCIe 6.0 s7.5.1.1.6 Class Code Register.
pub const CLASS_CODE: u16 = 0x09;
/// Cache line size, 1 byte, read-write, without effect on PCI Express. PCIe 6.0 s7.5.1.1.7 Cache Line Size Register.
pub const CACHE_LINE_SIZE: u16 = 0x0c;
/// Latency timer, 1 byte, hardwired to 0. PCIe 6.0 s7.5.1.1.8 Latency Timer Register.
pub const LATENCY_TIMER: u16 = 0x0d;
/// Header type, 1 byte, read-only: [`HEADER_LAYOUT_MASK`] and [`HEADER_MULTI_FUNCTION`].
///
/// PCIe 6.0 s7.5.1.1.9 Header Type Register.
pub const HEADER_TYPE: u16 = 0x0e;
/// Built-in self test, 1 byte, 0 where there is none. PCIe 6.0 s7.5.1.1.10 BIST Register.
pub const BIST: u16 = 0x0f;
/// First base address register, 4 bytes; [`BAR_COUNT`] of them follow each other.
///
/// PCIe 6.0 s7.5.1.2.1 Base Address Registers.
pub const BAR0: u16 = 0x10;
/// Last base address register of a type 0 header, 4 bytes.
pub const BAR5: u16 = 0x24;
/// CardBus CIS pointer, 4 bytes, read-only, 0 in PCI Express. PCIe 6.0 s7.5.1.2.2 Cardbus CIS Pointer Register.
pub const CARDBUS_CIS: u16 = 0x28;
/// Subsystem vendor ID, 2 bytes, read-only. PCIe 6.0 s7.5.1.2.3 Subsystem Vendor ID Register/Subsystem ID Register.
pub const SUBSYSTEM_VENDOR_ID: u16 = 0x2c;
/// Subsystem ID, 2 bytes, read-only. PCIe 6.0 s7.5.1.2.3 Subsystem Vendor ID Register/Subsystem ID Register.
pub const SUBSYSTEM_ID: u16 = 0x2e;
/// Expansion ROM base address, 4 bytes. PCIe 6.0 s7.5.1.2.4 Expansion ROM Base Address Register.
pub const ROM_BAR: u16 = 0x30;
/// Offset of the first capability, 1 byte, read-only; 0 ends the list.
///
/// PCIe 6.0 s7.5.1.1.11 Capabilities Pointer Register.
pub const CAPABILITIES_POINTER: u16 = 0x34;
/// Interrupt line, 1 byte, read-write scratch for firmware and OS. PCIe 6.0 s7.5.1.1.12 Interrupt Line Register.
pub const INTERRUPT_LINE: u16 = 0x3c;
/// Interrupt pin, 1 byte, read-only: [`InterruptPin`]. PCIe 6.0 s7.5.1.1.13 Interrupt Pin Register.
pub const INTERRUPT_PIN: u16 = 0x3d;
/// `Min_Gnt`, 1 byte, hardwired to 0. PCIe 6.0 s7.5.1.2.5 Min_Gnt Register/Max_Lat Register.
pub const MIN_GNT: u16 = 0x3e;
/// `Max_Lat`, 1 byte, hardwired to 0. PCIe 6.0 s7.5.1.2.5 Min_Gnt Register/Max_Lat Register.
pub const MAX_LAT: u16 = 0x3f;

/// Size of the header, in bytes; capabilities live behind it.
pub const HEADER_SIZE: u16 = 0x40;

/// Base address registers of a type 0 header.
pub const BAR_COUNT: usize = 6;

/// Bits of [`HEADER_TYPE`] that name the layout.
pub const HEADER_LAYOUT_MASK: u8 = 0x7f;
/// Layout of an endpoint.
pub const HEADER_LAYOUT_ENDPOINT: u8 = 0x00;
/// Layout of a bridge (root port, switch port).
pub const HEADER_LAYOUT_BRIDGE: u8 = 0x01;
/// Bit of [`HEADER_TYPE`]: the device has more than one function.
pub const HEADER_MULTI_FUNCTION: u8 = 0x80;

/// Vendor ID that no vendor has: what a read of an absent function returns.
pub const VENDOR_ID_ABSENT: u16 = 0xffff;
/// Vendor ID that a root complex reports while a function answers "Request Retry Status": present, not ready yet.
///
/// PCIe 6.0 s2.3.2 Completion Handling Rules (Configuration RRS Software Visibility).
pub const VENDOR_ID_NOT_READY: u16 = 0x0001;

/// Value of [`INTERRUPT_LINE`] that means "unknown or not connected". PCI Local Bus 3.0 s6.2.4 Miscellaneous Registers.
pub const INTERRUPT_LINE_UNKNOWN: u8 = 0xff;

/// Offset of base address register `index`, or `None` where a type 0 header has none.
#[must_use]
pub const fn bar_offset(index: usize) -> Option<u16> {
    match index {
        0 => Some(BAR0),
        1 => Some(0x14),
        2 => Some(0x18),
        3 => Some(0x1c),
        4 => Some(0x20),
        5 => Some(BAR5),
        _ => None,
    }
}

/// Which base address register the byte at `offset` belongs to, if any.
#[must_use]
pub const fn bar_index(offset: u16) -> Option<usize> {
    if offset < BAR0 || offset >= BAR5 + 4 { None } else { Some(((offset - BAR0) / 4) as usize) }
}

/// The legacy interrupt message that a function uses. PCIe 6.0 s7.5.1.1.13 Interrupt Pin Register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum InterruptPin {
    /// The function uses no legacy interrupt.
    #[default]
    None = 0,
    /// INTA.
    A = 1,
    /// INTB.
    B = 2,
    /// INTC.
    C = 3,
    /// INTD.
    D = 4,
}

impl InterruptPin {
    /// The value of the register.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_address_registers_stand_at_0x10_to_0x27() {
        for index in 0..BAR_COUNT {
            let offset = bar_offset(index).unwrap();
            assert_eq!(usize::from(offset), 0x10 + 4 * index);
            assert_eq!(bar_index(offset), Some(index));
            assert_eq!(bar_index(offset + 3), Some(index));
        }
        assert_eq!(bar_offset(6), None);
        assert_eq!(bar_index(0x0f), None);
        assert_eq!(bar_index(CARDBUS_CIS), None);
    }
}
