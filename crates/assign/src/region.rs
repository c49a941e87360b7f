//! Regions as vfio numbers them, and how an access to one is cut into the accesses a bus knows.

use mapping::Area;
use pci_core::{BarIndex, FIRST_DEVICE_REGION};

use crate::error::RequestError;

/// A region of a function (VF-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionIndex {
    /// BAR 0 to 5.
    Bar(BarIndex),
    /// The expansion ROM, region 6.
    Rom,
    /// Configuration space, region 7.
    Config,
    /// The device's own, by its place in `pci_core::Device::regions`; from region 9 on. Behind them stands what was added
    /// ([`AddedRegion`](crate::AddedRegion)). There may be none at that place.
    Device(usize),
}

impl RegionIndex {
    /// The region of a number that a client sent. Whether a function has it shows when its size is asked for.
    ///
    /// # Errors
    /// EINVAL: VGA (8), which no function of ours has (VF-13, VF-17).
    pub fn new(index: u32) -> Result<RegionIndex, RequestError> {
        match index {
            0..=5 => u8::try_from(index)
                .ok()
                .and_then(BarIndex::new)
                .map(RegionIndex::Bar)
                .ok_or(RequestError::invalid("no such region")),
            6 => Ok(RegionIndex::Rom),
            7 => Ok(RegionIndex::Config),
            FIRST_DEVICE_REGION.. => usize::try_from(index - FIRST_DEVICE_REGION)
                .map(RegionIndex::Device)
                .map_err(|_| RequestError::invalid("no such region")),
            _ => Err(RequestError::invalid("the function has no VGA region")),
        }
    }

    /// As vfio numbers it.
    pub fn number(self) -> u32 {
        match self {
            RegionIndex::Bar(bar) => u32::from(bar.get()),
            RegionIndex::Rom => 6,
            RegionIndex::Config => 7,
            RegionIndex::Device(nth) => {
                u32::try_from(nth).map_or(u32::MAX, |nth| FIRST_DEVICE_REGION.saturating_add(nth))
            }
        }
    }
}

/// What a region permits, as on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionFlags(pub u32);

impl RegionFlags {
    /// It can be read.
    pub const READ: u32 = 1 << 0;
    /// It can be written.
    pub const WRITE: u32 = 1 << 1;
    /// Some of it can be mapped.
    pub const MMAP: u32 = 1 << 2;
}

/// What a region of the device's own is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionType {
    /// Who defines it; with bit 31 set the PCI vendor in bits 0-15.
    pub kind: u32,
    /// Which of that type.
    pub subtype: u32,
}

/// The answer to an information request about a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// What it permits; 0 for a BAR the function does not have, or that is reached by loads and block stores only.
    pub flags: RegionFlags,
    /// Bytes; 0 for a BAR the function does not have.
    pub size: u64,
    /// What it is for, if it is a region of the device's own.
    pub kind: Option<RegionType>,
    /// Parts that may be mapped, offsets from the region's start, whole pages. Empty: none. A consumer in this process
    /// maps them with [`Assignment::map`](crate::Assignment::map); another one is given their file by
    /// [`Attached::share`](crate::Attached::share), and perhaps not all of them.
    pub areas: Vec<Area>,
    /// Accesses fail with ENODEV when the function is gone, instead of reading all-ones and writing nothing: what is behind
    /// the region are requests, whose consumer has to know that they were not carried out.
    pub fails_when_gone: bool,
}

/// One access of an aligned power of two, and where its bytes lie in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// Cuts `len` bytes at `offset` into naturally aligned accesses of 8, 4, 2 or 1 bytes, at most `widest` (VF-15).
pub(crate) fn pieces(offset: u64, len: usize, widest: usize) -> impl Iterator<Item = Piece> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = len - start;
        let at = offset + start as u64;
        let width = [8, 4, 2, 1]
            .into_iter()
            .find(|width| *width <= widest.min(left) && at.is_multiple_of(*width as u64))?;
        let piece = Piece { offset: at, start, len: width };
        start += width;
        Some(piece)
    })
}

/// Whether `len` bytes at `offset` are inside a region of `size` bytes.
pub(crate) fn check(offset: u64, len: usize, size: u64) -> Result<(), RequestError> {
    if offset.checked_add(len as u64).is_some_and(|end| end <= size) {
        Ok(())
    } else {
        Err(RequestError::invalid("the access is outside the region"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(offset: u64, len: usize, widest: usize) -> Vec<(u64, usize)> {
        pieces(offset, len, widest).map(|piece| (piece.offset, piece.len)).collect()
    }

    #[test]
    fn an_access_is_cut_into_naturally_aligned_pieces_vf_15() {
        assert_eq!(cut(0, 8, 8), [(0, 8)]);
        assert_eq!(cut(4, 8, 8), [(4, 4), (8, 4)]);
        assert_eq!(cut(3, 7, 8), [(3, 1), (4, 4), (8, 2)]);
        assert_eq!(cut(0, 8, 4), [(0, 4), (4, 4)]);
        assert_eq!(cut(5, 0, 8), []);
    }

    #[test]
    fn an_access_that_wraps_or_leaves_the_region_is_refused_vf_15() {
        assert!(check(0, 16, 16).is_ok());
        assert!(check(1, 16, 16).is_err());
        assert!(check(u64::MAX, 2, 16).is_err());
    }

    #[test]
    fn regions_are_numbered_as_vfio_numbers_them_and_vga_is_refused_vf_13_vf_17() {
        for index in (0..=7).chain([9, 10, 1000, u32::MAX]) {
            assert_eq!(RegionIndex::new(index).unwrap().number(), index);
        }
        assert_eq!(RegionIndex::new(9), Ok(RegionIndex::Device(0)));
        assert!(RegionIndex::new(8).is_err());
    }
}
