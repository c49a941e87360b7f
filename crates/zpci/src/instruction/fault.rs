//! How an instruction ends that did not do its work: by a condition code with a status, or by a program check.

use gate::{CloseError, Refusal};
use pci_core::{AccessError, BlockRefused, ConfigStatus, Errno, ResetError};
use thiserror::Error;

/// What condition code 1 comes with (ZP-13). Loads and stores answer with 4, 8, 12, 16, 20 and 40; the others belong to other
/// instructions, which a request's word may have been through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[repr(u8)]
pub enum Status {
    /// The handle is the function's, and disabled.
    #[error("the function is not enabled")]
    NotEnabled = 4,
    /// In permanent error.
    #[error("the function is in error")]
    InError = 8,
    /// Frozen: somebody is to recover it.
    #[error("the function is blocked")]
    Blocked = 12,
    /// The device has no room for what was asked.
    #[error("insufficient resources")]
    NoResources = 16,
    /// The function has no such address space, or not for this instruction.
    #[error("the address space is invalid")]
    InvalidSpace = 20,
    /// It is to be enabled, and is.
    #[error("the function is enabled already")]
    AlreadyEnabled = 24,
    /// Its DMA address space is not registered.
    #[error("the DMA address space is not enabled")]
    DmaSpaceNotEnabled = 28,
    /// The second operand is in an address space that is invalid.
    #[error("the second operand is in an invalid address space")]
    InvalidOperandSpace = 36,
    /// The device did not take the access: memory is not decoded, it sleeps, or it is not for accesses of this kind.
    #[error("the function is not available")]
    NotAvailable = 40,
    /// It is to change to the state in which it is.
    #[error("the function is in the requested state already")]
    AlreadyInState = 44,
}

impl Status {
    /// All there are.
    pub const ALL: [Status; 10] = [
        Status::NotEnabled,
        Status::InError,
        Status::Blocked,
        Status::NoResources,
        Status::InvalidSpace,
        Status::AlreadyEnabled,
        Status::DmaSpaceNotEnabled,
        Status::InvalidOperandSpace,
        Status::NotAvailable,
        Status::AlreadyInState,
    ];

    /// As the instruction leaves it in bits 24 to 31 of the request's word.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What a code says; `None` for one that is not known.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.code() == code)
    }
}

/// What is wrong with an instruction whatever the function: the program is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum ProgramCheck {
    /// Single loads and stores have 1, 2, 4 or 8 bytes, in configuration space at most 4; a block is a multiple of 8.
    #[error("the length is invalid")]
    Length,
    /// A block begins at a multiple of 8; a register of configuration space at a multiple of its length.
    #[error("the offset is not aligned")]
    Alignment,
    /// A single load or store lies within 8 aligned bytes, a block within 4 KiB.
    #[error("the operand crosses a boundary")]
    Crossing,
    /// More than the function takes at once.
    #[error("the block is longer than the function takes")]
    TooLong,
    /// Not within the address space.
    #[error("the operand is outside the address space")]
    Outside,
}

/// How an instruction ends that did not do its work. What was to be loaded is all-ones (ZP-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Fault {
    /// Condition code 1.
    #[error(transparent)]
    Error(#[from] Status),
    /// Condition code 2: somebody has the function for himself for a moment. Another try later, or a wait at the gate.
    #[error("the function is busy")]
    Busy,
    /// Condition code 3: the handle names nothing, or nothing any more.
    #[error("the handle is invalid")]
    InvalidHandle,
    /// Condition code 3: the function was taken away.
    #[error("the function is gone")]
    Gone,
    /// No condition code: the program is interrupted.
    #[error(transparent)]
    Check(#[from] ProgramCheck),
}

impl Fault {
    /// The condition code, 1 to 3; none after a program check.
    #[must_use]
    pub const fn condition_code(self) -> Option<u8> {
        match self {
            Fault::Error(_) => Some(1),
            Fault::Busy => Some(2),
            Fault::InvalidHandle | Fault::Gone => Some(3),
            Fault::Check(_) => None,
        }
    }

    /// What condition code 1 comes with.
    #[must_use]
    pub const fn status(self) -> Option<Status> {
        match self {
            Fault::Error(status) => Some(status),
            _ => None,
        }
    }

    /// The error number that a user of a Linux interface is told (ZP-13). What is gone is ENODEV, which ZIO-I4 allows.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Fault::Error(_) | Fault::InvalidHandle => Errno::EIO,
            Fault::Busy => Errno::EBUSY,
            Fault::Gone => Errno::ENODEV,
            Fault::Check(_) => Errno::ENXIO,
        }
    }

    /// As [`Fault::errno`], of an access to configuration space: a function that is not enabled is not there (ZP-12).
    #[must_use]
    pub const fn config_errno(self) -> Errno {
        match self {
            Fault::Error(Status::NotEnabled) | Fault::Gone => Errno::ENODEV,
            Fault::Error(_) | Fault::Busy | Fault::InvalidHandle | Fault::Check(_) => Errno::EIO,
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        match refusal {
            Refusal::Blocked(_) => Fault::Busy,
            Refusal::Frozen => Fault::Error(Status::Blocked),
            Refusal::Gone | Refusal::StaleEpoch { .. } => Fault::Gone,
        }
    }
}

impl From<ConfigStatus> for Fault {
    fn from(status: ConfigStatus) -> Fault {
        match status {
            ConfigStatus::DeviceNotFound => Fault::Gone,
            ConfigStatus::BadRegisterNumber => Fault::Check(ProgramCheck::Outside),
            ConfigStatus::FunctionNotSupported
            | ConfigStatus::BadVendorId
            | ConfigStatus::SetFailed
            | ConfigStatus::BufferTooSmall => Fault::Error(Status::NotAvailable),
        }
    }
}

/// Away from the instructions that do their work.
impl From<AccessError> for Fault {
    #[cold]
    fn from(error: AccessError) -> Fault {
        match error {
            AccessError::Refused(refusal) => refusal.into(),
            AccessError::Config(status) => status.into(),
            AccessError::OutOfRange => Fault::Check(ProgramCheck::Outside),
            AccessError::Misaligned => Fault::Check(ProgramCheck::Alignment),
            AccessError::NoWindow(_) | AccessError::NoRegion(_) => Fault::Error(Status::InvalidSpace),
            AccessError::Block(BlockRefused::NoResources) => Fault::Error(Status::NoResources),
            AccessError::Block(BlockRefused::NotAccepted)
            | AccessError::MemoryDisabled(_)
            | AccessError::NotPlain(_)
            | AccessError::NoAnswer(_)
            | AccessError::Injected
            | AccessError::DevicePanicked
            | AccessError::NotReset(ResetError::DevicePanicked(_))
            | AccessError::ReadOnly
            | AccessError::Asleep(_)
            | AccessError::NeededByVirtualFunctions
            | AccessError::NotReset(ResetError::Unsupported(_)) => Fault::Error(Status::NotAvailable),
            AccessError::StillMapped(cause)
            | AccessError::PowerNotChanged(cause)
            | AccessError::NotReset(ResetError::NotQuiesced { cause, .. }) => not_closed(&cause),
        }
    }
}

/// The register was written, and the same again does what it did not do.
fn not_closed(cause: &CloseError) -> Fault {
    match cause {
        CloseError::Gone => Fault::Gone,
        CloseError::Contended { .. } | CloseError::Drain { .. } => Fault::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zp_13_every_status_has_its_code() {
        let codes: Vec<_> = Status::ALL.into_iter().map(Status::code).collect();
        assert_eq!(codes, [4, 8, 12, 16, 20, 24, 28, 36, 40, 44]);
        for code in 0..=u8::MAX {
            assert_eq!(Status::from_code(code).map_or(code, Status::code), code);
            assert_eq!(Status::from_code(code).is_some(), codes.contains(&code), "{code}");
        }
    }

    #[test]
    fn zp_13_condition_codes_1_and_3_are_eio_and_a_program_check_is_enxio() {
        for status in Status::ALL {
            let fault = Fault::from(status);
            assert_eq!((fault.condition_code(), fault.status()), (Some(1), Some(status)));
            assert_eq!(fault.errno(), Errno::EIO);
        }
        assert_eq!(
            (Fault::InvalidHandle.condition_code(), Fault::InvalidHandle.errno()),
            (Some(3), Errno::EIO)
        );
        assert_eq!((Fault::Gone.condition_code(), Fault::Gone.errno()), (Some(3), Errno::ENODEV));
        assert_eq!((Fault::Busy.condition_code(), Fault::Busy.errno()), (Some(2), Errno::EBUSY));
        let check = Fault::from(ProgramCheck::Length);
        assert_eq!((check.condition_code(), check.status(), check.errno()), (None, None, Errno::ENXIO));
    }

    #[test]
    fn zp_12_a_function_that_is_not_enabled_has_no_configuration_space() {
        assert_eq!(Fault::from(Status::NotEnabled).config_errno(), Errno::ENODEV);
        assert_eq!(Fault::Gone.config_errno(), Errno::ENODEV);
        for other in [Fault::from(Status::Blocked), Fault::Busy, Fault::InvalidHandle] {
            assert_eq!(other.config_errno(), Errno::EIO);
        }
        assert_eq!(Fault::from(ProgramCheck::Length).config_errno(), Errno::EIO);
    }
}
