//! A recovery that somebody forces (EEH-27).

use super::pe::hexadecimal;
use crate::pe::PeAddress;
use pci_core::Errno;
use std::str::FromStr;
use thiserror::Error;

/// What is to be recovered although nothing has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForcedRecovery {
    /// Whatever the platform says when it is asked: `hwcheck`.
    HardwareCheck,
    /// A PE: `phb:pe`, hexadecimal.
    Pe(PeAddress),
}

/// It is neither `hwcheck` nor `phb:pe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("what is forced is \"hwcheck\", or \"phb:pe\" in hexadecimal")]
pub struct ForceFormatError;

impl ForceFormatError {
    /// As Linux's interface answers.
    #[must_use]
    pub const fn errno(self) -> Errno {
        Errno::EINVAL
    }
}

impl FromStr for ForcedRecovery {
    type Err = ForceFormatError;

    fn from_str(text: &str) -> Result<ForcedRecovery, ForceFormatError> {
        let text = text.trim();
        if text == "hwcheck" {
            return Ok(ForcedRecovery::HardwareCheck);
        }
        let (phb, pe) = text.split_once(':').ok_or(ForceFormatError)?;
        let number = |text| u16::try_from(hexadecimal(text)?).ok();
        let address = number(phb).zip(number(pe)).map(|(phb, pe)| PeAddress::new(phb, pe));
        address.map(ForcedRecovery::Pe).ok_or(ForceFormatError)
    }
}
