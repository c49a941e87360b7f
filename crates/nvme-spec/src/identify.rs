//! Identify: what is asked for (CNS), and the structures that answer.
//!
//! NVMe Base 1.4 s5.15 Identify command.

mod controller;
mod descriptor;
mod namespace;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

pub use controller::{
    AsyncEvents, CONTROLLER_TYPE_IO, Controller, LogAttributes, NvmCommands, OptionalAdmin, PowerState,
    VWC_FLUSH_ALL, VWC_FLUSH_NOT_ALL, VWC_PRESENT,
};
pub use descriptor::{
    Descriptor, DescriptorHeader, DescriptorType, UnknownDescriptorType, encode_descriptors,
};
pub use namespace::{
    DEALLOCATED_READS_ONES, DEALLOCATED_READS_ZEROES, LbaFormat, Namespace, NamespaceFeatures,
    WRITE_ZEROES_MAY_DEALLOCATE,
};

code_enum! {
    /// Controller or Namespace Structure. NVMe Base 1.4 s5.15 Identify command, figure "Identify - CNS Values".
    Cns: u8, unknown UnknownCns {
        /// s5.15.2.1 Identify Namespace data structure: [`Namespace`].
        Namespace = 0x00, "Identify Namespace";
        /// s5.15.2.2 Identify Controller data structure: [`Controller`].
        Controller = 0x01, "Identify Controller";
        /// Active Namespace ID list: [`NamespaceList`].
        ActiveNamespaceList = 0x02, "Active Namespace ID list";
        /// Namespace Identification Descriptor list: [`encode_descriptors`].
        NamespaceDescriptors = 0x03, "Namespace Identification Descriptor list";
        /// NVM Set List.
        NvmSetList = 0x04, "NVM Set List";
        /// I/O command set specific Identify Namespace, since NVMe 2.0.
        IoNamespace = 0x05, "I/O Command Set specific Identify Namespace";
        /// I/O command set specific Identify Controller, since NVMe 2.0.
        IoController = 0x06, "I/O Command Set specific Identify Controller";
        /// Allocated Namespace ID list.
        AllocatedNamespaceList = 0x10, "Allocated Namespace ID list";
        /// Identify Namespace of an allocated namespace.
        AllocatedNamespace = 0x11, "Identify Namespace for an allocated namespace";
        /// Controllers that a namespace is attached to.
        AttachedControllerList = 0x12, "Controller list of attached controllers";
        /// Controllers of the subsystem.
        ControllerList = 0x13, "Controller list";
        /// Primary Controller Capabilities.
        PrimaryControllerCapabilities = 0x14, "Primary Controller Capabilities";
        /// Secondary Controller list.
        SecondaryControllerList = 0x15, "Secondary Controller list";
        /// Namespace Granularity List.
        NamespaceGranularityList = 0x16, "Namespace Granularity List";
        /// UUID List.
        UuidList = 0x17, "UUID List";
        /// I/O command sets, since NVMe 2.0.
        IoCommandSets = 0x1c, "I/O Command Set data structure";
    }
}

bit_fields! {
    /// Command dword 10 of Identify.
    Cdw10(u32) {
        /// Controller or Namespace Structure, see [`Cns`].
        cns, with_cns: u8 = 0, 0xff;
        /// Controller Identifier, for the CNS values that use it.
        cntid, with_cntid: u16 = 16, 0xffff;
    }
}

/// A list of namespace identifiers, 4096 bytes: ascending, 0 after the last.
///
/// NVMe Base 1.4, section "Namespace List".
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NamespaceList {
    /// The identifiers.
    pub nsid: [U32; 1024],
}
const _: () = assert!(size_of::<NamespaceList>() == crate::IDENTIFY_SIZE);

zeroed_default!(NamespaceList);

/// Highest namespace identifier that the active list may be asked to start after; above: Invalid Namespace or Format.
pub const LIST_START_MAX: u32 = 0xffff_fffd;

/// An ASCII field: `text` cut to the field and padded with spaces; whatever is not printable ASCII becomes `?`.
///
/// NVMe Base 1.4 s1.5 Conventions (ASCII strings).
#[must_use]
pub fn ascii<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    for (to, from) in field.iter_mut().zip(text.chars()) {
        *to = u8::try_from(from).ok().filter(|byte| (0x20..=0x7e).contains(byte)).unwrap_or(b'?');
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_fields_are_padded_cut_and_printable() {
        assert_eq!(&ascii::<8>("1.0"), b"1.0     ");
        assert_eq!(&ascii::<4>("abcdef"), b"abcd");
        assert_eq!(&ascii::<4>("a\u{e9}\n\u{1f980}"), b"a???");
    }

    #[test]
    fn identify_dword_ten_splits_structure_and_controller() {
        let cdw10 = Cdw10(0x0005_0002);
        assert_eq!((Cns::try_from(cdw10.cns()), cdw10.cntid()), (Ok(Cns::ActiveNamespaceList), 5));
        assert_eq!(Cns::try_from(0x07), Err(UnknownCns(0x07)));
    }

    #[test]
    fn a_namespace_list_is_little_endian_and_ends_with_zero() {
        let mut list = NamespaceList::default();
        list.nsid[0] = 0x0102_0304.into();
        assert_eq!(list.as_bytes()[..8], [4, 3, 2, 1, 0, 0, 0, 0]);
    }
}
