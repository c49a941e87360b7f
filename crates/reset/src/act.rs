//! The methods that reach no further than their function: how each is done, given that the function has it.

use crate::facts::Facts;
use crate::hold::Hold;
use crate::method::Method;
use crate::ready::{wait_pending, wait_ready};
use gate::Gone;
use pci_core::{DeviceState, Errno, PowerState, Width};
use pci_spec::capability::express::{self, DeviceControl, DeviceStatus};
use pci_spec::capability::{
    af,
    pm::{self, ControlStatus},
};
use pci_spec::{Bdf, delay};
use power::ready::NotReady;
use std::time::Duration;

/// Why a method did not reset the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MethodError {
    /// The next one is tried: the function does not have this one, or did not answer after it (RST-02, RST-10).
    Next,
    /// No other is tried.
    Stop(Errno),
    /// The function was removed.
    Gone,
}

impl From<NotReady> for MethodError {
    fn from(error: NotReady) -> MethodError {
        match error {
            NotReady::TimedOut(_) | NotReady::NoLink => MethodError::Next,
            NotReady::Disconnected | NotReady::Gone => MethodError::Gone,
        }
    }
}

impl From<Gone> for MethodError {
    fn from(Gone: Gone) -> MethodError {
        MethodError::Gone
    }
}

/// Function Level Reset (RST-05), with `extra` time for a device that needs more than it should.
pub(crate) fn flr(
    hold: &mut dyn Hold,
    at: Bdf,
    facts: &Facts,
    method: Method,
    extra: Duration,
) -> Result<(), MethodError> {
    let express = facts.express().ok_or(MethodError::Next)?;
    wait_pending(hold, at, |hold| {
        let status = hold.read_word(at, express + express::DEVICE_STATUS);
        // Whoever does not answer has nothing outstanding that could be waited for.
        status != u16::MAX && status & DeviceStatus::TRANSACTIONS_PENDING.bits() != 0
    })?;
    let control = hold.read_word(at, express + express::DEVICE_CONTROL);
    let flr = DeviceControl::INITIATE_FUNCTION_LEVEL_RESET.bits();
    hold.write_word(at, express + express::DEVICE_CONTROL, control | flr);
    settle(hold, at, facts, method, extra)
}

/// Function Level Reset by Advanced Features (RST-06).
pub(crate) fn af_flr(hold: &mut dyn Hold, at: Bdf, facts: &Facts) -> Result<(), MethodError> {
    let features = facts.advanced_features().ok_or(MethodError::Next)?;
    wait_pending(hold, at, |hold| {
        let status = hold.read_byte(at, features + af::STATUS);
        status != u8::MAX && status & af::TRANSACTIONS_PENDING != 0
    })?;
    hold.write(at, features + af::CONTROL, Width::Byte, u32::from(af::INITIATE_FLR));
    settle(hold, at, facts, Method::AfFlr, Duration::ZERO)
}

fn settle(
    hold: &mut dyn Hold,
    at: Bdf,
    facts: &Facts,
    method: Method,
    extra: Duration,
) -> Result<(), MethodError> {
    if !facts.immediate_readiness {
        hold.pass(at, delay::FUNCTION_LEVEL_RESET)?;
        wait_ready(hold, at, method.title())?;
    }
    if !extra.is_zero() {
        hold.pass(at, extra)?;
    }
    Ok(())
}

/// D3hot and back (RST-07).
pub(crate) fn pm(hold: &mut dyn Hold, at: Bdf, facts: &Facts) -> Result<(), MethodError> {
    let control = facts.power().ok_or(MethodError::Next)? + pm::CONTROL_STATUS;
    let before = hold.read_word(at, control);
    if before == u16::MAX {
        // Whoever does not answer cannot be told to sleep; its bus may still be reset.
        return Err(MethodError::Next);
    }
    if PowerState::decode(before) != PowerState::D0 {
        return Err(MethodError::Stop(Errno::EINVAL));
    }
    let delays = hold.delays(at);
    for (from, to) in [(PowerState::D0, PowerState::D3Hot), (PowerState::D3Hot, PowerState::D0)] {
        hold.write_word(at, control, with_state(before, to));
        hold.pass(at, delays.between(DeviceState::from(from), DeviceState::from(to), false))?;
    }
    Ok(wait_ready(hold, at, Method::Pm.title())?)
}

/// PMCSR with another power state; an event that is noted in it is not cleared by the way.
pub(crate) fn with_state(control: u16, state: PowerState) -> u16 {
    control & !(pm::POWER_STATE_MASK | ControlStatus::PME_STATUS.bits()) | state.bits()
}
