//! Log pages. NVMe Base 1.4 s5.14 Get Log Page command, s5.14.1 Log Specific Information.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::command::SubmissionEntry;

code_enum! {
    /// Log Page Identifier. Figure "Get Log Page - Log Page Identifiers".
    LogPage: u8, unknown UnknownLogPage {
        /// s5.14.1.1 Error Information: [`ErrorEntry`].
        ErrorInformation = 0x01, "Error Information";
        /// s5.14.1.2 SMART / Health Information: [`SmartHealth`].
        SmartHealth = 0x02, "SMART / Health Information";
        /// s5.14.1.3 Firmware Slot Information: [`FirmwareSlot`].
        FirmwareSlot = 0x03, "Firmware Slot Information";
        /// s5.14.1.4 Changed Namespace List: [`ChangedNamespaceList`].
        ChangedNamespaceList = 0x04, "Changed Namespace List";
        /// s5.14.1.5 Commands Supported and Effects: [`CommandEffects`].
        CommandEffects = 0x05, "Commands Supported and Effects";
        /// Device Self-test.
        DeviceSelfTest = 0x06, "Device Self-test";
        /// Telemetry Host-Initiated.
        TelemetryHost = 0x07, "Telemetry Host-Initiated";
        /// Telemetry Controller-Initiated.
        TelemetryController = 0x08, "Telemetry Controller-Initiated";
        /// Endurance Group Information.
        EnduranceGroup = 0x09, "Endurance Group Information";
        /// Predictable Latency Per NVM Set.
        PredictableLatency = 0x0a, "Predictable Latency Per NVM Set";
        /// Predictable Latency Event Aggregate.
        PredictableLatencyEvents = 0x0b, "Predictable Latency Event Aggregate";
        /// Asymmetric Namespace Access.
        AsymmetricNamespaceAccess = 0x0c, "Asymmetric Namespace Access";
        /// Persistent Event Log.
        PersistentEvent = 0x0d, "Persistent Event Log";
        /// LBA Status Information.
        LbaStatus = 0x0e, "LBA Status Information";
        /// Endurance Group Event Aggregate.
        EnduranceGroupEvents = 0x0f, "Endurance Group Event Aggregate";
        /// Discovery (fabrics).
        Discovery = 0x70, "Discovery";
        /// Reservation Notification.
        ReservationNotification = 0x80, "Reservation Notification";
        /// Sanitize Status.
        SanitizeStatus = 0x81, "Sanitize Status";
    }
}

bit_fields! {
    /// Command dword 10 of Get Log Page.
    Cdw10(u32) {
        /// Log Page Identifier.
        lid, with_lid: u8 = 0, 0xff;
        /// Log Specific Field.
        lsp, with_lsp: u8 = 8, 0xf;
        /// Retain Asynchronous Event: reading the log does not clear its event.
        rae, with_rae: bool = 15;
        /// Number of Dwords, lower half, 0's based together with the upper half.
        numdl, with_numdl: u16 = 16, 0xffff;
    }
}

bit_fields! {
    /// Command dword 11 of Get Log Page.
    Cdw11(u32) {
        /// Number of Dwords, upper half.
        numdu, with_numdu: u16 = 0, 0xffff;
        /// Log Specific Identifier.
        lsi, with_lsi: u16 = 16, 0xffff;
    }
}

impl SubmissionEntry {
    /// Bytes that a Get Log Page asks for, 4 bytes to 16 GiB, from NUMDU and NUMDL (extended data, LPA bit 2).
    #[must_use]
    pub fn log_length(&self) -> u64 {
        let upper = u64::from(Cdw11(self.cdw11.get()).numdu());
        let lower = u64::from(Cdw10(self.cdw10.get()).numdl());
        ((upper << 16 | lower) + 1) * 4
    }

    /// Offset in bytes from which a Get Log Page reads: LPOU and LPOL. A host must give a multiple of 4.
    #[must_use]
    pub fn log_offset(&self) -> u64 {
        u64::from(self.cdw13.get()) << 32 | u64::from(self.cdw12.get())
    }
}

/// Entry of the Error Information log, 64 bytes. s5.14.1.1 Error Information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ErrorEntry {
    /// Error Count: unique and ascending; 0 marks an unused entry.
    pub error_count: U64,
    /// Submission Queue ID; FFFFh if the error belongs to no queue.
    pub sqid: U16,
    /// Command ID; FFFFh if the error belongs to no command.
    pub cid: U16,
    /// Status Field, with the phase tag in bit 0.
    pub status_and_phase: U16,
    /// Parameter Error Location: byte in 7:0, bit in 10:8; FFFFh if it is no parameter.
    pub parameter_error_location: U16,
    /// First LBA that failed.
    pub lba: U64,
    /// Namespace.
    pub nsid: U32,
    /// Log page with vendor specific information; 0 for none.
    pub vendor_log_page: u8,
    /// Transport Type; 0 if not indicated.
    pub trtype: u8,
    /// Reserved.
    pub reserved30: [u8; 2],
    /// Command Specific Information.
    pub command_specific: U64,
    /// Transport Type Specific Information.
    pub transport_specific: U16,
    /// Reserved.
    pub reserved42: [u8; 22],
}
const _: () = assert!(size_of::<ErrorEntry>() == 64);

/// Value of [`ErrorEntry`]'s identifiers and location where there is none.
pub const ERROR_NOT_SPECIFIC: u16 = 0xffff;

bitflags::bitflags! {
    /// Critical Warning of [`SmartHealth`], and the bits of Asynchronous Event Configuration that enable their events.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct CriticalWarning: u8 {
        /// Spare is below its threshold.
        const SPARE = 1 << 0;
        /// A temperature is beyond its threshold.
        const TEMPERATURE = 1 << 1;
        /// Reliability is degraded.
        const RELIABILITY = 1 << 2;
        /// The media is read-only.
        const READ_ONLY = 1 << 3;
        /// The backup of volatile memory failed.
        const VOLATILE_BACKUP = 1 << 4;
        /// The persistent memory region is unreliable or read-only.
        const PERSISTENT_MEMORY = 1 << 5;
    }
}

/// SMART / Health Information log, 512 bytes. s5.14.1.2 SMART / Health Information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SmartHealth {
    /// [`CriticalWarning`].
    pub critical_warning: u8,
    /// Composite Temperature, in kelvin.
    pub composite_temperature: U16,
    /// Available Spare, in percent.
    pub available_spare: u8,
    /// Available Spare Threshold, in percent.
    pub available_spare_threshold: u8,
    /// Percentage Used, may exceed 100; 255 is "255 or more".
    pub percentage_used: u8,
    /// Endurance Group Critical Warning Summary.
    pub endurance_group_warning: u8,
    /// Reserved.
    pub reserved7: [u8; 25],
    /// Data Units Read, in thousands of 512 bytes, rounded up.
    pub data_units_read: U128,
    /// Data Units Written, in thousands of 512 bytes, rounded up.
    pub data_units_written: U128,
    /// Host Read Commands.
    pub host_read_commands: U128,
    /// Host Write Commands.
    pub host_write_commands: U128,
    /// Controller Busy Time, in minutes.
    pub controller_busy_time: U128,
    /// Power Cycles.
    pub power_cycles: U128,
    /// Power On Hours.
    pub power_on_hours: U128,
    /// Unsafe Shutdowns.
    pub unsafe_shutdowns: U128,
    /// Media and Data Integrity Errors.
    pub media_errors: U128,
    /// Number of Error Information Log Entries, over the controller's life.
    pub error_log_entries: U128,
    /// Warning Composite Temperature Time, in minutes.
    pub warning_temperature_time: U32,
    /// Critical Composite Temperature Time, in minutes.
    pub critical_temperature_time: U32,
    /// Temperature Sensors 1 to 8, in kelvin; 0 where there is none.
    pub temperature_sensors: [U16; 8],
    /// Thermal Management Temperature 1 Transition Count.
    pub thermal_transitions_1: U32,
    /// Thermal Management Temperature 2 Transition Count.
    pub thermal_transitions_2: U32,
    /// Total Time For Thermal Management Temperature 1, in seconds.
    pub thermal_time_1: U32,
    /// Total Time For Thermal Management Temperature 2, in seconds.
    pub thermal_time_2: U32,
    /// Reserved.
    pub reserved232: [u8; 280],
}
const _: () = assert!(size_of::<SmartHealth>() == 512);

/// Firmware Slot Information log, 512 bytes. s5.14.1.3 Firmware Slot Information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FirmwareSlot {
    /// Active Firmware Info: active slot in 2:0, slot after the next reset in 6:4.
    pub afi: u8,
    /// Reserved.
    pub reserved1: [u8; 7],
    /// Firmware revisions of slots 1 to 7, ASCII; zeroes where a slot is empty.
    pub frs: [[u8; 8]; 7],
    /// Reserved.
    pub reserved64: [u8; 448],
}
const _: () = assert!(size_of::<FirmwareSlot>() == 512);

/// Changed Namespace List log, 4096 bytes. s5.14.1.4 Changed Namespace List.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ChangedNamespaceList {
    /// Namespace identifiers, ascending, 0 after the last; FFFFFFFFh first if more than 1024 changed.
    pub nsid: [U32; 1024],
}
const _: () = assert!(size_of::<ChangedNamespaceList>() == 4096);

/// Commands Supported and Effects log, 4096 bytes. s5.14.1.5 Commands Supported and Effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CommandEffects {
    /// Admin Command Supported, by opcode: [`Effects`].
    pub acs: [U32; 256],
    /// I/O Command Supported, by opcode: [`Effects`].
    pub iocs: [U32; 256],
    /// Reserved.
    pub reserved2048: [u8; 2048],
}
const _: () = assert!(size_of::<CommandEffects>() == 4096);

bitflags::bitflags! {
    /// What a command does, as in [`CommandEffects`], without the submission restrictions in bits 18:16.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Effects: u32 {
        /// Command Supported.
        const CSUPP = 1 << 0;
        /// Logical Block Content Change.
        const LBCC = 1 << 1;
        /// Namespace Capability Change.
        const NCC = 1 << 2;
        /// Namespace Inventory Change.
        const NIC = 1 << 3;
        /// Controller Capability Change.
        const CCC = 1 << 4;
        /// UUID Selection Supported.
        const UUID_SELECTION = 1 << 19;
    }
}

zeroed_default!(SmartHealth, FirmwareSlot, ChangedNamespaceList, CommandEffects);

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn error_entry_fields_stand_where_the_specification_puts_them() {
        assert_eq!(offset_of!(ErrorEntry, sqid), 8);
        assert_eq!(offset_of!(ErrorEntry, parameter_error_location), 14);
        assert_eq!(offset_of!(ErrorEntry, lba), 16);
        assert_eq!(offset_of!(ErrorEntry, nsid), 24);
        assert_eq!(offset_of!(ErrorEntry, command_specific), 32);
        assert_eq!(offset_of!(ErrorEntry, transport_specific), 40);
    }

    #[test]
    fn smart_fields_stand_where_the_specification_puts_them() {
        assert_eq!(offset_of!(SmartHealth, composite_temperature), 1);
        assert_eq!(offset_of!(SmartHealth, available_spare), 3);
        assert_eq!(offset_of!(SmartHealth, percentage_used), 5);
        assert_eq!(offset_of!(SmartHealth, data_units_read), 32);
        assert_eq!(offset_of!(SmartHealth, host_read_commands), 64);
        assert_eq!(offset_of!(SmartHealth, power_cycles), 112);
        assert_eq!(offset_of!(SmartHealth, error_log_entries), 176);
        assert_eq!(offset_of!(SmartHealth, warning_temperature_time), 192);
        assert_eq!(offset_of!(SmartHealth, temperature_sensors), 200);
        assert_eq!(offset_of!(SmartHealth, thermal_transitions_1), 216);
        assert_eq!(offset_of!(SmartHealth, reserved232), 232);
    }

    #[test]
    fn slots_and_effects_stand_where_the_specification_puts_them() {
        assert_eq!(offset_of!(FirmwareSlot, frs), 8);
        assert_eq!(offset_of!(CommandEffects, iocs), 1024);
        assert_eq!((Effects::CSUPP | Effects::LBCC).bits(), 0x3);
    }

    #[test]
    fn log_length_and_offset_join_their_halves() {
        let mut entry = SubmissionEntry { cdw10: 0x007f_8002.into(), ..Default::default() };
        assert_eq!(entry.log_length(), 512);
        let cdw10 = Cdw10(entry.cdw10.get());
        assert_eq!((cdw10.lid(), cdw10.rae()), (LogPage::SmartHealth.code(), true));
        (entry.cdw10, entry.cdw11) = (0xffff_0000.into(), 0x0000_ffff.into());
        assert_eq!(entry.log_length(), 16 << 30);
        (entry.cdw12, entry.cdw13) = (0x10.into(), 0x1.into());
        assert_eq!(entry.log_offset(), 0x1_0000_0010);
    }
}
