//! Namespace Identification Descriptor list. NVMe Base 1.4 s5.15.2.4 Namespace Identification Descriptor list (CNS 03h).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::IDENTIFY_SIZE;

code_enum! {
    /// Namespace Identifier Type.
    DescriptorType: u8, unknown UnknownDescriptorType {
        /// IEEE Extended Unique Identifier, 8 bytes.
        Eui64 = 0x1, "EUI64";
        /// Namespace Globally Unique Identifier, 16 bytes.
        Nguid = 0x2, "NGUID";
        /// Namespace UUID, 16 bytes.
        Uuid = 0x3, "UUID";
        /// Command Set Identifier, 1 byte, since NVMe 2.0.
        CommandSet = 0x4, "CSI";
    }
}

/// Header of a descriptor, 4 bytes; the identifier follows. A type of 0 ends the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DescriptorHeader {
    /// Namespace Identifier Type: [`DescriptorType`].
    pub nidt: u8,
    /// Namespace Identifier Length, in bytes, without this header.
    pub nidl: u8,
    /// Reserved.
    pub reserved: [u8; 2],
}
const _: () = assert!(size_of::<DescriptorHeader>() == 4);

/// One identifier of a namespace, most significant byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Descriptor {
    /// IEEE Extended Unique Identifier.
    Eui64([u8; 8]),
    /// Namespace Globally Unique Identifier.
    Nguid([u8; 16]),
    /// Namespace UUID.
    Uuid([u8; 16]),
    /// Command Set Identifier: 0 is the NVM command set.
    CommandSet(u8),
}

impl Descriptor {
    /// Its type.
    #[must_use]
    pub const fn kind(&self) -> DescriptorType {
        match self {
            Descriptor::Eui64(_) => DescriptorType::Eui64,
            Descriptor::Nguid(_) => DescriptorType::Nguid,
            Descriptor::Uuid(_) => DescriptorType::Uuid,
            Descriptor::CommandSet(_) => DescriptorType::CommandSet,
        }
    }

    fn identifier(&self) -> &[u8] {
        match self {
            Descriptor::Eui64(id) => id,
            Descriptor::Nguid(id) | Descriptor::Uuid(id) => id,
            Descriptor::CommandSet(id) => core::slice::from_ref(id),
        }
    }
}

/// The list as Identify returns it, ended by zeroes; `None` if the descriptors do not fit.
#[must_use]
pub fn encode_descriptors(descriptors: &[Descriptor]) -> Option<[u8; IDENTIFY_SIZE]> {
    let mut list = [0; IDENTIFY_SIZE];
    let mut rest = &mut list[..];
    for descriptor in descriptors {
        let id = descriptor.identifier();
        let header = DescriptorHeader {
            nidt: descriptor.kind().code(),
            nidl: u8::try_from(id.len()).ok()?,
            reserved: [0; 2],
        };
        let (head, after) = rest.split_at_mut_checked(size_of::<DescriptorHeader>())?;
        let (body, after) = after.split_at_mut_checked(id.len())?;
        head.copy_from_slice(header.as_bytes());
        body.copy_from_slice(id);
        rest = after;
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_follow_each_other_and_zeroes_end_the_list() {
        let list =
            encode_descriptors(&[Descriptor::Eui64([1, 2, 3, 4, 5, 6, 7, 8]), Descriptor::Uuid([0xab; 16])])
                .unwrap();
        assert_eq!(list[..12], [1, 8, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(list[12..16], [3, 16, 0, 0]);
        assert_eq!(list[16..32], [0xab; 16]);
        assert!(list[32..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn more_descriptors_than_fit_are_refused() {
        // 204 x 20 bytes fit into 4096, 205 do not.
        assert!(encode_descriptors(&[Descriptor::Nguid([1; 16]); 204]).is_some());
        assert!(encode_descriptors(&[Descriptor::Nguid([1; 16]); 205]).is_none());
    }
}
