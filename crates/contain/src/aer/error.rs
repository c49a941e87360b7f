//! An error that a function reports, and why a report was refused.

use pci_core::Errno;
use pci_spec::Bdf;
use pci_spec::aer::{Correctable, Uncorrectable};
use thiserror::Error;

/// An error, as the function that reports it has noticed it. Which of several uncorrectable errors was first is not known:
/// the lowest bit counts as that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AerError {
    /// What the hardware has corrected.
    pub correctable: Correctable,
    /// What it has not; how bad that is the function's severity register says.
    pub uncorrectable: Uncorrectable,
    /// The header of the packet that it happened to, of the first uncorrectable one.
    pub header: [u32; 4],
}

impl AerError {
    /// Something that the hardware has corrected.
    #[must_use]
    pub const fn correctable(errors: Correctable) -> AerError {
        AerError { correctable: errors, uncorrectable: Uncorrectable::empty(), header: [0; 4] }
    }

    /// Something that it has not.
    #[must_use]
    pub const fn uncorrectable(errors: Uncorrectable, header: [u32; 4]) -> AerError {
        AerError { correctable: Correctable::empty(), uncorrectable: errors, header }
    }

    /// The uncorrectable errors one by one, lowest bit first.
    pub(super) fn each_uncorrectable(&self) -> impl Iterator<Item = Uncorrectable> + use<> {
        self.uncorrectable.iter()
    }
}

/// Why an error was not reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReportError {
    /// Nobody knows the function, or it has gone.
    #[error("there is no function {0}")]
    NoFunction(Bdf),
}

impl ReportError {
    /// As Linux's interfaces answer.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            ReportError::NoFunction(_) => Errno::ENODEV,
        }
    }
}
