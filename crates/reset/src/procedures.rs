//! Resets that are somebody else's procedure: a device's own, and the firmware's (RST-16).

use gate::Quiesced;
use pci_core::{Errno, Function};
use pci_spec::Bdf;
use std::time::Duration;

/// Whose procedure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Procedure {
    /// The device's own, known to the embedder: the method `device_specific`.
    DeviceSpecific,
    /// The firmware's `_RST`: the method `acpi`. ACPI 6.5 s7.3.25 *_RST (Device Reset)*.
    Firmware,
}

/// The procedures that the embedder brings.
pub trait Procedures: Send + Sync {
    /// Whether there is one for the function. Asked at any time.
    fn has(&self, procedure: Procedure, function: &Function, at: Bdf) -> bool;

    /// Resets the function, with nothing else inside, and answers how long it needs before it may be touched; what
    /// answers after that is waited for. Does not wait by itself: the proof is held.
    ///
    /// # Errors
    /// `ENOTTY`: the next method is tried. Any other: none is.
    fn run(
        &self,
        procedure: Procedure,
        quiesced: &Quiesced<'_>,
        function: &Function,
        at: Bdf,
    ) -> Result<Duration, Errno>;
}
