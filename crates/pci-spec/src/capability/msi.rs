//! MSI capability. PCIe 6.0 s7.7.1 MSI Capability Structures.
//!
//! The layout depends on two read-only bits of Message Control: a 64-bit address moves the data by 4 bytes, and
//! per-vector masking appends a mask and a pending register. [`Layout`] resolves both.

use super::id;

/// Capability identifier.
pub const ID: u8 = id::MSI;

/// Offset of Message Control, 2 bytes: [`Control`]. PCIe 6.0 s7.7.1.2 Message Control Register for MSI.
pub const CONTROL: u16 = 0x02;
/// Offset of the message address, 4 bytes. PCIe 6.0 s7.7.1.3 Message Address Register for MSI.
pub const ADDRESS: u16 = 0x04;
/// Offset of the upper half of the message address, 4 bytes, with [`Control::ADDRESS_64`] only.
///
/// PCIe 6.0 s7.7.1.4 Message Upper Address Register for MSI.
pub const UPPER_ADDRESS: u16 = 0x08;

bitflags::bitflags! {
    /// Message Control, without its two count fields.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Control: u16 {
        /// MSI is on, and INTx off. Writable.
        const ENABLE = 1 << 0;
        /// Has a 64-bit message address. Read-only.
        const ADDRESS_64 = 1 << 7;
        /// Has mask and pending bits. Read-only.
        const PER_VECTOR_MASKING = 1 << 8;
        /// Can send 32 bits of data. Read-only.
        const EXTENDED_DATA_CAPABLE = 1 << 9;
        /// Sends 32 bits of data. Writable where capable.
        const EXTENDED_DATA_ENABLE = 1 << 10;
        /// Multiple Message Capable and Multiple Message Enable.
        const _ = MULTIPLE_MESSAGE_CAPABLE_MASK | MULTIPLE_MESSAGE_ENABLE_MASK;
    }
}

/// Bits 3:1 of Message Control: log2 of the vectors that the function asks for. Read-only.
pub const MULTIPLE_MESSAGE_CAPABLE_MASK: u16 = 0b111 << 1;
/// Bits 6:4 of Message Control: log2 of the vectors that software grants. Writable.
pub const MULTIPLE_MESSAGE_ENABLE_MASK: u16 = 0b111 << 4;
/// Most vectors that a function may ask for.
pub const MAX_VECTORS: u16 = 32;

/// Writable bits of [`CONTROL`] (without extended data). No bit is write-one-to-clear.
pub const CONTROL_RW: u16 = Control::ENABLE.bits() | MULTIPLE_MESSAGE_ENABLE_MASK;
/// Writable bits of [`ADDRESS`]: the address is a multiple of 4.
pub const ADDRESS_RW: u32 = !0b11;
/// Writable bits of [`UPPER_ADDRESS`].
pub const UPPER_ADDRESS_RW: u32 = u32::MAX;
/// Writable bits of the data register (without extended data).
pub const DATA_RW: u16 = u16::MAX;

/// Vectors that the function asks for, 1 to 32; `None` for a reserved encoding.
#[must_use]
pub const fn vectors_capable(control: u16) -> Option<u16> {
    vectors((control & MULTIPLE_MESSAGE_CAPABLE_MASK) >> 1)
}

/// Vectors that software granted, 1 to 32; `None` for a reserved encoding.
#[must_use]
pub const fn vectors_enabled(control: u16) -> Option<u16> {
    vectors((control & MULTIPLE_MESSAGE_ENABLE_MASK) >> 4)
}

const fn vectors(log2: u16) -> Option<u16> {
    if log2 <= 5 { Some(1 << log2) } else { None }
}

/// The Multiple Message Capable field, in place, for `vectors`; `None` unless that is 1, 2, 4, 8, 16 or 32.
#[must_use]
pub const fn multiple_message_capable(vectors: u16) -> Option<u16> {
    let log2: u16 = match vectors {
        1 => 0,
        2 => 1,
        4 => 2,
        8 => 3,
        16 => 4,
        MAX_VECTORS => 5,
        _ => return None,
    };
    Some(log2 << 1)
}

/// Writable bits of the mask register for a function with `vectors` vectors (1 to 32).
#[must_use]
pub const fn mask_rw(vectors: u16) -> u32 {
    if vectors >= MAX_VECTORS { u32::MAX } else { (1 << vectors) - 1 }
}

/// Where the registers stand that move with the capability's read-only bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Offset of the message data, 2 bytes. PCIe 6.0 s7.7.1.5 Message Data Register for MSI.
    pub data: u16,
    /// Offset of the mask bits, 4 bytes. PCIe 6.0 s7.7.1.7 Mask Bits Register for MSI.
    pub mask: Option<u16>,
    /// Offset of the pending bits, 4 bytes, read-only. PCIe 6.0 s7.7.1.8 Pending Bits Register for MSI.
    pub pending: Option<u16>,
    /// Length of the capability, in bytes.
    pub length: u16,
}

impl Layout {
    /// The layout that a Message Control value announces.
    #[must_use]
    pub const fn new(control: Control) -> Self {
        let data = if control.contains(Control::ADDRESS_64) { 0x0c } else { 0x08 };
        if control.contains(Control::PER_VECTOR_MASKING) {
            Layout { data, mask: Some(data + 4), pending: Some(data + 8), length: data + 12 }
        } else if control.contains(Control::EXTENDED_DATA_CAPABLE) {
            Layout { data, mask: None, pending: None, length: data + 4 }
        } else {
            Layout { data, mask: None, pending: None, length: data + 2 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_layouts_have_their_standard_lengths() {
        let length = |control| Layout::new(control).length;
        assert_eq!(length(Control::empty()), 10);
        assert_eq!(length(Control::ADDRESS_64), 14);
        assert_eq!(length(Control::PER_VECTOR_MASKING), 20);
        assert_eq!(length(Control::ADDRESS_64 | Control::PER_VECTOR_MASKING), 24);
        let full = Layout::new(Control::ADDRESS_64 | Control::PER_VECTOR_MASKING);
        assert_eq!((full.data, full.mask, full.pending), (0x0c, Some(0x10), Some(0x14)));
    }

    #[test]
    fn vector_counts_round_trip_and_reserved_encodings_are_refused() {
        for vectors in [1, 2, 4, 8, 16, 32] {
            assert_eq!(vectors_capable(multiple_message_capable(vectors).unwrap()), Some(vectors));
        }
        assert_eq!(multiple_message_capable(3), None);
        assert_eq!(multiple_message_capable(64), None);
        assert_eq!(vectors_enabled(0b110 << 4), None);
        assert_eq!(vectors_enabled(0b101 << 4), Some(32));
        assert_eq!((mask_rw(1), mask_rw(4), mask_rw(32)), (0x1, 0xf, u32::MAX));
    }

    #[test]
    fn only_enable_and_multiple_message_enable_are_writable() {
        assert_eq!(CONTROL_RW, 0x0071);
    }
}
