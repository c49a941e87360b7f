//! The power states of a function as software sees them, and the times that the hardware needs between them.

use pci_spec::capability::pm::PowerState;
use pci_spec::delay;
use std::fmt;
use std::time::Duration;

/// The power state that a function is known to be in (PWR-01). Ordered: later is deeper.
///
/// [`PowerState`] is what the register can hold; this adds the absence of power, which no register can tell of, and the
/// absence of knowledge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DeviceState {
    /// Fully on.
    #[default]
    D0 = 0,
    /// Light sleep, optional.
    D1 = 1,
    /// Deeper sleep, optional.
    D2 = 2,
    /// Off as far as software can see, with power: answers configuration requests only.
    D3Hot = 3,
    /// Without power: every read gives all-ones.
    D3Cold = 4,
    /// Not known: a change went wrong half-way.
    Unknown = 5,
}

impl DeviceState {
    /// All states, shallowest first.
    pub const ALL: [DeviceState; 6] = [
        DeviceState::D0,
        DeviceState::D1,
        DeviceState::D2,
        DeviceState::D3Hot,
        DeviceState::D3Cold,
        DeviceState::Unknown,
    ];

    /// The name in sysfs: "D0", "D1", "D2", "D3hot", "D3cold", "unknown".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DeviceState::D0 => "D0",
            DeviceState::D1 => "D1",
            DeviceState::D2 => "D2",
            DeviceState::D3Hot => "D3hot",
            DeviceState::D3Cold => "D3cold",
            DeviceState::Unknown => "unknown",
        }
    }

    /// The value of the register's field; `None` for what no register can hold.
    #[must_use]
    pub const fn register(self) -> Option<PowerState> {
        match self {
            DeviceState::D0 => Some(PowerState::D0),
            DeviceState::D1 => Some(PowerState::D1),
            DeviceState::D2 => Some(PowerState::D2),
            DeviceState::D3Hot => Some(PowerState::D3Hot),
            DeviceState::D3Cold | DeviceState::Unknown => None,
        }
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<PowerState> for DeviceState {
    fn from(state: PowerState) -> DeviceState {
        match state {
            PowerState::D0 => DeviceState::D0,
            PowerState::D1 => DeviceState::D1,
            PowerState::D2 => DeviceState::D2,
            PowerState::D3Hot => DeviceState::D3Hot,
        }
    }
}

/// Times in which a function must not be touched, as one function needs them (PWR-04).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerDelays {
    /// To and from D3hot: at least 10 ms; some devices need more.
    pub d3hot: Duration,
    /// To and from D2: at least 200 us.
    pub d2: Duration,
    /// After power came back: at least 100 ms.
    pub d3cold: Duration,
}

impl Default for PowerDelays {
    /// The least that the specification asks for.
    fn default() -> PowerDelays {
        PowerDelays { d3hot: delay::D3HOT, d2: delay::D2, d3cold: delay::CONVENTIONAL_RESET }
    }
}

impl PowerDelays {
    /// Between a write to PMCSR that takes the function from `old` to `new` and the first access after it.
    ///
    /// The longer one of the two states' (PWR-04). A function that declares immediate readiness on its return to D0 has
    /// none on that way, and only on that one. PCIe 6.0 s5.9 *State Transition Recovery Time Requirements*, s7.5.2.1
    /// *Power Management Capabilities Register*.
    #[must_use]
    pub fn between(&self, old: DeviceState, new: DeviceState, ready_on_d0: bool) -> Duration {
        if old == new || (new == DeviceState::D0 && ready_on_d0) {
            return Duration::ZERO;
        }
        self.of(old).max(self.of(new))
    }

    /// What entering or leaving a state costs. A state that is not known may be the costliest that a register can leave.
    fn of(&self, state: DeviceState) -> Duration {
        match state {
            DeviceState::D0 | DeviceState::D1 => delay::D1,
            DeviceState::D2 => self.d2,
            DeviceState::D3Hot | DeviceState::Unknown => self.d3hot,
            DeviceState::D3Cold => self.d3cold,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeviceState::{D0, D1, D2, D3Cold, D3Hot};

    #[test]
    fn pwr_01_states_have_the_names_of_sysfs() {
        let names: Vec<_> = DeviceState::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["D0", "D1", "D2", "D3hot", "D3cold", "unknown"]);
    }

    #[test]
    fn pwr_04_delays_are_those_of_the_deeper_state() {
        let delays = PowerDelays::default();
        let micros = |old, new| delays.between(old, new, false).as_micros();
        assert_eq!((micros(D0, D3Hot), micros(D3Hot, D0), micros(D2, D3Hot)), (10_000, 10_000, 10_000));
        assert_eq!((micros(D0, D2), micros(D2, D0), micros(D1, D2)), (200, 200, 200));
        assert_eq!((micros(D0, D1), micros(D1, D0), micros(D0, D0)), (0, 0, 0));
        assert_eq!(micros(D3Cold, D0), 100_000);
    }

    #[test]
    fn pwr_04_a_device_may_need_longer_and_only_its_return_to_d0_can_be_immediate() {
        let delays = PowerDelays { d3hot: Duration::from_millis(120), ..PowerDelays::default() };
        assert_eq!(delays.between(D0, D3Hot, false).as_millis(), 120);
        assert_eq!(delays.between(D0, D3Hot, true).as_millis(), 120);
        assert_eq!(delays.between(D3Hot, D0, true), Duration::ZERO);
        assert_eq!(delays.between(D2, D0, true), Duration::ZERO);
        assert_eq!(delays.between(D1, D2, true).as_micros(), 200);
    }
}
