//! Devices that do not do what they say, or need what they do not say.
//!
//! The words for such facts; what follows from them is decided by [`probe`](crate::probe). There is no list of devices
//! here: an embedder brings what it knows of its own with [`Resets::with_quirks`](crate::Resets::with_quirks).

use std::time::Duration;

/// What is to be known of one function; the default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Its function level reset does not work, whatever it announces (RST-05, RST-06).
    pub no_flr: bool,
    /// Going to D3hot and back does not reset it (RST-07).
    pub no_pm_reset: bool,
    /// It does not come back from the reset of its bus (RST-08, RST-15).
    pub no_bus_reset: bool,
    /// A function level reset of a special kind, which is then its device-specific method (RST-16).
    pub special_flr: Option<SpecialFlr>,
}

/// A function level reset as a device's own procedure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialFlr {
    /// Time that the device needs beyond that of the specification.
    pub extra: Duration,
}
