//! Client memory for the device.

use std::os::fd::{AsFd, BorrowedFd};

use gate::ThreadToken;
use zerocopy::IntoBytes;

use super::{Client, ClientError, SharedMemory};
use crate::codec::{Command, DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags};

impl Client {
    /// Makes all of `memory` reachable for the device at `iova`, for reading and writing.
    ///
    /// # Errors
    /// See [`ClientError`]; `EEXIST` when the range overlaps a mapping.
    pub fn dma_map(
        &mut self,
        token: &mut ThreadToken,
        iova: u64,
        memory: &SharedMemory,
    ) -> Result<(), ClientError> {
        let map = DmaMap {
            argsz: 32,
            flags: (DmaMapFlags::READ | DmaMapFlags::WRITE).bits(),
            offset: 0,
            address: iova,
            size: memory.len() as u64,
        };
        self.dma_map_raw(token, map, Some(memory.as_fd()))
    }

    /// Sends a `DMA_MAP` as it is, with or without a descriptor.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn dma_map_raw(
        &mut self,
        token: &mut ThreadToken,
        map: DmaMap,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(), ClientError> {
        self.call(token, Command::DmaMap, &[map.as_bytes()], fd.as_slice()).map(drop)
    }

    /// Takes the mapping at `iova` away. When this returns the device does not touch the memory any more.
    ///
    /// # Errors
    /// See [`ClientError`]; `ENOENT` when nothing is mapped there.
    pub fn dma_unmap(&mut self, token: &mut ThreadToken, iova: u64, size: u64) -> Result<(), ClientError> {
        let unmap = DmaUnmap { argsz: 24, flags: 0, address: iova, size };
        self.info(token, Command::DmaUnmap, &unmap).map(drop)
    }

    /// Takes every mapping away.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn dma_unmap_all(&mut self, token: &mut ThreadToken) -> Result<(), ClientError> {
        let unmap = DmaUnmap { argsz: 24, flags: DmaUnmapFlags::ALL.bits(), address: 0, size: 0 };
        self.info(token, Command::DmaUnmap, &unmap).map(drop)
    }
}
