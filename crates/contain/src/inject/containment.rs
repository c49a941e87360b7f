//! Injecting errors: the shell around [`PeInjection`] and a device's own faults.

use super::{ErrorInjection, InjectionError, PeInjection};
use crate::containment::{Containment, Then};
use crate::pe::{Holder, PeAddress};
use crate::tree::PeFunction;
use gate::{Deadline, ThreadToken};
use pci_core::{ErrorSign, InjectError};
use pci_spec::Bdf;
use std::sync::Arc;
use thiserror::Error;

/// Why a function was not made to have a fault.
#[derive(Debug, Error)]
pub enum FaultError {
    /// Nobody knows the function.
    #[error("function {0} is in no PE")]
    NoFunction(Bdf),
    /// The device does not have it.
    #[error(transparent)]
    Device(#[from] InjectError),
}

impl Containment {
    /// Injects an error into a PE of a segment (EEH-25): the function that it hits has failed. Answers which one that is. The PE is
    /// frozen by the next [turn](Containment::turn).
    ///
    /// # Errors
    /// [`InjectionError`]
    pub fn inject(
        &self,
        token: &mut ThreadToken,
        segment: u16,
        injection: &PeInjection,
    ) -> Result<Bdf, InjectionError> {
        let number = u16::try_from(injection.pe).map_err(|_| InjectionError::NoPe)?;
        self.inject_into(token, PeAddress::new(segment, number), &injection.error)
    }

    /// Injects an error into the PE at an address.
    ///
    /// # Errors
    /// [`InjectionError`]
    pub(crate) fn inject_into(
        &self,
        token: &mut ThreadToken,
        pe: PeAddress,
        error: &ErrorInjection,
    ) -> Result<Bdf, InjectionError> {
        let snapshot = self.tree().snapshot(token);
        let held = snapshot.find(pe, Holder::Operator).ok_or(InjectionError::NoPe)?;
        if !self.is_enabled() {
            return Err(InjectionError::Off);
        }
        let mut functions: Vec<Arc<PeFunction>> = snapshot.functions(pe).cloned().collect();
        functions.sort_by_key(|function| function.address);
        let at = error.hits(&functions)?.address;
        if held.is_passed_through() {
            // The host does not look at it (EEH-21); the hardware freezes it all the same, and its consumer finds that.
            let why = error.function.name();
            return self.freeze(token, pe, why, Then::Stay).map(|()| at).map_err(|_| InjectionError::NoPe);
        }
        // Frozen already is as good: there is one event for each freeze (EEH-07).
        let _check = self.notice(token, at, ErrorSign::Injected(error.function.name()));
        Ok(at)
    }

    /// Makes a device have one of its own faults; what follows is as if it had come by itself.
    ///
    /// # Errors
    /// [`FaultError`]; an unknown name answers with those that are known.
    pub fn inject_fault(&self, token: &mut ThreadToken, at: Bdf, fault: &str) -> Result<(), FaultError> {
        let found = self.tree().of_function(token, at, Holder::Operator);
        let (_pe, function) = found.ok_or(FaultError::NoFunction(at))?;
        let deadline = Deadline::after(self.parts().settings.call_timeout);
        Ok(function.function.inject(token, fault, deadline)?)
    }
}
