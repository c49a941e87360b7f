//! Single Root I/O Virtualization. PCIe 6.0 s9.3.3 SR-IOV Extended Capability.

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length, in bytes.
pub const LENGTH: u16 = 0x40;

/// Offset of the capabilities, 4 bytes, read-only. PCIe 6.0 s9.3.3.2 SR-IOV Capabilities Register.
pub const CAPABILITIES: u16 = 0x04;
/// Offset of the control register, 2 bytes: [`Control`]. PCIe 6.0 s9.3.3.3 SR-IOV Control Register.
pub const CONTROL: u16 = 0x08;
/// Offset of the status register, 2 bytes. PCIe 6.0 s9.3.3.4 SR-IOV Status Register.
pub const STATUS: u16 = 0x0a;
/// Offset of `InitialVFs`, 2 bytes, read-only. PCIe 6.0 s9.3.3.5 InitialVFs.
pub const INITIAL_VFS: u16 = 0x0c;
/// Offset of `TotalVFs`, 2 bytes, read-only. PCIe 6.0 s9.3.3.6 TotalVFs.
pub const TOTAL_VFS: u16 = 0x0e;
/// Offset of `NumVFs`, 2 bytes, read-write while VFs are off. PCIe 6.0 s9.3.3.7 NumVFs.
pub const NUM_VFS: u16 = 0x10;
/// Offset of the dependency link, 1 byte, read-only: the function itself if it depends on no other.
///
/// PCIe 6.0 s9.3.3.8 Function Dependency Link.
pub const DEPENDENCY_LINK: u16 = 0x12;
/// Offset of the distance of the first VF, 2 bytes, read-only. PCIe 6.0 s9.3.3.9 First VF Offset.
pub const FIRST_VF_OFFSET: u16 = 0x14;
/// Offset of the distance between VFs, 2 bytes, read-only. PCIe 6.0 s9.3.3.10 VF Stride.
pub const VF_STRIDE: u16 = 0x16;
/// Offset of the VFs' device ID, 2 bytes, read-only. PCIe 6.0 s9.3.3.11 VF Device ID.
pub const VF_DEVICE_ID: u16 = 0x1a;
/// Offset of the page sizes that VFs can have, 4 bytes, read-only: bit 0 is 4 KiB.
///
/// PCIe 6.0 s9.3.3.12 Supported Page Sizes.
pub const SUPPORTED_PAGE_SIZES: u16 = 0x1c;
/// Offset of the page size in use, 4 bytes, read-write. PCIe 6.0 s9.3.3.13 System Page Size.
pub const SYSTEM_PAGE_SIZE: u16 = 0x20;
/// Offset of the first base address register of the VFs, 4 bytes; six follow each other. Each VF takes one piece.
///
/// PCIe 6.0 s9.3.3.14 VF BAR0, VF BAR1, ... VF BAR5.
pub const VF_BAR0: u16 = 0x24;

/// All page sizes that a function has to support, from 4 KiB to 4 MiB.
pub const PAGE_SIZES: u32 = 0x553;
/// The page size after reset: 4 KiB.
pub const PAGE_SIZE_DEFAULT: u32 = 1;
/// Bit of the capabilities: offset and stride stay over a change of the ARI hierarchy.
pub const ARI_HIERARCHY_PRESERVED: u32 = 1 << 1;

bitflags::bitflags! {
    /// The control register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Control: u16 {
        /// The VFs are there.
        const VF_ENABLE = 1 << 0;
        /// The VFs' BARs are decoded.
        const VF_MEMORY_SPACE = 1 << 3;
        /// The VFs may use function numbers above 7 of the physical function's device.
        const ARI_HIERARCHY = 1 << 4;
    }
}

/// Writable bits of the control register in a function without VF migration.
pub const CONTROL_RW: u16 = Control::all().bits();

/// Routing ID of VF `index` (from 0) of the function with routing ID `physical`; it may lie on a later bus. `None` where
/// it lies beyond the last bus.
///
/// PCIe 6.0 s9.2.1.2 VF Discovery.
#[must_use]
pub const fn routing_id(physical: u16, first_offset: u16, stride: u16, index: u16) -> Option<u16> {
    let Some(first) = physical.checked_add(first_offset) else { return None };
    let Some(further) = stride.checked_mul(index) else { return None };
    first.checked_add(further)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_functions_cross_the_bus_boundary_and_end_with_the_last_bus() {
        assert_eq!(routing_id(0x0100, 0x80, 2, 0), Some(0x0180));
        assert_eq!(routing_id(0x0100, 0x80, 2, 64), Some(0x0200));
        assert_eq!(routing_id(0xff00, 0x80, 2, 64), None);
    }
}
