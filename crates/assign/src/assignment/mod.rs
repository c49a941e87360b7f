//! A function and its one consumer: attach, requests, detach.
//!
//! [`Assignment`] is the function as a consumer finds it. How one attaches and leaves is in `attach`, what it may ask
//! for in `requests`, and what it is told of a failure in `outcome`.
//!
//! # Concurrency
//! One consumer at a time, by an atomic flag. Requests may come from several threads; each is atomic by the means
//! of what it changes (modules `dma` and `interrupts`). Nothing is locked here.

mod attach;
mod outcome;
mod requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gate::ThreadToken;
use pci_core::{BarIndex, Function};

pub use attach::{AttachError, Attached};
pub use requests::Requests;

use crate::dma::DmaMapRequest;
use crate::error::RequestError;
use crate::interrupts::{IrqInfo, SetIrqs};
use crate::limits::Limits;
use crate::patience::Patience;
use crate::port::Port;
use crate::region::{RegionFlags, RegionIndex, RegionInfo};

/// A function that can be given to a consumer.
pub struct Assignment {
    function: Arc<Function>,
    port: Arc<Port>,
    limits: Limits,
    attached: AtomicBool,
}

/// The answer to an information request about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The device can be reset.
    pub reset: bool,
    /// Region indexes.
    pub regions: u32,
    /// Interrupt indexes.
    pub irqs: u32,
}

impl Assignment {
    /// `port` is the one that the function's device model uses.
    pub fn new(function: Arc<Function>, port: Arc<Port>, limits: Limits) -> Arc<Assignment> {
        Arc::new(Assignment { function, port, limits, attached: AtomicBool::new(false) })
    }

    /// The function.
    pub fn function(&self) -> &Arc<Function> {
        &self.function
    }

    /// The device model's side.
    pub fn port(&self) -> &Arc<Port> {
        &self.port
    }

    /// The bounds on the consumer.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether a consumer has the function.
    pub fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Acquire)
    }

    /// Flags and counts (VF-12).
    pub fn device_info(&self) -> DeviceInfo {
        DeviceInfo { reset: true, regions: RegionIndex::COUNT, irqs: 5 }
    }

    /// Size, permissions and mappable areas of a region (VF-13, VF-14).
    ///
    /// # Errors
    /// EINVAL: there is no such region.
    pub fn region_info(&self, index: u32) -> Result<RegionInfo<'_>, RequestError> {
        let region = RegionIndex::new(index)?;
        let size = self.region_size(region);
        let mut flags = match region {
            _ if size == 0 => 0,
            RegionIndex::Rom => RegionFlags::READ,
            RegionIndex::Bar(_) | RegionIndex::Config => RegionFlags::READ | RegionFlags::WRITE,
        };
        let mapped = match region {
            RegionIndex::Bar(bar) if size != 0 => self.function.device().mapped_areas(bar),
            _ => None,
        };
        let (areas, fd) = match mapped {
            Some(mapped) if !mapped.areas.is_empty() => (mapped.areas.to_vec(), Some(mapped.fd)),
            _ => (Vec::new(), None),
        };
        if fd.is_some() {
            flags |= RegionFlags::MMAP;
        }
        Ok(RegionInfo { flags: RegionFlags(flags), size, areas, fd })
    }

    /// Flags and vectors of an interrupt index (VF-30).
    ///
    /// # Errors
    /// EINVAL: there is no such index.
    pub fn irq_info(&self, index: u32) -> Result<IrqInfo, RequestError> {
        self.port.interrupts().info(index)
    }

    /// Requests that stand behind each other and share `patience`, such as those of one client's connection.
    #[inline]
    pub fn requests<'a>(&'a self, patience: &'a mut Patience) -> Requests<'a> {
        Requests::new(self, patience)
    }

    fn region_size(&self, region: RegionIndex) -> u64 {
        let config = self.function.config();
        match region {
            RegionIndex::Bar(bar) => config.window_size(bar).unwrap_or(0),
            RegionIndex::Rom => config.window_size(BarIndex::ROM).unwrap_or(0),
            RegionIndex::Config => pci_core::CONFIG_SIZE as u64,
        }
    }
}

/// Single requests: each has all the time that [`Limits`] gives it.
impl Assignment {
    /// As [`Requests::set_irqs`].
    ///
    /// # Errors
    /// As there.
    pub fn set_irqs(&self, token: &mut ThreadToken, request: SetIrqs<'_>) -> Result<(), RequestError> {
        self.requests(&mut Patience::new()).set_irqs(token, request)
    }

    /// As [`Requests::region_read`].
    ///
    /// # Errors
    /// As there.
    pub fn region_read(
        &self,
        token: &mut ThreadToken,
        index: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), RequestError> {
        self.requests(&mut Patience::new()).region_read(token, index, offset, data)
    }

    /// As [`Requests::region_write`].
    ///
    /// # Errors
    /// As there.
    pub fn region_write(
        &self,
        token: &mut ThreadToken,
        index: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<(), RequestError> {
        self.requests(&mut Patience::new()).region_write(token, index, offset, data)
    }

    /// As [`Requests::dma_map`].
    ///
    /// # Errors
    /// As there.
    pub fn dma_map(&self, token: &mut ThreadToken, request: DmaMapRequest) -> Result<(), RequestError> {
        self.requests(&mut Patience::new()).dma_map(token, request)
    }

    /// As [`Requests::dma_unmap`].
    ///
    /// # Errors
    /// As there.
    pub fn dma_unmap(&self, token: &mut ThreadToken, iova: u64, size: u64) -> Result<(), RequestError> {
        self.requests(&mut Patience::new()).dma_unmap(token, iova, size)
    }

    /// As [`Requests::dma_unmap_all`].
    ///
    /// # Errors
    /// As there.
    pub fn dma_unmap_all(&self, token: &mut ThreadToken) -> Result<(), RequestError> {
        self.requests(&mut Patience::new()).dma_unmap_all(token)
    }

    /// As [`Requests::reset`].
    ///
    /// # Errors
    /// As there.
    pub fn reset(&self, token: &mut ThreadToken) -> Result<(), RequestError> {
        self.requests(&mut Patience::new()).reset(token)
    }
}
