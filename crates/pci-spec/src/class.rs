//! Class codes: what a function is. PCIe 6.0 s7.5.1.1.6 Class Code Register; PCI Code and ID Assignment Specification,
//! chapter "Class Codes".

use core::fmt;

/// The 24 bits of the Class Code register: base class, sub-class, programming interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassCode {
    /// What it broadly is, e.g. 0x01 mass storage.
    pub base: u8,
    /// What it is within its base class, e.g. 0x08 non-volatile memory.
    pub sub: u8,
    /// Which register interface it has, e.g. 0x02 NVM Express.
    pub interface: u8,
}

impl ClassCode {
    /// NVM Express I/O controller.
    pub const NVME: Self = Self::new(0x01, 0x08, 0x02);
    /// SATA controller, AHCI 1.0.
    pub const AHCI: Self = Self::new(0x01, 0x06, 0x01);
    /// Ethernet controller.
    pub const ETHERNET: Self = Self::new(0x02, 0x00, 0x00);
    /// Network controller of another kind.
    pub const NETWORK_OTHER: Self = Self::new(0x02, 0x80, 0x00);
    /// Host bridge.
    pub const HOST_BRIDGE: Self = Self::new(0x06, 0x00, 0x00);
    /// PCI-to-PCI bridge: root ports and switch ports.
    pub const PCI_BRIDGE: Self = Self::new(0x06, 0x04, 0x00);
    /// USB host controller, xHCI.
    pub const XHCI: Self = Self::new(0x0c, 0x03, 0x30);
    /// Processing accelerator.
    pub const ACCELERATOR: Self = Self::new(0x12, 0x00, 0x00);
    /// Fits no class.
    pub const UNCLASSIFIED_DEVICE: Self = Self::new(0x00, 0xff, 0x00);

    /// From its three parts.
    #[must_use]
    pub const fn new(base: u8, sub: u8, interface: u8) -> Self {
        Self { base, sub, interface }
    }

    /// From the 24-bit number, e.g. `0x010802`; `None` if it is larger than 24 bits.
    #[must_use]
    pub const fn from_u24(code: u32) -> Option<Self> {
        if code >> 24 != 0 {
            return None;
        }
        let [interface, sub, base, _] = code.to_le_bytes();
        Some(Self { base, sub, interface })
    }

    /// The 24-bit number, e.g. `0x010802`.
    #[must_use]
    pub const fn to_u24(self) -> u32 {
        u32::from_be_bytes([0, self.base, self.sub, self.interface])
    }

    /// The register's bytes in ascending offsets: interface, sub-class, base class.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 3] {
        [self.interface, self.sub, self.base]
    }

    /// Name for display: the most exact entry of the table, then the base class.
    #[must_use]
    pub fn name(self) -> &'static str {
        let exact = EXACT.iter().find(|(code, _)| *code == self.to_u24()).map(|(_, name)| *name);
        let sub = || SUB.iter().find(|(code, _)| *code == self.to_u24() >> 8).map(|(_, name)| *name);
        let base = || BASE.iter().find(|(code, _)| *code == self.base).map(|(_, name)| *name);
        exact.or_else(sub).or_else(base).unwrap_or("Unknown class")
    }
}

impl fmt::Display for ClassCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}", self.to_u24())
    }
}

/// Names by programming interface.
const EXACT: &[(u32, &str)] = &[
    (0x01_06_01, "SATA controller (AHCI)"),
    (0x01_08_02, "NVM Express controller"),
    (0x01_08_03, "NVM Express administrative controller"),
    (0x0c_03_00, "USB controller (UHCI)"),
    (0x0c_03_10, "USB controller (OHCI)"),
    (0x0c_03_20, "USB controller (EHCI)"),
    (0x0c_03_30, "USB controller (xHCI)"),
];

/// Names by base class and sub-class.
const SUB: &[(u32, &str)] = &[
    (0x00_01, "VGA-compatible unclassified device"),
    (0x01_00, "SCSI controller"),
    (0x01_01, "IDE controller"),
    (0x01_04, "RAID controller"),
    (0x01_06, "SATA controller"),
    (0x01_07, "Serial attached SCSI controller"),
    (0x01_08, "Non-volatile memory controller"),
    (0x02_00, "Ethernet controller"),
    (0x02_07, "InfiniBand controller"),
    (0x03_00, "VGA-compatible controller"),
    (0x03_02, "3D controller"),
    (0x04_03, "Audio device"),
    (0x05_00, "RAM memory"),
    (0x05_02, "CXL memory device"),
    (0x06_00, "Host bridge"),
    (0x06_01, "ISA bridge"),
    (0x06_04, "PCI bridge"),
    (0x07_00, "Serial controller"),
    (0x08_06, "IOMMU"),
    (0x08_07, "Root complex event collector"),
    (0x0c_03, "USB controller"),
    (0x0c_05, "SMBus controller"),
];

/// Names by base class.
const BASE: &[(u8, &str)] = &[
    (0x00, "Unclassified device"),
    (0x01, "Mass storage controller"),
    (0x02, "Network controller"),
    (0x03, "Display controller"),
    (0x04, "Multimedia device"),
    (0x05, "Memory controller"),
    (0x06, "Bridge"),
    (0x07, "Communication controller"),
    (0x08, "System peripheral"),
    (0x09, "Input device"),
    (0x0a, "Docking station"),
    (0x0b, "Processor"),
    (0x0c, "Serial bus controller"),
    (0x0d, "Wireless controller"),
    (0x0e, "Intelligent controller"),
    (0x0f, "Satellite controller"),
    (0x10, "Encryption controller"),
    (0x11, "Signal processing controller"),
    (0x12, "Processing accelerator"),
    (0x13, "Non-essential instrumentation"),
    (0xff, "Unassigned class"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn nvme_is_010802_and_its_bytes_ascend() {
        assert_eq!(ClassCode::NVME.to_u24(), 0x01_08_02);
        assert_eq!(ClassCode::NVME.to_bytes(), [0x02, 0x08, 0x01]);
        assert_eq!(ClassCode::NVME.to_string(), "010802");
        assert_eq!(ClassCode::from_u24(0x01_08_02), Some(ClassCode::NVME));
        assert_eq!(ClassCode::from_u24(0x0101_0802), None);
    }

    #[test]
    fn the_most_exact_name_wins() {
        assert_eq!(ClassCode::NVME.name(), "NVM Express controller");
        assert_eq!(ClassCode::new(0x01, 0x08, 0x77).name(), "Non-volatile memory controller");
        assert_eq!(ClassCode::new(0x01, 0x77, 0x00).name(), "Mass storage controller");
        assert_eq!(ClassCode::UNCLASSIFIED_DEVICE.name(), "Unclassified device");
        assert_eq!(ClassCode::new(0x77, 0, 0).name(), "Unknown class");
    }
}
