//! Which commands may be executed a second time: pure facts about opcodes.
//!
//! A command that was on its way when a back end died may have been executed, or not, or in part. Executing it (again) is
//! invisible to the guest if the second execution leaves what the first one left: the guest has no answer yet, so it cannot
//! rely on an order between this command and any other that was on its way. Where that does not hold (an append lands twice,
//! a key is used up) the guest gets an error which says that it must not simply try again.

use nvme_spec::command::Fuse;
use nvme_spec::{AdminOpcode, NvmOpcode, Status, SubmissionEntry};

/// What becomes of a command whose back end died under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repeat {
    /// It changes nothing on the medium: it is executed again.
    Harmless,
    /// It changes the medium, in the same way each time: it is executed again if nothing old can land after it.
    Write,
    /// It is not executed again.
    Never,
}

impl Repeat {
    /// What becomes of a command of the admin queue (`admin`) or of an I/O queue.
    #[must_use]
    pub fn of(admin: bool, entry: &SubmissionEntry) -> Self {
        // One of two halves that are executed together: the other one may have been answered already.
        if entry.fuse() != Fuse::Normal {
            return Self::Never;
        }
        if admin { Self::of_admin(entry.opcode) } else { Self::of_io(entry.opcode) }
    }

    fn of_io(opcode: u8) -> Self {
        match NvmOpcode::try_from(opcode) {
            Ok(
                NvmOpcode::Flush
                | NvmOpcode::Read
                | NvmOpcode::Compare
                | NvmOpcode::Verify
                | NvmOpcode::ReservationReport,
            ) => Self::Harmless,
            Ok(
                NvmOpcode::Write
                | NvmOpcode::WriteUncorrectable
                | NvmOpcode::WriteZeroes
                | NvmOpcode::DatasetManagement,
            ) => Self::Write,
            // A reservation that was acquired cannot be acquired, and the ranges of a copy may overlap.
            Ok(
                NvmOpcode::ReservationRegister
                | NvmOpcode::ReservationAcquire
                | NvmOpcode::ReservationRelease
                | NvmOpcode::Copy,
            ) => Self::Never,
            // Zone Append and whatever else other command sets and vendors have.
            Err(_) => Self::Never,
        }
    }

    fn of_admin(opcode: u8) -> Self {
        match AdminOpcode::try_from(opcode) {
            Ok(
                AdminOpcode::Identify
                | AdminOpcode::GetLogPage
                | AdminOpcode::GetFeatures
                | AdminOpcode::SetFeatures
                | AdminOpcode::GetLbaStatus
                | AdminOpcode::KeepAlive,
            ) => Self::Harmless,
            _ => Self::Never,
        }
    }

    /// The answer to a command that is not executed again. Both say that trying again is the host's own risk: the first
    /// execution may have happened.
    #[must_use]
    pub const fn refusal(self) -> Status {
        match self {
            Self::Write => Status::WRITE_FAULT.with_dnr(true),
            Self::Harmless | Self::Never => Status::INTERNAL_ERROR.with_dnr(true),
        }
    }
}

/// Whether an admin command is the driver's own business and must never reach the back end from a guest: it names queues,
/// commands or memory which are not at the back end what they are to the guest.
#[must_use]
pub fn is_own(entry: &SubmissionEntry) -> bool {
    matches!(
        AdminOpcode::try_from(entry.opcode),
        Ok(AdminOpcode::CreateIoCompletionQueue
            | AdminOpcode::CreateIoSubmissionQueue
            | AdminOpcode::DeleteIoCompletionQueue
            | AdminOpcode::DeleteIoSubmissionQueue
            | AdminOpcode::Abort
            | AdminOpcode::AsyncEventRequest
            | AdminOpcode::DoorbellBufferConfig)
    )
}

/// Whether a success of this admin command may change what namespaces there are, and how they are formatted.
#[must_use]
pub fn changes_namespaces(entry: &SubmissionEntry) -> bool {
    matches!(
        AdminOpcode::try_from(entry.opcode),
        Ok(AdminOpcode::FormatNvm
            | AdminOpcode::NamespaceManagement
            | AdminOpcode::NamespaceAttachment
            | AdminOpcode::Sanitize)
    )
}

#[cfg(test)]
mod tests {
    use nvme_spec::command::Psdt;

    use super::*;

    fn of(admin: bool, opcode: u8) -> Repeat {
        Repeat::of(admin, &SubmissionEntry { opcode, ..SubmissionEntry::default() })
    }

    #[test]
    fn what_leaves_the_same_each_time_is_repeated() {
        let harmless = [0x00, 0x02, 0x05, 0x0c, 0x0e];
        let writes = [0x01, 0x04, 0x08, 0x09];
        for opcode in 0..=u8::MAX {
            let expected = match opcode {
                _ if harmless.contains(&opcode) => Repeat::Harmless,
                _ if writes.contains(&opcode) => Repeat::Write,
                // Zone Append is 7Dh, a Zone Management Send 79h, vendors have 80h and above.
                _ => Repeat::Never,
            };
            assert_eq!(of(false, opcode), expected, "I/O opcode {opcode:#04x}");
        }
        let harmless = [0x02, 0x06, 0x09, 0x0a, 0x18, 0x86];
        for opcode in 0..=u8::MAX {
            let expected = if harmless.contains(&opcode) { Repeat::Harmless } else { Repeat::Never };
            assert_eq!(of(true, opcode), expected, "admin opcode {opcode:#04x}");
        }
    }

    #[test]
    fn half_of_a_fused_pair_is_not_repeated_alone() {
        for fuse in [Fuse::First, Fuse::Second, Fuse::Reserved] {
            let flags = SubmissionEntry::flags(fuse, Psdt::Prp);
            let entry = SubmissionEntry { opcode: NvmOpcode::Compare.code(), flags, ..Default::default() };
            assert_eq!(Repeat::of(false, &entry), Repeat::Never);
        }
    }

    #[test]
    fn every_refusal_tells_the_host_not_to_retry() {
        for repeat in [Repeat::Write, Repeat::Never] {
            assert!(repeat.refusal().dnr() && !repeat.refusal().is_success());
        }
        assert!(Repeat::Write.refusal().is(Status::WRITE_FAULT));
    }

    #[test]
    fn commands_about_queues_are_the_drivers_own() {
        let own: Vec<u8> = (0..=u8::MAX)
            .filter(|&opcode| is_own(&SubmissionEntry { opcode, ..SubmissionEntry::default() }))
            .collect();
        assert_eq!(own, [0x00, 0x01, 0x04, 0x05, 0x08, 0x0c, 0x7c]);
    }
}
