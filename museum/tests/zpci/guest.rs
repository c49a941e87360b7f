//! A guest that has block operations done through the region, and the memory that their data is in.

use crate::machine::tally::note;
use assign::{Assignment, DmaMapFlags, DmaMapRequest, Errno, RequestError};
use gate::ThreadToken;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::pread;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use zpci::region::{IoRequest, layout};

/// Where vfio has the region: behind the 9 that every function has.
const REGION: u32 = 9;
/// Where the guest's memory is.
const MEMORY: u64 = 0x1_0000;
const SIZE: usize = 4096;

/// A guest that has a function.
pub(super) struct Guest {
    function: Arc<Assignment>,
    memory: OwnedFd,
}

impl Guest {
    /// Has its memory mapped for a function that somebody has.
    pub(super) fn of(function: &Arc<Assignment>, token: &mut ThreadToken) -> Guest {
        let memory = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&memory, SIZE as u64).unwrap();
        let flags = DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE | DmaMapFlags::ACCESS_MMAP);
        let fd = Some(memory.try_clone().unwrap());
        let map = DmaMapRequest { flags, offset: 0, iova: MEMORY, size: SIZE as u64, fd };
        note("mapping", &function.dma_map(token, map));
        Guest { function: function.clone(), memory }
    }

    /// Has 8 bytes of the first BAR put into its memory, and gives them.
    pub(super) fn read(&self, token: &mut ThreadToken) -> Result<[u8; 8], Errno> {
        self.ask(token, IoRequest::READ, 8)?;
        let mut data = [0; 8];
        assert_eq!(pread(&self.memory, &mut data, 0), Ok(data.len()));
        Ok(data)
    }

    /// Has 128 bytes of its memory put into the first BAR as one block.
    pub(super) fn write(&self, token: &mut ThreadToken) -> Result<(), Errno> {
        self.ask(token, IoRequest::BLOCKW, 128)
    }

    fn ask(&self, token: &mut ThreadToken, flags: u64, length: u16) -> Result<(), Errno> {
        let request = IoRequest { flags, address: MEMORY, length, ..IoRequest::default() };
        let done = self.function.region_write(token, REGION, layout::REQUEST_START, &request.encode());
        note(if flags == IoRequest::READ { "region read" } else { "region write" }, &done);
        done.map_err(|RequestError { errno, .. }| errno)
    }

    /// Whether there is nothing to be had of the function any more.
    pub(super) fn is_cut_off(&self) -> bool {
        self.function.is_gone()
    }
}
