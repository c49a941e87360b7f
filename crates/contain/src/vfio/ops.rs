//! Operations on a PE, and what they act on.

use super::{PeOp, PeStatus};
use crate::inject::ErrorInjection;
use crate::plan::Traffic;
use gate::ThreadToken;
use pci_core::Errno;

/// A PE that is passed through to a consumer. A platform that does not have one of the operations leaves its method as it is.
pub trait PassedPe: Send + Sync {
    /// Whether the PE is still there; it comes first of all.
    fn is_present(&self, token: &mut ThreadToken) -> bool;

    /// Whether errors count at all (EEH-28).
    fn is_enabled(&self) -> bool;

    /// Its state.
    ///
    /// # Errors
    /// `ENOENT`; `EIO` if the platform cannot say: an error is no state.
    fn status(&self, _token: &mut ThreadToken) -> Result<PeStatus, Errno> {
        Err(Errno::ENOENT)
    }

    /// The consumer takes it over: whatever froze it is thawed.
    ///
    /// # Errors
    /// `ENOENT`, `EIO`; `EBUSY` while it is being recovered.
    fn take_over(&self, _token: &mut ThreadToken) -> Result<(), Errno> {
        Err(Errno::ENOENT)
    }

    /// Thaws.
    ///
    /// # Errors
    /// As [`PassedPe::take_over`].
    fn thaw(&self, _token: &mut ThreadToken, _traffic: Traffic) -> Result<(), Errno> {
        Err(Errno::ENOENT)
    }

    /// Begins a reset. The PE is frozen and in reset until [`PassedPe::end_reset`].
    ///
    /// # Errors
    /// As [`PassedPe::take_over`].
    fn begin_reset(&self, _token: &mut ThreadToken, _fundamental: bool) -> Result<(), Errno> {
        Err(Errno::ENOENT)
    }

    /// Ends a reset: the PE is thawed. Nothing happens if there is none.
    ///
    /// # Errors
    /// As [`PassedPe::take_over`].
    fn end_reset(&self, _token: &mut ThreadToken) -> Result<(), Errno> {
        Err(Errno::ENOENT)
    }

    /// Restores bridges and BARs.
    ///
    /// # Errors
    /// As [`PassedPe::take_over`].
    fn configure(&self, _token: &mut ThreadToken) -> Result<(), Errno> {
        Err(Errno::ENOENT)
    }

    /// Injects an error.
    ///
    /// # Errors
    /// `ENOENT`; `ERANGE` if it cannot have that one, `ENXIO` if nothing can inject it, `EIO` if that failed.
    fn inject(&self, _token: &mut ThreadToken, _error: &ErrorInjection) -> Result<(), Errno> {
        Err(Errno::ENOENT)
    }
}

/// Whether `VFIO_CHECK_EXTENSION(VFIO_EEH)` answers 1.
#[must_use]
pub fn is_supported(enabled: bool) -> u32 {
    u32::from(enabled)
}

/// The operations of one consumer on its PE.
#[derive(Debug)]
pub struct PeOps<P> {
    pe: P,
}

impl<P: PassedPe> PeOps<P> {
    /// Operations on `pe`.
    pub fn new(pe: P) -> PeOps<P> {
        PeOps { pe }
    }

    /// What they act on.
    pub fn pe(&self) -> &P {
        &self.pe
    }

    /// Carries out the operation at which the consumer's pointer points; see [`PeOp::decode`]. Answers 0, or the state.
    ///
    /// # Errors
    /// `ENODEV` without a PE, whatever is asked for; those of [`PeOp::decode`]; those of the operation.
    pub fn op_bytes(&self, token: &mut ThreadToken, bytes: &[u8]) -> Result<u32, Errno> {
        if !self.pe.is_present(token) {
            return Err(Errno::ENODEV);
        }
        self.op(token, &PeOp::decode(bytes)?)
    }

    /// Carries out an operation. Answers 0, or the state.
    ///
    /// # Errors
    /// `ENODEV` without a PE; those of [`PassedPe`]; `EIO` if a PE is to be taken over and errors do not count.
    pub fn op(&self, token: &mut ThreadToken, op: &PeOp) -> Result<u32, Errno> {
        if !self.pe.is_present(token) {
            return Err(Errno::ENODEV);
        }
        match op {
            PeOp::Disable => {}
            PeOp::Enable if !self.pe.is_enabled() => return Err(Errno::EIO),
            PeOp::Enable => self.pe.take_over(token)?,
            PeOp::Unfreeze(traffic) => self.pe.thaw(token, *traffic)?,
            PeOp::GetState => return Ok(self.pe.status(token)?.answer() as u32),
            PeOp::ResetDeactivate => self.pe.end_reset(token)?,
            PeOp::ResetHot => self.pe.begin_reset(token, false)?,
            PeOp::ResetFundamental => self.pe.begin_reset(token, true)?,
            PeOp::Configure => self.pe.configure(token)?,
            PeOp::InjectError(error) => self.pe.inject(token, error)?,
        }
        Ok(0)
    }
}
