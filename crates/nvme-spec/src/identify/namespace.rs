//! Identify Namespace. NVMe Base 1.4 s5.15.2.1 Identify Namespace data structure (CNS 00h).

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Identify Namespace, 4096 bytes; fields by the specification's abbreviations. All zeroes is an inactive namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Namespace {
    /// Namespace Size, in logical blocks.
    pub nsze: U64,
    /// Namespace Capacity, in logical blocks.
    pub ncap: U64,
    /// Namespace Utilization, in logical blocks.
    pub nuse: U64,
    /// Namespace Features: [`NamespaceFeatures`].
    pub nsfeat: u8,
    /// Number of LBA Formats, 0's based.
    pub nlbaf: u8,
    /// Formatted LBA Size: index of the format in 3:0, metadata at the end of each block in bit 4.
    pub flbas: u8,
    /// Metadata Capabilities.
    pub mc: u8,
    /// End-to-end Data Protection Capabilities.
    pub dpc: u8,
    /// End-to-end Data Protection Type Settings.
    pub dps: u8,
    /// Namespace Multi-path I/O and Namespace Sharing Capabilities.
    pub nmic: u8,
    /// Reservation Capabilities.
    pub rescap: u8,
    /// Format Progress Indicator.
    pub fpi: u8,
    /// Deallocate Logical Block Features: what deallocated blocks read in 2:0, [`WRITE_ZEROES_MAY_DEALLOCATE`].
    pub dlfeat: u8,
    /// Namespace Atomic Write Unit Normal, in logical blocks, 0's based.
    pub nawun: U16,
    /// Namespace Atomic Write Unit Power Fail, in logical blocks, 0's based.
    pub nawupf: U16,
    /// Namespace Atomic Compare & Write Unit, in logical blocks, 0's based.
    pub nacwu: U16,
    /// Namespace Atomic Boundary Size Normal, in logical blocks, 0's based.
    pub nabsn: U16,
    /// Namespace Atomic Boundary Offset, in logical blocks.
    pub nabo: U16,
    /// Namespace Atomic Boundary Size Power Fail, in logical blocks, 0's based.
    pub nabspf: U16,
    /// Namespace Optimal I/O Boundary, in logical blocks; 0 is none.
    pub noiob: U16,
    /// NVM Capacity, in bytes.
    pub nvmcap: U128,
    /// Namespace Preferred Write Granularity, in logical blocks, 0's based.
    pub npwg: U16,
    /// Namespace Preferred Write Alignment, in logical blocks, 0's based.
    pub npwa: U16,
    /// Namespace Preferred Deallocate Granularity, in logical blocks, 0's based.
    pub npdg: U16,
    /// Namespace Preferred Deallocate Alignment, in logical blocks, 0's based.
    pub npda: U16,
    /// Namespace Optimal Write Size, in logical blocks, 0's based.
    pub nows: U16,
    /// Reserved (NVMe 2.0 has the limits of Copy at 74).
    pub reserved74: [u8; 18],
    /// ANA Group Identifier.
    pub anagrpid: U32,
    /// Reserved.
    pub reserved96: [u8; 3],
    /// Namespace Attributes: write protected in bit 0.
    pub nsattr: u8,
    /// NVM Set Identifier.
    pub nvmsetid: U16,
    /// Endurance Group Identifier.
    pub endgid: U16,
    /// Namespace Globally Unique Identifier, most significant byte first; zeroes if there is none.
    pub nguid: [u8; 16],
    /// IEEE Extended Unique Identifier, most significant byte first; zeroes if there is none.
    pub eui64: [u8; 8],
    /// LBA Formats 0 to 15.
    pub lbaf: [LbaFormat; 16],
    /// Reserved (NVMe 2.0: LBA formats 16 to 63).
    pub reserved192: [u8; 192],
    /// Vendor specific.
    pub vendor: [u8; 3712],
}
const _: () = assert!(size_of::<Namespace>() == crate::IDENTIFY_SIZE);

zeroed_default!(Namespace);

impl Namespace {
    /// The format that is in use, by FLBAS.
    #[must_use]
    pub fn format(&self) -> LbaFormat {
        self.lbaf[usize::from(self.flbas & 0xf)]
    }
}

/// LBA Format, 4 bytes. Figure "Identify - LBA Format Data Structure, NVM Command Set Specific".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LbaFormat {
    /// Metadata Size, in bytes.
    pub ms: U16,
    /// LBA Data Size: log2 of bytes, at least 9; 0 if the format is not available.
    pub lbads: u8,
    /// Relative Performance in 1:0; 0 is best.
    pub rp: u8,
}
const _: () = assert!(size_of::<LbaFormat>() == 4);

impl LbaFormat {
    /// A format without metadata, with blocks of `1 << lbads` bytes.
    #[must_use]
    pub const fn plain(lbads: u8) -> Self {
        Self { ms: U16::ZERO, lbads, rp: 0 }
    }

    /// Bytes of data in a block; `None` where LBADS is reserved (below 9) or larger than 63.
    #[must_use]
    pub const fn block_size(self) -> Option<u64> {
        if self.lbads >= 9 && self.lbads < 64 { Some(1 << self.lbads) } else { None }
    }
}

bitflags::bitflags! {
    /// Namespace Features.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct NamespaceFeatures: u8 {
        /// Thin provisioning: capacity may be less than size.
        const THIN = 1 << 0;
        /// The namespace's atomic fields are to be used.
        const ATOMIC = 1 << 1;
        /// Supports the Deallocated or Unwritten Logical Block error.
        const DEALLOCATED_ERROR = 1 << 2;
        /// Identifiers are never reused.
        const UNIQUE_IDS = 1 << 3;
        /// The preferred and optimal sizes are to be used.
        const OPTIMAL_PERFORMANCE = 1 << 4;
    }
}

/// Bits 2:0 of [`Namespace::dlfeat`]: deallocated blocks read as zeroes.
pub const DEALLOCATED_READS_ZEROES: u8 = 0b001;
/// Bits 2:0 of [`Namespace::dlfeat`]: deallocated blocks read as all ones.
pub const DEALLOCATED_READS_ONES: u8 = 0b010;
/// Bit 3 of [`Namespace::dlfeat`]: Write Zeroes honours its Deallocate bit.
pub const WRITE_ZEROES_MAY_DEALLOCATE: u8 = 1 << 3;

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn every_key_field_stands_where_the_specification_puts_it() {
        let at = [
            (offset_of!(Namespace, nsze), 0),
            (offset_of!(Namespace, ncap), 8),
            (offset_of!(Namespace, nuse), 16),
            (offset_of!(Namespace, nsfeat), 24),
            (offset_of!(Namespace, flbas), 26),
            (offset_of!(Namespace, nmic), 30),
            (offset_of!(Namespace, dlfeat), 33),
            (offset_of!(Namespace, nawun), 34),
            (offset_of!(Namespace, noiob), 46),
            (offset_of!(Namespace, nvmcap), 48),
            (offset_of!(Namespace, npwg), 64),
            (offset_of!(Namespace, nows), 72),
            (offset_of!(Namespace, anagrpid), 92),
            (offset_of!(Namespace, nsattr), 99),
            (offset_of!(Namespace, endgid), 102),
            (offset_of!(Namespace, nguid), 104),
            (offset_of!(Namespace, eui64), 120),
            (offset_of!(Namespace, lbaf), 128),
            (offset_of!(Namespace, vendor), 384),
        ];
        for (index, (actual, expected)) in at.into_iter().enumerate() {
            assert_eq!(actual, expected, "row {index}");
        }
    }

    #[test]
    fn the_format_in_use_gives_the_block_size() {
        let mut namespace = Namespace::default();
        assert_eq!(namespace.format().block_size(), None, "an inactive namespace has no block size");
        namespace.lbaf[1] = LbaFormat::plain(12);
        namespace.flbas = 1;
        assert_eq!(namespace.format().block_size(), Some(4096));
        assert_eq!(namespace.as_bytes()[132..136], [0, 0, 12, 0]);
        assert_eq!(LbaFormat::plain(64).block_size(), None);
    }
}
