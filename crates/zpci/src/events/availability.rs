//! Availability events, and what a machine makes of them (ZP-05).

use crate::state::Configuration;
use std::fmt;

/// What an availability event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// 0x0301: the device is this machine's to use.
    Configured,
    /// 0x0302: a device is there.
    Standby,
    /// 0x0303: the device is wanted back.
    DeconfigureRequested,
    /// 0x0304: the device was taken away.
    Deconfigured,
    /// 0x0306: anything may have changed.
    Changed,
    /// 0x0308: there is no device any more.
    Reserved,
    /// Any other: ignored.
    Other(u16),
}

/// What is to be done about an availability event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvailabilityReaction {
    /// Bring the device in.
    Configure,
    /// There is a device again.
    ToStandby,
    /// Ask whoever has the device to let go of it; it works on until then.
    AskToLetGo,
    /// The device is gone: mark it failed, take it out, disable it. Nobody is asked.
    HardDeconfigure,
    /// Look at all functions.
    RescanAll,
    /// There is no device.
    ToReserved,
    /// Nothing: it says what is so already, or is about a device that went before it.
    Stale,
    /// Nothing: nobody knows what it means.
    Ignore,
}

impl Availability {
    /// Of a code.
    #[must_use]
    pub const fn from_code(code: u16) -> Availability {
        match code {
            0x0301 => Availability::Configured,
            0x0302 => Availability::Standby,
            0x0303 => Availability::DeconfigureRequested,
            0x0304 => Availability::Deconfigured,
            0x0306 => Availability::Changed,
            0x0308 => Availability::Reserved,
            other => Availability::Other(other),
        }
    }

    /// The code.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Availability::Configured => 0x0301,
            Availability::Standby => 0x0302,
            Availability::DeconfigureRequested => 0x0303,
            Availability::Deconfigured => 0x0304,
            Availability::Changed => 0x0306,
            Availability::Reserved => 0x0308,
            Availability::Other(code) => code,
        }
    }

    /// What is to be done about it when the function is in state `now`.
    #[must_use]
    pub const fn react(self, now: Configuration) -> AvailabilityReaction {
        use AvailabilityReaction as Do;
        match (self, now) {
            (Availability::Configured, Configuration::Standby | Configuration::Reserved) => Do::Configure,
            (Availability::Standby, Configuration::Reserved) => Do::ToStandby,
            (Availability::DeconfigureRequested, Configuration::Configured) => Do::AskToLetGo,
            // A device that is not there cannot stay in use, whether or not anybody said first that it was taken away.
            (Availability::Deconfigured | Availability::Reserved, Configuration::Configured) => {
                Do::HardDeconfigure
            }
            (Availability::Reserved, Configuration::Standby) => Do::ToReserved,
            (Availability::Changed, _) => Do::RescanAll,
            (Availability::Other(_), _) => Do::Ignore,
            (
                Availability::Configured
                | Availability::Standby
                | Availability::DeconfigureRequested
                | Availability::Deconfigured
                | Availability::Reserved,
                _,
            ) => Do::Stale,
        }
    }
}

/// The code, with `0x`.
impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AvailabilityReaction as Do;
    use Configuration::{Configured, Reserved, Standby};

    /// ZP-05, row by row: code, and what is done in STANDBY, CONFIGURED and RESERVED.
    const TABLE: [(u16, Do, Do, Do); 9] = [
        (0x0301, Do::Configure, Do::Stale, Do::Configure),
        (0x0302, Do::Stale, Do::Stale, Do::ToStandby),
        (0x0303, Do::Stale, Do::AskToLetGo, Do::Stale),
        (0x0304, Do::Stale, Do::HardDeconfigure, Do::Stale),
        (0x0306, Do::RescanAll, Do::RescanAll, Do::RescanAll),
        (0x0308, Do::ToReserved, Do::HardDeconfigure, Do::Stale),
        (0x0305, Do::Ignore, Do::Ignore, Do::Ignore),
        (0x0307, Do::Ignore, Do::Ignore, Do::Ignore),
        (0x0000, Do::Ignore, Do::Ignore, Do::Ignore),
    ];

    #[test]
    fn every_availability_event_has_its_reaction_in_every_state() {
        for (code, in_standby, in_configured, in_reserved) in TABLE {
            let event = Availability::from_code(code);
            assert_eq!(event.react(Standby), in_standby, "{event} in STANDBY");
            assert_eq!(event.react(Configured), in_configured, "{event} in CONFIGURED");
            assert_eq!(event.react(Reserved), in_reserved, "{event} in RESERVED");
        }
    }

    #[test]
    fn a_code_is_what_it_was() {
        for code in 0..=u16::MAX {
            assert_eq!(Availability::from_code(code).code(), code);
        }
    }
}
