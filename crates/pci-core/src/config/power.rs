//! Power as the function's registers have it, and what is known of it beyond them: their loss with the power, the state
//! that no register can tell, and the signal to wake up (PME).
//!
//! Without power a function answers nothing: reads give all-ones, writes are lost, no window decodes. Its registers go
//! back to their power-on values at once, so that nothing in this process can read a stale bus master or interrupt
//! enable from them. What auxiliary power keeps is the PME context of a function that can wake from D3cold. PCIe 6.0
//! s5.3.1.4.2 *D3cold State*.

use super::{ConfigSpace, ResetKind, halves};
use crate::power::DeviceState;
use pci_spec::capability::pm;
use std::sync::atomic::Ordering;

/// The register tells the state. It is the code of D0: where there is no register, nothing else is told either.
pub(super) const AS_REGISTER: u8 = DeviceState::D0 as u8;

impl ConfigSpace {
    /// The power state that the function is known to be in (PWR-01): what its register tells, unless something was noted
    /// that no register can tell.
    #[inline]
    #[must_use]
    pub fn device_state(&self) -> DeviceState {
        match self.noted.load(Ordering::Acquire) {
            AS_REGISTER => self.power_state().into(),
            noted => DeviceState::ALL.get(usize::from(noted)).copied().unwrap_or(DeviceState::Unknown),
        }
    }

    /// Notes what was found out of the state; see [`Function::note_state`](crate::Function::note_state). Needs quiescence.
    pub(crate) fn note_state(&self, state: DeviceState) {
        let is_told = state.register().is_some() && self.power_management().is_some();
        self.noted.store(if is_told { AS_REGISTER } else { state as u8 }, Ordering::Release);
    }

    /// Has the register tell the state again. Needs quiescence.
    pub(crate) fn forget_state(&self) {
        self.noted.store(AS_REGISTER, Ordering::Release);
    }

    /// Offset of the power management capability, if the function has it.
    #[must_use]
    pub fn power_management(&self) -> Option<u16> {
        self.layout.positions.power_control.map(|control| control - pm::CONTROL_STATUS)
    }

    /// What the function says of its power management; nothing without the capability.
    #[must_use]
    pub fn power_capabilities(&self) -> pm::Capabilities {
        let at = self.power_management().map_or(0, |at| usize::from(at / 4));
        let fixed = self.layout.initial.get(at).copied().filter(|_| at != 0);
        pm::Capabilities::from_bits_retain(fixed.map_or(0, |dword| halves(dword).1))
    }

    /// Whether the function has power.
    #[must_use]
    pub fn is_powered(&self) -> bool {
        self.powered.load(Ordering::Acquire)
    }

    /// The power goes: every register gets its power-on value but the PME context that auxiliary power keeps, and nothing
    /// is answered until [`ConfigSpace::regain_power`]. Needs quiescence.
    pub fn lose_power(&self) {
        let kept = self.layout.positions.power_control.map(|at| (at, self.half(at)));
        self.powered.store(false, Ordering::Release);
        self.reset(ResetKind::PowerCycle);
        let Some((control, value)) = kept else { return };
        if self.power_capabilities().contains(pm::Capabilities::PME_D3COLD) {
            let context = pm::CONTROL_STATUS_PME_RW | pm::CONTROL_STATUS_RW1C;
            self.set_bits(usize::from(control / 4), u32::from(value & context), true);
        }
    }

    /// The power is back; the function is in D0 and has its power-on values. Needs quiescence.
    pub fn regain_power(&self) {
        self.powered.store(true, Ordering::Release);
    }

    /// The function wants to wake the system: sets PME status, if it can signal PME in its present state, also without
    /// power. True if that is to be told: PME is enabled and the status is new. PCIe 6.0 s5.3.3 *Power Management Event
    /// Mechanisms*.
    #[must_use = "somebody may have to wake the function"]
    pub fn signal_pme(&self) -> bool {
        let Some(control) = self.layout.positions.power_control else { return false };
        let state = if self.is_powered() { self.power_state().into() } else { DeviceState::D3Cold };
        if !self.power_capabilities().contains(pme_in(state)) {
            return false;
        }
        let status = u32::from(pm::ControlStatus::PME_STATUS.bits());
        let old = self.update(usize::from(control / 4), |dword| dword | status);
        let old = pm::ControlStatus::from_bits_retain(old.map_or(0, |dword| halves(dword).0));
        old.contains(pm::ControlStatus::PME_ENABLE) && !old.contains(pm::ControlStatus::PME_STATUS)
    }
}

/// The capability to signal PME in a state.
fn pme_in(state: DeviceState) -> pm::Capabilities {
    match state {
        DeviceState::D0 | DeviceState::Unknown => pm::Capabilities::PME_D0,
        DeviceState::D1 => pm::Capabilities::PME_D1,
        DeviceState::D2 => pm::Capabilities::PME_D2,
        DeviceState::D3Hot => pm::Capabilities::PME_D3HOT,
        DeviceState::D3Cold => pm::Capabilities::PME_D3COLD,
    }
}
