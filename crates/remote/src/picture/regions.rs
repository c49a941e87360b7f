//! The windows and regions of a back end, as it says they are.

use std::ops::RangeInclusive;

use pci_core::{BarIndex, BarKind, DeviceRegion, FIRST_DEVICE_REGION};
use pci_spec::bar::{self, Kind};
use pci_spec::config;
use vfio_user::client::Region;
use vfio_user::codec::RegionInfoFlags;

use super::bytes::Bytes;
use super::error::PictureError;

/// Regions of the device's own that are carried.
pub(super) const MAX_OWN: u32 = 16;

/// A BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its address space and width.
    pub kind: BarKind,
    /// Bytes that the back end answers for.
    pub bytes: u64,
    /// Bytes that are decoded: the next power of two.
    pub size: u64,
}

/// A region of the back end's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRegion {
    /// As the back end numbers it.
    pub number: u32,
    /// As consumers find it.
    pub region: DeviceRegion,
}

impl Window {
    /// What BAR `index` is, by its region and by its register. `None`: it is not there. The second is whether it is to be
    /// noted that it is shown as not prefetchable.
    pub(super) fn of(
        index: BarIndex,
        region: &Region,
        config: &Bytes,
    ) -> Result<Option<(Window, bool)>, PictureError> {
        let bytes = region.info.size;
        if bytes == 0 {
            return Ok(None);
        }
        let too_large = PictureError::Size { region: index.get().into(), size: bytes };
        let register = config.u32(index.register());
        let (kind, sizes, lost): (_, RangeInclusive<u64>, _) = match Kind::decode(register) {
            Some(Kind::Io) => (BarKind::Io, bar::IO_MIN_SIZE..=bar::IO_MAX_SIZE, false),
            Some(Kind::Memory64 { prefetchable: false }) => (BarKind::Memory64, MEMORY_64, false),
            Some(Kind::Memory64 { prefetchable: true }) => (BarKind::Memory64Prefetchable, MEMORY_64, false),
            Some(Kind::Memory32 { prefetchable }) => (BarKind::Memory32, MEMORY_32, prefetchable),
            // Memory below 1 MiB, of long ago.
            None => (BarKind::Memory32, MEMORY_32, false),
        };
        let size = bytes.checked_next_power_of_two().map(|size| size.max(*sizes.start()));
        match size.filter(|size| sizes.contains(size)) {
            Some(size) => Ok(Some((Window { kind, bytes, size }, lost))),
            None => Err(too_large),
        }
    }
}

const MEMORY_32: RangeInclusive<u64> = bar::MEMORY_MIN_SIZE..=bar::MEMORY_32_MAX_SIZE;
const MEMORY_64: RangeInclusive<u64> = bar::MEMORY_MIN_SIZE..=1 << 63;

/// Bytes of the ROM as it is decoded; `None`: there is none, or none that a register could size.
pub(super) fn rom_size(bytes: u64) -> Option<u64> {
    let size = bytes.checked_next_power_of_two()?.max(bar::ROM_MIN_SIZE);
    if bytes > 0 && size <= bar::ROM_MAX_SIZE { Some(size) } else { None }
}

/// A region of the device's own; `None`: it has no type, no bytes, or cannot be read.
pub(super) fn own(number: u32, region: &Region) -> Option<OwnRegion> {
    let flags = region.flags();
    let kind = region.kind.filter(|_| region.info.size > 0 && flags.contains(RegionInfoFlags::READ))?;
    debug_assert!(number >= FIRST_DEVICE_REGION, "not one of the device's own");
    let writable = flags.contains(RegionInfoFlags::WRITE);
    let region = DeviceRegion { kind: kind.kind, subtype: kind.subtype, size: region.info.size, writable };
    Some(OwnRegion { number, region })
}

/// The six BARs.
pub(super) fn bars() -> impl Iterator<Item = BarIndex> {
    (0..config::BAR_COUNT).filter_map(|index| u8::try_from(index).ok().and_then(BarIndex::new))
}
