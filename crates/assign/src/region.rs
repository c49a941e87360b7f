//! Regions as vfio numbers them, and how an access to one is cut into the accesses a bus knows.

use std::os::fd::BorrowedFd;

use pci_core::{BarIndex, MappedArea};

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
}

impl RegionIndex {
    /// Regions that an information request may name: BARs, ROM, configuration space, VGA.
    pub const COUNT: u32 = 9;

    /// The region of a number that a client sent.
    ///
    /// # Errors
    /// EINVAL: there is no such region; also VGA (8), which no function of ours has (VF-13, VF-17).
    pub fn new(index: u32) -> Result<RegionIndex, RequestError> {
        match index {
            0..=5 => u8::try_from(index)
                .ok()
                .and_then(BarIndex::new)
                .map(RegionIndex::Bar)
                .ok_or(RequestError::invalid("no such region")),
            6 => Ok(RegionIndex::Rom),
            7 => Ok(RegionIndex::Config),
            8 => Err(RequestError::invalid("the function has no VGA region")),
            _ => Err(RequestError::invalid("no such region")),
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

/// The answer to an information request about a region.
#[derive(Debug)]
pub struct RegionInfo<'a> {
    /// What it permits; 0 for a BAR the function does not have.
    pub flags: RegionFlags,
    /// Bytes; 0 for a BAR the function does not have.
    pub size: u64,
    /// Parts that may be mapped, offsets from the region's start and into `fd` alike. Empty: none.
    pub areas: Vec<MappedArea>,
    /// The one file to map, if there are areas.
    pub fd: Option<BorrowedFd<'a>>,
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
    fn vga_and_unknown_regions_are_refused_vf_13_vf_17() {
        for index in [8, 9, 1000, u32::MAX] {
            assert!(RegionIndex::new(index).is_err(), "{index}");
        }
    }
}
