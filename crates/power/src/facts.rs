//! What is fixed about a function's power: what its capability offers, what it is kept from, how long it takes.

use crate::State;
use pci_core::{Function, PowerDelays};
use pci_spec::capability::pm::Capabilities;
use std::time::Duration;

/// Facts of one function; see [`Facts::of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Offset of the power management capability.
    pub pm: Option<u16>,
    /// What the capability offers: D1, D2, PME, immediate readiness on the return to D0.
    pub capabilities: Capabilities,
    /// It keeps its state in D3hot (`No_Soft_Reset`).
    pub keeps_state: bool,
    /// It answers right after power-on, without the usual time. PCIe 6.0 s7.5.1.1.4 *Status Register*.
    pub ready_after_power: bool,
    /// The times it needs.
    pub delays: PowerDelays,
    /// It is a virtual function.
    pub is_virtual: bool,
    /// A platform manages its power, too.
    pub has_platform: bool,
    /// What it is kept from.
    pub quirks: Quirks,
}

/// What a function, or the way to it, does wrong. The default is "nothing".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// It is not to use D1 and D2, nor is anything below it; a request for them does nothing (PWR-02).
    pub no_d1_d2: bool,
    /// It does not come back from D3; a request for it does nothing.
    pub no_d3: bool,
}

impl Facts {
    /// Reads the facts of a function. They do not depend on its present state; nothing is accessed.
    #[must_use]
    pub fn of(function: &Function) -> Facts {
        let config = function.config();
        Facts {
            pm: config.power_management(),
            capabilities: config.power_capabilities(),
            keeps_state: config.layout().no_soft_reset(),
            ready_after_power: config.layout().immediate_readiness(),
            delays: function.power_delays(),
            is_virtual: config.is_virtual(),
            has_platform: false,
            quirks: Quirks::default(),
        }
    }

    /// Of a function that is not there: nothing manages it.
    pub(crate) fn none() -> Facts {
        Facts {
            pm: None,
            capabilities: Capabilities::empty(),
            keeps_state: false,
            ready_after_power: false,
            delays: PowerDelays::default(),
            is_virtual: false,
            has_platform: false,
            quirks: Quirks::default(),
        }
    }

    /// The time between a write to PMCSR and the next access (PWR-04).
    #[must_use]
    pub fn delay(&self, from: State, to: State) -> Duration {
        let ready = self.capabilities.contains(Capabilities::IMMEDIATE_READINESS_ON_D0);
        self.delays.between(from, to, ready)
    }

    /// Whether the function can be in a state, given power management.
    #[must_use]
    pub fn has_state(&self, state: State) -> bool {
        match state {
            // Firmware knows by itself what a function without the capability can do.
            State::D1 => self.pm.is_none() || self.capabilities.contains(Capabilities::D1),
            State::D2 => self.pm.is_none() || self.capabilities.contains(Capabilities::D2),
            State::D0 | State::D3Hot => true,
            State::D3Cold => self.has_platform,
            State::Unknown => false,
        }
    }
}
