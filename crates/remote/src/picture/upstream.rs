//! What a picture is taken of and what accesses are forwarded to.

use gate::ThreadToken;
use vfio_user::client::Region;
use vfio_user::codec::{DeviceInfo, IrqInfo};

use crate::link::{Link, LinkError};

/// A back end as this module and [`forward`](crate::forward) use it: a [`Link`], or a double of one.
pub trait Upstream: Send + Sync {
    /// Flags and counts of the device.
    ///
    /// # Errors
    /// As [`Link`]'s.
    fn device_info(&self, token: &mut ThreadToken) -> Result<DeviceInfo, LinkError>;

    /// Size, flags, areas and memory of a region.
    ///
    /// # Errors
    /// As [`Link`]'s.
    fn region_info(&self, token: &mut ThreadToken, index: u32) -> Result<Region, LinkError>;

    /// Flags and vectors of an interrupt index.
    ///
    /// # Errors
    /// As [`Link`]'s.
    fn irq_info(&self, token: &mut ThreadToken, index: u32) -> Result<IrqInfo, LinkError>;

    /// Reads at most [`Upstream::transfer_limit`] bytes, and waits for them.
    ///
    /// # Errors
    /// As [`Link`]'s.
    fn read(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), LinkError>;

    /// Writes without waiting for more than room to send it; in order with everything else.
    ///
    /// # Errors
    /// As [`Link`]'s.
    fn post(&self, token: &mut ThreadToken, region: u32, offset: u64, data: &[u8]) -> Result<(), LinkError>;

    /// Resets the device; in order with everything else, and nobody waits for it.
    ///
    /// # Errors
    /// As [`Link`]'s.
    fn post_reset(&self, token: &mut ThreadToken) -> Result<(), LinkError>;

    /// Bytes that one read or write may have.
    fn transfer_limit(&self) -> usize;
}

impl Upstream for Link {
    fn device_info(&self, token: &mut ThreadToken) -> Result<DeviceInfo, LinkError> {
        Link::device_info(self, token)
    }

    fn region_info(&self, token: &mut ThreadToken, index: u32) -> Result<Region, LinkError> {
        Link::region_info(self, token, index)
    }

    fn irq_info(&self, token: &mut ThreadToken, index: u32) -> Result<IrqInfo, LinkError> {
        Link::irq_info(self, token, index)
    }

    fn read(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), LinkError> {
        Link::read(self, token, region, offset, data)
    }

    fn post(&self, token: &mut ThreadToken, region: u32, offset: u64, data: &[u8]) -> Result<(), LinkError> {
        Link::post(self, token, region, offset, data)
    }

    fn post_reset(&self, token: &mut ThreadToken) -> Result<(), LinkError> {
        Link::post_reset(self, token)
    }

    fn transfer_limit(&self) -> usize {
        usize::try_from(self.capabilities().max_data_xfer_size).unwrap_or(usize::MAX)
    }
}
