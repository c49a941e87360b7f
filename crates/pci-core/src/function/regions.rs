//! Regions as vfio numbers them (VF-13), and access to those that are the device's own.

use super::Function;
use crate::config::{BarIndex, CONFIG_SIZE};
use crate::device::{DeviceRegion, FIRST_DEVICE_REGION};
use crate::error::AccessError;
use crate::power::DeviceState;
use crate::tap::TapAt;
use gate::{AccessKind, Pass, ThreadToken, Until};

/// Number of the region that is the configuration space.
const CONFIG_REGION: u32 = 7;

impl Function {
    /// Bytes of a region: a BAR (0 to 5), the ROM (6), configuration space (7), one of the device's own (from
    /// [`FIRST_DEVICE_REGION`]). `None` if the function has no such region.
    #[must_use]
    pub fn region_size(&self, region: u32) -> Option<u64> {
        if region == CONFIG_REGION {
            return u64::try_from(CONFIG_SIZE).ok();
        }
        match u8::try_from(region).ok().and_then(BarIndex::new) {
            Some(window) => self.config.window_size(window),
            None => self.device_region(region).map(|(_, region)| region.size),
        }
    }

    /// Reads a region of the device's own; waits to `until` while the function is blocked.
    ///
    /// # Errors
    /// [`AccessError`] says why it was not read; `data` is then all-ones (CFG-03).
    pub fn read_region(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
        until: impl Until,
    ) -> Result<(), AccessError> {
        let read = self.try_read_region(token, region, offset, data, until);
        if read.is_err() {
            self.read_was_refused(AccessKind::Bar, data);
        }
        read
    }

    /// Writes a region of the device's own; waits to `until` while the function is blocked.
    ///
    /// # Errors
    /// [`AccessError`] says why the write was dropped.
    pub fn write_region(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &[u8],
        until: impl Until,
    ) -> Result<(), AccessError> {
        let written = self.try_write_region(token, region, offset, data, until);
        if written.is_err() {
            self.write_was_refused(AccessKind::Bar);
        }
        written
    }

    fn try_read_region(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
        until: impl Until,
    ) -> Result<(), AccessError> {
        let (nth, found) = self.device_region(region).ok_or(AccessError::NoRegion(region))?;
        check_inside(found, offset, data.len())?;
        if self.way.is_tapped()
            && let Some(answer) = self.tapped_region_read(token, nth, offset, data)
        {
            return answer;
        }
        if self.way.waits() {
            return self.wait_to_read_region(token, (nth, region), offset, data, until.deadline());
        }
        let pass = self.enter_region(token, region, until)?;
        Ok(self.call(&pass, |device| device.read_region(&pass, nth, offset, data))?)
    }

    fn try_write_region(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &[u8],
        until: impl Until,
    ) -> Result<(), AccessError> {
        let (nth, found) = self.device_region(region).ok_or(AccessError::NoRegion(region))?;
        check_inside(found, offset, data.len())?;
        if !found.writable {
            return Err(AccessError::ReadOnly);
        }
        if self.way.is_plain() {
            let pass = self.enter_region(token, region, until)?;
            return Ok(self.call(&pass, |device| device.write_region(&pass, nth, offset, data))?);
        }
        self.as_judged(token, (TapAt::Own(nth), offset, data), until, |token, deadline| {
            if self.way.waits() {
                return self.wait_to_write_region(token, (nth, region), offset, data, deadline);
            }
            let pass = self.enter_region(token, region, deadline)?;
            Ok(self.call(&pass, |device| device.write_region(&pass, nth, offset, data))?)
        })
    }

    /// Which of the device's own regions has this number.
    fn device_region(&self, region: u32) -> Option<(usize, &DeviceRegion)> {
        let nth = usize::try_from(region.checked_sub(FIRST_DEVICE_REGION)?).ok()?;
        self.device.regions().get(nth).map(|found| (nth, found))
    }

    /// Such a region is there whatever COMMAND says, and asleep with the function.
    fn enter_region<'t>(
        &'t self,
        token: &'t mut ThreadToken,
        region: u32,
        until: impl Until,
    ) -> Result<Pass<'t>, AccessError> {
        let pass = self.handle.enter(token, AccessKind::Bar, until)?;
        self.check_awake(region)?;
        Ok(pass)
    }

    pub(super) fn check_awake(&self, region: u32) -> Result<(), AccessError> {
        if self.device_state() < DeviceState::D3Hot { Ok(()) } else { Err(AccessError::Asleep(region)) }
    }
}

fn check_inside(region: &DeviceRegion, offset: u64, length: usize) -> Result<(), AccessError> {
    let room = region.size.checked_sub(offset).ok_or(AccessError::OutOfRange)?;
    if u64::try_from(length).map_or(true, |length| length > room) {
        return Err(AccessError::OutOfRange);
    }
    Ok(())
}
