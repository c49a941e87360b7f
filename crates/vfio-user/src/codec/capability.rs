//! What stands behind the fixed part of a `DEVICE_GET_REGION_INFO` reply: a chain of capabilities (vfio-user protocol,
//! *VFIO_USER_DEVICE_GET_REGION_INFO*, *capability header*; Linux behaviour VF-14).
//!
//! Two are known: which parts of a region may be mapped, and what a region of the device's own is for. Others are
//! stepped over.

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{RegionInfo, RegionInfoFlags, take};

/// What every capability of a region begins with: 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CapabilityHeader {
    /// Which capability it is: [`SparseMmap::ID`], [`RegionType::ID`].
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

/// The type capability, behind its [`CapabilityHeader`]: what a region of the device's own is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RegionType {
    /// Who defines it; with bit 31 set the PCI vendor in bits 0-15.
    pub kind: u32,
    /// Which of that type.
    pub subtype: u32,
}

impl RegionType {
    /// Capability id.
    pub const ID: u16 = 2;
    /// Version of this layout.
    pub const VERSION: u16 = 1;
}

/// Most areas taken from a peer's capability: more would be no use and only cost memory.
pub const MAX_AREAS: usize = 64;

/// What the capabilities of a region say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionCapabilities {
    /// What it is for, if it is a region of the device's own.
    pub kind: Option<RegionType>,
    /// Parts that may be mapped; empty without a sparse-mmap capability.
    pub areas: Vec<SparseArea>,
}

impl RegionCapabilities {
    /// Parses the capabilities of a `DEVICE_GET_REGION_INFO` reply; there may be none. `payload` is the whole payload, the
    /// fixed part included. What is not known, by its id or its version, is stepped over.
    ///
    /// # Errors
    /// `EINVAL` when the list leaves the payload, does not go forward, has a known capability twice, or claims more areas
    /// than there are bytes or than [`MAX_AREAS`].
    pub fn parse(payload: &[u8]) -> Result<RegionCapabilities, Errno> {
        let (info, _) = take::<RegionInfo>(payload)?;
        let mut found = RegionCapabilities::default();
        if info.flags & RegionInfoFlags::CAPS.bits() == 0 {
            return Ok(found);
        }
        let (mut at, mut last) = (info.cap_offset as usize, size_of::<RegionInfo>() - 1);
        let (mut typed, mut sparse) = (false, false);
        while at != 0 {
            if at <= last {
                return Err(Errno::INVAL);
            }
            last = at;
            let (capability, rest) = take::<CapabilityHeader>(payload.get(at..).ok_or(Errno::INVAL)?)?;
            match (capability.id, capability.version) {
                (RegionType::ID, RegionType::VERSION) => {
                    once(&mut typed)?;
                    found.kind = Some(take::<RegionType>(rest)?.0);
                }
                (SparseMmap::ID, SparseMmap::VERSION) => {
                    once(&mut sparse)?;
                    found.areas = areas(rest)?;
                }
                _ => {}
            }
            at = capability.next as usize;
        }
        Ok(found)
    }

    /// The capabilities as they stand right behind a [`RegionInfo`]; nothing if there are none.
    pub fn encode(&self) -> Vec<u8> {
        const FIRST: usize = size_of::<RegionInfo>();
        let mut bytes = Vec::new();
        if let Some(kind) = &self.kind {
            let end = FIRST + size_of::<CapabilityHeader>() + size_of::<RegionType>();
            let next = if self.areas.is_empty() { 0 } else { wire_size(end) };
            let header = CapabilityHeader { id: RegionType::ID, version: RegionType::VERSION, next };
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(kind.as_bytes());
        }
        if !self.areas.is_empty() {
            let header = CapabilityHeader { id: SparseMmap::ID, version: SparseMmap::VERSION, next: 0 };
            let head = SparseMmap { count: wire_size(self.areas.len()), reserved: 0 };
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend_from_slice(self.areas.as_bytes());
        }
        bytes
    }
}

/// A known capability has been met; it may be once.
fn once(seen: &mut bool) -> Result<(), Errno> {
    if std::mem::replace(seen, true) { Err(Errno::INVAL) } else { Ok(()) }
}

/// The body of a sparse-mmap capability.
fn areas(body: &[u8]) -> Result<Vec<SparseArea>, Errno> {
    let (head, mut rest) = take::<SparseMmap>(body)?;
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
    Ok(areas)
}

/// A size of a structure or a list that this process made, which is far below 4 GiB.
pub(crate) fn wire_size(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(cap_offset: u32, capabilities: &[u8]) -> Vec<u8> {
        let info = RegionInfo { flags: 0xf, cap_offset, ..RegionInfo::default() };
        [info.as_bytes(), capabilities].concat()
    }

    fn capability(id: u16, next: u32) -> Vec<u8> {
        CapabilityHeader { id, version: 1, next }.as_bytes().to_vec()
    }

    fn sparse(next: u32, areas: &[SparseArea]) -> Vec<u8> {
        let head = SparseMmap { count: wire_size(areas.len()), reserved: 0 };
        [&capability(SparseMmap::ID, next), head.as_bytes(), areas.as_bytes()].concat()
    }

    fn typed(next: u32, kind: RegionType) -> Vec<u8> {
        [&capability(RegionType::ID, next), kind.as_bytes()].concat()
    }

    const AREA: SparseArea = SparseArea { offset: 0x1000, size: 0x2000 };
    const KIND: RegionType = RegionType { kind: 0x8000_1234, subtype: 7 };

    #[test]
    fn what_is_encoded_is_parsed_vf_14() {
        for kind in [None, Some(KIND)] {
            for areas in [vec![], vec![AREA], vec![AREA, SparseArea { offset: 0x8000, size: 0x1000 }]] {
                let capabilities = RegionCapabilities { kind, areas };
                let bytes = capabilities.encode();
                let cap_offset = if bytes.is_empty() { 0 } else { 32 };
                assert_eq!(RegionCapabilities::parse(&payload(cap_offset, &bytes)), Ok(capabilities));
            }
        }
    }

    #[test]
    fn the_chain_is_laid_out_as_linux_has_it_vf_14() {
        let both = RegionCapabilities { kind: Some(KIND), areas: vec![AREA] };
        let expected = [
            &[2, 0, 1, 0, 48, 0, 0, 0][..],
            &[0x34, 0x12, 0, 0x80, 7, 0, 0, 0],
            &[1, 0, 1, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &0x1000_u64.to_le_bytes(),
            &0x2000_u64.to_le_bytes(),
        ]
        .concat();
        assert_eq!(both.encode(), expected);
    }

    #[test]
    fn known_capabilities_are_found_in_any_order_and_behind_unknown_ones() {
        let both = RegionCapabilities { kind: Some(KIND), areas: vec![AREA] };
        let newer = CapabilityHeader { id: RegionType::ID, version: 9, next: 40 }.as_bytes().to_vec();
        for bytes in [
            [capability(77, 40), typed(56, KIND), sparse(0, &[AREA])].concat(),
            [capability(77, 40), sparse(72, &[AREA]), typed(0, KIND)].concat(),
            [newer, sparse(72, &[AREA]), typed(0, KIND)].concat(),
        ] {
            assert_eq!(RegionCapabilities::parse(&payload(32, &bytes)), Ok(both.clone()));
        }
        // Without the flag nothing behind the fixed part is looked at.
        let none = [RegionInfo { cap_offset: 32, ..RegionInfo::default() }.as_bytes(), &[0xff; 8]].concat();
        assert_eq!(RegionCapabilities::parse(&none), Ok(RegionCapabilities::default()));
    }

    #[test]
    fn a_hostile_capability_list_is_refused() {
        let claims = |count| {
            [capability(SparseMmap::ID, 0), SparseMmap { count, reserved: 0 }.as_bytes().to_vec()].concat()
        };
        let many = vec![AREA; MAX_AREAS + 1];
        for (cap_offset, bytes) in [
            (8, capability(77, 0)),
            (32, capability(77, 32)),
            (33, capability(77, 33)),
            (u32::MAX, Vec::new()),
            (32, vec![0; 7]),
            (32, claims(1)),
            (32, claims(u32::MAX)),
            (32, sparse(0, &many)),
            (32, capability(RegionType::ID, 0)),
            (32, typed(0, KIND)[..15].to_vec()),
            (32, [typed(48, KIND), typed(0, KIND)].concat()),
            (32, [sparse(64, &[AREA]), sparse(0, &[AREA])].concat()),
            // Backwards, behind something valid.
            (40, [capability(77, 0), typed(32, KIND)].concat()),
        ] {
            assert_eq!(RegionCapabilities::parse(&payload(cap_offset, &bytes)), Err(Errno::INVAL));
        }
    }
}
