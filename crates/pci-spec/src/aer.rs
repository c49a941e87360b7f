//! Advanced Error Reporting extended capability. PCIe 6.0 s7.8.4 Advanced Error Reporting Extended Capability.
//!
//! The status registers are *sticky*: a Function Level Reset leaves them as they are.

use crate::extended::id;

/// Extended capability identifier.
pub const ID: u16 = id::AER;
/// Version of the layout with TLP prefix logging.
pub const VERSION: u8 = 2;
/// Length in an endpoint that logs no TLP prefixes, in bytes.
pub const ENDPOINT_LENGTH: u16 = 0x2c;
/// Length with the root registers, in a port that logs no TLP prefixes, in bytes.
pub const PORT_LENGTH: u16 = 0x38;
/// Length with the root registers and the TLP prefix log, in bytes.
pub const FULL_LENGTH: u16 = 0x48;

/// Offset of Uncorrectable Error Status, 4 bytes: [`Uncorrectable`], write one to clear.
///
/// PCIe 6.0 s7.8.4.2 Uncorrectable Error Status Register.
pub const UNCORRECTABLE_STATUS: u16 = 0x04;
/// Offset of Uncorrectable Error Mask, 4 bytes. PCIe 6.0 s7.8.4.3 Uncorrectable Error Mask Register.
pub const UNCORRECTABLE_MASK: u16 = 0x08;
/// Offset of Uncorrectable Error Severity, 4 bytes: set is fatal. PCIe 6.0 s7.8.4.4 Uncorrectable Error Severity Register.
pub const UNCORRECTABLE_SEVERITY: u16 = 0x0c;
/// Offset of Correctable Error Status, 4 bytes: [`Correctable`], write one to clear.
///
/// PCIe 6.0 s7.8.4.5 Correctable Error Status Register.
pub const CORRECTABLE_STATUS: u16 = 0x10;
/// Offset of Correctable Error Mask, 4 bytes. PCIe 6.0 s7.8.4.6 Correctable Error Mask Register.
pub const CORRECTABLE_MASK: u16 = 0x14;
/// Offset of Capabilities and Control, 4 bytes: [`Control`].
///
/// PCIe 6.0 s7.8.4.7 Advanced Error Capabilities and Control Register.
pub const CONTROL: u16 = 0x18;
/// Offset of the header log, 16 bytes, read-only. PCIe 6.0 s7.8.4.8 Header Log Register.
pub const HEADER_LOG: u16 = 0x1c;
/// Offset of Root Error Command, 4 bytes, ports only. PCIe 6.0 s7.8.4.9 Root Error Command Register.
pub const ROOT_ERROR_COMMAND: u16 = 0x2c;
/// Offset of Root Error Status, 4 bytes, ports only. PCIe 6.0 s7.8.4.10 Root Error Status Register.
pub const ROOT_ERROR_STATUS: u16 = 0x30;
/// Offset of the error sources, 4 bytes, ports only. PCIe 6.0 s7.8.4.11 Error Source Identification Register.
pub const ERROR_SOURCE: u16 = 0x34;
/// Offset of the TLP prefix log, 16 bytes. PCIe 6.0 s7.8.4.12 TLP Prefix Log Register.
pub const TLP_PREFIX_LOG: u16 = 0x38;

bitflags::bitflags! {
    /// Errors that lose a transaction; status, mask and severity have the same layout.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Uncorrectable: u32 {
        /// Undefined since PCIe 1.1; before, an error of the link's training.
        const UNDEFINED = 1 << 0;
        /// Data link protocol error.
        const DATA_LINK_PROTOCOL = 1 << 4;
        /// The link went down unexpectedly.
        const SURPRISE_DOWN = 1 << 5;
        /// Received poison.
        const POISONED_TLP = 1 << 12;
        /// Flow control protocol error.
        const FLOW_CONTROL_PROTOCOL = 1 << 13;
        /// A request was not completed in time.
        const COMPLETION_TIMEOUT = 1 << 14;
        /// Completed a request with Completer Abort.
        const COMPLETER_ABORT = 1 << 15;
        /// Got a completion that it did not ask for.
        const UNEXPECTED_COMPLETION = 1 << 16;
        /// Receiver overflow.
        const RECEIVER_OVERFLOW = 1 << 17;
        /// Malformed packet.
        const MALFORMED_TLP = 1 << 18;
        /// End-to-end checksum error.
        const ECRC = 1 << 19;
        /// Received an unsupported request.
        const UNSUPPORTED_REQUEST = 1 << 20;
        /// Access control violation.
        const ACS_VIOLATION = 1 << 21;
        /// Internal error.
        const INTERNAL = 1 << 22;
        /// Multicast request was blocked.
        const MULTICAST_BLOCKED = 1 << 23;
        /// Atomic request was blocked at egress.
        const ATOMIC_EGRESS_BLOCKED = 1 << 24;
        /// TLP prefix was blocked.
        const TLP_PREFIX_BLOCKED = 1 << 25;
        /// Poison was blocked at egress.
        const POISONED_TLP_EGRESS_BLOCKED = 1 << 26;
    }
}

bitflags::bitflags! {
    /// Errors that hardware repaired; status and mask have the same layout.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Correctable: u32 {
        /// Receiver error.
        const RECEIVER = 1 << 0;
        /// Bad packet of the transaction layer.
        const BAD_TLP = 1 << 6;
        /// Bad packet of the data link layer.
        const BAD_DLLP = 1 << 7;
        /// Replay counter rolled over.
        const REPLAY_ROLLOVER = 1 << 8;
        /// Replay timer ran out.
        const REPLAY_TIMEOUT = 1 << 12;
        /// A non-fatal error that is only advisory here.
        const ADVISORY_NON_FATAL = 1 << 13;
        /// Corrected internal error.
        const INTERNAL = 1 << 14;
        /// The header log was full.
        const HEADER_LOG_OVERFLOW = 1 << 15;
    }
}

bitflags::bitflags! {
    /// Advanced Error Capabilities and Control, without the first error pointer.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Control: u32 {
        /// Can generate ECRC. Read-only.
        const ECRC_GENERATION_CAPABLE = 1 << 5;
        /// Generates ECRC. Writable where capable.
        const ECRC_GENERATION_ENABLE = 1 << 6;
        /// Can check ECRC. Read-only.
        const ECRC_CHECK_CAPABLE = 1 << 7;
        /// Checks ECRC. Writable where capable.
        const ECRC_CHECK_ENABLE = 1 << 8;
        /// Can record more than one header. Read-only.
        const MULTIPLE_HEADER_CAPABLE = 1 << 9;
        /// Records more than one header. Writable where capable.
        const MULTIPLE_HEADER_ENABLE = 1 << 10;
        /// The prefix log is valid. Read-only.
        const TLP_PREFIX_LOG_PRESENT = 1 << 11;
        /// The first error pointer.
        const _ = FIRST_ERROR_POINTER_MASK;
    }
}

/// Bits 4:0 of [`CONTROL`]: bit number in Uncorrectable Error Status of the error that was logged first. Read-only.
pub const FIRST_ERROR_POINTER_MASK: u32 = 0x1f;

/// The message by which a function reports an error upward. PCIe 6.0 s2.2.8.3 *Error Signaling Messages*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// ERR_COR.
    Correctable,
    /// ERR_NONFATAL.
    NonFatal,
    /// ERR_FATAL.
    Fatal,
}

bitflags::bitflags! {
    /// Root Error Command: which messages interrupt.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct RootCommand: u32 {
        /// Corrected errors.
        const CORRECTABLE = 1 << 0;
        /// Non-fatal errors.
        const NON_FATAL = 1 << 1;
        /// Fatal errors.
        const FATAL = 1 << 2;
    }
}

bitflags::bitflags! {
    /// Root Error Status: which messages have arrived. Sticky, write one to clear.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct RootStatus: u32 {
        /// A corrected error; its source is the lower half of [`ERROR_SOURCE`].
        const CORRECTABLE = 1 << 0;
        /// More corrected errors after it, whose sources are not kept.
        const MULTIPLE_CORRECTABLE = 1 << 1;
        /// A fatal or non-fatal error; its source is the upper half of [`ERROR_SOURCE`].
        const UNCORRECTABLE = 1 << 2;
        /// More of them, whose sources are not kept.
        const MULTIPLE_UNCORRECTABLE = 1 << 3;
        /// The first of them was fatal.
        const FIRST_UNCORRECTABLE_FATAL = 1 << 4;
        /// A non-fatal error.
        const NON_FATAL = 1 << 5;
        /// A fatal error.
        const FATAL = 1 << 6;
    }
}

/// Uncorrectable errors that a port model implements: those of an endpoint, and what only a port notices.
pub const UNCORRECTABLE_PORT: Uncorrectable = UNCORRECTABLE_ENDPOINT
    .union(Uncorrectable::SURPRISE_DOWN)
    .union(Uncorrectable::ACS_VIOLATION)
    .union(Uncorrectable::MULTICAST_BLOCKED)
    .union(Uncorrectable::ATOMIC_EGRESS_BLOCKED)
    .union(Uncorrectable::TLP_PREFIX_BLOCKED)
    .union(Uncorrectable::POISONED_TLP_EGRESS_BLOCKED);

/// Uncorrectable errors that an endpoint model implements: its masks and severities are writable, all others read 0
/// in status and mask.
pub const UNCORRECTABLE_ENDPOINT: Uncorrectable = Uncorrectable::DATA_LINK_PROTOCOL
    .union(Uncorrectable::POISONED_TLP)
    .union(Uncorrectable::FLOW_CONTROL_PROTOCOL)
    .union(Uncorrectable::COMPLETION_TIMEOUT)
    .union(Uncorrectable::COMPLETER_ABORT)
    .union(Uncorrectable::UNEXPECTED_COMPLETION)
    .union(Uncorrectable::RECEIVER_OVERFLOW)
    .union(Uncorrectable::MALFORMED_TLP)
    .union(Uncorrectable::ECRC)
    .union(Uncorrectable::UNSUPPORTED_REQUEST)
    .union(Uncorrectable::INTERNAL);

/// Correctable errors of an endpoint: all that are defined.
pub const CORRECTABLE_ENDPOINT: Correctable = Correctable::all();

/// Writable bits of [`CONTROL`] in an endpoint that announces neither ECRC nor multiple headers.
pub const CONTROL_RW: u32 = 0;

/// Mask after reset: only internal errors are masked.
pub const UNCORRECTABLE_MASK_DEFAULT: u32 = Uncorrectable::INTERNAL.bits();
/// Severity after reset: which errors are fatal.
pub const UNCORRECTABLE_SEVERITY_DEFAULT: u32 = Uncorrectable::DATA_LINK_PROTOCOL
    .union(Uncorrectable::SURPRISE_DOWN)
    .union(Uncorrectable::FLOW_CONTROL_PROTOCOL)
    .union(Uncorrectable::RECEIVER_OVERFLOW)
    .union(Uncorrectable::MALFORMED_TLP)
    .union(Uncorrectable::INTERNAL)
    .bits();
/// Mask after reset: advisory non-fatal, internal and header log overflow are masked.
pub const CORRECTABLE_MASK_DEFAULT: u32 = Correctable::ADVISORY_NON_FATAL
    .union(Correctable::INTERNAL)
    .union(Correctable::HEADER_LOG_OVERFLOW)
    .bits();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_match_the_specification() {
        assert_eq!(UNCORRECTABLE_SEVERITY_DEFAULT, 0x0046_2030);
        assert_eq!(UNCORRECTABLE_MASK_DEFAULT, 0x0040_0000);
        assert_eq!(CORRECTABLE_MASK_DEFAULT, 0x0000_e000);
    }

    #[test]
    fn status_bits_stand_where_the_specification_puts_them() {
        assert_eq!(UNCORRECTABLE_ENDPOINT.bits(), 0x005f_f010);
        assert_eq!(CORRECTABLE_ENDPOINT.bits(), 0x0000_f1c1);
        assert_eq!(UNCORRECTABLE_PORT.bits(), 0x07ff_f030);
        assert_eq!(RootStatus::all().bits(), 0x7f);
    }

    #[test]
    fn the_header_log_ends_where_the_root_registers_begin() {
        assert_eq!(HEADER_LOG + 16, ROOT_ERROR_COMMAND);
        assert_eq!(ENDPOINT_LENGTH, ROOT_ERROR_COMMAND);
        assert_eq!(TLP_PREFIX_LOG, PORT_LENGTH);
        assert_eq!(TLP_PREFIX_LOG + 16, FULL_LENGTH);
    }
}
