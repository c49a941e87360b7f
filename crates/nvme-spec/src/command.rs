//! The two queue entries: 64 bytes from the host, 16 bytes back.
//!
//! NVMe Base 1.4 s4.2 Submission Queue Entry - Command Format, s4.6 Completion Queue Entry.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::status::Status;

/// Length of a submission queue entry, in bytes; log2 is [`SUBMISSION_ENTRY_SHIFT`].
pub const SUBMISSION_ENTRY_SIZE: usize = 64;
/// log2 of [`SUBMISSION_ENTRY_SIZE`], as in CC.IOSQES.
pub const SUBMISSION_ENTRY_SHIFT: u8 = 6;
/// Length of a completion queue entry, in bytes; log2 is [`COMPLETION_ENTRY_SHIFT`].
pub const COMPLETION_ENTRY_SIZE: usize = 16;
/// log2 of [`COMPLETION_ENTRY_SIZE`], as in CC.IOCQES.
pub const COMPLETION_ENTRY_SHIFT: u8 = 4;

/// A command. Copy it out of shared memory once, then validate and execute the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SubmissionEntry {
    /// Opcode: [`AdminOpcode`](crate::AdminOpcode) or [`NvmOpcode`](crate::NvmOpcode) by queue.
    pub opcode: u8,
    /// FUSE in bits 1:0, PSDT in bits 7:6; see [`fuse`](Self::fuse) and [`psdt`](Self::psdt).
    pub flags: u8,
    /// Command Identifier, unique within its submission queue.
    pub cid: U16,
    /// Namespace Identifier.
    pub nsid: U32,
    /// Command dword 2.
    pub cdw2: U32,
    /// Command dword 3.
    pub cdw3: U32,
    /// Metadata Pointer.
    pub mptr: U64,
    /// First PRP entry, or the low half of an SGL descriptor.
    pub prp1: U64,
    /// Second PRP entry, or the high half of an SGL descriptor.
    pub prp2: U64,
    /// Command dword 10.
    pub cdw10: U32,
    /// Command dword 11.
    pub cdw11: U32,
    /// Command dword 12.
    pub cdw12: U32,
    /// Command dword 13.
    pub cdw13: U32,
    /// Command dword 14.
    pub cdw14: U32,
    /// Command dword 15.
    pub cdw15: U32,
}
const _: () = assert!(size_of::<SubmissionEntry>() == SUBMISSION_ENTRY_SIZE);

impl SubmissionEntry {
    /// Whether and how the command is part of a fused operation.
    #[must_use]
    pub const fn fuse(&self) -> Fuse {
        match self.flags & 0x3 {
            0 => Fuse::Normal,
            1 => Fuse::First,
            2 => Fuse::Second,
            _ => Fuse::Reserved,
        }
    }

    /// What the data pointer holds.
    #[must_use]
    pub const fn psdt(&self) -> Psdt {
        match self.flags >> 6 {
            0 => Psdt::Prp,
            1 => Psdt::SglWithMetadataBuffer,
            2 => Psdt::SglWithMetadataSgl,
            _ => Psdt::Reserved,
        }
    }

    /// The flags byte for the two fields.
    #[must_use]
    pub const fn flags(fuse: Fuse, psdt: Psdt) -> u8 {
        fuse as u8 | (psdt as u8) << 6
    }
}

/// Fused Operation. NVMe Base 1.4 s4.2, figure "Command Dword 0".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Fuse {
    /// A command of its own.
    #[default]
    Normal = 0,
    /// First command of a fused operation.
    First = 1,
    /// Second command of a fused operation.
    Second = 2,
    /// Reserved encoding.
    Reserved = 3,
}

/// PRP or SGL for Data Transfer. NVMe Base 1.4 s4.2, figure "Command Dword 0".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Psdt {
    /// PRPs.
    #[default]
    Prp = 0,
    /// SGL; the metadata pointer is one contiguous buffer.
    SglWithMetadataBuffer = 1,
    /// SGL; the metadata pointer is an SGL too.
    SglWithMetadataSgl = 2,
    /// Reserved encoding.
    Reserved = 3,
}

/// A completion. The phase bit tells the host that the entry is new: the last four bytes must become visible last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CompletionEntry {
    /// Dword 0: command specific result.
    pub dw0: U32,
    /// Dword 1: reserved, or command specific.
    pub dw1: U32,
    /// SQ Head Pointer: entries up to here are free for the host.
    pub sqhd: U16,
    /// SQ Identifier.
    pub sqid: U16,
    /// Command Identifier of the command.
    pub cid: U16,
    /// Phase tag in bit 0, [`Status`] above.
    pub status_and_phase: U16,
}
const _: () = assert!(size_of::<CompletionEntry>() == COMPLETION_ENTRY_SIZE);

impl CompletionEntry {
    /// A completion with dword 1 zero.
    #[must_use]
    pub fn new(dw0: u32, sqhd: u16, sqid: u16, cid: u16, status: Status, phase: bool) -> Self {
        Self {
            dw0: dw0.into(),
            dw1: U32::ZERO,
            sqhd: sqhd.into(),
            sqid: sqid.into(),
            cid: cid.into(),
            status_and_phase: (status.bits() | u16::from(phase)).into(),
        }
    }

    /// Status field.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::from_bits(self.status_and_phase.get())
    }

    /// Phase tag.
    #[must_use]
    pub fn phase(&self) -> bool {
        self.status_and_phase.get() & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn submission_fields_stand_where_the_specification_puts_them() {
        assert_eq!(offset_of!(SubmissionEntry, cid), 2);
        assert_eq!(offset_of!(SubmissionEntry, nsid), 4);
        assert_eq!(offset_of!(SubmissionEntry, mptr), 16);
        assert_eq!(offset_of!(SubmissionEntry, prp1), 24);
        assert_eq!(offset_of!(SubmissionEntry, prp2), 32);
        assert_eq!(offset_of!(SubmissionEntry, cdw10), 40);
        assert_eq!(offset_of!(SubmissionEntry, cdw15), 60);
    }

    #[test]
    fn an_identify_controller_command_decodes_from_its_bytes() {
        let mut bytes = [0u8; 64];
        bytes[..4].copy_from_slice(&[0x06, 0x00, 0x34, 0x12]);
        bytes[24..32].copy_from_slice(&0x1234_5000u64.to_le_bytes());
        bytes[40] = 0x01;
        let entry = SubmissionEntry::read_from_bytes(&bytes).unwrap();
        assert_eq!((entry.opcode, entry.cid.get(), entry.prp1.get()), (0x06, 0x1234, 0x1234_5000));
        assert_eq!((entry.cdw10.get(), entry.fuse(), entry.psdt()), (1, Fuse::Normal, Psdt::Prp));
        assert_eq!(entry.as_bytes(), bytes);
    }

    #[test]
    fn fuse_and_psdt_share_a_byte() {
        let entry = SubmissionEntry { flags: 0x42, ..Default::default() };
        assert_eq!((entry.fuse(), entry.psdt()), (Fuse::Second, Psdt::SglWithMetadataBuffer));
        assert_eq!(SubmissionEntry::flags(Fuse::Second, Psdt::SglWithMetadataBuffer), 0x42);
    }

    #[test]
    fn a_completion_encodes_status_above_the_phase() {
        let status = Status::INVALID_QUEUE_IDENTIFIER.with_dnr(true);
        let entry = CompletionEntry::new(0xaabb_ccdd, 5, 1, 0x77, status, true);
        let bytes = [0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0, 5, 0, 1, 0, 0x77, 0, 0x03, 0x82];
        assert_eq!(entry.as_bytes(), bytes);
        let back = CompletionEntry::read_from_bytes(&bytes).unwrap();
        assert_eq!((back.status(), back.phase()), (status, true));
    }
}
