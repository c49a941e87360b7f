//! `DMA_MAP` and `DMA_UNMAP`, `DMA_READ` and `DMA_WRITE` (vfio-user protocol, *VFIO_USER_DMA_MAP*, *VFIO_USER_DMA_UNMAP*,
//! *VFIO_USER_DMA_READ*, *VFIO_USER_DMA_WRITE*).

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Payload of `DMA_MAP`: 32 bytes, with at most one descriptor beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DmaMap {
    /// Bytes of this payload.
    pub argsz: u32,
    /// [`DmaMapFlags`].
    pub flags: u32,
    /// Where the memory begins in the descriptor, in bytes.
    pub offset: u64,
    /// First I/O virtual address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
}

bitflags! {
    /// Flags of [`DmaMap`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DmaMapFlags: u32 {
        /// The device may read the memory.
        const READ = 1 << 0;
        /// The device may write the memory.
        const WRITE = 1 << 1;
        /// The server is to map the descriptor.
        const ACCESS_MMAP = 1 << 2;
        /// The server is to use file I/O on the descriptor.
        const ACCESS_FILE_IO = 1 << 3;
    }
}

/// Payload of `DMA_UNMAP` and of its reply: 24 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DmaUnmap {
    /// Bytes of this payload.
    pub argsz: u32,
    /// [`DmaUnmapFlags`].
    pub flags: u32,
    /// First I/O virtual address; zero with [`DmaUnmapFlags::ALL`].
    pub address: u64,
    /// Bytes; zero with [`DmaUnmapFlags::ALL`].
    pub size: u64,
}

bitflags! {
    /// Flags of [`DmaUnmap`]. The protocol text leaves them unused; these two are in use on the wire.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DmaUnmapFlags: u32 {
        /// The reply is to carry a bitmap of pages the device wrote.
        const GET_DIRTY_BITMAP = 1 << 0;
        /// Takes every mapping away.
        const ALL = 1 << 1;
    }
}

/// Payload of `DMA_READ` and of the reply to `DMA_WRITE`, and what the data of the others stands behind: 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DmaAccess {
    /// First I/O virtual address.
    pub address: u64,
    /// Bytes of data.
    pub count: u64,
}
