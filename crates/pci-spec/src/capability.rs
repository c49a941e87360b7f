//! The capability list in the first 256 bytes: header, identifiers and the layouts used here.
//!
//! PCIe 6.0 s7.5.3.1 PCI Express Capability List Register shows the common header; PCI Local Bus 3.0 s6.7 Capabilities
//! List says how to walk it.

pub mod af;
pub mod express;
pub mod msi;
pub mod msix;
pub mod pm;

/// Offset of the capability ID in a capability, 1 byte, read-only.
pub const ID: u16 = 0x00;
/// Offset of the next-capability pointer in a capability, 1 byte, read-only; 0 ends the list.
pub const NEXT: u16 = 0x01;
/// Length of the header, in bytes.
pub const HEADER_LENGTH: u16 = 2;
/// Capabilities start at multiples of 4; software masks the pointer's low two bits.
pub const POINTER_MASK: u8 = 0xfc;
/// Lowest offset at which a capability may stand.
pub const FIRST_OFFSET: u16 = 0x40;
/// Most capabilities that fit between the header and byte 256: a bound for walking a list that may loop.
pub const MAX_COUNT: usize = (256 - 0x40) / 4;

/// Capability identifiers.
///
/// PCI Code and ID Assignment Specification, chapter "Capability IDs".
pub mod id {
    /// Null capability: only a header.
    pub const NULL: u8 = 0x00;
    /// PCI Power Management Interface.
    pub const POWER_MANAGEMENT: u8 = 0x01;
    /// Accelerated Graphics Port.
    pub const AGP: u8 = 0x02;
    /// Vital Product Data.
    pub const VPD: u8 = 0x03;
    /// Slot Identification.
    pub const SLOT_ID: u8 = 0x04;
    /// Message Signaled Interrupts.
    pub const MSI: u8 = 0x05;
    /// `CompactPCI` hot swap.
    pub const COMPACT_PCI_HOT_SWAP: u8 = 0x06;
    /// PCI-X.
    pub const PCI_X: u8 = 0x07;
    /// `HyperTransport`.
    pub const HYPER_TRANSPORT: u8 = 0x08;
    /// Vendor Specific.
    pub const VENDOR: u8 = 0x09;
    /// Debug port.
    pub const DEBUG_PORT: u8 = 0x0a;
    /// `CompactPCI` central resource control.
    pub const COMPACT_PCI_RESOURCE: u8 = 0x0b;
    /// PCI hot-plug (Standard Hot-Plug Controller).
    pub const HOT_PLUG: u8 = 0x0c;
    /// Subsystem vendor ID of a bridge.
    pub const BRIDGE_SUBSYSTEM_VENDOR_ID: u8 = 0x0d;
    /// AGP 8x.
    pub const AGP_8X: u8 = 0x0e;
    /// Secure Device.
    pub const SECURE_DEVICE: u8 = 0x0f;
    /// PCI Express.
    pub const PCI_EXPRESS: u8 = 0x10;
    /// MSI-X.
    pub const MSI_X: u8 = 0x11;
    /// Serial ATA data/index configuration.
    pub const SATA: u8 = 0x12;
    /// Advanced Features (FLR of conventional PCI).
    pub const ADVANCED_FEATURES: u8 = 0x13;
    /// Enhanced Allocation.
    pub const ENHANCED_ALLOCATION: u8 = 0x14;
    /// Flattening Portal Bridge.
    pub const FLATTENING_PORTAL_BRIDGE: u8 = 0x15;

    /// The capability's name, for display.
    #[must_use]
    pub const fn name(id: u8) -> Option<&'static str> {
        Some(match id {
            NULL => "Null",
            POWER_MANAGEMENT => "Power Management",
            AGP => "AGP",
            VPD => "Vital Product Data",
            SLOT_ID => "Slot Identification",
            MSI => "MSI",
            COMPACT_PCI_HOT_SWAP => "CompactPCI hot swap",
            PCI_X => "PCI-X",
            HYPER_TRANSPORT => "HyperTransport",
            VENDOR => "Vendor Specific",
            DEBUG_PORT => "Debug port",
            COMPACT_PCI_RESOURCE => "CompactPCI central resource control",
            HOT_PLUG => "PCI hot-plug",
            BRIDGE_SUBSYSTEM_VENDOR_ID => "Bridge subsystem vendor ID",
            AGP_8X => "AGP 8x",
            SECURE_DEVICE => "Secure Device",
            PCI_EXPRESS => "PCI Express",
            MSI_X => "MSI-X",
            SATA => "SATA data/index configuration",
            ADVANCED_FEATURES => "Advanced Features",
            ENHANCED_ALLOCATION => "Enhanced Allocation",
            FLATTENING_PORTAL_BRIDGE => "Flattening Portal Bridge",
            _ => return None,
        })
    }
}

/// Layout of a vendor-specific capability. PCIe 6.0 s7.9.4 Vendor-Specific Capability.
pub mod vendor {
    /// Offset of the length of the whole capability in bytes, 1 byte, read-only.
    pub const LENGTH: u16 = 0x02;
    /// Offset of the vendor's own bytes.
    pub const DATA: u16 = 0x03;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_ids_are_those_assigned() {
        let ids = [id::POWER_MANAGEMENT, id::MSI, id::VENDOR, id::PCI_EXPRESS, id::MSI_X];
        assert_eq!(ids, [0x01, 0x05, 0x09, 0x10, 0x11]);
        assert_eq!(id::name(0x11), Some("MSI-X"));
        assert_eq!(id::name(0xff), None);
    }

    #[test]
    fn a_walk_is_bounded_by_what_fits() {
        assert_eq!(MAX_COUNT, 48);
    }
}
