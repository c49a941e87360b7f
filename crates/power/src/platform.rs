//! The part of power management that is not in the function: firmware, and the power of the slot.

use crate::State;
use pci_core::Errno;
use pci_spec::Bdf;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU8, Ordering};

/// Firmware and slot power of a machine.
///
/// Called with the gates of the function, and of everything below it, closed: what firmware does to a function excludes
/// accesses just as a write to PMCSR does (CFG-I10). Calls for different functions arrive at the same time. A method takes
/// the time it takes, without touching the function's gate; the delay that the function needs afterwards is the
/// caller's.
pub trait Platform: Send + Sync + Debug {
    /// Whether the platform manages the power of the function.
    fn manages(&self, at: Bdf) -> bool;

    /// Whether the platform gives the function power. True where it does not switch it.
    fn is_powered(&self, at: Bdf) -> bool;

    /// Takes the function to a state: evaluates `_PS0` to `_PS3`, and for D3cold also takes the power away; for D0 gives
    /// it back first.
    ///
    /// # Errors
    /// What firmware answered; the function is taken to be where it was.
    fn set_state(&self, at: Bdf, state: State) -> Result<(), Errno>;
}

/// The method of a state: "_PS0" to "_PS3". ACPI 6.5 s7.3 *OEM-Supplied System-Level Control Methods*, device power
/// resources. D3cold is reached by `_PS3` and by then switching the power resources off.
#[must_use]
pub const fn method(state: State) -> Option<&'static str> {
    match state {
        State::D0 => Some("_PS0"),
        State::D1 => Some("_PS1"),
        State::D2 => Some("_PS2"),
        State::D3Hot | State::D3Cold => Some("_PS3"),
        State::Unknown => None,
    }
}

/// A platform without a machine: it manages the functions that it was told of, and remembers where it took them.
#[derive(Debug, Default)]
pub struct Emulated {
    states: BTreeMap<Bdf, AtomicU8>,
}

impl Emulated {
    /// Manages these functions, all of them in D0.
    #[must_use]
    pub fn managing(functions: impl IntoIterator<Item = Bdf>) -> Emulated {
        let states = functions.into_iter().map(|at| (at, AtomicU8::new(State::D0 as u8))).collect();
        Emulated { states }
    }
}

impl Platform for Emulated {
    fn manages(&self, at: Bdf) -> bool {
        self.states.contains_key(&at)
    }

    fn is_powered(&self, at: Bdf) -> bool {
        self.states.get(&at).is_none_or(|state| state.load(Ordering::Acquire) != State::D3Cold as u8)
    }

    fn set_state(&self, at: Bdf, state: State) -> Result<(), Errno> {
        let known = self.states.get(&at).ok_or(Errno::ENODEV)?;
        method(state).ok_or(Errno::EINVAL)?;
        known.store(state as u8, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulated_platform_switches_what_it_manages_and_nothing_else() {
        let (ours, other) = (Bdf::from_routing_id(0, 8), Bdf::from_routing_id(0, 16));
        let platform = Emulated::managing([ours]);
        assert!(platform.manages(ours) && !platform.manages(other));
        assert_eq!(platform.set_state(ours, State::D3Cold), Ok(()));
        assert!(!platform.is_powered(ours) && platform.is_powered(other));
        assert_eq!(platform.set_state(ours, State::D0), Ok(()));
        assert!(platform.is_powered(ours));
        assert_eq!(platform.set_state(other, State::D0), Err(Errno::ENODEV));
        assert_eq!(platform.set_state(ours, State::Unknown), Err(Errno::EINVAL));
    }

    #[test]
    fn firmware_has_one_method_for_each_state_with_power() {
        let methods = State::ALL.map(method);
        let expected = [Some("_PS0"), Some("_PS1"), Some("_PS2"), Some("_PS3"), Some("_PS3"), None];
        assert_eq!(methods, expected);
    }
}
