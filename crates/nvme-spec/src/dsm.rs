//! Dataset Management command. NVMe Base 1.4 s6.7 Dataset Management command.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most ranges of one command.
pub const MAX_RANGES: usize = 256;

/// One range, 16 bytes. Figure "Dataset Management - Range Definition".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Range {
    /// Context Attributes: hints.
    pub attributes: U32,
    /// Length in logical blocks, not 0's based; 0 is an empty range.
    pub length: U32,
    /// Starting LBA.
    pub slba: U64,
}
const _: () = assert!(size_of::<Range>() == 16);

bit_fields! {
    /// Command dword 10.
    Cdw10(u32) {
        /// Number of Ranges, 0's based.
        nr, with_nr: u8 = 0, 0xff;
    }
}

impl Cdw10 {
    /// Ranges of the command, 1 to 256.
    #[must_use]
    pub const fn range_count(self) -> usize {
        self.nr() as usize + 1
    }
}

bit_fields! {
    /// Command dword 11.
    Cdw11(u32) {
        /// Integral Dataset for Read: a hint.
        idr, with_idr: bool = 0;
        /// Integral Dataset for Write: a hint.
        idw, with_idw: bool = 1;
        /// Deallocate.
        ad, with_ad: bool = 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_decodes_from_its_sixteen_bytes() {
        let bytes = [0, 0, 0, 0, 8, 0, 0, 0, 0, 0x10, 0, 0, 1, 0, 0, 0];
        let range = Range::read_from_bytes(&bytes).unwrap();
        assert_eq!((range.attributes.get(), range.length.get(), range.slba.get()), (0, 8, 0x1_0000_1000));
        assert_eq!(range.as_bytes(), bytes);
    }

    #[test]
    fn deallocate_is_bit_two_and_ranges_are_zeroes_based() {
        assert!(Cdw11(0x4).ad() && !Cdw11(0x3).ad());
        assert_eq!(Cdw10(0).range_count(), 1);
        assert_eq!(Cdw10(0xff).range_count(), MAX_RANGES);
    }
}
