//! Identify Controller. NVMe Base 1.4 s5.15.2.2 Identify Controller data structure (CNS 01h).

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Identify Controller, 4096 bytes; fields by the specification's abbreviations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Controller {
    /// PCI Vendor ID.
    pub vid: U16,
    /// PCI Subsystem Vendor ID.
    pub ssvid: U16,
    /// Serial Number, ASCII.
    pub sn: [u8; 20],
    /// Model Number, ASCII.
    pub mn: [u8; 40],
    /// Firmware Revision, ASCII.
    pub fr: [u8; 8],
    /// Recommended Arbitration Burst, log2 of commands.
    pub rab: u8,
    /// IEEE OUI Identifier, least significant byte first.
    pub ieee: [u8; 3],
    /// Controller Multi-Path I/O and Namespace Sharing Capabilities.
    pub cmic: u8,
    /// Maximum Data Transfer Size: log2 in units of CAP.MPSMIN pages; 0 is no limit.
    pub mdts: u8,
    /// Controller ID.
    pub cntlid: U16,
    /// Version, as the VS register.
    pub ver: U32,
    /// RTD3 Resume Latency, in microseconds.
    pub rtd3r: U32,
    /// RTD3 Entry Latency, in microseconds.
    pub rtd3e: U32,
    /// Optional Asynchronous Events Supported: [`AsyncEvents`].
    pub oaes: U32,
    /// Controller Attributes.
    pub ctratt: U32,
    /// Read Recovery Levels Supported.
    pub rrls: U16,
    /// Reserved.
    pub reserved102: [u8; 9],
    /// Controller Type: [`CONTROLLER_TYPE_IO`].
    pub cntrltype: u8,
    /// FRU Globally Unique Identifier.
    pub fguid: [u8; 16],
    /// Command Retry Delay Times 1 to 3, in units of 100 ms.
    pub crdt: [U16; 3],
    /// Reserved.
    pub reserved134: [u8; 106],
    /// Reserved for the NVMe Management Interface.
    pub reserved240: [u8; 13],
    /// NVM Subsystem Report.
    pub nvmsr: u8,
    /// VPD Write Cycle Information.
    pub vwci: u8,
    /// Management Endpoint Capabilities.
    pub mec: u8,
    /// Optional Admin Command Support: [`OptionalAdmin`].
    pub oacs: U16,
    /// Abort Command Limit, 0's based.
    pub acl: u8,
    /// Asynchronous Event Request Limit, 0's based.
    pub aerl: u8,
    /// Firmware Updates: slot 1 read-only in bit 0, slots in 3:1, activation without reset in bit 4.
    pub frmw: u8,
    /// Log Page Attributes: [`LogAttributes`].
    pub lpa: u8,
    /// Error Log Page Entries, 0's based.
    pub elpe: u8,
    /// Number of Power States Support, 0's based.
    pub npss: u8,
    /// Admin Vendor Specific Command Configuration.
    pub avscc: u8,
    /// Autonomous Power State Transition Attributes.
    pub apsta: u8,
    /// Warning Composite Temperature Threshold, in kelvin.
    pub wctemp: U16,
    /// Critical Composite Temperature Threshold, in kelvin.
    pub cctemp: U16,
    /// Maximum Time for Firmware Activation, in units of 100 ms.
    pub mtfa: U16,
    /// Host Memory Buffer Preferred Size, in units of 4 KiB.
    pub hmpre: U32,
    /// Host Memory Buffer Minimum Size, in units of 4 KiB.
    pub hmmin: U32,
    /// Total NVM Capacity, in bytes.
    pub tnvmcap: U128,
    /// Unallocated NVM Capacity, in bytes.
    pub unvmcap: U128,
    /// Replay Protected Memory Block Support.
    pub rpmbs: U32,
    /// Extended Device Self-test Time, in minutes.
    pub edstt: U16,
    /// Device Self-test Options.
    pub dsto: u8,
    /// Firmware Update Granularity, in units of 4 KiB.
    pub fwug: u8,
    /// Keep Alive Support: granularity in units of 100 ms; 0 is no support.
    pub kas: U16,
    /// Host Controlled Thermal Management Attributes.
    pub hctma: U16,
    /// Minimum Thermal Management Temperature, in kelvin.
    pub mntmt: U16,
    /// Maximum Thermal Management Temperature, in kelvin.
    pub mxtmt: U16,
    /// Sanitize Capabilities.
    pub sanicap: U32,
    /// Host Memory Buffer Minimum Descriptor Entry Size, in units of 4 KiB.
    pub hmminds: U32,
    /// Host Memory Maximum Descriptors Entries.
    pub hmmaxd: U16,
    /// NVM Set Identifier Maximum.
    pub nsetidmax: U16,
    /// Endurance Group Identifier Maximum.
    pub endgidmax: U16,
    /// ANA Transition Time, in seconds.
    pub anatt: u8,
    /// Asymmetric Namespace Access Capabilities.
    pub anacap: u8,
    /// ANA Group Identifier Maximum.
    pub anagrpmax: U32,
    /// Number of ANA Group Identifiers.
    pub nanagrpid: U32,
    /// Persistent Event Log Size, in units of 64 KiB.
    pub pels: U32,
    /// Reserved (NVMe 2.0 has the domain identifier at 356 and capacity limits at 368).
    pub reserved356: [u8; 156],
    /// Submission Queue Entry Size: log2, required in 3:0, maximum in 7:4.
    pub sqes: u8,
    /// Completion Queue Entry Size: log2, required in 3:0, maximum in 7:4.
    pub cqes: u8,
    /// Maximum Outstanding Commands (fabrics; 0 if not reported).
    pub maxcmd: U16,
    /// Number of Namespaces: the highest valid namespace identifier.
    pub nn: U32,
    /// Optional NVM Command Support: [`NvmCommands`].
    pub oncs: U16,
    /// Fused Operation Support: bit 0 Compare and Write.
    pub fuses: U16,
    /// Format NVM Attributes.
    pub fna: u8,
    /// Volatile Write Cache: [`VWC_PRESENT`] and a flush behaviour.
    pub vwc: u8,
    /// Atomic Write Unit Normal, in logical blocks, 0's based.
    pub awun: U16,
    /// Atomic Write Unit Power Fail, in logical blocks, 0's based.
    pub awupf: U16,
    /// NVM Vendor Specific Command Configuration.
    pub nvscc: u8,
    /// Namespace Write Protection Capabilities.
    pub nwpc: u8,
    /// Atomic Compare & Write Unit, in logical blocks, 0's based.
    pub acwu: U16,
    /// Reserved (NVMe 2.0: Copy Descriptor Formats Supported).
    pub reserved534: [u8; 2],
    /// SGL Support: bits 1:0 are 0 for none.
    pub sgls: U32,
    /// Maximum Number of Allowed Namespaces.
    pub mnan: U32,
    /// Reserved (NVMe 2.0 has domain limits at 544).
    pub reserved544: [u8; 224],
    /// NVM Subsystem NVMe Qualified Name, UTF-8, ended by a zero byte.
    pub subnqn: [u8; 256],
    /// Reserved.
    pub reserved1024: [u8; 768],
    /// NVMe over Fabrics.
    pub fabrics: [u8; 256],
    /// Power State Descriptors 0 to 31: [`PowerState`].
    pub psd: [PowerState; 32],
    /// Vendor specific.
    pub vendor: [u8; 1024],
}
const _: () = assert!(size_of::<Controller>() == crate::IDENTIFY_SIZE);

/// Power State Descriptor, 32 bytes. Figure "Identify - Power State Descriptor Data Structure".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PowerState {
    /// Maximum Power, in units of 10 mW (100 uW with bit 0 of `flags`).
    pub mp: U16,
    /// Reserved.
    pub reserved2: u8,
    /// Max Power Scale in bit 0, Non-Operational State in bit 1.
    pub flags: u8,
    /// Entry Latency, in microseconds.
    pub enlat: U32,
    /// Exit Latency, in microseconds.
    pub exlat: U32,
    /// Relative Read Throughput; lower is faster.
    pub rrt: u8,
    /// Relative Read Latency.
    pub rrl: u8,
    /// Relative Write Throughput.
    pub rwt: u8,
    /// Relative Write Latency.
    pub rwl: u8,
    /// Idle Power, in the unit of `ips`.
    pub idlp: U16,
    /// Idle Power Scale in 7:6.
    pub ips: u8,
    /// Reserved.
    pub reserved19: u8,
    /// Active Power, in the unit of `apw_aps`.
    pub actp: U16,
    /// Active Power Workload in 2:0, Active Power Scale in 7:6.
    pub apw_aps: u8,
    /// Reserved.
    pub reserved23: u8,
    /// Reserved.
    pub reserved24: U64,
}
const _: () = assert!(size_of::<PowerState>() == 32);

zeroed_default!(Controller);

/// [`Controller::cntrltype`]: I/O controller.
pub const CONTROLLER_TYPE_IO: u8 = 1;
/// Bit of [`Controller::vwc`]: there is a volatile write cache.
pub const VWC_PRESENT: u8 = 1 << 0;
/// Bits 2:1 of [`Controller::vwc`]: Flush refuses the namespace identifier FFFFFFFFh.
pub const VWC_FLUSH_NOT_ALL: u8 = 0b10 << 1;
/// Bits 2:1 of [`Controller::vwc`]: Flush takes the namespace identifier FFFFFFFFh.
pub const VWC_FLUSH_ALL: u8 = 0b11 << 1;

bitflags::bitflags! {
    /// Optional Asynchronous Events Supported.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct AsyncEvents: u32 {
        /// Namespace Attribute Notices.
        const NAMESPACE_ATTRIBUTE = 1 << 8;
        /// Firmware Activation Notices.
        const FIRMWARE_ACTIVATION = 1 << 9;
        /// Asymmetric Namespace Access Change Notices.
        const ANA_CHANGE = 1 << 11;
    }
}

bitflags::bitflags! {
    /// Optional Admin Command Support.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct OptionalAdmin: u16 {
        /// Security Send and Security Receive.
        const SECURITY = 1 << 0;
        /// Format NVM.
        const FORMAT = 1 << 1;
        /// Firmware Commit and Firmware Image Download.
        const FIRMWARE = 1 << 2;
        /// Namespace Management and Namespace Attachment.
        const NAMESPACE_MANAGEMENT = 1 << 3;
        /// Device Self-test.
        const SELF_TEST = 1 << 4;
        /// Directives.
        const DIRECTIVES = 1 << 5;
        /// NVMe-MI Send and NVMe-MI Receive.
        const MANAGEMENT_INTERFACE = 1 << 6;
        /// Virtualization Management.
        const VIRTUALIZATION = 1 << 7;
        /// Doorbell Buffer Config.
        const DOORBELL_BUFFER = 1 << 8;
        /// Get LBA Status.
        const LBA_STATUS = 1 << 9;
    }
}

bitflags::bitflags! {
    /// Log Page Attributes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct LogAttributes: u8 {
        /// SMART / Health Information for each namespace.
        const SMART_PER_NAMESPACE = 1 << 0;
        /// Commands Supported and Effects.
        const COMMAND_EFFECTS = 1 << 1;
        /// Extended data: NUMDU and log page offsets.
        const EXTENDED_DATA = 1 << 2;
        /// Telemetry.
        const TELEMETRY = 1 << 3;
        /// Persistent Event Log.
        const PERSISTENT_EVENT = 1 << 4;
    }
}

bitflags::bitflags! {
    /// Optional NVM Command Support.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct NvmCommands: u16 {
        /// Compare.
        const COMPARE = 1 << 0;
        /// Write Uncorrectable.
        const WRITE_UNCORRECTABLE = 1 << 1;
        /// Dataset Management.
        const DATASET_MANAGEMENT = 1 << 2;
        /// Write Zeroes.
        const WRITE_ZEROES = 1 << 3;
        /// Save in Set Features and Select in Get Features.
        const SAVE_AND_SELECT = 1 << 4;
        /// Reservations.
        const RESERVATIONS = 1 << 5;
        /// Timestamp.
        const TIMESTAMP = 1 << 6;
        /// Verify.
        const VERIFY = 1 << 7;
        /// Copy, since NVMe 2.0.
        const COPY = 1 << 8;
    }
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn every_key_field_stands_where_the_specification_puts_it() {
        let at = [
            (offset_of!(Controller, ssvid), 2),
            (offset_of!(Controller, sn), 4),
            (offset_of!(Controller, mn), 24),
            (offset_of!(Controller, fr), 64),
            (offset_of!(Controller, rab), 72),
            (offset_of!(Controller, ieee), 73),
            (offset_of!(Controller, cmic), 76),
            (offset_of!(Controller, mdts), 77),
            (offset_of!(Controller, cntlid), 78),
            (offset_of!(Controller, ver), 80),
            (offset_of!(Controller, oaes), 92),
            (offset_of!(Controller, ctratt), 96),
            (offset_of!(Controller, cntrltype), 111),
            (offset_of!(Controller, fguid), 112),
            (offset_of!(Controller, crdt), 128),
            (offset_of!(Controller, nvmsr), 253),
            (offset_of!(Controller, oacs), 256),
            (offset_of!(Controller, aerl), 259),
            (offset_of!(Controller, frmw), 260),
            (offset_of!(Controller, lpa), 261),
            (offset_of!(Controller, elpe), 262),
            (offset_of!(Controller, npss), 263),
            (offset_of!(Controller, wctemp), 266),
            (offset_of!(Controller, tnvmcap), 280),
            (offset_of!(Controller, unvmcap), 296),
            (offset_of!(Controller, rpmbs), 312),
            (offset_of!(Controller, kas), 320),
            (offset_of!(Controller, sanicap), 328),
            (offset_of!(Controller, hmminds), 332),
            (offset_of!(Controller, anagrpmax), 344),
            (offset_of!(Controller, pels), 352),
        ];
        for (index, (actual, expected)) in at.into_iter().enumerate() {
            assert_eq!(actual, expected, "row {index}");
        }
    }

    #[test]
    fn the_nvm_command_set_fields_start_at_512() {
        let at = [
            (offset_of!(Controller, sqes), 512),
            (offset_of!(Controller, cqes), 513),
            (offset_of!(Controller, maxcmd), 514),
            (offset_of!(Controller, nn), 516),
            (offset_of!(Controller, oncs), 520),
            (offset_of!(Controller, fuses), 522),
            (offset_of!(Controller, fna), 524),
            (offset_of!(Controller, vwc), 525),
            (offset_of!(Controller, awun), 526),
            (offset_of!(Controller, awupf), 528),
            (offset_of!(Controller, acwu), 532),
            (offset_of!(Controller, sgls), 536),
            (offset_of!(Controller, mnan), 540),
            (offset_of!(Controller, subnqn), 768),
            (offset_of!(Controller, fabrics), 1792),
            (offset_of!(Controller, psd), 2048),
            (offset_of!(Controller, vendor), 3072),
        ];
        for (index, (actual, expected)) in at.into_iter().enumerate() {
            assert_eq!(actual, expected, "row {index}");
        }
    }

    #[test]
    fn power_state_fields_stand_where_the_specification_puts_them() {
        assert_eq!(offset_of!(PowerState, flags), 3);
        assert_eq!(offset_of!(PowerState, enlat), 4);
        assert_eq!(offset_of!(PowerState, rrt), 12);
        assert_eq!(offset_of!(PowerState, idlp), 16);
        assert_eq!(offset_of!(PowerState, actp), 20);
    }

    #[test]
    fn capability_bits_have_their_standard_values() {
        assert_eq!(OptionalAdmin::DOORBELL_BUFFER.bits(), 0x100);
        assert_eq!((NvmCommands::DATASET_MANAGEMENT | NvmCommands::WRITE_ZEROES).bits(), 0xc);
        assert_eq!(VWC_PRESENT | VWC_FLUSH_ALL, 0x7);
        assert_eq!(AsyncEvents::NAMESPACE_ATTRIBUTE.bits(), 0x100);
    }
}
