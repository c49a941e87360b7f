//! Devices that do not do what they say, or need what they do not say.
//!
//! A table of facts; what follows from them is decided by [`probe`](crate::probe). The list is what is known of
//! devices that users hand to virtual machines, not of all there are: an embedder adds to it with [`Quirks`] of its
//! own.

use std::time::Duration;

/// What is to be known of one function.
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

const INTEL: u16 = 0x8086;
const AMD: u16 = 0x1022;
const ATHEROS: u16 = 0x168c;
const SAMSUNG: u16 = 0x144d;

impl Quirks {
    /// What is known of the devices of this vendor and device ID.
    #[must_use]
    pub const fn of(vendor: u16, device: u16) -> Quirks {
        let mut quirks = Quirks { no_flr: false, no_pm_reset: false, no_bus_reset: false, special_flr: None };
        match (vendor, device) {
            // Audio and USB controllers that hang.
            (AMD, 0x1487 | 0x148c | 0x149c | 0x7901) | (INTEL, 0x1502 | 0x1503) => quirks.no_flr = true,
            // Wireless adapters that drop off the bus.
            (ATHEROS, 0x0030 | 0x0032 | 0x0033 | 0x0034 | 0x003c | 0x003e) => quirks.no_bus_reset = true,
            // Virtual functions that have it and do not announce it.
            (INTEL, 0x10ed) => quirks.special_flr = Some(SpecialFlr { extra: Duration::ZERO }),
            // NVMe controllers that answer before they are ready.
            (INTEL, 0x0953 | 0x0a54) | (SAMSUNG, 0xa804) => {
                quirks.special_flr = Some(SpecialFlr { extra: Duration::from_millis(250) });
            }
            _ => {}
        }
        quirks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_devices_have_none() {
        assert_eq!(Quirks::of(0x1234, 0x5678), Quirks::default());
        assert!(Quirks::of(AMD, 0x149c).no_flr);
        assert!(Quirks::of(ATHEROS, 0x003e).no_bus_reset);
        assert_eq!(
            Quirks::of(INTEL, 0x0953).special_flr,
            Some(SpecialFlr { extra: Duration::from_millis(250) })
        );
    }
}
