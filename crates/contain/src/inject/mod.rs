//! Errors that somebody wants to happen: to try out what becomes of them.
//!
//! * [`PeInjection`] is an error on the bus, as EEH's `err_injct` takes it (EEH-25); [`ErrorInjection`] what of it is not the PE.
//! * [`ForcedRecovery`] is what EEH's `eeh_force_recover` takes (EEH-27).
//!
//! Errors of AER are in [`crate::aer::AerInjection`], faults that a device model offers in [`pci_core::Device::faults`].
//!
//! What this module does **not** do: nothing here waits for an access to fail. What is injected is noticed at once, as a device
//! would be found broken by the next access, and from there on it is an error like any other (EEH-07).
//!
//! # Concurrency
//! None of its own.

mod containment;
mod error;
mod force;
mod function;
mod pe;

pub use containment::FaultError;
pub use error::InjectionError;
pub use force::{ForceFormatError, ForcedRecovery};
pub use function::{ErrorFunction, Target};
pub use pe::{AddressWidth, ErrorInjection, InjectionFormatError, PeInjection};
