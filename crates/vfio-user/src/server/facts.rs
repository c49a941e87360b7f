//! What a client was told of its function, and will be told again when the function is no longer there.
//!
//! Sizes, kinds and numbers are those of the moment at which the client attached, and do not change while it is attached.
//! They are all that a session keeps of a function that was revoked.

use std::time::Duration;

use assign::{Assignment, DeviceInfo, IrqInfo, RegionFlags, RegionInfo};
use rustix::io::Errno;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Flags and counts.
    pub(super) device: DeviceInfo,
    /// By number; `None`: there is no such region. Without areas.
    regions: Vec<Option<RegionInfo>>,
    /// By number.
    irqs: Vec<IrqInfo>,
    /// Nobody else's I/O can still land in the device's data.
    pub(super) data_to_itself: bool,
    /// How many mappings the client may have.
    pub(super) dma_maps: u32,
    /// How long an access may take.
    pub(super) access_timeout: Duration,
    /// How long an unmap may take.
    pub(super) unmap_timeout: Duration,
}

impl Facts {
    pub(super) fn of(function: &Assignment) -> Facts {
        let device = function.device_info();
        let region = |index| {
            let info = function.region_info(index).ok()?;
            Some(RegionInfo { areas: Vec::new(), ..info })
        };
        let limits = function.limits();
        Facts {
            device,
            data_to_itself: function.function().device().has_its_data_to_itself(),
            regions: (0..device.regions).map(region).collect(),
            irqs: (0..device.irqs).filter_map(|index| function.irq_info(index).ok()).collect(),
            dma_maps: u32::try_from(limits.dma_maps).unwrap_or(u32::MAX),
            access_timeout: limits.access_timeout,
            unmap_timeout: limits.unmap_timeout,
        }
    }

    /// Flags, size and kind of a region.
    ///
    /// # Errors
    /// `EINVAL`: there is none of this number.
    pub(super) fn region(&self, index: u32) -> Result<&RegionInfo, Errno> {
        let at = usize::try_from(index).map_err(|_| Errno::INVAL)?;
        self.regions.get(at).and_then(Option::as_ref).ok_or(Errno::INVAL)
    }

    /// Flags and vectors of an interrupt index.
    ///
    /// # Errors
    /// `EINVAL`: there is none of this number.
    pub(super) fn irq(&self, index: u32) -> Result<&IrqInfo, Errno> {
        let at = usize::try_from(index).map_err(|_| Errno::INVAL)?;
        self.irqs.get(at).ok_or(Errno::INVAL)
    }

    /// Reads a function that is not there: all-ones.
    ///
    /// # Errors
    /// `EINVAL`: outside the region. `ENODEV`: the region says so instead ([`RegionInfo::fails_when_gone`]).
    pub(super) fn read(&self, index: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno> {
        self.check(index, offset, data.len())?;
        data.fill(0xff);
        Ok(())
    }

    /// Writes to a function that is not there: nothing happens.
    ///
    /// # Errors
    /// `EINVAL`: outside the region, or it cannot be written. `ENODEV`: as for reads.
    pub(super) fn write(&self, index: u32, offset: u64, data: &[u8]) -> Result<(), Errno> {
        self.check(index, offset, data.len())?;
        let region = self.region(index)?;
        let writable = region.flags.0 & RegionFlags::WRITE != 0;
        if data.is_empty() || writable { Ok(()) } else { Err(Errno::INVAL) }
    }

    fn check(&self, index: u32, offset: u64, length: usize) -> Result<(), Errno> {
        let region = self.region(index)?;
        if region.fails_when_gone {
            return Err(Errno::NODEV);
        }
        let end = offset.checked_add(length as u64).ok_or(Errno::INVAL)?;
        if end <= region.size { Ok(()) } else { Err(Errno::INVAL) }
    }
}
