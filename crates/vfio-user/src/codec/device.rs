//! `DEVICE_GET_INFO` (vfio-user protocol, *VFIO_USER_DEVICE_GET_INFO*).

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Regions that every PCI function has in the numbering of vfio: BAR 0-5, expansion ROM, configuration space, VGA. A
/// device's own regions are numbered from here on.
pub const REGION_COUNT: u32 = 9;

/// Payload of `DEVICE_GET_INFO` and of its reply: 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DeviceInfo {
    /// Bytes that the sender has room for.
    pub argsz: u32,
    /// [`DeviceFlags`].
    pub flags: u32,
    /// Region indexes are below this.
    pub num_regions: u32,
    /// Interrupt indexes are below this.
    pub num_irqs: u32,
}

bitflags! {
    /// Flags of [`DeviceInfo`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DeviceFlags: u32 {
        /// `DEVICE_RESET` works.
        const RESET = 1 << 0;
        /// The device is a PCI function.
        const PCI = 1 << 1;
    }
}
