//! Extended capabilities, from offset 0x100: header and identifiers.
//!
//! PCIe 6.0 s7.6 PCI Express Extended Capabilities, s7.6.3 PCI Express Extended Capability Header.

pub mod acs;
pub mod ari;
pub mod ats;
pub mod cxl_port;
pub mod dpc;
pub mod l1_substates;
pub mod ltr;
pub mod pasid;
pub mod pri;
pub mod ptm;
pub mod resizable_bar;
pub mod sr_iov;
pub mod virtual_channel;

/// Offset of the first extended capability; a function without any reads 0 (or all ones) here.
pub const FIRST_OFFSET: u16 = 0x100;
/// Length of a header, in bytes.
pub const HEADER_LENGTH: u16 = 4;
/// Most capabilities that fit when each has at least 8 bytes: a bound for walking a list that may loop.
pub const MAX_COUNT: usize = (4096 - 0x100) / 8;

/// Header of an extended capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Identifier, see [`id`].
    pub id: u16,
    /// Layout version, 0 to 15.
    pub version: u8,
    /// Offset of the next capability, a multiple of 4; 0 ends the list.
    pub next: u16,
}

impl Header {
    /// The header's 32 bits: identifier in 15:0, version in 19:16, next in 31:20 (bits beyond a field are cut).
    #[must_use]
    pub const fn encode(self) -> u32 {
        self.id as u32 | (self.version as u32 & 0xf) << 16 | (self.next as u32 & 0xffc) << 20
    }

    /// What 32 bits say; `None` for 0 and all ones, which mean that no capability stands here.
    #[must_use]
    pub const fn decode(register: u32) -> Option<Self> {
        if register == 0 || register == u32::MAX {
            return None;
        }
        Some(Header {
            id: (register & 0xffff) as u16,
            version: (register >> 16 & 0xf) as u8,
            next: (register >> 20 & 0xffc) as u16,
        })
    }
}

/// Extended capability identifiers.
///
/// PCI Code and ID Assignment Specification, chapter "Extended Capability IDs".
pub mod id {
    /// Null capability: only a header.
    pub const NULL: u16 = 0x0000;
    /// Advanced Error Reporting.
    pub const AER: u16 = 0x0001;
    /// Virtual Channel.
    pub const VIRTUAL_CHANNEL: u16 = 0x0002;
    /// Device Serial Number.
    pub const DEVICE_SERIAL_NUMBER: u16 = 0x0003;
    /// Power Budgeting.
    pub const POWER_BUDGETING: u16 = 0x0004;
    /// Vendor-Specific Extended Capability.
    pub const VENDOR: u16 = 0x000b;
    /// Access Control Services.
    pub const ACS: u16 = 0x000d;
    /// Alternative Routing-ID Interpretation.
    pub const ARI: u16 = 0x000e;
    /// Address Translation Services.
    pub const ATS: u16 = 0x000f;
    /// Single Root I/O Virtualization.
    pub const SR_IOV: u16 = 0x0010;
    /// Page Request Interface.
    pub const PRI: u16 = 0x0013;
    /// Resizable BAR.
    pub const RESIZABLE_BAR: u16 = 0x0015;
    /// Latency Tolerance Reporting.
    pub const LTR: u16 = 0x0018;
    /// Secondary PCI Express.
    pub const SECONDARY_PCI_EXPRESS: u16 = 0x0019;
    /// Process Address Space ID.
    pub const PASID: u16 = 0x001b;
    /// Downstream Port Containment.
    pub const DPC: u16 = 0x001d;
    /// L1 PM Substates.
    pub const L1_PM_SUBSTATES: u16 = 0x001e;
    /// Precision Time Measurement.
    pub const PTM: u16 = 0x001f;
    /// Designated Vendor-Specific.
    pub const DVSEC: u16 = 0x0023;
    /// Data Link Feature.
    pub const DATA_LINK_FEATURE: u16 = 0x0025;
    /// Physical Layer 16.0 GT/s.
    pub const PHYSICAL_LAYER_16GT: u16 = 0x0026;

    /// The capability's name, for display.
    #[must_use]
    pub const fn name(id: u16) -> Option<&'static str> {
        Some(match id {
            NULL => "Null",
            AER => "Advanced Error Reporting",
            VIRTUAL_CHANNEL => "Virtual Channel",
            DEVICE_SERIAL_NUMBER => "Device Serial Number",
            POWER_BUDGETING => "Power Budgeting",
            VENDOR => "Vendor Specific",
            ACS => "Access Control Services",
            ARI => "Alternative Routing-ID Interpretation",
            ATS => "Address Translation Services",
            SR_IOV => "Single Root I/O Virtualization",
            PRI => "Page Request Interface",
            RESIZABLE_BAR => "Resizable BAR",
            LTR => "Latency Tolerance Reporting",
            SECONDARY_PCI_EXPRESS => "Secondary PCI Express",
            PASID => "Process Address Space ID",
            DPC => "Downstream Port Containment",
            L1_PM_SUBSTATES => "L1 PM Substates",
            PTM => "Precision Time Measurement",
            DVSEC => "Designated Vendor-Specific",
            DATA_LINK_FEATURE => "Data Link Feature",
            PHYSICAL_LAYER_16GT => "Physical Layer 16.0 GT/s",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trips_and_matches_a_known_value() {
        // Advanced Error Reporting version 2, next at 0x148.
        let header = Header { id: id::AER, version: 2, next: 0x148 };
        assert_eq!(header.encode(), 0x1482_0001);
        assert_eq!(Header::decode(0x1482_0001), Some(header));
    }

    #[test]
    fn zero_and_all_ones_are_no_capability() {
        assert_eq!(Header::decode(0), None);
        assert_eq!(Header::decode(u32::MAX), None);
    }

    #[test]
    fn low_bits_of_next_are_masked() {
        assert_eq!(Header::decode(0x1fff_0001).unwrap().next, 0x1fc);
    }
}
