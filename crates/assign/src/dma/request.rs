//! A consumer's request to map memory, and its validation (plan, before anything is done).

use std::os::fd::OwnedFd;

use crate::error::RequestError;
use crate::mapping::Permissions;

/// The unit of addresses, offsets and sizes, in bytes (`pgsizes` 4096 in vfio-user).
pub(crate) const PAGE: u64 = 4096;

/// Flags of a map request, as on the wire (vfio-user `VFIO_USER_DMA_MAP`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DmaMapFlags(pub u32);

impl DmaMapFlags {
    /// The device may read the memory.
    pub const READ: u32 = 1 << 0;
    /// The device may write the memory.
    pub const WRITE: u32 = 1 << 1;
    /// The file is to be accessed by mapping it; needs a file.
    pub const ACCESS_MMAP: u32 = 1 << 2;
    /// The file may be accessed by file I/O; needs a file. This server only maps.
    pub const ACCESS_FILE_IO: u32 = 1 << 3;

    const ACCESS: u32 = Self::ACCESS_MMAP | Self::ACCESS_FILE_IO;
    const ALL: u32 = Self::READ | Self::WRITE | Self::ACCESS;
}

/// A consumer asks to make `size` bytes of its memory reachable at `iova`.
#[derive(Debug)]
pub struct DmaMapRequest {
    /// Directions and mode.
    pub flags: DmaMapFlags,
    /// Where in the file the memory starts, in bytes; a multiple of 4 KiB.
    pub offset: u64,
    /// The first I/O address; a multiple of 4 KiB.
    pub iova: u64,
    /// Bytes; a multiple of 4 KiB, not zero.
    pub size: u64,
    /// The memory. Without it the range is known but unreachable ([`crate::DmaError::NoMemory`]): QEMU maps its
    /// ROMs and other devices' BARs so.
    pub fd: Option<OwnedFd>,
}

impl DmaMapRequest {
    /// Checks everything that can be told without looking at the map or the file.
    pub(crate) fn validate(&self) -> Result<Permissions, RequestError> {
        let flags = self.flags.0;
        if flags & !DmaMapFlags::ALL != 0 {
            return Err(RequestError::invalid("unknown DMA map flags"));
        }
        if flags & (DmaMapFlags::READ | DmaMapFlags::WRITE) == 0 {
            return Err(RequestError::invalid("a DMA map must permit reads or writes"));
        }
        if flags & DmaMapFlags::ACCESS != 0 && self.fd.is_none() {
            return Err(RequestError::invalid("an access mode without a file"));
        }
        if flags & DmaMapFlags::ACCESS == DmaMapFlags::ACCESS_FILE_IO {
            return Err(RequestError::invalid("DMA through file I/O is not offered"));
        }
        check_range(self.iova, self.size)?;
        if self.fd.is_some() && !self.offset.is_multiple_of(PAGE) {
            return Err(RequestError::invalid("the file offset is not a multiple of 4 KiB"));
        }
        Ok(Permissions { read: flags & DmaMapFlags::READ != 0, write: flags & DmaMapFlags::WRITE != 0 })
    }
}

/// A range as map and unmap accept it; the address after its last byte.
pub(crate) fn check_range(iova: u64, size: u64) -> Result<u64, RequestError> {
    if size == 0 {
        return Err(RequestError::invalid("the size is zero"));
    }
    if !iova.is_multiple_of(PAGE) || !size.is_multiple_of(PAGE) {
        return Err(RequestError::invalid("the address or size is not a multiple of 4 KiB"));
    }
    iova.checked_add(size).ok_or(RequestError::invalid("the range wraps around the address space"))
}
