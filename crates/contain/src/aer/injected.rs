//! Whether an error can be injected where it is to be.

use super::{AerInjection, Ports};
use crate::pe::Holder;
use crate::tree::Snapshot;
use pci_core::Errno;
use pci_spec::Bdf;
use thiserror::Error;

/// Why an error was not injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InjectAerError {
    /// Nobody knows the function, or it has gone.
    #[error("there is no function {0}")]
    NoFunction(Bdf),
    /// No root port is above it that could hear of the error.
    #[error("there is no root port above {0}")]
    NoRootPort(Bdf),
    /// The function, or its root port, has nowhere to record it.
    #[error("{0} has no Advanced Error Reporting")]
    NoCapability(Bdf),
    /// The function's mask keeps everybody from hearing of it.
    #[error("the error is masked by {0}")]
    Masked(Bdf),
}

impl InjectAerError {
    /// As Linux's interface answers.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            InjectAerError::NoFunction(_) | InjectAerError::NoRootPort(_) => Errno::ENODEV,
            InjectAerError::NoCapability(_) => Errno::EPROTONOSUPPORT,
            InjectAerError::Masked(_) => Errno::EINVAL,
        }
    }
}

impl AerInjection {
    /// Whether it would be heard of. What is masked in part is reported in part.
    ///
    /// # Errors
    /// [`InjectAerError`].
    pub fn check(&self, snapshot: &Snapshot) -> Result<(), InjectAerError> {
        let at = self.at;
        let found = snapshot.of_function(at, Holder::Lookup).map(|(_, function)| function);
        let function = found
            .filter(|function| !function.function.handle().is_gone())
            .ok_or(InjectAerError::NoFunction(at))?;
        let root = Ports::above(snapshot, at).root.ok_or(InjectAerError::NoRootPort(at))?;
        let records = function.function.config().error_records().ok_or(InjectAerError::NoCapability(at))?;
        if root.function.config().error_records().is_none() {
            return Err(InjectAerError::NoCapability(root.address));
        }
        let correctable = self.error.correctable;
        let uncorrectable = self.error.uncorrectable;
        let all_masked = |named: u32, mask: u32| named != 0 && named & !mask == 0;
        if all_masked(correctable.bits(), records.correctable_mask.bits())
            || all_masked(uncorrectable.bits(), records.uncorrectable_mask.bits())
        {
            return Err(InjectAerError::Masked(at));
        }
        Ok(())
    }
}
