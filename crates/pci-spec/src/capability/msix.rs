//! MSI-X capability, vector table and pending bit array. PCIe 6.0 s7.7.2 MSI-X Capability and Table Structure.

use super::id;

/// Capability identifier.
pub const ID: u8 = id::MSI_X;
/// Length of the capability, in bytes.
pub const LENGTH: u16 = 12;

/// Offset of Message Control, 2 bytes: [`Control`]. PCIe 6.0 s7.7.2.2 Message Control Register for MSI-X.
pub const CONTROL: u16 = 0x02;
/// Offset of the table's place, 4 bytes, read-only: [`Location`].
///
/// PCIe 6.0 s7.7.2.3 Table Offset/Table BIR Register for MSI-X.
pub const TABLE: u16 = 0x04;
/// Offset of the pending bit array's place, 4 bytes, read-only: [`Location`].
///
/// PCIe 6.0 s7.7.2.4 PBA Offset/PBA BIR Register for MSI-X.
pub const PBA: u16 = 0x08;

bitflags::bitflags! {
    /// Message Control, without the table size.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Control: u16 {
        /// All vectors are masked. Writable.
        const FUNCTION_MASK = 1 << 14;
        /// MSI-X is on, and INTx off. Writable.
        const ENABLE = 1 << 15;
        /// The table size field.
        const _ = TABLE_SIZE_MASK;
    }
}

/// Bits 10:0 of Message Control: entries of the table less one. Read-only.
pub const TABLE_SIZE_MASK: u16 = 0x7ff;
/// Most entries of a table.
pub const MAX_VECTORS: u16 = 2048;
/// Writable bits of [`CONTROL`]. No bit is write-one-to-clear.
pub const CONTROL_RW: u16 = Control::FUNCTION_MASK.bits() | Control::ENABLE.bits();

/// Entries of the table, 1 to 2048.
#[must_use]
pub const fn table_size(control: u16) -> u16 {
    (control & TABLE_SIZE_MASK) + 1
}

/// The table size field for `vectors` entries; `None` unless that is 1 to 2048.
#[must_use]
pub const fn table_size_field(vectors: u16) -> Option<u16> {
    if vectors >= 1 && vectors <= MAX_VECTORS { Some(vectors - 1) } else { None }
}

/// Where a structure stands: which BAR, and how far into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// BAR index, 0 to 5 (a 64-bit BAR by its low register).
    pub bar: u8,
    /// Offset in the BAR, in bytes, a multiple of 8.
    pub offset: u32,
}

/// Bits of [`TABLE`] and [`PBA`] that hold the BAR index.
pub const BIR_MASK: u32 = 0b111;

impl Location {
    /// The value of the register; `None` if the BAR is not 0 to 5 or the offset is no multiple of 8.
    #[must_use]
    pub const fn encode(self) -> Option<u32> {
        if self.bar > 5 || self.offset & BIR_MASK != 0 { None } else { Some(self.offset | self.bar as u32) }
    }

    /// What a register value says; `None` for the reserved BAR indexes 6 and 7.
    #[must_use]
    pub const fn decode(register: u32) -> Option<Self> {
        let bar = (register & BIR_MASK) as u8;
        if bar > 5 { None } else { Some(Location { bar, offset: register & !BIR_MASK }) }
    }
}

/// One entry of the vector table, in the BAR. PCIe 6.0 s7.7.2 MSI-X Capability and Table Structure.
pub mod entry {
    /// Length of an entry, in bytes.
    pub const LENGTH: u32 = 16;
    /// Offset of the message address, 4 bytes, read-write.
    pub const ADDRESS: u32 = 0x0;
    /// Offset of the upper half of the message address, 4 bytes, read-write.
    pub const UPPER_ADDRESS: u32 = 0x4;
    /// Offset of the message data, 4 bytes, read-write.
    pub const DATA: u32 = 0x8;
    /// Offset of Vector Control, 4 bytes. PCIe 6.0 s7.7.2.8 Vector Control Register for MSI-X Table Entries.
    pub const VECTOR_CONTROL: u32 = 0xc;
    /// Bit of Vector Control: the vector is masked. Set after reset. Writable.
    pub const VECTOR_CONTROL_MASK: u32 = 1 << 0;
    /// Writable bits of the message address.
    pub const ADDRESS_RW: u32 = !0b11;
}

/// Length of a table of `vectors` entries, in bytes.
#[must_use]
pub const fn table_length(vectors: u16) -> u32 {
    vectors as u32 * entry::LENGTH
}

/// Length of a pending bit array for `vectors` entries, in bytes: one bit each, in 8-byte words.
#[must_use]
pub const fn pba_length(vectors: u16) -> u32 {
    (vectors as u32).div_ceil(64) * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_round_trips_and_reserved_bars_are_refused() {
        let table = Location { bar: 4, offset: 0x2000 };
        assert_eq!(table.encode(), Some(0x2004));
        assert_eq!(Location::decode(0x2004), Some(table));
        assert_eq!(Location::decode(0x2006), None);
        assert_eq!(Location { bar: 6, offset: 0 }.encode(), None);
        assert_eq!(Location { bar: 0, offset: 4 }.encode(), None);
    }

    #[test]
    fn table_size_is_stored_less_one() {
        assert_eq!(table_size_field(65), Some(0x40));
        assert_eq!(table_size(0xc040), 65);
        assert_eq!(table_size_field(2048), Some(TABLE_SIZE_MASK));
        assert_eq!((table_size_field(0), table_size_field(2049)), (None, None));
        assert_eq!(CONTROL_RW, 0xc000);
    }

    #[test]
    fn table_and_pending_array_lengths_follow_the_vector_count() {
        assert_eq!(table_length(65), 0x410);
        assert_eq!((pba_length(1), pba_length(64), pba_length(65)), (8, 8, 16));
    }
}
