//! What the first dword of a function says about whether one is there.

use pci_spec::config;

/// Whether a function answers (CFG-16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nobody answers at this address.
    Absent,
    /// Somebody does, and asks to be tried again later: Request Retry Status. PCIe 6.0 s2.3.2 *Completion Handling
    /// Rules*.
    NotReady,
    /// A function with these identifiers.
    Present {
        /// Vendor ID.
        vendor: u16,
        /// Device ID.
        device: u16,
    },
}

impl Presence {
    /// What vendor and device ID say, read as one dword.
    ///
    /// All-ones is absence. So is 0 in both halves, or one half 0 and the other all-ones: what boards answer whose
    /// missing slots are not terminated as the specification asks.
    #[must_use]
    pub const fn decode(dword: u32) -> Presence {
        let [a, b, c, d] = dword.to_le_bytes();
        let (vendor, device) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        match (vendor, device) {
            (config::VENDOR_ID_NOT_READY, _) => Presence::NotReady,
            (config::VENDOR_ID_ABSENT | 0, config::VENDOR_ID_ABSENT | 0) => Presence::Absent,
            _ => Presence::Present { vendor, device },
        }
    }
}
