//! From one power state to another: which steps, or why not. Pure.
//!
//! The rules are those of PWR-02 to PWR-07:
//!
//! | to | from | answer |
//! |---|---|---|
//! | any | the same state | nothing to do |
//! | D0 | anywhere | firmware, then PMCSR; without either EIO |
//! | D1, D2, D3hot | a deeper state | EINVAL: the way up leads through D0 |
//! | D1, D2 | a shallower one | EIO if the function does not have the state; nothing to do if it is kept from using it |
//! | D1 to D3hot | a shallower one | PMCSR, then firmware; without either EIO |
//! | D3cold | anywhere | D3hot first, then the platform cuts the power; without a platform it stays in D3hot |
//! | unknown | anywhere | EINVAL |

use crate::State;
use crate::facts::Facts;
use pci_core::{Errno, PowerState};
use std::time::Duration;
use thiserror::Error;

/// One step of a change; in order, with the function's gate closed from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Save what the function is about to lose.
    Save,
    /// Write the state to PMCSR.
    Write(PowerState),
    /// Have the platform take the function to the state: firmware's `_PS0` to `_PS3`, power of the slot.
    Platform(State),
    /// The power is gone, and the function's state with it.
    LosePower,
    /// The power is back.
    RegainPower,
    /// Nobody touches the function for this time (PWR-04).
    Pass(Duration),
    /// Wait until the function answers (PWR-05, PWR-09).
    WaitReady,
    /// Look which state PMCSR shows (PWR-06).
    ReadBack(PowerState),
    /// Restore what was saved.
    Restore,
    /// The state is entered, though no register tells of it.
    Note(State),
}

/// Why a function does not go to a state; it is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unreachable {
    /// Neither the function nor the platform manages its power.
    #[error("the function has no power management")]
    Unmanaged,
    /// The function does not have the state.
    #[error("the function does not have the state {0}")]
    Missing(State),
    /// From a sleeping state a function goes deeper, or to D0.
    #[error("a function goes from {from} to {to} only through D0")]
    Shallower {
        /// Where it is.
        from: State,
        /// Where it was to go.
        to: State,
    },
    /// Not a state that anybody can go to.
    #[error("{0} is not a state to go to")]
    NotATarget(State),
}

impl Unreachable {
    /// The error number (PWR-02).
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Unreachable::Unmanaged | Unreachable::Missing(_) => Errno::EIO,
            Unreachable::Shallower { .. } | Unreachable::NotATarget(_) => Errno::EINVAL,
        }
    }
}

/// The steps from `from` to `to`; none if there is nothing to do.
///
/// # Errors
/// [`Unreachable`], see the module's head.
pub fn plan(from: State, to: State, facts: &Facts) -> Result<Vec<Step>, Unreachable> {
    if to == State::Unknown {
        return Err(Unreachable::NotATarget(to));
    }
    if from == to {
        return Ok(Vec::new());
    }
    match to {
        State::D0 => wake(from, facts),
        State::D1 | State::D2 if facts.quirks.no_d1_d2 => Ok(Vec::new()),
        State::D3Hot | State::D3Cold if facts.quirks.no_d3 => Ok(Vec::new()),
        State::D3Cold => power_off(from, facts),
        State::D1 | State::D2 | State::D3Hot | State::Unknown => sleep(from, to, facts),
    }
}

fn wake(from: State, facts: &Facts) -> Result<Vec<Step>, Unreachable> {
    let mut steps = Vec::new();
    let powered_on = from == State::D3Cold && facts.has_platform;
    if facts.has_platform {
        steps.push(Step::Platform(State::D0));
    } else if facts.pm.is_none() {
        return Err(Unreachable::Unmanaged);
    }
    if powered_on {
        steps.push(Step::RegainPower);
        push_delay(&mut steps, if facts.ready_after_power { Duration::ZERO } else { facts.delays.d3cold });
        steps.push(Step::WaitReady);
    }
    if facts.pm.is_some() {
        steps.push(Step::Write(PowerState::D0));
        // With the power came the time; nothing is written then unless the function is not in D0 after all.
        let delay = if powered_on { Duration::ZERO } else { facts.delay(from, State::D0) };
        push_delay(&mut steps, delay);
    } else {
        push_delay(&mut steps, if powered_on { Duration::ZERO } else { facts.delay(from, State::D0) });
        steps.push(Step::Note(State::D0));
    }
    let lost_state = powered_on || (from >= State::D3Hot && !facts.keeps_state);
    if lost_state && !powered_on {
        steps.push(Step::WaitReady);
    }
    if facts.pm.is_some() {
        steps.push(Step::ReadBack(PowerState::D0));
    }
    if lost_state {
        steps.push(Step::Restore);
    }
    Ok(steps)
}

fn sleep(from: State, to: State, facts: &Facts) -> Result<Vec<Step>, Unreachable> {
    let mut steps = Vec::new();
    if facts.pm.is_none() && !facts.has_platform {
        return Err(Unreachable::Unmanaged);
    }
    if from != State::Unknown && from > to {
        return Err(Unreachable::Shallower { from, to });
    }
    if !facts.has_state(to) {
        return Err(Unreachable::Missing(to));
    }
    if to == State::D3Hot {
        steps.push(Step::Save);
    }
    if let (Some(_), Some(state)) = (facts.pm, to.register()) {
        steps.push(Step::Write(state));
        push_delay(&mut steps, facts.delay(from, to));
        steps.push(Step::ReadBack(state));
    }
    if facts.has_platform {
        steps.push(Step::Platform(to));
        if facts.pm.is_none() {
            push_delay(&mut steps, facts.delay(from, to));
            steps.push(Step::Note(to));
        }
    }
    Ok(steps)
}

fn power_off(from: State, facts: &Facts) -> Result<Vec<Step>, Unreachable> {
    let mut steps = match facts.pm {
        Some(_) if from != State::D3Hot => {
            sleep(from, State::D3Hot, &Facts { has_platform: false, ..*facts })?
        }
        Some(_) => Vec::new(),
        None if facts.has_platform => vec![Step::Save],
        None => return Err(Unreachable::Unmanaged),
    };
    if facts.has_platform {
        steps.extend([Step::Platform(State::D3Cold), Step::LosePower]);
    }
    Ok(steps)
}

fn push_delay(steps: &mut Vec<Step>, delay: Duration) {
    if !delay.is_zero() {
        steps.push(Step::Pass(delay));
    }
}

#[cfg(test)]
mod tests;
