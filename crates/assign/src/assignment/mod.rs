//! A function and its one consumer: attach, requests, detach.
//!
//! [`Assignment`] is the function as a consumer finds it. How one attaches and leaves is in `attach`, what it may ask
//! for in `requests`, and what it is told of a failure in `outcome`. `map` maps the function's memory for a consumer in
//! this process, `share` hands it to one in another.
//!
//! # Concurrency
//! One consumer at a time, by an atomic flag. Requests may come from several threads; each is atomic by the means
//! of what it changes (modules `dma` and `interrupts`). Nothing is locked here.

mod attach;
mod map;
mod outcome;
mod requests;
mod share;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use gate::{Admission, ThreadToken};
use pci_core::{BarAccess, BarIndex, DeviceRegion, FIRST_DEVICE_REGION, Function, Sentinel};

pub use attach::{AttachError, Attached};
pub use map::RegionMapRequest;
pub use requests::Requests;
pub use share::SharedRegion;

use crate::added::{AddRegionError, Added, AddedRegion};
use crate::dma::DmaMapRequest;
use crate::error::{Errno, RequestError};
use crate::interrupts::{IrqInfo, SetIrqs};
use crate::limits::Limits;
use crate::patience::Patience;
use crate::port::Port;
use crate::region::{RegionFlags, RegionIndex, RegionInfo, RegionType};

/// A function that can be given to a consumer.
pub struct Assignment {
    function: Arc<Function>,
    port: Arc<Port>,
    limits: Limits,
    attached: AtomicBool,
    /// Behind the regions of the device's own; set before a consumer can count them.
    added: OnceLock<Added>,
}

/// The answer to an information request about the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        let (attached, added) = (AtomicBool::new(false), OnceLock::new());
        Arc::new(Assignment { function, port, limits, attached, added })
    }

    /// Adds a region, behind those of the device's own. One at most, and for as long as the assignment lives.
    ///
    /// # Errors
    /// [`AddRegionError`]; nothing has changed.
    pub fn add_region(&self, behind: Arc<dyn AddedRegion>) -> Result<(), AddRegionError> {
        // Nobody attaches meanwhile, and finds another number of regions than it was told.
        if self.attached.swap(true, Ordering::AcqRel) {
            return Err(AddRegionError::InUse);
        }
        let nth = self.function.device().regions().len();
        let added = self.added.set(Added { nth, behind });
        self.attached.store(false, Ordering::Release);
        added.map_err(|_| AddRegionError::Taken)
    }

    /// Has `sentinel` told of every sign that the function or its device has failed. One, and for ever: false if there is
    /// one already.
    pub fn watch_errors(&self, sentinel: Arc<dyn Sentinel>) -> bool {
        let function = self.function.watch_errors(Arc::clone(&sentinel));
        self.port.watch_errors(sentinel) && function
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

    /// Whether the function was removed. For ever: what comes in its place is another assignment (law 5).
    #[inline]
    pub fn is_gone(&self) -> bool {
        self.port.handle().admission() == Admission::Gone
    }

    /// Flags and counts (VF-12).
    pub fn device_info(&self) -> DeviceInfo {
        let own = self.function.device().regions().len() + usize::from(self.added.get().is_some());
        let own = u32::try_from(own).unwrap_or(u32::MAX);
        DeviceInfo { reset: true, regions: FIRST_DEVICE_REGION.saturating_add(own), irqs: 5 }
    }

    /// Size, permissions, kind and mappable areas of a region (VF-13, VF-14). What is refused to everybody is not permitted:
    /// reads and writes of the BARs of a device that takes blocks only.
    ///
    /// # Errors
    /// EINVAL: there is no such region.
    pub fn region_info(&self, index: u32) -> Result<RegionInfo, RequestError> {
        let region = RegionIndex::new(index)?;
        let size = self.region_size(region)?;
        let own = match region {
            RegionIndex::Device(nth) => self.device_region(nth),
            RegionIndex::Bar(_) | RegionIndex::Rom | RegionIndex::Config => None,
        };
        let readable = self.is_plain(region);
        let writable = readable && own.map_or(region != RegionIndex::Rom, |own| own.writable);
        let areas = self.mappable(region).map(|mappable| mappable.areas).unwrap_or_default();
        let mut flags = RegionFlags(0);
        if size != 0 {
            flags.0 |= if readable { RegionFlags::READ } else { 0 };
            flags.0 |= if writable { RegionFlags::WRITE } else { 0 };
            flags.0 |= if areas.is_empty() { 0 } else { RegionFlags::MMAP };
        }
        let kind = own.map(|own| RegionType { kind: own.kind, subtype: own.subtype });
        let fails_when_gone = self.added(region).is_some();
        Ok(RegionInfo { flags, size, kind, areas, fails_when_gone })
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

    /// Bytes of a region; 0 for a BAR or a ROM that the function does not have. Every access asks.
    #[inline]
    fn region_size(&self, region: RegionIndex) -> Result<u64, RequestError> {
        let config = self.function.config();
        match region {
            RegionIndex::Bar(bar) => Ok(config.window_size(bar).unwrap_or(0)),
            RegionIndex::Rom => Ok(config.window_size(BarIndex::ROM).unwrap_or(0)),
            RegionIndex::Config => Ok(pci_core::CONFIG_SIZE as u64),
            RegionIndex::Device(nth) => {
                self.device_region(nth).map(|own| own.size).ok_or(RequestError::invalid("no such region"))
            }
        }
    }

    /// Whether the region is reached by reads and writes, and not only by what an added region makes of a request.
    fn is_plain(&self, region: RegionIndex) -> bool {
        match region {
            RegionIndex::Bar(_) | RegionIndex::Rom => self.function.device().bar_access() == BarAccess::Plain,
            RegionIndex::Config | RegionIndex::Device(_) => true,
        }
    }

    /// The region of the device's own in this place, or the added one. Kept out of the accesses to BARs.
    #[inline(never)]
    fn device_region(&self, nth: usize) -> Option<DeviceRegion> {
        match self.added(RegionIndex::Device(nth)) {
            Some(added) => Some(added.region()),
            None => self.function.device().regions().get(nth).copied(),
        }
    }

    /// What is behind a region that was added. Costs the others nothing: their kind is known where this is asked.
    #[inline]
    fn added(&self, region: RegionIndex) -> Option<&dyn AddedRegion> {
        let RegionIndex::Device(nth) = region else { return None };
        self.added.get().filter(|added| added.nth == nth).map(|added| &*added.behind)
    }

    fn require_attached(&self) -> Result<(), RequestError> {
        if self.is_attached() {
            Ok(())
        } else {
            Err(RequestError::new(Errno::ENODEV, "no consumer is attached"))
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
