//! How a configuration access fails below the gate.

use super::Errno;
use thiserror::Error;

/// The codes of the PCI BIOS, which operations of host bridges and internal accessors answer with. PCI BIOS
/// Specification 2.1, *Return Codes*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[repr(u8)]
pub enum ConfigStatus {
    /// The function does not have what was asked for.
    #[error("function not supported")]
    FunctionNotSupported = 0x81,
    /// The vendor ID is invalid.
    #[error("bad vendor id")]
    BadVendorId = 0x83,
    /// Nothing answers at the address, or the device is disconnected (CFG-04).
    #[error("device not found")]
    DeviceNotFound = 0x86,
    /// Misaligned, or outside configuration space (CFG-01).
    #[error("bad register number")]
    BadRegisterNumber = 0x87,
    /// The write did not take place.
    #[error("set failed")]
    SetFailed = 0x88,
    /// The answer does not fit.
    #[error("buffer too small")]
    BufferTooSmall = 0x89,
}

impl ConfigStatus {
    /// The code: 0x81 to 0x89.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What a code says; `None` for one that the PCI BIOS does not have.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<ConfigStatus> {
        Some(match code {
            0x81 => ConfigStatus::FunctionNotSupported,
            0x83 => ConfigStatus::BadVendorId,
            0x86 => ConfigStatus::DeviceNotFound,
            0x87 => ConfigStatus::BadRegisterNumber,
            0x88 => ConfigStatus::SetFailed,
            0x89 => ConfigStatus::BufferTooSmall,
            _ => return None,
        })
    }

    /// The error number that a user of the function is told (CFG-02).
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            ConfigStatus::FunctionNotSupported => Errno::ENOENT,
            ConfigStatus::BadVendorId => Errno::ENOTTY,
            ConfigStatus::DeviceNotFound => Errno::ENODEV,
            ConfigStatus::BadRegisterNumber => Errno::EFAULT,
            ConfigStatus::SetFailed => Errno::EIO,
            ConfigStatus::BufferTooSmall => Errno::ENOSPC,
        }
    }

    /// The error number of a code of the PCI BIOS; one that it does not have is out of range (CFG-02).
    #[must_use]
    pub const fn errno_of_code(code: u8) -> Errno {
        match ConfigStatus::from_code(code) {
            Some(status) => status.errno(),
            None => Errno::ERANGE,
        }
    }
}
