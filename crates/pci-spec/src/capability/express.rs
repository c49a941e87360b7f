//! PCI Express capability. PCIe 6.0 s7.5.3 PCI Express Capability Structure.
//!
//! Layout of capability version 2, which every function of base specification 2.0 and later has. What only ports have is
//! in [`port`].

pub mod port;

use super::id;

/// Capability identifier.
pub const ID: u8 = id::PCI_EXPRESS;
/// Length of capability version 2, in bytes.
pub const LENGTH: u16 = 0x3c;

/// Offset of the PCI Express Capabilities register, 2 bytes, read-only: see [`capabilities`].
///
/// PCIe 6.0 s7.5.3.2 PCI Express Capabilities Register.
pub const CAPABILITIES: u16 = 0x02;
/// Offset of Device Capabilities, 4 bytes, read-only. PCIe 6.0 s7.5.3.3 Device Capabilities Register.
pub const DEVICE_CAPABILITIES: u16 = 0x04;
/// Offset of Device Control, 2 bytes. PCIe 6.0 s7.5.3.4 Device Control Register.
pub const DEVICE_CONTROL: u16 = 0x08;
/// Offset of Device Status, 2 bytes. PCIe 6.0 s7.5.3.5 Device Status Register.
pub const DEVICE_STATUS: u16 = 0x0a;
/// Offset of Link Capabilities, 4 bytes, read-only. PCIe 6.0 s7.5.3.6 Link Capabilities Register.
pub const LINK_CAPABILITIES: u16 = 0x0c;
/// Offset of Link Control, 2 bytes. PCIe 6.0 s7.5.3.7 Link Control Register.
pub const LINK_CONTROL: u16 = 0x10;
/// Offset of Link Status, 2 bytes. PCIe 6.0 s7.5.3.8 Link Status Register.
pub const LINK_STATUS: u16 = 0x12;
/// Offset of Slot Capabilities, 4 bytes. PCIe 6.0 s7.5.3.9 Slot Capabilities Register.
pub const SLOT_CAPABILITIES: u16 = 0x14;
/// Offset of Slot Control, 2 bytes. PCIe 6.0 s7.5.3.10 Slot Control Register.
pub const SLOT_CONTROL: u16 = 0x18;
/// Offset of Slot Status, 2 bytes. PCIe 6.0 s7.5.3.11 Slot Status Register.
pub const SLOT_STATUS: u16 = 0x1a;
/// Offset of Root Control, 2 bytes. PCIe 6.0 s7.5.3.12 Root Control Register.
pub const ROOT_CONTROL: u16 = 0x1c;
/// Offset of Root Capabilities, 2 bytes. PCIe 6.0 s7.5.3.13 Root Capabilities Register.
pub const ROOT_CAPABILITIES: u16 = 0x1e;
/// Offset of Root Status, 4 bytes. PCIe 6.0 s7.5.3.14 Root Status Register.
pub const ROOT_STATUS: u16 = 0x20;
/// Offset of Device Capabilities 2, 4 bytes, read-only. PCIe 6.0 s7.5.3.15 Device Capabilities 2 Register.
pub const DEVICE_CAPABILITIES_2: u16 = 0x24;
/// Offset of Device Control 2, 2 bytes. PCIe 6.0 s7.5.3.16 Device Control 2 Register.
pub const DEVICE_CONTROL_2: u16 = 0x28;
/// Offset of Device Status 2, 2 bytes, reserved. PCIe 6.0 s7.5.3.17 Device Status 2 Register.
pub const DEVICE_STATUS_2: u16 = 0x2a;
/// Offset of Link Capabilities 2, 4 bytes, read-only. PCIe 6.0 s7.5.3.18 Link Capabilities 2 Register.
pub const LINK_CAPABILITIES_2: u16 = 0x2c;
/// Offset of Link Control 2, 2 bytes. PCIe 6.0 s7.5.3.19 Link Control 2 Register.
pub const LINK_CONTROL_2: u16 = 0x30;
/// Offset of Link Status 2, 2 bytes. PCIe 6.0 s7.5.3.20 Link Status 2 Register.
pub const LINK_STATUS_2: u16 = 0x32;
/// Offset of Slot Capabilities 2, 4 bytes. PCIe 6.0 s7.5.3.21 Slot Capabilities 2 Register.
pub const SLOT_CAPABILITIES_2: u16 = 0x34;
/// Offset of Slot Control 2, 2 bytes. PCIe 6.0 s7.5.3.22 Slot Control 2 Register.
pub const SLOT_CONTROL_2: u16 = 0x38;
/// Offset of Slot Status 2, 2 bytes. PCIe 6.0 s7.5.3.23 Slot Status 2 Register.
pub const SLOT_STATUS_2: u16 = 0x3a;

/// Capability version of base specification 2.0 and later.
pub const VERSION: u16 = 2;

/// What kind of function this is. PCIe 6.0 s7.5.3.2 PCI Express Capabilities Register (Device/Port Type).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PortType {
    /// Endpoint behind a port.
    Endpoint = 0x0,
    /// Endpoint that may still use I/O space and locked requests.
    LegacyEndpoint = 0x1,
    /// Root port.
    RootPort = 0x4,
    /// Upstream port of a switch.
    UpstreamPort = 0x5,
    /// Downstream port of a switch.
    DownstreamPort = 0x6,
    /// PCI Express to PCI or PCI-X bridge.
    PciExpressToPciBridge = 0x7,
    /// PCI or PCI-X to PCI Express bridge.
    PciToPciExpressBridge = 0x8,
    /// Endpoint inside the root complex; has no link.
    RootComplexIntegratedEndpoint = 0x9,
    /// Event collector of the root complex.
    RootComplexEventCollector = 0xa,
}

impl PortType {
    /// What a PCI Express Capabilities value says; `None` for a reserved encoding.
    #[must_use]
    pub const fn decode(capabilities: u16) -> Option<PortType> {
        Some(match capabilities >> 4 & 0xf {
            0x0 => PortType::Endpoint,
            0x1 => PortType::LegacyEndpoint,
            0x4 => PortType::RootPort,
            0x5 => PortType::UpstreamPort,
            0x6 => PortType::DownstreamPort,
            0x7 => PortType::PciExpressToPciBridge,
            0x8 => PortType::PciToPciExpressBridge,
            0x9 => PortType::RootComplexIntegratedEndpoint,
            0xa => PortType::RootComplexEventCollector,
            _ => return None,
        })
    }

    /// Whether a link leads down from the port: only device 0 is on it.
    #[must_use]
    pub const fn is_downstream(self) -> bool {
        matches!(self, PortType::RootPort | PortType::DownstreamPort)
    }
}

/// Value of the PCI Express Capabilities register: version 2, no slot; `message_number` is the MSI or MSI-X vector used for
/// events of the capability, 0 to 31 (higher bits are cut).
#[must_use]
pub const fn capabilities(port_type: PortType, message_number: u8) -> u16 {
    VERSION | (port_type as u16) << 4 | (message_number as u16 & 0x1f) << 9
}

bitflags::bitflags! {
    /// Device Capabilities, read-only, without its numeric fields.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct DeviceCapabilities: u32 {
        /// Can send 8-bit tags.
        const EXTENDED_TAG = 1 << 5;
        /// Reports errors by role; 1 in every function since base specification 1.1.
        const ROLE_BASED_ERROR_REPORTING = 1 << 15;
        /// Supports Function Level Reset.
        const FUNCTION_LEVEL_RESET = 1 << 28;
        /// Payload size, phantom functions, latencies, power limit, and bits not named here.
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// Device Control, without its two size fields.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct DeviceControl: u16 {
        /// Reports correctable errors.
        const CORRECTABLE_ERROR_REPORTING = 1 << 0;
        /// Reports non-fatal errors.
        const NON_FATAL_ERROR_REPORTING = 1 << 1;
        /// Reports fatal errors.
        const FATAL_ERROR_REPORTING = 1 << 2;
        /// Reports unsupported requests.
        const UNSUPPORTED_REQUEST_REPORTING = 1 << 3;
        /// May set Relaxed Ordering. Set after reset.
        const RELAXED_ORDERING = 1 << 4;
        /// May use 8-bit tags.
        const EXTENDED_TAG = 1 << 8;
        /// May use phantom function numbers.
        const PHANTOM_FUNCTIONS = 1 << 9;
        /// May draw auxiliary power.
        const AUX_POWER = 1 << 10;
        /// May set No Snoop. Set after reset.
        const NO_SNOOP = 1 << 11;
        /// Writing 1 starts a Function Level Reset; always reads 0.
        const INITIATE_FUNCTION_LEVEL_RESET = 1 << 15;
        /// Maximum payload size and maximum read request size.
        const _ = MAX_PAYLOAD_SIZE_MASK | MAX_READ_REQUEST_SIZE_MASK;
    }
}

/// Bits 7:5 of Device Control: maximum payload, 128 bytes << field (fields 0 to 5).
pub const MAX_PAYLOAD_SIZE_MASK: u16 = 0b111 << 5;
/// Bits 14:12 of Device Control: maximum read request, 128 bytes << field (fields 0 to 5).
pub const MAX_READ_REQUEST_SIZE_MASK: u16 = 0b111 << 12;
/// Bits 2:0 of Device Capabilities: largest payload supported, 128 bytes << field (fields 0 to 5).
pub const MAX_PAYLOAD_SIZE_SUPPORTED_MASK: u32 = 0b111;

/// Device Control after reset: relaxed ordering, no snoop, 128-byte payload, 512-byte read requests.
pub const DEVICE_CONTROL_DEFAULT: u16 = 0x2810;

/// Writable bits of Device Control in an endpoint without phantom functions and auxiliary power. Bit 15 is not here: it
/// starts a reset and is not stored.
pub const DEVICE_CONTROL_RW: u16 = DeviceControl::CORRECTABLE_ERROR_REPORTING
    .union(DeviceControl::NON_FATAL_ERROR_REPORTING)
    .union(DeviceControl::FATAL_ERROR_REPORTING)
    .union(DeviceControl::UNSUPPORTED_REQUEST_REPORTING)
    .union(DeviceControl::RELAXED_ORDERING)
    .union(DeviceControl::EXTENDED_TAG)
    .union(DeviceControl::NO_SNOOP)
    .bits()
    | MAX_PAYLOAD_SIZE_MASK
    | MAX_READ_REQUEST_SIZE_MASK;

bitflags::bitflags! {
    /// Device Status.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct DeviceStatus: u16 {
        /// Saw a correctable error. Write one to clear.
        const CORRECTABLE_ERROR = 1 << 0;
        /// Saw a non-fatal error. Write one to clear.
        const NON_FATAL_ERROR = 1 << 1;
        /// Saw a fatal error. Write one to clear.
        const FATAL_ERROR = 1 << 2;
        /// Received an unsupported request. Write one to clear.
        const UNSUPPORTED_REQUEST = 1 << 3;
        /// Found auxiliary power. Read-only.
        const AUX_POWER = 1 << 4;
        /// Has requests that are not completed yet. Read-only; clear before a reset is safe.
        const TRANSACTIONS_PENDING = 1 << 5;
        /// Is or was in emergency power reduction. Write one to clear.
        const EMERGENCY_POWER_REDUCTION = 1 << 6;
    }
}

/// Bits of Device Status that writing 1 clears (emergency power reduction is not modelled). None is plainly writable.
pub const DEVICE_STATUS_RW1C: u16 = DeviceStatus::CORRECTABLE_ERROR
    .union(DeviceStatus::NON_FATAL_ERROR)
    .union(DeviceStatus::FATAL_ERROR)
    .union(DeviceStatus::UNSUPPORTED_REQUEST)
    .bits();

/// Speed of a link. PCIe 6.0 s7.5.3.18 Link Capabilities 2 Register (Supported Link Speeds Vector).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LinkSpeed {
    /// 2.5 GT/s.
    Gen1 = 1,
    /// 5 GT/s.
    Gen2 = 2,
    /// 8 GT/s.
    Gen3 = 3,
    /// 16 GT/s.
    Gen4 = 4,
    /// 32 GT/s.
    Gen5 = 5,
    /// 64 GT/s.
    Gen6 = 6,
}

/// Bits 3:0 of Link Capabilities (maximum), Link Status (current), Link Control 2 (target): the link's speed.
pub const LINK_SPEED_MASK: u32 = 0xf;
/// Bits 9:4 of Link Capabilities (maximum) and Link Status (negotiated): lanes.
pub const LINK_WIDTH_MASK: u32 = 0x3f << 4;
/// Bit of Link Capabilities: 1 in every endpoint since base specification 3.0.
pub const LINK_CAPABILITIES_ASPM_OPTIONALITY: u32 = 1 << 22;
/// Bit of Link Status: uses the reference clock of the slot.
pub const LINK_STATUS_SLOT_CLOCK: u16 = 1 << 12;

/// Link Capabilities of an endpoint without ASPM, with the given speed and lanes (1 to 32; higher bits are cut).
#[must_use]
pub const fn link_capabilities(speed: LinkSpeed, lanes: u8) -> u32 {
    speed as u32 | (lanes as u32 & 0x3f) << 4 | LINK_CAPABILITIES_ASPM_OPTIONALITY
}

/// Link Status of a link that is up, with the given speed and lanes (1 to 32; higher bits are cut).
#[must_use]
pub const fn link_status(speed: LinkSpeed, lanes: u8) -> u16 {
    speed as u16 | (lanes as u16 & 0x3f) << 4
}

/// The Supported Link Speeds Vector, in place in Link Capabilities 2, for all speeds up to `speed`.
#[must_use]
pub const fn link_capabilities_2(speed: LinkSpeed) -> u32 {
    ((1 << speed as u32) - 1) << 1
}

/// Writable bits of Link Control in an endpoint: ASPM control, read completion boundary, common clock, extended synch.
pub const LINK_CONTROL_RW: u16 = 0b11 | 1 << 3 | 1 << 6 | 1 << 7;
/// Writable bits of Link Control 2 in an endpoint: the target link speed.
pub const LINK_CONTROL_2_RW: u16 = 0xf;
/// Bits of Link Status that writing 1 clears in an endpoint: none, they belong to downstream ports.
pub const LINK_STATUS_RW1C: u16 = 0;

/// Bit of Device Capabilities 2: the completion timeout can be disabled.
pub const COMPLETION_TIMEOUT_DISABLE_SUPPORTED: u32 = 1 << 4;
/// Bit of Device Capabilities 2: supports Latency Tolerance Reporting.
pub const LTR_SUPPORTED: u32 = 1 << 11;
/// Bits 3:0 of Device Control 2: completion timeout value; 0 is the default range of 50 us to 50 ms.
pub const COMPLETION_TIMEOUT_VALUE_MASK: u16 = 0xf;
/// Bit of Device Control 2: the completion timeout is off.
pub const COMPLETION_TIMEOUT_DISABLE: u16 = 1 << 4;
/// Writable bits of Device Control 2 in an endpoint that only announces [`COMPLETION_TIMEOUT_DISABLE_SUPPORTED`].
pub const DEVICE_CONTROL_2_RW: u16 = COMPLETION_TIMEOUT_DISABLE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_announces_version_two() {
        assert_eq!(capabilities(PortType::Endpoint, 0), 0x0002);
        assert_eq!(capabilities(PortType::RootPort, 1), 0x0242);
    }

    #[test]
    fn device_control_defaults_are_writable_bits() {
        assert_eq!(DEVICE_CONTROL_DEFAULT & !DEVICE_CONTROL_RW, 0);
        assert_eq!(DEVICE_CONTROL_RW, 0x79ff);
        assert_eq!(DEVICE_CONTROL_RW & DeviceControl::INITIATE_FUNCTION_LEVEL_RESET.bits(), 0);
        let default = DeviceControl::from_bits_retain(DEVICE_CONTROL_DEFAULT);
        assert!(default.contains(DeviceControl::RELAXED_ORDERING | DeviceControl::NO_SNOOP));
        assert_eq!(128 << ((DEVICE_CONTROL_DEFAULT & MAX_READ_REQUEST_SIZE_MASK) >> 12), 512);
    }

    #[test]
    fn error_bits_of_device_status_are_cleared_by_writing_one() {
        assert_eq!(DEVICE_STATUS_RW1C, 0x000f);
        assert_eq!(DeviceStatus::TRANSACTIONS_PENDING.bits(), 0x0020);
    }

    #[test]
    fn link_registers_hold_speed_and_width() {
        assert_eq!(link_status(LinkSpeed::Gen3, 4), 0x0043);
        assert_eq!(link_capabilities(LinkSpeed::Gen4, 16) & (LINK_SPEED_MASK | LINK_WIDTH_MASK), 0x104);
        assert_eq!(link_capabilities_2(LinkSpeed::Gen3), 0x0e);
    }

    #[test]
    fn function_level_reset_is_bit_28_of_device_capabilities() {
        assert_eq!(DeviceCapabilities::FUNCTION_LEVEL_RESET.bits(), 0x1000_0000);
    }
}
