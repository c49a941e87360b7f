//! How the driver reaches a back end: [`Wire`], which a [`Link`] is, and a test's or a simulation's own.

use std::os::fd::{AsFd, BorrowedFd};

use gate::ThreadToken;
use rustix::fs::{SealFlags, fcntl_get_seals};
use vfio_user::client::{MappedArea, SharedMemory};
use vfio_user::codec::{DmaMap, DmaMapFlags, IrqInfoFlags, SetIrqsFlags};

use crate::link::{Link, LinkError, Loss};

/// Region number of BAR 0.
pub const BAR0: u32 = 0;
/// Region number of the configuration space.
pub const CONFIG: u32 = 7;

/// One connection to a back end, for as long as it lasts. Every call but [`Wire::cut`] may wait, for a bounded time.
#[expect(
    clippy::missing_errors_doc,
    reason = "all fail alike: refused, and the wire goes on, or the wire is lost"
)]
pub trait Wire: Send + Sync {
    /// Reads from a region.
    fn read(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), LinkError>;

    /// Writes to a region, and waits until that is done.
    fn write(&self, token: &mut ThreadToken, region: u32, offset: u64, data: &[u8]) -> Result<(), LinkError>;

    /// Writes to a region, in order with everything else, without an answer.
    fn post(&self, token: &mut ThreadToken, region: u32, offset: u64, data: &[u8]) -> Result<(), LinkError>;

    /// Resets the device.
    fn reset(&self, token: &mut ThreadToken) -> Result<(), LinkError>;

    /// Lets the device reach `memory` at `iova`.
    fn map(&self, token: &mut ThreadToken, iova: u64, memory: &SharedMemory) -> Result<(), LinkError>;

    /// Ends that. When it returns the device does not touch the memory any more.
    fn unmap(&self, token: &mut ThreadToken, iova: u64, length: u64) -> Result<(), LinkError>;

    /// Vectors of an interrupt index that can be signalled through eventfds; 0: there is none of the kind.
    fn vectors(&self, token: &mut ThreadToken, index: u32) -> Result<u32, LinkError>;

    /// Has vector 0 of an index signalled through `eventfd`.
    fn signal(&self, token: &mut ThreadToken, index: u32, eventfd: BorrowedFd<'_>) -> Result<(), LinkError>;

    /// Unmasks vector 0 of an index, which masked itself when it fired.
    fn unmask(&self, token: &mut ThreadToken, index: u32) -> Result<(), LinkError>;

    /// Bytes `start..end` of BAR 0 for stores without messages; `None` if that is not offered, or not safe.
    fn doorbells(
        &self,
        token: &mut ThreadToken,
        start: u64,
        end: u64,
    ) -> Result<Option<MappedArea>, LinkError>;

    /// Ends the connection. Waits for nobody.
    fn cut(&self, loss: Loss);
}

impl Wire for Link {
    fn read(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), LinkError> {
        Link::read(self, token, region, offset, data)
    }

    fn write(&self, token: &mut ThreadToken, region: u32, offset: u64, data: &[u8]) -> Result<(), LinkError> {
        Link::write(self, token, region, offset, data)
    }

    fn post(&self, token: &mut ThreadToken, region: u32, offset: u64, data: &[u8]) -> Result<(), LinkError> {
        Link::post(self, token, region, offset, data)
    }

    fn reset(&self, token: &mut ThreadToken) -> Result<(), LinkError> {
        Link::reset(self, token)
    }

    fn map(&self, token: &mut ThreadToken, iova: u64, memory: &SharedMemory) -> Result<(), LinkError> {
        let map = DmaMap {
            argsz: 32,
            flags: (DmaMapFlags::READ | DmaMapFlags::WRITE).bits(),
            offset: 0,
            address: iova,
            size: memory.len() as u64,
        };
        self.dma_map_raw(token, map, Some(memory.as_fd()))
    }

    fn unmap(&self, token: &mut ThreadToken, iova: u64, length: u64) -> Result<(), LinkError> {
        self.dma_unmap(token, iova, length)
    }

    fn vectors(&self, token: &mut ThreadToken, index: u32) -> Result<u32, LinkError> {
        match self.irq_info(token, index) {
            Ok(info) if info.flags & IrqInfoFlags::EVENTFD.bits() != 0 => Ok(info.count),
            Ok(_) | Err(LinkError::Refused { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn signal(&self, token: &mut ThreadToken, index: u32, eventfd: BorrowedFd<'_>) -> Result<(), LinkError> {
        self.set_irq_eventfds(token, index, 0, &[eventfd])
    }

    fn unmask(&self, token: &mut ThreadToken, index: u32) -> Result<(), LinkError> {
        self.irq_action(token, index, 0, 1, SetIrqsFlags::ACTION_UNMASK)
    }

    fn doorbells(
        &self,
        token: &mut ThreadToken,
        start: u64,
        end: u64,
    ) -> Result<Option<MappedArea>, LinkError> {
        let region = self.region_info(token, BAR0)?;
        // A file that can be shrunk under a store ends this process (SIGBUS).
        let safe = region.fd.as_ref().and_then(|fd| fcntl_get_seals(fd).ok());
        if !safe.is_some_and(|seals| seals.contains(SealFlags::SHRINK)) {
            return Ok(None);
        }
        let covers =
            |offset: u64, size: u64| offset <= start && offset.checked_add(size).is_some_and(|to| end <= to);
        let area = region.mappable().into_iter().find(|area| covers(area.offset, area.size));
        Ok(area.and_then(|area| region.map(&area).ok()))
    }

    fn cut(&self, loss: Loss) {
        Link::cut(self, loss);
    }
}
