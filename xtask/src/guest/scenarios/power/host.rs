//! The host's view of what the guest does: the power state that the daemon shows, and the events it tells.

use crate::guest::GuestError;
use crate::guest::control::{Control, HostEvent};
use crate::guest::daemon::SLOT;
use crate::guest::deadline::{Deadline, GUEST};
use crate::guest::rig::Rig;
use std::time::Duration;

/// How long the daemon may take to tell of what has happened, and how often it is asked.
const TOLD: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// What a step in the guest does to the function, of which the host must tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The client's reset: what a reset of the bus above comes down to.
    DeviceReset,
    /// A function level reset, by the bit in Device Control.
    FunctionLevelReset,
    /// D3hot, by PMCSR.
    Asleep,
    /// D0, by PMCSR.
    Awake,
}

impl Effect {
    /// Whether an event tells of it.
    fn is_told_by(self, event: &HostEvent) -> bool {
        let (kind, words) = match self {
            Self::DeviceReset => ("reset", "the consumer"),
            Self::FunctionLevelReset => ("reset", "function level reset"),
            Self::Asleep => ("power", "to D3hot"),
            Self::Awake => ("power", "to D0"),
        };
        event.kind == kind && event.text.contains(words)
    }
}

/// The daemon's control socket; nothing is expected of a source without one.
pub(super) struct Host {
    control: Option<Control>,
    /// The latest event that was looked at.
    seen: u64,
}

impl Host {
    /// Connects, and passes over the events so far.
    ///
    /// # Errors
    /// As [`Control::connect`] and [`Control::events`].
    pub(super) fn connect(rig: &Rig<'_>) -> Result<Self, GuestError> {
        let mut host = Self { control: rig.control()?, seen: 0 };
        host.new_events()?;
        Ok(host)
    }

    /// Whether there is a daemon to ask.
    pub(super) fn is_connected(&self) -> bool {
        self.control.is_some()
    }

    /// Fails unless the function is in power state `state`.
    ///
    /// # Errors
    /// [`GuestError::Check`], or as [`Control::power_state`].
    pub(super) fn expect_power(&mut self, state: &str) -> Result<(), GuestError> {
        let Some(control) = &mut self.control else { return Ok(()) };
        let shown = control.power_state(SLOT)?;
        if shown == state {
            return Ok(());
        }
        Err(GuestError::Check(format!("the host shows the function in {shown}, not in {state}")))
    }

    /// Waits until the function is in power state `state`. The daemon tells nobody, so this asks now and then.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`], or as [`Control::power_state`].
    pub(super) fn wait_for_power(&mut self, state: &str) -> Result<(), GuestError> {
        let Some(control) = &mut self.control else { return Ok(()) };
        let deadline = Deadline::after(GUEST);
        while control.power_state(SLOT)? != state {
            deadline.left(&|| format!("the function to be in {state}"))?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Fails unless the events since the last look tell of each of `effects`, or soon do: the registers show what has happened
    /// a moment before the daemon tells of it.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`] with the events that there are, or as [`Control::events`].
    pub(super) fn expect_events(&mut self, effects: &[Effect]) -> Result<(), GuestError> {
        if !self.is_connected() {
            return Ok(());
        }
        let deadline = Deadline::after(TOLD);
        let mut events = Vec::new();
        loop {
            events.extend(self.new_events()?);
            let is_told = |effect: &&Effect| events.iter().any(|event| effect.is_told_by(event));
            let Some(missing) = effects.iter().find(|effect| !is_told(effect)) else { return Ok(()) };
            deadline.left(&|| {
                let told: Vec<_> = events.iter().map(|event| event.text.as_str()).collect();
                format!("the host to tell of {missing:?}; it tells only {told:?}")
            })?;
            std::thread::sleep(LOOK);
        }
    }

    /// The events since the last look.
    fn new_events(&mut self) -> Result<Vec<HostEvent>, GuestError> {
        let Some(control) = &mut self.control else { return Ok(Vec::new()) };
        let mut events = control.events(SLOT)?;
        let seen = self.seen;
        self.seen = events.last().map_or(seen, |event| event.sequence);
        events.retain(|event| event.sequence > seen);
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_of_one_kind_is_not_taken_for_one_of_another() {
        let told = |kind: &str, text: &str| HostEvent { sequence: 1, kind: kind.into(), text: text.into() };
        let flr = told("reset", "reset: a write to its registers asked for a function level reset");
        assert!(Effect::FunctionLevelReset.is_told_by(&flr));
        assert!(!Effect::DeviceReset.is_told_by(&flr));
        let asleep = told("power", "power state D0 to D3hot");
        assert!(Effect::Asleep.is_told_by(&asleep));
        assert!(!Effect::Awake.is_told_by(&asleep));
    }
}
