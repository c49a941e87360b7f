//! Completion status. NVMe Base 1.4 s4.6.1 Status Field Definition.

use core::fmt;

/// The status field of a completion: code, type, retry delay, More and Do Not Retry, where the upper half of dword 3 has
/// them (bits 15:1); bit 0, the phase tag, is always 0 here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Status(u16);

/// Status Code Type. NVMe Base 1.4 s4.6.1.1 Status Code Type (SCT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StatusType {
    /// Generic Command Status.
    Generic = 0x0,
    /// Command Specific Status.
    CommandSpecific = 0x1,
    /// Media and Data Integrity Errors.
    Media = 0x2,
    /// Path Related Status.
    Path = 0x3,
    /// Reserved, 4 to 6.
    Reserved = 0x4,
    /// Vendor Specific.
    Vendor = 0x7,
}

const CODE_SHIFT: u32 = 1;
const TYPE_SHIFT: u32 = 9;
const RETRY_DELAY_SHIFT: u32 = 12;
const MORE: u16 = 1 << 14;
const DNR: u16 = 1 << 15;
const PHASE: u16 = 1 << 0;
/// What names a status: its code and type, without delay, More and Do Not Retry.
const IDENTITY: u16 = 0xff << CODE_SHIFT | 0x7 << TYPE_SHIFT;

impl Status {
    /// A status by type and code, with everything else zero.
    #[must_use]
    pub const fn new(kind: StatusType, code: u8) -> Self {
        Self((code as u16) << CODE_SHIFT | (kind as u16) << TYPE_SHIFT)
    }

    /// From the upper half of completion dword 3; the phase tag is dropped.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & !PHASE)
    }

    /// For the upper half of completion dword 3, with the phase tag 0.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Status Code.
    #[must_use]
    pub const fn code(self) -> u8 {
        (self.0 >> CODE_SHIFT & 0xff) as u8
    }

    /// Status Code Type.
    #[must_use]
    pub const fn kind(self) -> StatusType {
        match self.0 >> TYPE_SHIFT & 0x7 {
            0x0 => StatusType::Generic,
            0x1 => StatusType::CommandSpecific,
            0x2 => StatusType::Media,
            0x3 => StatusType::Path,
            0x7 => StatusType::Vendor,
            _ => StatusType::Reserved,
        }
    }

    /// Command Retry Delay: 0 none, 1 to 3 the delay of Identify Controller CRDT1 to CRDT3.
    #[must_use]
    pub const fn retry_delay(self) -> u8 {
        (self.0 >> RETRY_DELAY_SHIFT & 0x3) as u8
    }

    /// More: the error log has more about this.
    #[must_use]
    pub const fn more(self) -> bool {
        self.0 & MORE != 0
    }

    /// Do Not Retry: the same command would fail again.
    #[must_use]
    pub const fn dnr(self) -> bool {
        self.0 & DNR != 0
    }

    /// The same status with More set or clear.
    #[must_use]
    pub const fn with_more(self, more: bool) -> Self {
        Self(if more { self.0 | MORE } else { self.0 & !MORE })
    }

    /// The same status with Do Not Retry set or clear.
    #[must_use]
    pub const fn with_dnr(self, dnr: bool) -> Self {
        Self(if dnr { self.0 | DNR } else { self.0 & !DNR })
    }

    /// Whether the command succeeded.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 & IDENTITY == 0
    }

    /// Whether code and type are the same, whatever the other bits say.
    #[must_use]
    pub const fn is(self, other: Self) -> bool {
        self.0 & IDENTITY == other.0 & IDENTITY
    }

    /// The specification's name, if code and type are in the table.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(status, _)| self.is(*status)).map(|(_, name)| *name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => write!(
                f,
                "unknown status (type {:#x}, code {:#04x})",
                self.0 >> TYPE_SHIFT & 0x7,
                self.code()
            )?,
        }
        if self.dnr() { f.write_str(", do not retry") } else { Ok(()) }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({:#06x}: {self})", self.0)
    }
}

macro_rules! status_codes {
    ($($kind:ident { $($name:ident = $code:literal, $text:literal;)* })*) => {
        impl Status {
            $($(
                #[doc = concat!(stringify!($kind), " status ", stringify!($code), ": ", $text, ".")]
                pub const $name: Self = Self::new(StatusType::$kind, $code);
            )*)*
        }

        /// Every status of the tables with its name.
        const NAMES: &[(Status, &str)] = &[$($((Status::$name, $text),)*)*];
    };
}

// Figures "Status Code - Generic Command Status Values", "... Command Specific Status Values", "... Media and Data Integrity
// Error Values" and "... Path Related Status Values", each with its part for the NVM command set (80h and above).
status_codes! {
    Generic {
        SUCCESS = 0x00, "Successful Completion";
        INVALID_OPCODE = 0x01, "Invalid Command Opcode";
        INVALID_FIELD = 0x02, "Invalid Field in Command";
        COMMAND_ID_CONFLICT = 0x03, "Command ID Conflict";
        DATA_TRANSFER_ERROR = 0x04, "Data Transfer Error";
        ABORTED_POWER_LOSS = 0x05, "Commands Aborted due to Power Loss Notification";
        INTERNAL_ERROR = 0x06, "Internal Error";
        ABORT_REQUESTED = 0x07, "Command Abort Requested";
        ABORTED_SQ_DELETION = 0x08, "Command Aborted due to SQ Deletion";
        ABORTED_FAILED_FUSED = 0x09, "Command Aborted due to Failed Fused Command";
        ABORTED_MISSING_FUSED = 0x0a, "Command Aborted due to Missing Fused Command";
        INVALID_NAMESPACE_OR_FORMAT = 0x0b, "Invalid Namespace or Format";
        COMMAND_SEQUENCE_ERROR = 0x0c, "Command Sequence Error";
        INVALID_SGL_SEGMENT_DESCRIPTOR = 0x0d, "Invalid SGL Segment Descriptor";
        INVALID_SGL_DESCRIPTOR_COUNT = 0x0e, "Invalid Number of SGL Descriptors";
        DATA_SGL_LENGTH_INVALID = 0x0f, "Data SGL Length Invalid";
        METADATA_SGL_LENGTH_INVALID = 0x10, "Metadata SGL Length Invalid";
        SGL_DESCRIPTOR_TYPE_INVALID = 0x11, "SGL Descriptor Type Invalid";
        INVALID_USE_OF_CMB = 0x12, "Invalid Use of Controller Memory Buffer";
        PRP_OFFSET_INVALID = 0x13, "PRP Offset Invalid";
        ATOMIC_WRITE_UNIT_EXCEEDED = 0x14, "Atomic Write Unit Exceeded";
        OPERATION_DENIED = 0x15, "Operation Denied";
        SGL_OFFSET_INVALID = 0x16, "SGL Offset Invalid";
        HOST_ID_INCONSISTENT_FORMAT = 0x18, "Host Identifier Inconsistent Format";
        KEEP_ALIVE_EXPIRED = 0x19, "Keep Alive Timer Expired";
        KEEP_ALIVE_INVALID = 0x1a, "Keep Alive Timeout Invalid";
        ABORTED_PREEMPT = 0x1b, "Command Aborted due to Preempt and Abort";
        SANITIZE_FAILED = 0x1c, "Sanitize Failed";
        SANITIZE_IN_PROGRESS = 0x1d, "Sanitize In Progress";
        SGL_GRANULARITY_INVALID = 0x1e, "SGL Data Block Granularity Invalid";
        NOT_SUPPORTED_FOR_CMB_QUEUE = 0x1f, "Command Not Supported for Queue in CMB";
        NAMESPACE_WRITE_PROTECTED = 0x20, "Namespace is Write Protected";
        COMMAND_INTERRUPTED = 0x21, "Command Interrupted";
        TRANSIENT_TRANSPORT_ERROR = 0x22, "Transient Transport Error";
        LBA_OUT_OF_RANGE = 0x80, "LBA Out of Range";
        CAPACITY_EXCEEDED = 0x81, "Capacity Exceeded";
        NAMESPACE_NOT_READY = 0x82, "Namespace Not Ready";
        RESERVATION_CONFLICT = 0x83, "Reservation Conflict";
        FORMAT_IN_PROGRESS = 0x84, "Format In Progress";
    }
    CommandSpecific {
        COMPLETION_QUEUE_INVALID = 0x00, "Completion Queue Invalid";
        INVALID_QUEUE_IDENTIFIER = 0x01, "Invalid Queue Identifier";
        INVALID_QUEUE_SIZE = 0x02, "Invalid Queue Size";
        ABORT_LIMIT_EXCEEDED = 0x03, "Abort Command Limit Exceeded";
        ASYNC_EVENT_LIMIT_EXCEEDED = 0x05, "Asynchronous Event Request Limit Exceeded";
        INVALID_FIRMWARE_SLOT = 0x06, "Invalid Firmware Slot";
        INVALID_FIRMWARE_IMAGE = 0x07, "Invalid Firmware Image";
        INVALID_INTERRUPT_VECTOR = 0x08, "Invalid Interrupt Vector";
        INVALID_LOG_PAGE = 0x09, "Invalid Log Page";
        INVALID_FORMAT = 0x0a, "Invalid Format";
        FIRMWARE_NEEDS_CONVENTIONAL_RESET = 0x0b, "Firmware Activation Requires Conventional Reset";
        INVALID_QUEUE_DELETION = 0x0c, "Invalid Queue Deletion";
        FEATURE_NOT_SAVEABLE = 0x0d, "Feature Identifier Not Saveable";
        FEATURE_NOT_CHANGEABLE = 0x0e, "Feature Not Changeable";
        FEATURE_NOT_NAMESPACE_SPECIFIC = 0x0f, "Feature Not Namespace Specific";
        FIRMWARE_NEEDS_SUBSYSTEM_RESET = 0x10, "Firmware Activation Requires NVM Subsystem Reset";
        FIRMWARE_NEEDS_CONTROLLER_RESET = 0x11, "Firmware Activation Requires Controller Level Reset";
        FIRMWARE_NEEDS_TIME = 0x12, "Firmware Activation Requires Maximum Time Violation";
        FIRMWARE_ACTIVATION_PROHIBITED = 0x13, "Firmware Activation Prohibited";
        OVERLAPPING_RANGE = 0x14, "Overlapping Range";
        NAMESPACE_INSUFFICIENT_CAPACITY = 0x15, "Namespace Insufficient Capacity";
        NAMESPACE_ID_UNAVAILABLE = 0x16, "Namespace Identifier Unavailable";
        NAMESPACE_ALREADY_ATTACHED = 0x18, "Namespace Already Attached";
        NAMESPACE_IS_PRIVATE = 0x19, "Namespace Is Private";
        NAMESPACE_NOT_ATTACHED = 0x1a, "Namespace Not Attached";
        THIN_PROVISIONING_NOT_SUPPORTED = 0x1b, "Thin Provisioning Not Supported";
        CONTROLLER_LIST_INVALID = 0x1c, "Controller List Invalid";
        SELF_TEST_IN_PROGRESS = 0x1d, "Device Self-test In Progress";
        BOOT_PARTITION_WRITE_PROHIBITED = 0x1e, "Boot Partition Write Prohibited";
        INVALID_CONTROLLER_ID = 0x1f, "Invalid Controller Identifier";
        INVALID_SECONDARY_CONTROLLER_STATE = 0x20, "Invalid Secondary Controller State";
        INVALID_CONTROLLER_RESOURCES = 0x21, "Invalid Number of Controller Resources";
        INVALID_RESOURCE_ID = 0x22, "Invalid Resource Identifier";
        SANITIZE_PROHIBITED_PMR = 0x23, "Sanitize Prohibited While Persistent Memory Region is Enabled";
        ANA_GROUP_INVALID = 0x24, "ANA Group Identifier Invalid";
        ANA_ATTACH_FAILED = 0x25, "ANA Attach Failed";
        CONFLICTING_ATTRIBUTES = 0x80, "Conflicting Attributes";
        INVALID_PROTECTION_INFORMATION = 0x81, "Invalid Protection Information";
        WRITE_TO_READ_ONLY_RANGE = 0x82, "Attempted Write to Read Only Range";
        COMMAND_SIZE_LIMIT_EXCEEDED = 0x83, "Command Size Limit Exceeded";
    }
    Media {
        WRITE_FAULT = 0x80, "Write Fault";
        UNRECOVERED_READ_ERROR = 0x81, "Unrecovered Read Error";
        GUARD_CHECK_ERROR = 0x82, "End-to-end Guard Check Error";
        APPLICATION_TAG_CHECK_ERROR = 0x83, "End-to-end Application Tag Check Error";
        REFERENCE_TAG_CHECK_ERROR = 0x84, "End-to-end Reference Tag Check Error";
        COMPARE_FAILURE = 0x85, "Compare Failure";
        ACCESS_DENIED = 0x86, "Access Denied";
        DEALLOCATED_OR_UNWRITTEN = 0x87, "Deallocated or Unwritten Logical Block";
    }
    Path {
        INTERNAL_PATH_ERROR = 0x00, "Internal Path Error";
        ANA_PERSISTENT_LOSS = 0x01, "Asymmetric Access Persistent Loss";
        ANA_INACCESSIBLE = 0x02, "Asymmetric Access Inaccessible";
        ANA_TRANSITION = 0x03, "Asymmetric Access Transition";
        CONTROLLER_PATHING_ERROR = 0x60, "Controller Pathing Error";
        HOST_PATHING_ERROR = 0x70, "Host Pathing Error";
        ABORTED_BY_HOST = 0x71, "Command Aborted By Host";
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn codes_encode_as_the_host_reads_them() {
        // Linux and nvme-cli name a status by bits 15:1 shifted down: 0x4002 is Invalid Field with Do Not Retry.
        assert_eq!(Status::INVALID_FIELD.with_dnr(true).bits() >> 1, 0x4002);
        assert_eq!(Status::INVALID_QUEUE_IDENTIFIER.bits() >> 1, 0x101);
        assert_eq!(Status::UNRECOVERED_READ_ERROR.bits() >> 1, 0x281);
        assert_eq!(Status::LBA_OUT_OF_RANGE.with_more(true).bits() >> 1, 0x2080);
        assert_eq!(Status::ABORTED_BY_HOST.bits() >> 1, 0x371);
    }

    #[test]
    fn the_tables_hold_the_codes_of_the_specification() {
        let codes = |kind| {
            NAMES.iter().filter(move |(status, _)| status.kind() == kind).map(|(status, _)| status.code())
        };
        // Reserved: generic 17h, command specific 04h and 17h.
        assert!(codes(StatusType::Generic).eq((0x00..=0x16).chain(0x18..=0x22).chain(0x80..=0x84)));
        let specific = (0x00..=0x03).chain(0x05..=0x16).chain(0x18..=0x25).chain(0x80..=0x83);
        assert!(codes(StatusType::CommandSpecific).eq(specific));
        assert!(codes(StatusType::Media).eq(0x80..=0x87));
        assert!(codes(StatusType::Path).eq([0x00, 0x01, 0x02, 0x03, 0x60, 0x70, 0x71]));
    }

    #[test]
    fn every_bit_pattern_round_trips_without_its_phase() {
        for bits in 0..=u16::MAX {
            let status = Status::from_bits(bits);
            assert_eq!(status.bits(), bits & !1);
            let parts = u16::from(status.code()) << 1
                | u16::from(status.retry_delay()) << 12
                | u16::from(status.more()) << 14
                | u16::from(status.dnr()) << 15;
            assert_eq!(parts, bits & 0xf1fe);
        }
    }

    #[test]
    fn no_two_names_share_a_code() {
        for (at, (status, name)) in NAMES.iter().enumerate() {
            assert_eq!(status.name(), Some(*name));
            assert!(NAMES[at + 1..].iter().all(|(other, _)| other != status), "{name}");
        }
    }

    #[test]
    fn display_gives_the_specification_name() {
        assert_eq!(Status::SUCCESS.to_string(), "Successful Completion");
        assert_eq!(
            Status::INVALID_FIELD.with_dnr(true).to_string(),
            "Invalid Field in Command, do not retry"
        );
        assert_eq!(Status::new(StatusType::Vendor, 0x12).to_string(), "unknown status (type 0x7, code 0x12)");
    }

    #[test]
    fn success_and_identity_ignore_the_other_bits() {
        assert!(Status::SUCCESS.with_dnr(true).with_more(true).is_success());
        assert!(!Status::COMPLETION_QUEUE_INVALID.is_success(), "code 0 of another type is no success");
        assert!(Status::INVALID_FIELD.with_dnr(true).is(Status::INVALID_FIELD));
        assert_eq!(Status::INVALID_FIELD.with_dnr(true).with_dnr(false), Status::INVALID_FIELD);
    }
}
