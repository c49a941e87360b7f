//! Access Control Services. PCIe 6.0 s7.7.11 Access Control Services (ACS) Extended Capability.

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length without an egress control vector, in bytes.
pub const LENGTH: u16 = 8;
/// Offset of the capability register, 2 bytes, read-only: [`Services`]. PCIe 6.0 s7.7.11.2 ACS Capability Register.
pub const CAPABILITY: u16 = 0x04;
/// Offset of the control register, 2 bytes: [`Services`], writable where the capability has them.
///
/// PCIe 6.0 s7.7.11.3 ACS Control Register.
pub const CONTROL: u16 = 0x06;

bitflags::bitflags! {
    /// The services; capability and control have the same layout.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Services: u16 {
        /// Checks the requester's bus number.
        const SOURCE_VALIDATION = 1 << 0;
        /// Blocks translated requests.
        const TRANSLATION_BLOCKING = 1 << 1;
        /// Sends peer-to-peer requests up.
        const REQUEST_REDIRECT = 1 << 2;
        /// Sends peer-to-peer completions up.
        const COMPLETION_REDIRECT = 1 << 3;
        /// Forwards upstream what comes from below.
        const UPSTREAM_FORWARDING = 1 << 4;
        /// Decides by a vector which peers may be reached.
        const EGRESS_CONTROL = 1 << 5;
        /// Lets translated requests through to peers.
        const DIRECT_TRANSLATED = 1 << 6;
    }
}

/// What keeps the functions of a device or the devices of a switch apart from each other.
pub const ISOLATION: Services = Services::SOURCE_VALIDATION
    .union(Services::REQUEST_REDIRECT)
    .union(Services::COMPLETION_REDIRECT)
    .union(Services::UPSTREAM_FORWARDING);
