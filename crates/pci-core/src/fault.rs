//! Faults of a device that somebody may ask for, by name: the device's part of error injection (EEH-25).

use gate::Refusal;
use std::fmt;
use thiserror::Error;

/// A fault that a device can be made to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultName {
    /// What it is asked for by: lower-case words with hyphens.
    pub name: &'static str,
    /// What it does, for people.
    pub what: &'static str,
}

/// Why a device was not made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InjectError {
    /// The device has no fault of this name.
    #[error("the device has no such fault; it knows {}", Names(.known))]
    Unknown {
        /// The faults that it has.
        known: &'static [FaultName],
    },
    /// The device is in no condition to have it.
    #[error("not possible now: {0}")]
    NotNow(&'static str),
    /// The device panicked over it.
    #[error("the device model has panicked")]
    DevicePanicked,
    /// The function cannot be reached.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A list of names as it is read.
struct Names<'a>(&'a [FaultName]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, others)) = self.0.split_first() else { return f.write_str("none") };
        f.write_str(first.name)?;
        others.iter().try_for_each(|fault| write!(f, ", {}", fault.name))
    }
}
