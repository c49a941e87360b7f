//! Region messages (vfio-user protocol, *VFIO_USER_DEVICE_GET_REGION_INFO*,
//! *VFIO_USER_DEVICE_GET_REGION_IO_FDS*, *VFIO_USER_REGION_READ*, *VFIO_USER_REGION_WRITE*,
//! *VFIO_USER_REGION_WRITE_MULTI*).

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Fixed part of `DEVICE_GET_REGION_INFO` and of its reply: 32 bytes, then capabilities in the reply
/// ([`RegionCapabilities`](super::RegionCapabilities)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RegionInfo {
    /// In the command: bytes that the sender has room for. In the reply: bytes that the whole answer needs.
    pub argsz: u32,
    /// [`RegionInfoFlags`].
    pub flags: u32,
    /// Region index.
    pub index: u32,
    /// Where the first capability begins, from the start of this structure, in bytes; zero for none.
    pub cap_offset: u32,
    /// Bytes of the region; zero when the function has no such region.
    pub size: u64,
    /// Where the region begins in the descriptor beside the reply, in bytes.
    pub offset: u64,
}

bitflags! {
    /// Flags of [`RegionInfo`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RegionInfoFlags: u32 {
        /// Can be read.
        const READ = 1 << 0;
        /// Can be written.
        const WRITE = 1 << 1;
        /// Can be mapped, where a sparse-mmap capability says.
        const MMAP = 1 << 2;
        /// Has capabilities.
        const CAPS = 1 << 3;
    }
}

/// Fixed part of `DEVICE_GET_REGION_IO_FDS`: 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RegionIoFds {
    /// Bytes that the sender has room for.
    pub argsz: u32,
    /// Zero.
    pub flags: u32,
    /// Region index.
    pub index: u32,
    /// Zero in the command.
    pub count: u32,
}

/// Fixed part of `REGION_READ` and `REGION_WRITE` and of their replies: 16 bytes, then data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RegionAccess {
    /// From the start of the region, in bytes.
    pub offset: u64,
    /// Region index.
    pub region: u32,
    /// Bytes of data.
    pub count: u32,
}

/// One write of `REGION_WRITE_MULTI`: 24 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MultiWrite {
    /// From the start of the region, in bytes.
    pub offset: u64,
    /// Region index.
    pub region: u32,
    /// Bytes of `data` in use, 1-8.
    pub count: u32,
    /// The bytes to write, in the order they take in the region.
    pub data: [u8; 8],
}

impl MultiWrite {
    /// The entries in `bytes`, whose length is a multiple of 24; a rest is ignored. The bytes may have any
    /// alignment.
    pub fn each(bytes: &[u8]) -> impl Iterator<Item = MultiWrite> + '_ {
        bytes
            .chunks_exact(size_of::<MultiWrite>())
            .filter_map(|entry| MultiWrite::read_from_bytes(entry).ok())
    }

    /// The bytes to write.
    pub fn bytes(&self) -> &[u8] {
        self.data.get(..self.count as usize).unwrap_or(&self.data)
    }
}
