//! Region messages (vfio-user protocol, *VFIO_USER_DEVICE_GET_REGION_INFO*,
//! *VFIO_USER_DEVICE_GET_REGION_IO_FDS*, *VFIO_USER_REGION_READ*, *VFIO_USER_REGION_WRITE*,
//! *VFIO_USER_REGION_WRITE_MULTI*).

use bitflags::bitflags;
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::take;

/// Fixed part of `DEVICE_GET_REGION_INFO` and of its reply: 32 bytes, then capabilities in the reply.
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

/// What every capability of a region begins with: 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CapabilityHeader {
    /// [`SparseMmap::ID`] is the one this implementation knows.
    pub id: u16,
    /// Version of the capability's layout.
    pub version: u16,
    /// Where the next capability begins, from the start of [`RegionInfo`], in bytes; zero ends the list.
    pub next: u32,
}

/// Head of the sparse-mmap capability, behind its [`CapabilityHeader`]; then [`SparseArea`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SparseMmap {
    /// Areas that follow.
    pub count: u32,
    /// Zero.
    pub reserved: u32,
}

impl SparseMmap {
    /// Capability id.
    pub const ID: u16 = 1;
    /// Version of this layout.
    pub const VERSION: u16 = 1;
}

/// A part of a region that may be mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SparseArea {
    /// From the start of the region, in bytes.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// Most areas taken from a peer's capability: more would be no use and only cost memory.
const MAX_AREAS: usize = 64;

/// The areas in the sparse-mmap capability of a `DEVICE_GET_REGION_INFO` reply; none when it has none.
/// `payload` is the whole payload, the fixed part included.
///
/// # Errors
/// `EINVAL` when the list of capabilities leaves the payload, does not go forward, or claims more areas than
/// there are bytes or than 64.
pub fn sparse_areas(payload: &[u8]) -> Result<Vec<SparseArea>, Errno> {
    let (info, _) = take::<RegionInfo>(payload)?;
    if info.flags & RegionInfoFlags::CAPS.bits() == 0 {
        return Ok(Vec::new());
    }
    let mut at = info.cap_offset as usize;
    let mut last = size_of::<RegionInfo>() - 1;
    while at != 0 {
        if at <= last {
            return Err(Errno::INVAL);
        }
        last = at;
        let (capability, rest) = take::<CapabilityHeader>(payload.get(at..).ok_or(Errno::INVAL)?)?;
        if capability.id == SparseMmap::ID {
            let (head, mut rest) = take::<SparseMmap>(rest)?;
            let count = head.count as usize;
            if count > MAX_AREAS {
                return Err(Errno::INVAL);
            }
            let mut areas = Vec::with_capacity(count);
            for _ in 0..count {
                let (area, tail) = take::<SparseArea>(rest)?;
                areas.push(area);
                rest = tail;
            }
            return Ok(areas);
        }
        at = capability.next as usize;
    }
    Ok(Vec::new())
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

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn payload(cap_offset: u32, capabilities: &[u8]) -> Vec<u8> {
        let info = RegionInfo { flags: 0xf, cap_offset, ..RegionInfo::default() };
        [info.as_bytes(), capabilities].concat()
    }

    fn capability(id: u16, next: u32) -> Vec<u8> {
        CapabilityHeader { id, version: 1, next }.as_bytes().to_vec()
    }

    #[test]
    fn the_areas_behind_an_unknown_capability_are_found() {
        let area = SparseArea { offset: 0x1000, size: 0x1000 };
        let bytes = [
            capability(77, 40),
            capability(SparseMmap::ID, 0),
            SparseMmap { count: 1, reserved: 0 }.as_bytes().to_vec(),
            area.as_bytes().to_vec(),
        ]
        .concat();
        assert_eq!(sparse_areas(&payload(32, &bytes)), Ok(vec![area]));
    }

    #[test]
    fn a_hostile_capability_list_is_refused() {
        let claims = |count| {
            [capability(SparseMmap::ID, 0), SparseMmap { count, reserved: 0 }.as_bytes().to_vec()].concat()
        };
        for (cap_offset, bytes) in [
            (8, capability(77, 0)),
            (32, capability(77, 32)),
            (33, capability(77, 33)),
            (u32::MAX, Vec::new()),
            (32, vec![0; 7]),
            (32, claims(1)),
            (32, claims(u32::MAX)),
        ] {
            assert_eq!(sparse_areas(&payload(cap_offset, &bytes)), Err(Errno::INVAL));
        }
    }
}
