//! Encoding of base address registers: the low bits, and what sizing reads back.
//!
//! PCIe 6.0 s7.5.1.2.1 Base Address Registers, s7.5.1.2.4 Expansion ROM Base Address Register. A BAR's size is a power of
//! two; software finds it by writing all ones and reading which address bits stuck.

/// Bit 0 of a BAR: set for I/O space, clear for memory space.
pub const IO_SPACE: u32 = 1 << 0;
/// Bits 2:1 of a memory BAR: its type.
pub const MEMORY_TYPE_MASK: u32 = 0b11 << 1;
/// Memory type: a 32-bit address in one register.
pub const MEMORY_TYPE_32: u32 = 0b00 << 1;
/// Memory type: a 64-bit address in this register and the next.
pub const MEMORY_TYPE_64: u32 = 0b10 << 1;
/// Bit 3 of a memory BAR: reads have no side effects and writes may be merged.
pub const PREFETCHABLE: u32 = 1 << 3;
/// Address bits of a memory BAR's (low) register.
pub const MEMORY_ADDRESS_MASK: u32 = !0xf;
/// Address bits of an I/O BAR.
pub const IO_ADDRESS_MASK: u32 = !0x3;
/// Bit 0 of the ROM BAR: decode is on (with `Command::MEMORY_SPACE`).
pub const ROM_ENABLE: u32 = 1 << 0;
/// Address bits of the ROM BAR; a ROM is at least 2 KiB.
pub const ROM_ADDRESS_MASK: u32 = !0x7ff;

/// Smallest memory BAR, in bytes: what PCI Express asks of a device.
pub const MEMORY_MIN_SIZE: u64 = 128;
/// Smallest I/O BAR, in bytes.
pub const IO_MIN_SIZE: u64 = 4;
/// Largest I/O BAR that a PCI Express function may ask for, in bytes.
pub const IO_MAX_SIZE: u64 = 256;
/// Largest BAR that one 32-bit register can size, in bytes.
pub const MEMORY_32_MAX_SIZE: u64 = 1 << 31;
/// Smallest expansion ROM, in bytes.
pub const ROM_MIN_SIZE: u64 = 2 << 10;
/// Largest expansion ROM, in bytes.
pub const ROM_MAX_SIZE: u64 = 16 << 20;

/// What a BAR asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// I/O space; one register.
    Io,
    /// Memory space below 4 GiB; one register.
    Memory32 {
        /// Reads have no side effects and writes may be merged.
        prefetchable: bool,
    },
    /// Memory space anywhere; two registers, the low one first.
    Memory64 {
        /// Reads have no side effects and writes may be merged.
        prefetchable: bool,
    },
}

impl Kind {
    /// The read-only low bits of the (low) register.
    #[must_use]
    pub const fn low_bits(self) -> u32 {
        match self {
            Kind::Io => IO_SPACE,
            Kind::Memory32 { prefetchable: false } => MEMORY_TYPE_32,
            Kind::Memory32 { prefetchable: true } => MEMORY_TYPE_32 | PREFETCHABLE,
            Kind::Memory64 { prefetchable: false } => MEMORY_TYPE_64,
            Kind::Memory64 { prefetchable: true } => MEMORY_TYPE_64 | PREFETCHABLE,
        }
    }

    /// What the low register's low bits say, or `None` for a reserved memory type.
    #[must_use]
    pub const fn decode(register: u32) -> Option<Self> {
        if register & IO_SPACE != 0 {
            return Some(Kind::Io);
        }
        let prefetchable = register & PREFETCHABLE != 0;
        match register & MEMORY_TYPE_MASK {
            MEMORY_TYPE_32 => Some(Kind::Memory32 { prefetchable }),
            MEMORY_TYPE_64 => Some(Kind::Memory64 { prefetchable }),
            _ => None,
        }
    }

    /// Registers that it takes: 1 or 2.
    #[must_use]
    pub const fn registers(self) -> usize {
        match self {
            Kind::Io | Kind::Memory32 { .. } => 1,
            Kind::Memory64 { .. } => 2,
        }
    }

    /// Whether a BAR of this kind may have this size, in bytes.
    #[must_use]
    pub const fn allows_size(self, size: u64) -> bool {
        let (least, most) = match self {
            Kind::Io => (IO_MIN_SIZE, IO_MAX_SIZE),
            Kind::Memory32 { .. } => (MEMORY_MIN_SIZE, MEMORY_32_MAX_SIZE),
            Kind::Memory64 { .. } => (MEMORY_MIN_SIZE, 1 << 63),
        };
        size.is_power_of_two() && size >= least && size <= most
    }

    /// The writable address bits for a BAR of `size` bytes (a power of two): low register in bits 31:0, high register
    /// in bits 63:32 (0 where there is none).
    #[must_use]
    pub const fn address_mask(self, size: u64) -> u64 {
        let aligned = !size.wrapping_sub(1);
        match self {
            Kind::Io => aligned & IO_ADDRESS_MASK as u64,
            Kind::Memory32 { .. } => aligned & MEMORY_ADDRESS_MASK as u64,
            Kind::Memory64 { .. } => aligned & !(!MEMORY_ADDRESS_MASK as u64),
        }
    }

    /// The register pair for a BAR of `size` bytes at `address`: address bits and low bits together.
    #[must_use]
    pub const fn encode(self, address: u64, size: u64) -> u64 {
        address & self.address_mask(size) | self.low_bits() as u64
    }

    /// What sizing reads back: the register pair after all ones were written.
    #[must_use]
    pub const fn sizing_value(self, size: u64) -> u64 {
        self.encode(u64::MAX, size)
    }

    /// Size in bytes that a sizing read-back (low register in bits 31:0) means; `None` where no address bit stuck, which
    /// is an unimplemented BAR.
    #[must_use]
    pub const fn size_of(self, readback: u64) -> Option<u64> {
        let address = match self {
            Kind::Io => readback & IO_ADDRESS_MASK as u64,
            Kind::Memory32 { .. } => readback & MEMORY_ADDRESS_MASK as u64,
            Kind::Memory64 { .. } => readback & !(!MEMORY_ADDRESS_MASK as u64),
        };
        if address == 0 { None } else { Some(1 << address.trailing_zeros()) }
    }
}

/// Writable bits of the ROM BAR for a ROM of `size` bytes (a power of two, [`ROM_MIN_SIZE`] to [`ROM_MAX_SIZE`]).
#[must_use]
pub const fn rom_writable_mask(size: u32) -> u32 {
    !size.wrapping_sub(1) & ROM_ADDRESS_MASK | ROM_ENABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 5] = [
        Kind::Io,
        Kind::Memory32 { prefetchable: false },
        Kind::Memory32 { prefetchable: true },
        Kind::Memory64 { prefetchable: false },
        Kind::Memory64 { prefetchable: true },
    ];

    #[test]
    fn low_bits_round_trip_and_match_the_specification() {
        assert_eq!(KINDS.map(Kind::low_bits), [0x1, 0x0, 0x8, 0x4, 0xc]);
        for kind in KINDS {
            assert_eq!(Kind::decode(kind.low_bits()), Some(kind));
        }
        assert_eq!(Kind::decode(0b010), None, "type 01 is reserved");
    }

    #[test]
    fn sizing_a_16_kib_64_bit_bar_reads_back_its_size() {
        let kind = Kind::Memory64 { prefetchable: false };
        assert_eq!(kind.sizing_value(16 << 10), 0xffff_ffff_ffff_c004);
        assert_eq!(kind.size_of(0xffff_ffff_ffff_c004), Some(16 << 10));
        assert_eq!(Kind::Io.sizing_value(32), 0xffff_ffe1);
        assert_eq!(Kind::Memory32 { prefetchable: true }.sizing_value(1 << 20), 0xfff0_0008);
    }

    #[test]
    fn every_allowed_size_survives_sizing() {
        for kind in KINDS {
            for shift in 0..64 {
                let size = 1u64 << shift;
                if kind.allows_size(size) {
                    assert_eq!(kind.size_of(kind.sizing_value(size)), Some(size), "{kind:?} {size:#x}");
                }
            }
            assert!(!kind.allows_size(3 << 10) && !kind.allows_size(0), "{kind:?}");
        }
        assert_eq!(Kind::Io.size_of(0x1), None, "an unimplemented BAR has no size");
    }

    #[test]
    fn encoding_an_address_drops_bits_below_the_size() {
        let kind = Kind::Memory64 { prefetchable: true };
        assert_eq!(kind.encode(0x38_0000_1abc, 0x1000), 0x38_0000_100c);
    }

    #[test]
    fn rom_mask_keeps_the_enable_bit() {
        assert_eq!(rom_writable_mask(2 << 10), 0xffff_f801);
        assert_eq!(rom_writable_mask(64 << 10), 0xffff_0001);
    }
}
